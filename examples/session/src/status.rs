//! What a session is doing, in words, and what it tells.

use std::fmt;

use sframe_bridge::committer::CommitAlarm;
use sfu_protocol::{ChangeId, Identity, Refusal, RemovalReason};
use std::time::Duration;

/// What a session is doing. Its `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Not connected to the server.
    Offline,
    /// Connected; the server has not said yet how the call stands.
    Connected,
    /// The call has no group and somebody else is to make it.
    WaitingForGroup,
    /// Makes the call's group.
    Creating,
    /// Has asked to be let in.
    Joining,
    /// Is a member.
    Member {
        /// The group's epoch here.
        epoch: u64,
    },
    /// Replays from the log what it missed.
    CatchingUp {
        /// The group's epoch here.
        epoch: u64,
    },
    /// Lost step with the group and comes back by an external commit.
    Resyncing,
    /// Has said goodbye.
    Left,
    /// Was removed by a moderator.
    Removed,
    /// Cannot go on.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Status {
    /// Whether the session is over for good.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Left | Self::Removed | Self::Failed { .. })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offline => f.write_str("not connected to the server"),
            Self::Connected => f.write_str("connected, asking how the call stands"),
            Self::WaitingForGroup => {
                f.write_str("waiting for the first participant to set up the encryption")
            }
            Self::Creating => f.write_str("setting up the call's encryption"),
            Self::Joining => f.write_str("waiting for a member to let us in"),
            Self::Member { epoch } => write!(f, "in the call, epoch {epoch}"),
            Self::CatchingUp { epoch } => {
                write!(f, "in the call, epoch {epoch}, catching up with what was missed")
            }
            Self::Resyncing => f.write_str("out of step with the others, getting fresh keys"),
            Self::Left => f.write_str("left the call"),
            Self::Removed => f.write_str("removed from the call by a moderator"),
            Self::Failed { reason } => write!(f, "cannot go on: {reason}"),
        }
    }
}

/// A member of the call as the group says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallMember {
    /// Its leaf.
    pub leaf: u32,
    /// Who it is, from its credential.
    pub identity: Identity,
    /// The public key that its messages are signed with.
    pub signature_key: Vec<u8>,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    /// The session does something else than before.
    StatusChanged(Status),
    /// The group is in another epoch.
    EpochBegan {
        /// The epoch.
        epoch: u64,
        /// Who is in it.
        roster: Vec<CallMember>,
        /// Who came with it. Empty for the epoch that this member joined with.
        added: Vec<Identity>,
        /// Who went with it.
        removed: Vec<Identity>,
    },
    /// The delivery service holds a removal.
    RemovalPending {
        /// Its number.
        change: ChangeId,
        /// Who is to go.
        identity: Identity,
        /// Why.
        reason: RemovalReason,
        /// How long it had been pending when the server said so.
        age: Duration,
    },
    /// A pending change is done, or was taken back: a member that was gone returned in time.
    ChangeResolved {
        /// Its number.
        change: ChangeId,
    },
    /// A commit came in that the delivery service should have refused.
    Alarm(CommitAlarm),
    /// The server may be keeping something back, or telling others something else.
    History(HistoryAlarm),
    /// A member has signed that a commit of the log failed for it alone. It comes back by itself; if this happens again
    /// and again, somebody makes commits that do not work for everybody.
    CommitFailed {
        /// The member's leaf.
        leaf: u32,
        /// The epoch that the commit ended.
        epoch: u64,
    },
    /// The server refused something.
    Refused(Refusal),
    /// A message of the group could not be used.
    Ignored {
        /// Why.
        reason: String,
    },
}

/// Why the server is not to be believed, or cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryAlarm {
    /// A member says, and has signed, that it is in another epoch of this number, or was given another commit in
    /// it: two histories.
    #[error("the member at leaf {leaf} is in another epoch {epoch}")]
    OtherHistory {
        /// The member's leaf.
        leaf: u32,
        /// The epoch.
        epoch: u64,
    },
    /// A member has signed that it is in an epoch whose commit does not come here.
    #[error("the commit that leads to epoch {epoch} does not come")]
    Withheld {
        /// The epoch.
        epoch: u64,
    },
    /// Nobody confirms that somebody has gone: its removal waits for longer than any commit takes.
    #[error("the removal of the member at leaf {leaf} is not confirmed")]
    RemovalOverdue {
        /// The leaf.
        leaf: u32,
    },
    /// Less than half of the members have confirmed lately that they are in this call. Nothing is sent until
    /// they do.
    #[error("only {confirmed} of {of} members confirm that they are in this call")]
    TooFewConfirm {
        /// How many have.
        confirmed: usize,
        /// How many should have.
        of: usize,
    },
}

/// What a session counts. The numbers only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Messages of the group that could not be used, told as [`SessionEvent::Ignored`].
    pub ignored: u64,
    /// Commits that came in although the delivery service should have refused them, told as
    /// [`SessionEvent::Alarm`].
    pub alarms: u64,
    /// Commits in the log that failed here and not for everybody, reported to the others.
    pub failures_reported: u64,
    /// Signed reports of other members that a commit failed for them, told as [`SessionEvent::CommitFailed`].
    pub failures_heard: u64,
    /// Such reports that were one's own, repeated, not signed by whom they name, or of nobody or no epoch known.
    pub failures_ignored: u64,
    /// How often it lost step and asked for the state to come back with.
    pub resyncs: u64,
    /// GroupInfos, Welcomes and trees that it was given and did not take.
    pub joins_refused: u64,
    /// Heartbeats of members that are in the same epochs.
    pub heartbeats_confirmed: u64,
    /// Heartbeats that were one's own, repeated, not signed by whom they name, or of nobody known.
    pub heartbeats_ignored: u64,
    /// How often [`SessionEvent::History`] was told.
    pub history_alarms: u64,
}
