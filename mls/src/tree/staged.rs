//! Changes to a ratchet tree that wait to be put in place.

use std::collections::BTreeMap;

use super::{
    Feature, LeafRef, NodeIndex, RatchetTree, TreeError, TreeSize, TreeView, leaf::Leaf,
    support::SupportDifference, view::sealed::Sealed,
};
use crate::{
    crypto::{HashOutput, Suite},
    wire::{CredentialType, LeafIndex, ParentNode, TreeHash},
};

/// The nodes in which a tree differs from the one it is based on.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) size: TreeSize,
    /// The part of the base that shows through where nothing was changed: the tree was never smaller than this.
    pub(super) kept: TreeSize,
    pub(super) leaves: BTreeMap<LeafIndex, Option<Leaf>>,
    pub(super) parents: BTreeMap<NodeIndex, Option<Box<ParentNode>>>,
    /// Tree hashes that differ from the base: `None` where a hash is stale, as it is for nodes neither here nor in `kept`.
    /// Whenever a node's hash is stale, so are those of its ancestors.
    pub(super) hashes: BTreeMap<NodeIndex, Option<HashOutput>>,
    pub(super) support: SupportDifference,
    pub(super) members: u32,
    /// No leaf position below this one is blank.
    pub(super) first_blank: u32,
    /// Leaves that were added, in the order of their proposals.
    pub(super) added: Vec<LeafIndex>,
}

impl Changes {
    pub(super) fn none(base: &RatchetTree) -> Self {
        Self {
            size: base.size(),
            kept: base.size(),
            leaves: BTreeMap::new(),
            parents: BTreeMap::new(),
            hashes: BTreeMap::new(),
            support: SupportDifference::default(),
            members: base.member_count(),
            first_blank: base.first_blank(),
            added: Vec::new(),
        }
    }
}

/// Changes to a [`RatchetTree`], complete with their hashes. It borrows nothing, and dropping it changes nothing.
#[derive(Debug)]
pub struct StagedTree {
    pub(super) changes: Changes,
    pub(super) base_hash: TreeHash,
    pub(super) tree_hash: TreeHash,
}

impl StagedTree {
    /// The tree hash of the changed tree (RFC 9420 section 7.8).
    #[must_use]
    pub fn tree_hash(&self) -> &TreeHash {
        &self.tree_hash
    }

    /// The leaves that were added, in the order of their proposals.
    #[must_use]
    pub fn added(&self) -> &[LeafIndex] {
        &self.changes.added
    }

    /// True when the changes were staged on this tree in its present state.
    #[must_use]
    pub fn belongs_to(&self, tree: &RatchetTree) -> bool {
        self.base_hash == tree.tree_hash()
    }

    /// The changed tree, to be read before the changes are put in place; `base` is the tree they were staged on.
    #[must_use]
    pub fn view<'a>(&'a self, base: &'a RatchetTree) -> StagedView<'a> {
        StagedView { base, changes: &self.changes }
    }
}

/// A changed tree that is not in place yet.
#[derive(Clone, Copy, Debug)]
pub struct StagedView<'a> {
    pub(super) base: &'a RatchetTree,
    pub(super) changes: &'a Changes,
}

