//! A server that shows two histories, or keeps back what it should pass on: signed heartbeats, and their absence, tell.

use std::cell::RefCell;
use std::rc::Rc;

use call_session::HistoryAlarm;
use sframe_bridge::Now;
use sfu_protocol::{Blob, DeliveryEvent, DeliveryRequest, EntryKind, LogEntry};

use super::{INVITE, session, state, stats};
use crate::call;
use crate::world::World;

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn relaying(names: &[&str]) -> World {
    let mut world = World { relays: true, ..World::default() };
    for name in names {
        world.arrive(name, INVITE);
        world.run(2_000);
    }
    world.agree(names);
    world
}

/// The leaf that a heartbeat names.
fn leaf_in(heartbeat: &[u8]) -> u32 {
    u32::from_be_bytes(heartbeat[1..5].try_into().unwrap())
}

/// Two members commit at the same time. One half of the call gets one commit, the other half the other.
fn fork(world: &mut World) {
    let epoch = world.agree(&NAMES);
    world.lose_submissions = true;
    for name in ["alice", "carol"] {
        session(world, name).want_new_epoch(Now::from_millis(0));
    }
    world.run(50);
    let lost = std::mem::take(&mut world.lost);
    let seq = world.log.len() as u64;
    for (committer, half) in [("alice", ["alice", "bob"]), ("carol", ["carol", "dave"])] {
        let (_, request) = lost.iter().find(|(name, _)| name == committer).unwrap();
        let DeliveryRequest::Submit { commit, .. } = request else { panic!("expected a commit") };
        let (kind, message) = (EntryKind::Commit, commit.clone());
        for name in half {
            let message = message.clone();
            let entry = LogEntry { seq, epoch, kind, sender: None, message };
            world.tell(name, DeliveryEvent::Entry { entry });
        }
    }
    world.run(50);
    for name in NAMES {
        assert_eq!(world.members[name].session.epoch(), Some(epoch + 1), "{name}");
    }
    let key = |name: &str| world.members[name].keys[&(epoch + 1)].clone();
    assert_eq!(key("alice"), key("bob"));
    assert_eq!(key("carol"), key("dave"));
    assert_ne!(key("alice"), key("carol"));
}

#[test]
fn two_histories_shown_to_two_halves() {
    let mut world = relaying(&NAMES);
    world.run(5_000);
    for name in NAMES {
        assert_eq!(stats(&world, name).history_alarms, 0, "{name}");
        assert!(stats(&world, name).heartbeats_confirmed >= 3, "{name}");
    }
    fork(&mut world);
    world.run(35_000);
    for (name, others) in [("alice", [2, 3]), ("bob", [2, 3]), ("carol", [0, 1]), ("dave", [0, 1])]
    {
        let member = &world.members[name];
        let epoch = member.session.epoch().unwrap();
        for leaf in others {
            let alarm = HistoryAlarm::OtherHistory { leaf, epoch };
            assert!(member.history.contains(&alarm), "{name}: {:?}", member.history);
        }
        assert!(stats(&world, name).history_alarms >= 2, "{name}");
    }
}

/// So the server keeps the heartbeats of one half from the other. Then too few confirm, and nobody goes on sending.
#[test]
fn two_histories_with_heartbeats_kept_apart() {
    let mut world = relaying(&NAMES);
    world.run(5_000);
    fork(&mut world);
    world.censor = Some(Box::new(|name, event| match event {
        DeliveryEvent::Heartbeats { heartbeats } => {
            let first_half = ["alice", "bob"].contains(&name);
            let same = |heartbeat: &Blob| (leaf_in(heartbeat) < 2) == first_half;
            let heartbeats: Vec<_> = heartbeats.into_iter().filter(same).collect();
            Some(DeliveryEvent::Heartbeats { heartbeats })
        }
        other => Some(other),
    }));
    world.run(110_000);
    for name in NAMES {
        let member = &world.members[name];
        let alarm = HistoryAlarm::TooFewConfirm { confirmed: 1, of: 3 };
        assert!(member.history.contains(&alarm), "{name}: {:?}", member.history);
        assert!(!member.sending, "{name}");
        let now = Now::from_millis(world.moment().now.as_millis());
        assert_eq!(member.session.unconfirmed(now).len(), 2, "{name}");
    }
}

