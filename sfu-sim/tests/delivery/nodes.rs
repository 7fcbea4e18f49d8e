//! Two processes that serve one call on one storage, without a network between them.

use std::sync::Arc;
use std::time::Duration;

use sfu_sim::delivery::{CallId, DeliveryConfig, MemoryStorage, NodeId, Note, NoteBody, Storage};
use sfu_sim::protocol::{ChangeKind, DeliveryRequest, Identity, RefusalCode, RemovalReason};

use crate::world::World;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

struct Pair {
    a: World,
    b: World,
    storage: Arc<dyn Storage>,
}

impl Pair {
    fn new() -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let config = DeliveryConfig::default();
        let a = World::at_node(config.clone(), Arc::clone(&storage), 1);
        let b = World::at_node(config, Arc::clone(&storage), 2);
        let mut pair = Self { a, b, storage };
        pair.a.service.say_hello();
        pair.b.service.say_hello();
        pair.exchange();
        pair
    }

    /// Alice and bob at the first process, carol and dave at the second.
    fn with_members() -> Self {
        let mut pair = Self::new();
        pair.a.add_members(&["alice", "bob"]);
        for name in ["carol", "dave"] {
            pair.b.add_client(name, false);
            pair.exchange();
            pair.b.join(name).unwrap();
            pair.exchange();
            pair.a.commit("alice").unwrap();
            pair.exchange();
        }
        pair
    }

    /// Lets both read the log and hear each other until neither has anything to say.
    fn exchange(&mut self) {
        loop {
            let length = *self.storage.watch(&CallId::new("room")).borrow();
            for world in [&mut self.a, &mut self.b] {
                world.service.records_available(length, world.now);
                world.pump();
                world.pass(Duration::from_millis(20));
            }
            let (of_a, of_b) = (notes(&mut self.a), notes(&mut self.b));
            if of_a.is_empty() && of_b.is_empty() {
                return;
            }
            deliver(of_a, A, &mut self.b);
            deliver(of_b, B, &mut self.a);
        }
    }

    fn assert_agree(&self, at_a: &[&str], at_b: &[&str]) {
        self.a.assert_agree(at_a);
        self.b.assert_agree(at_b);
        assert_eq!(self.a.service.epoch(), self.b.service.epoch());
        let secret = |world: &World, name: &str| {
            world.group(name).epoch_authenticator().unwrap().as_bytes().to_vec()
        };
        assert_eq!(secret(&self.a, at_a[0]), secret(&self.b, at_b[0]));
    }
}

fn notes(world: &mut World) -> Vec<Note> {
    std::iter::from_fn(|| world.service.poll_note()).collect()
}

fn deliver(notes: Vec<Note>, from: NodeId, to: &mut World) {
    for note in notes {
        to.service.noted(from, note, to.now);
        to.pump();
    }
}

#[test]
fn members_at_either_process_commit_and_hear_of_all_acknowledgements() {
    let mut pair = Pair::with_members();
    pair.assert_agree(&["alice", "bob"], &["carol", "dave"]);
    // The second process' member commits for somebody who came to the first one.
    pair.a.add_client("erin", false);
    pair.a.join("erin").unwrap();
    pair.exchange();
    pair.b.commit("dave").unwrap();
    pair.exchange();
    pair.assert_agree(&["alice", "bob", "erin"], &["carol", "dave"]);
    let epoch = pair.a.service.epoch().unwrap();
    for (world, name) in [(&pair.a, "alice"), (&pair.b, "carol")] {
        let mut leaves = world.clients[name].acknowledged[&epoch].clone();
        leaves.sort_unstable();
        assert_eq!(leaves, [0, 1, 2, 3, 4], "{name}");
    }
    for world in [&pair.a, &pair.b] {
        assert_eq!(world.service.metrics().epochs_with_two_winners, 0);
        assert_eq!(world.service.metrics().invalid_records, 0);
    }
}

