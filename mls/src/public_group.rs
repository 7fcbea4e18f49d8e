//! Following a group from its public messages alone, as a delivery service does.

use std::sync::Arc;

use crate::{
    codec::Decode,
    crypto::Suite,
    error::{JoinError, MergeError, ProcessError},
    framing::{FramingError, ReceivedPublicMessage},
    group::{
        Changes, CheckedGroupInfo, EpochChange, ReceivedProposal,
        group_info::ExpectedGroupInfo,
        next_epoch::NextPublic,
        proposal_cache::ProposalCache,
        receive_commit::check_commit,
        state::{Policy, PublicState, read_public_state},
    },
    validation::{
        CredentialValidator, CustomProposalType, CustomTypes, GroupInfoViolation, GroupRules,
        KeyPackageViolation, NoFurtherRules, SuccessionViolation, check_key_package,
        check_reinit_parameters, check_same_members,
    },
    wire::{
        Content, GroupContext, GroupId, KeyPackage, KeyPackageRef, MlsMessage, MlsMessageBody,
        ProposalRef, ReInit, UnixTime,
    },
};

/// How a delivery service validates. It has to decide like the members, or it orders commits that they refuse.
#[derive(Clone)]
pub struct PublicGroupOptions {
    /// Decides which credentials are accepted.
    pub validator: Arc<dyn CredentialValidator>,
    /// Rules of the application on commits.
    pub rules: Arc<dyn GroupRules>,
    /// Proposal types that the application defines.
    pub proposal_types: Vec<CustomProposalType>,
    /// The longest lifetime of a key package that is accepted, in seconds.
    pub max_lifetime: Option<u64>,
    /// How many proposals of one epoch are kept.
    pub max_proposals: usize,
}

impl PublicGroupOptions {
    /// The defaults of [`ClientOptions`](crate::ClientOptions), without rules of the application.
    pub fn new(validator: impl CredentialValidator + 'static) -> Self {
        Self {
            validator: Arc::new(validator),
            rules: Arc::new(NoFurtherRules),
            proposal_types: Vec::new(),
            max_lifetime: Some(400 * 86_400),
            max_proposals: 4096,
        }
    }
}

/// The public state of a group: roster, context, tree.
///
/// It validates what members send in public messages by the same rules as a member does. Without the group's secrets
/// three things stay unchecked, and a member checks them: the membership tag of a message (the signature shows
/// which leaf's key signed it), the confirmation tag of a commit, and whether the path secrets in a commit open.
pub struct PublicGroup {
    state: PublicState,
    policy: Policy,
    proposals: ProposalCache,
    max_proposals: usize,
    /// A ReInit was committed: nothing follows here.
    closed: Option<ReInit>,
}

/// What a message turned out to be.
#[derive(Debug)]
#[must_use]
pub enum PublicProcessed {
    /// A proposal; [`PublicGroup::store_proposal`] keeps it for the commits that refer to it.
    Proposal(ReceivedProposal),
    /// A commit; [`PublicGroup::merge`] puts it into effect.
    Commit(Box<StagedPublicCommit>),
}

/// A commit that is valid by all public rules.
#[must_use = "the commit takes effect when it is merged"]
pub struct StagedPublicCommit {
    group_id: GroupId,
    next: NextPublic,
    authenticated_data: Vec<u8>,
}

impl StagedPublicCommit {
    /// What the commit changes.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.next.changes
    }

    /// The epoch that the commit starts.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.next.context.epoch
    }

    /// The state of the group in that epoch.
    #[must_use]
    pub fn context(&self) -> &GroupContext {
        &self.next.context
    }

    /// Data of the application that was authenticated with the commit.
    #[must_use]
    pub fn authenticated_data(&self) -> &[u8] {
        &self.authenticated_data
    }

    /// Checks that a GroupInfo describes the epoch that this commit starts. `group` is the one that staged the commit.
    ///
    /// # Errors
    /// [`GroupInfoViolation`].
    pub fn check_group_info(
        &self,
        group: &PublicGroup,
        message: &[u8],
    ) -> Result<CheckedGroupInfo, GroupInfoViolation> {
        let view = self.next.tree.view(&group.state.tree);
        let expected = ExpectedGroupInfo {
            suite: group.state.suite,
            context: &self.next.context,
            confirmation_tag: &self.next.confirmation_tag,
            external_pub: None,
            tree: &view,
        };
        expected.check(message)
    }

    /// Checks that a Welcome is for exactly those whom the commit adds by key package. Whether it opens is for them
    /// to find out.
    ///
    /// # Errors
    /// [`WelcomeMismatch`].
    pub fn check_welcome(&self, message: &[u8]) -> Result<(), WelcomeMismatch> {
        let Ok(MlsMessage(MlsMessageBody::Welcome(welcome))) = MlsMessage::from_bytes(message)
        else {
            return Err(WelcomeMismatch::NotAWelcome);
        };
        if welcome.cipher_suite != self.next.context.cipher_suite {
            return Err(WelcomeMismatch::CipherSuite);
        }
        let mut named: Vec<&KeyPackageRef> =
            welcome.secrets.iter().map(|entry| &entry.new_member).collect();
        let mut added: Vec<&KeyPackageRef> = self.next.changes.welcomed.iter().collect();
        named.sort_unstable();
        added.sort_unstable();
        if named == added { Ok(()) } else { Err(WelcomeMismatch::Joiners) }
    }
}

