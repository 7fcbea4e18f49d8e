use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use mls::wire::UnixTime;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::sync::{oneshot, watch};

use super::{
    Append, AppendId, Appended, CallId, READ_BYTES, Storage, StorageError, StorageFuture,
    StoredCall, StoredRecord, StoredSnapshot,
};

/// How many jobs may wait for the writer, and for the reader.
const QUEUE: usize = 4096;
/// How many jobs share one transaction, and with it one fsync.
const BATCH: usize = 512;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS calls (
        call TEXT PRIMARY KEY, turn INTEGER NOT NULL, length INTEGER NOT NULL,
        last_append INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS records (
        call TEXT NOT NULL, seq INTEGER NOT NULL, turn INTEGER NOT NULL, boot INTEGER NOT NULL,
        count INTEGER NOT NULL, at INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (call, seq)
    );
    CREATE UNIQUE INDEX IF NOT EXISTS records_by_id ON records (call, boot, count);
    CREATE TABLE IF NOT EXISTS snapshots (
        call TEXT PRIMARY KEY, next_seq INTEGER NOT NULL, turn INTEGER NOT NULL,
        bytes BLOB NOT NULL
    );
    PRAGMA user_version = 1;
";

type Reply<T> = oneshot::Sender<Result<T, StorageError>>;
type Read = Box<dyn FnOnce(&Connection) + Send>;
type Lengths = Arc<Mutex<HashMap<CallId, watch::Sender<u64>>>>;

enum Write {
    Append(Append, Reply<Appended>),
    PutSnapshot(CallId, StoredSnapshot, Reply<()>),
    Purge(CallId, u64, Reply<()>),
    Delete(CallId, Reply<()>),
}

/// Keeps logs in an SQLite file: WAL, synchronous FULL, one writer thread with group commit and one reader
/// thread. What has been answered survives a crash of process and machine.
#[derive(Debug)]
pub struct SqliteStorage {
    writer: Option<SyncSender<Write>>,
    reader: Option<SyncSender<Read>>,
    threads: Vec<JoinHandle<()>>,
    lengths: Lengths,
}

impl SqliteStorage {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StorageError::Engine`] if SQLite cannot open it or its tables are of another version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let path: PathBuf = path.as_ref().into();
        let writing = connect(&path)?;
        let version: i64 = writing.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > 1 {
            return Err(StorageError::Engine(format!(
                "expected tables of version 1, found version {version}"
            )));
        }
        writing.execute_batch(SCHEMA)?;
        let reading = connect(&path)?;
        let lengths = Lengths::default();
        let (writer, writes) = sync_channel(QUEUE);
        let (reader, reads) = sync_channel::<Read>(QUEUE);
        let watched = Arc::clone(&lengths);
        let threads = vec![
            spawn("delivery-writer", move || write_all(writing, &writes, &watched))?,
            spawn("delivery-reader", move || {
                while let Ok(read) = reads.recv() {
                    read(&reading);
                }
            })?,
        ];
        Ok(Self { writer: Some(writer), reader: Some(reader), threads, lengths })
    }

    fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(Reply<T>) -> Write,
    ) -> StorageFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let sent = submit(self.writer.as_ref(), job(reply));
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(undone()))
        })
    }

    fn read_with<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StorageFuture<'_, T> {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            // Whoever asked may have gone; then nobody needs the answer.
            let _ = reply.send(query(connection).map_err(StorageError::from));
        });
        let sent = submit(self.reader.as_ref(), read);
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(undone()))
        })
    }
}

impl Drop for SqliteStorage {
    /// Waits until what is queued is written.
    fn drop(&mut self) {
        self.writer = None;
        self.reader = None;
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed by the panic hook; there is nobody else to tell.
            let _ = thread.join();
        }
    }
}

impl Storage for SqliteStorage {
    fn append(&self, append: Append) -> StorageFuture<'_, Appended> {
        self.write(|reply| Write::Append(append, reply))
    }

    fn read(&self, call: &CallId, seq: u64, limit: usize) -> StorageFuture<'_, Vec<StoredRecord>> {
        let call = call.clone();
        self.read_with(move |connection| read_records(connection, &call, seq, limit))
    }

    fn watch(&self, call: &CallId) -> watch::Receiver<u64> {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        lengths.retain(|_, length| length.receiver_count() > 0);
        lengths.entry(call.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    fn snapshot(&self, call: &CallId) -> StorageFuture<'_, Option<StoredSnapshot>> {
        let call = call.clone();
        self.read_with(move |connection| {
            connection
                .prepare_cached("SELECT next_seq, turn, bytes FROM snapshots WHERE call = ?1")?
                .query_row([call.as_str()], |row| {
                    Ok(StoredSnapshot {
                        next_seq: row.get(0)?,
                        turn: row.get(1)?,
                        bytes: row.get::<_, Vec<u8>>(2)?.into(),
                    })
                })
                .optional()
        })
    }

    fn put_snapshot(&self, call: &CallId, snapshot: StoredSnapshot) -> StorageFuture<'_, ()> {
        self.write(|reply| Write::PutSnapshot(call.clone(), snapshot, reply))
    }

    fn purge(&self, call: &CallId, seq: u64) -> StorageFuture<'_, ()> {
        self.write(|reply| Write::Purge(call.clone(), seq, reply))
    }

    fn delete(&self, call: &CallId) -> StorageFuture<'_, ()> {
        self.write(|reply| Write::Delete(call.clone(), reply))
    }

    fn calls(&self) -> StorageFuture<'_, Vec<StoredCall>> {
        self.read_with(|connection| {
            let mut query = connection.prepare("SELECT call, last_append FROM calls")?;
            query
                .query_map([], |row| {
                    Ok(StoredCall {
                        call: CallId::new(row.get::<_, String>(0)?),
                        last_append: UnixTime(row.get(1)?),
                    })
                })?
                .collect()
        })
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error.to_string())
    }
}

/// What an asker is told whose reply was dropped.
fn undone() -> StorageError {
    StorageError::Engine("the transaction was undone".to_owned())
}

fn connect(path: &Path) -> Result<Connection, StorageError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StorageError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| StorageError::Engine(format!("cannot start a thread: {error}")))
}

fn submit<T>(queue: Option<&SyncSender<T>>, job: T) -> Result<(), StorageError> {
    queue.ok_or(StorageError::Closed)?.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => StorageError::Busy,
        TrySendError::Disconnected(_) => StorageError::Closed,
    })
}

/// Sends an answer that was held back until the transaction is durable.
type Answer = Box<dyn FnOnce()>;

/// Runs the writer: whatever is waiting goes into one transaction, and is answered after its commit.
fn write_all(mut connection: Connection, writes: &Receiver<Write>, lengths: &Lengths) {
    while let Ok(first) = writes.recv() {
        let batch = std::iter::once(first).chain(writes.try_iter().take(BATCH - 1));
        if let Err(error) = write_batch(&mut connection, batch, lengths) {
            tracing::error!(%error, "a transaction of the delivery log was undone");
        }
    }
}

/// An error anywhere undoes all jobs of the batch; their askers learn it as their reply is dropped.
fn write_batch(
    connection: &mut Connection,
    batch: impl Iterator<Item = Write>,
    lengths: &Lengths,
) -> rusqlite::Result<()> {
    // The jobs are taken off the queue first, so that a failing transaction does not leave them there.
    let batch: Vec<Write> = batch.collect();
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answers = batch
        .into_iter()
        .map(|job| job.run(&tx, lengths))
        .collect::<rusqlite::Result<Vec<Answer>>>()?;
    tx.commit()?;
    answers.into_iter().for_each(|answer| answer());
    Ok(())
}

impl Write {
    fn run(self, tx: &Transaction<'_>, lengths: &Lengths) -> rusqlite::Result<Answer> {
        // Whoever asked may have gone by the time of the answer; what was written stays.
        Ok(match self {
            Self::Append(append, reply) => {
                let appended = append_record(tx, &append)?;
                let lengths = Arc::clone(lengths);
                Box::new(move || {
                    let _ = reply.send(Ok(appended));
                    if let Appended::Won { seq } = appended {
                        announce(&lengths, &append.call, seq + 1);
                    }
                })
            }
            Self::PutSnapshot(call, snapshot, reply) => {
                put_snapshot(tx, &call, &snapshot)?;
                acknowledge(reply)
            }
            Self::Purge(call, seq, reply) => {
                purge(tx, &call, seq)?;
                acknowledge(reply)
            }
            Self::Delete(call, reply) => {
                delete(tx, &call)?;
                acknowledge(reply)
            }
        })
    }
}

fn acknowledge(reply: Reply<()>) -> Answer {
    Box::new(move || {
        let _ = reply.send(Ok(()));
    })
}

fn announce(lengths: &Lengths, call: &CallId, length: u64) {
    let lengths = lengths.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(watched) = lengths.get(call) {
        watched.send_if_modified(|known| {
            let grown = *known < length;
            *known = (*known).max(length);
            grown
        });
    }
}

struct Head {
    turn: u64,
    length: u64,
}

fn append_record(tx: &Transaction<'_>, append: &Append) -> rusqlite::Result<Appended> {
    let call = append.call.as_str();
    let AppendId { boot, count } = append.id;
    let same: Option<u64> = tx
        .prepare_cached("SELECT seq FROM records WHERE call = ?1 AND boot = ?2 AND count = ?3")?
        .query_row(params![call, boot.cast_signed(), count.cast_signed()], |row| row.get(0))
        .optional()?;
    if let Some(seq) = same {
        return Ok(Appended::Won { seq });
    }
    let head = tx
        .prepare_cached("SELECT turn, length FROM calls WHERE call = ?1")?
        .query_row([call], |row| Ok(Head { turn: row.get(0)?, length: row.get(1)? }))
        .optional()?
        .unwrap_or(Head { turn: 0, length: 0 });
    if head.turn != append.turn {
        return Ok(Appended::Stale { head: head.turn });
    }
    tx.prepare_cached(
        "INSERT INTO records (call, seq, turn, boot, count, at, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        call,
        head.length,
        append.turn,
        boot.cast_signed(),
        count.cast_signed(),
        append.at.0,
        append.bytes.as_ref()
    ])?;
    tx.prepare_cached(
        "INSERT INTO calls (call, turn, length, last_append) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (call) DO UPDATE SET turn = ?2, length = ?3, last_append = ?4",
    )?
    .execute(params![
        call,
        head.turn + u64::from(append.ends_turn),
        head.length + 1,
        append.at.0
    ])?;
    Ok(Appended::Won { seq: head.length })
}

fn read_records(
    connection: &Connection,
    call: &CallId,
    seq: u64,
    limit: usize,
) -> rusqlite::Result<Vec<StoredRecord>> {
    let mut query = connection.prepare_cached(
        "SELECT seq, turn, boot, count, at, bytes FROM records WHERE call = ?1 AND seq >= ?2
         ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = query.query(params![call.as_str(), seq, limit])?;
    let mut records = Vec::new();
    let mut bytes = 0;
    while bytes < READ_BYTES {
        let Some(row) = rows.next()? else { break };
        let record = StoredRecord {
            seq: row.get(0)?,
            turn: row.get(1)?,
            id: AppendId {
                boot: row.get::<_, i64>(2)?.cast_unsigned(),
                count: row.get::<_, i64>(3)?.cast_unsigned(),
            },
            at: UnixTime(row.get(4)?),
            bytes: Bytes::from(row.get::<_, Vec<u8>>(5)?),
        };
        bytes += record.bytes.len();
        records.push(record);
    }
    Ok(records)
}

fn put_snapshot(tx: &Transaction<'_>, call: &CallId, new: &StoredSnapshot) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO snapshots (call, next_seq, turn, bytes) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (call) DO UPDATE SET next_seq = ?2, turn = ?3, bytes = ?4",
    )?
    .execute(params![call.as_str(), new.next_seq, new.turn, new.bytes.as_ref()])?;
    Ok(())
}

fn purge(tx: &Transaction<'_>, call: &CallId, seq: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM records WHERE call = ?1 AND seq < ?2")?
        .execute(params![call.as_str(), seq])?;
    Ok(())
}

fn delete(tx: &Transaction<'_>, call: &CallId) -> rusqlite::Result<()> {
    for table in ["records", "snapshots", "calls"] {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE call = ?1"))?
            .execute([call.as_str()])?;
    }
    Ok(())
}
