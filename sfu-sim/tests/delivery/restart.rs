//! What survives a restart, and what happens when the storage fails in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use sfu_sim::delivery::storage::{
    Append, Appended, StorageError, StorageFuture, StoredCall, StoredRecord, StoredSnapshot,
};
use sfu_sim::delivery::{
    CallId, DeliveryConfig, DeliveryService, Loaded, MemoryStorage, Output, SqliteStorage, Storage,
    StorageDone, StorageEffect,
};
use sfu_sim::protocol::{
    ChangeKind, DeliveryEvent, DeliveryRequest, Identity, RefusalCode, RemovalReason, ServerBody,
};

use crate::world::World;

#[test]
fn members_go_on_after_a_restart() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.commit("bob").unwrap();
    // Carol is away while the call goes on and the service restarts.
    world.client("carol").connection = None;
    world.commit("alice").unwrap();
    world.restart();
    assert_eq!(world.service.epoch(), Some(3));
    for name in ["alice", "bob", "carol"] {
        world.connect(name);
    }
    world.assert_agree(&["alice", "bob", "carol"]);
    world.pass(Duration::from_secs(60));
    assert!(world.client("alice").pending.is_empty());
    world.commit("carol").unwrap();
    world.assert_agree(&["alice", "bob", "carol"]);
    assert_eq!(world.service.metrics().invalid_records, 0);
}

#[test]
fn who_does_not_come_back_after_a_restart_is_removed() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.restart();
    world.connect("alice");
    world.pass(Duration::from_secs(3));
    assert!(matches!(
        world.client("alice").kinds().as_slice(),
        [ChangeKind::Remove { leaf: 1, reason: RemovalReason::Gone, .. }]
    ));
    world.commit("alice").unwrap();
    world.assert_agree(&["alice"]);
}

#[test]
fn snapshots_shorten_the_replay_and_keep_the_log_for_those_who_were_away() {
    let config = DeliveryConfig { snapshot_every: 3, ..DeliveryConfig::default() };
    let storage = Arc::new(MemoryStorage::new());
    let mut world = World::with(config, storage);
    world.add_members(&["alice", "bob", "carol"]);
    world.client("carol").connection = None;
    for round in 0..10 {
        world.commit(if round % 2 == 0 { "alice" } else { "bob" }).unwrap();
        world.restart();
        world.connect("alice");
        world.connect("bob");
    }
    assert_eq!(world.service.epoch(), Some(11));
    world.connect("carol");
    world.assert_agree(&["alice", "bob", "carol"]);
    world.commit("carol").unwrap();
    world.assert_agree(&["alice", "bob", "carol"]);
}

#[test]
fn records_before_snapshot_and_log_are_purged() {
    let config =
        DeliveryConfig { snapshot_every: 4, log_bytes: 3_000, ..DeliveryConfig::default() };
    let mut world = World::with(config, Arc::new(MemoryStorage::new()));
    world.add_members(&["alice", "bob"]);
    for _ in 0..40 {
        world.commit("alice").unwrap();
        world.pass(Duration::from_secs(1));
    }
    let read = StorageEffect::Read { call: CallId::new("room"), seq: 0 };
    let StorageDone::Records { result: Ok(records) } = world.run(read) else {
        panic!("expected records");
    };
    assert!(records.len() < 12, "{} records", records.len());
    world.restart();
    assert_eq!(world.service.epoch(), Some(41));
    world.connect("alice");
    world.connect("bob");
    world.commit("bob").unwrap();
    world.assert_agree(&["alice", "bob"]);
}

#[test]
fn bans_and_removals_that_a_moderator_wants_survive() {
    let config = DeliveryConfig { snapshot_every: 1, ..DeliveryConfig::default() };
    for config in [config, DeliveryConfig::default()] {
        let mut world = World::with(config, Arc::new(MemoryStorage::new()));
        world.add_members(&["alice", "bob", "carol"]);
        world.client("alice").moderator = true;
        world.connect("alice");
        let leaf = world.group("carol").own_leaf();
        let group = world.client("alice").group.as_mut().unwrap();
        let proposal = group.propose_remove(leaf, &mut mls::crypto::os_rng()).unwrap().message;
        world.ask("alice", DeliveryRequest::Propose { proposal: proposal.into() }).unwrap();
        world.events.clear();
        world.restart();
        let reason = RemovalReason::Moderator;
        let cut = Output::MediaCutOff { identity: Identity::new("carol"), reason };
        assert_eq!(world.events, [cut]);
        for name in ["alice", "bob", "carol"] {
            world.connect(name);
        }
        assert_eq!(world.join("carol"), Err(RefusalCode::Removed));
        world.commit("bob").unwrap();
        world.assert_agree(&["alice", "bob"]);
        world.restart();
        world.connect("alice");
        world.connect("carol");
        assert_eq!(world.join("carol"), Err(RefusalCode::Removed));
    }
}

