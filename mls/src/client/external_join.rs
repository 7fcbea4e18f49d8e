//! Joining a group by external commit (RFC 9420 section 12.4.3.2).

use crate::{
    codec::{Decode, Encode},
    crypto::CryptoRng,
    error::{CommitError, ExportError, JoinError, ProcessError},
    framing::{ReceivedPublicMessage, protect_public},
    group::{
        Changes, Group, GroupInfoOptions,
        create_commit::{CommitInput, LeafContent, create_commit, fresh_psk_id},
        proposal_cache::{ProposalCache, ReceivedProposal},
        psk::from_store,
        stage::Proposed,
        state::PublicState,
    },
    schedule::ExternalInitOutput,
    tree::TreeView,
    validation::GroupInfoViolation,
    wire::{
        Content, ExtensionType, Extensions, ExternalInit, ExternalPub, MlsMessage, MlsMessageBody,
        PreSharedKey, Proposal, ProposalOrRef, PskSource, Remove, Sender, UnixTime, WireFormat,
    },
};

use super::Client;

/// How to join by external commit.
#[derive(Clone, Debug, Default)]
pub struct ExternalJoinOptions {
    /// Takes the place of this client's former leaf, which is found by its signature key: a resync.
    pub resync: bool,
    /// Pre-shared keys to mix in. Every member needs them.
    pub psks: Vec<PskSource>,
    /// SelfRemove proposals of the epoch that nobody has committed yet, as messages: the delivery service hands them out with
    /// the GroupInfo, and the commit has to cover them (draft-ietf-mls-extensions-09). Their membership tags
    /// cannot be checked from outside the group.
    pub self_removes: Vec<Vec<u8>>,
    /// Data of the application to authenticate with the commit.
    pub authenticated_data: Vec<u8>,
}

/// An external commit that the delivery service has not accepted yet.
///
/// To survive a crash between sending it and seeing it accepted, [save](Self::save) it before. Who has not joins anew,
/// by a [`resync`](ExternalJoinOptions::resync) if the commit had been accepted.
#[must_use = "the group is joined by `confirm`"]
pub struct PendingExternalJoin {
    pub(super) commit: Vec<u8>,
    pub(super) changes: Changes,
    pub(super) group: Group,
}

impl PendingExternalJoin {
    /// The commit, for the members.
    #[must_use]
    pub fn commit(&self) -> &[u8] {
        &self.commit
    }

    /// What the commit changes.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The epoch that the commit starts.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.group.epoch()
    }

    /// True when `bytes` is this very commit, as a delivery service sends it back to its sender.
    #[must_use]
    pub fn is_echo(&self, bytes: &[u8]) -> bool {
        self.commit == bytes
    }

    /// A GroupInfo of the epoch that the commit starts, signed by this client.
    ///
    /// # Errors
    /// Those of [`Group::group_info`].
    pub fn group_info(&self, options: GroupInfoOptions) -> Result<Vec<u8>, ExportError> {
        self.group.group_info(options)
    }

    /// Becomes a member, once the delivery service has accepted the commit.
    #[must_use]
    pub fn confirm(self) -> Group {
        self.group
    }
}

