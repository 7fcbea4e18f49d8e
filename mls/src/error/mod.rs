//! Errors: one type for each family of operations, each able to say who is at fault and what to do next.

mod faults;
mod local;
mod process;

pub use local::LocalError;
pub use process::ProcessError;

use crate::{
    codec::DecodeError,
    crypto::CryptoError,
    tree::UpdatePathError,
    validation::{
        GroupInfoViolation, KeyPackageViolation, LeafNodeViolation, ProposalListViolation,
        SuccessionViolation,
    },
    wire::{ExtensionType, PskSource},
};

/// What a caller does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Forget the input. The group's state is as before, and the same input gives the same error again.
    Drop,
    /// Keep the input and try again after the next commit: it belongs to an epoch that is not known here yet.
    WaitForKey,
    /// This member can no longer follow the group. It rejoins by external commit.
    Resync,
    /// The operation makes no sense in this state or with these arguments; trying again does not help.
    Stop,
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The input is not well formed. Anybody between sender and receiver may have caused that.
    Malformed,
    /// An authenticated peer, or somebody posing as one, broke a rule of the protocol.
    MisbehavingPeer,
    /// The peer uses something that this client, or the group, does not support.
    IncompatiblePeer,
    /// The caller used the API in a way that cannot work.
    Misuse,
    /// Nobody: messages were delayed, reordered or overtaken by others.
    Timing,
    /// This machine: the cryptographic library refused to work, or stored data is damaged.
    Local,
}

/// A failure to set up a client, a key package or a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A signature key given is not one of the suite, or its private half belongs to another public one.
    #[error("the signature key pair is not valid: {0}")]
    Key(CryptoError),
    /// Something failed on this machine.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A key package is not valid.
    #[error(transparent)]
    KeyPackage(#[from] KeyPackageViolation),
    /// The group's extensions ask for what the client itself does not support.
    #[error("the creator does not meet the requirements of the group: {0}")]
    Requirements(LeafNodeViolation),
    /// The bytes are not a key package.
    #[error("not a key package: {0}")]
    Malformed(#[from] DecodeError),
    /// The message is of another kind.
    #[error("the message is not a key package")]
    WrongKind,
    /// The private keys do not belong to the key package.
    #[error("the private keys do not belong to the key package")]
    KeyMismatch,
}

impl ClientError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Local(_) => Fault::Local,
            Self::KeyPackage(violation) => violation.fault(),
            Self::Malformed(_) => Fault::Malformed,
            Self::Key(_) | Self::Requirements(_) | Self::WrongKind | Self::KeyMismatch => {
                Fault::Misuse
            }
        }
    }

    /// What to do next.
    #[must_use]
    pub fn action(&self) -> Action {
        match self.fault() {
            Fault::Misuse | Fault::Local => Action::Stop,
            _ => Action::Drop,
        }
    }
}

