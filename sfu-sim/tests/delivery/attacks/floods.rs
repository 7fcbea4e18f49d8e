//! Too much, too long, too large: memory stays bounded, and who keeps to the limits is served.

use std::sync::Arc;
use std::time::Duration;

use mls::UnixTime;
use sfu_sim::delivery::{DeliveryConfig, MemoryStorage};
use sfu_sim::protocol::{Blob, DeliveryRequest, RefusalCode};

use super::refusals::{refused, still_works};
use crate::world::{World, bundle_of};

/// How often a code was counted.
fn counted(world: &World, code: &str) -> u64 {
    world.service.metrics().refused.get(code).copied().unwrap_or(0)
}

#[test]
fn a_flood_of_commits() {
    let names = ["alice", "bob"];
    let mut world = World::with_members(&names);
    let rate = world.config.commits;
    let mut accepted = 0;
    for _ in 0..200 {
        let bundle = world.build("bob", |_| true);
        let before = world.fingerprint();
        match world.ask("bob", bundle) {
            Ok(_) => accepted += 1,
            Err(code) => {
                assert!(matches!(code, RefusalCode::RateLimited { .. }), "{code:?}");
                assert_eq!(world.fingerprint(), before);
            }
        }
        world.client("bob").committing = None;
    }
    assert_eq!(accepted, u64::from(rate.burst));
    assert_eq!(counted(&world, "rate_limited"), 200 - accepted);
    // The others are served.
    still_works(&mut world, &names);
}

#[test]
fn a_flood_of_key_packages() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.add_client("eve", false);
    let mut accepted = 0;
    for _ in 0..100 {
        match world.join("eve") {
            Ok(_) => accepted += 1,
            Err(code) => assert!(matches!(code, RefusalCode::RateLimited { .. }), "{code:?}"),
        }
        // Each one takes the place of the one before it.
        assert_eq!(world.client("alice").pending.len(), 1);
    }
    assert_eq!(accepted, u64::from(world.config.joins.burst));
    assert_eq!(counted(&world, "rate_limited"), 100 - accepted);
    world.commit("alice").unwrap();
    world.assert_agree(&["alice", "bob", "eve"]);
}

#[test]
fn key_packages_of_more_participants_than_a_call_holds() {
    let config = DeliveryConfig { max_members: 20, ..DeliveryConfig::default() };
    let mut world = World::with(config, Arc::new(MemoryStorage::new()));
    world.add_members(&["alice", "bob"]);
    for number in 0..100 {
        let name = format!("guest {number}");
        world.add_client(&name, false);
        let expected = number < 18;
        match world.join(&name) {
            Ok(_) => assert!(expected, "{name}"),
            Err(code) => assert!(!expected && code == RefusalCode::RoomFull, "{name}: {code:?}"),
        }
    }
    assert_eq!(world.service.metrics().pending, 18);
    assert_eq!(counted(&world, "room_full"), 82);
    world.commit("alice").unwrap();
    assert_eq!(world.service.members(), 20);
}

#[test]
fn a_flood_of_reports_and_requests() {
    let names = ["alice", "bob", "carol"];
    let mut world = World::with_members(&names);
    let mut accepted = 0;
    for _ in 0..100 {
        let heartbeat = Blob::from(vec![1; 200]);
        let request = DeliveryRequest::Heartbeat { epoch: 1, heartbeat };
        accepted += u64::from(world.ask("alice", request).is_ok());
    }
    assert_eq!(accepted, u64::from(world.config.reports.burst));
    for _ in 0..100 {
        let request = DeliveryRequest::FetchLog { since_epoch: 0 };
        accepted += u64::from(world.ask("alice", request).is_ok());
    }
    let both = u64::from(world.config.reports.burst) + u64::from(world.config.fetches.burst);
    assert_eq!(accepted, both);
    assert_eq!(counted(&world, "rate_limited"), 200 - both);
    still_works(&mut world, &names);
}

/// One member cannot end the call by saying again and again that its commits fail.
#[test]
fn a_flood_of_failure_reports_by_one_member() {
    let names = ["alice", "bob", "carol"];
    let mut world = World::with_members(&names);
    for _ in 0..100 {
        let report = Blob::from(vec![1; 40]);
        let _ = world.ask("bob", DeliveryRequest::ReportFailure { epoch: 1, report });
        world.pass(Duration::from_millis(10));
    }
    let metrics = world.service.metrics();
    assert!(metrics.failure_reports >= u64::from(world.config.reports.burst));
    assert!(metrics.groups_closed.is_empty());
    still_works(&mut world, &names);
}

#[test]
fn a_header_of_one_mebibyte() {
    let names = ["alice", "bob"];
    let mut world = World::with_members(&names);
    let alice = world.client("alice");
    let group = alice.group.as_mut().unwrap();
    let rng = &mut mls::crypto::os_rng();
    let builder = group.commit().authenticated_data(vec![7; 1 << 20]);
    let pending = builder.build(rng, UnixTime(0)).unwrap();
    let bundle = bundle_of(&pending, alice.group.as_ref().unwrap());
    let limit = world.config.max_commit as u64;
    refused(&mut world, "alice", bundle, RefusalCode::TooLarge { limit });
    // A length that claims a mebibyte, of which nothing comes.
    let mut claims = world.build("alice", |_| true);
    let mut bytes = claims.commit[..4].to_vec();
    bytes.extend([0x80, 0x10, 0, 0]);
    bytes.extend([0; 64]);
    claims.commit = bytes.into();
    refused(&mut world, "alice", claims, RefusalCode::Malformed);
    still_works(&mut world, &names);
}

#[test]
fn a_tree_that_claims_two_to_the_31_leaves() {
    let mut world = World::new();
    world.add_client("alice", false);
    let DeliveryRequest::Create { group_info, .. } = world.create_request("alice") else {
        panic!("expected a request to create");
    };
    // The longest length that can be written, and behind it blanks.
    let mut claims = vec![0xbf, 0xff, 0xff, 0xff];
    claims.resize(1_000, 0);
    let request =
        DeliveryRequest::Create { group_info: group_info.clone(), ratchet_tree: claims.into() };
    refused(&mut world, "alice", request, RefusalCode::InvalidGroup);
    world.pass(Duration::from_secs(10));
    let limit = world.config.max_first_tree;
    let blanks = Blob::from(vec![0; limit + 1]);
    let request = DeliveryRequest::Create { group_info, ratchet_tree: blanks };
    refused(&mut world, "alice", request, RefusalCode::TooLarge { limit: limit as u64 });
    world.create_group("alice").unwrap();
    still_works(&mut world, &["alice"]);
}

#[test]
fn a_group_of_a_suite_that_the_server_does_not_take() {
    let config = DeliveryConfig { suites: vec![2], ..DeliveryConfig::default() };
    let mut world = World::with(config, Arc::new(MemoryStorage::new()));
    world.add_client("alice", false);
    let request = world.create_request("alice");
    refused(&mut world, "alice", request, RefusalCode::InvalidGroup);
    assert_eq!(world.service.epoch(), None);
}
