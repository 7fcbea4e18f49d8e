//! Proposals of a member (RFC 9420 section 12.1).

use std::sync::Arc;

use crate::{
    client::{Client, Identity},
    codec::Encode,
    crypto::{CryptoRng, KemPrivateKey},
    error::{CommitError, ExportError},
    framing::{proposal_ref, protect_public, seal_private, sign},
    tree::{Feature, TreeView},
    validation::{
        KeyPackageViolation, LeafNodeViolation, ProposalListViolation, check_key_package,
        check_sender_may_propose,
    },
    wire::{
        Add, AuthenticatedContent, Capabilities, Content, Extensions, FramedContent,
        GroupContextExtensions, HpkePublicKey, KeyPackage, LeafIndex, LeafNode, LeafNodeSource,
        MlsMessage, MlsMessageBody, PreSharedKey, Proposal, ProposalRef, ProposalType, PskSource,
        ReInit, Remove, Sender, Signature, UnixTime, Update, WireFormat,
    },
};

use super::{
    Group, HandshakeFormat, create_commit::fresh_psk_id, proposal_cache::ReceivedProposal,
};

/// A proposal to send to the group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the proposal takes effect when it is sent, and covered by a commit"]
pub struct ProposalMessage {
    /// The message.
    pub message: Vec<u8>,
    /// How a commit refers to it.
    pub reference: ProposalRef,
}

/// The private key of an Update that has been proposed, until a commit decides about it.
pub(crate) struct PendingUpdate {
    pub(crate) public: HpkePublicKey,
    pub(crate) key: Arc<dyn KemPrivateKey>,
    /// This member's client from then on, when the Update changes its identity.
    pub(crate) identity: Option<Client>,
    /// It comes from storage: its commit may have been processed already, by a process that has died since.
    pub(crate) restored: bool,
}

impl Group {
    /// Proposes to add a member.
    ///
    /// # Errors
    /// [`CommitError::Invalid`] when the key package is not valid here.
    pub fn propose_add(
        &mut self,
        key_package: KeyPackage,
        rng: &mut dyn CryptoRng,
        now: UnixTime,
    ) -> Result<ProposalMessage, CommitError> {
        let check = self.client.policy().leaf_check(self.state.suite, now);
        check_key_package(&key_package, &check).map_err(ProposalListViolation::Add)?;
        check.check_current(&key_package.leaf_node).map_err(|violation| {
            ProposalListViolation::Add(KeyPackageViolation::from(violation))
        })?;
        self.send_proposal(Proposal::Add(Box::new(Add { key_package })), rng)
    }