/// A failure to join a group, by Welcome or by external commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The bytes are not well formed.
    #[error("not well formed: {0}")]
    Malformed(#[from] DecodeError),
    /// The message is neither a Welcome nor a GroupInfo, whichever was asked for.
    #[error("the message is not of the kind that was asked for")]
    WrongKind,
    /// The suite is not the client's.
    #[error("the cipher suite is not that of the client")]
    CipherSuite,
    /// The Welcome is for none of the key packages given.
    #[error("the welcome is for none of the key packages given")]
    NoMatchingKeyPackage,
    /// The secrets in the Welcome do not open with the key package's init key.
    #[error("the group secrets of the welcome do not open")]
    GroupSecrets,
    /// The GroupInfo in the Welcome does not open.
    #[error("the group info of the welcome does not open")]
    EncryptedGroupInfo,
    /// A PSK is needed that the application's store does not have.
    #[error("the pre-shared key is not at hand")]
    PskUnknown(PskSource),
    /// The PSKs of the Welcome are such that no commit can have had them (sections 8.4, 12.2).
    #[error("the psks of the welcome: {0}")]
    Psks(ProposalListViolation),
    /// A PSK of usage `reinit` or `branch` ties the group to another one, against which it has to be compared:
    /// [`Client::join_from`](crate::Client::join_from) does that.
    #[error("a resumption psk of usage reinit or branch")]
    PskUsage,
    /// The group does not continue the other one as it claims.
    #[error("the group does not continue the other one: {0}")]
    Succession(#[from] SuccessionViolation),
    /// The GroupInfo or the tree is not valid.
    #[error(transparent)]
    GroupInfo(#[from] GroupInfoViolation),
    /// The group has an extension that the client does not support (section 13.4).
    #[error("extension {0:?} of the group is not supported by this client")]
    ExtensionUnsupported(ExtensionType),
    /// The leaf of the key package is not in the tree.
    #[error("the tree does not hold the leaf of the key package")]
    OwnLeafMissing,
    /// A path secret or private key does not fit the tree.
    #[error("the path secret does not fit the tree: {0}")]
    Path(UpdatePathError),
    /// The confirmation tag does not match: the sender of the Welcome knows other secrets than the group.
    #[error("the confirmation tag does not match")]
    ConfirmationTag,
    /// The external commit would not be valid.
    #[error("the external commit would not be valid: {0}")]
    ExternalCommit(#[from] ProposalListViolation),
    /// What was handed over as a SelfRemove of a member is none, or not a valid one.
    #[error("a self remove to be committed: {0}")]
    SelfRemove(Box<ProcessError>),
    /// The identity of the client does not match the leaf or key package.
    #[error("the signature key of the client is not that of the leaf")]
    OtherIdentity,
    /// Something failed on this machine.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl JoinError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Malformed(_) => Fault::Malformed,
            Self::WrongKind
            | Self::NoMatchingKeyPackage
            | Self::OtherIdentity
            | Self::PskUnknown(_) => Fault::Misuse,
            Self::CipherSuite | Self::ExtensionUnsupported(_) => Fault::IncompatiblePeer,
            Self::ExternalCommit(violation) | Self::Psks(violation) => violation.fault(),
            Self::GroupInfo(violation) => violation.fault(),
            Self::Succession(violation) => violation.fault(),
            Self::SelfRemove(error) => error.fault(),
            Self::GroupSecrets
            | Self::EncryptedGroupInfo
            | Self::PskUsage
            | Self::OwnLeafMissing
            | Self::Path(_)
            | Self::ConfirmationTag => Fault::MisbehavingPeer,
            Self::Local(_) => Fault::Local,
        }
    }

    /// What to do next: [`Action::Drop`] means that another Welcome or GroupInfo may work.
    #[must_use]
    pub fn action(&self) -> Action {
        if let Self::Succession(SuccessionViolation::Early { .. }) = self {
            return Action::WaitForKey;
        }
        match self.fault() {
            Fault::Misuse | Fault::Local | Fault::IncompatiblePeer => Action::Stop,
            _ => Action::Drop,
        }
    }
}

/// A failure to propose or to build a commit. The group is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// This member was removed, or the group was closed.
    #[error("the group is no longer active for this member")]
    Inactive,
    /// The commit would not be valid.
    #[error("the commit would not be valid: {0}")]
    Invalid(#[from] ProposalListViolation),
    /// A reference names a proposal that is not at hand in this epoch.
    #[error("the proposal referred to is not at hand in this epoch")]
    UnknownProposal,
    /// More proposals in one epoch than the client's options permit to keep.
    #[error("too many proposals in one epoch")]
    TooManyProposals,
    /// A PSK is needed that the application's store does not have.
    #[error("the pre-shared key is not at hand")]
    PskUnknown(PskSource),
    /// The key package belongs to another identity than the client's.
    #[error("the key package belongs to another identity")]
    OtherIdentity,
    /// The group to be made would not continue this one.
    #[error("the group would not continue the other one: {0}")]
    Succession(#[from] SuccessionViolation),
    /// The group to be made could not be set up.
    #[error(transparent)]
    Create(#[from] ClientError),
    /// Something failed on this machine.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl CommitError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Inactive
            | Self::UnknownProposal
            | Self::TooManyProposals
            | Self::OtherIdentity
            | Self::PskUnknown(_) => Fault::Misuse,
            Self::Succession(_) => Fault::Misuse,
            Self::Create(error) => error.fault(),
            Self::Invalid(violation) => match violation.fault() {
                Fault::IncompatiblePeer => Fault::IncompatiblePeer,
                _ => Fault::Misuse,
            },
            Self::Local(_) => Fault::Local,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn action(&self) -> Action {
        Action::Stop
    }
}

/// A pending or staged commit does not fit the group's state; it is gone, the group is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Another commit won the epoch, so that this one can never take effect.
    #[error("the commit was built or staged on another state of the group")]
    Superseded,
    /// The commit belongs to another group.
    #[error("the commit belongs to another group")]
    OtherGroup,
    /// The commit was built or staged by another member of the group, and holds that member's secrets.
    #[error("the commit was built or staged by another member")]
    OtherMember,
}

impl MergeError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Superseded => Fault::Timing,
            Self::OtherGroup | Self::OtherMember => Fault::Misuse,
        }
    }

    /// What to do next. After a lost race the changes are committed again on the present state.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Superseded => Action::Drop,
            Self::OtherGroup | Self::OtherMember => Action::Stop,
        }
    }
}

