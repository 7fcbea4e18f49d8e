//! MLS groups: create and apply a commit, receive and merge it, join by Welcome; by group size, suite and backend. Trees
//! are full. The report measures the peers in the same places.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that cannot set itself up ends"
)]

use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use media_bench::groups::{FullTree, Implementation, Pair};
use mls::CipherSuite;

const SUITES: [(&str, CipherSuite); 2] = [
    ("suite1", CipherSuite::X25519_AES128GCM_SHA256_ED25519),
    ("suite2", CipherSuite::P256_AES128GCM_SHA256_P256),
];
const MEMBERS: [u32; 4] = [2, 10, 100, 1000];
const OURS: [Implementation; 2] = [Implementation::OursAwsLc, Implementation::OursRustCrypto];

fn commit(c: &mut Criterion) {
    for (name, suite) in SUITES {
        for members in MEMBERS {
            let tree = FullTree::build(suite, members).unwrap();
            for who in OURS {
                let mut pair = Pair::seat(&tree, who).unwrap();
                let mut bench = c.benchmark_group(format!("mls/{name}/{}", who.name()));
                bench.bench_function(BenchmarkId::new("commit_apply", members), |b| {
                    b.iter_custom(|times| rotations(&mut pair, times).created);
                });
                bench.bench_function(BenchmarkId::new("receive_merge", members), |b| {
                    b.iter_custom(|times| rotations(&mut pair, times).received);
                });
            }
        }
    }
}

struct Took {
    created: Duration,
    received: Duration,
}

/// Both members have to follow every commit; only one of them is on the clock.
fn rotations(pair: &mut Pair, times: u64) -> Took {
    let mut took = Took { created: Duration::ZERO, received: Duration::ZERO };
    for _ in 0..times {
        let start = Instant::now();
        let commit = pair.committer.commit().unwrap();
        pair.committer.apply().unwrap();
        took.created += start.elapsed();
        let start = Instant::now();
        pair.receiver.receive(&commit).unwrap();
        took.received += start.elapsed();
    }
    took
}

fn join(c: &mut Criterion) {
    for (name, suite) in SUITES {
        for members in MEMBERS {
            let mut tree = FullTree::build(suite, members).unwrap();
            for who in OURS {
                let mut bench = c.benchmark_group(format!("mls/{name}/{}", who.name()));
                bench.sample_size(10);
                bench.bench_function(BenchmarkId::new("join", members), |b| {
                    b.iter_batched(
                        || {
                            let mut client = who.client(suite, "joiner").unwrap();
                            let welcome = tree.invite(&client.key_package().unwrap()).unwrap();
                            (client, welcome)
                        },
                        |(client, welcome)| client.join(&welcome).unwrap(),
                        BatchSize::PerIteration,
                    );
                });
            }
        }
    }
}

criterion_group!(benches, commit, join);
criterion_main!(benches);
