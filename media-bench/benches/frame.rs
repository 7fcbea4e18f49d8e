//! Frames: protect and unprotect by size, suite, backend and number of threads; reading a header; the replay window;
//! installing an epoch. The report measures the peers in the same places.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that cannot set itself up ends"
)]

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use media_bench::frames::{Ours, Raw, Subject, in_parallel, installed, suite_name};
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Header, Kid, Now, ReplayWindow, crypto,
    peek,
};

/// Bytes of a frame: an audio frame, a packet, a video frame, a keyframe.
const SIZES: [usize; 4] = [80, 1_200, 10_000, 200_000];
const SUITE: CipherSuite = CipherSuite::Aes128GcmSha256_128;

/// Frames beyond which a measurement is repeated rather than prolonged.
const MOST: u64 = 20_000;

fn frames(c: &mut Criterion) {
    for suite in CipherSuite::ALL {
        let mut subjects: Vec<Box<dyn Subject>> = Vec::new();
        for provider in crypto::PROVIDERS {
            subjects.push(Box::new(Ours::new(provider, suite).unwrap()));
        }
        for raw in Raw::all(suite).unwrap() {
            subjects.push(Box::new(raw));
        }
        for subject in &mut subjects {
            for size in SIZES {
                one(c, suite, size, &mut **subject);
            }
        }
    }
}

/// The subjects keep time themselves: CPU time, without what opening needs beforehand.
fn one(c: &mut Criterion, suite: CipherSuite, size: usize, subject: &mut dyn Subject) {
    let name = subject.name();
    for operation in ["protect", "unprotect"] {
        let mut bench = c.benchmark_group(format!("frame/{}/{operation}", suite_name(suite)));
        bench.throughput(Throughput::Bytes(size as u64));
        bench.bench_function(BenchmarkId::new(&name, size), |b| {
            b.iter_custom(|times| {
                let frames = u32::try_from(times.min(MOST)).unwrap();
                let each = match operation {
                    "protect" => subject.protect(size, frames),
                    _ => subject.unprotect(size, frames),
                };
                Duration::from_nanos(1).mul_f64(each.unwrap() * times as f64)
            });
        });
    }
}

fn threads(c: &mut Criterion) {
    let provider = crypto::default_provider();
    for (operation, protecting) in [("protect", true), ("unprotect", false)] {
        let mut bench = c.benchmark_group(format!("frame/{}/{operation}", suite_name(SUITE)));
        for size in [80, 1_200, 10_000] {
            bench.throughput(Throughput::Bytes(size as u64));
            bench.bench_function(BenchmarkId::new("2 threads", size), |b| {
                b.iter_custom(|times| {
                    let frames = u32::try_from(times.min(MOST / 10)).unwrap();
                    let cost = in_parallel(provider, SUITE, size, frames, protecting).unwrap();
                    Duration::from_nanos(1).mul_f64(cost.wall * times as f64)
                });
            });
        }
    }
}

fn header(c: &mut Criterion) {
    let encoded = Header { kid: Kid(0x01_00_01), ctr: 1_000 }.encode();
    c.bench_function("header/parse", |b| b.iter(|| peek(black_box(encoded.as_bytes())).unwrap()));
}

fn replay(c: &mut Criterion) {
    let mut bench = c.benchmark_group("replay");
    let mut window = ReplayWindow::default();
    let mut ctr = 0;
    bench.bench_function("in order", |b| {
        b.iter(|| {
            ctr += 1;
            black_box(window.check(ctr));
            black_box(window.record(ctr))
        });
    });
    let mut window = ReplayWindow::default();
    let mut ctr = 0;
    bench.bench_function("every other one late", |b| {
        b.iter(|| {
            ctr += 1;
            let swapped = ctr ^ 1;
            black_box(window.check(swapped));
            black_box(window.record(swapped))
        });
    });
}

fn install(c: &mut Criterion) {
    let suite = crypto::default_provider().suite(SUITE).unwrap();
    let mut bench = c.benchmark_group("epoch/install");
    for members in [2, 10, 100, 1000] {
        bench.bench_function(BenchmarkId::from_parameter(members), |b| {
            b.iter_batched(
                || {
                    let keys = CallKeys::new(CallKeysConfig::new(suite));
                    let key = BaseKey::new(vec![7; SUITE.key_length()]);
                    (keys, Epoch::new(1, key, 0, (0..members).collect()))
                },
                |(mut keys, epoch)| {
                    keys.install_epoch(epoch, Now::from_millis(0)).unwrap();
                    keys
                },
                BatchSize::SmallInput,
            );
        });
    }
    // The same for a call that has been going on: the epoch before is there and its keys are in use.
    let mut keys = installed(crypto::default_provider(), SUITE, 0, 1000).unwrap();
    let mut number = 1;
    bench.bench_function("1000 in a running call", |b| {
        b.iter(|| {
            number += 1;
            let key = BaseKey::new(vec![7; SUITE.key_length()]);
            let epoch = Epoch::new(number, key, 0, (0..1000).collect());
            keys.install_epoch(epoch, Now::from_millis(number * 1_000)).unwrap();
            while keys.poll().is_some() {}
        });
    });
}

criterion_group!(benches, frames, threads, header, replay, install);
criterion_main!(benches);
