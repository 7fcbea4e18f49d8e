//! Changes being made to a ratchet tree (RFC 9420 sections 7.7, 12.1, 12.3).

use super::{
    Feature, LeafRef, NodeIndex, PathStep, RatchetTree, StagedTree, StagedView, TreeError,
    TreeSize, TreeView,
    hash::{leaf_tree_hash, parent_hash, parent_tree_hash},
    leaf::Leaf,
    staged::Changes,
    view::sealed::Sealed,
};
use crate::{
    crypto::{HashOutput, Suite},
    wire::{CredentialType, HpkePublicKey, LeafIndex, LeafNode, ParentHash, ParentNode, TreeHash},
};

/// A ratchet tree with changes on top.
///
/// The proposals of a commit are applied in the order updates, removes, adds (RFC 9420 section 12.3); then comes the
/// update path, if there is one. After an error the overlay is to be dropped.
#[derive(Debug)]
pub struct TreeOverlay<'t> {
    base: &'t RatchetTree,
    changes: Changes,
    external: Option<LeafIndex>,
    /// Space in which hash inputs are put together.
    scratch: Vec<u8>,
}

impl<'t> TreeOverlay<'t> {
    /// An overlay without changes.
    #[must_use]
    pub fn new(base: &'t RatchetTree) -> Self {
        Self { base, changes: Changes::none(base), external: None, scratch: Vec::new() }
    }

    /// Applies an Update proposal (RFC 9420 section 12.1.2).
    ///
    /// # Errors
    /// [`TreeError::NoMember`].
    pub fn update(&mut self, index: LeafIndex, leaf: &LeafNode) -> Result<(), TreeError> {
        if self.leaf(index).is_none() {
            return Err(TreeError::NoMember { leaf: index });
        }
        self.set_leaf(index, Some(Leaf::new(leaf)));
        self.blank_direct_path(index);
        Ok(())
    }

    /// Applies a Remove proposal, and truncates the tree (RFC 9420 sections 7.7, 12.1.3).
    ///
    /// # Errors
    /// [`TreeError::NoMember`].
    pub fn remove(&mut self, index: LeafIndex) -> Result<(), TreeError> {
        if self.leaf(index).is_none() {
            return Err(TreeError::NoMember { leaf: index });
        }
        self.set_leaf(index, None);
        self.blank_direct_path(index);
        self.changes.first_blank = self.changes.first_blank.min(index.0);
        self.truncate();
        Ok(())
    }

    /// Applies an Add proposal: the new member takes the leftmost blank leaf, for which the tree is extended if need be
    /// (RFC 9420 sections 7.7, 12.1.1).
    ///
    /// # Errors
    /// [`TreeError::Full`].
    pub fn add(&mut self, leaf: &LeafNode) -> Result<LeafIndex, TreeError> {
        let index = self.take_blank_leaf()?;
        self.set_leaf(index, Some(Leaf::new(leaf)));
        let ancestors: Vec<_> = NodeIndex::from(index).direct_path(self.size()).collect();
        for node in ancestors {
            let Some(mut parent) = self.parent(node).cloned() else { continue };
            if let Err(place) = parent.unmerged_leaves.binary_search(&index) {
                parent.unmerged_leaves.insert(place, index);
            }
            self.changes.parents.insert(node, Some(Box::new(parent)));
        }
        self.changes.added.push(index);
        Ok(index)
    }

    /// The leaf that the sender of an external commit gets: the leftmost blank one, for which the tree is extended if
    /// need be (RFC 9420 section 12.4.2). The sender's update path must follow; until then the leaf is blank.
    ///
    /// # Errors
    /// [`TreeError::Full`].
    pub fn external_leaf(&mut self) -> Result<LeafIndex, TreeError> {
        let index = self.take_blank_leaf()?;
        self.external = Some(index);
        Ok(index)
    }

    /// The leaves added so far, in the order of their proposals.
    #[must_use]
    pub fn added(&self) -> &[LeafIndex] {
        &self.changes.added
    }

