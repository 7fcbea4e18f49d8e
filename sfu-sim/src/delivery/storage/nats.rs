//! Logs in NATS JetStream, for several processes that serve the same calls.
//!
//! All calls share a stream, each has a subject of its own in it. An append is a publish that names the
//! subject's last sequence number (compare-and-set), so that of all who race for a place in a log one wins. The
//! place, the turn and the append's name stand in a header.
//!
//! **Ambiguity.** A publish whose acknowledgement is lost may have happened. The subject's messages are then
//! read and their names compared; a repeated publish carries the same expectation and cannot happen twice.
//!
//! **Reads go to the stream's leader**, never to a replica that may lag: who has lost a race has to find the
//! winner in the log.

mod log;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RawMessageError, RawMessageErrorKind, Stream,
};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{ConnectOptions, Event, ServerAddr};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use self::log::Head;
use self::wire::{call_of, place_of, token};
use super::{
    Append, Appended, CallId, Storage, StorageError, StorageFuture, StoredCall, StoredRecord,
    StoredSnapshot,
};

/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Between two attempts to connect again.
const RECONNECT: Duration = Duration::from_millis(250);

/// Logs whose head is remembered.
const REMEMBERED_CALLS: usize = 4096;

/// The first version in which a cluster never lets two publishes with one expectation win.
const CLUSTER_VERSION: [u64; 3] = [2, 10, 23];

/// Where the storage is, and how it is set up there.
#[derive(Clone)]
pub struct NatsOptions {
    /// Addresses as in `nats://user:password@host:4222` or `tls://host:4222`; several of one cluster, at least
    /// one.
    pub servers: Vec<String>,
    /// A credentials file (JWT and seed).
    pub credentials: Option<PathBuf>,
    /// How all subjects begin, as in `framelock`: letters, digits, `-` and `_`.
    pub prefix: String,
    /// On how many servers of a cluster each record is kept.
    pub replicas: usize,
}

/// Addresses may hold a password.
impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Keeps logs in NATS JetStream.
#[derive(Clone, Debug)]
pub struct NatsStorage {
    context: Context,
    log: Stream,
    snapshots: Stream,
    prefix: String,
    heads: Arc<Mutex<HashMap<CallId, SharedHead>>>,
}

type SharedHead = Arc<tokio::sync::Mutex<Head>>;

impl NatsStorage {
    /// Connects, and makes the streams if they do not exist.
    ///
    /// # Errors
    /// [`StorageError::Engine`] if no server answers, none has JetStream, or it belongs to a cluster older than
    /// 2.10.23: such a cluster can let two commits win one epoch.
    pub async fn open(options: &NatsOptions) -> Result<Self, StorageError> {
        let servers = options
            .servers
            .iter()
            .map(|server| server.parse::<ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            // The address may hold a password: it is not repeated.
            .map_err(|_| engine("expected addresses as in nats://host:4222"))?;
        let token = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if options.prefix.is_empty() || !token(&options.prefix) {
            return Err(engine("expected a prefix of letters, digits, - and _"));
        }
        let mut connecting = ConnectOptions::new()
            .name("framelock")
            // Servers tell each other things on subjects that they listen on themselves.
            .no_echo()
            .connection_timeout(ANSWER)
            // All processes are back at nearly the same time, before one takes another for gone.
            .reconnect_delay_callback(|_| RECONNECT)
            .request_timeout(Some(ANSWER))
            .event_callback(|event| async move {
                match event {
                    Event::Connected => tracing::info!("NATS connected"),
                    event => tracing::warn!(%event, "NATS"),
                }
            });
        if let Some(path) = &options.credentials {
            connecting = connecting.credentials_file(path).await.map_err(engine)?;
        }
        let client = connecting.connect(servers).await.map_err(engine)?;
        let info = client.server_info();
        if !info.jetstream {
            return Err(engine("expected a NATS server with JetStream (start it with -js)"));
        }
        let context = ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client);
        let prefix = &options.prefix;
        let stream = |name: &str, kept: i64| Config {
            name: format!("{prefix}-{name}"),
            subjects: vec![format!("{prefix}.{name}.*")],
            num_replicas: options.replicas,
            max_messages_per_subject: kept,
            discard: DiscardPolicy::Old,
            ..Config::default()
        };
        // A cluster is recognised before anything is made in it.
        if info.cluster.is_some() {
            check_version(&info.version)?;
        }
        let log = context.get_or_create_stream(stream("log", -1)).await.map_err(engine)?;
        let snapshots =
            context.get_or_create_stream(stream("snapshot", 1)).await.map_err(engine)?;
        if log.cached_info().cluster.as_ref().is_some_and(|cluster| !cluster.replicas.is_empty()) {
            check_version(&info.version)?;
        }
        let prefix = options.prefix.clone();
        Ok(Self { context, log, snapshots, prefix, heads: Arc::default() })
    }