    /// Proposes to renew the encryption key of this member's leaf.
    ///
    /// # Errors
    /// [`CommitError::Local`] when a key cannot be made.
    pub fn propose_update(
        &mut self,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProposalMessage, CommitError> {
        let own = self.state.tree.leaf(self.own_leaf).ok_or(CommitError::Inactive)?;
        let (leaf_node, key) = self.own_update(&self.client, own.capabilities(), rng)?;
        self.send_update(leaf_node, key, None, rng)
    }

    /// Proposes to give this member another credential, another signature key, or both, and to renew its encryption key
    /// (RFC 9420 section 5.3.1).
    ///
    /// The others accept it when their validator takes the new credential
    /// [in the place of the old one](crate::CredentialValidator::validate_successor). The group goes on under the new identity
    /// when a commit that covers the proposal is merged; [`Group::client`] tells. What this member sends until then is
    /// signed with the old key.
    ///
    /// # Errors
    /// [`CommitError::Invalid`] when the others would not accept it.
    pub fn propose_identity(
        &mut self,
        identity: Identity,
        rng: &mut dyn CryptoRng,
        now: UnixTime,
    ) -> Result<ProposalMessage, CommitError> {
        let client = self.renamed(identity).map_err(ProposalListViolation::Update)?;
        let (leaf_node, key) = self.own_update(&client, client.capabilities(), rng)?;
        let own = self.state.tree.leaf(self.own_leaf).ok_or(CommitError::Inactive)?;
        let check = self.client.policy().leaf_check(self.state.suite, now);
        check
            .check_replacement(own, &leaf_node)
            .and_then(|()| self.state.check_leaf_requirements(&leaf_node))
            .and_then(|()| check.check_current(&leaf_node))
            .map_err(ProposalListViolation::Update)?;
        self.send_update(leaf_node, key, Some(client), rng)
    }

    /// This member's client under another identity, which no other member has.
    pub(crate) fn renamed(&self, identity: Identity) -> Result<Client, LeafNodeViolation> {
        match self.state.tree.find_signature_key(identity.public().as_bytes()) {
            Some(leaf) if leaf != self.own_leaf => Err(LeafNodeViolation::SignatureKeyInUse(leaf)),
            _ => self.client.renamed(identity),
        }
    }

    /// A leaf of this member with a fresh encryption key.
    fn own_update(
        &self,
        client: &Client,
        capabilities: Capabilities,
        rng: &mut dyn CryptoRng,
    ) -> Result<(LeafNode, Arc<dyn KemPrivateKey>), CommitError> {
        let key: Arc<dyn KemPrivateKey> = Arc::from(self.state.suite.kem.generate(rng)?);
        let own = self.state.tree.leaf(self.own_leaf).ok_or(CommitError::Inactive)?;
        let identity = client.identity();
        let mut leaf_node = LeafNode {
            encryption_key: HpkePublicKey::from(key.public()),
            signature_key: identity.public(),
            credential: identity.credential().clone(),
            capabilities,
            source: LeafNodeSource::Update,
            extensions: own.extensions(),
            signature: Signature::default(),
        };
        let group_id = &self.state.context.group_id;
        identity.sign_leaf(self.state.suite, &mut leaf_node, group_id, self.own_leaf)?;
        Ok((leaf_node, key))
    }

    fn send_update(
        &mut self,
        leaf_node: LeafNode,
        key: Arc<dyn KemPrivateKey>,
        identity: Option<Client>,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProposalMessage, CommitError> {
        let public = leaf_node.encryption_key.clone();
        let message = self.send_proposal(Proposal::Update(Box::new(Update { leaf_node })), rng)?;
        self.updates.push(PendingUpdate { public, key, identity, restored: false });
        Ok(message)
    }

    /// Proposes to remove the member at a leaf, which may be this one's own: that is how to leave.
    ///
    /// # Errors
    /// [`CommitError::Invalid`] when no member is there.
    pub fn propose_remove(
        &mut self,
        removed: LeafIndex,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProposalMessage, CommitError> {
        if self.state.tree.leaf(removed).is_none() {
            return Err(ProposalListViolation::RemovedLeafBlank(removed).into());
        }
        self.send_proposal(Proposal::Remove(Remove { removed }), rng)
    }

    /// Proposes that this member leaves, in a way that somebody who joins by external commit can put into effect as well
    /// (SelfRemove, draft-ietf-mls-extensions-09). It is sent as a public message, whatever the handshake format: the delivery
    /// service hands it to external joiners, for [`ExternalJoinOptions::self_removes`](crate::ExternalJoinOptions::self_removes).
    ///
    /// # Errors
    /// [`CommitError::Invalid`] with [`ProposalListViolation::TypeNotSupported`] when some member does not support the
    /// type, [`ProposalListViolation::SeveralChangesOfOneLeaf`] when it has been proposed in this epoch.
    pub fn propose_self_remove(
        &mut self,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProposalMessage, CommitError> {
        self.check_type_for_all(ProposalType::SELF_REMOVE)?;
        let sender = Sender::Member(self.own_leaf);
        let already =
            |p: &ReceivedProposal| p.sender == sender && p.proposal == Proposal::SelfRemove;
        if self.proposals.iter().any(already) {
            return Err(ProposalListViolation::SeveralChangesOfOneLeaf(self.own_leaf).into());
        }
        self.send_proposal(Proposal::SelfRemove, rng)
    }

    /// Every member lists the type, as a commit will need it.
    fn check_type_for_all(&self, kind: ProposalType) -> Result<(), ProposalListViolation> {
        let supported = self.state.tree.all_support(Feature::Proposal(kind));
        if supported { Ok(()) } else { Err(ProposalListViolation::TypeNotSupported(kind)) }
    }

    /// Proposes to mix a pre-shared key into the next epoch.
    ///
    /// # Errors
    /// [`CommitError::PskUnknown`] when this member does not have it.
    pub fn propose_psk(
        &mut self,
        source: PskSource,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProposalMessage, CommitError> {
        if self.find_psk(&source).is_none() {
            return Err(CommitError::PskUnknown(source));
        }
        let psk = fresh_psk_id(self.state.suite, source, rng);
        self.send_proposal(Proposal::PreSharedKey(PreSharedKey { psk }), rng)
    }

    /// Proposes to replace all extensions of the group.
    ///
    /// # Errors
    /// Those of [`Group::propose`].
    pub fn propose_extensions(
        &mut self,
        extensions: Extensions,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProposalMessage, CommitError> {
        let proposal = GroupContextExtensions { extensions };
        self.send_proposal(Proposal::GroupContextExtensions(proposal), rng)
    }

    /// Proposes to close the group in favour of another one (RFC 9420 section 11.2). A commit covers it only when it
    /// [names](crate::CommitBuilder::only_received) it.
    ///
    /// # Errors
    /// Those of [`Group::propose`].
    pub fn propose_reinit(
        &mut self,
        reinit: ReInit,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProposalMessage, CommitError> {
        self.send_proposal(Proposal::ReInit(reinit), rng)
    }

    /// Sends any proposal as it is, when it is valid by itself. An Update made elsewhere cannot be used: its private key
    /// would be missing.
    ///
    /// # Errors
    /// [`CommitError::Invalid`] when a member may not propose it or it breaks a rule by itself,
    /// [`CommitError::Inactive`] after removal.
    pub fn propose(
        &mut self,
        proposal: Proposal,
        rng: &mut dyn CryptoRng,
        now: UnixTime,
    ) -> Result<ProposalMessage, CommitError> {
        let (sender, policy) = (Sender::Member(self.own_leaf), self.client.policy());
        self.state.check_proposal_content(sender, &proposal, policy, now)?;
        match &proposal {
            Proposal::SelfRemove => return self.propose_self_remove(rng),
            Proposal::Add(add) => return self.propose_add(add.key_package.clone(), rng, now),
            Proposal::Remove(remove) if self.state.tree.leaf(remove.removed).is_none() => {
                return Err(ProposalListViolation::RemovedLeafBlank(remove.removed).into());
            }
            Proposal::Other(kind, _) if policy.custom.find(*kind).is_none() => {
                return Err(ProposalListViolation::NotImplemented(*kind).into());
            }
            Proposal::Other(kind, _) => self.check_type_for_all(*kind)?,
            _ => {}
        }
        self.send_proposal(proposal, rng)
    }

    /// Sends a proposal whose content is known to be valid: a commit that refers to it does not check it again.
    fn send_proposal(
        &mut self,
        proposal: Proposal,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProposalMessage, CommitError> {
        let sender = Sender::Member(self.own_leaf);
        let policy = self.client.policy();
        check_sender_may_propose(sender, &proposal, &policy.custom)?;
        self.state.check_rules_on(sender, &proposal, policy)?;
        if self.proposals.len() >= self.client.options().max_proposals {
            return Err(CommitError::TooManyProposals);
        }
        let authenticated = self.sign_content(Content::Proposal(proposal.clone()), Vec::new())?;
        let reference = proposal_ref(self.state.suite, &authenticated)?;
        let message = self.protect_content(authenticated, rng)?;
        self.proposals.insert(ReceivedProposal {
            reference: reference.clone(),
            sender,
            proposal,
            authenticated_data: Vec::new(),
        });
        Ok(ProposalMessage { message, reference })
    }

    /// Encrypts application data to the members of the present epoch.
    ///
    /// A snapshot taken before this call and restored after it would use the same key again: save first, then send.
    ///
    /// # Errors
    /// [`ExportError::ProposalsPending`] while proposals wait for a commit, [`ExportError::Inactive`] after removal.
    pub fn protect(
        &mut self,
        data: &[u8],
        authenticated_data: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, ExportError> {
        if self.proposals.len() > 0 {
            return Err(ExportError::ProposalsPending);
        }
        let secrets = self.secrets.as_mut().filter(|_| self.closed.is_none());
        let secrets = secrets.ok_or(ExportError::Inactive)?;
        let content = FramedContent {
            group_id: self.state.context.group_id.clone(),
            epoch: self.state.context.epoch,
            sender: Sender::Member(self.own_leaf),
            authenticated_data: authenticated_data.to_vec(),
            content: Content::Application(data.to_vec()),
        };
        let authenticated = sign(
            self.state.suite,
            WireFormat::PrivateMessage,
            content,
            &self.state.context_bytes,
            self.client.identity().signer(),
        )?
        .finish()?;
        let message = seal_private(
            &mut secrets.secret_tree,
            secrets.epoch.sender_data(),
            &authenticated,
            self.client.options().padding,
            rng,
        )?;
        Ok(MlsMessage(MlsMessageBody::PrivateMessage(message)).to_bytes())
    }

    fn sign_content(
        &self,
        content: Content,
        authenticated_data: Vec<u8>,
    ) -> Result<AuthenticatedContent, CommitError> {
        if !self.is_active() {
            return Err(CommitError::Inactive);
        }
        let wire_format = match (self.handshake, &content) {
            (HandshakeFormat::Public, _) | (_, Content::Proposal(Proposal::SelfRemove)) => {
                WireFormat::PublicMessage
            }
            (HandshakeFormat::Private, _) => WireFormat::PrivateMessage,
        };
        let content = FramedContent {
            group_id: self.state.context.group_id.clone(),
            epoch: self.state.context.epoch,
            sender: Sender::Member(self.own_leaf),
            authenticated_data,
            content,
        };
        let signer = self.client.identity().signer();
        let context = &self.state.context_bytes;
        Ok(sign(self.state.suite, wire_format, content, context, signer)?.finish()?)
    }

    fn protect_content(
        &mut self,
        authenticated: AuthenticatedContent,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, CommitError> {
        let secrets = self.secrets.as_mut().ok_or(CommitError::Inactive)?;
        let body = match authenticated.wire_format {
            WireFormat::PublicMessage => MlsMessageBody::PublicMessage(protect_public(
                self.state.suite,
                authenticated,
                Some(secrets.epoch.membership_key()),
                &self.state.context_bytes,
            )?),
            _ => MlsMessageBody::PrivateMessage(seal_private(
                &mut secrets.secret_tree,
                secrets.epoch.sender_data(),
                &authenticated,
                self.client.options().padding,
                rng,
            )?),
        };
        Ok(MlsMessage(body).to_bytes())
    }

    /// This member's own Update, when a commit covers one.
    pub(crate) fn committed_update(
        &self,
        updates: &[(LeafIndex, &LeafNode)],
    ) -> Option<&PendingUpdate> {
        let (_, own) = updates.iter().find(|(leaf, _)| *leaf == self.own_leaf)?;
        self.updates.iter().find(|update| update.public == own.encryption_key)
    }
}