#[test]
fn a_crash_between_append_and_broadcast_loses_nothing() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.hold_storage = true;
    let bundle = world.build("alice", |_| true);
    world.post("alice", bundle);
    // The storage has it, but the service dies before it hears of that.
    let append = world.held.pop_front().unwrap();
    assert!(matches!(
        world.run(append),
        StorageDone::Appended { result: Ok(Appended::Won { .. }), .. }
    ));
    assert_eq!(world.group("bob").epoch(), 1);
    world.restart();
    assert_eq!(world.service.epoch(), Some(2));
    world.connect("alice");
    world.connect("bob");
    world.assert_agree(&["alice", "bob"]);
}

#[test]
fn a_crash_before_the_append_leaves_the_epoch_open() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.hold_storage = true;
    let bundle = world.build("alice", |_| true);
    world.post("alice", bundle.clone());
    world.restart();
    world.connect("alice");
    world.connect("bob");
    assert_eq!(world.service.epoch(), Some(1));
    world.ask("alice", bundle).unwrap();
    world.assert_agree(&["alice", "bob"]);
}

#[test]
fn an_ended_group_stays_ended() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.ask("alice", DeliveryRequest::Leave).unwrap();
    world.ask("bob", DeliveryRequest::Leave).unwrap();
    world.restart();
    assert_eq!(world.service.epoch(), None);
    world.add_client("carol", false);
    world.create_group("carol").unwrap();
    world.restart();
    world.connect("carol");
    world.assert_agree(&["carol"]);
}

#[test]
fn a_damaged_snapshot_or_record_ends_the_group_rather_than_the_room() {
    let storage = Arc::new(MemoryStorage::new());
    let mut world = World::with(DeliveryConfig::default(), storage);
    world.add_members(&["alice", "bob"]);
    let damaged = StoredSnapshot { next_seq: 2, turn: 2, bytes: vec![9, 9, 9].into() };
    let call = CallId::new("room");
    let effect = StorageEffect::PutSnapshot { call: call.clone(), snapshot: damaged };
    world.run(effect);
    world.restart();
    assert_eq!(world.service.epoch(), None);
    world.connect("alice");
    assert!(world.client("alice").create);
    world.create_group("alice").unwrap();
    world.assert_agree(&["alice"]);
    // A record that is no record: the service cannot know what it did.
    let effect = StorageEffect::Append(Append {
        call,
        id: sfu_sim::delivery::storage::AppendId { boot: 99, count: 0 },
        turn: 3,
        ends_turn: false,
        at: world.now.unix_time(),
        bytes: vec![0xff; 4].into(),
    });
    world.run(effect);
    world.restart();
    assert_eq!(world.service.epoch(), None);
    assert_eq!(world.service.metrics().groups_closed.get("damaged"), Some(&1));
    world.connect("alice");
    assert!(world.client("alice").create);
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("framelock-delivery-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_call_on_sqlite_survives_its_process() {
    let folder = Folder::new();
    let path = folder.0.join("delivery.sqlite");
    let config = DeliveryConfig { snapshot_every: 3, ..DeliveryConfig::default() };
    let mut world = World::with(config, Arc::new(SqliteStorage::open(&path).unwrap()));
    world.add_members(&["alice", "bob"]);
    for round in 0..5 {
        world.commit("alice").unwrap();
        // The former storage is closed before the file is opened again.
        world.storage = Arc::new(MemoryStorage::new());
        world.storage = Arc::new(SqliteStorage::open(&path).unwrap());
        world.restart();
        world.connect("alice");
        world.connect("bob");
        assert_eq!(world.service.epoch(), Some(round + 2));
        world.assert_agree(&["alice", "bob"]);
    }
    let log = world.ask("bob", DeliveryRequest::FetchLog { since_epoch: 1 });
    assert!(matches!(log, Ok(ServerBody::Delivery(DeliveryEvent::Log { entries, head: 6, .. }))
        if entries.len() == 5));
}

fn reopened(world: &World) -> DeliveryService {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let call = CallId::new("room");
    let loaded = runtime.block_on(Loaded::read(&*world.storage, &call)).unwrap();
    DeliveryService::open(world.config.clone(), call, 77, loaded, world.now)
}

/// Fails on demand.
struct Failing {
    inner: MemoryStorage,
    /// 0: works, 1: fails without appending, 2: appends and then fails, 3: reads fail too.
    mode: AtomicU8,
}

fn failed<'a, T: Send + 'a>() -> StorageFuture<'a, T> {
    Box::pin(std::future::ready(Err(StorageError::Engine("on demand".to_owned()))))
}

