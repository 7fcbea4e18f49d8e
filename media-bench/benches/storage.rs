//! Commits a second that the delivery service's storages take: on one call, one after the other, and on a
//! thousand calls at a time. NATS is measured if nats-server is installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "a benchmark stops by panicking, and says what it leaves out"
)]

#[path = "../../sfu-sim/tests/common/nats.rs"]
mod nats;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mls::UnixTime;
use sfu_sim::delivery::storage::{Append, AppendId, Appended};
use sfu_sim::delivery::{CallId, NatsOptions, NatsStorage, SqliteStorage, Storage};
use tokio::runtime::Runtime;

/// As long as a commit in a call of a hundred with its GroupInfo.
const RECORD: usize = 1_500;
const CALLS: u64 = 1_000;

fn append(call: u64, turn: u64) -> Append {
    Append {
        call: CallId::new(format!("call-{call}")),
        id: AppendId { boot: 1, count: turn },
        turn,
        ends_turn: true,
        at: UnixTime(1_800_000_000),
        bytes: vec![7; RECORD].into(),
    }
}

/// Appends `turns` times to each of these calls; calls at a time, turns one after the other.
async fn run(storage: &Arc<dyn Storage>, calls: Range<u64>, turns: Range<u64>) -> Duration {
    let started = Instant::now();
    let mut tasks = Vec::new();
    for call in calls {
        let (storage, turns) = (Arc::clone(storage), turns.clone());
        tasks.push(tokio::spawn(async move {
            for turn in turns {
                let appended = storage.append(append(call, turn)).await.unwrap();
                assert!(matches!(appended, Appended::Won { .. }));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    started.elapsed()
}

fn measure(criterion: &mut Criterion, name: &str, runtime: &Runtime, storage: &Arc<dyn Storage>) {
    let mut group = criterion.benchmark_group("storage");
    group.sample_size(10);
    let cases = [("1-call", 0..1), ("1000-calls", 1..CALLS + 1)];
    for (case, calls) in cases {
        // Turns go on from one measurement to the next.
        let mut turn = 0;
        group.throughput(Throughput::Elements(calls.end - calls.start));
        group.bench_function(format!("{name}/{case}"), |bencher| {
            bencher.iter_custom(|turns| {
                let span = turn..turn + turns;
                turn = span.end;
                runtime.block_on(run(storage, calls.clone(), span))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, storages);
criterion_main!(benches);

fn storages(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = std::env::temp_dir().join(format!("framelock-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let sqlite: Arc<dyn Storage> =
        Arc::new(SqliteStorage::open(folder.join("log.sqlite")).unwrap());
    measure(criterion, "sqlite", &runtime, &sqlite);
    drop(sqlite);
    std::fs::remove_dir_all(folder).unwrap();
    if let Some(server) = nats::NatsServer::start() {
        let options = NatsOptions {
            servers: vec![server.url.clone()],
            credentials: None,
            prefix: "bench".to_owned(),
            replicas: 1,
        };
        let storage: Arc<dyn Storage> =
            Arc::new(runtime.block_on(NatsStorage::open(&options)).unwrap());
        measure(criterion, "nats", &runtime, &storage);
    }
}
