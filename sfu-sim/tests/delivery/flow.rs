use std::time::Duration;

use sfu_sim::delivery::Output;
use sfu_sim::protocol::{
    ChangeKind, DeliveryEvent, DeliveryRequest, Identity, RefusalCode, RemovalReason, ServerBody,
    SessionEvent,
};

use crate::world::World;

fn appended(body: &ServerBody) -> (u64, u64) {
    match body {
        ServerBody::Delivery(DeliveryEvent::Appended { seq, head }) => (*seq, *head),
        other => panic!("expected an append, found {other:?}"),
    }
}

#[test]
fn the_first_participant_creates_and_the_others_are_added() {
    let mut world = World::new();
    world.add_client("alice", false);
    world.add_client("bob", false);
    assert!(world.client("alice").create);
    assert!(!world.client("bob").create);
    assert_eq!(world.join("bob"), Err(RefusalCode::NoGroup));
    assert!(matches!(
        world.create_group("alice"),
        Ok(ServerBody::Delivery(DeliveryEvent::Created { .. }))
    ));
    assert!(world.client("bob").has_group);
    assert_eq!(world.join("bob"), Ok(ServerBody::Session(SessionEvent::Done)));
    world.add_client("carol", false);
    world.join("carol").unwrap();
    let kinds = world.client("alice").kinds();
    assert!(matches!(kinds.as_slice(), [
        ChangeKind::Add { identity, name, .. },
        ChangeKind::Add { .. },
    ] if identity.as_str() == "bob" && name == "bob's name"));
    let (seq, head) = appended(&world.commit("alice").unwrap());
    assert_eq!((seq, head), (1, 1));
    world.assert_agree(&["alice", "bob", "carol"]);
    assert!(world.client("alice").pending.is_empty());
    assert_eq!(world.service.metrics().members_added, 2);
}

#[test]
fn a_commit_comes_back_as_an_entry_before_its_reply() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.client("alice").seen.clear();
    world.commit("alice").unwrap();
    let seen = &world.client("alice").seen;
    let entry = seen.iter().position(|message| {
        matches!(message.body, ServerBody::Delivery(DeliveryEvent::Entry { .. }))
    });
    let reply = seen.iter().position(|message| message.re.is_some());
    assert!(entry.unwrap() < reply.unwrap());
}

#[test]
fn of_two_racing_commits_one_wins_and_the_other_hears_of_it_first() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    let first = world.build("alice", |_| true);
    let second = world.build("bob", |_| true);
    // Both are there before the storage has answered.
    world.hold_storage = true;
    let first = world.post("alice", first);
    let second = world.post("bob", second);
    assert!(world.reply("alice", first).is_none());
    assert!(world.reply("bob", second).is_none());
    world.client("bob").seen.clear();
    world.release_storage();
    assert_eq!(appended(&world.reply("alice", first).unwrap().unwrap()).1, 2);
    let reply = world.reply("bob", second).unwrap();
    assert_eq!(reply, Err(RefusalCode::StaleEpoch { head: 2 }));
    let seen = &world.client("bob").seen;
    let winner = seen.iter().position(|message| {
        matches!(message.body, ServerBody::Delivery(DeliveryEvent::Entry { .. }))
    });
    let refused = seen.iter().position(|message| message.re == Some(second));
    assert!(winner.unwrap() < refused.unwrap());
    world.assert_agree(&["alice", "bob", "carol"]);
    assert_eq!(world.service.metrics().epochs_with_two_winners, 0);
}

#[test]
fn nothing_is_told_before_the_storage_has_it() {
    let mut world = World::with_members(&["alice", "bob"]);
    for client in world.clients.values_mut() {
        client.seen.clear();
    }
    world.hold_storage = true;
    let bundle = world.build("alice", |_| true);
    let id = world.post("alice", bundle);
    world.pass(Duration::from_secs(1));
    for name in ["alice", "bob"] {
        assert!(!world.client(name).seen.iter().any(|message| matches!(
            message.body,
            ServerBody::Delivery(DeliveryEvent::Entry { .. } | DeliveryEvent::Appended { .. })
        )));
    }
    world.release_storage();
    assert!(world.reply("alice", id).unwrap().is_ok());
}

#[test]
fn who_leaves_is_cut_off_at_once_and_removed() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.ask("bob", DeliveryRequest::Leave).unwrap();
    let bob = Identity::new("bob");
    let cut = Output::MediaCutOff { identity: bob.clone(), reason: RemovalReason::Left };
    assert_eq!(world.events, [cut]);
    assert!(matches!(
        world.client("carol").kinds().as_slice(),
        [ChangeKind::Remove { leaf: 1, reason: RemovalReason::Left, proposal: None, .. }]
    ));
    world.commit("carol").unwrap();
    world.assert_agree(&["alice", "carol"]);
    let removed = Output::Removed { identity: bob.clone(), reason: RemovalReason::Left };
    assert!(world.events.contains(&removed));
    assert!(!world.group("bob").is_active());
    // Who left may come again.
    world.join("bob").unwrap();
    assert!(world.events.contains(&Output::MediaRestored { identity: bob }));
    world.commit("alice").unwrap();
    world.assert_agree(&["alice", "bob", "carol"]);
}

