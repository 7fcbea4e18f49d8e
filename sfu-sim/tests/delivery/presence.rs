use std::time::Duration;

use sfu_sim::delivery::Output;
use sfu_sim::protocol::{ChangeKind, DeliveryRequest, Identity, RefusalCode, RemovalReason};

use crate::world::World;

const GONE: RemovalReason = RemovalReason::Gone;

#[test]
fn a_lost_connection_becomes_a_removal_after_the_grace_period() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.disconnect("bob");
    world.pass(Duration::from_millis(2_999));
    assert!(world.client("alice").pending.is_empty());
    world.pass(Duration::from_millis(1));
    assert!(matches!(
        world.client("alice").kinds().as_slice(),
        [ChangeKind::Remove { leaf: 1, reason: GONE, .. }]
    ));
    let bob = Identity::new("bob");
    assert_eq!(world.events, [Output::MediaCutOff { identity: bob, reason: GONE }]);
    assert_eq!(world.service.metrics().gone, 1);
    world.commit("carol").unwrap();
    world.assert_agree(&["alice", "carol"]);
    world.pass(Duration::from_millis(10));
    assert_eq!(world.service.next_deadline(), None);
}

#[test]
fn who_comes_back_in_time_stays() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.disconnect("bob");
    world.pass(Duration::from_millis(2_000));
    world.commit("alice").unwrap();
    world.connect("bob");
    world.pass(Duration::from_secs(60));
    assert!(world.client("alice").pending.is_empty());
    assert!(world.events.is_empty());
    world.assert_agree(&["alice", "bob", "carol"]);
}

#[test]
fn who_comes_back_before_the_commit_withdraws_the_removal() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.disconnect("bob");
    world.pass(Duration::from_secs(4));
    assert_eq!(world.client("alice").pending.len(), 1);
    world.connect("bob");
    assert!(world.client("alice").pending.is_empty());
    assert!(world.client("bob").pending.is_empty());
    let bob = Identity::new("bob");
    assert!(world.events.contains(&Output::MediaRestored { identity: bob }));
    world.commit("bob").unwrap();
    world.assert_agree(&["alice", "bob", "carol"]);
}

#[test]
fn a_new_connection_takes_the_place_of_the_former_one() {
    let mut world = World::with_members(&["alice", "bob"]);
    let former = world.client("bob").connection.unwrap();
    world.connect("bob");
    // The former socket closes later; bob is not gone.
    world.service.disconnect(former, world.now);
    world.pump();
    world.pass(Duration::from_secs(10));
    assert!(world.client("alice").pending.is_empty());
    world.commit("alice").unwrap();
    world.assert_agree(&["alice", "bob"]);
}

#[test]
fn a_joiner_that_goes_away_is_no_longer_pending() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.add_client("carol", false);
    world.join("carol").unwrap();
    world.disconnect("carol");
    world.pass(Duration::from_millis(2_999));
    assert_eq!(world.client("alice").pending.len(), 1);
    world.pass(Duration::from_millis(1));
    assert!(world.client("alice").pending.is_empty());
}

#[test]
fn one_who_is_added_while_away_is_removed_again() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.add_client("carol", false);
    world.join("carol").unwrap();
    world.disconnect("carol");
    world.commit("alice").unwrap();
    assert_eq!(world.service.members(), 3);
    world.pass(Duration::from_secs(3));
    assert!(matches!(
        world.client("alice").kinds().as_slice(),
        [ChangeKind::Remove { leaf: 2, reason: GONE, .. }]
    ));
}

#[test]
fn another_one_is_asked_when_the_creator_does_not_create() {
    let mut world = World::new();
    world.add_client("alice", false);
    world.add_client("bob", false);
    world.add_client("carol", false);
    assert!(world.client("alice").create);
    world.pass(Duration::from_millis(3_000));
    assert!(!world.client("alice").create);
    assert!(world.client("bob").create);
    world.disconnect("bob");
    assert!(world.client("carol").create);
    world.pass(Duration::from_millis(3_000));
    assert!(world.client("alice").create);
    world.ask("alice", DeliveryRequest::Leave).unwrap();
    assert!(world.client("carol").create);
}

#[test]
fn a_call_that_everybody_left_begins_anew() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.ask("alice", DeliveryRequest::Leave).unwrap();
    assert_eq!(world.service.members(), 2);
    world.ask("bob", DeliveryRequest::Leave).unwrap();
    assert_eq!(world.service.epoch(), None);
    assert_eq!(world.service.metrics().groups_closed.get("abandoned"), Some(&1));
    world.disconnect("alice");
    world.disconnect("bob");
    world.add_client("carol", false);
    assert!(world.client("carol").create);
    world.create_group("carol").unwrap();
    world.assert_agree(&["carol"]);
}

#[test]
fn a_sole_member_that_slept_goes_on_unless_somebody_else_came() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.ask("bob", DeliveryRequest::Leave).unwrap();
    world.commit("alice").unwrap();
    world.disconnect("bob");
    world.disconnect("alice");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.service.epoch(), Some(2));
    assert!(world.service.is_idle());
    world.connect("alice");
    world.commit("alice").unwrap();
    world.assert_agree(&["alice"]);
    world.disconnect("alice");
    world.pass(Duration::from_secs(60));
    world.add_client("carol", false);
    assert_eq!(world.service.epoch(), None);
    assert!(world.client("carol").create);
}

#[test]
fn a_sole_member_without_state_begins_a_new_group() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.ask("bob", DeliveryRequest::Leave).unwrap();
    world.commit("alice").unwrap();
    world.join("alice").unwrap();
    assert!(world.client("alice").create);
    world.create_group("alice").unwrap();
    world.assert_agree(&["alice"]);
}

#[test]
fn half_of_the_members_vanish_and_come_back() {
    let names = ["alice", "bob", "carol", "dave", "erin", "frank"];
    let mut world = World::with_members(&names);
    for name in ["dave", "erin", "frank"] {
        world.disconnect(name);
    }
    world.pass(Duration::from_secs(5));
    world.commit("bob").unwrap();
    world.assert_agree(&["alice", "bob", "carol"]);
    world.pass(Duration::from_secs(25));
    for name in ["dave", "erin", "frank"] {
        world.connect(name);
        assert!(world.service.leaf_of(&Identity::new(name)).is_none());
        world.join(name).unwrap();
    }
    world.commit("alice").unwrap();
    world.assert_agree(&names);
}

#[test]
fn who_left_may_come_back_to_a_call_without_a_group() {
    let mut world = World::with_members(&["alice"]);
    world.ask("alice", DeliveryRequest::Leave).unwrap();
    assert_eq!(world.service.epoch(), None);
    assert!(!world.client("alice").create);
    assert_eq!(world.join("alice"), Err(RefusalCode::NoGroup));
    assert!(world.client("alice").create);
    world.create_group("alice").unwrap();
    world.ask("alice", DeliveryRequest::Leave).unwrap();
    world.connect("alice");
    assert!(world.client("alice").create);
    let alice = Identity::new("alice");
    world.create_group("alice").unwrap();
    assert_eq!(world.events.last(), Some(&Output::MediaRestored { identity: alice }));
}
