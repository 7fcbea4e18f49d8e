//! Commits of this member that the delivery service has not accepted yet.

use crate::{
    client::Client,
    codec::{Decode, Encode},
    crypto::CryptoRng,
    error::{CommitError, ExportError, MergeError},
    framing::{protect_public, seal_private},
    tree::TreeView,
    wire::{
        AuthenticatedContent, Extensions, GroupId, MlsMessage, MlsMessageBody, Proposal,
        ProposalOrRef, UnixTime,
    },
};

use super::{
    Changes, EpochChange, Group, GroupInfoOptions, HandshakeFormat, ReceivedProposal,
    create_commit::BuiltCommit,
    group_info::{Described, describe},
    next_epoch::{MemberSecrets, NextPublic},
};

/// A commit of this member that the delivery service has not accepted yet.
///
/// It holds the messages to send and the epoch that they start. [`Group::confirm`] puts that epoch into effect, when the commit
/// [comes back](Self::is_echo). When another commit has won the epoch, [`Group::reclaim`] tells what is left to do.
///
/// # Crashes
///
/// Whoever sends a commit and then loses it cannot follow the group into the epoch that it starts. So
/// [save](Self::save) the group and the pending commit together, and only then send the commit: after a crash at any
/// point the two are [restored](Group::restore_pending) and the commit is sent again, bit by bit the same, or its echo found in the
/// log. A member that saved nothing rejoins by external commit, with
/// [`resync`](crate::ExternalJoinOptions::resync).
///
/// What is saved holds the secrets of the epoch to come: it is deleted in the transaction that saves the group after
/// [`Group::confirm`] or [`Group::reclaim`].
#[must_use = "the commit takes effect when it is confirmed"]
pub struct PendingCommit {
    pub(crate) group_id: GroupId,
    pub(crate) next: NextPublic,
    pub(crate) secrets: MemberSecrets,
    pub(super) commit: Vec<u8>,
    pub(super) welcome: Option<Vec<u8>>,
    /// The content of a commit that is encrypted; of others it can be read from `commit`.
    pub(super) content: Option<Box<AuthenticatedContent>>,
    pub(super) choice: Choice,
    /// The proposals that the commit refers to.
    pub(super) referenced: Vec<ReceivedProposal>,
    /// The group's extensions before a commit that replaces them.
    replaced: Option<Extensions>,
    /// It comes from storage: its epoch may have been entered already, by a process that has died since.
    pub(super) restored: bool,
}

/// What the commit was built from.
pub(crate) struct Choice {
    pub(crate) entries: Vec<ProposalOrRef>,
    /// This member's client from then on, when the commit changes its identity.
    pub(crate) identity: Option<Client>,
    pub(crate) now: UnixTime,
}

impl PendingCommit {
    pub(crate) fn new(
        group: &mut Group,
        built: BuiltCommit,
        choice: Choice,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, CommitError> {
        let secrets = group.secrets.as_mut().ok_or(CommitError::Inactive)?;
        let (body, content) = match group.handshake {
            HandshakeFormat::Public => {
                let message = protect_public(
                    group.state.suite,
                    built.authenticated,
                    Some(secrets.epoch.membership_key()),
                    &group.state.context_bytes,
                )?;
                (MlsMessageBody::PublicMessage(message), None)
            }
            HandshakeFormat::Private => {
                let message = seal_private(
                    &mut secrets.secret_tree,
                    secrets.epoch.sender_data(),
                    &built.authenticated,
                    group.client.options().padding,
                    rng,
                )?;
                (MlsMessageBody::PrivateMessage(message), Some(Box::new(built.authenticated)))
            }
        };
        let referenced = choice.entries.iter().filter_map(|entry| match entry {
            ProposalOrRef::Reference(reference) => group.proposals.get(reference).cloned(),
            ProposalOrRef::Proposal(_) => None,
        });
        Ok(Self {
            group_id: group.state.context.group_id.clone(),
            commit: MlsMessage(body).to_bytes(),
            welcome: built.welcome,
            content,
            referenced: referenced.collect(),
            replaced: replaced(group, &built.next),
            choice,
            next: built.next,
            secrets: built.secrets,
            restored: false,
        })
    }

    /// Puts together what was saved, on the state that it was built on.
    pub(super) fn restored(group: &Group, parts: RestoredParts) -> Self {
        let RestoredParts { next, secrets, commit, welcome, content, choice, referenced } = parts;
        Self {
            group_id: group.state.context.group_id.clone(),
            replaced: replaced(group, &next),
            next,
            secrets,
            commit,
            welcome,
            content,
            choice,
            referenced,
            restored: true,
        }
    }

    /// The commit, for the members.
    #[must_use]
    pub fn commit(&self) -> &[u8] {
        &self.commit
    }

    /// The Welcome, for those whom the commit adds. It must not reach them before the commit has been accepted.
    #[must_use]
    pub fn welcome(&self) -> Option<&[u8]> {
        self.welcome.as_deref()
    }

    /// The epoch that the commit starts.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.next.context.epoch
    }

    /// What the commit changes.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.next.changes
    }

    /// True when `bytes` is this very commit, as a delivery service sends it back to its sender.
    #[must_use]
    pub fn is_echo(&self, bytes: &[u8]) -> bool {
        self.commit == bytes
    }

    /// A GroupInfo of the epoch that the commit starts, signed by this member.
    ///
    /// # Errors
    /// [`ExportError::Merge`] when `group` is not in the state that the commit was built on.
    pub fn group_info(
        &self,
        group: &Group,
        options: GroupInfoOptions,
    ) -> Result<Vec<u8>, ExportError> {
        if !self.next.follows(&group.state) {
            return Err(MergeError::Superseded.into());
        }
        let described = Described::Next(&group.state, &self.next);
        let client = self.choice.identity.as_ref().unwrap_or(&group.client);
        describe(described, client.identity(), &self.secrets, options, Extensions::new())
    }
}

