//! One room: who is in it, and the meeting point of signalling, media and delivery.
//!
//! A room is a task that owns its state; connections and the media worker send it messages.

mod calls;
mod datagrams;
mod link;
mod outputs;
mod presence;
mod requests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use self::calls::Calls;
use self::datagrams::Path;
use self::link::{Elsewhere, next_of};
use super::cluster::{LinkMessage, RoomLink};
use super::outbox::Outbox;
use super::registry::Shared;
use crate::delivery::storage::StorageError;
use crate::delivery::{CallId, ConnectionId, Login, NodeId};
use crate::media::{MediaCommand, MediaNotice, RoomId};
use crate::protocol::{
    ClientBody, ClientMessage, ClientReport, CloseReason, Identity, Participant, Refusal,
    RefusalCode, RoomName, ServerBody, ServerMessage, SessionEvent, SessionRequest,
};
use crate::router::PeerId;
use crate::token::Claims;

/// What comes into a room.
#[derive(Debug)]
pub(super) enum RoomInput {
    Join(JoinRequest),
    Message { connection: ConnectionId, message: ClientMessage },
    Disconnected { connection: ConnectionId },
}

#[derive(Debug)]
pub(super) struct JoinRequest {
    pub(super) connection: ConnectionId,
    pub(super) claims: Claims,
    pub(super) outbox: Outbox,
    pub(super) reply: oneshot::Sender<Result<(), Refusal>>,
}

#[derive(Debug)]
struct Member {
    peer: PeerId,
    participant: Participant,
    link: Option<Link>,
    /// Where it is connected, if that is another server.
    elsewhere: Option<Elsewhere>,
    /// The login that counts.
    login: Option<Login>,
    /// When it counts as gone, if it has no connection.
    gone_at: Option<Instant>,
    /// When it last reported.
    reported: Option<Instant>,
    /// Whether ICE and DTLS are up.
    media_connected: bool,
    /// Its requests that the media engine has not answered.
    media_waits: usize,
    /// Whether the media connection has a channel for datagrams.
    has_channel: bool,
    /// Whether the delivery service has its media stopped.
    cut_off: bool,
}

#[derive(Debug)]
struct Link {
    connection: ConnectionId,
    outbox: Outbox,
    /// What is urgent goes this way; none if the server has it switched off.
    path: Option<Path>,
}

pub(super) struct Room {
    shared: Arc<Shared>,
    id: RoomId,
    name: RoomName,
    mailbox: mpsc::Receiver<RoomInput>,
    notices: mpsc::UnboundedReceiver<MediaNotice>,
    members: BTreeMap<Identity, Member>,
    by_peer: HashMap<PeerId, Identity>,
    by_connection: HashMap<ConnectionId, Identity>,
    /// Whose media is stopped, as long as the removal is under way; of those that a moderator removed, as long
    /// as the call lasts.
    cut_off: BTreeSet<Identity>,
    /// Whom a moderator has removed from the call.
    expelled: BTreeSet<Identity>,
    /// When an empty room closes.
    closes_at: Option<Instant>,
    /// From when the paths of datagrams count their time.
    origin: Instant,
    /// The link to other servers, if there may be any.
    link: Option<RoomLink>,
    /// The others that serve the room.
    nodes: BTreeSet<NodeId>,
}

impl Room {
    pub(super) fn open(
        shared: Arc<Shared>,
        id: RoomId,
        name: RoomName,
        mailbox: mpsc::Receiver<RoomInput>,
    ) -> Self {
        let (sender, notices) = mpsc::unbounded_channel();
        shared.media.send(MediaCommand::OpenRoom { room: id, notices: sender });
        shared.metrics.rooms.inc();
        let mut room = Self {
            shared,
            id,
            name,
            mailbox,
            notices,
            members: BTreeMap::new(),
            by_peer: HashMap::new(),
            by_connection: HashMap::new(),
            cut_off: BTreeSet::new(),
            expelled: BTreeSet::new(),
            closes_at: None,
            origin: Instant::now(),
            link: None,
            nodes: BTreeSet::new(),
        };
        room.note_emptiness();
        room
    }

