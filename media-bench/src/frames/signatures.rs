//! What it costs to sign frames and to verify that they were signed, when a call has that on.

use anyhow::{Context, Result, ensure};
use mls::{CipherSuite, Group, GroupId, GroupOptions, crypto::CryptoProvider};
use sframe_bridge::{
    CallKeys, Now, Sender, SenderInfo, TrackId,
    authentication::{
        AuthenticationEvent, BATCH_LABEL, BatchLimits, EpochBinding, FrameDigest, FrameSigner,
        FrameVerifier, VerifierLimits,
    },
    crypto,
};

use super::ours::installed_in;
use crate::{
    groups::{now as today, plain_client},
    measure::once,
};

/// A stream of frames as media has it.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Its name in reports.
    pub name: &'static str,
    /// Bytes of a frame.
    pub frame: usize,
    /// Frames in a second.
    pub per_second: u32,
}

/// Opus with 48 kbit/s, and video with 1 Mbit/s.
pub const STREAMS: [Stream; 2] = [
    Stream { name: "audio", frame: 120, per_second: 50 },
    Stream { name: "video", frame: 4_167, per_second: 30 },
];

/// What the signatures of a second of media cost.
#[derive(Clone, Copy, Debug)]
pub struct SignatureCost {
    /// CPU nanoseconds for the sender, for each frame: its digest, and its share of the batch and the signature.
    pub sign: f64,
    /// CPU nanoseconds for each receiver, for each frame.
    pub verify: f64,
    /// Bytes that are sent for it.
    pub bytes: usize,
    /// Batches, with a signature each.
    pub batches: usize,
}

/// A member who sends a signed stream, and what another one needs to verify it.
pub struct SignedStream {
    stream: Stream,
    group: Group,
    _keys: CallKeys,
    sender: Sender,
    signer: FrameSigner,
    verifier: FrameVerifier,
    second: u64,
}

impl SignedStream {
    /// A stream whose sender has a signature key of this MLS suite.
    ///
    /// # Errors
    /// When the backend lacks the suite.
    pub fn new(
        provider: &'static CryptoProvider,
        suite: CipherSuite,
        stream: Stream,
    ) -> Result<Self> {
        let client = plain_client(provider, suite, "sender")?;
        let id = GroupId(b"signed".to_vec());
        let options = GroupOptions::default();
        let group = client.create_group(id, options, &mut mls::crypto::os_rng(), today())?;
        let frames = sframe_bridge::CipherSuite::Aes128GcmSha256_128;
        let leaf = group.own_leaf().0;
        let mut keys =
            installed_in(group.epoch(), crypto::default_provider(), frames, leaf, leaf + 1)?;
        let sender = keys.sender(TrackId(0))?;
        let layout = sframe_bridge::KidLayout::DEFAULT;
        let mut signer = FrameSigner::new(group.suite(), layout, BatchLimits::default());
        signer.install_epoch(EpochBinding::of_group(&group));
        let mut verifier = FrameVerifier::new(group.suite(), layout, VerifierLimits::default());
        verifier.install_group(&group);
        Ok(Self { stream, group, _keys: keys, sender, signer, verifier, second: 0 })
    }

    /// Sends a second of media, signs it and verifies it.
    ///
    /// # Errors
    /// When a frame does not show as authenticated.
    pub fn play(&mut self) -> Result<SignatureCost> {
        let Stream { frame, per_second, .. } = self.stream;
        let start = self.second * 1_000_000;
        self.second += 1;
        let plain = vec![7; frame];
        let mut frames = Vec::new();
        for number in 0..u64::from(per_second) {
            let at = Now::from_micros(start + number * 1_000_000 / u64::from(per_second));
            let ctr = self.sender.next_counter().unwrap_or_default();
            let mut wire = Vec::new();
            self.sender.protect_into(&plain, b"", &mut wire)?;
            let (leaf, epoch) = (self.group.own_leaf().0, self.group.epoch());
            frames.push((at, SenderInfo { leaf, epoch, context: 0, ctr }, wire));
        }
        let end = Now::from_micros(start + 1_000_000);

        let mut batches = Vec::new();
        let signed = once(|| {
            for (at, _, wire) in &frames {
                self.sign(*at, &mut batches)?;
                self.signer.add(wire, b"", false, *at)?;
            }
            self.sign(end, &mut batches)
        });
        signed.value?;
        let verified = once(|| {
            let mut authenticated = 0;
            for (at, sender, wire) in &frames {
                let digest = FrameDigest::compute(self.group.suite(), wire, b"");
                self.verifier.frame(*sender, digest, *at);
            }
            for batch in &batches {
                self.verifier.batch(batch, end)?;
            }
            while let Some(event) = self.verifier.poll(end) {
                authenticated +=
                    usize::from(matches!(event, AuthenticationEvent::Authenticated(_)));
            }
            anyhow::Ok(authenticated)
        });
        let authenticated = verified.value?;
        ensure!(authenticated == frames.len(), "{authenticated} of {} frames", frames.len());
        let each = |cost: f64| cost / f64::from(per_second);
        Ok(SignatureCost {
            sign: each(signed.cost.cpu),
            verify: each(verified.cost.cpu),
            bytes: batches.iter().map(Vec::len).sum(),
            batches: batches.len(),
        })
    }

    /// Signs the batches that are due.
    fn sign(&mut self, now: Now, batches: &mut Vec<Vec<u8>>) -> Result<()> {
        while let Some(batch) = self.signer.poll(now) {
            let signature = self
                .group
                .sign_for_application(BATCH_LABEL, batch.content())
                .context("the signature key failed")?;
            batches.push(batch.signed(&signature));
        }
        Ok(())
    }
}
