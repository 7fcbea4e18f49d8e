//! Sessions without sockets: members, a server in a few lines, and a clock that is turned by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attacks;
mod evil;
mod member;
mod rogue;
mod table;
mod world;

use std::collections::BTreeSet;

use call_session::Status;
use sfu_protocol::{EntryKind, Identity, LogEntry, Refusal, RefusalCode, RemovalReason};

use world::World;

pub(crate) fn call(names: &[&str]) -> World {
    let mut world = World::default();
    for name in names {
        world.arrive(name, "secret of the link");
        world.run(2000);
    }
    world.agree(names);
    world
}

#[test]
fn members_come_one_by_one_and_two_at_once() {
    let mut world = call(&["alice"]);
    world.arrive("bob", "secret of the link");
    world.run(100);
    world.agree(&["alice", "bob"]);
    assert_eq!(world.commits, 1, "the first join is not delayed");
    world.arrive("carol", "secret of the link");
    world.arrive("dave", "secret of the link");
    world.run(1000);
    world.agree(&["alice", "bob", "carol", "dave"]);
    assert_eq!(world.commits, 2, "one commit takes both");
    // Nobody who came later has the key of an earlier epoch.
    assert_eq!(world.members["carol"].epochs, [2]);
    assert_eq!(world.members["alice"].epochs, [0, 1, 2]);
    let keys: BTreeSet<_> = world.members["alice"].keys.values().collect();
    assert_eq!(keys.len(), 3);
}

#[test]
fn who_leaves_is_removed_at_once() {
    let mut world = call(&["alice", "bob", "carol"]);
    world.members.get_mut("bob").unwrap().session.leave();
    world.run(60);
    assert_eq!(*world.status("bob"), Status::Left);
    assert!(world.members["bob"].ended);
    let epoch = world.agree(&["alice", "carol"]);
    assert!(!world.members["bob"].keys.contains_key(&epoch));
    // Two may have built the commit at the same time; one won.
    assert!(world.stale <= 1);
}

#[test]
fn who_is_gone_is_removed_by_the_others_and_comes_back_anew() {
    let mut world = call(&["alice", "bob", "carol"]);
    // Alice would be the one to commit, and is the one who is gone.
    world.disconnect("alice");
    world.run(500);
    world.gone("alice", RemovalReason::Gone);
    world.run(500);
    let epoch = world.agree(&["bob", "carol"]);
    world.connect("alice");
    world.run(1500);
    let back = world.agree(&["alice", "bob", "carol"]);
    assert!(back > epoch);
    assert!(!world.members["alice"].keys.contains_key(&epoch));
    assert!(world.members["alice"].ended);
}

#[test]
fn who_was_away_replays_the_log() {
    let mut world = call(&["alice", "bob", "carol"]);
    world.disconnect("carol");
    world.arrive("dave", "secret of the link");
    world.run(1500);
    world.members.get_mut("bob").unwrap().session.leave();
    world.run(500);
    assert_eq!(*world.status("carol"), Status::Offline);
    let missed = world.members["carol"].epochs.len();
    world.connect("carol");
    world.run(100);
    world.agree(&["alice", "carol", "dave"]);
    let carol = &world.members["carol"];
    assert_eq!(carol.epochs.len(), missed + 2, "both epochs were replayed");
    assert!(!carol.ended, "it kept its keys");
}

#[test]
fn a_moderator_removes_somebody_by_a_proposal_in_the_log() {
    let mut world = call(&["alice", "bob", "carol"]);
    world.members.get_mut("alice").unwrap().session.remove(&Identity::new("carol")).unwrap();
    world.run(500);
    world.agree(&["alice", "bob"]);
    assert_eq!(*world.status("carol"), Status::Removed);
    assert!(world.log.iter().any(|entry| entry.kind == EntryKind::Proposal));
    let unknown = world.members.get_mut("alice").unwrap().session.remove(&Identity::new("carol"));
    assert!(unknown.is_err());
}

#[test]
fn whom_a_moderator_removed_while_it_was_away_hears_so_at_the_door() {
    let mut world = call(&["alice", "bob", "carol"]);
    world.disconnect("carol");
    world.members.get_mut("alice").unwrap().session.remove(&Identity::new("carol")).unwrap();
    world.run(500);
    world.turn_away("carol", Refusal::new(RefusalCode::Removed, "removed"));
    world.run(10);
    assert_eq!(*world.status("carol"), Status::Removed);
}