    pub(super) async fn run(mut self) {
        let stopping = self.shared.stopping.clone();
        match self.open_calls().await {
            Ok(mut calls) => {
                tracing::info!(room = %self.name, "room opened");
                tokio::select! {
                    () = self.serve(&mut calls) => {}
                    () = stopping.cancelled() => {}
                }
                calls.forget(&self.shared.metrics);
                self.tell_nodes(LinkMessage::Bye);
            }
            Err(error) => {
                tracing::error!(room = %self.name, %error, "room not opened");
                self.mailbox.close();
                while let Some(input) = self.mailbox.recv().await {
                    if let RoomInput::Join(JoinRequest { reply, .. }) = input {
                        let _ = reply.send(Err(unavailable("the room's log cannot be read")));
                    }
                }
            }
        }
        self.mailbox.close();
        for member in self.members.values() {
            if let Some(link) = &member.link {
                link.outbox.close(CloseReason::ShuttingDown);
            }
        }
        let here = self.members.values().filter(|member| member.elsewhere.is_none()).count();
        self.shared.metrics.participants.sub(here as i64);
        self.shared.metrics.rooms.dec();
        self.shared.media.send(MediaCommand::CloseRoom { room: self.id });
        tracing::info!(room = %self.name, "room closed");
    }

    async fn open_calls(&mut self) -> Result<Calls, StorageError> {
        let call = CallId::new(self.name.as_str());
        let shared = &self.shared;
        if let Some(cluster) = &shared.cluster {
            // Linked before the log is read: what others append or say meanwhile is not missed.
            let link = cluster.link(&call, self.id, shared.media.clone()).await;
            self.link = Some(link.map_err(|error| StorageError::Engine(error.to_string()))?);
        }
        Calls::open(
            Arc::clone(&shared.storage),
            shared.config.delivery.clone(),
            call,
            shared.boot,
            shared.clock,
            shared.cluster.is_some(),
        )
        .await
    }

    /// Works until the room is empty.
    async fn serve(&mut self, calls: &mut Calls) {
        self.carry_out(calls);
        loop {
            let deadline = self.next_deadline().into_iter().chain(calls.next_deadline()).min();
            tokio::select! {
                Some(input) = self.mailbox.recv() => self.on_input(input, calls),
                Some(notice) = self.notices.recv() => self.on_notice(notice, calls),
                () = calls.storage_speaks() => {}
                event = next_of(&mut self.link) => self.on_link(event, calls),
                () = sleep_until(deadline) => {
                    calls.on_deadline();
                    self.on_path_deadlines();
                    if self.on_deadline(Instant::now(), calls) {
                        return;
                    }
                }
            }
            self.carry_out(calls);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let gone = self.members.values().filter_map(|member| member.gone_at);
        gone.chain(self.closes_at).chain(self.path_deadline()).min()
    }

    fn on_input(&mut self, input: RoomInput, calls: &mut Calls) {
        match input {
            RoomInput::Join(request) => self.on_join(request, calls),
            RoomInput::Message { connection, message } => {
                self.on_message(connection, message, calls);
            }
            RoomInput::Disconnected { connection } => {
                calls.disconnect(connection);
                self.on_disconnected(connection);
            }
        }
    }

    fn on_message(&mut self, connection: ConnectionId, message: ClientMessage, calls: &mut Calls) {
        let Some(identity) = self.by_connection.get(&connection).cloned() else { return };
        if !message.received.is_empty() {
            self.confirmed(&identity, &message.received);
        }
        if message.parcel.is_some_and(|number| !self.is_first(&identity, number)) {
            return;
        }
        let re = message.id;
        match message.body {
            ClientBody::Session(SessionRequest::Ping) => self.done(&identity, re),
            ClientBody::Session(SessionRequest::Report { report }) => {
                self.on_report(&identity, re, &report);
            }
            ClientBody::Session(SessionRequest::Datagrams { lossy }) => {
                if lossy {
                    self.losses_reported(&identity);
                }
            }
            ClientBody::Session(SessionRequest::Bye) => {
                self.done(&identity, re);
                if let Some(link) = self.members.get(&identity).and_then(|it| it.link.as_ref()) {
                    link.outbox.close(CloseReason::Bye);
                }
            }
            ClientBody::Media(request) => self.media_request(&identity, re, request),
            ClientBody::Delivery(request) => calls.request(connection, re, request),
        }
    }

    /// Whether the room ends.
    fn on_deadline(&mut self, now: Instant, calls: &Calls) -> bool {
        let gone: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.gone_at.is_some_and(|at| at <= now))
            .map(|(identity, _)| identity.clone())
            .collect();
        for identity in gone {
            self.remove(&identity);
        }
        if self.closes_at.is_none_or(|at| at > now) {
            return false;
        }
        if calls.is_idle() && self.shared.close_room(&self.name, &mut self.mailbox) {
            return true;
        }
        self.closes_at = Some(now + Duration::from_secs(1));
        false
    }

