//! Refusals of Welcomes, GroupInfos, key packages and altered commits.

use std::sync::Arc;
use std::time::Duration;

use mls::group::GroupInfoOptions;
use mls::wire::LeafIndex;
use sfu_sim::delivery::{DeliveryConfig, MemoryStorage, Now, Output, Rate};
use sfu_sim::protocol::{
    ChangeKind, DeliveryRequest, EXTERNAL_PUB_HASH, EXTERNAL_PUB_LABEL, Identity, RefusalCode,
    RemovalReason,
};

use super::refusals::{refused, still_works};
use crate::client::mls_client;
use crate::world::{Bundle, INFO, World, bundle_of};

#[test]
fn welcomes_that_do_not_fit() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.add_client("carol", false);
    world.add_client("dave", false);
    world.join("carol").unwrap();
    let for_carol = world.build("alice", |_| true);
    let none = Bundle { welcome: None, ..for_carol.clone() };
    refused(&mut world, "alice", none, RefusalCode::MismatchedWelcome);
    let garbage = Bundle { welcome: Some(vec![1, 2, 3].into()), ..for_carol.clone() };
    refused(&mut world, "alice", garbage, RefusalCode::MismatchedWelcome);
    world.join("dave").unwrap();
    let for_both = world.build("alice", |_| true);
    let swapped = Bundle { welcome: for_both.welcome.clone(), ..for_carol };
    refused(&mut world, "alice", swapped, RefusalCode::MismatchedWelcome);
    let without_adds = world.build("bob", |_| false);
    let surplus = Bundle { welcome: for_both.welcome, ..without_adds };
    refused(&mut world, "bob", surplus, RefusalCode::MismatchedWelcome);
    still_works(&mut world, &["alice", "bob"]);
}

#[test]
fn group_infos_that_do_not_fit() {
    let names = ["alice", "bob"];
    let mut world = World::with_members(&names);
    let code = RefusalCode::MismatchedGroupInfo;
    let bundle = world.build("alice", |_| true);
    let old = world.group("alice").group_info(INFO).unwrap();
    let other_state = Bundle { group_info: old.into(), ..bundle.clone() };
    refused(&mut world, "alice", other_state, code.clone());
    let alice = world.client("alice");
    let pending = alice.committing.as_ref().unwrap();
    let group = alice.group.as_ref().unwrap();
    let full = GroupInfoOptions { tree: true, external_pub: true };
    let with_tree = pending.group_info(group, full).unwrap();
    let bare = GroupInfoOptions { tree: false, external_pub: false };
    let without_key = pending.group_info(group, bare).unwrap();
    for group_info in [with_tree, without_key, vec![0, 1, 0, 4]] {
        let spoilt = Bundle { group_info: group_info.into(), ..bundle.clone() };
        refused(&mut world, "alice", spoilt, code.clone());
    }
    let mut forged = bundle.group_info.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let spoilt = Bundle { group_info: forged.into(), ..bundle };
    refused(&mut world, "alice", spoilt, code);
    still_works(&mut world, &names);
}

#[test]
fn key_packages_that_are_not_acceptable() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.add_client("carol", false);
    world.add_client("eve", false);
    let of_carol = world.key_package("carol");
    let request = DeliveryRequest::Join { key_package: of_carol.clone() };
    refused(&mut world, "eve", request.clone(), RefusalCode::WrongIdentity);
    let mut forged = of_carol.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    for key_package in [forged, vec![0; 40], Vec::new()] {
        let request = DeliveryRequest::Join { key_package: key_package.into() };
        refused(&mut world, "carol", request, RefusalCode::InvalidKeyPackage);
    }
    world.ask("carol", request.clone()).unwrap();
    world.commit("alice").unwrap();
    // A key package is used once.
    world.pass(Duration::from_secs(10));
    refused(&mut world, "carol", request, RefusalCode::InvalidKeyPackage);
    // One that has run out is not taken.
    let old = world.key_package("eve");
    let later = world.now + Duration::from_secs(100 * 86_400);
    world.now = Now::from_unix_micros(later.as_unix_micros());
    let request = DeliveryRequest::Join { key_package: old };
    refused(&mut world, "eve", request, RefusalCode::InvalidKeyPackage);
    still_works(&mut world, &["alice", "bob", "carol"]);
}

#[test]
fn members_that_nobody_asked_to_add_or_remove() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    let time = world.now.unix_time();
    let rng = &mut mls::crypto::os_rng();
    let ghost = mls_client("ghost").key_package(rng, time).unwrap();
    let alice = world.client("alice");
    let group = alice.group.as_mut().unwrap();
    let add = group.commit().add(ghost.key_package().clone()).welcome_tree(false);
    let adding = add.build(rng, time).unwrap();
    let adding = bundle_of(&adding, alice.group.as_ref().unwrap());
    refused(&mut world, "alice", adding, RefusalCode::InvalidCommit);
    let remove = |world: &mut World, name: &str| {
        let client = world.client(name);
        let group = client.group.as_mut().unwrap();
        let leaf = LeafIndex(1);
        let pending = group.commit().remove(leaf).build(&mut mls::crypto::os_rng(), time).unwrap();
        let bundle = bundle_of(&pending, client.group.as_ref().unwrap());
        client.committing = Some(pending);
        bundle
    };
    let removing = remove(&mut world, "alice");
    refused(&mut world, "alice", removing, RefusalCode::NotModerator);
    // A moderator needs no proposal for that.
    world.client("carol").moderator = true;
    world.connect("carol");
    let removing = remove(&mut world, "carol");
    world.ask("carol", removing).unwrap();
    let identity = Identity::new("bob");
    let reason = RemovalReason::Moderator;
    assert!(world.events.contains(&Output::Removed { identity, reason }));
    assert_eq!(world.join("bob"), Err(RefusalCode::Removed));
    still_works(&mut world, &["alice", "carol"]);
}