#[test]
fn a_moderator_removes_by_a_logged_proposal() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.add_client("mod", true);
    world.join("mod").unwrap();
    world.commit("alice").unwrap();
    let leaf = world.group("bob").own_leaf();
    let rng = &mut mls::crypto::os_rng();
    let group = world.client("mod").group.as_mut().unwrap();
    let proposal = group.propose_remove(leaf, rng).unwrap().message;
    let reply = world.ask("mod", DeliveryRequest::Propose { proposal: proposal.into() });
    appended(&reply.unwrap());
    let bob = Identity::new("bob");
    let reason = RemovalReason::Moderator;
    assert!(world.events.contains(&Output::MediaCutOff { identity: bob.clone(), reason }));
    assert!(matches!(
        world.client("carol").kinds().as_slice(),
        [ChangeKind::Remove { proposal: Some(_), reason: RemovalReason::Moderator, .. }]
    ));
    world.commit("carol").unwrap();
    world.assert_agree(&["alice", "carol", "mod"]);
    assert!(world.events.contains(&Output::Removed { identity: bob, reason }));
    assert_eq!(world.join("bob"), Err(RefusalCode::Removed));
    assert_eq!(world.service.metrics().proposals_accepted, 1);
}

#[test]
fn a_proposed_removal_that_a_resync_made_void_is_committed_by_value() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.add_client("mod", true);
    world.join("mod").unwrap();
    world.commit("alice").unwrap();
    world.pass(Duration::from_millis(20));
    let leaf = world.group("bob").own_leaf();
    let group = world.client("mod").group.as_mut().unwrap();
    let proposal = group.propose_remove(leaf, &mut mls::crypto::os_rng()).unwrap().message;
    world.ask("mod", DeliveryRequest::Propose { proposal: proposal.into() }).unwrap();
    let (resync, joining) = world.build_resync("carol");
    world.client("carol").follows = false;
    world.ask("carol", resync).unwrap();
    world.client("carol").group = Some(joining.confirm());
    world.client("carol").follows = true;
    assert!(matches!(
        world.client("alice").kinds().as_slice(),
        [ChangeKind::Remove { proposal: None, reason: RemovalReason::Moderator, .. }]
    ));
    world.commit("alice").unwrap();
    world.assert_agree(&["alice", "carol", "mod"]);
    assert_eq!(world.join("bob"), Err(RefusalCode::Removed));
}

#[test]
fn logged_proposals_are_committed_by_reference() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.ask("carol", DeliveryRequest::Leave).unwrap();
    let group = world.client("alice").group.as_mut().unwrap();
    let update = group.propose_update(&mut mls::crypto::os_rng()).unwrap().message;
    world.ask("alice", DeliveryRequest::Propose { proposal: update.into() }).unwrap();
    assert_eq!(world.client("bob").pending.len(), 2);
    world.commit("bob").unwrap();
    world.assert_agree(&["alice", "bob"]);
    assert!(world.client("bob").pending.is_empty());
}

#[test]
fn proposals_come_with_the_commit_that_refers_to_them() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.add_client("mod", true);
    world.join("mod").unwrap();
    world.commit("alice").unwrap();
    let leaf = world.group("bob").own_leaf();
    let group = world.client("mod").group.as_mut().unwrap();
    let proposal = group.propose_remove(leaf, &mut mls::crypto::os_rng()).unwrap().message;
    let mut bundle = world.build("mod", |_| true);
    // Without the proposal the commit refers to something that nobody has.
    let committing = world.client("mod").committing.take();
    assert_eq!(world.ask("mod", bundle.clone()), Err(RefusalCode::InvalidCommit));
    world.client("mod").committing = committing;
    bundle.proposals.push(proposal.into());
    let (seq, _) = appended(&world.ask("mod", bundle).unwrap());
    world.assert_agree(&["alice", "carol", "mod"]);
    let of_bundle = world.client("alice").entries.iter().filter(|entry| entry.seq == seq).count();
    assert_eq!(of_bundle, 2);
    assert_eq!(world.join("bob"), Err(RefusalCode::Removed));
}

