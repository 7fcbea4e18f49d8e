use std::collections::BTreeMap;
use std::future;
use std::sync::{Mutex, PoisonError};

use mls::wire::UnixTime;
use tokio::sync::watch;

use super::{
    Append, Appended, CallId, Storage, StorageFuture, StoredCall, StoredRecord, StoredSnapshot,
};

/// Keeps logs in memory: for tests and simulations, and for calls that need not survive a restart.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    logs: Mutex<BTreeMap<CallId, Log>>,
}

#[derive(Debug)]
struct Log {
    turn: u64,
    records: Vec<StoredRecord>,
    last_append: UnixTime,
    snapshot: Option<StoredSnapshot>,
    length: watch::Sender<u64>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            turn: 0,
            records: Vec::new(),
            last_append: UnixTime(0),
            snapshot: None,
            length: watch::Sender::new(0),
        }
    }
}

impl MemoryStorage {
    /// A storage without a log.
    pub fn new() -> Self {
        Self::default()
    }

    fn on_log<'a, T: Send + 'a>(
        &self,
        call: &CallId,
        act: impl FnOnce(&mut Log) -> T,
    ) -> StorageFuture<'a, T> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = act(logs.entry(call.clone()).or_default());
        Box::pin(future::ready(Ok(answer)))
    }
}

impl Storage for MemoryStorage {
    fn append(&self, append: Append) -> StorageFuture<'_, Appended> {
        self.on_log(&append.call, |log| {
            if let Some(same) = log.records.iter().rev().find(|record| record.id == append.id) {
                return Appended::Won { seq: same.seq };
            }
            if append.turn != log.turn {
                return Appended::Stale { head: log.turn };
            }
            let seq = *log.length.borrow();
            log.turn += u64::from(append.ends_turn);
            log.last_append = append.at;
            log.records.push(StoredRecord {
                seq,
                turn: append.turn,
                id: append.id,
                at: append.at,
                bytes: append.bytes,
            });
            log.length.send_replace(seq + 1);
            Appended::Won { seq }
        })
    }

    fn read(&self, call: &CallId, seq: u64, limit: usize) -> StorageFuture<'_, Vec<StoredRecord>> {
        self.on_log(call, |log| {
            let start = log.records.partition_point(|record| record.seq < seq);
            log.records.iter().skip(start).take(limit).cloned().collect()
        })
    }

    fn watch(&self, call: &CallId) -> watch::Receiver<u64> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.entry(call.clone()).or_default().length.subscribe()
    }

    fn snapshot(&self, call: &CallId) -> StorageFuture<'_, Option<StoredSnapshot>> {
        self.on_log(call, |log| log.snapshot.clone())
    }

    fn put_snapshot(&self, call: &CallId, snapshot: StoredSnapshot) -> StorageFuture<'_, ()> {
        self.on_log(call, |log| log.snapshot = Some(snapshot))
    }

    fn purge(&self, call: &CallId, seq: u64) -> StorageFuture<'_, ()> {
        self.on_log(call, |log| log.records.retain(|record| record.seq >= seq))
    }

    fn delete(&self, call: &CallId) -> StorageFuture<'_, ()> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.remove(call);
        Box::pin(future::ready(Ok(())))
    }

    fn calls(&self) -> StorageFuture<'_, Vec<StoredCall>> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = logs
            .iter()
            .map(|(call, log)| StoredCall { call: call.clone(), last_append: log.last_append })
            .collect();
        Box::pin(future::ready(Ok(calls)))
    }
}