#[test]
fn a_key_package_that_its_owner_replaced() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.add_client("carol", false);
    world.join("carol").unwrap();
    let of_the_first = world.build("alice", |_| true);
    world.join("carol").unwrap();
    assert_eq!(world.client("bob").pending.len(), 1);
    refused(&mut world, "alice", of_the_first, RefusalCode::InvalidCommit);
    still_works(&mut world, &["alice", "bob", "carol"]);
}

#[test]
fn commits_with_any_bit_flipped() {
    let names = ["alice", "bob"];
    let config = DeliveryConfig {
        commits: Rate { burst: 1_000_000, per_second: 1.0 },
        ..DeliveryConfig::default()
    };
    let mut world = World::with(config, Arc::new(MemoryStorage::new()));
    world.add_members(&names);
    let bundle = world.build("alice", |_| true);
    let before = world.fingerprint();
    // The tags at the end are secret: only members can check them.
    let signed = bundle.commit.len() - 2 * 33;
    for at in 0..bundle.commit.len() {
        for bit in [0, 3, 7] {
            let mut commit = bundle.commit.to_vec();
            commit[at] ^= 1 << bit;
            let spoilt = Bundle { commit: commit.into(), ..bundle.clone() };
            // A flipped tag is caught by the GroupInfo, the membership tag by members only.
            if at < signed + 33 {
                assert!(world.ask("alice", spoilt).is_err(), "byte {at} bit {bit}");
            }
        }
        let cut = Bundle { commit: bundle.commit[..at].to_vec().into(), ..bundle.clone() };
        assert!(world.ask("alice", cut).is_err(), "cut at {at}");
        if at % 64 == 0 {
            world.client("alice").seen.clear();
        }
    }
    assert_eq!(world.fingerprint(), before);
    world.ask("alice", bundle).unwrap();
    world.assert_agree(&names);
}

#[test]
fn an_identity_can_be_in_the_group_once() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    // Bob joins anew with a fresh key; a commit that leaves his former leaf would have him twice.
    world.client("bob").mls = mls_client("bob");
    world.join("bob").unwrap();
    let twice = world.build("alice", |kind| matches!(kind, ChangeKind::Add { .. }));
    refused(&mut world, "alice", twice, RefusalCode::InvalidCommit);
    still_works(&mut world, &["alice", "bob", "carol"]);
}

/// A committer gives out a GroupInfo with a key that is not the group's. The service cannot see that, members can.
#[test]
fn an_external_pub_that_members_dispute() {
    let names = ["alice", "bob", "carol", "dave"];
    let mut world = World::with_members(&names);
    for name in names {
        world.client(name).acknowledges = false;
    }
    world.commit("alice").unwrap();
    let epoch = world.service.epoch().unwrap();
    let key = world.group("bob").external_pub().unwrap();
    let suite = world.group("bob").suite();
    let hash = suite.ref_hash(EXTERNAL_PUB_LABEL, key.as_bytes()).unwrap();
    let known = &hash.as_bytes()[..EXTERNAL_PUB_HASH];
    let ack = |world: &mut World, name: &str, said: &[u8]| {
        let external_pub = Some(said.to_vec().into());
        world.ask(name, DeliveryRequest::Ack { epoch, external_pub }).unwrap();
    };
    let disputed = |world: &World| world.service.metrics().external_pubs_disputed;
    // The committer stands by what it gave out; bob knows another key, and dave waits for a way back.
    ack(&mut world, "alice", known);
    let waiting = world.post("dave", DeliveryRequest::FetchGroupInfo);
    assert!(world.reply("dave", waiting).is_none());
    for _ in 0..3 {
        ack(&mut world, "bob", b"12345678");
    }
    assert_eq!(world.reply("dave", waiting), Some(Err(RefusalCode::Unavailable)));
    assert_eq!(world.fetch_group_info("dave"), Err(RefusalCode::Unavailable));
    assert_eq!(disputed(&world), 1);
    // As many others agree: bob may be the one who lies.
    ack(&mut world, "carol", known);
    assert!(world.fetch_group_info("dave").is_ok());
    // What is too short or too long is another key.
    ack(&mut world, "carol", &known[1..]);
    assert_eq!(world.fetch_group_info("dave"), Err(RefusalCode::Unavailable));
    assert_eq!(disputed(&world), 2);
    // The next epoch has another key, and nobody has said anything of it.
    world.commit("alice").unwrap();
    world.ask("bob", DeliveryRequest::Ack { epoch: epoch + 1, external_pub: None }).unwrap();
    assert!(world.fetch_group_info("dave").is_ok());
    world.assert_agree(&names);
}
