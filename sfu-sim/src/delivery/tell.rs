//! What clients are told.

use crate::protocol::{DeliveryEvent, GroupSummary, Identity, ServerMessage};

use super::effects::Output;
use super::service::KeptWelcome;
use super::{ConnectionId, DeliveryService, Now};

impl DeliveryService {
    pub(super) fn summary(&self) -> Option<GroupSummary> {
        let state = &self.group.as_ref()?.state;
        Some(GroupSummary {
            group_id: state.group_id().into(),
            epoch: state.epoch(),
            members: u32::try_from(state.len()).unwrap_or(u32::MAX),
        })
    }

    pub(super) fn send(&mut self, to: ConnectionId, event: DeliveryEvent) {
        self.outputs.push_back(Output::Send { to, message: ServerMessage::event(event) });
    }

    pub(super) fn send_state(&mut self, to: ConnectionId) {
        let leaf = self.people.identity(to).and_then(|identity| self.leaf_of(identity));
        let create = self.creator.is_some_and(|creator| creator.connection == to);
        self.send(to, DeliveryEvent::State { group: self.summary(), leaf, create });
    }

    /// What a connection is told when it is, or becomes, that of a member.
    pub(super) fn send_member_lists(&mut self, to: ConnectionId, identity: &Identity, now: Now) {
        let welcome = self.group.as_ref().and_then(|group| group.welcomes.get(identity)).cloned();
        if let Some(KeptWelcome { epoch, bytes }) = welcome {
            self.send(to, DeliveryEvent::Welcome { epoch, welcome: bytes.into() });
        }
        let added = self.pending.all(now);
        if !added.is_empty() {
            self.send(to, DeliveryEvent::PendingChanged { added, resolved: Vec::new() });
        }
        let leaves: Vec<u32> = self.acks.leaves().iter().copied().collect();
        if !leaves.is_empty() {
            let epoch = self.acks.epoch();
            self.send(to, DeliveryEvent::Acknowledged { epoch, leaves });
        }
    }

    /// The connections of the members.
    pub(super) fn member_connections(&self) -> Vec<ConnectionId> {
        let Some(group) = &self.group else { return Vec::new() };
        group.state.members().filter_map(|seat| self.people.connection(seat.identity)).collect()
    }

    pub(super) fn broadcast(&mut self, event: DeliveryEvent) {
        let to = self.member_connections();
        self.broadcast_to(to, event);
    }

    pub(super) fn broadcast_to(&mut self, to: Vec<ConnectionId>, event: DeliveryEvent) {
        if !to.is_empty() {
            let message = ServerMessage::event(event);
            self.outputs.push_back(Output::Broadcast { to, message });
        }
    }

    pub(super) fn tell_pending(&mut self, now: Now) {
        if let Some(delta) = self.pending.take_delta(now) {
            let (added, resolved) = (delta.added, delta.resolved);
            self.broadcast(DeliveryEvent::PendingChanged { added, resolved });
        }
    }
}