    /// The connection, for what several processes tell each other beside the logs.
    pub fn client(&self) -> async_nats::Client {
        self.context.client()
    }

    /// How all subjects begin.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The longest record that the server takes, in bytes.
    pub fn max_record(&self) -> usize {
        self.context.client().max_payload().saturating_sub(wire::HEADER_ROOM)
    }

    /// The subject of this kind that belongs to a call.
    pub fn subject(&self, kind: &str, call: &CallId) -> String {
        format!("{}.{kind}.{}", self.prefix, token(call.as_str()))
    }

    fn log_subject(&self, call: &CallId) -> String {
        self.subject("log", call)
    }

    fn snapshot_subject(&self, call: &CallId) -> String {
        self.subject("snapshot", call)
    }

    fn head(&self, call: &CallId) -> SharedHead {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() >= REMEMBERED_CALLS && !heads.contains_key(call) {
            // Those in use stay; the others are looked up again when they are needed.
            heads.retain(|_, head| Arc::strong_count(head) > 1);
        }
        Arc::clone(heads.entry(call.clone()).or_default())
    }

    fn forget_head(&self, call: &CallId) {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).remove(call);
    }

    async fn read_records(
        &self,
        call: &CallId,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StorageError> {
        let subject = self.log_subject(call);
        let head = self.head(call);
        let mut next = head.lock().await.stream_seq_before(seq) + 1;
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < limit && bytes < super::READ_BYTES {
            let Some(message) = self.next_message(&subject, next).await? else { break };
            next = message.sequence + 1;
            let place = place_of(&message.headers)?;
            head.lock().await.note(place, message.sequence);
            if place.seq < seq {
                continue;
            }
            bytes += message.payload.len();
            records.push(StoredRecord {
                seq: place.seq,
                turn: place.turn,
                id: place.id,
                at: place.at,
                bytes: message.payload,
            });
        }
        Ok(records)
    }

    /// Keeps a snapshot unless a later one is there: what that one contains may be purged already.
    async fn keep_snapshot(&self, call: &CallId, new: StoredSnapshot) -> Result<(), StorageError> {
        let subject = self.snapshot_subject(call);
        self.check_length(new.bytes.len())?;
        loop {
            let last = self.last_message(&self.snapshots, &subject).await?;
            let expected = match &last {
                Some(message) => {
                    let kept = wire::snapshot_of(message)?;
                    if kept.next_seq >= new.next_seq {
                        return Ok(());
                    }
                    message.sequence
                }
                None => 0,
            };
            let publish = PublishMessage::build()
                .payload(new.bytes.clone())
                .header(wire::SNAPSHOT, wire::snapshot_header(&new))
                .expected_last_subject_sequence(expected);
            match self.publish(&subject, publish).await {
                Ok(_) => return Ok(()),
                Err(Refused::Overtaken) => {}
                Err(Refused::Failed(error)) => return Err(error),
            }
        }
    }

    async fn purge_records(&self, call: &CallId, seq: u64) -> Result<(), StorageError> {
        let head = self.head(call);
        let mut head = head.lock().await;
        // The last record stays: the log's turn and length stand in it.
        let Some(before) = head.purge(seq) else { return Ok(()) };
        let subject = self.log_subject(call);
        self.log.purge().filter(subject).sequence(before).await.map_err(engine)?;
        Ok(())
    }

    async fn delete_log(&self, call: &CallId) -> Result<(), StorageError> {
        self.log.purge().filter(self.log_subject(call)).await.map_err(engine)?;
        self.snapshots.purge().filter(self.snapshot_subject(call)).await.map_err(engine)?;
        self.forget_head(call);
        Ok(())
    }

    async fn list_calls(&self) -> Result<Vec<StoredCall>, StorageError> {
        let all = format!("{}.log.*", self.prefix);
        let mut subjects = self.log.info_with_subjects(all).await.map_err(engine)?;
        let mut calls = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(engine)?;
            let Some(call) = call_of(&subject) else { continue };
            if let Some(message) = self.last_message(&self.log, &subject).await? {
                let last_append = place_of(&message.headers)?.at;
                calls.push(StoredCall { call: CallId::new(call), last_append });
            }
        }
        calls.sort_by(|a, b| a.call.cmp(&b.call));
        Ok(calls)
    }

    /// Nothing is asked of a server that is away: what waits in the client's buffer would happen at any later time.
    fn check_reachable(&self) -> Result<(), StorageError> {
        if self.context.client().connection_state() == State::Connected {
            return Ok(());
        }
        Err(engine("NATS cannot be reached"))
    }

    /// The first message of a log at `from` or later.
    async fn next_message(
        &self,
        subject: &str,
        from: u64,
    ) -> Result<Option<Message>, StorageError> {
        self.check_reachable()?;
        let asked = self.log.raw_message_builder().sequence(from).next_by_subject(subject);
        found(timeout(ANSWER * 2, asked.send()).await)
    }

    async fn last_message(
        &self,
        stream: &Stream,
        subject: &str,
    ) -> Result<Option<Message>, StorageError> {
        self.check_reachable()?;
        let asked = stream.raw_message_builder().last_by_subject(subject);
        found(timeout(ANSWER * 2, asked.send()).await)
    }

    fn check_length(&self, length: usize) -> Result<(), StorageError> {
        let limit = self.max_record();
        if length <= limit {
            return Ok(());
        }
        let message = format!("the NATS server takes records of at most {limit} bytes");
        Err(engine(format!("{message}, found {length}: raise its max_payload")))
    }

    async fn publish(&self, subject: &str, publish: PublishMessage) -> Result<u64, Refused> {
        self.check_reachable().map_err(Refused::Failed)?;
        let acknowledged =
            async { self.context.send_publish(subject.to_owned(), publish).await?.await };
        let acknowledged = timeout(ANSWER * 2, acknowledged).await;
        let acknowledged = acknowledged.map_err(|_| Refused::Failed(engine("NATS is silent")))?;
        acknowledged.map(|acknowledgement| acknowledgement.sequence).map_err(|error| {
            let code = std::error::Error::source(&error)
                .and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>())
                .map(async_nats::jetstream::Error::error_code);
            // Servers say the same in two ways.
            match code {
                Some(
                    ErrorCode::STREAM_WRONG_LAST_SEQUENCE
                    | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
                ) => Refused::Overtaken,
                _ => Refused::Failed(engine(error)),
            }
        })
    }
}

