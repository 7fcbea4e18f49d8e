//! Proposals from outside a group (RFC 9420 section 12.1.8).

use crate::{
    codec::Encode,
    crypto::{SigningKey, Suite},
    error::CommitError,
    framing::{proposal_ref, protect_public, sign},
    group::ProposalMessage,
    validation::{CustomTypes, check_sender_may_propose},
    wire::{
        Add, Content, ExtensionType, ExternalSender, ExternalSenders, FramedContent, GroupContext,
        GroupId, KeyPackage, LeafIndex, MlsMessage, MlsMessageBody, Proposal, Remove, Sender,
        WireFormat,
    },
};

use super::{Client, Identity, KeyPackageBundle};

/// Somebody outside a group who may propose to it: an entry of its `external_senders` extension (RFC 9420 section 12.1.8.1),
/// for example a service that removes members whose accounts are closed.
///
/// The group lists it by [`Identity::external_sender`]. It needs no secret of the group, only its identifier and the number of
/// the present epoch: a proposal is good for one epoch, and takes effect when a member commits it.
#[derive(Clone, Debug)]
pub struct ExternalProposer {
    suite: &'static Suite,
    identity: Identity,
    group_id: GroupId,
    epoch: u64,
    sender_index: u32,
}

impl ExternalProposer {
    /// For an epoch of a group that lists the identity at this index.
    #[must_use]
    pub fn new(
        suite: &'static Suite,
        identity: Identity,
        group_id: GroupId,
        epoch: u64,
        sender_index: u32,
    ) -> Self {
        Self { suite, identity, group_id, epoch, sender_index }
    }

    /// For the epoch of a group that this context describes, as a [`PublicGroup`](crate::PublicGroup) has it. None when the group does
    /// not list the identity, or has another suite.
    #[must_use]
    pub fn in_group(
        suite: &'static Suite,
        identity: Identity,
        context: &GroupContext,
    ) -> Option<Self> {
        let senders: ExternalSenders =
            context.extensions.parse(ExtensionType::EXTERNAL_SENDERS).ok().flatten()?;
        let own = identity.external_sender();
        let place = senders.0.iter().position(|sender| *sender == own)?;
        let sender_index = u32::try_from(place).ok()?;
        let same_suite = context.cipher_suite == suite.id;
        let (group_id, epoch) = (context.group_id.clone(), context.epoch);
        same_suite.then(|| Self::new(suite, identity, group_id, epoch, sender_index))
    }

    /// Proposes to add a member.
    ///
    /// # Errors
    /// Those of [`ExternalProposer::propose`]. Whether the key package is valid is for the members to judge.
    pub fn propose_add(&self, key_package: KeyPackage) -> Result<ProposalMessage, CommitError> {
        self.propose(Proposal::Add(Box::new(Add { key_package })))
    }

    /// Proposes to remove the member at a leaf.
    ///
    /// # Errors
    /// Those of [`ExternalProposer::propose`].
    pub fn propose_remove(&self, removed: LeafIndex) -> Result<ProposalMessage, CommitError> {
        self.propose(Proposal::Remove(Remove { removed }))
    }

    /// Proposes an Add, Remove, PreSharedKey, ReInit or GroupContextExtensions, or what the application has registered as
    /// permitted to external senders.
    ///
    /// # Errors
    /// [`CommitError::Invalid`] with [`TypeNotForExternal`](crate::validation::ProposalListViolation::TypeNotForExternal) for other types.
    pub fn propose(&self, proposal: Proposal) -> Result<ProposalMessage, CommitError> {
        let sender = Sender::External(self.sender_index);
        if !matches!(proposal, Proposal::Other(..)) {
            check_sender_may_propose(sender, &proposal, &CustomTypes::default())?;
        }
        let content = FramedContent {
            group_id: self.group_id.clone(),
            epoch: self.epoch,
            sender,
            authenticated_data: Vec::new(),
            content: Content::Proposal(proposal),
        };
        from_outside(self.suite, content, self.identity.signer())
    }
}

impl Identity {
    /// The entry by which a group permits this identity to propose from outside (RFC 9420 section 12.1.8.1). The entries form
    /// an [`ExternalSenders`], the content of the GroupContext extension `external_senders`.
    #[must_use]
    pub fn external_sender(&self) -> ExternalSender {
        ExternalSender { signature_key: self.public(), credential: self.credential().clone() }
    }
}

impl Client {
    /// Asks a group to add this client, by the key package of `bundle`. A member who finds that proper commits the proposal, and the
    /// Welcome goes to [`Client::join`] with the same bundle. Members decide by
    /// [`GroupRules::check_proposal`](crate::GroupRules::check_proposal) whether such proposals are permitted at all.
    ///
    /// # Errors
    /// [`CommitError::OtherIdentity`] when the key package belongs to another identity.
    pub fn propose_join(
        &self,
        group_id: GroupId,
        epoch: u64,
        bundle: &KeyPackageBundle,
    ) -> Result<ProposalMessage, CommitError> {
        let key_package = bundle.key_package().clone();
        if key_package.leaf_node.signature_key != self.identity().public() {
            return Err(CommitError::OtherIdentity);
        }
        let content = FramedContent {
            group_id,
            epoch,
            sender: Sender::NewMemberProposal,
            authenticated_data: Vec::new(),
            content: Content::Proposal(Proposal::Add(Box::new(Add { key_package }))),
        };
        from_outside(self.suite(), content, self.identity().signer())
    }
}

/// A proposal of somebody who has no secret of the group. Its signature does not cover the GroupContext (section 6.1).
fn from_outside(
    suite: &'static Suite,
    content: FramedContent,
    signer: &dyn SigningKey,
) -> Result<ProposalMessage, CommitError> {
    let signed = sign(suite, WireFormat::PublicMessage, content, &[], signer)?.finish()?;
    let reference = proposal_ref(suite, &signed)?;
    let message = protect_public(suite, signed, None, &[])?;
    Ok(ProposalMessage {
        message: MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes(),
        reference,
    })
}
