//! Whether a ratchet tree that came from others can be trusted (RFC 9420 sections 7.3, 7.9.2, 12.4.3.1).

use super::{
    LeafRef, NodeIndex, RatchetTree, TreeError, TreeView,
    hash::{original_tree_hash, parent_hash, within},
};
use crate::{
    codec::Encode,
    crypto::{CryptoError, SigningKey, Suite},
    parallel::try_map,
    wire::{GroupId, LeafIndex, LeafNode, LeafNodeTbs, ParentNode, TreePosition},
};

const LEAF_NODE: &str = "LeafNodeTBS";

impl RatchetTree {
    /// Checks all that can be checked of a tree by itself; the cheap rules first.
    ///
    /// What remains for the caller: that the tree hash is that of the GroupContext, and that each leaf suits the group
    /// (RFC 9420 section 7.3: credential, capabilities, lifetime).
    ///
    /// # Errors
    /// Those of the four checks that it consists of.
    pub fn validate(&self, group_id: &GroupId) -> Result<(), TreeError> {
        self.check_unmerged_leaves()?;
        self.check_unique_keys()?;
        self.check_parent_hashes()?;
        self.verify_leaf_signatures(group_id)
    }

    /// Checks the lists of unmerged leaves (RFC 9420 sections 7.1, 12.4.3.1).
    ///
    /// # Errors
    /// [`TreeError::UnmergedLeavesNotSorted`], [`TreeError::UnmergedLeafNotBelow`], [`TreeError::UnmergedLeafBlank`],
    /// [`TreeError::UnmergedLeafNotListed`].
    pub fn check_unmerged_leaves(&self) -> Result<(), TreeError> {
        for (node, parent) in self.parents() {
            if !parent.unmerged_leaves.is_sorted_by(|a, b| a < b) {
                return Err(TreeError::UnmergedLeavesNotSorted { node });
            }
        }
        for (node, parent) in self.parents() {
            for leaf in parent.unmerged_leaves.iter().copied() {
                if !node.leaves_below().contains(&leaf) {
                    return Err(TreeError::UnmergedLeafNotBelow { node, leaf });
                }
                if self.leaf(leaf).is_none() {
                    return Err(TreeError::UnmergedLeafBlank { node, leaf });
                }
                // The parent found is checked in its turn, and so on down to the leaf.
                if let Some((below, next)) = self.next_parent_towards(node, leaf)
                    && next.unmerged_leaves.binary_search(&leaf).is_err()
                {
                    return Err(TreeError::UnmergedLeafNotListed { node: below, leaf });
                }
            }
        }
        Ok(())
    }

    /// Checks that no encryption key stands at two nodes and no signature key at two leaves
    /// (RFC 9420 sections 7.3, 12.4.3.1).
    ///
    /// # Errors
    /// [`TreeError::DuplicateEncryptionKey`], [`TreeError::DuplicateSignatureKey`].
    pub fn check_unique_keys(&self) -> Result<(), TreeError> {
        if let Some((first, second)) = self.repeated_encryption_key() {
            return Err(TreeError::DuplicateEncryptionKey { first, second });
        }
        match self.repeated_signature_key() {
            Some((first, second)) => Err(TreeError::DuplicateSignatureKey { first, second }),
            None => Ok(()),
        }
    }

    /// Checks that every parent is parent-hash valid (RFC 9420 section 7.9.2): exactly one node below it, parent or leaf,
    /// was set in the same update path. As that node is itself checked, a chain leads down to a member's signature.
    ///
    /// The work is linear in the size of the tree and of the lists of unmerged leaves, times the depth for the latter.
    /// [`RatchetTree::check_unmerged_leaves`] must have passed.
    ///
    /// # Errors
    /// [`TreeError::ParentHash`].
    pub fn check_parent_hashes(&self) -> Result<(), TreeError> {
        let mut scratch = Vec::new();
        for (node, parent) in self.parents() {
            let (Some(left), Some(right)) = (node.left(), node.right()) else { continue };
            let sides = [(left, right), (right, left)];
            let links = sides
                .into_iter()
                .filter(|side| self.has_valid_link(parent, side.0, side.1, &mut scratch))
                .count();
            if links != 1 {
                return Err(TreeError::ParentHash { node });
            }
        }
        Ok(())
    }

    /// Verifies the signature of every leaf (RFC 9420 section 7.3); with the feature `threads`, on all threads that the
    /// machine offers.
    ///
    /// Each signature is verified by itself. Verifying Ed25519 signatures as a batch would be faster, but a batch accepts
    /// signatures that single verification refuses: a defect of small order passes where the sum is multiplied by the
    /// cofactor, and otherwise cancels out with some probability. Members who verify differently would not join the same groups.
    ///
    /// # Errors
    /// [`TreeError::LeafSignature`] names the first leaf whose signature fails, however many threads there are.
    pub fn verify_leaf_signatures(&self, group_id: &GroupId) -> Result<(), TreeError> {
        let leaves: Vec<_> = self.leaves().collect();
        let verified = try_map(&leaves, |leaf| {
            verify_leaf_signature(self.suite(), *leaf, group_id)
                .map_err(|error| TreeError::LeafSignature { leaf: leaf.index(), error })
        });
        verified.map(drop)
    }

