use serde::{Deserialize, Serialize};

use super::{Blob, Identity};

/// Names a pending change of a call's membership; never used twice in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(pub u64);

/// The label of the hash in [`DeliveryRequest::Ack`].
pub const EXTERNAL_PUB_LABEL: &str = "Framelock external_pub";

/// The length of the hash in [`DeliveryRequest::Ack`], in bytes. To find another key with the same hash within the life of
/// an epoch is out of reach.
pub const EXTERNAL_PUB_HASH: usize = 8;

/// What a client asks of the delivery service.
///
/// A call's handshake messages are PublicMessages in one log. Every member gets every entry in the order of
/// the log, its own ones included: a committer merges its commit only when it comes back as an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DeliveryRequest {
    /// Creates the call's group. Only the client whose [`DeliveryEvent::State`] says `create` does this.
    /// Reply: [`DeliveryEvent::Created`].
    Create {
        /// MLSMessage with the GroupInfo of epoch 0 (without the tree, with external_pub).
        group_info: Blob,
        /// The `ratchet_tree` of epoch 0 (RFC 9420 section 12.4.3.3).
        ratchet_tree: Blob,
    },
    /// Asks to be added. The members get [`ChangeKind::Add`]; in the end [`DeliveryEvent::Welcome`] comes.
    /// A second one of the same participant replaces the first while that has not been committed.
    Join {
        /// MLSMessage with a KeyPackage whose credential has the token's identity.
        key_package: Blob,
    },
    /// A commit with all that belongs to it; logged as a whole or not at all.
    /// Reply: [`DeliveryEvent::Appended`]. The commit itself comes as an [`DeliveryEvent::Entry`] before.
    Submit {
        /// Proposals that the commit refers to and that are not in the log yet, each an MLSMessage with a
        /// PublicMessage.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        proposals: Vec<Blob>,
        /// MLSMessage with the commit as a PublicMessage.
        commit: Blob,
        /// MLSMessage with the Welcome, if the commit adds anybody; without the tree.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        welcome: Option<Blob>,
        /// MLSMessage with the GroupInfo of the epoch that the commit begins; without the tree, with
        /// external_pub.
        group_info: Blob,
    },
    /// A proposal of a member's: a moderator's Remove, or an Update or PreSharedKey of its own.
    /// Reply: [`DeliveryEvent::Appended`].
    Propose {
        /// MLSMessage with the proposal as a PublicMessage.
        proposal: Blob,
    },
    /// The participant leaves the call. Its media stops in both directions at once, and its removal becomes
    /// pending. The connection stays open until the client closes it.
    Leave,
    /// The receive keys of an epoch are live here.
    Ack {
        /// The epoch.
        epoch: u64,
        /// The first [`EXTERNAL_PUB_HASH`] bytes of RefHash (RFC 9420 section 5.2) under [`EXTERNAL_PUB_LABEL`] of the
        /// epoch's external public key, as this member knows it: so the service learns of a GroupInfo that is false.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_pub: Option<Blob>,
    },
    /// A signed heartbeat for the other members.
    Heartbeat {
        /// The epoch that it speaks of.
        epoch: u64,
        /// What the members check; opaque to the server.
        heartbeat: Blob,
    },
    /// A signed report that a logged commit failed here privately (RFC 9420 section 16.12), for the members.
    ReportFailure {
        /// The epoch whose commit failed.
        epoch: u64,
        /// What the members check; opaque to the server.
        report: Blob,
    },
    /// Asks for a part of the log. Reply: [`DeliveryEvent::Log`].
    FetchLog {
        /// The first entry wanted is the first one that was sent in this epoch or later.
        since_epoch: u64,
    },
    /// Asks for what a resync needs. Reply: [`DeliveryEvent::GroupInfo`].
    FetchGroupInfo,
    /// Asks for the ratchet tree of an epoch: the one that a Welcome leads into, or the call's epoch.
    /// Reply: [`DeliveryEvent::Tree`].
    FetchTree {
        /// The epoch.
        epoch: u64,
    },
}

