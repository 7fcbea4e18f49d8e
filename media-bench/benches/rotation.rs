//! One key rotation from end to end, by size of the call: a member commits, another one processes
//! the commit, and both install the SFrame keys of the new epoch.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot set itself up ends"
)]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use mls::{
    AcceptAnyCredential, Client, ClientOptions, Group, GroupOptions, HandshakeFormat, Identity,
    Processed,
    crypto::{self, CryptoProvider, os_rng},
    wire::{CipherSuite, GroupId, UnixTime},
};
use sframe_bridge::{BASE_KEY_LABEL, BaseKey, CallKeys, CallKeysConfig, Epoch, Now};

const NOW: UnixTime = UnixTime(1_800_000_000);
const MEMBERS: [usize; 3] = [2, 10, 100];

fn client(provider: &'static CryptoProvider, name: &str) -> Client {
    let suite = provider.suite(CipherSuite::P256_AES128GCM_SHA256_P256).unwrap();
    let identity = Identity::basic(name.as_bytes(), suite, &mut os_rng()).unwrap();
    let mut options = ClientOptions::new(AcceptAnyCredential);
    options.handshake = HandshakeFormat::Public;
    Client::new(suite, identity, options)
}

/// A group of `members`, seen by its first and its last leaf. Everybody was added at once, and then
/// these two have committed: the tree is blank apart from their direct paths.
fn group(provider: &'static CryptoProvider, members: usize) -> (Group, Group) {
    let rng = &mut os_rng();
    let creator = client(provider, "creator");
    let id = GroupId(b"bench".to_vec());
    let mut first = creator.create_group(id, GroupOptions::default(), rng, NOW).unwrap();
    let joiners: Vec<_> =
        (1..members).map(|leaf| client(provider, &format!("member {leaf}"))).collect();
    let bundles: Vec<_> =
        joiners.iter().map(|joiner| joiner.key_package(rng, NOW).unwrap()).collect();
    let mut commit = first.commit();
    for bundle in &bundles {
        commit = commit.add(bundle.key_package().clone());
    }
    let pending = commit.build(rng, NOW).unwrap();
    let welcome = pending.welcome().unwrap().to_vec();
    first.confirm(pending).unwrap();
    let staged = joiners.last().unwrap().join(&welcome, bundles.last(), None, NOW).unwrap();
    let mut last = staged.accept();
    rotate(&mut first, &mut last);
    rotate(&mut last, &mut first);
    (first, last)
}

fn rotate(committer: &mut Group, receiver: &mut Group) {
    let pending = committer.commit().build(&mut os_rng(), NOW).unwrap();
    let Processed::Commit(staged) = receiver.process(pending.commit(), NOW).unwrap() else {
        panic!("a commit was sent");
    };
    receiver.merge(*staged).unwrap();
    committer.confirm(pending).unwrap();
}

fn install(keys: &mut CallKeys, group: &Group, now: Now) {
    let length = sframe_bridge::CipherSuite::Aes128GcmSha256_128.key_length();
    let exported = group.export(BASE_KEY_LABEL, b"", length).unwrap();
    let roster = group.roster().map(|member| member.leaf.0).collect();
    let base_key = BaseKey::new(exported.as_bytes().to_vec());
    let epoch = Epoch::new(group.epoch(), base_key, group.own_leaf().0, roster);
    keys.install_epoch(epoch, now).unwrap();
}

fn call_keys() -> CallKeys {
    let suite = sframe_bridge::CipherSuite::Aes128GcmSha256_128;
    let crypto = sframe_bridge::crypto::default_provider().suite(suite).unwrap();
    CallKeys::new(CallKeysConfig::new(crypto))
}

fn rotation(c: &mut Criterion) {
    for provider in [&crypto::AWS_LC_RS, &crypto::RUST_CRYPTO] {
        let mut bench = c.benchmark_group(format!("rotation/suite2/{}", provider.name));
        for members in MEMBERS {
            let (mut first, mut last) = group(provider, members);
            let mut keys = [call_keys(), call_keys()];
            let mut millis = 0;
            bench.bench_function(BenchmarkId::from_parameter(members), |b| {
                b.iter(|| {
                    rotate(&mut first, &mut last);
                    millis += 1_000;
                    let now = Now::from_millis(millis);
                    install(&mut keys[0], &first, now);
                    install(&mut keys[1], &last, now);
                    black_box(&keys);
                });
            });
        }
    }
}

fn join(c: &mut Criterion) {
    let mut bench = c.benchmark_group("join/suite2");
    for members in MEMBERS {
        let provider = &crypto::AWS_LC_RS;
        let (mut first, _) = group(provider, members);
        let joiner = client(provider, "joiner");
        bench.bench_function(BenchmarkId::from_parameter(members), |b| {
            b.iter_batched(
                || {
                    let bundle = joiner.key_package(&mut os_rng(), NOW).unwrap();
                    let commit = first.commit().add(bundle.key_package().clone());
                    let pending = commit.build(&mut os_rng(), NOW).unwrap();
                    (pending.welcome().unwrap().to_vec(), bundle)
                },
                |(welcome, bundle)| black_box(joiner.join(&welcome, [&bundle], None, NOW).unwrap()),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, rotation, join);
criterion_main!(benches);
