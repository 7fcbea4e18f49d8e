//! A member's view of a group (RFC 9420 sections 11 and 12).

mod changes;
mod commit_builder;
pub(crate) mod create_commit;
pub(crate) mod group_info;
mod merge;
pub(crate) mod next_epoch;
pub(crate) mod past;
mod pending;
mod process;
pub(crate) mod proposal_cache;
mod propose;
pub(crate) mod psk;
pub(crate) mod receive;
pub(crate) mod receive_commit;
mod save;
mod save_pending;
pub(crate) mod saved_parts;
mod snapshot;
pub(crate) mod stage;
pub(crate) mod state;
pub(crate) mod succession;
#[cfg(test)]
mod tests;

pub use changes::{Changes, EpochChange, Member};
pub use commit_builder::CommitBuilder;
pub use group_info::{CheckedGroupInfo, GroupInfoOptions};
pub use pending::{PendingCommit, Reclaimed};
pub use process::{Processed, ReceivedMessage, StagedCommit};
pub use proposal_cache::ReceivedProposal;
pub use propose::ProposalMessage;
pub use psk::{MemoryPskStore, NoPsks, PskStore};
pub use snapshot::SnapshotKey;
pub use succession::{NewGroup, NewGroupBuilder};

pub(crate) use propose::PendingUpdate;

use crate::{
    client::Client,
    crypto::Secret,
    error::ExportError,
    schedule::{EpochAuthenticator, Psk},
    validation::GroupInfoViolation,
    wire::{Extensions, HpkePublicKey, LeafIndex, PskSource, ReInit, Signature},
};

use self::{
    group_info::{Described, ExpectedGroupInfo, describe},
    next_epoch::MemberSecrets,
    past::PastEpochs,
    proposal_cache::ProposalCache,
    state::{PublicState, read_public_state},
};

/// How this member sends handshake messages (RFC 9420 section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HandshakeFormat {
    /// Signed, and readable for a delivery service that validates them.
    Public,
    /// Signed and encrypted.
    #[default]
    Private,
}

/// Which handshake messages this member accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HandshakePolicy {
    /// Both formats.
    #[default]
    Any,
    /// Public messages only, as where a delivery service validates what it orders.
    PublicOnly,
    /// Private messages only; external commits, external proposals and SelfRemoves are then refused.
    PrivateOnly,
}

impl HandshakePolicy {
    pub(crate) fn public(self) -> bool {
        self != Self::PrivateOnly
    }

    fn private(self) -> bool {
        self != Self::PublicOnly
    }
}

/// A member's state of a group.
///
/// Whatever fails leaves the group as it was. Commits, of others and of one's own, are values first: the group moves to
/// the next epoch only with [`Group::merge`] and [`Group::confirm`], which cannot stop half way.
pub struct Group {
    pub(crate) client: Client,
    pub(crate) state: PublicState,
    /// Absent once this member has been removed.
    pub(crate) secrets: Option<MemberSecrets>,
    pub(crate) own_leaf: LeafIndex,
    pub(crate) handshake: HandshakeFormat,
    pub(crate) proposals: ProposalCache,
    pub(crate) updates: Vec<PendingUpdate>,
    pub(crate) past: PastEpochs,
    /// The group that replaces this one, after a commit that covered a ReInit.
    pub(crate) closed: Option<ReInit>,
    pub(crate) restored: bool,
}

read_public_state!(Group);

impl Group {
    pub(crate) fn new(
        client: Client,
        state: PublicState,
        secrets: MemberSecrets,
        own_leaf: LeafIndex,
    ) -> Self {
        let handshake = client.options().handshake;
        Self {
            client,
            state,
            secrets: Some(secrets),
            own_leaf,
            handshake,
            proposals: ProposalCache::default(),
            updates: Vec::new(),
            past: PastEpochs::default(),
            closed: None,
            restored: false,
        }
    }

