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

fn threads(count: u32, size: usize) {
    const FRAMES: u32 = 50_000;
    let (mut alice, mut bob) = (keys(), keys());
    let leaves = count * 2;
    alice.install_epoch(epoch(1, 0, leaves), Now::from_millis(0)).unwrap();
    bob.install_epoch(epoch(1, 1, leaves), Now::from_millis(0)).unwrap();
    let senders: Vec<_> = (0..count).map(|n| alice.sender(TrackId(n)).unwrap()).collect();
    let protect = timed(|| {
        std::thread::scope(|scope| {
            for mut sender in senders {
                scope.spawn(move || {
                    let mut buffer = vec![7; HEADROOM + size + 16];
                    for _ in 0..FRAMES {
                        let plain = HEADROOM..HEADROOM + size;
                        black_box(sender.protect_in_place(&mut buffer, plain, b"").unwrap());
                    }
                });
            }
        });
    });
    // One sender for each receiver: leaves 0 and 2 of a receiver's own leaf 1, two shares.
    let shares = bob.split_receiver(NonZeroU32::new(count).unwrap()).unwrap();
    let wires: Vec<Vec<Vec<u8>>> = (0..count)
        .map(|share| {
            let leaf = (0..leaves).find(|leaf| leaf % count == share && *leaf != 1).unwrap();
            let mut member = keys();
            member.install_epoch(epoch(1, leaf, leaves), Now::from_millis(0)).unwrap();
            let mut sender = member.sender(TrackId(0)).unwrap();
            let one = |_| {
                let mut wire = Vec::new();
                sender.protect_into(&vec![7; size], b"", &mut wire).unwrap();
                wire
            };
            (0..FRAMES).map(one).collect()
        })
        .collect();
    let open = timed(|| {
        std::thread::scope(|scope| {
            for (mut receiver, wires) in shares.into_iter().zip(wires) {
                scope.spawn(move || {
                    for mut wire in wires {
                        black_box(receiver.unprotect_in_place(&mut wire, b"", LATE).unwrap());
                    }
                });
            }
        });
    });
    let rate = |time: Duration| f64::from(FRAMES * count) / time.as_secs_f64() / 1e6;
    println!(
        "{count} threads, {size} B: {:.2} million frames/s protected, {:.2} opened",
        rate(protect),
        rate(open)
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
