//! The other servers that share this one's storage, and the links of rooms to them.
//!
//! Everything here goes over NATS subjects, beside the logs: a beat of each server, what rooms tell each other,
//! and media as it was received, for the rooms that others serve too. Servers trust each other; whoever may
//! publish to these subjects can keep people out of a call or drop their media, but never read or forge a frame.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::delivery::{CallId, NatsStorage, NodeId, Note};
use crate::media::{LinkedTrack, MediaHandle, RoomId};

/// How often a server says that it is there.
const BEAT: Duration = Duration::from_millis(500);
/// After how long without a beat it counts as gone.
const SILENCE: Duration = Duration::from_secs(2);
/// Messages of a room that may wait for NATS.
const MESSAGES: usize = 4096;
/// Packets of a room that may wait for NATS; at 2,000 packets a second half a second of media.
const PACKETS: usize = 1024;

/// What a room tells the same room at other servers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum LinkMessage {
    /// What the delivery service says.
    Note { note: Note },
    /// All tracks that are published here.
    Tracks { tracks: Vec<LinkedTrack> },
    /// A keyframe of a track of `node` is wanted.
    Keyframe { node: NodeId, track: u64 },
    /// The room is served no longer.
    Bye,
}

#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    node: NodeId,
    /// Counts what the node's room says, so that a loss shows.
    number: u64,
    message: LinkMessage,
}

/// What happens on a room's link.
#[derive(Debug)]
pub(super) enum LinkEvent {
    Message {
        node: NodeId,
        message: LinkMessage,
        /// Whether messages before it are missing.
        missed: bool,
    },
    /// A server is there (again).
    Came,
    /// A server does not show itself any more.
    Gone { node: NodeId },
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Came,
    Gone(NodeId),
}

/// This server among the others.
#[derive(Debug)]
pub(super) struct Cluster {
    client: Client,
    storage: NatsStorage,
    node: NodeId,
    seen: Mutex<HashMap<NodeId, Instant>>,
    /// Whether NATS could not be reached at the last beat.
    was_away: AtomicBool,
    changes: broadcast::Sender<Change>,
}

/// One room's link to the same room at other servers.
#[derive(Debug)]
pub(super) struct RoomLink {
    pub(super) node: NodeId,
    /// Where packets for the others go.
    pub(super) packets: mpsc::Sender<Vec<u8>>,
    control: Subscriber,
    outgoing: mpsc::Sender<Vec<u8>>,
    said: AtomicU64,
    heard: HashMap<NodeId, u64>,
    changes: broadcast::Receiver<Change>,
    receiving: JoinHandle<()>,
}

impl Cluster {
    /// Shows this server to the others, and watches them.
    pub(super) async fn start(
        storage: NatsStorage,
        boot: u64,
    ) -> Result<Arc<Self>, async_nats::SubscribeError> {
        let client = storage.client();
        let beats = client.subscribe(format!("{}.nodes", storage.prefix())).await?;
        let (changes, _) = broadcast::channel(256);
        let seen = Mutex::default();
        let was_away = AtomicBool::new(false);
        let cluster =
            Arc::new(Self { client, storage, node: NodeId(boot), seen, was_away, changes });
        tokio::spawn(watch(Arc::downgrade(&cluster), beats));
        Ok(cluster)
    }

    /// Whether NATS can be reached at the moment.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Says goodbye, and waits until everything said has been sent.
    pub(super) async fn leave(&self) {
        let bye = format!("bye {}", self.node.0);
        let subject = format!("{}.nodes", self.storage.prefix());
        if self.client.publish(subject, bye.into()).await.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(1), self.client.flush()).await;
        }
    }

    /// Links a room.
    pub(super) async fn link(
        &self,
        call: &CallId,
        room: RoomId,
        media: MediaHandle,
    ) -> Result<RoomLink, async_nats::SubscribeError> {
        let subject = self.storage.subject("room", call);
        let media_subject = self.storage.subject("media", call);
        let control = self.client.subscribe(subject.clone()).await?;
        let incoming = self.client.subscribe(format!("{media_subject}.*")).await?;
        let (outgoing, messages) = mpsc::channel(MESSAGES);
        let (packets, queued) = mpsc::channel(PACKETS);
        let own = format!("{media_subject}.{}", self.node.0);
        tokio::spawn(send_all(self.client.clone(), subject, messages));
        tokio::spawn(send_packets(self.client.clone(), own, queued));
        Ok(RoomLink {
            node: self.node,
            packets,
            control,
            outgoing,
            said: AtomicU64::new(0),
            heard: HashMap::new(),
            changes: self.changes.subscribe(),
            receiving: tokio::spawn(receive_all(incoming, room, media)),
        })
    }

    fn saw(&self, node: NodeId) {
        if node == self.node {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(node, Instant::now()).is_none() {
            tracing::info!(node = node.0, "another server is there");
            // Without a room nobody listens.
            let _ = self.changes.send(Change::Came);
        }
    }

    fn forget(&self, gone: impl Fn(NodeId, Instant) -> bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|node, at| {
            let gone = gone(*node, *at);
            if gone {
                tracing::warn!(node = node.0, "another server is gone");
                let _ = self.changes.send(Change::Gone(*node));
            }
            !gone
        });
    }

    async fn beat(&self) {
        let away = !self.is_connected();
        let was_away = self.was_away.swap(away, Ordering::Relaxed);
        if away || was_away {
            // While nothing can be heard, silence says nothing about the others.
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.values_mut().for_each(|at| *at = Instant::now());
        }
        if away {
            return;
        }
        if was_away {
            // What was said meanwhile is lost: all rooms ask anew. Without a room nobody listens.
            let _ = self.changes.send(Change::Came);
        }
        self.forget(|_, at| at.elapsed() > SILENCE);
        let subject = format!("{}.nodes", self.storage.prefix());
        let here = format!("here {}", self.node.0);
        if let Err(error) = self.client.publish(subject, here.into()).await {
            tracing::debug!(%error, "beat not sent");
        }
    }
}

