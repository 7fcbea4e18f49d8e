//! What the delivery service wants done.

use super::Room;
use super::calls::Calls;
use crate::delivery::{ConnectionId, Output};
use crate::media::MediaCommand;
use crate::protocol::{
    Identity, MediaEvent, RemovalReason, ServerBody, ServerMessage, SessionEvent,
};
use crate::server::cluster::LinkMessage;

impl Room {
    /// Does everything that the delivery service has asked for.
    pub(super) fn carry_out(&mut self, calls: &mut Calls) {
        while let Some(output) = calls.poll_output() {
            match output {
                Output::Send { to, message } => self.deliver(to, message),
                Output::Broadcast { to, message } => self.tell(&to, message),
                Output::MediaCutOff { identity, reason } => self.cut_off(&identity, reason),
                Output::MediaRestored { identity } => self.restore(&identity),
                Output::Removed { identity, reason } => self.on_removed(&identity, reason),
                Output::Storage(effect) => calls.run(effect, &self.shared.metrics),
            }
        }
        while let Some(note) = calls.poll_note() {
            self.tell_nodes(LinkMessage::Note { note });
        }
        if !calls.has_group() {
            self.cut_off.clear();
            self.expelled.clear();
        }
        calls.count(&self.shared.metrics);
    }

    fn deliver(&mut self, to: ConnectionId, message: ServerMessage) {
        if let ServerBody::Session(SessionEvent::Refused(refusal)) = &message.body {
            self.shared.metrics.count_refusal(&refusal.code);
        }
        // A request that wants no reply gets none but a refusal.
        let is_done = matches!(message.body, ServerBody::Session(SessionEvent::Done));
        if is_done && message.re.is_none() {
            return;
        }
        self.tell(&[to], message);
    }

    /// Stops a participant's media in both directions before anything else happens.
    fn cut_off(&mut self, identity: &Identity, reason: RemovalReason) {
        self.cut_off.insert(identity.clone());
        let Some(member) = self.members.get_mut(identity) else { return };
        if std::mem::replace(&mut member.cut_off, true) {
            return;
        }
        member.media_connected = false;
        let peer = member.peer;
        self.set_channel(identity, false);
        self.by_peer.remove(&peer);
        self.shared.media.send(MediaCommand::RemovePeer { peer });
        self.send(identity, &ServerMessage::event(MediaEvent::Disconnected));
        self.broadcast_except(
            identity,
            SessionEvent::ParticipantLeft { identity: identity.clone() },
        );
        tracing::info!(room = %self.name, %identity, ?reason, "media cut off");
    }

    fn restore(&mut self, identity: &Identity) {
        self.cut_off.remove(identity);
        let Some(member) = self.members.get_mut(identity) else { return };
        if !std::mem::replace(&mut member.cut_off, false) {
            return;
        }
        let participant = member.participant.clone();
        if member.elsewhere.is_none() {
            self.open_media(identity);
        }
        self.broadcast_except(identity, SessionEvent::ParticipantChanged { participant });
    }

    fn on_removed(&mut self, identity: &Identity, reason: RemovalReason) {
        tracing::info!(room = %self.name, %identity, ?reason, "removed from the group");
        if reason == RemovalReason::Moderator {
            self.expelled.insert(identity.clone());
            self.remove(identity);
        } else {
            self.cut_off.remove(identity);
        }
    }
}