/// What the delivery service says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DeliveryEvent {
    /// How the call stands for this client: after [`SessionEvent::Welcome`](super::SessionEvent::Welcome),
    /// and again when `create` or the existence of the group changes.
    State {
        /// The call's group, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupSummary>,
        /// The client's leaf in the group, if its identity is a member. A client that lost its state asks
        /// to join anew all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        leaf: Option<u32>,
        /// Whether this client should create the group. It has some seconds; then another one is asked.
        create: bool,
    },
    /// Answers [`DeliveryRequest::Create`].
    Created {
        /// The group's state.
        group: GroupSummary,
    },
    /// Answers [`DeliveryRequest::Submit`] and [`DeliveryRequest::Propose`].
    Appended {
        /// The entry's place in the log.
        seq: u64,
        /// The call's epoch after it.
        head: u64,
    },
    /// An entry of the log, sent to every member when it is appended.
    Entry {
        /// The entry.
        entry: LogEntry,
    },
    /// Answers [`DeliveryRequest::FetchLog`]. The answer is cut at a message's greatest length.
    Log {
        /// Entries in order.
        entries: Vec<LogEntry>,
        /// The call's epoch.
        head: u64,
        /// Whether entries are missing at the end: ask again from the last one's epoch.
        more: bool,
    },
    /// The client was added.
    Welcome {
        /// The epoch that the Welcome leads into.
        epoch: u64,
        /// MLSMessage with the Welcome. The tree is to be fetched.
        welcome: Blob,
    },
    /// Answers [`DeliveryRequest::FetchGroupInfo`].
    GroupInfo {
        /// Its epoch.
        epoch: u64,
        /// MLSMessage with the GroupInfo.
        group_info: Blob,
        /// The epoch's ratchet tree.
        ratchet_tree: Blob,
    },
    /// Answers [`DeliveryRequest::FetchTree`].
    Tree {
        /// Its epoch.
        epoch: u64,
        /// The ratchet tree.
        ratchet_tree: Blob,
    },
    /// Pending changes came or went. A client that connects, and one that becomes a member, gets all of them
    /// as `added`, after having been told `resolved` of none: it starts with an empty list.
    PendingChanged {
        /// Changes that a commit should take up.
        added: Vec<PendingChange>,
        /// Changes that are done or void.
        resolved: Vec<ChangeId>,
    },
    /// Leaves whose receive keys of an epoch are live: those that were not told before, about every 150 ms and when all
    /// have come.
    /// A client that connects gets all of the call's epoch.
    Acknowledged {
        /// The epoch.
        epoch: u64,
        /// The leaves, on the wire as `{"from": 8, "bits": "base64"}`: where they begin, and a bit for each leaf from
        /// there on, the lowest bit of a byte first.
        #[serde(with = "super::leaves")]
        leaves: Vec<u32>,
    },
    /// Heartbeats of members, aggregated.
    Heartbeats {
        /// [`DeliveryRequest::Heartbeat`]'s `heartbeat`s.
        heartbeats: Vec<Blob>,
    },
    /// A member's failure report.
    FailureReported {
        /// The epoch whose commit failed.
        epoch: u64,
        /// The member's leaf.
        leaf: u32,
        /// [`DeliveryRequest::ReportFailure`]'s `report`.
        report: Blob,
    },
}

/// A group in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// The MLS group_id.
    pub group_id: Blob,
    /// The call's epoch.
    pub epoch: u64,
    /// How many members it has.
    pub members: u32,
}

/// Something that a commit should take up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingChange {
    /// Its name.
    pub id: ChangeId,
    /// How long it had been pending when this was sent, in milliseconds.
    pub age_ms: u64,
    /// What it is.
    #[serde(flatten)]
    pub kind: ChangeKind,
}

/// What a pending change is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ChangeKind {
    /// Somebody wants to be added.
    Add {
        /// Who.
        identity: Identity,
        /// The name to show.
        name: String,
        /// MLSMessage with the KeyPackage.
        key_package: Blob,
    },
    /// A leaf has to go.
    Remove {
        /// The leaf.
        leaf: u32,
        /// Whose it is.
        identity: Identity,
        /// Why.
        reason: RemovalReason,
        /// The logged Remove proposal, if there is one: then it is committed by reference, else by value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<Blob>,
    },
    /// A logged proposal of another kind, to be committed by reference.
    Proposal {
        /// MLSMessage with the proposal as a PublicMessage.
        proposal: Blob,
    },
}

/// Why somebody is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// It left.
    Left,
    /// It lost its connection and did not come back in time.
    Gone,
    /// It joins anew with fresh keys, so that its former leaf has to go.
    Rejoins,
    /// A moderator's decision.
    Moderator,
}

/// What kind of message an entry of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A proposal that a commit may refer to.
    Proposal,
    /// The commit that ends its epoch.
    Commit,
}

/// One entry of a call's handshake log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its place in the room's log; it rises. Proposals that came in one bundle with a commit have the
    /// commit's.
    pub seq: u64,
    /// The epoch in which the message was sent. A commit begins the next one.
    pub epoch: u64,
    /// Proposal or commit.
    pub kind: EntryKind,
    /// Whose connection submitted it, as the server says; the message's signature says who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Identity>,
    /// MLSMessage with a PublicMessage.
    pub message: Blob,
}