impl<'a> StagedView<'a> {
    pub(super) fn leaf_at(self, index: LeafIndex) -> Option<LeafRef<'a>> {
        match self.changes.leaves.get(&index) {
            Some(leaf) => leaf.as_ref().map(|leaf| leaf.at(index)),
            None if self.changes.kept.contains(index) => self.base.leaf(index),
            None => None,
        }
    }

    pub(super) fn parent_at(self, node: NodeIndex) -> Option<&'a ParentNode> {
        match self.changes.parents.get(&node) {
            Some(parent) => parent.as_deref(),
            None if self.changes.kept.contains_node(node) => self.base.parent(node),
            None => None,
        }
    }

    /// Encryption keys of the changed nodes.
    fn changed_encryption_keys(self) -> impl Iterator<Item = (&'a [u8], NodeIndex)> {
        let leaves = self.changed_leaves().map(|leaf| (leaf.encryption_key(), leaf.index().into()));
        let parents =
            self.changes.parents.iter().filter_map(|(node, parent)| {
                Some((parent.as_ref()?.encryption_key.as_bytes(), *node))
            });
        leaves.chain(parents)
    }

    fn changed_leaves(self) -> impl Iterator<Item = LeafRef<'a>> {
        self.changes.leaves.iter().filter_map(|(index, leaf)| Some(leaf.as_ref()?.at(*index)))
    }

    /// The node of the base with this encryption key, if it still stands.
    fn find_unchanged_encryption_key(self, key: &[u8]) -> Option<NodeIndex> {
        self.base.encryption_key_candidates(key).find(|node| {
            let changed = match node.leaf() {
                Some(leaf) => self.changes.leaves.contains_key(&leaf),
                None => self.changes.parents.contains_key(node),
            };
            !changed && self.encryption_key(*node) == Some(key)
        })
    }

    fn find_unchanged_signature_key(self, key: &[u8]) -> Option<LeafIndex> {
        self.base.signature_key_candidates(key).find(|index| {
            !self.changes.leaves.contains_key(index)
                && self.leaf_at(*index).is_some_and(|leaf| leaf.signature_key() == key)
        })
    }

    /// Checks that no key of a changed node stands anywhere else.
    pub(super) fn check_unique_keys(self) -> Result<(), TreeError> {
        let mut keys: Vec<_> = self.changed_encryption_keys().collect();
        keys.sort_unstable();
        if let Some((first, second)) = repeated(&keys) {
            return Err(TreeError::DuplicateEncryptionKey { first, second });
        }
        for (key, second) in keys {
            if let Some(first) = self.find_unchanged_encryption_key(key) {
                return Err(TreeError::DuplicateEncryptionKey { first, second });
            }
        }
        let mut keys: Vec<_> =
            self.changed_leaves().map(|leaf| (leaf.signature_key(), leaf.index())).collect();
        keys.sort_unstable();
        if let Some((first, second)) = repeated(&keys) {
            return Err(TreeError::DuplicateSignatureKey { first, second });
        }
        for (key, second) in keys {
            if let Some(first) = self.find_unchanged_signature_key(key) {
                return Err(TreeError::DuplicateSignatureKey { first, second });
            }
        }
        Ok(())
    }
}

/// Where the first key stands that sorted `keys` contain twice.
pub(super) fn repeated<P: Copy>(keys: &[(&[u8], P)]) -> Option<(P, P)> {
    keys.iter().zip(keys.iter().skip(1)).find(|(a, b)| a.0 == b.0).map(|(a, b)| (a.1, b.1))
}

impl Sealed for StagedView<'_> {}

impl TreeView for StagedView<'_> {
    fn suite(&self) -> &'static Suite {
        self.base.suite()
    }

    fn size(&self) -> TreeSize {
        self.changes.size
    }

    fn leaf(&self, index: LeafIndex) -> Option<LeafRef<'_>> {
        self.leaf_at(index)
    }

    fn parent(&self, node: NodeIndex) -> Option<&ParentNode> {
        self.parent_at(node)
    }

    fn member_count(&self) -> u32 {
        self.changes.members
    }

    fn count(&self, feature: Feature) -> u32 {
        self.base.count(feature).saturating_add_signed(self.changes.support.of(feature))
    }

    fn credential_types_in_use(&self) -> Vec<CredentialType> {
        let mut in_use: Vec<_> = self
            .base
            .support()
            .features()
            .chain(self.changes.support.features())
            .filter_map(|feature| match feature {
                Feature::CredentialInUse(credential) if self.count(feature) > 0 => Some(credential),
                _ => None,
            })
            .collect();
        in_use.sort_unstable();
        in_use.dedup();
        in_use
    }

    fn find_encryption_key(&self, key: &[u8]) -> Option<NodeIndex> {
        let changed = self.changed_encryption_keys().find(|entry| entry.0 == key);
        changed.map(|entry| entry.1).or_else(|| self.find_unchanged_encryption_key(key))
    }

    fn find_signature_key(&self, key: &[u8]) -> Option<LeafIndex> {
        let changed = self.changed_leaves().find(|leaf| leaf.signature_key() == key);
        changed.map(LeafRef::index).or_else(|| self.find_unchanged_signature_key(key))
    }
}