/// A secret could not be exported, or a message not be protected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// This member was removed, or the group was closed: its secrets are gone.
    #[error("the group is no longer active for this member")]
    Inactive,
    /// The exporter cannot give a secret of that length (RFC 9420 section 8.5).
    #[error("a secret of {asked} bytes was asked for, at most {limit} are possible")]
    SecretTooLong {
        /// The length asked for, in bytes.
        asked: usize,
        /// The longest possible, in bytes.
        limit: usize,
    },
    /// A message of that many bytes cannot be encoded.
    #[error("a message of {0} bytes cannot be encoded")]
    MessageTooLong(usize),
    /// The pending commit was built on another state of the group.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Proposals wait for a commit, which has to come before application data (RFC 9420 section 12.4).
    #[error("proposals wait for a commit, which has to come before application data")]
    ProposalsPending,
    /// Something failed on this machine.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl ExportError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Inactive | Self::SecretTooLong { .. } | Self::MessageTooLong(_) => Fault::Misuse,
            Self::ProposalsPending => Fault::Timing,
            Self::Merge(error) => error.fault(),
            Self::Local(_) => Fault::Local,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn action(&self) -> Action {
        Action::Stop
    }
}

/// A group or key package could not be saved or restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes are not a snapshot.
    #[error("not a snapshot of this library: {0}")]
    Malformed(#[from] DecodeError),
    /// The snapshot was written in a version of the format that this library does not read.
    #[error("snapshot version {0} is not readable")]
    Version(u16),
    /// The key is wrong, or the snapshot was altered.
    #[error("the snapshot does not open with this key")]
    Key,
    /// The snapshot is of another cipher suite or identity than the client.
    #[error("the snapshot belongs to another client")]
    OtherClient,
    /// A pending commit was built on another state of the group than the one at hand.
    #[error("the pending commit was built on another state of the group")]
    OtherState,
    /// The content contradicts itself, though it was authenticated.
    #[error("the content of the snapshot is not consistent: {0}")]
    Inconsistent(&'static str),
    /// Something failed on this machine.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl SnapshotError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Malformed(_) | Self::Key => Fault::Malformed,
            Self::Version(_) | Self::OtherClient => Fault::Misuse,
            Self::OtherState => Fault::Timing,
            Self::Inconsistent(_) | Self::Local(_) => Fault::Local,
        }
    }

    /// What to do next: without its snapshot a member joins anew.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::OtherClient => Action::Stop,
            Self::OtherState => Action::Drop,
            _ => Action::Resync,
        }
    }
}
