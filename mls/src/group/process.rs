//! Processing what arrives (RFC 9420 sections 6, 12.4.2, 15).

use std::sync::Arc;

use crate::{
    client::Client,
    codec::Decode,
    error::ProcessError,
    framing::{FramingError, ReceivedPublicMessage, VerifiedContent, open_private},
    schedule::{CommitSecret, SecretTreeError},
    tree::TreeView,
    wire::{
        AuthenticatedContent, Commit, Content, ContentType, GroupId, LeafIndex, MlsMessage,
        MlsMessageBody, PreSharedKeyId, PrivateMessage, PublicMessage, Sender, UnixTime,
    },
};

use super::{
    Group,
    changes::{Changes, Member},
    next_epoch::{Advanced, MemberSecrets, NextPublic, ScheduleInput},
    past::PastMessages,
    proposal_cache::ReceivedProposal,
    psk::psk_secret,
    receive_commit::check_commit,
};

/// What a message turned out to be.
#[derive(Debug)]
#[must_use]
pub enum Processed {
    /// A proposal. The group keeps it until a commit ends the epoch.
    Proposal(ReceivedProposal),
    /// A commit. The group moves on with [`Group::merge`]; dropping it leaves the group as it is.
    Commit(Box<StagedCommit>),
    /// Data of the application.
    Application(ReceivedMessage),
}

/// Data of the application, and who sent it.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The data.
    pub data: Vec<u8>,
    /// Data that was authenticated, not encrypted.
    pub authenticated_data: Vec<u8>,
    /// Who sent it, as it was in the epoch of the message.
    pub sender: Member,
    /// The epoch of the message.
    pub epoch: u64,
}

impl std::fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceivedMessage")
            .field("sender", &self.sender)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A commit of another member, verified and ready to take effect with [`Group::merge`].
#[must_use = "the commit takes effect when it is merged"]
pub struct StagedCommit {
    pub(crate) group_id: GroupId,
    /// The member who staged it, and whose secrets it holds.
    pub(super) own_leaf: LeafIndex,
    pub(crate) next: NextPublic,
    /// Absent when the commit removes this member.
    pub(crate) secrets: Option<MemberSecrets>,
    /// This member's client from then on, when the commit covers an Update of its identity.
    pub(super) identity: Option<Client>,
    /// It covers an Update of this member made in this life of the group.
    pub(super) fresh: bool,
    authenticated_data: Vec<u8>,
}

impl StagedCommit {
    /// What the commit changes.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.next.changes
    }

    /// Data of the application that was authenticated with the commit.
    #[must_use]
    pub fn authenticated_data(&self) -> &[u8] {
        &self.authenticated_data
    }

    /// The epoch that the commit starts.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.next.context.epoch
    }

    /// The state of the group in that epoch.
    #[must_use]
    pub fn context(&self) -> &crate::wire::GroupContext {
        &self.next.context
    }
}

impl std::fmt::Debug for StagedCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedCommit")
            .field("group_id", &self.group_id)
            .field("changes", &self.next.changes)
            .finish_non_exhaustive()
    }
}

impl Group {
    /// Processes a message that arrived.
    ///
    /// A proposal is kept, a commit is staged for [`Group::merge`], application data is decrypted. `now` reaches the
    /// application's credential validator and nothing else: members may see a message at different times.
    ///
    /// # Errors
    /// [`ProcessError`], whose [`action`](ProcessError::action) says what to do. The group is as before, apart from the spent
    /// ratchet key of a private message whose signature was good.
    pub fn process(&mut self, bytes: &[u8], now: UnixTime) -> Result<Processed, ProcessError> {
        let MlsMessage(body) = MlsMessage::from_bytes(bytes)?;
        match body {
            MlsMessageBody::PublicMessage(message) => self.process_public(message, now),
            MlsMessageBody::PrivateMessage(message) => self.process_private(message, now),
            _ => Err(ProcessError::WrongKind),
        }
    }

