//! What computing costs a member: medians of the report for suite 2 on the reference machine (AWS-LC, one core of
//! AMD Zen 4), as straight lines through the sizes measured. The suite that a simulation runs is another one.

use std::time::Duration;

use sfu_sim::protocol::{DeliveryEvent, EntryKind, ServerBody, ServerMessage};

/// Follows a commit: verify, decrypt the path, derive, export, derive the frame keys' secret.
pub(super) fn receive(members: u32) -> Duration {
    Duration::from_nanos(270_000 + 50 * u64::from(members))
}

/// Builds a commit with a path, and what goes with it.
pub(super) fn commit(members: u32) -> Duration {
    Duration::from_nanos(800_000 + 300 * u64::from(members))
}

/// Joins: checks everybody's signature.
pub(super) fn join(members: u32) -> Duration {
    Duration::from_nanos(400_000 + 65_000 * u64::from(members))
}

/// Makes a key package.
pub(super) fn key_package() -> Duration {
    Duration::from_micros(100)
}

/// Reads any message.
const READ: Duration = Duration::from_micros(15);

/// What a member does with a message of the server's; `members` is the size of the group.
pub(super) fn of_message(message: &ServerMessage, members: u32) -> Duration {
    let ServerBody::Delivery(event) = &message.body else { return READ };
    match event {
        DeliveryEvent::Entry { entry } if entry.kind == EntryKind::Commit => receive(members),
        DeliveryEvent::Log { entries, .. } => {
            receive(members).saturating_mul(u32::try_from(entries.len()).unwrap_or(u32::MAX))
        }
        // About 185 bytes of tree for each member.
        DeliveryEvent::Tree { ratchet_tree, .. } => {
            join(u32::try_from(ratchet_tree.len() / 185).unwrap_or(u32::MAX))
        }
        DeliveryEvent::GroupInfo { .. } => commit(members),
        DeliveryEvent::State { .. } => key_package(),
        // Each key package is checked.
        DeliveryEvent::PendingChanged { added, .. } => {
            READ + Duration::from_micros(120) * u32::try_from(added.len()).unwrap_or(u32::MAX)
        }
        // Each signature is checked.
        DeliveryEvent::Heartbeats { heartbeats } => {
            READ + Duration::from_micros(60) * u32::try_from(heartbeats.len()).unwrap_or(u32::MAX)
        }
        _ => READ,
    }
}

/// What the server does with a request before it answers; checking a commit is the most of it.
pub(super) fn of_request(request: &sfu_sim::protocol::DeliveryRequest) -> Duration {
    use sfu_sim::protocol::DeliveryRequest as Request;
    match request {
        Request::Submit { .. } => Duration::from_micros(600),
        Request::Join { .. } => Duration::from_micros(150),
        _ => Duration::from_micros(10),
    }
}

/// What the server needs to hand one message to one connection.
pub(super) const FAN_OUT: Duration = Duration::from_micros(5);
