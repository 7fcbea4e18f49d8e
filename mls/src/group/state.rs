//! The public state of a group in one epoch: what a member and a delivery service have in common.

use std::sync::Arc;

use crate::{
    codec::Encode,
    crypto::Suite,
    schedule::InterimTranscriptHash,
    tree::{Feature, RatchetTree, TreeView},
    validation::{
        CredentialValidator, CustomTypes, GroupInfoViolation, GroupRules, LeafCheck,
        LeafNodeViolation, SignedPlace, check_group_info_signature, check_requirements,
        required_capabilities,
    },
    wire::{
        ConfirmationTag, Credential, ExtensionType, ExternalSenders, GroupContext, GroupInfo,
        LeafNode, ProtocolVersion, SignaturePublicKey, UnixTime,
    },
};

use super::stage::judge_external_senders;

/// What the application decides about validity. The same for all who validate one group.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) validator: Arc<dyn CredentialValidator>,
    pub(crate) rules: Arc<dyn GroupRules>,
    pub(crate) max_lifetime: Option<u64>,
    pub(crate) custom: CustomTypes,
}

impl Policy {
    pub(crate) fn leaf_check(&self, suite: &'static Suite, now: UnixTime) -> LeafCheck<'_> {
        LeafCheck { suite, validator: &*self.validator, max_lifetime: self.max_lifetime, now }
    }
}

/// One epoch of a group as everybody sees it who follows its handshake.
pub(crate) struct PublicState {
    pub(crate) suite: &'static Suite,
    pub(crate) context: GroupContext,
    /// Encoding of `context`: it enters every signature and every secret.
    pub(crate) context_bytes: Vec<u8>,
    pub(crate) tree: RatchetTree,
    pub(crate) interim: InterimTranscriptHash,
    pub(crate) confirmation_tag: ConfirmationTag,
}

/// What everybody can tell of a group who holds its [`PublicState`]: members and delivery services alike.
macro_rules! read_public_state {
    ($holder:ty) => {
        impl $holder {
            /// The identifier of the group.
            #[must_use]
            pub fn id(&self) -> &$crate::wire::GroupId {
                &self.state.context.group_id
            }

            /// The number of the present epoch.
            #[must_use]
            pub fn epoch(&self) -> u64 {
                self.state.context.epoch
            }

            /// The state that all members share.
            #[must_use]
            pub fn context(&self) -> &$crate::wire::GroupContext {
                &self.state.context
            }

            /// The suite of the group.
            #[must_use]
            pub fn suite(&self) -> &'static $crate::crypto::Suite {
                self.state.suite
            }

            /// The members, by ascending leaf.
            pub fn roster(&self) -> impl Iterator<Item = $crate::Member> + '_ {
                self.tree().leaves().map($crate::Member::from)
            }

            /// The member at a leaf.
            #[must_use]
            pub fn member(&self, leaf: $crate::LeafIndex) -> Option<$crate::Member> {
                self.tree().leaf(leaf).map($crate::Member::from)
            }

            /// The number of members.
            #[must_use]
            pub fn member_count(&self) -> u32 {
                self.tree().member_count()
            }

            /// The tree, to be read.
            #[must_use]
            pub fn tree(&self) -> &dyn $crate::tree::TreeView {
                &self.state.tree
            }

            /// The ratchet tree, as the content of a `ratchet_tree` extension (RFC 9420 section 12.4.3.3).
            #[must_use]
            pub fn ratchet_tree(&self) -> Vec<u8> {
                self.tree().encode_tree()
            }
        }
    };
}
pub(crate) use read_public_state;

impl PublicState {
    pub(crate) fn new(
        suite: &'static Suite,
        context: GroupContext,
        tree: RatchetTree,
        confirmation_tag: ConfirmationTag,
    ) -> Self {
        let interim = InterimTranscriptHash::compute(
            suite,
            &context.confirmed_transcript_hash,
            &confirmation_tag,
        );
        let context_bytes = context.to_bytes();
        Self { suite, context, context_bytes, tree, interim, confirmation_tag }
    }