/// Why a publish was not acknowledged.
#[derive(Debug)]
enum Refused {
    /// Something else has the subject's next place.
    Overtaken,
    /// Whether it happened is unknown.
    Failed(StorageError),
}

impl Storage for NatsStorage {
    fn append(&self, append: Append) -> StorageFuture<'_, Appended> {
        Box::pin(self.append_record(append))
    }

    fn read(&self, call: &CallId, seq: u64, limit: usize) -> StorageFuture<'_, Vec<StoredRecord>> {
        let call = call.clone();
        Box::pin(async move { self.read_records(&call, seq, limit).await })
    }

    /// To be called within a tokio runtime.
    fn watch(&self, call: &CallId) -> watch::Receiver<u64> {
        let (length, watched) = watch::channel(0);
        tokio::spawn(log::follow(
            self.context.client(),
            self.log.clone(),
            self.log_subject(call),
            length,
        ));
        watched
    }

    fn snapshot(&self, call: &CallId) -> StorageFuture<'_, Option<StoredSnapshot>> {
        let subject = self.snapshot_subject(call);
        Box::pin(async move {
            let last = self.last_message(&self.snapshots, &subject).await?;
            last.map(|message| wire::snapshot_of(&message)).transpose()
        })
    }

    fn put_snapshot(&self, call: &CallId, snapshot: StoredSnapshot) -> StorageFuture<'_, ()> {
        let call = call.clone();
        Box::pin(async move { self.keep_snapshot(&call, snapshot).await })
    }

    fn purge(&self, call: &CallId, seq: u64) -> StorageFuture<'_, ()> {
        let call = call.clone();
        Box::pin(async move { self.purge_records(&call, seq).await })
    }

    fn delete(&self, call: &CallId) -> StorageFuture<'_, ()> {
        let call = call.clone();
        Box::pin(async move { self.delete_log(&call).await })
    }

    fn calls(&self) -> StorageFuture<'_, Vec<StoredCall>> {
        Box::pin(self.list_calls())
    }
}

type Message = async_nats::jetstream::message::StreamMessage;

fn found(
    answer: Result<Result<Message, RawMessageError>, Elapsed>,
) -> Result<Option<Message>, StorageError> {
    match answer.map_err(engine)? {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(engine(error)),
    }
}

fn check_version(version: &str) -> Result<(), StorageError> {
    let numbers: Vec<u64> =
        version.split(['.', '-']).map_while(|part| part.parse().ok()).take(3).collect();
    if numbers.as_slice() >= CLUSTER_VERSION.as_slice() {
        return Ok(());
    }
    Err(engine(format!(
        "expected a NATS cluster of version 2.10.23 or later, found {version}: older clusters can let two \
         commits win one epoch"
    )))
}

fn engine(error: impl fmt::Display) -> StorageError {
    StorageError::Engine(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clusters_are_refused() {
        for good in ["2.10.23", "2.10.24-RC.1", "2.11.0", "3.0.0"] {
            assert_eq!(check_version(good), Ok(()), "{good}");
        }
        for old in ["2.9.10", "2.10.22", "2.10", "", "unknown"] {
            let Err(StorageError::Engine(words)) = check_version(old) else { panic!("{old}") };
            assert!(words.contains("2.10.23"), "{words}");
        }
    }
}