    /// True when a node D in the resolution of `child` has a parent hash that is valid with respect to `parent`.
    fn has_valid_link(
        &self,
        parent: &ParentNode,
        child: NodeIndex,
        sibling: NodeIndex,
        scratch: &mut Vec<u8>,
    ) -> bool {
        let unmerged = within(&parent.unmerged_leaves, child);
        let Some(claimed) = self.only_merged(child, unmerged).and_then(|d| self.parent_hash_of(d))
        else {
            return false;
        };
        let sibling_hash = original_tree_hash(self, sibling, &parent.unmerged_leaves, scratch);
        let key = parent.encryption_key.as_bytes();
        let own = parent.parent_hash.as_bytes();
        let expected = parent_hash(self.suite(), key, own, sibling_hash.as_bytes(), scratch);
        expected.as_bytes() == claimed
    }

    /// The node D for which the resolution of `child` without D is the set `unmerged`, which ascends.
    ///
    /// Gives up as soon as the resolution is too large, so that a walk never costs more than the blank nodes between a
    /// parent and the next ones below it.
    fn only_merged(&self, child: NodeIndex, unmerged: &[LeafIndex]) -> Option<NodeIndex> {
        let mut found = None;
        let mut listed = 0;
        let mut take = |node: NodeIndex| {
            let leaf = node.leaf();
            if leaf.is_some_and(|leaf| unmerged.binary_search(&leaf).is_ok()) {
                listed += 1;
                true
            } else {
                found.replace(node).is_none()
            }
        };
        let mut open = Vec::new();
        let mut next = Some(child);
        while let Some(node) = next {
            let fits = if let Some(parent) = self.parent(node) {
                take(node) && parent.unmerged_leaves.iter().all(|leaf| take((*leaf).into()))
            } else if !self.is_blank(node) {
                take(node)
            } else {
                open.extend(node.right());
                open.extend(node.left());
                true
            };
            if !fits {
                return None;
            }
            next = open.pop();
        }
        if listed == unmerged.len() { found } else { None }
    }

    fn parent_hash_of(&self, node: NodeIndex) -> Option<&[u8]> {
        match node.leaf() {
            Some(leaf) => self.leaf(leaf)?.parent_hash(),
            None => Some(self.parent(node)?.parent_hash.as_bytes()),
        }
    }

    /// The first parent that is not blank on the way down to a leaf.
    fn next_parent_towards(
        &self,
        node: NodeIndex,
        leaf: LeafIndex,
    ) -> Option<(NodeIndex, &ParentNode)> {
        let target = NodeIndex::from(leaf);
        let step = |node: NodeIndex| if target < node { node.left() } else { node.right() };
        std::iter::successors(step(node), |node| step(*node))
            .find_map(|node| Some((node, self.parent(node)?)))
    }
}

/// Verifies the signature of a leaf of a tree (RFC 9420 sections 7.2, 7.3).
///
/// # Errors
/// [`CryptoError`] when the signature key is not acceptable or the signature does not verify.
pub fn verify_leaf_signature(
    suite: &Suite,
    leaf: LeafRef<'_>,
    group_id: &GroupId,
) -> Result<(), CryptoError> {
    let key = suite.signature.verifying_key(leaf.signature_key())?;
    suite.verify_with_label(&*key, LEAF_NODE, &leaf.to_be_signed(group_id), &leaf.signature())
}

/// Verifies the signature of a leaf node in a key package, proposal or update path (RFC 9420 sections 7.2, 7.3).
///
/// # Errors
/// [`CryptoError`] when the signature key is not acceptable or the signature does not verify.
pub fn verify_leaf_node_signature(
    suite: &Suite,
    leaf_node: &LeafNode,
    position: TreePosition<'_>,
) -> Result<(), CryptoError> {
    let key = suite.signature.verifying_key(leaf_node.signature_key.as_bytes())?;
    let content = LeafNodeTbs { leaf_node, position }.to_bytes();
    suite.verify_with_label(&*key, LEAF_NODE, &content, &leaf_node.signature)
}

/// Signs a leaf node: for its place, or for a key package, whose position is not part of what is signed
/// (RFC 9420 section 7.2). The leaf node's signature key must be that of `signer`.
///
/// # Errors
/// [`CryptoError`] when signing fails.
pub fn sign_leaf_node(
    suite: &Suite,
    leaf_node: &mut LeafNode,
    position: TreePosition<'_>,
    signer: &dyn SigningKey,
) -> Result<(), CryptoError> {
    let content = LeafNodeTbs { leaf_node, position }.to_bytes();
    leaf_node.signature = suite.sign_with_label(signer, LEAF_NODE, &content)?;
    Ok(())
}