    fn process_public(
        &mut self,
        message: PublicMessage,
        now: UnixTime,
    ) -> Result<Processed, ProcessError> {
        let content = &message.content;
        self.state.check_addressed(&content.group_id, content.epoch)?;
        let secrets = self.secrets.as_ref().ok_or(ProcessError::Inactive)?;
        if !self.client.options().accept.public() {
            return Err(ProcessError::HandshakeFormat);
        }
        let received =
            ReceivedPublicMessage::new(self.state.suite, message, &self.state.context_bytes)?;
        let membership = received.check_membership(secrets.epoch.membership_key());
        if !matches!(received.content().content, Content::Commit(_)) {
            membership?;
        }
        let unverified = received.without_membership_check();
        let key = self.state.signature_key_of(unverified.content())?;
        let verified = unverified.verify_signature(&*key)?;
        // A delivery service checks the signature and cannot check the tag: it may have let this commit win the epoch.
        membership.map_err(|_| ProcessError::MembershipTag)?;
        self.process_handshake(verified, now)
    }

    fn process_private(
        &mut self,
        message: PrivateMessage,
        now: UnixTime,
    ) -> Result<Processed, ProcessError> {
        let application = message.content_type == ContentType::Application;
        if application && message.epoch < self.state.context.epoch {
            if message.group_id != self.state.context.group_id {
                return Err(ProcessError::OtherGroup);
            }
            return self.process_late(message);
        }
        self.state.check_addressed(&message.group_id, message.epoch)?;
        if self.closed.is_some() {
            return Err(ProcessError::Inactive);
        }
        if !application && !self.client.options().accept.private() {
            return Err(ProcessError::HandshakeFormat);
        }
        let secrets = self.secrets.as_mut().ok_or(ProcessError::Inactive)?;
        let state = &self.state;
        let own = match message.content_type {
            ContentType::Commit => ProcessError::OwnCommit,
            ContentType::Application | ContentType::Proposal => ProcessError::OwnMessage,
        };
        let opened = open_private(
            &mut secrets.secret_tree,
            secrets.epoch.sender_data(),
            message,
            &state.context_bytes,
            |leaf| state.tree.leaf(leaf).is_some(),
        )
        .map_err(|error| own_or(error, own))?;
        let key = state.signature_key_of(opened.content())?;
        let verified = opened.verify_signature(&*key)?;
        if !application {
            return self.process_handshake(verified, now);
        }
        let sender = match verified.sender() {
            Sender::Member(leaf) => state.tree.leaf(leaf).map(Member::from),
            _ => None,
        };
        let sender = sender.ok_or(ProcessError::UnknownSender)?;
        received_message(verified.into_authenticated(), sender)
    }

    /// Application data of an epoch that has passed (section 15.3).
    fn process_late(&mut self, message: PrivateMessage) -> Result<Processed, ProcessError> {
        let (epoch, current) = (message.epoch, self.state.context.epoch);
        let stale = ProcessError::StaleEpoch { message: epoch, current };
        let mut keys = self.past.take_messages(epoch).ok_or(stale)?;
        let opened = self.open_late(&mut keys, message);
        self.past.put_messages(epoch, keys);
        opened
    }

    fn open_late(
        &self,
        keys: &mut PastMessages,
        message: PrivateMessage,
    ) -> Result<Processed, ProcessError> {
        let epoch = message.epoch;
        let member = |leaf| self.past.member(epoch, leaf, &self.state.tree);
        let (tree, sender_data) = (&mut keys.secret_tree, &keys.sender_data);
        let occupied = |leaf| member(leaf).is_some();
        let opened = open_private(tree, sender_data, message, &keys.context, occupied)
            .map_err(|error| own_or(error, ProcessError::OwnMessage))?;
        let sender = member(opened.sender()).ok_or(ProcessError::UnknownSender)?;
        let suite = self.state.suite;
        let key = suite
            .signature
            .verifying_key(sender.signature_key.as_bytes())
            .map_err(|_| FramingError::InvalidSignature)?;
        let verified = opened.verify_signature(&*key)?;
        received_message(verified.into_authenticated(), sender)
    }

    fn process_handshake(
        &mut self,
        verified: VerifiedContent,
        now: UnixTime,
    ) -> Result<Processed, ProcessError> {
        if self.closed.is_some() {
            return Err(ProcessError::Inactive);
        }
        match &verified.content().content {
            Content::Application(_) => Err(FramingError::ApplicationNotEncrypted.into()),
            Content::Proposal(proposal) => {
                let policy = self.client.policy();
                let received = self.state.check_proposal(&verified, proposal, policy, now)?;
                if self.proposals.len() >= self.client.options().max_proposals
                    && self.proposals.get(&received.reference).is_none()
                {
                    return Err(ProcessError::TooManyProposals);
                }
                self.proposals.insert(received.clone());
                Ok(Processed::Proposal(received))
            }
            Content::Commit(_) if verified.sender() == Sender::Member(self.own_leaf) => {
                Err(ProcessError::OwnCommit)
            }
            Content::Commit(_) => {
                let authenticated = verified.into_authenticated();
                let Content::Commit(commit) = &authenticated.content.content else {
                    return Err(ProcessError::WrongKind);
                };
                let staged = self.stage_commit(&authenticated, commit, now)?;
                Ok(Processed::Commit(Box::new(staged)))
            }
        }
    }

