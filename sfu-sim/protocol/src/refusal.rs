use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why the server did not do what a client asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason, for programs.
    #[serde(flatten)]
    pub code: RefusalCode,
    /// The reason, for people: lower-case, says what was expected. Never holds secrets.
    pub message: String,
}

impl Refusal {
    /// A refusal with `code`, explained by `message`.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A refusal of something that is welcome again after `wait`.
    pub fn too_fast(wait: Duration, message: impl Into<String>) -> Self {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let retry_after_ms = millis.saturating_add(1);
        Self::new(RefusalCode::RateLimited { retry_after_ms }, message)
    }
}

/// The closed set of reasons for a refusal. Data that a program needs stands beside the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum RefusalCode {
    /// The token is missing, not a JWT of this server, or lacks a claim. The connection closes.
    BadToken,
    /// The token was good once. The connection closes; get a fresh token.
    ExpiredToken,
    /// The token names a room that this server neither has nor may open. The connection closes.
    UnknownRoom,
    /// The room has its greatest number of participants. The connection closes.
    RoomFull,
    /// The server lets nobody in without a token: get one from whoever runs the call.
    NoGuests,
    /// The server has its greatest number of rooms. The connection closes.
    TooManyRooms,
    /// The server is stopping. Connect again later.
    ShuttingDown,
    /// The frame is not a message of this protocol.
    Malformed,
    /// The frame, or a part of it, is longer than allowed.
    TooLarge {
        /// The greatest length allowed, in bytes.
        limit: u64,
    },
    /// Too many messages, commits or resyncs in a short time.
    RateLimited {
        /// After this many milliseconds one more is welcome.
        retry_after_ms: u64,
    },
    /// The server cannot do it at the moment (storage fault or the like). Nothing has been done. Try again.
    Unavailable,
    /// The storage does not say whether it has taken the message. If it has, the message comes as an entry of the log in
    /// a while; another one may be sent all the same.
    Undecided,

    /// The SDP cannot be parsed or asks for something that the SFU does not do.
    InvalidSdp,
    /// The answer belongs to an offer that is no longer pending. Ignore and wait for the next offer.
    StaleOffer,
    /// There is no media connection: a fresh offer comes first.
    NoMedia,
    /// No track of that mid.
    UnknownTrack,

    /// The call has no group yet, or none any more.
    NoGroup,
    /// The call has a group: join it instead of creating one.
    GroupExists,
    /// Another participant has been asked to create the group.
    NotCreator,
    /// The group to be created is not acceptable (GroupInfo, tree, call parameters or suite).
    InvalidGroup,
    /// The key package is unreadable, expired, of another suite or otherwise not acceptable.
    InvalidKeyPackage,
    /// The key package, or the sender's leaf, has another identity than the token.
    WrongIdentity,
    /// The identity is a member already: replay the log, or resync.
    AlreadyMember,
    /// The commit's epoch has its commit. The winner was sent on this connection before this refusal.
    StaleEpoch {
        /// The call's epoch.
        head: u64,
    },
    /// The message is for an epoch that the call has not reached.
    FutureEpoch {
        /// The call's epoch.
        head: u64,
    },
    /// The sender has no leaf in the group.
    NotAMember,
    /// The external commit is not a resync: exactly one Remove, of one's own leaf, same credential and key.
    ExternalCommitNotAllowed,
    /// The sender's own removal is pending, so that it may not commit.
    RemovalPending,
    /// The commit leaves out a removal that it had to contain.
    OmitsRemoval {
        /// The leaves whose removal is due.
        leaves: Vec<u32>,
    },
    /// The Welcome does not fit the commit's Add proposals.
    MismatchedWelcome,
    /// The GroupInfo does not fit the state after the commit.
    MismatchedGroupInfo,
    /// The commit breaks a rule of RFC 9420 or of the call.
    InvalidCommit,
    /// The proposal breaks a rule of RFC 9420 or of the call, or is of a kind not taken here.
    InvalidProposal,
    /// Handshake messages of a call are PublicMessages, so that the server can check them.
    PrivateMessage,
    /// Only a moderator may do that.
    NotModerator,
    /// A moderator removed this participant from the call.
    Removed,
    /// The heartbeat or failure report is unreadable or not for this epoch.
    InvalidReport,
    /// The server no longer has (or never had) that epoch.
    UnknownEpoch {
        /// The call's epoch.
        head: u64,
    },
    /// The log no longer reaches back that far: join anew or resync.
    LogTruncated {
        /// The first entry still there.
        first: u64,
    },
}

impl RefusalCode {
    /// The code as it stands in JSON, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BadToken => "bad_token",
            Self::ExpiredToken => "expired_token",
            Self::UnknownRoom => "unknown_room",
            Self::RoomFull => "room_full",
            Self::NoGuests => "no_guests",
            Self::TooManyRooms => "too_many_rooms",
            Self::ShuttingDown => "shutting_down",
            Self::Malformed => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Undecided => "undecided",
            Self::InvalidSdp => "invalid_sdp",
            Self::StaleOffer => "stale_offer",
            Self::NoMedia => "no_media",
            Self::UnknownTrack => "unknown_track",
            Self::NoGroup => "no_group",
            Self::GroupExists => "group_exists",
            Self::NotCreator => "not_creator",
            Self::InvalidGroup => "invalid_group",
            Self::InvalidKeyPackage => "invalid_key_package",
            Self::WrongIdentity => "wrong_identity",
            Self::AlreadyMember => "already_member",
            Self::StaleEpoch { .. } => "stale_epoch",
            Self::FutureEpoch { .. } => "future_epoch",
            Self::NotAMember => "not_a_member",
            Self::ExternalCommitNotAllowed => "external_commit_not_allowed",
            Self::RemovalPending => "removal_pending",
            Self::OmitsRemoval { .. } => "omits_removal",
            Self::MismatchedWelcome => "mismatched_welcome",
            Self::MismatchedGroupInfo => "mismatched_group_info",
            Self::InvalidCommit => "invalid_commit",
            Self::InvalidProposal => "invalid_proposal",
            Self::PrivateMessage => "private_message",
            Self::NotModerator => "not_moderator",
            Self::Removed => "removed",
            Self::InvalidReport => "invalid_report",
            Self::UnknownEpoch { .. } => "unknown_epoch",
            Self::LogTruncated { .. } => "log_truncated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_json() {
        for code in [
            RefusalCode::BadToken,
            RefusalCode::TooLarge { limit: 1 },
            RefusalCode::Undecided,
            RefusalCode::StaleEpoch { head: 1 },
            RefusalCode::NoGuests,
            RefusalCode::NotAMember,
            RefusalCode::ExternalCommitNotAllowed,
            RefusalCode::OmitsRemoval { leaves: vec![1] },
            RefusalCode::LogTruncated { first: 1 },
            RefusalCode::InvalidSdp,
        ] {
            let json = serde_json::to_value(&code).unwrap();
            assert_eq!(json.get("code").and_then(|name| name.as_str()), Some(code.name()));
        }
    }
}