impl std::fmt::Debug for StagedPublicCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedPublicCommit")
            .field("group_id", &self.group_id)
            .field("changes", &self.next.changes)
            .finish_non_exhaustive()
    }
}

/// A Welcome does not fit the commit that it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WelcomeMismatch {
    /// The bytes are not a Welcome.
    #[error("not a welcome")]
    NotAWelcome,
    /// The suite is not that of the group.
    #[error("the cipher suite of the welcome is not that of the group")]
    CipherSuite,
    /// It leaves out somebody whom the commit adds, or names somebody else.
    #[error("the welcome is not for exactly those whom the commit adds")]
    Joiners,
}

read_public_state!(PublicGroup);

impl PublicGroup {
    /// Starts from a GroupInfo, in whichever epoch it is. `tree` is the ratchet tree for one that does not carry it.
    ///
    /// Verifies the signature, the tree hash and the tree with all its leaves. Lifetimes are not compared with the
    /// clock, so that a service can start again from what it stored.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn new(
        suite: &'static Suite,
        group_info: &[u8],
        tree: Option<&[u8]>,
        options: PublicGroupOptions,
        now: UnixTime,
    ) -> Result<Self, JoinError> {
        let MlsMessage(MlsMessageBody::GroupInfo(info)) = MlsMessage::from_bytes(group_info)?
        else {
            return Err(JoinError::WrongKind);
        };
        if info.group_context.cipher_suite != suite.id {
            return Err(JoinError::CipherSuite);
        }
        let policy = Policy {
            validator: options.validator,
            rules: options.rules,
            max_lifetime: options.max_lifetime,
            custom: CustomTypes(options.proposal_types),
        };
        let state = PublicState::from_group_info(suite, &info, tree, &policy, now)?;
        let proposals = ProposalCache::default();
        Ok(Self { state, policy, proposals, max_proposals: options.max_proposals, closed: None })
    }

    /// Starts to follow the group that takes the place of this one after a ReInit (RFC 9420 section 11.2), from a GroupInfo of
    /// its epoch 1. `suite` is that of the successor; the other arguments are those of [`PublicGroup::new`].
    ///
    /// Parameters and membership are compared with what the ReInit asked for. Whether the successor's secrets come from this
    /// group can only be seen by those who join it.
    ///
    /// # Errors
    /// [`JoinError::Succession`] names the rule that the group breaks.
    pub fn successor(
        &self,
        suite: &'static Suite,
        group_info: &[u8],
        tree: Option<&[u8]>,
        options: PublicGroupOptions,
        now: UnixTime,
    ) -> Result<Self, JoinError> {
        let reinit = self.closed.as_ref().ok_or(SuccessionViolation::NotReinitialized)?;
        let new = Self::new(suite, group_info, tree, options, now)?;
        check_reinit_parameters(reinit, new.context())?;
        check_same_members(self.roster(), new.roster(), &*new.policy.validator)?;
        Ok(new)
    }

    /// Judges a message. Nothing is kept: the caller stores a proposal or merges a commit when it has decided to order it.
    ///
    /// # Errors
    /// [`ProcessError`]; a private handshake message gives [`ProcessError::HandshakeFormat`].
    pub fn process(&self, bytes: &[u8], now: UnixTime) -> Result<PublicProcessed, ProcessError> {
        let MlsMessage(body) = MlsMessage::from_bytes(bytes)?;
        let message = match body {
            MlsMessageBody::PublicMessage(message) => message,
            MlsMessageBody::PrivateMessage(_) => return Err(ProcessError::HandshakeFormat),
            _ => return Err(ProcessError::WrongKind),
        };
        self.state.check_addressed(&message.content.group_id, message.content.epoch)?;
        let (suite, context) = (self.state.suite, &self.state.context_bytes);
        let received = ReceivedPublicMessage::new(suite, message, context)?;
        let unverified = received.without_membership_check();
        let key = self.state.signature_key_of(unverified.content())?;
        let verified = unverified.verify_signature(&*key)?;
        if self.closed.is_some() {
            return Err(ProcessError::Inactive);
        }
        if let Content::Proposal(proposal) = &verified.content().content {
            let received = self.state.check_proposal(&verified, proposal, &self.policy, now)?;
            return Ok(PublicProcessed::Proposal(received));
        }
        let authenticated = verified.into_authenticated();
        let Content::Commit(commit) = &authenticated.content.content else {
            return Err(FramingError::ApplicationNotEncrypted.into());
        };
        let (state, cache, policy) = (&self.state, &self.proposals, &self.policy);
        let checked = check_commit(state, cache, &authenticated, commit, None, policy, now)?;
        let tag = authenticated.auth.confirmation_tag.clone();
        let tag = tag.ok_or(FramingError::ConfirmationTagMissing)?;
        let applied = checked.applied;
        let tree = applied.overlay.finish();
        let next = NextPublic::new(state, tree, applied.context, tag, checked.changes);
        let group_id = state.context.group_id.clone();
        let authenticated_data = authenticated.content.authenticated_data;
        let staged = StagedPublicCommit { group_id, next, authenticated_data };
        Ok(PublicProcessed::Commit(Box::new(staged)))
    }

    /// Keeps a proposal of this epoch, so that commits can refer to it.
    ///
    /// # Errors
    /// [`ProcessError::TooManyProposals`].
    pub fn store_proposal(&mut self, proposal: ReceivedProposal) -> Result<(), ProcessError> {
        if self.proposals.len() >= self.max_proposals
            && self.proposals.get(&proposal.reference).is_none()
        {
            return Err(ProcessError::TooManyProposals);
        }
        self.proposals.insert(proposal);
        Ok(())
    }

    /// Forgets a proposal that was stored.
    pub fn forget_proposal(&mut self, reference: &ProposalRef) {
        self.proposals.remove(reference);
    }

    /// Forgets all proposals.
    pub fn clear_proposals(&mut self) {
        self.proposals.clear();
    }

    /// The proposals that are kept, in the order in which they were stored.
    pub fn proposals(&self) -> impl Iterator<Item = &ReceivedProposal> {
        self.proposals.iter()
    }

    /// Puts a commit into effect.
    ///
    /// # Errors
    /// [`MergeError`] when the group has moved on since the commit was staged; the group is as before.
    pub fn merge(&mut self, staged: StagedPublicCommit) -> Result<EpochChange, MergeError> {
        if staged.group_id != self.state.context.group_id {
            return Err(MergeError::OtherGroup);
        }
        if !staged.next.follows(&self.state) {
            return Err(MergeError::Superseded);
        }
        let changes = staged.next.apply(&mut self.state);
        self.closed.clone_from(&changes.reinit);
        self.proposals.clear();
        Ok(EpochChange { epoch: self.state.context.epoch, changes })
    }

    /// The group that takes the place of this one, once a commit has covered a ReInit: nothing follows here.
    #[must_use]
    pub fn reinit(&self) -> Option<&ReInit> {
        self.closed.as_ref()
    }

    /// Checks that a GroupInfo describes the present epoch: same GroupContext, same confirmation tag, same tree if there is
    /// one inside, signed by a member.
    ///
    /// # Errors
    /// [`GroupInfoViolation`].
    pub fn check_group_info(&self, message: &[u8]) -> Result<CheckedGroupInfo, GroupInfoViolation> {
        let expected = ExpectedGroupInfo {
            suite: self.state.suite,
            context: &self.state.context,
            confirmation_tag: &self.state.confirmation_tag,
            external_pub: None,
            tree: &self.state.tree,
        };
        expected.check(message)
    }

    /// Checks that a key package could be added: valid by itself (RFC 9420 section 10.1), within its lifetime, and with
    /// support for what the group demands.
    ///
    /// # Errors
    /// [`KeyPackageViolation`].
    pub fn check_key_package(
        &self,
        key_package: &KeyPackage,
        now: UnixTime,
    ) -> Result<(), KeyPackageViolation> {
        let check = self.policy.leaf_check(self.state.suite, now);
        check_key_package(key_package, &check)?;
        check.check_current(&key_package.leaf_node)?;
        Ok(self.state.check_leaf_requirements(&key_package.leaf_node)?)
    }
}

impl std::fmt::Debug for PublicGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicGroup")
            .field("id", self.id())
            .field("epoch", &self.epoch())
            .field("members", &self.member_count())
            .finish_non_exhaustive()
    }
}
