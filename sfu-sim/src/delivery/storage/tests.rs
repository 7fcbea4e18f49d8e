use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[path = "../../../tests/common/nats.rs"]
mod nats_server;
use nats_server::NatsServer;

fn nats_options(servers: &[NatsServer], replicas: usize) -> NatsOptions {
    let servers = servers.iter().map(|server| server.url.clone()).collect();
    NatsOptions { servers, credentials: None, prefix: "framelock".to_owned(), replicas }
}

async fn open_nats(server: &NatsServer) -> NatsStorage {
    NatsStorage::open(&nats_options(std::slice::from_ref(server), 1)).await.unwrap()
}

/// A directory of its own that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("framelock-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> SqliteStorage {
        SqliteStorage::open(self.0.join("log.sqlite")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn append(call: &str, turn: u64, ends_turn: bool, count: u64) -> Append {
    Append {
        call: CallId::new(call),
        id: AppendId { boot: u64::MAX, count },
        turn,
        ends_turn,
        at: UnixTime(1_000 + count),
        bytes: Bytes::from(count.to_be_bytes().to_vec()),
    }
}

async fn each(test: impl AsyncFn(&dyn Storage)) {
    test(&MemoryStorage::new()).await;
    let folder = Folder::new();
    test(&folder.open()).await;
    if let Some(server) = NatsServer::start() {
        test(&open_nats(&server).await).await;
    }
}

#[tokio::test]
async fn one_append_wins_each_turn() {
    each(async |storage| {
        assert_eq!(storage.append(append("a", 0, true, 0)).await, Ok(Appended::Won { seq: 0 }));
        assert_eq!(storage.append(append("a", 0, true, 1)).await, Ok(Appended::Stale { head: 1 }));
        assert_eq!(storage.append(append("a", 2, true, 2)).await, Ok(Appended::Stale { head: 1 }));
        // Records that do not end a turn leave room for others of it.
        assert_eq!(storage.append(append("a", 1, false, 3)).await, Ok(Appended::Won { seq: 1 }));
        assert_eq!(storage.append(append("a", 1, false, 4)).await, Ok(Appended::Won { seq: 2 }));
        assert_eq!(storage.append(append("a", 1, true, 5)).await, Ok(Appended::Won { seq: 3 }));
        assert_eq!(storage.append(append("a", 1, false, 6)).await, Ok(Appended::Stale { head: 2 }));
        // Another call is not concerned.
        assert_eq!(storage.append(append("b", 0, true, 0)).await, Ok(Appended::Won { seq: 0 }));
        let records = storage.read(&CallId::new("a"), 1, 2).await.unwrap();
        let seen: Vec<_> =
            records.iter().map(|record| (record.seq, record.turn, record.id.count)).collect();
        assert_eq!(seen, [(1, 1, 3), (2, 1, 4)]);
        assert_eq!(records[0].bytes.as_ref(), 3u64.to_be_bytes());
        assert_eq!(records[0].at, UnixTime(1_003));
        assert_eq!(records[0].id.boot, u64::MAX);
    })
    .await;
}

#[tokio::test]
async fn an_append_asked_for_again_has_the_same_answer() {
    each(async |storage| {
        let first = append("a", 0, true, 0);
        assert_eq!(storage.append(first.clone()).await, Ok(Appended::Won { seq: 0 }));
        assert_eq!(storage.append(append("a", 1, true, 1)).await, Ok(Appended::Won { seq: 1 }));
        assert_eq!(storage.append(first).await, Ok(Appended::Won { seq: 0 }));
        assert_eq!(storage.read(&CallId::new("a"), 0, 10).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn logs_go_on_after_a_purge_and_start_anew_after_a_delete() {
    each(async |storage| {
        let call = CallId::new("a");
        for turn in 0..5 {
            storage.append(append("a", turn, true, turn)).await.unwrap();
        }
        let snapshot = StoredSnapshot { next_seq: 3, turn: 3, bytes: Bytes::from_static(b"s") };
        storage.put_snapshot(&call, snapshot.clone()).await.unwrap();
        storage.purge(&call, 3).await.unwrap();
        assert_eq!(storage.snapshot(&call).await, Ok(Some(snapshot)));
        let left: Vec<u64> =
            storage.read(&call, 0, 10).await.unwrap().iter().map(|r| r.seq).collect();
        assert_eq!(left, [3, 4]);
        assert_eq!(storage.append(append("a", 5, true, 5)).await, Ok(Appended::Won { seq: 5 }));
        storage.delete(&call).await.unwrap();
        assert_eq!(storage.snapshot(&call).await, Ok(None));
        assert_eq!(storage.append(append("a", 0, true, 6)).await, Ok(Appended::Won { seq: 0 }));
    })
    .await;
}

#[tokio::test]
async fn stale_logs_are_purged() {
    each(async |storage| {
        storage.append(append("old", 0, true, 0)).await.unwrap();
        storage.append(append("new", 0, true, 50)).await.unwrap();
        assert_eq!(purge_stale(storage, UnixTime(1_020)).await, Ok(1));
        let calls = storage.calls().await.unwrap();
        assert_eq!(calls, [StoredCall { call: CallId::new("new"), last_append: UnixTime(1_050) }]);
    })
    .await;
}

#[tokio::test]
async fn a_watcher_hears_of_appends() {
    each(async |storage| {
        let mut watched = storage.watch(&CallId::new("a"));
        watched.borrow_and_update();
        storage.append(append("a", 0, true, 0)).await.unwrap();
        watched.changed().await.unwrap();
        assert_eq!(*watched.borrow_and_update(), 1);
    })
    .await;
}

#[tokio::test]
async fn sqlite_keeps_what_it_answered() {
    let folder = Folder::new();
    let storage = folder.open();
    for turn in 0..10 {
        storage.append(append("a", turn, true, turn)).await.unwrap();
    }
    drop(storage);
    let storage = folder.open();
    assert_eq!(storage.append(append("a", 9, true, 77)).await, Ok(Appended::Stale { head: 10 }));
    assert_eq!(storage.append(append("a", 10, true, 78)).await, Ok(Appended::Won { seq: 10 }));
    assert_eq!(storage.read(&CallId::new("a"), 0, 100).await.unwrap().len(), 11);
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused() {
    let folder = Folder::new();
    drop(folder.open());
    let path = folder.0.join("log.sqlite");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(SqliteStorage::open(&path), Err(StorageError::Engine(_))));
}

/// An append that is asked for until the storage says what became of it.
async fn insist(storage: &dyn Storage, append: Append) -> Appended {
    loop {
        match storage.append(append.clone()).await {
            Ok(appended) => return appended,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}

/// Eight committers race for every turn; never do two of them win one.
async fn race(storages: Vec<Arc<dyn Storage>>, turns: u64) {
    let started = std::time::Instant::now();
    let committers: Vec<_> = (0u64..)
        .zip(&storages)
        .map(|(committer, storage)| {
            let storage = Arc::clone(storage);
            tokio::spawn(async move {
                let mut won = 0;
                let mut turn = 0;
                while turn < turns {
                    let id = committer * 1_000_000 + turn;
                    match insist(&*storage, append("race", turn, true, id)).await {
                        Appended::Won { .. } => {
                            won += 1;
                            turn += 1;
                        }
                        Appended::Stale { head } => turn = head,
                    }
                }
                won
            })
        })
        .collect();
    let mut won = 0;
    for committer in committers {
        won += committer.await.unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("race: {turns} turns, {:.0} won turns/s", turns as f64 / seconds);
    assert_eq!(won, turns);
    let mut records = Vec::new();
    loop {
        let next = records.len() as u64;
        let part = storages[0].read(&CallId::new("race"), next, 1_000).await;
        // The server may be on its way back.
        let Ok(part) = part else {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        if part.is_empty() {
            break;
        }
        records.extend(part);
    }
    let seen: Vec<u64> = records.iter().map(|record| record.turn).collect();
    assert_eq!(seen, (0..turns).collect::<Vec<_>>());
    assert!(records.iter().enumerate().all(|(at, record)| record.seq == at as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_committers_never_both_win_on_sqlite() {
    let folder = Folder::new();
    let storage: Arc<dyn Storage> = Arc::new(folder.open());
    race(vec![storage; 8], 100).await;
}

/// Every committer has a connection of its own, as processes have.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_committers_never_both_win_on_nats() {
    let Some(server) = NatsServer::start() else { return };
    let mut storages: Vec<Arc<dyn Storage>> = Vec::new();
    for _ in 0..8 {
        storages.push(Arc::new(open_nats(&server).await));
    }
    race(storages, 2_000).await;
}

#[tokio::test]
async fn nats_keeps_the_later_snapshot_and_the_last_record() {
    let Some(server) = NatsServer::start() else { return };
    let (storage, other) = (open_nats(&server).await, open_nats(&server).await);
    let call = CallId::new("a room/with. names*");
    for turn in 0..5 {
        let mut append = append("", turn, true, turn);
        append.call = call.clone();
        storage.append(append).await.unwrap();
    }
    let snapshot = |next_seq| StoredSnapshot { next_seq, turn: next_seq, bytes: Bytes::new() };
    storage.put_snapshot(&call, snapshot(4)).await.unwrap();
    // A process that is behind must not bring back the state that purged records belong to.
    other.put_snapshot(&call, snapshot(2)).await.unwrap();
    assert_eq!(other.snapshot(&call).await, Ok(Some(snapshot(4))));
    storage.purge(&call, 5).await.unwrap();
    let left: Vec<u64> = other.read(&call, 0, 9).await.unwrap().iter().map(|r| r.seq).collect();
    assert_eq!(left, [4]);
    let mut next = append("", 5, true, 99);
    next.call = call.clone();
    assert_eq!(other.append(next).await, Ok(Appended::Won { seq: 5 }));
    // Deleted by one process, begun anew by the other.
    storage.delete(&call).await.unwrap();
    let mut first = append("", 6, true, 100);
    first.call = call.clone();
    // Who still believes in turn 6 learns that the log is at turn 0.
    assert_eq!(other.append(first.clone()).await, Ok(Appended::Stale { head: 0 }));
    first.turn = 0;
    assert_eq!(other.append(first).await, Ok(Appended::Won { seq: 0 }));
}

/// The server takes a publish and its acknowledgement comes too late, so that it is published again.
#[tokio::test]
async fn an_append_that_is_acknowledged_too_late_happens_once() {
    let Some(server) = NatsServer::start() else { return };
    let storage = open_nats(&server).await;
    assert_eq!(storage.append(append("a", 0, true, 0)).await, Ok(Appended::Won { seq: 0 }));
    server.signal("STOP");
    let waking = async {
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        server.signal("CONT");
    };
    let appending = storage.append(append("a", 1, true, 1));
    let (appended, ()) = tokio::join!(appending, waking);
    // Whether the storage waited long enough or gave up: asked for again, it says what the log has.
    if let Ok(appended) = appended {
        assert_eq!(appended, Appended::Won { seq: 1 });
    }
    assert_eq!(storage.append(append("a", 1, true, 1)).await, Ok(Appended::Won { seq: 1 }));
    assert_eq!(storage.read(&CallId::new("a"), 0, 9).await.unwrap().len(), 2);
}

/// The server is killed while eight committers race, and comes back: what was won before or in between is won once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_committers_never_both_win_while_nats_is_killed() {
    let Some(mut server) = NatsServer::start() else { return };
    let mut storages: Vec<Arc<dyn Storage>> = Vec::new();
    for _ in 0..8 {
        storages.push(Arc::new(open_nats(&server).await));
    }
    let watched = Arc::clone(&storages[0]);
    let killing = async {
        for reached in [100, 300] {
            let call = CallId::new("race");
            while !watched.read(&call, reached, 1).await.is_ok_and(|records| !records.is_empty()) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            server.kill();
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            server.restart();
        }
    };
    tokio::join!(race(storages, 1_500), killing);
}

#[tokio::test]
async fn an_append_while_nats_is_away_fails_at_once_and_can_be_asked_for_again() {
    let Some(mut server) = NatsServer::start() else { return };
    let storage = open_nats(&server).await;
    let call = CallId::new("a");
    for turn in 0..3 {
        assert_eq!(
            storage.append(append("a", turn, true, turn)).await,
            Ok(Appended::Won { seq: turn })
        );
    }
    server.kill();
    // The first may wait for an acknowledgement; from then on the server is known to be away.
    assert!(storage.append(append("a", 3, true, 3)).await.is_err());
    let away = Err(StorageError::Engine("NATS cannot be reached".to_owned()));
    assert_eq!(storage.append(append("a", 3, true, 4)).await, away);
    assert!(storage.read(&call, 0, 9).await.is_err());
    assert!(storage.snapshot(&call).await.is_err());
    server.restart();
    // The log has what was acknowledged, and at most the append whose fate was unknown.
    let first = insist(&storage, append("a", 3, true, 3)).await;
    assert_eq!(first, Appended::Won { seq: 3 });
    assert_eq!(storage.append(append("a", 3, true, 4)).await, Ok(Appended::Stale { head: 4 }));
    let records = storage.read(&call, 0, 9).await.unwrap();
    assert_eq!(records.iter().map(|record| record.id.count).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

/// Debian's version would let two commits win an epoch as a cluster. (A cluster that is new enough is raced on.)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_that_is_too_old_is_refused_and_a_newer_one_never_has_two_winners() {
    let Some(mut cluster) = NatsServer::start_cluster() else { return };
    let options = nats_options(&cluster, 3);
    let client = async_nats::connect(cluster[0].url.as_str()).await.unwrap();
    let version = client.server_info().version.clone();
    assert!(client.server_info().cluster.is_some());
    let given_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let storage = loop {
        match NatsStorage::open(&options).await {
            // It elects a leader first.
            Err(StorageError::Engine(words))
                if !words.contains("2.10.23") && std::time::Instant::now() < given_up =>
            {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            opened => break opened,
        }
    };
    println!("cluster of version {version}: {}", storage.is_ok());
    let Ok(storage) = storage else {
        let Err(StorageError::Engine(words)) = storage else { panic!("{storage:?}") };
        assert!(words.contains(&version) && words.contains("two commits win"), "{words}");
        // Nothing was made in it.
        let streams = async_nats::jetstream::new(client).stream_names();
        let names: Vec<_> = futures_util::StreamExt::collect(streams).await;
        assert!(names.iter().all(Result::is_err), "{names:?}");
        return;
    };
    let mut storages: Vec<Arc<dyn Storage>> = vec![Arc::new(storage)];
    for _ in 1..8 {
        storages.push(Arc::new(NatsStorage::open(&options).await.unwrap()));
    }
    let watched = Arc::clone(&storages[0]);
    let killing = async {
        let call = CallId::new("race");
        while !watched.read(&call, 100, 1).await.is_ok_and(|records| !records.is_empty()) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        cluster[1].kill();
    };
    tokio::join!(race(storages, 500), killing);
}