    /// Checks that no encryption key and no signature key of a changed node stands anywhere else in the tree
    /// (RFC 9420 section 7.3).
    ///
    /// To be called once all proposals are applied: in between, a leaf may well have the key of one that is yet to be
    /// removed.
    ///
    /// # Errors
    /// [`TreeError::DuplicateEncryptionKey`], [`TreeError::DuplicateSignatureKey`].
    pub fn check_unique_keys(&self) -> Result<(), TreeError> {
        self.view().check_unique_keys()
    }

    /// The tree hash of the changed tree (RFC 9420 section 7.8).
    pub fn tree_hash(&mut self) -> TreeHash {
        let root = self.size().root();
        TreeHash(self.node_hash(root).to_vec())
    }

    /// Ends the changes.
    #[must_use]
    pub fn finish(mut self) -> StagedTree {
        let tree_hash = self.tree_hash();
        StagedTree { changes: self.changes, base_hash: self.base.tree_hash(), tree_hash }
    }

    /// True when an update path from this leaf may come: it is a member's or was given to an external sender.
    pub(super) fn may_send_path(&self, leaf: LeafIndex) -> bool {
        self.leaf(leaf).is_some() || self.external == Some(leaf)
    }

    /// The parent hashes of the nodes that an update path sets, upwards, as if they had these keys
    /// (RFC 9420 section 7.9). The first one goes into the leaf, each other one into the node before it.
    pub(super) fn path_parent_hashes<'k>(
        &mut self,
        steps: &[PathStep],
        keys: impl DoubleEndedIterator<Item = &'k [u8]> + ExactSizeIterator,
    ) -> Vec<ParentHash> {
        let mut above = HashOutput::from_digest(&[]);
        let mut hashes = Vec::with_capacity(steps.len());
        for (step, key) in steps.iter().zip(keys).rev() {
            let sibling = self.node_hash(step.copath_child);
            let (suite, sibling) = (self.suite(), sibling.as_bytes());
            let hash = parent_hash(suite, key, above.as_bytes(), sibling, &mut self.scratch);
            above = hash;
            hashes.push(ParentHash(above.to_vec()));
        }
        hashes.reverse();
        hashes
    }

    /// Merges an update path: blanks the direct path, then sets the nodes of the filtered direct path and the leaf
    /// (RFC 9420 section 7.5).
    pub(super) fn set_path<'k>(
        &mut self,
        sender: LeafIndex,
        leaf: &LeafNode,
        steps: &[PathStep],
        keys: impl Iterator<Item = &'k [u8]>,
        parent_hashes: Vec<ParentHash>,
    ) {
        self.blank_direct_path(sender);
        let above = parent_hashes.into_iter().skip(1).chain([ParentHash::default()]);
        for ((step, key), parent_hash) in steps.iter().zip(keys).zip(above) {
            let parent = ParentNode {
                encryption_key: HpkePublicKey::from(key),
                parent_hash,
                unmerged_leaves: Vec::new(),
            };
            self.changes.parents.insert(step.node, Some(Box::new(parent)));
        }
        self.set_leaf(sender, Some(Leaf::new(leaf)));
    }

    fn view(&self) -> StagedView<'_> {
        StagedView { base: self.base, changes: &self.changes }
    }

    fn set_leaf(&mut self, index: LeafIndex, leaf: Option<Leaf>) {
        let mut support = std::mem::take(&mut self.changes.support);
        let (old, new) = (self.leaf(index), leaf.as_ref().map(|leaf| leaf.at(index)));
        let members = self.changes.members - u32::from(old.is_some()) + u32::from(new.is_some());
        support.replace(old, new);
        self.changes.support = support;
        self.changes.members = members;
        self.changes.leaves.insert(index, leaf);
        let size = self.size();
        self.mark_stale(index.into());
        for node in NodeIndex::from(index).direct_path(size) {
            self.mark_stale(node);
        }
    }

    fn blank_direct_path(&mut self, leaf: LeafIndex) {
        let size = self.size();
        for node in NodeIndex::from(leaf).direct_path(size) {
            if self.parent(node).is_some() {
                self.changes.parents.insert(node, None);
            }
            self.mark_stale(node);
        }
    }

    fn take_blank_leaf(&mut self) -> Result<LeafIndex, TreeError> {
        let size = self.size();
        let blank = (self.changes.first_blank..size.leaves())
            .map(LeafIndex)
            .find(|index| self.leaf(*index).is_none());
        let index = match blank {
            Some(index) => index,
            None => {
                let larger = size.doubled().ok_or(TreeError::Full)?;
                self.changes.size = larger;
                self.mark_stale(larger.root());
                LeafIndex(size.leaves())
            }
        };
        self.changes.first_blank = index.0 + 1;
        Ok(index)
    }

    /// Halves the tree as long as its right half is blank (RFC 9420 section 7.7).
    fn truncate(&mut self) {
        while let Some(half) = self.size().halved() {
            let mut right = (half.leaves()..self.size().leaves()).map(LeafIndex);
            if right.any(|index| self.leaf(index).is_some()) {
                return;
            }
            let changes = &mut self.changes;
            changes.size = half;
            changes.kept = changes.kept.min(half);
            changes.leaves.retain(|index, _| half.contains(*index));
            changes.parents.retain(|node, _| half.contains_node(*node));
            changes.hashes.retain(|node, _| half.contains_node(*node));
            changes.first_blank = changes.first_blank.min(half.leaves());
        }
    }

    fn mark_stale(&mut self, node: NodeIndex) {
        self.changes.hashes.insert(node, None);
    }

    /// The tree hash of a node within the tree; stale hashes below are computed on the way.
    fn node_hash(&mut self, node: NodeIndex) -> HashOutput {
        match self.changes.hashes.get(&node) {
            Some(Some(hash)) => return *hash,
            None if self.changes.kept.contains_node(node) => return self.base.hash_output(node),
            _ => {}
        }
        let suite = self.suite();
        let hash = match (node.left(), node.right()) {
            (Some(left), Some(right)) => {
                let left = self.node_hash(left);
                let right = self.node_hash(right);
                let mut scratch = std::mem::take(&mut self.scratch);
                let (left, right) = (left.as_bytes(), right.as_bytes());
                let hash = parent_tree_hash(suite, self.parent(node), left, right, &mut scratch);
                self.scratch = scratch;
                hash
            }
            _ => {
                let index = node.leaf().unwrap_or(LeafIndex(u32::MAX));
                leaf_tree_hash(suite, index, self.leaf(index).map(LeafRef::as_bytes))
            }
        };
        self.changes.hashes.insert(node, Some(hash));
        hash
    }
}

impl Sealed for TreeOverlay<'_> {}

impl TreeView for TreeOverlay<'_> {
    fn suite(&self) -> &'static Suite {
        self.base.suite()
    }

    fn size(&self) -> TreeSize {
        self.changes.size
    }

    fn leaf(&self, index: LeafIndex) -> Option<LeafRef<'_>> {
        self.view().leaf_at(index)
    }

    fn parent(&self, node: NodeIndex) -> Option<&ParentNode> {
        self.view().parent_at(node)
    }

    fn member_count(&self) -> u32 {
        self.changes.members
    }

    fn count(&self, feature: Feature) -> u32 {
        self.view().count(feature)
    }

    fn credential_types_in_use(&self) -> Vec<CredentialType> {
        self.view().credential_types_in_use()
    }

    fn find_encryption_key(&self, key: &[u8]) -> Option<NodeIndex> {
        self.view().find_encryption_key(key)
    }

    fn find_signature_key(&self, key: &[u8]) -> Option<LeafIndex> {
        self.view().find_signature_key(key)
    }
}
