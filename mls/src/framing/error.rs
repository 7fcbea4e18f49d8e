//! Why a message could not be protected or opened.

use thiserror::Error;

use crate::{
    codec::DecodeError,
    crypto::CryptoError,
    schedule::{ScheduleError, SecretTreeError},
    wire::{LeafIndex, ProposalType, Sender},
};

/// A rule of RFC 9420 section 6 that a message breaks. No variant carries key material or content.
///
/// Unless a variant says otherwise the message is to be dropped, and nothing has changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FramingError {
    /// Application data must be encrypted (section 6).
    #[error("application data must travel in a private message")]
    ApplicationNotEncrypted,
    /// The sender may not send this kind of content (section 6.1).
    #[error("a sender of kind {0:?} may not send this kind of content")]
    ContentNotAllowed(Sender),
    /// An external sender may not propose this (sections 6.1, 12.1.8).
    #[error("a proposal of type {0:?} may not come from an external sender")]
    ProposalNotAllowed(ProposalType),
    /// Only a member can send a private message (section 6.3).
    #[error("only a member can send a private message")]
    SenderNotMember,
    /// A commit lacks its confirmation tag (section 6.1).
    #[error("a commit must carry a confirmation tag")]
    ConfirmationTagMissing,
    /// Something other than a commit carries a confirmation tag (section 6.1).
    #[error("only a commit carries a confirmation tag")]
    ConfirmationTagUnexpected,
    /// A member's public message lacks its membership tag (section 6.2).
    #[error("a member's public message must carry a membership tag")]
    MembershipTagMissing,
    /// A public message from outside the group carries a membership tag (section 6.2).
    #[error("only a member's public message carries a membership tag")]
    MembershipTagUnexpected,
    /// The membership tag was not made by a member in this epoch's state (section 6.2).
    #[error("the membership tag does not match")]
    MembershipTagMismatch,
    /// The signature was not made over this content by this key (section 6.1).
    #[error("the signature does not match the content and the sender's key")]
    InvalidSignature,
    /// The sender data do not open: the message is altered or of another group or epoch
    /// (section 6.3.2).
    #[error("the sender data do not decrypt")]
    SenderDataUndecryptable,
    /// The sender data open, but are not of the right form (section 6.3.2).
    #[error("the sender data are malformed: {0}")]
    SenderDataMalformed(DecodeError),
    /// The sender data name a leaf without a member (section 6.3.2).
    #[error("the sender data name leaf {0}, which is blank")]
    BlankSender(LeafIndex),
    /// The secret tree gives no key for this sender and generation.
    #[error(transparent)]
    SecretTree(#[from] SecretTreeError),
    /// The content does not open: the message is altered (section 6.3.1).
    #[error("the content does not decrypt")]
    ContentUndecryptable,
    /// The content opens, but is not of the right form (section 6.3.1).
    #[error("the content is malformed: {0}")]
    ContentMalformed(DecodeError),
    /// The padding holds something other than zeros (section 6.3.1).
    #[error("the padding holds something other than zeros")]
    NonZeroPadding,
    /// The content was signed for the other wire format: misuse of the API.
    #[error("the content was signed for another wire format")]
    WrongWireFormat,
    /// The content is signed for another leaf than the one this member sends from: misuse of the API.
    #[error("leaf {0} is not the leaf that this member sends from")]
    NotOwnLeaf(LeafIndex),
    /// A member's public message is to be protected without a membership key: misuse of the API.
    #[error("a member's public message needs the membership key")]
    MembershipKeyMissing,
    /// The message would be longer than its encoding can express: misuse of the API.
    #[error("a message of {0} bytes cannot be encoded")]
    TooLong(usize),
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl From<ScheduleError> for FramingError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Crypto(error) | ScheduleError::BadExternalInit(error) => {
                Self::Crypto(error)
            }
            _ => Self::Crypto(CryptoError::Backend("a key of the schedule")),
        }
    }
}