#[test]
fn of_two_commits_at_two_processes_one_wins() {
    let mut pair = Pair::with_members();
    for world in [&mut pair.a, &mut pair.b] {
        world.hold_storage = true;
    }
    let (one, other) = (pair.a.build("alice", |_| true), pair.b.build("carol", |_| true));
    let (asked, asked_too) = (pair.a.post("alice", one), pair.b.post("carol", other));
    pair.b.release_storage();
    pair.a.release_storage();
    pair.exchange();
    assert!(pair.b.reply("carol", asked_too).unwrap().is_ok());
    let lost = pair.a.reply("alice", asked).unwrap();
    assert!(matches!(lost, Err(RefusalCode::StaleEpoch { .. })), "{lost:?}");
    pair.assert_agree(&["alice", "bob"], &["carol", "dave"]);
    assert_eq!(pair.a.service.metrics().commits_refused["stale_epoch"], 1);
}

#[test]
fn a_leave_at_one_process_is_committed_at_the_other() {
    let mut pair = Pair::with_members();
    pair.b.ask("dave", DeliveryRequest::Leave).unwrap();
    pair.exchange();
    assert!(matches!(
        pair.a.client("alice").kinds().as_slice(),
        [ChangeKind::Remove { reason: RemovalReason::Left, .. }]
    ));
    pair.a.commit("bob").unwrap();
    pair.exchange();
    pair.assert_agree(&["alice", "bob"], &["carol"]);
}

#[test]
fn members_of_a_process_that_died_move_to_the_other_or_are_removed() {
    let mut pair = Pair::with_members();
    pair.a.service.node_gone(B, pair.a.now);
    pair.a.pump();
    // Carol comes to the process that is left, with her group; dave never shows up again.
    let mut carol = pair.b.clients.remove("carol").unwrap();
    carol.connection = None;
    pair.a.clients.insert("carol".to_owned(), carol);
    pair.a.pass(Duration::from_millis(500));
    pair.a.connect("carol");
    pair.a.pass(Duration::from_secs(4));
    assert!(matches!(
        pair.a.client("carol").kinds().as_slice(),
        [ChangeKind::Remove { leaf: 3, reason: RemovalReason::Gone, .. }]
    ));
    pair.a.commit("carol").unwrap();
    pair.a.assert_agree(&["alice", "bob", "carol"]);
}

#[test]
fn a_client_that_moves_is_replaced_where_it_was() {
    let mut pair = Pair::with_members();
    let stays = pair.b.client("carol").connection.take().unwrap();
    let mut carol = pair.b.clients.remove("carol").unwrap();
    carol.pending.clear();
    pair.a.clients.insert("carol".to_owned(), carol);
    pair.a.connect("carol");
    pair.exchange();
    // The former connection ends late, and that says nothing any more.
    pair.b.service.disconnect(stays, pair.b.now);
    pair.exchange();
    for world in [&mut pair.a, &mut pair.b] {
        world.pass(Duration::from_secs(10));
        assert_eq!(world.service.metrics().gone, 0);
    }
    pair.exchange();
    pair.a.commit("carol").unwrap();
    pair.exchange();
    pair.assert_agree(&["alice", "bob", "carol"], &["dave"]);
}

#[test]
fn a_note_waits_until_the_log_has_been_read_that_far() {
    let mut pair = Pair::new();
    pair.a.add_members(&["alice"]);
    pair.a.add_client("bob", false);
    pair.a.join("bob").unwrap();
    // The other process hears of the request before it has read that there is a group.
    pair.b.hold_storage = true;
    let said = notes(&mut pair.a);
    deliver(said, A, &mut pair.b);
    assert_eq!(pair.b.service.metrics().pending, 0);
    pair.b.release_storage();
    assert_eq!(pair.b.service.metrics().pending, 1);
}

#[test]
fn a_process_that_comes_later_learns_who_is_there_and_what_waits() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let config = DeliveryConfig::default();
    let mut a = World::at_node(config.clone(), Arc::clone(&storage), 1);
    a.service.say_hello();
    a.add_members(&["alice", "bob"]);
    a.add_client("carol", false);
    a.join("carol").unwrap();
    notes(&mut a);
    let mut b = World::at_node(config, Arc::clone(&storage), 2);
    b.service.say_hello();
    let mut pair = Pair { a, b, storage };
    pair.exchange();
    assert_eq!(pair.b.service.metrics().pending, 1);
    pair.b.pass(Duration::from_secs(60));
    assert_eq!(pair.b.service.metrics().gone, 0, "those of the other process are there");
}