#[test]
fn acknowledgements_are_aggregated() {
    let names: Vec<String> = (0..20).map(|number| format!("member{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::with_members(&names);
    for client in world.clients.values_mut() {
        client.seen.clear();
    }
    world.commit("member03").unwrap();
    world.pass(Duration::from_millis(50));
    for client in world.clients.values() {
        let told: Vec<_> = client
            .seen
            .iter()
            .filter_map(|message| match &message.body {
                ServerBody::Delivery(DeliveryEvent::Acknowledged { epoch, leaves }) => {
                    Some((*epoch, leaves.len()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(told, [(2, 20)], "{}", client.name);
    }
}

#[test]
fn heartbeats_are_relayed_together_and_failures_at_once() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    for (name, byte) in [("alice", 1), ("bob", 2)] {
        let heartbeat = vec![byte; 8].into();
        world.ask(name, DeliveryRequest::Heartbeat { epoch: 1, heartbeat }).unwrap();
    }
    world.client("carol").seen.clear();
    world.pass(Duration::from_secs(1));
    let told: Vec<_> = world.client("carol").seen.iter().collect();
    assert!(matches!(&told[..], [message]
        if matches!(&message.body, ServerBody::Delivery(DeliveryEvent::Heartbeats { heartbeats })
            if heartbeats.len() == 2)));
    let report = vec![9; 8].into();
    world.ask("alice", DeliveryRequest::ReportFailure { epoch: 0, report }).unwrap();
    assert!(world.client("carol").seen.iter().any(|message| matches!(
        message.body,
        ServerBody::Delivery(DeliveryEvent::FailureReported { epoch: 0, leaf: 0, .. })
    )));
}

#[test]
fn too_many_failures_bring_a_new_group() {
    let mut world = World::with_members(&["alice", "bob", "carol", "dave"]);
    for name in ["bob", "carol"] {
        assert!(world.client(name).has_group);
        let report = vec![0].into();
        world.ask(name, DeliveryRequest::ReportFailure { epoch: 0, report }).unwrap();
    }
    assert_eq!(world.service.epoch(), None);
    assert_eq!(world.service.metrics().groups_closed.get("failed"), Some(&1));
    let creators: Vec<&str> = ["alice", "bob", "carol", "dave"]
        .into_iter()
        .filter(|name| world.clients[*name].create && !world.clients[*name].has_group)
        .collect();
    assert_eq!(creators, ["alice"]);
    world.create_group("alice").unwrap();
    for name in ["bob", "carol", "dave"] {
        world.join(name).unwrap();
    }
    world.commit("alice").unwrap();
    world.assert_agree(&["alice", "bob", "carol", "dave"]);
}

#[test]
fn a_member_resyncs_and_keeps_its_place_in_the_call() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.client("bob").follows = false;
    world.commit("alice").unwrap();
    world.pass(Duration::from_millis(20));
    let (bundle, joining) = world.build_resync("bob");
    appended(&world.ask("bob", bundle).unwrap());
    world.client("bob").group = Some(joining.confirm());
    world.client("bob").follows = true;
    world.assert_agree(&["alice", "bob", "carol"]);
    assert_eq!(world.service.metrics().resyncs, 1);
    assert!(!world.events.iter().any(|event| matches!(event, Output::Removed { .. })));
    world.commit("bob").unwrap();
    world.assert_agree(&["alice", "bob", "carol"]);
}

#[test]
fn the_group_info_is_served_once_another_member_has_confirmed_it() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    for name in ["bob", "carol"] {
        world.client(name).acknowledges = false;
    }
    world.commit("alice").unwrap();
    // The committer's own word does not count, nor that of the one who asks.
    world.ask("bob", DeliveryRequest::Ack { epoch: 2, external_pub: None }).unwrap();
    let id = world.post("bob", DeliveryRequest::FetchGroupInfo);
    assert!(world.reply("bob", id).is_none());
    world.ask("carol", DeliveryRequest::Ack { epoch: 2, external_pub: None }).unwrap();
    assert!(matches!(
        world.reply("bob", id),
        Some(Ok(ServerBody::Delivery(DeliveryEvent::GroupInfo { epoch: 2, .. })))
    ));
    // Nobody confirms the next one: the request is refused in the end.
    world.commit("alice").unwrap();
    let id = world.post("bob", DeliveryRequest::FetchGroupInfo);
    world.pass(Duration::from_millis(1_999));
    assert!(world.reply("bob", id).is_none());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.reply("bob", id), Some(Err(RefusalCode::Unavailable)));
    // Where there is no other member, whoever asks has to rely on the committer.
    world.disconnect("carol");
    assert!(world.fetch_group_info("bob").is_ok());
}

#[test]
fn a_late_joiner_gets_the_tree_of_its_epoch() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.add_client("carol", false);
    world.join("carol").unwrap();
    // The Welcome arrives late: two more commits have been made.
    world.client("carol").connection = None;
    world.commit("alice").unwrap();
    world.commit("bob").unwrap();
    world.connect("carol");
    world.assert_agree(&["alice", "bob", "carol"]);
    let unknown = world.ask("carol", DeliveryRequest::FetchTree { epoch: 1_000 });
    assert_eq!(unknown, Err(RefusalCode::UnknownEpoch { head: 3 }));
}

#[test]
fn a_client_without_state_joins_anew_in_the_place_of_its_former_leaf() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.join("bob").unwrap();
    let kinds = world.client("alice").kinds();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.iter().any(|kind| matches!(
        kind,
        ChangeKind::Remove { reason: RemovalReason::Rejoins, leaf: 1, .. }
    )));
    world.commit("alice").unwrap();
    world.assert_agree(&["alice", "bob", "carol"]);
    assert!(!world.events.iter().any(|event| matches!(event, Output::MediaCutOff { .. })));
}
