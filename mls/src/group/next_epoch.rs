//! The epoch that a commit starts, complete and not yet in effect.

use crate::{
    codec::Encode,
    crypto::Suite,
    error::LocalError,
    schedule::{
        CommitSecret, EpochSecrets, InitSecret, InterimTranscriptHash, JoinerSecret, PskSecret,
        RatchetLimits, SecretTree, WelcomeKeys,
    },
    tree::{StagedTree, TreePrivateKeys},
    wire::{ConfirmationTag, GroupContext, LeafIndex},
};

use super::{changes::Changes, state::PublicState};

/// What everybody can compute of the next epoch.
pub(crate) struct NextPublic {
    /// The transcript that the commit stands on. Branches of a fork may have the same tree in the same epoch.
    base: InterimTranscriptHash,
    pub(crate) tree: StagedTree,
    pub(crate) context: GroupContext,
    pub(crate) context_bytes: Vec<u8>,
    pub(crate) interim: InterimTranscriptHash,
    pub(crate) confirmation_tag: ConfirmationTag,
    pub(crate) changes: Changes,
}

impl NextPublic {
    /// What follows `state`.
    pub(crate) fn new(
        state: &PublicState,
        tree: StagedTree,
        context: GroupContext,
        confirmation_tag: ConfirmationTag,
        changes: Changes,
    ) -> Self {
        let interim = InterimTranscriptHash::compute(
            state.suite,
            &context.confirmed_transcript_hash,
            &confirmation_tag,
        );
        let context_bytes = context.to_bytes();
        let base = InterimTranscriptHash::from_slice(state.interim.as_bytes());
        Self { base, tree, context, context_bytes, interim, confirmation_tag, changes }
    }

    /// True when it was made on exactly this state.
    pub(crate) fn follows(&self, state: &PublicState) -> bool {
        Some(self.context.epoch) == state.context.epoch.checked_add(1)
            && self.base.as_bytes() == state.interim.as_bytes()
            && self.tree.belongs_to(&state.tree)
    }

    /// Puts the epoch into effect. The caller has checked that it [follows](Self::follows) the state.
    pub(crate) fn apply(self, state: &mut PublicState) -> Changes {
        state.tree.apply(self.tree);
        state.context = self.context;
        state.context_bytes = self.context_bytes;
        state.interim = self.interim;
        state.confirmation_tag = self.confirmation_tag;
        self.changes
    }
}

/// What only a member can compute of an epoch.
pub(crate) struct MemberSecrets {
    pub(crate) private: TreePrivateKeys,
    pub(crate) epoch: EpochSecrets,
    pub(crate) secret_tree: SecretTree,
}

/// What the key schedule of the next epoch starts from.
pub(crate) struct ScheduleInput<'a> {
    pub(crate) suite: &'static Suite,
    pub(crate) init: &'a InitSecret,
    pub(crate) commit_secret: CommitSecret,
    pub(crate) psk_secret: &'a PskSecret,
    pub(crate) context: &'a [u8],
    pub(crate) tree_width: u32,
    pub(crate) own_leaf: LeafIndex,
    pub(crate) limits: RatchetLimits,
}

/// The key schedule of the next epoch, carried out.
pub(crate) struct Advanced {
    pub(crate) epoch: EpochSecrets,
    pub(crate) secret_tree: SecretTree,
    /// For those whom the commit adds.
    pub(crate) joiner: JoinerSecret,
    pub(crate) welcome: WelcomeKeys,
}

impl ScheduleInput<'_> {
    /// From init secret and commit secret to the secrets of the epoch (RFC 9420 section 8).
    pub(crate) fn advance(self) -> Result<Advanced, LocalError> {
        let joiner = self.init.joiner(self.suite, &self.commit_secret, self.context)?;
        let for_joiners = JoinerSecret::from_slice(joiner.as_bytes());
        let derived = derive_epoch(
            self.suite,
            joiner,
            self.psk_secret,
            self.context,
            self.tree_width,
            self.own_leaf,
            self.limits,
        )?;
        Ok(Advanced {
            epoch: derived.epoch,
            secret_tree: derived.secret_tree,
            joiner: for_joiners,
            welcome: derived.welcome,
        })
    }
}

/// What follows from a joiner secret.
pub(crate) struct DerivedEpoch {
    pub(crate) epoch: EpochSecrets,
    pub(crate) secret_tree: SecretTree,
    pub(crate) welcome: WelcomeKeys,
}

/// From the joiner secret to the secrets of the epoch (RFC 9420 section 8).
pub(crate) fn derive_epoch(
    suite: &'static Suite,
    joiner: JoinerSecret,
    psk_secret: &PskSecret,
    context: &[u8],
    tree_width: u32,
    own_leaf: LeafIndex,
    limits: RatchetLimits,
) -> Result<DerivedEpoch, LocalError> {
    let member = joiner.member(suite, psk_secret);
    let welcome = member.welcome(suite)?.keys(suite)?;
    let derived = member.epoch(suite, context)?.derive(suite)?;
    let secret_tree = SecretTree::new(suite, derived.encryption, tree_width, own_leaf, limits)?;
    Ok(DerivedEpoch { epoch: derived.secrets, secret_tree, welcome })
}