/// Beats and listens until the server has ended.
async fn watch(cluster: std::sync::Weak<Cluster>, mut beats: Subscriber) {
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let beat = tokio::select! {
            _ = tick.tick() => None,
            beat = beats.next() => Some(beat),
        };
        let Some(cluster) = cluster.upgrade() else { return };
        match beat {
            None => cluster.beat().await,
            Some(None) => return,
            Some(Some(message)) => {
                let text = std::str::from_utf8(&message.payload).unwrap_or_default();
                match text.split_once(' ').and_then(|(word, id)| Some((word, id.parse().ok()?))) {
                    Some(("here", id)) => cluster.saw(NodeId(id)),
                    Some(("bye", id)) => cluster.forget(|node, _| node == NodeId(id)),
                    _ => {}
                }
            }
        }
    }
}

async fn send_all(client: Client, subject: String, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if let Err(error) = client.publish(subject.clone(), bytes.into()).await {
            tracing::warn!(%error, "a message to other servers was not sent");
        }
    }
}

/// Packets that cannot go out at once are of no use later, and would keep everything else waiting.
async fn send_packets(client: Client, subject: String, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if client.connection_state() == State::Connected
            && let Err(error) = client.publish(subject.clone(), bytes.into()).await
        {
            tracing::debug!(%error, "a packet for other servers was not sent");
        }
    }
}

async fn receive_all(mut packets: Subscriber, room: RoomId, media: MediaHandle) {
    while let Some(message) = packets.next().await {
        let node = message.subject.rsplit('.').next().and_then(|node| node.parse().ok());
        if let Some(node) = node {
            media.send_packet(room, node, message.payload);
        }
    }
}

impl RoomLink {
    /// What happens next. May be cancelled without losing anything.
    pub(super) async fn next(&mut self) -> LinkEvent {
        loop {
            tokio::select! {
                message = self.control.next() => {
                    let Some(message) = message else { std::future::pending().await };
                    match serde_json::from_slice(&message.payload) {
                        Ok(Envelope { node, number, message }) if node != self.node => {
                            let last = self.heard.insert(node, number);
                            let missed = last.is_some_and(|last| number != last + 1);
                            return LinkEvent::Message { node, message, missed };
                        }
                        Ok(_) => {}
                        Err(error) => {
                            tracing::warn!(%error, "a message of another server cannot be read");
                        }
                    }
                }
                change = self.changes.recv() => match change {
                    Ok(Change::Gone(node)) => return LinkEvent::Gone { node },
                    // Whoever missed changes asks around like one who hears of somebody new.
                    Ok(Change::Came) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        return LinkEvent::Came;
                    }
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                },
            }
        }
    }

    /// Tells the others. Where NATS takes nothing for long, this is lost; they notice, and ask anew.
    pub(super) fn send(&self, message: LinkMessage) {
        let number = self.said.fetch_add(1, Ordering::Relaxed);
        let envelope = Envelope { node: self.node, number, message };
        match serde_json::to_vec(&envelope) {
            Ok(bytes) => {
                if self.outgoing.try_send(bytes).is_err() {
                    tracing::warn!("too many messages wait for NATS, one is dropped");
                }
            }
            Err(error) => tracing::error!(%error, "a message to other servers cannot be written"),
        }
    }
}

impl Drop for RoomLink {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}