impl Storage for Failing {
    fn append(&self, append: Append) -> StorageFuture<'_, Appended> {
        match self.mode.load(Ordering::Relaxed) {
            0 => self.inner.append(append),
            2 => {
                let done = self.inner.append(append);
                drop(done);
                failed()
            }
            _ => failed(),
        }
    }

    fn read(&self, call: &CallId, seq: u64, limit: usize) -> StorageFuture<'_, Vec<StoredRecord>> {
        if self.mode.load(Ordering::Relaxed) == 3 {
            return failed();
        }
        self.inner.read(call, seq, limit)
    }

    fn watch(&self, call: &CallId) -> tokio::sync::watch::Receiver<u64> {
        self.inner.watch(call)
    }

    fn snapshot(&self, call: &CallId) -> StorageFuture<'_, Option<StoredSnapshot>> {
        self.inner.snapshot(call)
    }

    fn put_snapshot(&self, call: &CallId, snapshot: StoredSnapshot) -> StorageFuture<'_, ()> {
        self.inner.put_snapshot(call, snapshot)
    }

    fn purge(&self, call: &CallId, seq: u64) -> StorageFuture<'_, ()> {
        self.inner.purge(call, seq)
    }

    fn delete(&self, call: &CallId) -> StorageFuture<'_, ()> {
        self.inner.delete(call)
    }

    fn calls(&self) -> StorageFuture<'_, Vec<StoredCall>> {
        self.inner.calls()
    }
}

#[test]
fn an_append_without_an_answer_is_looked_up_in_the_log() {
    let storage = Arc::new(Failing { inner: MemoryStorage::new(), mode: AtomicU8::new(0) });
    let mut world = World::with(DeliveryConfig::default(), storage.clone());
    world.add_members(&["alice", "bob"]);
    // Not in the log: refused, and nothing has changed.
    storage.mode.store(1, Ordering::Relaxed);
    let bundle = world.build("alice", |_| true);
    let id = world.post("alice", bundle.clone());
    assert!(world.reply("alice", id).is_none());
    world.pass(Duration::from_millis(100));
    assert_eq!(world.reply("alice", id), Some(Err(RefusalCode::Unavailable)));
    assert_eq!(world.service.epoch(), Some(1));
    // In the log: it counts, and is told.
    storage.mode.store(2, Ordering::Relaxed);
    let id = world.post("alice", bundle);
    world.pass(Duration::from_millis(100));
    assert!(matches!(
        world.reply("alice", id),
        Some(Ok(ServerBody::Delivery(DeliveryEvent::Appended { head: 2, .. })))
    ));
    world.assert_agree(&["alice", "bob"]);
    assert!(world.service.metrics().storage_errors >= 2);
}

