//! Who is at fault when a rule is broken, and what to do when the rule is all that an operation checks.

use crate::{
    framing::FramingError,
    public_group::WelcomeMismatch,
    schedule::SecretTreeError,
    validation::{
        GroupInfoViolation, KeyPackageViolation, LeafNodeViolation, ProposalListViolation,
        SuccessionViolation,
    },
};

use super::{Action, Fault};

impl ProposalListViolation {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotImplemented(_)
            | Self::TypeNotSupported(_)
            | Self::ExtensionsNotSupported(_) => Fault::IncompatiblePeer,
            Self::UnknownReference(_) => Fault::Timing,
            Self::Add(violation) => violation.fault(),
            Self::Update(violation) | Self::PathLeaf(violation) => violation.fault(),
            _ => Fault::MisbehavingPeer,
        }
    }
}

impl KeyPackageViolation {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Version | Self::CipherSuite => Fault::IncompatiblePeer,
            Self::LeafNode(violation) => violation.fault(),
            _ => Fault::MisbehavingPeer,
        }
    }

    /// What to do next: this key package cannot be added, another one of the same client may.
    #[must_use]
    pub fn action(&self) -> Action {
        Action::Drop
    }
}

impl LeafNodeViolation {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::VersionUnsupported
            | Self::CipherSuiteUnsupported
            | Self::RequiredExtension(_)
            | Self::RequiredProposal(_)
            | Self::RequiredCredential(_)
            | Self::GroupExtension(_)
            | Self::CredentialTypeNotShared(_) => Fault::IncompatiblePeer,
            Self::OutsideLifetime => Fault::Timing,
            _ => Fault::MisbehavingPeer,
        }
    }
}

impl GroupInfoViolation {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotAGroupInfo => Fault::Malformed,
            Self::Parameters => Fault::IncompatiblePeer,
            Self::TreeMissing | Self::ExternalPubMissing => Fault::Misuse,
            Self::Leaf { violation, .. } => violation.fault(),
            Self::OtherState => Fault::Timing,
            _ => Fault::MisbehavingPeer,
        }
    }

    /// What to do next: another GroupInfo, or the tree that belongs to it, may serve.
    #[must_use]
    pub fn action(&self) -> Action {
        Action::Drop
    }
}

impl WelcomeMismatch {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotAWelcome => Fault::Malformed,
            Self::CipherSuite | Self::Joiners => Fault::MisbehavingPeer,
        }
    }

    /// What to do next: the Welcome is not handed on.
    #[must_use]
    pub fn action(&self) -> Action {
        Action::Drop
    }
}

impl FramingError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::SecretTree(error) => error.fault(),
            Self::WrongWireFormat
            | Self::NotOwnLeaf(_)
            | Self::MembershipKeyMissing
            | Self::TooLong(_) => Fault::Misuse,
            Self::Crypto(_) => Fault::Local,
            _ => Fault::MisbehavingPeer,
        }
    }
}

impl SecretTreeError {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::KeyConsumed { .. }
            | Self::GenerationTooOld { .. }
            | Self::GenerationTooFarAhead { .. }
            | Self::OwnLeaf => Fault::Timing,
            Self::NoSuchLeaf { .. } => Fault::MisbehavingPeer,
            Self::BadSize(_) => Fault::Misuse,
            Self::RatchetExhausted | Self::Crypto(_) => Fault::Local,
        }
    }
}

impl SuccessionViolation {
    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Early { .. } => Fault::Timing,
            Self::LinkCount | Self::OtherPredecessor => Fault::Misuse,
            _ => Fault::MisbehavingPeer,
        }
    }
}