#[test]
fn an_answer_that_is_lost_does_no_harm() {
    let mut world = call(&["alice", "bob"]);
    world.lose_next_commit_reply = true;
    world.arrive("carol", "secret of the link");
    world.run(3000);
    world.agree(&["alice", "bob", "carol"]);
}

/// The connection breaks before the server has heard of the group: the one who is to make it makes it again.
#[test]
fn a_group_whose_creation_was_lost_is_made_again() {
    let mut world = World { lose_create: true, ..World::default() };
    world.arrive("alice", "secret of the link");
    world.run(100);
    assert!(world.group.is_none());
    world.lose_create = false;
    world.disconnect("alice");
    world.connect("alice");
    world.run(100);
    world.agree(&["alice"]);
}

/// The storage is away for so long that a member is refused again and again; in the end its first commit, of which nobody
/// knew, is in the log, or it is not.
#[test]
fn a_commit_whose_fate_is_unknown_counts_when_it_comes() {
    for taken in [true, false] {
        let mut world = call(&["alice", "bob", "carol"]);
        let epoch = world.agree(&["alice", "bob", "carol"]);
        world.storage_away = true;
        let now = sframe_bridge::Now::from_millis(0);
        world.members.get_mut("alice").unwrap().session.want_new_epoch(now);
        world.run(4_000);
        assert!(world.lost.len() > 8, "{} submissions", world.lost.len());
        assert_eq!(world.agree(&["alice", "bob", "carol"]), epoch);
        world.storage_away = false;
        let (first, request) = world.lost.remove(0);
        if taken {
            world.answer(&first, request).unwrap().unwrap();
        }
        world.run(1_000);
        assert_eq!(world.agree(&["alice", "bob", "carol"]), epoch + 1, "taken: {taken}");
        for name in ["alice", "bob", "carol"] {
            let stats = world.members[name].session.stats();
            assert_eq!(
                (stats.resyncs, stats.failures_reported, stats.ignored),
                (0, 0, 0),
                "{name}"
            );
        }
    }
}

#[test]
fn a_commit_that_fails_here_only_leads_to_a_resync() {
    let mut world = call(&["alice", "bob", "carol"]);
    // Carol's copy of the next commit is damaged on its way: for her it is not the winner's.
    world.disconnect("carol");
    world.members.get_mut("bob").unwrap().session.leave();
    world.run(500);
    let last = world.log.len() - 1;
    let sound = world.log[last].message.clone();
    let epoch = world.group.as_ref().unwrap().epoch;
    // The log gives her nothing, though the head has moved: she cannot follow.
    let entry = world.log.remove(last);
    world.connect("carol");
    world.run(20);
    world.log.insert(last, LogEntry { message: sound, ..entry });
    world.run(1000);
    let after = world.agree(&["alice", "carol"]);
    assert!(after > epoch);
    assert_eq!(world.members["carol"].begun, 2, "media keys begin anew");
}

#[test]
fn without_the_secret_of_the_link_nobody_gets_in() {
    let mut world = call(&["alice"]);
    world.arrive("mallory", "another secret");
    world.run(1500);
    assert!(matches!(world.status("mallory"), Status::Failed { .. }));
    assert!(world.members["mallory"].keys.is_empty());
}

#[test]
fn a_random_history_keeps_everybody_together() {
    let mut world = call(&["alice", "bob", "carol", "dave"]);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut dice = |sides: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % sides
    };
    let mut present = vec!["alice", "bob", "carol", "dave"];
    let mut away: Vec<&str> = Vec::new();
    let mut spare = vec!["erin", "frank", "grace"];
    for _ in 0..60 {
        match dice(4) {
            0 if !spare.is_empty() => {
                let name = spare.remove(0);
                world.arrive(name, "secret of the link");
                present.push(name);
            }
            1 if present.len() > 3 => {
                let name = present.remove(dice(present.len() as u64) as usize);
                if world.members[name].session.epoch().is_some() {
                    world.members.get_mut(name).unwrap().session.leave();
                    spare.push(name);
                } else {
                    present.push(name);
                }
            }
            2 if present.len() > 3 && away.is_empty() => {
                let name = present.remove(0);
                if world.members[name].session.epoch().is_some() {
                    world.disconnect(name);
                    away.push(name);
                } else {
                    present.push(name);
                }
            }
            _ => {
                if let Some(name) = away.pop() {
                    world.connect(name);
                    present.push(name);
                }
            }
        }
        world.run(5 + 5 * dice(80));
    }
    if let Some(name) = away.pop() {
        world.connect(name);
        present.push(name);
    }
    world.run(5000);
    world.agree(&present);
    assert!(world.group.as_ref().unwrap().epoch > 20);
}