/// The storage neither answers nor can be read: nobody waits for it, and what it took all the same counts.
#[test]
fn while_the_storage_is_away_everybody_is_told_to_try_again() {
    for taken in [false, true] {
        let storage = Arc::new(Failing { inner: MemoryStorage::new(), mode: AtomicU8::new(0) });
        let mut world = World::with(DeliveryConfig::default(), storage.clone());
        world.add_members(&["alice", "bob", "carol"]);
        storage.mode.store(if taken { 2 } else { 1 }, Ordering::Relaxed);
        let [first, second, third] =
            ["alice", "bob", "carol"].map(|name| world.build(name, |_| true));
        let asked = world.post("alice", first);
        storage.mode.store(3, Ordering::Relaxed);
        let waits = world.post("bob", second.clone());
        assert!(world.reply("alice", asked).is_none() && world.reply("bob", waits).is_none());
        world.pass(Duration::from_millis(100));
        assert_eq!(world.reply("alice", asked), Some(Err(RefusalCode::Undecided)));
        assert_eq!(world.reply("bob", waits), Some(Err(RefusalCode::Unavailable)));
        assert_eq!(world.ask("carol", third), Err(RefusalCode::Unavailable));
        let refused = world.service.metrics().commits_refused.clone();
        assert_eq!((refused["undecided"], refused["unavailable"]), (1, 2));
        // What needs no log goes on, and nothing is told that is not in it.
        world.add_client("dave", false);
        world.join("dave").unwrap();
        assert_eq!(world.service.epoch(), Some(1));
        world.pass(Duration::from_secs(5));
        storage.mode.store(0, Ordering::Relaxed);
        world.pass(Duration::from_millis(100));
        assert_eq!(world.service.epoch(), Some(if taken { 2 } else { 1 }));
        world.assert_agree(&["alice", "bob", "carol"]);
        world.client("bob").committing = None;
        world.commit("bob").unwrap();
        world.assert_agree(&["alice", "bob", "carol", "dave"]);
        assert_eq!(world.service.metrics().epochs_with_two_winners, 0);
    }
}

/// Who makes the group is answered when it is known whether there is one: nothing else would say so.
#[test]
fn a_group_that_is_created_while_the_storage_is_away() {
    let storage = Arc::new(Failing { inner: MemoryStorage::new(), mode: AtomicU8::new(0) });
    let mut world = World::with(DeliveryConfig::default(), storage.clone());
    world.add_client("alice", false);
    storage.mode.store(2, Ordering::Relaxed);
    let request = world.create_request("alice");
    let asked = world.post("alice", request);
    storage.mode.store(3, Ordering::Relaxed);
    world.pass(Duration::from_secs(2));
    assert!(world.reply("alice", asked).is_none());
    storage.mode.store(0, Ordering::Relaxed);
    world.pass(Duration::from_millis(100));
    let reply = world.reply("alice", asked).unwrap();
    assert!(matches!(reply, Ok(ServerBody::Delivery(DeliveryEvent::Created { .. }))), "{reply:?}");
    world.assert_agree(&["alice"]);
}

#[test]
fn of_two_services_on_one_log_one_wins_and_the_other_follows() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut world = World::with(DeliveryConfig::default(), Arc::clone(&storage));
    world.add_members(&["alice", "bob"]);
    // Another process opens the same room, and bob is connected there.
    let mut other = World::with(DeliveryConfig::default(), storage);
    other.service = reopened(&other);
    other.service.connect(
        sfu_sim::delivery::ConnectionId(7),
        &sfu_sim::protocol::Participant {
            identity: Identity::new("bob"),
            name: String::new(),
            moderator: false,
            connected: true,
        },
        other.now,
    );
    let winner = world.build("alice", |_| true);
    let loser = world.build("bob", |_| true);
    world.client("bob").committing = None;
    world.client("bob").follows = false;
    world.ask("alice", winner).unwrap();
    let connection = sfu_sim::delivery::ConnectionId(7);
    other.service.request(connection, Some(1), loser.into(), other.now);
    let mut told = Vec::new();
    loop {
        match other.service.poll_output() {
            Some(Output::Storage(effect)) => other.carry_out(effect),
            Some(Output::Send { message, .. } | Output::Broadcast { message, .. }) => {
                told.push(message);
            }
            Some(_) => {}
            None => break,
        }
    }
    assert_eq!(other.service.epoch(), Some(2));
    let entry = told.iter().position(|message| {
        matches!(message.body, ServerBody::Delivery(DeliveryEvent::Entry { .. }))
    });
    let refused = told.iter().position(|message| message.re == Some(1));
    assert!(entry.unwrap() < refused.unwrap());
    let text = told[refused.unwrap()].to_text();
    assert!(text.contains("stale_epoch"), "{text}");
    // What is appended elsewhere is read when the storage says so.
    world.commit("alice").unwrap();
    other.service.records_available(99, other.now);
    while let Some(output) = other.service.poll_output() {
        if let Output::Storage(effect) = output {
            other.carry_out(effect);
        }
    }
    assert_eq!(other.service.epoch(), Some(3));
    assert_eq!(other.service.metrics().epochs_with_two_winners, 0);
}