    fn on_notice(&mut self, notice: MediaNotice, calls: &mut Calls) {
        let notice = match notice {
            MediaNotice::Published { tracks } => return self.published(tracks),
            MediaNotice::KeyframeWanted { node, track } => {
                return self.tell_nodes(LinkMessage::Keyframe { node: NodeId(node), track });
            }
            notice => notice,
        };
        let (MediaNotice::Reply { peer, .. }
        | MediaNotice::Event { peer, .. }
        | MediaNotice::Connected { peer }
        | MediaNotice::Channel { peer, .. }
        | MediaNotice::Datagram { peer, .. }
        | MediaNotice::Disconnected { peer }) = &notice
        else {
            return;
        };
        let Some(identity) = self.by_peer.get(peer).cloned() else { return };
        match notice {
            MediaNotice::Reply { re, result, .. } => {
                self.media_answered(&identity);
                match result {
                    Ok(Some(event)) => self.send(&identity, &ServerMessage::reply(re, event)),
                    Ok(None) => self.done(&identity, re),
                    Err(refusal) => self.refuse(&identity, re, refusal),
                }
            }
            MediaNotice::Event { event, .. } => {
                self.send(&identity, &ServerMessage::event(event));
            }
            MediaNotice::Connected { .. } => self.set_media(&identity, true),
            MediaNotice::Disconnected { .. } => self.set_media(&identity, false),
            MediaNotice::Channel { open, .. } => self.set_channel(&identity, open),
            MediaNotice::Datagram { bytes, .. } => self.on_datagram(&identity, &bytes, calls),
            MediaNotice::Published { .. } | MediaNotice::KeyframeWanted { .. } => {}
        }
    }

    fn set_media(&mut self, identity: &Identity, connected: bool) {
        if let Some(member) = self.members.get_mut(identity) {
            member.media_connected = connected;
        }
    }

    /// Counts what only a client can know, not too often.
    fn on_report(&mut self, identity: &Identity, re: Option<u64>, report: &ClientReport) {
        let Some(member) = self.members.get_mut(identity) else { return };
        let interval = Duration::from_millis(self.shared.config.limits.report_interval_ms);
        let wait =
            member.reported.map_or(Duration::ZERO, |at| interval.saturating_sub(at.elapsed()));
        if !wait.is_zero() {
            self.refuse(identity, re, Refusal::too_fast(wait, "expected fewer reports"));
            return;
        }
        member.reported = Some(Instant::now());
        self.shared.metrics.count_report(report);
        self.done(identity, re);
    }

    fn done(&self, identity: &Identity, re: Option<u64>) {
        if re.is_some() {
            self.send(identity, &ServerMessage::reply(re, SessionEvent::Done));
        }
    }

    fn refuse(&self, identity: &Identity, re: Option<u64>, refusal: Refusal) {
        self.shared.metrics.count_refusal(&refusal.code);
        self.send(identity, &ServerMessage::refusal(re, refusal));
    }

    fn send(&self, identity: &Identity, message: &ServerMessage) {
        if let Some(link) = self.members.get(identity).and_then(|member| member.link.as_ref()) {
            link.outbox.send(message);
        }
    }

    fn broadcast_except(&self, identity: &Identity, body: impl Into<ServerBody>) {
        let text = axum::extract::ws::Utf8Bytes::from(ServerMessage::event(body).to_text());
        for (other, member) in &self.members {
            if other != identity
                && let Some(link) = &member.link
            {
                link.outbox.send_text(text.clone());
            }
        }
    }
}

fn unavailable(message: &str) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, message)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
