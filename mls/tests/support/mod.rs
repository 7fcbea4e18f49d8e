//! What the tests of groups share.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests, and each binary uses a part of it"
)]

mod backends;

use mls::{
    AcceptAnyCredential, Client, ClientOptions, EpochChange, Group, GroupId, GroupOptions,
    HandshakeFormat, Identity, KeyPackageBundle, PendingCommit, Processed, UnixTime,
    crypto::{CryptoProvider, Suite},
};
use rand::{SeedableRng, rngs::StdRng};

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

/// Every suite of every backend that is compiled in.
pub(crate) fn suites() -> Vec<(&'static str, &'static Suite)> {
    let named = |provider: &'static CryptoProvider| {
        provider.suites.iter().map(|suite| (provider.name, suite))
    };
    backends::providers().into_iter().flat_map(named).collect()
}

/// One suite, for tests whose subject is not the cryptography.
pub(crate) use backends::any_suite as suite;

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

pub(crate) fn public_options() -> ClientOptions {
    ClientOptions { handshake: HandshakeFormat::Public, ..ClientOptions::new(AcceptAnyCredential) }
}

pub(crate) fn private_options() -> ClientOptions {
    ClientOptions::new(AcceptAnyCredential)
}

pub(crate) fn client(
    name: &str,
    suite: &'static Suite,
    options: ClientOptions,
    rng: &mut StdRng,
) -> Client {
    let identity = Identity::basic(name.as_bytes(), suite, rng).unwrap();
    Client::new(suite, identity, options)
}

pub(crate) fn key_package(client: &Client, rng: &mut StdRng) -> KeyPackageBundle {
    client.key_package(rng, NOW).unwrap()
}

/// A group of `members`, all added by one commit of the first.
pub(crate) fn group_of(
    members: usize,
    suite: &'static Suite,
    options: &ClientOptions,
    rng: &mut StdRng,
) -> Vec<Group> {
    let clients: Vec<Client> = (0..members)
        .map(|index| client(&format!("member {index}"), suite, options.clone(), rng))
        .collect();
    group_with(&clients, rng)
}

/// A group of these clients, the others added by one commit of the first.
pub(crate) fn group_with(clients: &[Client], rng: &mut StdRng) -> Vec<Group> {
    let (creator, others) = clients.split_first().unwrap();
    let id = GroupId(b"test group".to_vec());
    let mut first = creator.create_group(id, GroupOptions::default(), rng, NOW).unwrap();
    let bundles: Vec<KeyPackageBundle> =
        others.iter().map(|client| key_package(client, rng)).collect();
    if bundles.is_empty() {
        return vec![first];
    }
    let mut builder = first.commit();
    for bundle in &bundles {
        builder = builder.add(bundle.key_package().clone());
    }
    let pending = builder.build(rng, NOW).unwrap();
    let welcome = pending.welcome().unwrap().to_vec();
    first.confirm(pending).unwrap();
    let mut groups = vec![first];
    for (client, bundle) in others.iter().zip(&bundles) {
        groups.push(client.join(&welcome, [bundle], None, NOW).unwrap().accept());
    }
    assert_agreement(&groups);
    groups
}

/// What a commit gave that took effect.
pub(crate) struct Settled {
    pub(crate) change: EpochChange,
    pub(crate) commit: Vec<u8>,
    pub(crate) welcome: Option<Vec<u8>>,
}

/// A commit of member `from` takes effect for everybody.
pub(crate) fn settle(groups: &mut [Group], from: usize, pending: PendingCommit) -> Settled {
    let commit = pending.commit().to_vec();
    let welcome = pending.welcome().map(<[u8]>::to_vec);
    deliver(groups, &commit, from);
    Settled { change: groups[from].confirm(pending).unwrap(), commit, welcome }
}

/// A member commits nothing but fresh keys, and all agree afterwards.
pub(crate) fn commit_by(groups: &mut [Group], from: usize, rng: &mut StdRng) {
    let pending = groups[from].commit().build(rng, NOW).unwrap();
    settle(groups, from, pending);
    assert_agreement(groups);
}

pub(crate) fn everybody_commits(groups: &mut [Group], rng: &mut StdRng) {
    for from in 0..groups.len() {
        commit_by(groups, from, rng);
    }
}

/// Hands a commit to everybody but `except`, and merges it.
pub(crate) fn deliver(groups: &mut [Group], commit: &[u8], except: usize) {
    for (index, group) in groups.iter_mut().enumerate() {
        if index != except && group.is_active() {
            merge(group, commit);
        }
    }
}

pub(crate) fn merge(group: &mut Group, commit: &[u8]) {
    match group.process(commit, NOW).unwrap() {
        Processed::Commit(staged) => {
            group.merge(*staged).unwrap();
        }
        other => panic!("expected a commit, got {other:?}"),
    }
}

/// Hands a proposal to everybody but `except`.
pub(crate) fn propose_to(groups: &mut [Group], proposal: &[u8], except: usize) {
    for (index, group) in groups.iter_mut().enumerate() {
        if index != except {
            assert!(matches!(group.process(proposal, NOW).unwrap(), Processed::Proposal(_)));
        }
    }
}

/// All active members agree on everything that they share.
pub(crate) fn assert_agreement(groups: &[Group]) {
    let active: Vec<&Group> = groups.iter().filter(|group| group.is_active()).collect();
    let Some((first, others)) = active.split_first() else { return };
    let secret = first.export("test", b"context", 32).unwrap();
    for other in others {
        assert_eq!(first.context(), other.context());
        assert_eq!(first.epoch_authenticator().unwrap(), other.epoch_authenticator().unwrap());
        assert_eq!(first.ratchet_tree(), other.ratchet_tree());
        assert_eq!(secret, other.export("test", b"context", 32).unwrap());
    }
}
