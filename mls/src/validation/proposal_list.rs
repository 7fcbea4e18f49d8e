//! Validity of the list of proposals of a commit (RFC 9420 section 12.2), and of the commit around it (section 12.4).

use std::collections::HashSet;

use crate::tree::{TreeError, UpdatePathError};
use crate::wire::{
    Extensions, KeyPackage, LeafIndex, LeafNode, PreSharedKeyId, Proposal, ProposalRef,
    ProposalType, PskSource, ReInit, ResumptionPskUsage, Sender,
};

use super::{
    custom::{CustomProposal, CustomTypes},
    key_package::KeyPackageViolation,
    leaf_node::LeafNodeViolation,
    rules::RuleViolation,
};

/// The rule of RFC 9420 sections 12.1, 12.2 or 12.4 that a commit breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalListViolation {
    /// The commit refers to a proposal that was not received in this epoch.
    #[error("the commit refers to a proposal that is not known in this epoch")]
    UnknownReference(ProposalRef),
    /// The commit refers twice to the same proposal.
    #[error("the commit refers twice to the same proposal")]
    RepeatedReference(ProposalRef),
    /// A key package in an Add is not valid (section 12.1.1).
    #[error("add: {0}")]
    Add(#[from] KeyPackageViolation),
    /// The leaf node of an Update is not valid (section 12.1.2).
    #[error("update: {0}")]
    Update(LeafNodeViolation),
    /// An Update comes from somebody who is not a member.
    #[error("an update comes from somebody who is not a member")]
    UpdateByNonMember,
    /// A Remove names a leaf that is blank or outside the tree (section 12.1.3).
    #[error("a remove names leaf {0}, where no member is")]
    RemovedLeafBlank(LeafIndex),
    /// The nonce of a PSK is not `Nh` bytes long (section 12.1.4).
    #[error("the nonce of a psk is not Nh bytes long")]
    PskNonceLength,
    /// More PSKs than the key schedule can count (section 8.4).
    #[error("more than 65535 psks")]
    TooManyPsks,
    /// A resumption PSK of usage `reinit` or `branch` stands in an ordinary commit (section 12.1.4).
    #[error("a resumption psk of usage reinit or branch in an ordinary commit")]
    PskUsage,
    /// A ReInit lowers the protocol version (section 12.1.5).
    #[error("a reinit lowers the protocol version")]
    ReInitVersion,
    /// `required_capabilities` or `external_senders` in a GroupContextExtensions proposal are not well formed.
    #[error("an extension of the group context is not well formed")]
    ExtensionMalformed,
    /// An entry of `external_senders` has a credential that the application rejects (section 5.3.1).
    #[error("an external sender is not accepted by the application")]
    ExternalSenderRejected,
    /// Some member does not support what a GroupContextExtensions proposal requires (section 12.1.7).
    #[error("some member does not support what the group context extensions require: {0}")]
    ExtensionsNotSupported(LeafNodeViolation),
    /// The committer proposed an Update (section 12.2).
    #[error("the commit covers an update of its committer")]
    UpdateByCommitter,
    /// The commit removes its committer (section 12.2).
    #[error("the commit removes its committer")]
    RemovesCommitter,
    /// Several Updates or Removes apply to one leaf (section 12.2).
    #[error("several updates or removes apply to leaf {0}")]
    SeveralChangesOfOneLeaf(LeafIndex),
    /// Two Adds carry the same client, told by its signature key (section 12.2).
    #[error("two adds are for the same client")]
    AddsClientTwice,
    /// An Add carries a client that is in the group at this leaf and not removed (section 12.2).
    #[error("an add is for a client that is in the group at leaf {0}")]
    AddsMember(LeafIndex),
    /// Two PreSharedKey proposals reference the same PSK (section 12.2).
    #[error("two psk proposals name the same psk")]
    PskTwice,
    /// More than one GroupContextExtensions proposal (section 12.2).
    #[error("more than one group context extensions proposal")]
    SeveralGroupContextExtensions,
    /// A ReInit together with another proposal (section 12.2).
    #[error("a reinit stands together with another proposal")]
    ReInitNotAlone,
    /// An ExternalInit in a commit of a member (section 12.2).
    #[error("an external init in the commit of a member")]
    ExternalInitByMember,
    /// A non-default proposal type that not every processing member supports (section 12.2).
    #[error("proposal type {0:?} is not supported by every member")]
    TypeNotSupported(ProposalType),
    /// A type that every member lists, but that is not registered here, so that its rules are not known.
    #[error("proposal type {0:?} is not registered here")]
    NotImplemented(ProposalType),
    /// A SelfRemove by value: it tells by its sender who leaves (draft-ietf-mls-extensions).
    #[error("a self remove stands in a commit by value")]
    SelfRemoveByValue,
    /// A SelfRemove that did not come in a public message, so that external joiners could not see it
    /// (draft-ietf-mls-extensions).
    #[error("a self remove must come in a public message")]
    SelfRemoveNotPublic,
    /// A sender outside the group proposed what only members may (section 12.1.8).
    #[error("proposal type {0:?} may not be sent from outside the group")]
    TypeNotForExternal(ProposalType),
    /// An external commit without exactly one ExternalInit (section 12.2).
    #[error("an external commit needs exactly one external init")]
    ExternalInitCount,
    /// The ExternalInit holds something that is no KEM output of the suite (section 8.3).
    #[error("the external init does not hold a kem output of the cipher suite")]
    ExternalInitMalformed,
    /// An external commit with more than one Remove (section 12.2).
    #[error("an external commit may hold one remove at most")]
    ExternalSeveralRemoves,
    /// An external commit with a proposal by reference (section 12.4.3.2).
    #[error("an external commit may not refer to proposals")]
    ExternalReference,
    /// An external commit with a proposal of another type (section 12.2).
    #[error("proposal type {0:?} has no place in an external commit")]
    ExternalType(ProposalType),
    /// The path is missing though the proposals, or their absence, require one (section 12.4).
    #[error("the commit lacks the path that its proposals require")]
    PathMissing,
    /// The leaf node of the path is not valid (section 12.4.2).
    #[error("leaf node of the path: {0}")]
    PathLeaf(LeafNodeViolation),
    /// A key of the path stands in the tree already (section 12.4.2).
    #[error("a public key of the path stands in the tree already")]
    PathKeyInUse,
    /// The path does not fit the tree: wrong number of nodes or ciphertexts, or a wrong parent hash (sections 7.6, 7.9).
    #[error("the path does not fit the tree: {0}")]
    Path(UpdatePathError),
    /// The tree after the proposals is not valid, or would exceed the library's limits (section 12.2).
    #[error("the tree after the commit is not valid: {0}")]
    Tree(TreeError),
    /// The epoch of the group has the largest number that there is: it can have no successor.
    #[error("the group has come to its last epoch")]
    EpochExhausted,
    /// A rule of the application.
    #[error(transparent)]
    Rule(#[from] RuleViolation),
}

/// A proposal of a commit, resolved from its reference.
///
/// What can be said of a proposal by itself is checked when it is received, so that one by reference is known to be
/// well signed. An Update always comes by reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListedProposal<'a> {
    pub(crate) proposal: &'a Proposal,
    pub(crate) sender: Sender,
    pub(crate) by_reference: bool,
}

