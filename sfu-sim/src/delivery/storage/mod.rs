//! Where the logs of the rooms are kept.
//!
//! A room has one log. Its records are numbered 0, 1, 2, ... (`seq`). A commit, and whatever else begins
//! something new, *ends the turn*: of all appends that expect one turn, exactly one that ends it is won.
//! Turns are to the log what epochs are to a group; they go on when a room gets a new group.
//!
//! Nobody rests safety on the engine: readers apply the first valid commit of an epoch in log order.

mod memory;
mod nats;
mod sqlite;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use mls::wire::UnixTime;
use tokio::sync::watch;

pub use memory::MemoryStorage;
pub use nats::{NatsOptions, NatsStorage};
pub use sqlite::SqliteStorage;

/// How many bytes of records one read gives at most, after the first one.
const READ_BYTES: usize = 4 << 20;

/// Names a room's log in the storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(String);

impl CallId {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one append for good, so that one who got no answer can find out whether it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppendId {
    /// Chosen at random by each process when it starts.
    pub boot: u64,
    /// Counts that process' appends to the call.
    pub count: u64,
}

/// What is to be appended, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The log.
    pub call: CallId,
    /// Its name.
    pub id: AppendId,
    /// The turn that it belongs to; won only while that is the log's turn.
    pub turn: u64,
    /// Whether it ends the turn.
    pub ends_turn: bool,
    /// When it was accepted.
    pub at: UnixTime,
    /// The record; opaque to the storage.
    pub bytes: Bytes,
}

/// What became of an [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log and durable. The same append asked for again gives the same answer.
    Won {
        /// Its place in the log.
        seq: u64,
    },
    /// The log is at another turn; nothing was stored.
    Stale {
        /// The log's turn.
        head: u64,
    },
}

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the log.
    pub seq: u64,
    /// The turn that it belongs to.
    pub turn: u64,
    /// Its name.
    pub id: AppendId,
    /// When it was accepted.
    pub at: UnixTime,
    /// The record.
    pub bytes: Bytes,
}

/// A state from which a log can be read on, instead of from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The first record that is not contained in the state.
    pub next_seq: u64,
    /// The turn after the last record contained.
    pub turn: u64,
    /// The state; opaque to the storage.
    pub bytes: Bytes,
}

/// A log in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCall {
    /// Its name.
    pub call: CallId,
    /// When its last record was accepted.
    pub last_append: UnixTime,
}

/// Why the storage did not answer. Whether an append happened is then unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// More is queued than the storage takes.
    #[error("the storage has more queued than it takes")]
    Busy,
    /// The storage has been closed.
    #[error("the storage has been closed")]
    Closed,
    /// What the engine says.
    #[error("the storage engine failed: {0}")]
    Engine(String),
}

/// An answer of a storage, in a while.
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// Keeps logs, durably and in order.
pub trait Storage: Send + Sync {
    /// Appends if the log is at the turn that the append expects (compare-and-set). A log that does not exist
    /// is at turn 0. [`Appended::Won`] is said once the record is durable.
    fn append(&self, append: Append) -> StorageFuture<'_, Appended>;

    /// Records from `seq` on, in order: at most `limit`, fewer if the log ends or the storage chooses.
    /// Empty only if there is none.
    fn read(&self, call: &CallId, seq: u64, limit: usize) -> StorageFuture<'_, Vec<StoredRecord>>;

    /// The number of records that the log has had so far, as a value to be watched.
    fn watch(&self, call: &CallId) -> watch::Receiver<u64>;

    /// The latest snapshot.
    fn snapshot(&self, call: &CallId) -> StorageFuture<'_, Option<StoredSnapshot>>;

    /// Keeps a snapshot instead of the one before.
    fn put_snapshot(&self, call: &CallId, snapshot: StoredSnapshot) -> StorageFuture<'_, ()>;

    /// Forgets the records before `seq`. The log goes on where it is.
    fn purge(&self, call: &CallId, seq: u64) -> StorageFuture<'_, ()>;

    /// Forgets the log as a whole, its turn included.
    fn delete(&self, call: &CallId) -> StorageFuture<'_, ()>;

    /// All logs.
    fn calls(&self) -> StorageFuture<'_, Vec<StoredCall>>;
}

/// Deletes the logs whose last record is older than `before`; says how many.
///
/// # Errors
/// What the storage says.
pub async fn purge_stale(storage: &dyn Storage, before: UnixTime) -> Result<usize, StorageError> {
    let mut deleted = 0;
    for stored in storage.calls().await? {
        if stored.last_append < before {
            storage.delete(&stored.call).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests;