impl std::fmt::Debug for PendingExternalJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingExternalJoin")
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Joins a group without being invited, from a GroupInfo with an `external_pub` extension. `tree` is the ratchet tree
    /// for a GroupInfo that does not carry it.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn join_external(
        &self,
        group_info: &[u8],
        tree: Option<&[u8]>,
        options: ExternalJoinOptions,
        rng: &mut dyn CryptoRng,
        now: UnixTime,
    ) -> Result<PendingExternalJoin, JoinError> {
        let MlsMessage(MlsMessageBody::GroupInfo(info)) = MlsMessage::from_bytes(group_info)?
        else {
            return Err(JoinError::WrongKind);
        };
        let suite = self.suite();
        if info.group_context.cipher_suite != suite.id {
            return Err(JoinError::CipherSuite);
        }
        self.check_supported(&info)?;
        let mut state = PublicState::from_group_info(suite, &info, tree, self.policy(), now)?;
        let external: ExternalPub = info
            .extensions
            .parse(ExtensionType::EXTERNAL_PUB)
            .map_err(|_| GroupInfoViolation::ExtensionMalformed)?
            .ok_or(GroupInfoViolation::ExternalPubMissing)?;
        if suite.kem.public_key(external.external_pub.as_bytes()).is_err() {
            return Err(GroupInfoViolation::ExternalPub.into());
        }
        let init = ExternalInitOutput::create(suite, &external.external_pub, rng)?;

        let mut proposals =
            vec![Proposal::ExternalInit(ExternalInit { kem_output: init.kem_output })];
        if options.resync {
            let own = self.identity().public();
            let removed = state.tree.find_signature_key(own.as_bytes());
            let removed = removed.ok_or(JoinError::OwnLeafMissing)?;
            proposals.push(Proposal::Remove(Remove { removed }));
        }
        for source in options.psks {
            let psk = fresh_psk_id(suite, source, rng);
            proposals.push(Proposal::PreSharedKey(PreSharedKey { psk }));
        }
        let mut entries: Vec<_> = proposals.into_iter().map(ProposalOrRef::Proposal).collect();
        let mut cache = ProposalCache::default();
        for message in &options.self_removes {
            let received = self
                .read_self_remove(&state, message, now)
                .map_err(|error| JoinError::SelfRemove(Box::new(error)))?;
            entries.push(ProposalOrRef::Reference(received.reference.clone()));
            cache.insert(received);
        }
        let committer = Sender::NewMemberCommit;
        let list = cache.resolve(&entries, committer)?;
        let store = &*self.options().psks;
        let built = create_commit(
            CommitInput {
                state: &state,
                client: self,
                entries: &entries,
                link: None,
                proposed: Proposed { list, committer, own: None, now },
                path: true,
                leaf: LeafContent {
                    identity: self.identity(),
                    capabilities: self.capabilities(),
                    extensions: self.options().leaf_extensions.clone(),
                },
                private: None,
                init: &init.init_secret,
                find_psk: &|source| from_store(store, source),
                wire_format: WireFormat::PublicMessage,
                authenticated_data: options.authenticated_data,
                welcome_tree: false,
                welcome_extensions: Extensions::new(),
            },
            rng,
        )?;
        let message = protect_public(suite, built.authenticated, None, &state.context_bytes)?;
        let own_leaf = built.secrets.private.own_leaf();
        let changes = built.next.apply(&mut state);
        Ok(PendingExternalJoin {
            commit: MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes(),
            changes,
            group: Group::new(self.clone(), state, built.secrets, own_leaf),
        })
    }
}

impl Client {
    /// A SelfRemove proposal for the group that is being joined. Its membership tag stays unchecked.
    fn read_self_remove(
        &self,
        state: &PublicState,
        message: &[u8],
        now: UnixTime,
    ) -> Result<ReceivedProposal, ProcessError> {
        let MlsMessage(MlsMessageBody::PublicMessage(message)) = MlsMessage::from_bytes(message)?
        else {
            return Err(ProcessError::WrongKind);
        };
        state.check_addressed(&message.content.group_id, message.content.epoch)?;
        let received = ReceivedPublicMessage::new(state.suite, message, &state.context_bytes)?;
        let unverified = received.without_membership_check();
        let key = state.signature_key_of(unverified.content())?;
        let verified = unverified.verify_signature(&*key)?;
        match &verified.content().content {
            Content::Proposal(proposal @ Proposal::SelfRemove) => {
                state.check_proposal(&verified, proposal, self.policy(), now)
            }
            _ => Err(ProcessError::WrongKind),
        }
    }
}

impl From<CommitError> for JoinError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Invalid(violation) => Self::ExternalCommit(violation),
            CommitError::PskUnknown(source) => Self::PskUnknown(source),
            CommitError::Local(error) => Self::Local(error),
            CommitError::Succession(violation) => Self::Succession(violation),
            CommitError::Inactive
            | CommitError::Create(_)
            | CommitError::UnknownProposal
            | CommitError::TooManyProposals
            | CommitError::OtherIdentity => Self::OwnLeafMissing,
        }
    }
}