/// The proposals of a commit, sorted by kind; every rule that can be judged on the old tree has been.
#[derive(Debug, Default)]
pub(crate) struct CheckedProposals<'a> {
    pub(crate) extensions: Option<&'a Extensions>,
    pub(crate) updates: Vec<(LeafIndex, &'a LeafNode)>,
    /// Leaves to blank by Remove.
    pub(crate) removes: Vec<LeafIndex>,
    /// Leaves whose members leave by SelfRemove.
    pub(crate) self_removes: Vec<LeafIndex>,
    pub(crate) custom: Vec<CustomProposal>,
    pub(crate) adds: Vec<CheckedAdd<'a>>,
    pub(crate) psks: Vec<&'a PreSharedKeyId>,
    pub(crate) external_init: Option<&'a [u8]>,
    pub(crate) reinit: Option<&'a ReInit>,
    pub(crate) path_required: bool,
}

impl CheckedProposals<'_> {
    /// The leaves that become blank, in the order of application: SelfRemoves come before Removes.
    pub(crate) fn removed(&self) -> impl Iterator<Item = LeafIndex> {
        self.self_removes.iter().chain(&self.removes).copied()
    }
}

/// An Add, and whether its key package was verified when the proposal was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedAdd<'a> {
    pub(crate) key_package: &'a KeyPackage,
    pub(crate) verified: bool,
}