/// What a pending commit is restored from.
pub(super) struct RestoredParts {
    pub(super) next: NextPublic,
    pub(super) secrets: MemberSecrets,
    pub(super) commit: Vec<u8>,
    pub(super) welcome: Option<Vec<u8>>,
    pub(super) content: Option<Box<AuthenticatedContent>>,
    pub(super) choice: Choice,
    pub(super) referenced: Vec<ReceivedProposal>,
}

fn replaced(group: &Group, next: &NextPublic) -> Option<Extensions> {
    next.changes.extensions_changed.then(|| group.state.context.extensions.clone())
}

/// What a commit that lost the race for its epoch leaves to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// What the commit held by value, to be put into another one with
    /// [`CommitBuilder::proposal`](crate::CommitBuilder::proposal).
    pub own: Vec<Proposal>,
    /// What the commit referred to. Their messages ended with their epoch: they can be proposed or committed again, by this member in
    /// its own name where the application permits that.
    pub received: Vec<ReceivedProposal>,
}

impl Group {
    /// Puts a commit of this member into effect, once the delivery service has accepted it.
    ///
    /// # Errors
    /// [`MergeError::Superseded`] when another commit won the epoch; the group is as before, and what the commit was to
    /// change can be committed again: [`Group::reclaim`] instead of this call tells what.
    pub fn confirm(&mut self, pending: PendingCommit) -> Result<EpochChange, MergeError> {
        self.check_follows(&pending.group_id, pending.secrets.private.own_leaf(), &pending.next)?;
        let fresh = pending.next.changes.path && !pending.restored;
        if let Some(client) = pending.choice.identity {
            self.client = client;
        }
        Ok(self.enter(pending.next, Some(pending.secrets), fresh))
    }

    /// Gives up a commit that lost the race, and tells what of it is still to do in the present epoch.
    ///
    /// Left out is what has been done since, or can be done no more: Adds of clients that are in the group, Removes of members
    /// that are gone or whose leaf has gone to somebody else, Updates and SelfRemoves (their senders have to make others), replaced extensions
    /// where the group's have changed in the meantime (to put the old plan into effect would undo that), ExternalInits and, in a
    /// closed group, everything. A pre-shared key is not told from one that the winner brought in, and stays.
    ///
    /// In the epoch that the commit was built on, the proposals received are still where they were, and only those by value
    /// are given back.
    ///
    /// # Errors
    /// [`MergeError::OtherGroup`], [`MergeError::OtherMember`].
    pub fn reclaim(&self, pending: PendingCommit) -> Result<Reclaimed, MergeError> {
        let own_leaf = pending.secrets.private.own_leaf();
        let received = match self.check_follows(&pending.group_id, own_leaf, &pending.next) {
            Ok(()) => Vec::new(),
            Err(MergeError::Superseded) => pending.referenced.clone(),
            Err(error) => return Err(error),
        };
        let mut reclaimed = Reclaimed::default();
        for entry in &pending.choice.entries {
            if let ProposalOrRef::Proposal(proposal) = entry
                && self.is_open(proposal, &pending)
            {
                reclaimed.own.push(proposal.clone());
            }
        }
        reclaimed.received = received;
        reclaimed.received.retain(|received| self.is_open(&received.proposal, &pending));
        Ok(reclaimed)
    }

    /// Whether a proposal of a commit that was given up is still to be done.
    fn is_open(&self, proposal: &Proposal, pending: &PendingCommit) -> bool {
        let extensions = &self.state.context.extensions;
        if !self.is_active() {
            return false;
        }
        match proposal {
            Proposal::Add(add) => {
                let key = add.key_package.leaf_node.signature_key.as_bytes();
                self.state.tree.find_signature_key(key).is_none()
            }
            Proposal::Remove(remove) => {
                let mut removed = pending.next.changes.removed.iter();
                let before = removed.find(|member| member.leaf == remove.removed);
                let (Some(before), Some(at)) = (before, self.member(remove.removed)) else {
                    return false;
                };
                let validator = &*self.client.options().validator;
                before.signature_key == at.signature_key
                    || validator.validate_successor(&before.credential, &at.credential).is_ok()
            }
            Proposal::GroupContextExtensions(_) => pending.replaced.as_ref() == Some(extensions),
            Proposal::Update(_) | Proposal::SelfRemove | Proposal::ExternalInit(_) => false,
            Proposal::PreSharedKey(_) | Proposal::ReInit(_) | Proposal::Other(..) => true,
        }
    }
}

/// The authenticated content of a commit that travels in the clear.
pub(super) fn public_content(commit: &[u8]) -> Option<AuthenticatedContent> {
    match MlsMessage::from_bytes(commit).ok()?.0 {
        MlsMessageBody::PublicMessage(message) => Some(AuthenticatedContent {
            wire_format: crate::wire::WireFormat::PublicMessage,
            content: message.content,
            auth: message.auth,
        }),
        _ => None,
    }
}

impl std::fmt::Debug for PendingCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingCommit")
            .field("group_id", &self.group_id)
            .field("changes", &self.next.changes)
            .finish_non_exhaustive()
    }
}
