//! One room: who is in it, and the meeting point of signalling, media and delivery.
//!
//! A room is a task that owns its state; connections and the media worker send it messages.

mod calls;
mod outputs;
mod presence;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use self::calls::Calls;
use super::outbox::Outbox;
use super::registry::Shared;
use crate::delivery::{CallId, ConnectionId};
use crate::media::{MediaCommand, MediaNotice, RoomId};
use crate::protocol::{
    ClientBody, ClientMessage, CloseReason, Identity, MediaRequest, Participant, Refusal,
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
    /// When it counts as gone, if it has no connection.
    gone_at: Option<Instant>,
    /// Whether ICE and DTLS are up.
    media_connected: bool,
    /// Whether the delivery service has its media stopped.
    cut_off: bool,
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
    /// Whose media is stopped, as long as the removal is under way; of those that a moderator removed, as long
    /// as the call lasts.
    cut_off: BTreeSet<Identity>,
    /// Whom a moderator has removed from the call.
    expelled: BTreeSet<Identity>,
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
            cut_off: BTreeSet::new(),
            expelled: BTreeSet::new(),
            closes_at: None,
        };
        room.note_emptiness();
        room
    }

    pub(super) async fn run(mut self) {
        let stopping = self.shared.stopping.clone();
        let opened = Calls::open(
            Arc::clone(&self.shared.storage),
            self.shared.config.delivery.clone(),
            CallId::new(self.name.as_str()),
            self.shared.boot,
            self.shared.clock,
        );
        match opened.await {
            Ok(mut calls) => {
                tracing::info!(room = %self.name, "room opened");
                tokio::select! {
                    () = self.serve(&mut calls) => {}
                    () = stopping.cancelled() => {}
                }
                calls.forget(&self.shared.metrics);
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
        self.shared.metrics.participants.sub(self.members.len() as i64);
        self.shared.metrics.rooms.dec();
        self.shared.media.send(MediaCommand::CloseRoom { room: self.id });
        tracing::info!(room = %self.name, "room closed");
    }

    /// Works until the room is empty.
    async fn serve(&mut self, calls: &mut Calls) {
        loop {
            let deadline = self.next_deadline().into_iter().chain(calls.next_deadline()).min();
            tokio::select! {
                Some(input) = self.mailbox.recv() => self.on_input(input, calls),
                Some(notice) = self.notices.recv() => self.on_notice(notice),
                () = calls.storage_done() => {}
                () = sleep_until(deadline) => {
                    calls.on_deadline();
                    if self.on_deadline(Instant::now(), calls) {
                        return;
                    }
                }
            }
            self.carry_out(calls);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.members.values().filter_map(|member| member.gone_at).chain(self.closes_at).min()
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
            ClientBody::Media(_) if member.cut_off => {
                let message = "expected a participant that is not being removed";
                self.refuse(&identity, re, Refusal::new(RefusalCode::RemovalPending, message));
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

fn unavailable(message: &str) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, message)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
