//! Who comes, who stays, who goes.

use std::time::{Duration, Instant};

use super::calls::Calls;
use super::datagrams::Path;
use super::{JoinRequest, Link, Member, Room};
use crate::delivery::ConnectionId;
use crate::media::MediaCommand;
use crate::protocol::{
    CloseReason, Identity, Limits, PROTOCOL_VERSION, Participant, Refusal, RefusalCode,
    ServerMessage, SessionEvent,
};
use crate::router::PeerId;
use crate::token::Claims;

impl Room {
    pub(super) fn on_join(&mut self, request: JoinRequest, calls: &mut Calls) {
        let JoinRequest { connection, claims, outbox, reply } = request;
        let identity = claims.identity.clone();
        let resumed = self.members.contains_key(&identity);
        if self.expelled.contains(&identity) {
            let message = "a moderator has removed this participant from the call";
            let _ = reply.send(Err(Refusal::new(RefusalCode::Removed, message)));
            return;
        }
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
        let moved = member.elsewhere.take().is_some();
        let path = self.shared.config.media.datagrams.then(|| Path::new(connection, &self.shared));
        let datagrams = path.as_ref().map(Path::tag);
        let former = member.link.replace(Link { connection, outbox, path });
        member.gone_at = None;
        member.participant.connected = true;
        member.participant.name.clone_from(&claims.name);
        member.participant.moderator = claims.moderator;
        let (peer, media, shown) = (member.peer, member.media_connected, !member.cut_off);
        let you = member.participant.clone();
        if moved {
            self.shared.metrics.participants.inc();
            if shown {
                self.open_media(&identity);
            }
        }
        if let Some(former) = former {
            self.by_connection.remove(&former.connection);
            former.outbox.close(CloseReason::Replaced);
        }
        self.by_connection.insert(connection, identity.clone());
        self.closes_at = None;
        let participants = self
            .members
            .iter()
            .filter(|(other, member)| **other != identity && !member.cut_off)
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
                    report_interval_ms: limits.report_interval_ms,
                },
                datagrams,
            }),
        );
        self.open_path(&identity);
        calls.connect(connection, &you);
        let login = calls.login_of(&identity);
        if let Some(member) = self.members.get_mut(&identity) {
            member.login = login;
        }
        if shown {
            self.broadcast_except(&identity, SessionEvent::ParticipantChanged { participant: you });
        }
        if media {
            self.shared.media.send(MediaCommand::Renegotiate { peer });
        }
        tracing::info!(room = %self.name, %identity, resumed, "participant connected");
    }

    /// Gives a participant its place.
    pub(super) fn admit(&mut self, claims: &Claims) {
        let identity = claims.identity.clone();
        let participant = Participant {
            identity: identity.clone(),
            name: claims.name.clone(),
            moderator: claims.moderator,
            connected: true,
        };
        let cut_off = self.cut_off.contains(&identity);
        let member = Member {
            peer: PeerId(0),
            participant,
            link: None,
            elsewhere: None,
            login: None,
            gone_at: None,
            reported: None,
            media_connected: false,
            media_waits: 0,
            has_channel: false,
            cut_off,
        };
        self.shared.metrics.participants.inc();
        self.members.insert(identity.clone(), member);
        if !cut_off {
            self.open_media(&identity);
        }
    }

    /// Lets a participant send and receive media under a peer of its own.
    pub(super) fn open_media(&mut self, identity: &Identity) {
        let peer = PeerId(self.shared.fresh_id());
        let Some(member) = self.members.get_mut(identity) else { return };
        member.peer = peer;
        member.media_connected = false;
        member.media_waits = 0;
        member.has_channel = false;
        self.by_peer.insert(peer, identity.clone());
        self.shared.media.send(MediaCommand::AddPeer {
            peer,
            room: self.id,
            identity: identity.clone(),
        });
    }

    pub(super) fn on_disconnected(&mut self, connection: ConnectionId) {
        let Some(identity) = self.by_connection.remove(&connection) else { return };
        let Some(member) = self.members.get_mut(&identity) else { return };
        member.link = None;
        member.participant.connected = false;
        let grace = Duration::from_millis(self.shared.config.delivery.grace_ms);
        // Whoever has left does not come back as the same one.
        let grace = if member.cut_off { Duration::ZERO } else { grace };
        member.gone_at = Some(Instant::now() + grace);
        if !member.cut_off {
            let participant = member.participant.clone();
            self.broadcast_except(&identity, SessionEvent::ParticipantChanged { participant });
        }
        tracing::info!(room = %self.name, %identity, "participant disconnected");
    }

    /// Takes a participant's place away.
    pub(super) fn remove(&mut self, identity: &Identity) {
        let Some(member) = self.members.remove(identity) else { return };
        self.by_peer.remove(&member.peer);
        if let Some(link) = &member.link {
            self.by_connection.remove(&link.connection);
            link.outbox.close(CloseReason::Removed);
        }
        if !member.cut_off && member.elsewhere.is_none() {
            self.shared.media.send(MediaCommand::RemovePeer { peer: member.peer });
        }
        if member.elsewhere.is_none() {
            self.shared.metrics.participants.dec();
        }
        // The others were told of one that was cut off when that happened.
        if !member.cut_off {
            self.broadcast_except(
                identity,
                SessionEvent::ParticipantLeft { identity: identity.clone() },
            );
        }
        self.note_emptiness();
        tracing::info!(room = %self.name, %identity, "participant gone");
    }

    pub(super) fn note_emptiness(&mut self) {
        if self.members.values().all(|member| member.elsewhere.is_some()) {
            let keep = Duration::from_millis(self.shared.config.timeouts.empty_room_ms);
            self.closes_at = Some(Instant::now() + keep);
        }
    }
}