#[test]
fn each_process_asks_a_client_of_its_own_for_a_group_and_one_group_is_kept() {
    let mut pair = Pair::new();
    pair.a.add_client("alice", false);
    pair.b.add_client("bob", false);
    pair.exchange();
    assert!(pair.a.client("alice").create && pair.b.client("bob").create);
    pair.a.create_group("alice").unwrap();
    assert!(matches!(pair.b.create_group("bob"), Err(RefusalCode::StaleEpoch { .. })));
    pair.exchange();
    assert!(pair.b.client("bob").has_group && !pair.b.client("bob").create);
    pair.b.join("bob").unwrap();
    pair.exchange();
    pair.a.commit("alice").unwrap();
    pair.exchange();
    pair.assert_agree(&["alice"], &["bob"]);
}

#[test]
fn a_list_that_is_older_than_a_move_brings_nobody_back() {
    let mut pair = Pair::with_members();
    let hello = Note { after: 0, body: NoteBody::Hello };
    pair.b.service.noted(A, hello, pair.b.now);
    let list = notes(&mut pair.b);
    let mut carol = pair.b.clients.remove("carol").unwrap();
    carol.pending.clear();
    pair.a.clients.insert("carol".to_owned(), carol);
    pair.a.connect("carol");
    deliver(list, B, &mut pair.a);
    pair.exchange();
    for world in [&mut pair.a, &mut pair.b] {
        world.pass(Duration::from_secs(10));
        assert_eq!(world.service.metrics().gone, 0);
    }
    pair.a.commit("carol").unwrap();
    pair.exchange();
    pair.assert_agree(&["alice", "bob", "carol"], &["dave"]);
}

/// Which of the two connections that somebody has are answered.
fn answered(pair: &mut Pair, name: &str) -> [bool; 2] {
    [&mut pair.a, &mut pair.b].map(|world| {
        match world.ask(name, DeliveryRequest::FetchTree { epoch: 0 }) {
            Err(RefusalCode::Unavailable) => false,
            Err(RefusalCode::NotAMember) => true,
            other => panic!("{other:?}"),
        }
    })
}

/// Two clients with one identity come to both processes before either has heard of the other: one of them stays, and
/// both processes mean the same one.
#[test]
fn of_two_logins_at_two_processes_the_later_one_counts_once() {
    for later in [A, B] {
        let mut pair = Pair::with_members();
        let start = pair.a.now.max(pair.b.now);
        let (one, two) = (start, start + Duration::from_millis(5));
        (pair.a.now, pair.b.now) = if later == A { (two, one) } else { (one, two) };
        pair.a.add_client("erin", false);
        pair.b.add_client("erin", false);
        pair.exchange();
        assert_eq!(answered(&mut pair, "erin"), [later == A, later == B]);
        let erin = Identity::new("erin");
        let login = pair.a.service.login_of(&erin);
        assert!(login.is_some_and(|login| login.node == later), "{login:?}");
        assert_eq!(pair.b.service.login_of(&erin), login);
        // The connection that lost ends, and everybody is asked for anew: that changes nothing.
        let lost = if later == A { &mut pair.b } else { &mut pair.a };
        lost.disconnect("erin");
        lost.clients.remove("erin");
        for world in [&mut pair.a, &mut pair.b] {
            world.service.say_hello();
        }
        pair.exchange();
        for world in [&mut pair.a, &mut pair.b] {
            world.pass(Duration::from_secs(10));
            assert_eq!(world.service.login_of(&erin), login);
        }
    }
}

/// Whoever comes later is the later one, even where the clock is behind.
#[test]
fn a_clock_that_is_behind_keeps_nobody_out() {
    let mut pair = Pair::with_members();
    pair.a.now = pair.b.now + Duration::from_secs(3600);
    pair.a.add_client("erin", false);
    pair.exchange();
    pair.b.add_client("erin", false);
    pair.exchange();
    assert_eq!(answered(&mut pair, "erin"), [false, true]);
    pair.a.connect("erin");
    pair.exchange();
    assert_eq!(answered(&mut pair, "erin"), [true, false]);
}
