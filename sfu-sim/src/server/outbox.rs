//! What waits to be written to a client: bounded, and cut off when it overflows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use crate::protocol::{CloseReason, ServerMessage, SessionEvent};

/// The last words to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) reason: CloseReason,
    pub(super) reconnect_after_ms: Option<u64>,
}

impl Farewell {
    pub(super) fn new(reason: CloseReason) -> Self {
        let reconnect_after_ms = match reason {
            CloseReason::ShuttingDown => Some(1_000),
            CloseReason::SlowConsumer | CloseReason::Idle => Some(0),
            CloseReason::Misbehaving => Some(10_000),
            CloseReason::Bye | CloseReason::Replaced | CloseReason::Removed => None,
        };
        Self { reason, reconnect_after_ms }
    }

    pub(super) fn text(self) -> Utf8Bytes {
        let Self { reason, reconnect_after_ms } = self;
        ServerMessage::event(SessionEvent::Closing { reason, reconnect_after_ms }).to_text().into()
    }

    /// The reason as a label.
    pub(super) fn label(self) -> &'static str {
        match self.reason {
            CloseReason::Bye => "bye",
            CloseReason::ShuttingDown => "shutting_down",
            CloseReason::Replaced => "replaced",
            CloseReason::Removed => "removed",
            CloseReason::SlowConsumer => "slow_consumer",
            CloseReason::Idle => "idle",
            CloseReason::Misbehaving => "misbehaving",
        }
    }
}

#[derive(Debug)]
pub(super) enum Outgoing {
    Text(Utf8Bytes),
    Farewell(Farewell),
}

/// The sending end. Sending never waits: a client that does not keep up is cut off.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
    cut_off: watch::Sender<Option<Farewell>>,
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct OutboxReader {
    queue: mpsc::Receiver<Outgoing>,
    bytes: Arc<AtomicUsize>,
    cut_off: watch::Receiver<Option<Farewell>>,
}

pub(super) fn outbox(max_messages: usize, max_bytes: usize) -> (Outbox, OutboxReader) {
    let (sender, receiver) = mpsc::channel(max_messages);
    let bytes = Arc::new(AtomicUsize::new(0));
    let (cut_off, watch) = watch::channel(None);
    (
        Outbox { queue: sender, bytes: Arc::clone(&bytes), max_bytes, cut_off },
        OutboxReader { queue: receiver, bytes, cut_off: watch },
    )
}

impl Outbox {
    pub(super) fn send(&self, message: &ServerMessage) {
        self.send_text(message.to_text().into());
    }

    /// Sends a message that was made once for many.
    pub(super) fn send_text(&self, text: Utf8Bytes) {
        let len = text.len();
        let before = self.bytes.fetch_add(len, Ordering::Relaxed);
        // A single message passes whatever its length, or a large tree could never be sent.
        let fits = before == 0 || before.saturating_add(len) <= self.max_bytes;
        if !fits || !self.push(Outgoing::Text(text)) {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            self.cut_off(Farewell::new(CloseReason::SlowConsumer));
        }
    }

    /// Closes the connection after what waits has been written.
    pub(super) fn close(&self, reason: CloseReason) {
        let farewell = Farewell::new(reason);
        if !self.push(Outgoing::Farewell(farewell)) {
            self.cut_off(farewell);
        }
    }

    /// Closes the connection without writing what waits.
    fn cut_off(&self, farewell: Farewell) {
        self.cut_off.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(farewell);
            first
        });
    }

    /// Whether it was taken, or is of no use any more.
    fn push(&self, outgoing: Outgoing) -> bool {
        !matches!(self.queue.try_send(outgoing), Err(TrySendError::Full(_)))
    }
}

impl OutboxReader {
    /// The next thing to write; none when nobody can send any more.
    pub(super) async fn next(&mut self) -> Option<Outgoing> {
        let outgoing = tokio::select! {
            biased;
            Ok(farewell) = self.cut_off.wait_for(Option::is_some) => {
                return (*farewell).map(Outgoing::Farewell);
            }
            outgoing = self.queue.recv() => outgoing,
        };
        if let Some(Outgoing::Text(text)) = &outgoing {
            self.bytes.fetch_sub(text.len(), Ordering::Relaxed);
        }
        outgoing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Utf8Bytes {
        "x".repeat(len).into()
    }

    async fn is_cut_off(reader: &mut OutboxReader) -> bool {
        let slow = Farewell::new(CloseReason::SlowConsumer);
        matches!(reader.next().await, Some(Outgoing::Farewell(farewell)) if farewell == slow)
    }

    #[tokio::test]
    async fn too_many_messages_cut_the_client_off() {
        let (outbox, mut reader) = outbox(2, 1000);
        for _ in 0..3 {
            outbox.send_text(message(1));
        }
        assert!(is_cut_off(&mut reader).await);
    }

    #[tokio::test]
    async fn too_many_bytes_cut_the_client_off_but_one_long_message_does_not() {
        let (outbox, mut reader) = outbox(9, 1000);
        outbox.send_text(message(5000));
        assert!(matches!(reader.next().await, Some(Outgoing::Text(text)) if text.len() == 5000));
        outbox.send_text(message(600));
        outbox.send_text(message(600));
        assert!(is_cut_off(&mut reader).await);
    }

    #[tokio::test]
    async fn a_farewell_waits_for_what_was_sent_before() {
        let (outbox, mut reader) = outbox(9, 1000);
        outbox.send_text(message(1));
        outbox.close(CloseReason::Bye);
        assert!(matches!(reader.next().await, Some(Outgoing::Text(_))));
        assert!(matches!(reader.next().await, Some(Outgoing::Farewell(_))));
        drop(outbox);
        assert!(reader.next().await.is_none());
    }
}
