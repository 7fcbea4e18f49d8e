//! One room: who is in it, and the meeting point of signalling, media and delivery.
//!
//! A room is a task that owns its state; connections and the media worker send it messages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::outbox::Outbox;
use super::registry::Shared;
use crate::media::{MediaCommand, MediaNotice, RoomId};
use crate::protocol::{
    ClientBody, ClientMessage, CloseReason, Identity, Limits, MediaRequest, PROTOCOL_VERSION,
    Participant, Refusal, RefusalCode, RoomName, ServerBody, ServerMessage, SessionEvent,
    SessionRequest,
};
use crate::router::PeerId;
use crate::token::Claims;

/// Names a signalling connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

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
    /// When it counts as gone, if it has no connection.
    gone_at: Option<Instant>,
    /// Whether ICE and DTLS are up.
    media_connected: bool,
}

#[derive(Debug)]
struct Link {
    connection: ConnectionId,
    outbox: Outbox,
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
    /// When an empty room closes.
    closes_at: Option<Instant>,
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
            closes_at: None,
        };
        room.note_emptiness();
        room
    }

    pub(super) async fn run(mut self) {
        let stopping = self.shared.stopping.clone();
        tracing::info!(room = %self.name, "room opened");
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                Some(input) = self.mailbox.recv() => self.on_input(input),
                Some(notice) = self.notices.recv() => self.on_notice(notice),
                () = sleep_until(deadline) => {
                    if self.on_deadline(Instant::now()) {
                        break;
                    }
                }
                () = stopping.cancelled() => {
                    self.mailbox.close();
                    break;
                }
            }
        }
        for member in self.members.values() {
            if let Some(link) = &member.link {
                link.outbox.close(CloseReason::ShuttingDown);
            }
        }
        self.shared.metrics.participants.sub(self.members.len() as i64);
        self.shared.metrics.rooms.dec();
        self.shared.media.send(MediaCommand::CloseRoom { room: self.id });
        tracing::info!(room = %self.name, "room closed");
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.members.values().filter_map(|member| member.gone_at).chain(self.closes_at).min()
    }

    fn on_input(&mut self, input: RoomInput) {
        match input {
            RoomInput::Join(request) => self.on_join(request),
            RoomInput::Message { connection, message } => self.on_message(connection, message),
            RoomInput::Disconnected { connection } => self.on_disconnected(connection),
        }
    }

    fn on_join(&mut self, request: JoinRequest) {
        let JoinRequest { connection, claims, outbox, reply } = request;
        let identity = claims.identity.clone();
        let resumed = self.members.contains_key(&identity);
        if !resumed && self.members.len() >= self.shared.config.rooms.max_participants {
            let _ = reply.send(Err(Refusal::new(RefusalCode::RoomFull, "the room is full")));
            return;
        }
        // The connection may have ended while it waited.
        if reply.send(Ok(())).is_err() {
            return;
        }
        if !resumed {
            self.admit(&claims);
        }
        let Some(member) = self.members.get_mut(&identity) else { return };
        let former = member.link.replace(Link { connection, outbox });
        member.gone_at = None;
        member.participant.connected = true;
        member.participant.name.clone_from(&claims.name);
        member.participant.moderator = claims.moderator;
        let (peer, media) = (member.peer, member.media_connected);
        let you = member.participant.clone();
        if let Some(former) = former {
            self.by_connection.remove(&former.connection);
            former.outbox.close(CloseReason::Replaced);
        }
        self.by_connection.insert(connection, identity.clone());
        self.closes_at = None;
        let participants = self
            .members
            .iter()
            .filter(|(other, _)| **other != identity)
            .map(|(_, member)| member.participant.clone())
            .collect();
        let limits = &self.shared.config.limits;
        self.send(
            &identity,
            &ServerMessage::event(SessionEvent::Welcome {
                protocol: PROTOCOL_VERSION,
                room: self.name.clone(),
                you: you.clone(),
                participants,
                resumed,
                media,
                limits: Limits {
                    message_bytes: limits.message_bytes as u64,
                    hard_message_bytes: limits.hard_message_bytes as u64,
                    messages_per_second: limits.messages_per_second,
                },
            }),
        );
        self.broadcast_except(&identity, SessionEvent::ParticipantChanged { participant: you });
        if media {
            self.shared.media.send(MediaCommand::Renegotiate { peer });
        }
        tracing::info!(room = %self.name, %identity, resumed, "participant connected");
    }

    /// Gives a participant its place.
    fn admit(&mut self, claims: &Claims) {
        let peer = PeerId(self.shared.fresh_id());
        let identity = claims.identity.clone();
        let participant = Participant {
            identity: identity.clone(),
            name: claims.name.clone(),
            moderator: claims.moderator,
            connected: true,
        };
        self.shared.media.send(MediaCommand::AddPeer {
            peer,
            room: self.id,
            identity: identity.clone(),
        });
        self.shared.metrics.participants.inc();
        self.by_peer.insert(peer, identity.clone());
        self.members.insert(
            identity,
            Member { peer, participant, link: None, gone_at: None, media_connected: false },
        );
    }

    fn on_message(&mut self, connection: ConnectionId, message: ClientMessage) {
        let Some(identity) = self.by_connection.get(&connection).cloned() else { return };
        let Some(member) = self.members.get(&identity) else { return };
        let (re, peer) = (message.id, member.peer);
        match message.body {
            ClientBody::Session(SessionRequest::Ping) => self.done(&identity, re),
            ClientBody::Session(SessionRequest::Bye) => {
                self.done(&identity, re);
                if let Some(link) = self.members.get(&identity).and_then(|it| it.link.as_ref()) {
                    link.outbox.close(CloseReason::Bye);
                }
            }
            ClientBody::Media(request) => self.shared.media.send(match request {
                MediaRequest::Offer { sdp, tracks, fresh } => {
                    MediaCommand::Offer { peer, re, sdp, tracks, fresh }
                }
                MediaRequest::Answer { offer, sdp } => {
                    MediaCommand::Answer { peer, re, offer, sdp }
                }
                MediaRequest::Candidate { candidate } => {
                    MediaCommand::Candidate { peer, re, candidate }
                }
            }),
            ClientBody::Delivery(_) => {
                let message = "the delivery service is not part of this build";
                let refusal = Refusal::new(RefusalCode::Unavailable, message);
                self.refuse(&identity, re, refusal);
            }
        }
    }

    fn on_disconnected(&mut self, connection: ConnectionId) {
        let Some(identity) = self.by_connection.remove(&connection) else { return };
        let Some(member) = self.members.get_mut(&identity) else { return };
        member.link = None;
        member.participant.connected = false;
        member.gone_at = Some(Instant::now() + self.shared.config.timeouts.disconnect());
        let participant = member.participant.clone();
        self.broadcast_except(&identity, SessionEvent::ParticipantChanged { participant });
        tracing::info!(room = %self.name, %identity, "participant disconnected");
    }

    /// Whether the room ends.
    fn on_deadline(&mut self, now: Instant) -> bool {
        let gone: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.gone_at.is_some_and(|at| at <= now))
            .map(|(identity, _)| identity.clone())
            .collect();
        for identity in gone {
            self.remove(&identity);
        }
        self.closes_at.is_some_and(|at| at <= now)
            && self.shared.close_room(&self.name, &mut self.mailbox)
    }

    /// Takes a participant's place away.
    fn remove(&mut self, identity: &Identity) {
        let Some(member) = self.members.remove(identity) else { return };
        self.by_peer.remove(&member.peer);
        if let Some(link) = &member.link {
            self.by_connection.remove(&link.connection);
            link.outbox.close(CloseReason::Removed);
        }
        self.shared.media.send(MediaCommand::RemovePeer { peer: member.peer });
        self.shared.metrics.participants.dec();
        self.broadcast_except(
            identity,
            SessionEvent::ParticipantLeft { identity: identity.clone() },
        );
        self.note_emptiness();
        tracing::info!(room = %self.name, %identity, "participant gone");
    }

    fn note_emptiness(&mut self) {
        if self.members.is_empty() {
            let keep = Duration::from_millis(self.shared.config.timeouts.empty_room_ms);
            self.closes_at = Some(Instant::now() + keep);
        }
    }

    fn on_notice(&mut self, notice: MediaNotice) {
        let (MediaNotice::Reply { peer, .. }
        | MediaNotice::Event { peer, .. }
        | MediaNotice::Connected { peer }
        | MediaNotice::Disconnected { peer }) = &notice;
        let Some(identity) = self.by_peer.get(peer).cloned() else { return };
        match notice {
            MediaNotice::Reply { re, result, .. } => match result {
                Ok(Some(event)) => self.send(&identity, &ServerMessage::reply(re, event)),
                Ok(None) => self.done(&identity, re),
                Err(refusal) => self.refuse(&identity, re, refusal),
            },
            MediaNotice::Event { event, .. } => {
                self.send(&identity, &ServerMessage::event(event));
            }
            MediaNotice::Connected { .. } => self.set_media(&identity, true),
            MediaNotice::Disconnected { .. } => self.set_media(&identity, false),
        }
    }

    fn set_media(&mut self, identity: &Identity, connected: bool) {
        if let Some(member) = self.members.get_mut(identity) {
            member.media_connected = connected;
        }
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

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