    /// Starts a commit.
    pub fn commit(&mut self) -> CommitBuilder<'_> {
        CommitBuilder::new(self)
    }

    /// The client whose group this is.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// This member's leaf.
    #[must_use]
    pub fn own_leaf(&self) -> LeafIndex {
        self.own_leaf
    }

    /// False once this member has been removed or the group has been closed by a ReInit.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.secrets.is_some() && self.closed.is_none()
    }

    /// The group that takes the place of this one, once a commit has covered a ReInit.
    #[must_use]
    pub fn reinit(&self) -> Option<&ReInit> {
        self.closed.as_ref()
    }

    /// True after [`Client::restore`](crate::Client::restore), until an epoch begins with keys that this member has made since: by a
    /// commit of its own with a path, or one that covers an Update of its own.
    ///
    /// What was sent after the snapshot is not known. Other commits prove nothing: they, and one's own that were made before, may have
    /// been processed after the snapshot already. Keys whose counters are not part of the snapshot, such as media keys, must not be
    /// used for sending while this is true.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// How this member sends handshake messages.
    #[must_use]
    pub fn handshake_format(&self) -> HandshakeFormat {
        self.handshake
    }

    /// Changes how this member sends handshake messages.
    pub fn set_handshake_format(&mut self, format: HandshakeFormat) {
        self.handshake = format;
    }

    /// `MLS-Exporter`: a secret of `length` bytes that all members of this epoch can derive (RFC 9420 section 8.5).
    ///
    /// # Errors
    /// [`ExportError::Inactive`] after removal, [`ExportError::SecretTooLong`] beyond 255 `Nh` bytes.
    pub fn export(
        &self,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Result<Secret, ExportError> {
        let secrets = self.secrets.as_ref().ok_or(ExportError::Inactive)?;
        Ok(secrets.epoch.export(label, context, length)?)
    }

    /// Signs `content` for the application with the signature key of one's own leaf
    /// ([`Suite::sign_for_application`](crate::crypto::Suite::sign_for_application)). The content should name the group and the epoch: the signature does not.
    ///
    /// # Errors
    /// [`ExportError::Inactive`] after removal, [`ExportError::Local`].
    pub fn sign_for_application(
        &self,
        label: &str,
        content: &[u8],
    ) -> Result<Signature, ExportError> {
        if !self.is_active() {
            return Err(ExportError::Inactive);
        }
        let signer = self.client.identity().signer();
        Ok(self.suite().sign_for_application(signer, label, content)?)
    }

    /// A value that is equal for two members exactly when they agree on the epoch (RFC 9420 section 8.7).
    ///
    /// # Errors
    /// [`ExportError::Inactive`] after removal.
    pub fn epoch_authenticator(&self) -> Result<&EpochAuthenticator, ExportError> {
        Ok(self.secrets.as_ref().ok_or(ExportError::Inactive)?.epoch.epoch_authenticator())
    }

    /// The public key by which others join the present epoch by external commit (RFC 9420 section 8), the same for all
    /// members. A delivery service that is told of it by several can tell a false GroupInfo.
    ///
    /// # Errors
    /// [`ExportError::Inactive`] after removal, [`ExportError::Local`].
    pub fn external_pub(&self) -> Result<HpkePublicKey, ExportError> {
        let secrets = self.secrets.as_ref().ok_or(ExportError::Inactive)?;
        Ok(secrets.epoch.external()?.public_key())
    }

    /// The resumption key of the present epoch (RFC 9420 section 8.6).
    ///
    /// # Errors
    /// [`ExportError::Inactive`] after removal.
    pub fn resumption_psk(&self) -> Result<Psk, ExportError> {
        Ok(self.secrets.as_ref().ok_or(ExportError::Inactive)?.epoch.resumption_psk().to_psk())
    }

    /// The resumption key of an epoch that has passed, if it is [kept](crate::ClientOptions::resumption_epochs). Whoever joined
    /// later needs it for a commit that names it.
    #[must_use]
    pub fn past_resumption_psk(&self, epoch: u64) -> Option<Psk> {
        self.past.resumption(epoch)
    }

    /// A GroupInfo of the present epoch, signed by this member, as a message.
    ///
    /// # Errors
    /// [`ExportError::Inactive`] after removal.
    pub fn group_info(&self, options: GroupInfoOptions) -> Result<Vec<u8>, ExportError> {
        self.group_info_with(options, Extensions::new())
    }

    /// The same with extensions of the application, for those who join (RFC 9420 section 13.4).
    ///
    /// # Errors
    /// [`ExportError::Inactive`] after removal.
    pub fn group_info_with(
        &self,
        options: GroupInfoOptions,
        extensions: Extensions,
    ) -> Result<Vec<u8>, ExportError> {
        let secrets = self.secrets.as_ref().ok_or(ExportError::Inactive)?;
        let (described, identity) = (Described::Present(&self.state), self.client.identity());
        describe(described, identity, secrets, options, extensions)
    }

    /// Checks that a GroupInfo describes the present epoch, signed by a member, and that its external public key, if it has
    /// one, is the epoch's. That is what a delivery service cannot see.
    ///
    /// # Errors
    /// [`GroupInfoViolation`]; [`GroupInfoViolation::OtherState`] after removal.
    pub fn check_group_info(&self, message: &[u8]) -> Result<CheckedGroupInfo, GroupInfoViolation> {
        let secrets = self.secrets.as_ref().ok_or(GroupInfoViolation::OtherState)?;
        let external = secrets.epoch.external().map_err(|_| GroupInfoViolation::ExternalPub)?;
        let expected = ExpectedGroupInfo {
            suite: self.state.suite,
            context: &self.state.context,
            confirmation_tag: &self.state.confirmation_tag,
            external_pub: Some(external.public_key()),
            tree: &self.state.tree,
        };
        expected.check(message)
    }

    /// The proposals received or sent in this epoch, in order of arrival.
    pub fn proposals(&self) -> impl Iterator<Item = &ReceivedProposal> {
        self.proposals.iter()
    }

    /// Forgets the proposals of this epoch. A commit that refers to one of them cannot be processed any more.
    pub fn clear_proposals(&mut self) {
        self.proposals.clear();
        self.updates.clear();
    }

    /// Looks a PSK up: resumption keys of this group among the epochs that are kept, all others in the application's store.
    pub(crate) fn find_psk(&self, source: &PskSource) -> Option<Psk> {
        if let PskSource::Resumption { psk_group_id, psk_epoch, .. } = source
            && *psk_group_id == self.state.context.group_id
        {
            let own = if *psk_epoch == self.state.context.epoch {
                self.secrets.as_ref().map(|secrets| secrets.epoch.resumption_psk().to_psk())
            } else {
                self.past.resumption(*psk_epoch)
            };
            if own.is_some() {
                return own;
            }
        }
        psk::from_store(&*self.client.options().psks, source)
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("id", self.id())
            .field("epoch", &self.epoch())
            .field("own_leaf", &self.own_leaf)
            .field("members", &self.member_count())
            .field("active", &self.is_active())
            .finish_non_exhaustive()
    }
}