    /// The steps of section 12.4.2 after the signature.
    fn stage_commit(
        &self,
        authenticated: &AuthenticatedContent,
        commit: &Commit,
        now: UnixTime,
    ) -> Result<StagedCommit, ProcessError> {
        let (state, suite) = (&self.state, self.state.suite);
        let secrets = self.secrets.as_ref().ok_or(ProcessError::Inactive)?;
        let policy = self.client.policy();
        let own = Some(self.own_leaf);
        let checked =
            check_commit(state, &self.proposals, authenticated, commit, own, policy, now)?;
        let tag = authenticated
            .auth
            .confirmation_tag
            .clone()
            .ok_or(FramingError::ConfirmationTagMissing)?;
        let group_id = state.context.group_id.clone();
        let authenticated_data = authenticated.content.authenticated_data.clone();
        let applied = checked.applied;
        if checked.changes.self_removed {
            let tree = applied.overlay.finish();
            let next = NextPublic::new(state, tree, applied.context, tag, checked.changes);
            let own_leaf = self.own_leaf;
            return Ok(StagedCommit {
                group_id,
                own_leaf,
                next,
                secrets: None,
                identity: None,
                fresh: false,
                authenticated_data,
            });
        }

        let own_update = self.committed_update(&applied.proposals.updates);
        let with_update = own_update.map(|own| secrets.private.with_leaf_key(Arc::clone(&own.key)));
        let private = with_update.as_ref().unwrap_or(&secrets.private);
        let identity = own_update.and_then(|own| own.identity.clone());
        let fresh = own_update.is_some_and(|own| !own.restored);
        let (commit_secret, private) = match &checked.merged {
            Some(merged) => {
                let decrypted = merged.decrypt(&applied.overlay, &checked.provisional, private)?;
                (decrypted.commit_secret, decrypted.private)
            }
            None => (CommitSecret::zero(suite), private.retained(&applied.overlay)),
        };
        let external_init = match applied.proposals.external_init {
            // What others may get wrong has been judged with the commit's public rules.
            Some(kem_output) => Some(secrets.epoch.external()?.init_secret(kem_output)?),
            None => None,
        };
        let psks: &[&PreSharedKeyId] = &applied.proposals.psks;
        let psk_secret = psk_secret(suite, psks, |source| self.find_psk(source))?;
        let context = crate::codec::Encode::to_bytes(&applied.context);
        let Advanced { epoch, secret_tree, .. } = ScheduleInput {
            suite,
            init: external_init.as_ref().unwrap_or(secrets.epoch.init()),
            commit_secret,
            psk_secret: &psk_secret,
            context: &context,
            tree_width: applied.overlay.size().leaves(),
            own_leaf: self.own_leaf,
            limits: self.client.options().ratchets,
        }
        .advance()?;
        epoch
            .check_confirmation_tag(&applied.context.confirmed_transcript_hash, &tag)
            .map_err(|_| ProcessError::ConfirmationTag)?;
        let next =
            NextPublic::new(state, applied.overlay.finish(), applied.context, tag, checked.changes);
        let secrets = MemberSecrets { private, epoch, secret_tree };
        Ok(StagedCommit {
            group_id,
            own_leaf: self.own_leaf,
            next,
            secrets: Some(secrets),
            identity,
            fresh,
            authenticated_data,
        })
    }
}

/// What comes in under this member's own leaf is an echo.
fn own_or(error: FramingError, own: ProcessError) -> ProcessError {
    match error {
        FramingError::SecretTree(SecretTreeError::OwnLeaf) => own,
        other => ProcessError::Framing(other),
    }
}

fn received_message(
    authenticated: AuthenticatedContent,
    sender: Member,
) -> Result<Processed, ProcessError> {
    let content = authenticated.content;
    let Content::Application(data) = content.content else {
        return Err(ProcessError::WrongKind);
    };
    Ok(Processed::Application(ReceivedMessage {
        data,
        authenticated_data: content.authenticated_data,
        sender,
        epoch: content.epoch,
    }))
}
