//! Who is at fault when a rule is broken.

use crate::validation::{KeyPackageViolation, LeafNodeViolation, ProposalListViolation};

use super::Fault;

pub(super) fn of_proposals(violation: &ProposalListViolation) -> Fault {
    match violation {
        ProposalListViolation::NotImplemented(_)
        | ProposalListViolation::TypeNotSupported(_)
        | ProposalListViolation::ExtensionsNotSupported(_) => Fault::IncompatiblePeer,
        ProposalListViolation::UnknownReference(_) => Fault::Timing,
        ProposalListViolation::Add(violation) => of_key_package(violation),
        ProposalListViolation::Update(violation) | ProposalListViolation::PathLeaf(violation) => {
            of_leaf(violation)
        }
        _ => Fault::MisbehavingPeer,
    }
}

pub(super) fn of_key_package(violation: &KeyPackageViolation) -> Fault {
    match violation {
        KeyPackageViolation::Version | KeyPackageViolation::CipherSuite => Fault::IncompatiblePeer,
        KeyPackageViolation::LeafNode(violation) => of_leaf(violation),
        _ => Fault::MisbehavingPeer,
    }
}

pub(super) fn of_leaf(violation: &LeafNodeViolation) -> Fault {
    match violation {
        LeafNodeViolation::VersionUnsupported
        | LeafNodeViolation::CipherSuiteUnsupported
        | LeafNodeViolation::RequiredExtension(_)
        | LeafNodeViolation::RequiredProposal(_)
        | LeafNodeViolation::RequiredCredential(_)
        | LeafNodeViolation::GroupExtension(_)
        | LeafNodeViolation::CredentialTypeNotShared(_) => Fault::IncompatiblePeer,
        _ => Fault::MisbehavingPeer,
    }
}
