//! The same room at other servers: who is there, what they publish, and that they learn what happens here.

use std::time::{Duration, Instant};

use super::calls::Calls;
use super::{Member, Room};
use crate::delivery::{NodeId, Note, NoteBody, Present};
use crate::media::{LinkedTrack, MediaCommand};
use crate::protocol::{CloseReason, Identity, SessionEvent};
use crate::router::PeerId;
use crate::server::cluster::{LinkEvent, LinkMessage, RoomLink};

/// Where a participant is connected that is not connected here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere {
    node: NodeId,
    connection: u64,
}

/// Waits for ever if there is no link.
pub(super) async fn next_of(link: &mut Option<RoomLink>) -> LinkEvent {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

impl Room {
    pub(super) fn on_link(&mut self, event: LinkEvent, calls: &mut Calls) {
        match event {
            LinkEvent::Came => calls.say_hello(),
            LinkEvent::Gone { node } => self.node_gone(node, calls),
            LinkEvent::Message { node, message, missed } => {
                if missed {
                    calls.say_hello();
                }
                if !matches!(message, LinkMessage::Bye) {
                    self.meet(node, &message, calls);
                }
                match message {
                    LinkMessage::Note { note } => self.on_note(node, note, calls),
                    LinkMessage::Tracks { tracks } => {
                        let (room, node) = (self.id, node.0);
                        self.shared.media.send(MediaCommand::LinkTracks { room, node, tracks });
                    }
                    LinkMessage::Keyframe { node: asked, track } => {
                        if self.link.as_ref().is_some_and(|link| link.node == asked) {
                            let room = self.id;
                            self.shared.media.send(MediaCommand::LinkKeyframe { room, track });
                        }
                    }
                    LinkMessage::Bye => self.node_gone(node, calls),
                }
            }
        }
    }

    /// Exchanges everything with a server that was not in this room before.
    fn meet(&mut self, node: NodeId, message: &LinkMessage, calls: &mut Calls) {
        if !self.nodes.insert(node) {
            return;
        }
        tracing::info!(room = %self.name, node = node.0, "another server serves the room too");
        let told = matches!(message, LinkMessage::Note { note }
            if matches!(note.body, NoteBody::Everybody { .. }));
        if !told {
            calls.say_hello();
        }
        self.link_media();
    }

    /// Has packets sent to the other servers. What is published here is told at once.
    fn link_media(&self) {
        if let Some(link) = &self.link {
            let packets = Some(link.packets.clone());
            self.shared.media.send(MediaCommand::Link { room: self.id, packets });
        }
    }

    fn node_gone(&mut self, node: NodeId, calls: &mut Calls) {
        if !self.nodes.remove(&node) {
            return;
        }
        calls.node_gone(node);
        let there: Vec<Elsewhere> = self.elsewhere(node);
        for place in there {
            self.disconnected_elsewhere(place);
        }
        let (room, tracks) = (self.id, Vec::new());
        self.shared.media.send(MediaCommand::LinkTracks { room, node: node.0, tracks });
        if self.nodes.is_empty() {
            self.shared.media.send(MediaCommand::Link { room, packets: None });
        }
    }

    fn on_note(&mut self, node: NodeId, note: Note, calls: &mut Calls) {
        match &note.body {
            NoteBody::Everybody { present } => {
                for place in self.elsewhere(node) {
                    if present.iter().all(|it| it.connection != place.connection) {
                        self.disconnected_elsewhere(place);
                    }
                }
                for present in present {
                    self.connected_elsewhere(node, present);
                }
            }
            NoteBody::Connected { present } => self.connected_elsewhere(node, present),
            NoteBody::Disconnected { connection } => {
                self.disconnected_elsewhere(Elsewhere { node, connection: *connection });
            }
            NoteBody::Hello => self.link_media(),
            NoteBody::Request { .. } => {}
        }
        calls.noted(node, note);
    }

    fn elsewhere(&self, node: NodeId) -> Vec<Elsewhere> {
        let places = self.members.values().filter_map(|member| member.elsewhere);
        places.filter(|place| place.node == node).collect()
    }

    fn connected_elsewhere(&mut self, node: NodeId, present: &Present) {
        let place = Elsewhere { node, connection: present.connection };
        let login = Some(present.login(node));
        let identity = present.participant.identity.clone();
        let cut_off = self.cut_off.contains(&identity);
        let participant = present.participant.clone();
        match self.members.get_mut(&identity) {
            Some(member) if member.elsewhere == Some(place) && member.gone_at.is_none() => return,
            // It has connected anew since.
            Some(member) if member.participant.connected && member.login > login => return,
            Some(member) => {
                member.login = login;
                if member.elsewhere.replace(place).is_none() {
                    self.shared.metrics.participants.dec();
                }
                let peer = std::mem::replace(&mut member.peer, PeerId(0));
                member.media_connected = false;
                member.has_channel = false;
                member.gone_at = None;
                member.participant = participant.clone();
                if let Some(link) = member.link.take() {
                    self.by_connection.remove(&link.connection);
                    link.outbox.close(CloseReason::Replaced);
                }
                if self.by_peer.remove(&peer).is_some() {
                    self.shared.media.send(MediaCommand::RemovePeer { peer });
                }
                self.note_emptiness();
            }
            None => {
                let member = Member {
                    peer: PeerId(0),
                    participant: participant.clone(),
                    link: None,
                    elsewhere: Some(place),
                    login,
                    gone_at: None,
                    reported: None,
                    media_connected: false,
                    media_waits: 0,
                    has_channel: false,
                    cut_off,
                };
                self.members.insert(identity.clone(), member);
            }
        }
        if !cut_off {
            self.broadcast_except(&identity, SessionEvent::ParticipantChanged { participant });
        }
    }

    fn disconnected_elsewhere(&mut self, place: Elsewhere) {
        let found = self.members.iter_mut().find(|(_, member)| member.elsewhere == Some(place));
        let Some((identity, member)) = found else { return };
        let identity: Identity = identity.clone();
        member.participant.connected = false;
        let grace = Duration::from_millis(self.shared.config.delivery.grace_ms);
        member.gone_at.get_or_insert(Instant::now() + grace);
        if !member.cut_off {
            let participant = member.participant.clone();
            self.broadcast_except(&identity, SessionEvent::ParticipantChanged { participant });
        }
    }

    /// Tells the other servers what is published here.
    pub(super) fn published(&self, tracks: Vec<LinkedTrack>) {
        self.tell_nodes(LinkMessage::Tracks { tracks });
    }

    pub(super) fn tell_nodes(&self, message: LinkMessage) {
        if let Some(link) = &self.link {
            link.send(message);
        }
    }
}