/// Sorts the proposals and applies the rules of sections 12.1 and 12.2 that need no new tree.
pub(crate) fn check_proposal_list<'p>(
    list: &[ListedProposal<'p>],
    committer: Sender,
    nonce_length: usize,
    is_member: impl Fn(LeafIndex) -> bool,
) -> Result<CheckedProposals<'p>, ProposalListViolation> {
    let external = !matches!(committer, Sender::Member(_));
    let mut checked =
        CheckedProposals { path_required: external || list.is_empty(), ..Default::default() };
    let mut changed = HashSet::new();
    let mut psks = HashSet::new();
    for listed in list {
        if external {
            check_external(listed)?;
        }
        match listed.proposal {
            Proposal::Add(add) => checked
                .adds
                .push(CheckedAdd { key_package: &add.key_package, verified: listed.by_reference }),
            Proposal::Update(update) => {
                let Sender::Member(leaf) = listed.sender else {
                    return Err(ProposalListViolation::UpdateByNonMember);
                };
                if listed.sender == committer {
                    return Err(ProposalListViolation::UpdateByCommitter);
                }
                if !changed.insert(leaf) {
                    return Err(ProposalListViolation::SeveralChangesOfOneLeaf(leaf));
                }
                checked.updates.push((leaf, &update.leaf_node));
                checked.path_required = true;
            }
            Proposal::Remove(remove) => {
                if Sender::Member(remove.removed) == committer {
                    return Err(ProposalListViolation::RemovesCommitter);
                }
                if !is_member(remove.removed) {
                    return Err(ProposalListViolation::RemovedLeafBlank(remove.removed));
                }
                if external && !checked.removes.is_empty() {
                    return Err(ProposalListViolation::ExternalSeveralRemoves);
                }
                if !changed.insert(remove.removed) {
                    return Err(ProposalListViolation::SeveralChangesOfOneLeaf(remove.removed));
                }
                checked.removes.push(remove.removed);
                checked.path_required = true;
            }
            Proposal::PreSharedKey(psk) => {
                check_psk(&psk.psk, nonce_length)?;
                if !psks.insert(&psk.psk) {
                    return Err(ProposalListViolation::PskTwice);
                }
                if checked.psks.len() >= usize::from(u16::MAX) {
                    return Err(ProposalListViolation::TooManyPsks);
                }
                checked.psks.push(&psk.psk);
            }
            Proposal::ReInit(reinit) => {
                if list.len() > 1 {
                    return Err(ProposalListViolation::ReInitNotAlone);
                }
                if reinit.version < crate::wire::ProtocolVersion::MLS10 {
                    return Err(ProposalListViolation::ReInitVersion);
                }
                checked.reinit = Some(reinit);
            }
            Proposal::ExternalInit(init) => {
                if !external {
                    return Err(ProposalListViolation::ExternalInitByMember);
                }
                if checked.external_init.replace(&init.kem_output).is_some() {
                    return Err(ProposalListViolation::ExternalInitCount);
                }
            }
            Proposal::GroupContextExtensions(proposal) => {
                if checked.extensions.replace(&proposal.extensions).is_some() {
                    return Err(ProposalListViolation::SeveralGroupContextExtensions);
                }
                checked.path_required = true;
            }
            Proposal::SelfRemove => {
                let (Sender::Member(leaf), true) = (listed.sender, listed.by_reference) else {
                    return Err(ProposalListViolation::SelfRemoveByValue);
                };
                if listed.sender == committer {
                    return Err(ProposalListViolation::RemovesCommitter);
                }
                if !changed.insert(leaf) {
                    return Err(ProposalListViolation::SeveralChangesOfOneLeaf(leaf));
                }
                checked.self_removes.push(leaf);
                checked.path_required = true;
            }
            Proposal::Other(proposal_type, data) => checked.custom.push(CustomProposal {
                proposal_type: *proposal_type,
                data: data.clone(),
                sender: listed.sender,
            }),
        }
    }
    if external && checked.external_init.is_none() {
        return Err(ProposalListViolation::ExternalInitCount);
    }
    Ok(checked)
}

/// What an external commit may hold (section 12.2; SelfRemoves by draft-ietf-mls-extensions).
fn check_external(listed: &ListedProposal<'_>) -> Result<(), ProposalListViolation> {
    match listed.proposal {
        Proposal::SelfRemove => Ok(()),
        _ if listed.by_reference => Err(ProposalListViolation::ExternalReference),
        Proposal::ExternalInit(_) | Proposal::Remove(_) | Proposal::PreSharedKey(_) => Ok(()),
        other => Err(ProposalListViolation::ExternalType(other.proposal_type())),
    }
}

/// Section 12.1.4.
fn check_psk(psk: &PreSharedKeyId, nonce_length: usize) -> Result<(), ProposalListViolation> {
    if psk.psk_nonce.len() != nonce_length {
        return Err(ProposalListViolation::PskNonceLength);
    }
    match &psk.source {
        PskSource::Resumption { usage, .. } if *usage != ResumptionPskUsage::Application => {
            Err(ProposalListViolation::PskUsage)
        }
        _ => Ok(()),
    }
}

/// Which proposals a sender outside the group may send (sections 6.1, 12.1.8).
pub(crate) fn check_sender_may_propose(
    sender: Sender,
    proposal: &Proposal,
    custom: &CustomTypes,
) -> Result<(), ProposalListViolation> {
    let allowed = match (sender, proposal) {
        (Sender::Member(_), _) => !matches!(proposal, Proposal::ExternalInit(_)),
        (
            Sender::External(_),
            Proposal::Update(_) | Proposal::ExternalInit(_) | Proposal::SelfRemove,
        ) => false,
        (Sender::External(_), Proposal::Other(kind, _)) => {
            custom.find(*kind).is_some_and(|registered| registered.external_senders)
        }
        (Sender::External(_), _) => true,
        (Sender::NewMemberProposal, Proposal::Add(_)) => true,
        (Sender::NewMemberProposal | Sender::NewMemberCommit, _) => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(ProposalListViolation::TypeNotForExternal(proposal.proposal_type()))
    }
}