/// A commit reaches everybody but one: the others' heartbeats speak of an epoch that does not come.
#[test]
fn a_commit_that_the_server_withholds() {
    let mut world = relaying(&NAMES);
    let epoch = world.agree(&NAMES);
    let before = state(&world, "dave");
    world.censor = Some(Box::new(|name, event| match event {
        DeliveryEvent::Entry { .. } | DeliveryEvent::Log { .. } if name == "dave" => None,
        other => Some(other),
    }));
    session(&mut world, "carol").leave();
    world.run(10_000);
    let dave = &world.members["dave"];
    let overdue = HistoryAlarm::RemovalOverdue { leaf: 2 };
    let withheld = HistoryAlarm::Withheld { epoch: epoch + 1 };
    assert!(dave.history.contains(&withheld), "{:?}", dave.history);
    assert!(!world.members["alice"].history.contains(&overdue));
    assert_eq!(state(&world, "dave"), before);
    world.censor = None;
    world.disconnect("dave");
    world.connect("dave");
    world.run(500);
    world.agree(&["alice", "bob", "dave"]);
}

/// No commit is let through, so that somebody who left can go on listening: everybody is told.
#[test]
fn a_removal_that_the_server_does_not_let_happen() {
    let mut world = relaying(&NAMES);
    let epoch = world.agree(&NAMES);
    world.lose_submissions = true;
    session(&mut world, "carol").leave();
    world.run(4_500);
    assert!(NAMES.iter().all(|name| stats(&world, name).history_alarms == 0));
    world.run(1_500);
    for name in ["alice", "bob", "dave"] {
        let alarm = HistoryAlarm::RemovalOverdue { leaf: 2 };
        assert_eq!(world.members[name].history, [alarm], "{name}");
        assert_eq!(stats(&world, name).history_alarms, 1, "{name}");
        assert_eq!(world.members[name].session.epoch(), Some(epoch), "{name}");
    }
    world.lose_submissions = false;
    world.run(3_000);
    assert!(!world.leaves.contains_key("carol"));
}

/// The server makes up heartbeats, alters them, and repeats old ones.
#[test]
fn heartbeats_that_are_forged_or_repeated() {
    let mut world = call(&["alice", "bob"]);
    let caught: Rc<RefCell<Vec<Blob>>> = Rc::default();
    let catch = Rc::clone(&caught);
    world.relays = true;
    world.censor = Some(Box::new(move |_, event| {
        if let DeliveryEvent::Heartbeats { heartbeats } = &event {
            catch.borrow_mut().extend(heartbeats.iter().cloned());
        }
        Some(event)
    }));
    world.run(40_000);
    let alices = caught.borrow().iter().rfind(|blob| leaf_in(blob) == 0).unwrap().to_vec();
    let before = (state(&world, "bob"), stats(&world, "bob"));
    assert!(before.1.heartbeats_confirmed > 0);
    world.censor = None;
    let mut ignored = 0;
    let mut hear = |heartbeat: Vec<u8>| {
        ignored += 1;
        let heartbeats = vec![heartbeat.into()];
        world.tell("bob", DeliveryEvent::Heartbeats { heartbeats });
        world.run(5);
        let stats = stats(&world, "bob");
        assert_eq!(stats.heartbeats_confirmed, before.1.heartbeats_confirmed);
        assert_eq!(stats.heartbeats_ignored, before.1.heartbeats_ignored + ignored);
        assert_eq!(stats.history_alarms, 0);
    };
    hear(alices.clone());
    for byte in 0..alices.len() {
        let mut altered = alices.clone();
        // A greater number, so that it is not one that came before.
        altered[14] = 0x7f;
        altered[byte] ^= 1;
        hear(altered);
        hear(alices[..byte].to_vec());
    }
    assert_eq!(state(&world, "bob"), before.0);
}

/// Nobody is heard for longer than two heartbeats take: nothing is sent until they are.
#[test]
fn a_server_that_withholds_heartbeats() {
    let mut world = relaying(&NAMES);
    world.run(5_000);
    world.relays = false;
    world.run(30_000);
    assert!(NAMES.iter().all(|name| world.members[*name].sending));
    world.run(70_000);
    assert!(NAMES.iter().all(|name| !world.members[*name].sending));
    world.relays = true;
    world.run(65_000);
    assert!(NAMES.iter().all(|name| world.members[*name].sending));
    world.agree(&NAMES);
}
