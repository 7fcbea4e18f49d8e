//! What a call costs beside its frames: installing an epoch by group size, senders and receivers
//! on one and two threads, and sender authentication.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measuring program that cannot set itself up ends"
)]

use mls::crypto::os_rng;
use sframe_bridge::authentication::{
    BATCH_LABEL, BatchLimits, EpochBinding, FrameDigest, FrameSigner, FrameVerifier, VerifierLimits,
};
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, HEADROOM, KidLayout, Now, TrackId,
    crypto,
};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const LATE: Now = Now::from_millis(1_000_000_000);

fn epoch(number: u64, leaf: u32, members: u32) -> Epoch {
    Epoch::new(number, BaseKey::new(vec![number as u8; 16]), leaf, (0..members).collect())
}

fn keys() -> CallKeys {
    let suite = crypto::default_provider().suite(CipherSuite::Aes128GcmSha256_128).unwrap();
    CallKeys::new(CallKeysConfig::new(suite))
}

/// The median of `rounds` runs.
fn median(rounds: usize, mut work: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<_> = (0..rounds).map(|_| work()).collect();
    all.sort_unstable();
    all[rounds / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

fn install() {
    for members in [2, 10, 100, 1_000, 4_000] {
        let mut keys = keys();
        let mut number = 0;
        let cost = median(201, || {
            number += 1;
            let next = epoch(number, 0, members);
            let now = Now::from_millis(number * 20_000);
            let cost = timed(|| keys.install_epoch(next, now).unwrap());
            // As in a call, everybody acknowledges before the next one.
            for leaf in 1..members {
                keys.peer_ready(leaf, number, now);
            }
            while keys.poll().is_some() {}
            cost
        });
        println!("install an epoch, {members} members: {cost:.1?}");
    }
}

/// Runs all of `works` at the same time and returns how long a thread takes for one frame.
fn together<W: FnMut() + Send>(works: Vec<W>) -> Duration {
    let frames = FRAMES * works.len() as u32;
    let total: Duration = std::thread::scope(|scope| {
        let run = |work: W| scope.spawn(move || timed(work));
        let running: Vec<_> = works.into_iter().map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    total / frames
}

const FRAMES: u32 = 4_000;

fn threads(count: u32, size: usize) {
    let leaves = count * 2;
    let protect = median(51, || {
        let mut alice = keys();
        alice.install_epoch(epoch(1, 0, leaves), Now::from_millis(0)).unwrap();
        let sending = (0..count).map(|track| {
            let mut sender = alice.sender(TrackId(track)).unwrap();
            let mut buffer = vec![7; HEADROOM + size + 16];
            move || {
                for _ in 0..FRAMES {
                    let plain = HEADROOM..HEADROOM + size;
                    black_box(sender.protect_in_place(&mut buffer, plain, b"").unwrap());
                }
            }
        });
        together(sending.collect())
    });
    let open = median(51, || {
        let mut bob = keys();
        bob.install_epoch(epoch(1, 1, leaves), Now::from_millis(0)).unwrap();
        let receivers = bob.split_receiver(NonZeroU32::new(count).unwrap()).unwrap();
        let receiving = (0..).zip(receivers).map(|(share, mut receiver)| {
            // Somebody else's leaf of this receiver's share.
            let leaf = (0..leaves).find(|leaf| leaf % count == share && *leaf != 1).unwrap();
            let mut member = keys();
            member.install_epoch(epoch(1, leaf, leaves), Now::from_millis(0)).unwrap();
            let mut sender = member.sender(TrackId(0)).unwrap();
            let mut wires = Vec::new();
            for _ in 0..FRAMES {
                let mut wire = Vec::new();
                sender.protect_into(&vec![7; size], b"", &mut wire).unwrap();
                wires.push(wire);
            }
            move || {
                for wire in &mut wires {
                    black_box(receiver.unprotect_in_place(wire, b"", LATE).unwrap());
                }
            }
        });
        together(receiving.collect())
    });
    println!(
        "{count} threads, {size} B: a thread takes {protect:.1?} to protect a frame, {open:.1?} to open one"
    );
}

fn authentication(mls_suite: u16, frames: u64) {
    let suite = mls::crypto::default_provider().suite(mls::CipherSuite(mls_suite)).unwrap();
    let key = suite.signature.generate(&mut os_rng()).unwrap();
    let binding = EpochBinding {
        group_id: b"call".to_vec(),
        epoch: 1,
        confirmed_transcript_hash: vec![7; 32],
    };
    let wire = |size: usize, ctr: u64| {
        let kid = KidLayout::DEFAULT.compose(0, 0, 1).unwrap();
        let mut wire = sframe_bridge::Header { kid, ctr }.encode().as_bytes().to_vec();
        wire.resize(size, 7);
        wire
    };
    for size in [100, 1_200, 10_000] {
        let frame = wire(size, 5);
        let rounds = 1_000;
        let cost = median(51, || {
            timed(|| {
                for _ in 0..rounds {
                    black_box(FrameDigest::compute(suite, black_box(&frame), b""));
                }
            })
        });
        println!("suite {mls_suite}: digest of {size} B: {:.1?}", cost / rounds);
    }
    let mut signer = FrameSigner::new(suite, KidLayout::DEFAULT, BatchLimits::default());
    signer.install_epoch(binding.clone());
    for ctr in 0..frames {
        signer.add(&wire(100, ctr), b"", false, Now::from_millis(0)).unwrap();
    }
    let unsigned = signer.poll(LATE).unwrap();
    let sign = || suite.sign_for_application(&*key, BATCH_LABEL, unsigned.content()).unwrap();
    let signing = median(201, || timed(sign));
    let batch = unsigned.clone().signed(&sign());
    let mut verifier = FrameVerifier::new(suite, KidLayout::DEFAULT, VerifierLimits::default());
    verifier.install_epoch(binding, BTreeMap::from([(0, key.public().to_vec())]));
    let verifying = median(201, || timed(|| verifier.batch(&batch, LATE).unwrap()));
    println!(
        "suite {mls_suite}: batch of {frames}: {} bytes, {:.1} kbit/s at 5 a second, sign {signing:.1?}, \
         verify {verifying:.1?}",
        batch.len(),
        batch.len() as f64 * 8.0 * 5.0 / 1_000.0
    );
}

fn main() {
    install();
    for size in [80, 1_200] {
        for count in [1, 2] {
            threads(count, size);
        }
    }
    for suite in [1, 2] {
        for frames in [6, 10] {
            authentication(suite, frames);
        }
    }
}
