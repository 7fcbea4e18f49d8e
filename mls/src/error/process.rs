//! Why a message could not be processed.

use crate::{
    codec::DecodeError, framing::FramingError, tree::UpdatePathError,
    validation::ProposalListViolation, wire::PskSource,
};

use super::{Action, Fault, LocalError};

/// A message could not be processed. The group is as before, with one exception: the ratchet key of a private
/// message is spent once its signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The bytes are not a message of MLS.
    #[error("not well formed: {0}")]
    Malformed(#[from] DecodeError),
    /// A Welcome, GroupInfo or key package is not processed by a group.
    #[error("this kind of message is not processed by a group")]
    WrongKind,
    /// The message belongs to another group.
    #[error("the message belongs to another group")]
    OtherGroup,
    /// The message belongs to an epoch that has passed; for application data, one whose keys are gone.
    #[error("the message belongs to epoch {message}, the group is in epoch {current}")]
    StaleEpoch {
        /// The epoch of the message.
        message: u64,
        /// The epoch of the group.
        current: u64,
    },
    /// The message belongs to an epoch that the group has not reached here.
    #[error("the message belongs to epoch {message}, the group is in epoch {current}")]
    FutureEpoch {
        /// The epoch of the message.
        message: u64,
        /// The epoch of the group.
        current: u64,
    },
    /// This member was removed, or the group was closed.
    #[error("the group is no longer active for this member")]
    Inactive,
    /// Handshake messages of this wire format are refused by the client's options, or cannot be read without secrets.
    #[error("handshake messages of this wire format are refused")]
    HandshakeFormat,
    /// The proposal or application data is this member's own, and known already.
    #[error("the message was sent by this member")]
    OwnMessage,
    /// The commit is this member's own. While its [`PendingCommit`](crate::PendingCommit) is at hand,
    /// [`is_echo`](crate::PendingCommit::is_echo) tells that, and [`Group::confirm`](crate::Group::confirm) puts it into effect.
    /// Without it (after a crash, say) the path secrets are lost.
    #[error("the commit was sent by this member, and takes effect by its pending commit only")]
    OwnCommit,
    /// More proposals in one epoch than the client's options permit to keep.
    #[error("too many proposals in one epoch")]
    TooManyProposals,
    /// The sender's leaf is blank or outside the tree, or the external sender is not listed.
    #[error("the sender is not known to the group")]
    UnknownSender,
    /// Framing rules, tags, signatures or decryption failed (section 6).
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// A commit bears its sender's signature, and a membership tag that was made with other secrets than this member's (section 6.2).
    /// A delivery service cannot tell that.
    #[error("the membership tag of the commit does not match")]
    MembershipTag,
    /// A proposal breaks a rule.
    #[error("invalid proposal: {0}")]
    InvalidProposal(ProposalListViolation),
    /// A commit breaks a rule; it is invalid for every member.
    #[error("invalid commit: {0}")]
    InvalidCommit(#[from] ProposalListViolation),
    /// A PSK is needed that the application's store does not have.
    #[error("the pre-shared key is not at hand")]
    PskUnknown(PskSource),
    /// The path secrets do not open or do not fit: the commit fails for this member, though not for all.
    #[error("the path secrets of the commit are not usable: {0}")]
    PathSecret(UpdatePathError),
    /// The confirmation tag does not match: the committer has other secrets than this member.
    #[error("the confirmation tag of the commit does not match")]
    ConfirmationTag,
    /// Something failed on this machine.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl ProcessError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Malformed(_) => Fault::Malformed,
            Self::WrongKind | Self::OtherGroup | Self::Inactive | Self::PskUnknown(_) => {
                Fault::Misuse
            }
            Self::StaleEpoch { .. }
            | Self::FutureEpoch { .. }
            | Self::OwnMessage
            | Self::OwnCommit => Fault::Timing,
            Self::InvalidProposal(violation) | Self::InvalidCommit(violation) => violation.fault(),
            Self::Framing(error) => error.fault(),
            Self::HandshakeFormat => Fault::IncompatiblePeer,
            Self::TooManyProposals
            | Self::UnknownSender
            | Self::MembershipTag
            | Self::PathSecret(_)
            | Self::ConfirmationTag => Fault::MisbehavingPeer,
            Self::Local(_) => Fault::Local,
        }
    }

    /// What to do next.
    ///
    /// A commit that fails with [`Action::Drop`] fails alike for every member and for a validating delivery service. One
    /// that fails with [`Action::Resync`] may have worked for others: to try a later commit of the same epoch
    /// instead would fork the group. Among the latter are a commit with a proposal of a type that is not registered here, and one that
    /// refers to a proposal which has not come here; where the transport may deliver a proposal after the commit that refers to it, the
    /// commit is processed again first.
    ///
    /// All of this holds for public messages. Whether a private one opens depends on keys, so that a commit which does not
    /// may be nonsense, or this member may have fallen out of step; the epoch authenticators of others tell which.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::FutureEpoch { .. } => Action::WaitForKey,
            Self::PskUnknown(_)
            | Self::OwnCommit
            | Self::MembershipTag
            | Self::PathSecret(_)
            | Self::ConfirmationTag
            | Self::InvalidCommit(
                ProposalListViolation::UnknownReference(_)
                | ProposalListViolation::NotImplemented(_),
            )
            | Self::Local(_) => Action::Resync,
            Self::Inactive => Action::Stop,
            _ => Action::Drop,
        }
    }
}