    /// Takes over a group's state from a GroupInfo and its tree (RFC 9420 section 12.4.3.1). The tree may come inside
    /// or beside it; inside wins. Everything is verified but the confirmation tag, which takes secrets.
    pub(crate) fn from_group_info(
        suite: &'static Suite,
        info: &GroupInfo,
        tree: Option<&[u8]>,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<Self, GroupInfoViolation> {
        let context = &info.group_context;
        if context.version != ProtocolVersion::MLS10 || context.cipher_suite != suite.id {
            return Err(GroupInfoViolation::Parameters);
        }
        let tree = info
            .extensions
            .find(ExtensionType::RATCHET_TREE)
            .or(tree)
            .ok_or(GroupInfoViolation::TreeMissing)?;
        let tree = RatchetTree::from_bytes(suite, tree).map_err(GroupInfoViolation::Tree)?;
        if tree.tree_hash() != context.tree_hash {
            return Err(GroupInfoViolation::TreeHash);
        }
        let signer =
            tree.leaf(info.signer).map(|leaf| SignaturePublicKey::from(leaf.signature_key()));
        check_group_info_signature(suite, info, signer.as_ref())?;
        tree.validate(&context.group_id).map_err(GroupInfoViolation::Tree)?;
        check_leaves(&tree, context, policy, now)?;
        match judge_external_senders(&context.extensions, &policy.leaf_check(suite, now)) {
            Ok(true) => {}
            Ok(false) => return Err(GroupInfoViolation::ExternalSenderRejected),
            Err(_) => return Err(GroupInfoViolation::ExtensionMalformed),
        }
        Ok(Self::new(suite, context.clone(), tree, info.confirmation_tag.clone()))
    }

    /// A leaf supports what the group demands (sections 11.1, 13.4).
    pub(crate) fn check_leaf_requirements(&self, leaf: &LeafNode) -> Result<(), LeafNodeViolation> {
        let extensions = &self.context.extensions;
        let required = required_capabilities(extensions).unwrap_or_default();
        check_requirements(&leaf.capabilities, &required, extensions)?;
        not_shared(&self.tree, &leaf.credential).map_or(Ok(()), Err)
    }

    /// Who outside the group may propose (section 12.1.8.1).
    pub(crate) fn external_senders(&self) -> Option<ExternalSenders> {
        self.context.extensions.parse(ExtensionType::EXTERNAL_SENDERS).ok().flatten()
    }
}

/// Every leaf of a tree that is being joined, by the rules of section 7.3. The tree's own validation has verified the
/// signatures and the uniqueness of keys. Lifetimes are not compared with the clock: a member that was added long ago
/// and has not committed since is still a member.
fn check_leaves(
    tree: &RatchetTree,
    context: &GroupContext,
    policy: &Policy,
    now: UnixTime,
) -> Result<(), GroupInfoViolation> {
    let required = required_capabilities(&context.extensions)
        .map_err(|_| GroupInfoViolation::ExtensionMalformed)?;
    let check = policy.leaf_check(tree.suite(), now);
    for leaf in tree.leaves() {
        let at = |violation| GroupInfoViolation::Leaf { leaf: leaf.index(), violation };
        let node = leaf.to_leaf_node();
        check
            .check_but_signature(&node, SignedPlace::Tree(&context.group_id, leaf.index()))
            .map_err(at)?;
        check.check_credential(&node).map_err(at)?;
        check_requirements(&node.capabilities, &required, &context.extensions).map_err(at)?;
        if let Some(unshared) = not_shared(tree, &node.credential) {
            return Err(at(unshared));
        }
    }
    Ok(())
}

fn not_shared(tree: &dyn TreeView, credential: &Credential) -> Option<LeafNodeViolation> {
    let used = credential.credential_type();
    let shared = tree.all_support(Feature::Credential(used));
    (!shared).then_some(LeafNodeViolation::CredentialTypeNotShared(used))
}
