//! Protecting and opening SFrame frames, beside the `sframe` crate on the same bytes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot set itself up ends"
)]

use std::hint::black_box;

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use sframe::{
    frame::{EncryptedFrameView, MediaFrameView, MonotonicCounter},
    key::{DecryptionKey, EncryptionKey},
};
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, HEADROOM, Now, Sender, TrackId, crypto,
};

/// Bytes of a frame: an audio frame, a packet, a video frame, a keyframe.
const SIZES: [usize; 4] = [80, 1_200, 10_000, 200_000];
const KEY: [u8; 16] = [0x42; 16];
/// Long enough after the epoch began that every counter of a run is plausible.
const NOW: Now = Now::from_millis(1_000_000_000);

fn member(provider: &crypto::FrameProvider, leaf: u32) -> CallKeys {
    let suite = provider.suite(CipherSuite::Aes128GcmSha256_128).unwrap();
    let mut keys = CallKeys::new(CallKeysConfig::new(suite));
    let epoch = Epoch::new(1, BaseKey::new(KEY.to_vec()), leaf, vec![0, 1]);
    keys.install_epoch(epoch, Now::from_millis(0)).unwrap();
    keys
}

fn sealed(sender: &mut Sender, plain: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(plain.len() + HEADROOM + sender.tag_length());
    sender.protect_into(plain, b"", &mut wire).unwrap();
    wire
}

fn protect(c: &mut Criterion) {
    let mut group = c.benchmark_group("protect/aes128gcm");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        for provider in [&crypto::AWS_LC_RS, &crypto::RUST_CRYPTO] {
            ours_protects(&mut group, provider, size);
        }
        let key =
            EncryptionKey::derive_from(sframe::CipherSuite::AesGcm128Sha256, 0u64, KEY).unwrap();
        let plain = vec![7; size];
        let mut counter = MonotonicCounter::with_start_value(0u64, u64::MAX);
        let mut out = Vec::with_capacity(size + 64);
        group.bench_function(BenchmarkId::new("sframe-ring", size), |b| {
            b.iter(|| {
                let frame = MediaFrameView::try_new(&mut counter, &plain).unwrap();
                black_box(frame.encrypt_into(&key, &mut out).unwrap());
            });
        });
    }
}

fn ours_protects(
    group: &mut BenchmarkGroup<'_, WallTime>,
    provider: &crypto::FrameProvider,
    size: usize,
) {
    let keys = &mut member(provider, 0);
    let mut sender = keys.sender(TrackId(0)).unwrap();
    let mut buffer = vec![7; HEADROOM + size + sender.tag_length()];
    group.bench_function(BenchmarkId::new(provider.name, size), |b| {
        b.iter(|| {
            let range = HEADROOM..HEADROOM + size;
            black_box(sender.protect_in_place(&mut buffer, range, b"").unwrap());
        });
    });
}

fn unprotect(c: &mut Criterion) {
    let mut group = c.benchmark_group("unprotect/aes128gcm");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        for provider in [&crypto::AWS_LC_RS, &crypto::RUST_CRYPTO] {
            let mut sender = member(provider, 0).sender(TrackId(0)).unwrap();
            let mut keys = member(provider, 1);
            let plain = vec![7; size];
            group.bench_function(BenchmarkId::new(provider.name, size), |b| {
                b.iter_batched_ref(
                    || sealed(&mut sender, &plain),
                    |wire| black_box(keys.receiver().unprotect_in_place(wire, b"", NOW).unwrap()),
                    BatchSize::SmallInput,
                );
            });
        }
        let suite = sframe::CipherSuite::AesGcm128Sha256;
        let sending = EncryptionKey::derive_from(suite, 0u64, KEY).unwrap();
        let receiving = DecryptionKey::derive_from(suite, 0u64, KEY).unwrap();
        let mut counter = MonotonicCounter::with_start_value(0u64, u64::MAX);
        let plain = vec![7; size];
        let mut out = Vec::with_capacity(size + 64);
        group.bench_function(BenchmarkId::new("sframe-ring", size), |b| {
            b.iter_batched_ref(
                || {
                    let frame = MediaFrameView::try_new(&mut counter, &plain).unwrap();
                    let mut wire = Vec::new();
                    frame.encrypt_into(&sending, &mut wire).unwrap();
                    wire
                },
                |wire| {
                    let frame = EncryptedFrameView::try_new(wire.as_slice()).unwrap();
                    black_box(frame.decrypt_into(&receiving, &mut out).unwrap());
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, protect, unprotect);
criterion_main!(benches);
