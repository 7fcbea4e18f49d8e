//! Appends, and what is known of a log between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::wire::{self, Place, place_of};
use super::{NatsStorage, Refused};
use crate::delivery::storage::{Append, AppendId, Appended, StorageError};

/// How long an append is tried again after failures before it is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts, and before a watch that broke is begun anew.
const PAUSE: Duration = Duration::from_millis(50);
/// Records of a log whose place in the stream is remembered.
const REMEMBERED: usize = 8192;

/// A log as far as this process has seen it.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The stream's number of the last record; zero if there is none.
    stream_seq: u64,
    next_seq: u64,
    turn: u64,
    /// Whether the log has been looked at.
    known: bool,
    records: BTreeMap<u64, Remembered>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    stream_seq: u64,
    id: AppendId,
}

impl Head {
    /// Takes note of a record wherever it stands.
    pub(super) fn note(&mut self, place: Place, stream_seq: u64) {
        if stream_seq > self.stream_seq && place.seq < self.next_seq {
            // The log was deleted and began anew.
            *self = Self::default();
        }
        self.records.insert(place.seq, Remembered { stream_seq, id: place.id });
        while self.records.len() > REMEMBERED {
            self.records.pop_first();
        }
        if stream_seq > self.stream_seq {
            self.stream_seq = stream_seq;
            self.next_seq = place.seq + 1;
            self.turn = place.next_turn();
            self.known = true;
        }
    }

    fn find(&self, id: AppendId) -> Option<u64> {
        self.records.iter().rev().find(|(_, record)| record.id == id).map(|(seq, _)| *seq)
    }

    /// A number of the stream below that of the record `seq`, as near as is known.
    pub(super) fn stream_seq_before(&self, seq: u64) -> u64 {
        self.records.range(..seq).next_back().map_or(0, |(_, record)| record.stream_seq)
    }

    /// The stream's number of the first record that stays when those before `seq` go. None if nothing goes.
    pub(super) fn purge(&mut self, seq: u64) -> Option<u64> {
        let seq = seq.min(self.next_seq.checked_sub(1)?);
        let (first, record) = self.records.range(..=seq).next_back()?;
        let (first, stream_seq) = (*first, record.stream_seq);
        self.records = self.records.split_off(&first);
        Some(stream_seq)
    }
}

impl NatsStorage {
    pub(super) async fn append_record(&self, append: Append) -> Result<Appended, StorageError> {
        self.check_length(append.bytes.len())?;
        let subject = self.log_subject(&append.call);
        let head = self.head(&append.call);
        let mut head = head.lock().await;
        let given_up = Instant::now() + PATIENCE;
        if !head.known || append.turn > head.turn {
            self.catch_up(&subject, &mut head).await?;
        }
        loop {
            if let Some(seq) = head.find(append.id) {
                return Ok(Appended::Won { seq });
            }
            if append.turn != head.turn {
                return Ok(Appended::Stale { head: head.turn });
            }
            let place = Place::of(&append, head.next_seq);
            let publish = PublishMessage::build()
                .payload(append.bytes.clone())
                .header(wire::RECORD, place.header())
                .expected_last_subject_sequence(head.stream_seq);
            match self.publish(&subject, publish).await {
                Ok(stream_seq) => {
                    head.note(place, stream_seq);
                    return Ok(Appended::Won { seq: place.seq });
                }
                Err(Refused::Overtaken) => {}
                Err(Refused::Failed(error)) => {
                    if Instant::now() >= given_up {
                        return Err(error);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
            self.catch_up(&subject, &mut head).await?;
        }
    }

    /// Reads what has been appended since the head was known.
    async fn catch_up(&self, subject: &str, head: &mut Head) -> Result<(), StorageError> {
        let before = head.stream_seq;
        if head.known {
            while let Some(message) = self.next_message(subject, head.stream_seq + 1).await? {
                head.note(place_of(&message.headers)?, message.sequence);
            }
        }
        if head.stream_seq == before {
            match self.last_message(&self.log, subject).await? {
                Some(last) => head.note(place_of(&last.headers)?, last.sequence),
                // Deleted, or never begun.
                None => *head = Head::default(),
            }
        }
        head.known = true;
        Ok(())
    }
}

/// Keeps `length` at the log's length until nobody watches it.
pub(super) async fn follow(
    client: Client,
    log: Stream,
    subject: String,
    length: watch::Sender<u64>,
) {
    loop {
        tokio::select! {
            () = length.closed() => return,
            result = follow_once(&client, &log, &subject, &length) => {
                if let Err(error) = result {
                    tracing::debug!(error, "the watch of a log is begun anew");
                }
            }
        }
        tokio::select! {
            () = length.closed() => return,
            () = tokio::time::sleep(PAUSE * 10) => {}
        }
    }
}

async fn follow_once(
    client: &Client,
    log: &Stream,
    subject: &str,
    length: &watch::Sender<u64>,
) -> Result<(), String> {
    let config = OrderedConfig {
        deliver_subject: client.new_inbox(),
        filter_subject: subject.to_owned(),
        deliver_policy: DeliverPolicy::LastPerSubject,
        headers_only: true,
        ..OrderedConfig::default()
    };
    let consumer = log.create_consumer(config).await.map_err(|error| error.to_string())?;
    let mut messages = consumer.messages().await.map_err(|error| error.to_string())?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| error.to_string())?;
        let Some(place) = message.headers.as_ref().and_then(|headers| place_of(headers).ok())
        else {
            continue;
        };
        length.send_if_modified(|known| std::mem::replace(known, place.seq + 1) != place.seq + 1);
    }
    Ok(())
}
