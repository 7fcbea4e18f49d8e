//! Tree hashes and parent hashes (RFC 9420 sections 7.8, 7.9).

use super::{NodeIndex, RatchetTree, TreeView};
use crate::{
    codec::{Encode, encode_opaque},
    crypto::{HashOutput, Suite},
    wire::{LeafIndex, ParentNode},
};

const LEAF: u8 = 1;
const PARENT: u8 = 2;

/// The tree hash of a leaf: `TreeHashInput` with `LeafNodeHashInput` (RFC 9420 section 7.8).
pub(super) fn leaf_tree_hash(suite: &Suite, index: LeafIndex, leaf: Option<&[u8]>) -> HashOutput {
    let [a, b, c, d] = index.0.to_be_bytes();
    let head = [LEAF, a, b, c, d, u8::from(leaf.is_some())];
    suite.hash(&[&head, leaf.unwrap_or_default()])
}

/// The tree hash of a parent: `TreeHashInput` with `ParentNodeHashInput` (RFC 9420 section 7.8).
///
/// `scratch` is where the input is put together; its content does not matter.
pub(super) fn parent_tree_hash(
    suite: &Suite,
    parent: Option<&ParentNode>,
    left: &[u8],
    right: &[u8],
    scratch: &mut Vec<u8>,
) -> HashOutput {
    scratch.clear();
    scratch.push(PARENT);
    match parent {
        None => scratch.push(0),
        Some(parent) => {
            scratch.push(1);
            parent.encode(scratch);
        }
    }
    encode_opaque(left, scratch);
    encode_opaque(right, scratch);
    suite.hash(&[scratch])
}

/// The parent hash of a parent node: the hash of `ParentHashInput` (RFC 9420 section 7.9).
///
/// `scratch` is where the input is put together; its content does not matter.
pub(super) fn parent_hash(
    suite: &Suite,
    encryption_key: &[u8],
    own_parent_hash: &[u8],
    original_sibling_tree_hash: &[u8],
    scratch: &mut Vec<u8>,
) -> HashOutput {
    scratch.clear();
    encode_opaque(encryption_key, scratch);
    encode_opaque(own_parent_hash, scratch);
    encode_opaque(original_sibling_tree_hash, scratch);
    suite.hash(&[scratch])
}

/// The tree hash of a node in the tree from which the leaves `removed` have been blanked and taken out of all lists of
/// unmerged leaves (RFC 9420 section 7.9); `removed` ascends, and may name leaves outside the subtree.
///
/// The work is proportional to the number of removed leaves below the node and their depth, not to the subtree's size.
pub(super) fn original_tree_hash(
    tree: &RatchetTree,
    node: NodeIndex,
    removed: &[LeafIndex],
    scratch: &mut Vec<u8>,
) -> HashOutput {
    let removed = within(removed, node);
    if removed.is_empty() {
        return tree.hash_output(node);
    }
    let (Some(left), Some(right)) = (node.left(), node.right()) else {
        return leaf_tree_hash(tree.suite(), node.leaf().unwrap_or(LeafIndex(u32::MAX)), None);
    };
    let left = original_tree_hash(tree, left, removed, scratch);
    let right = original_tree_hash(tree, right, removed, scratch);
    let parent = tree.parent(node).map(|parent| ParentNode {
        encryption_key: parent.encryption_key.clone(),
        parent_hash: parent.parent_hash.clone(),
        unmerged_leaves: parent
            .unmerged_leaves
            .iter()
            .copied()
            .filter(|leaf| removed.binary_search(leaf).is_err())
            .collect(),
    });
    parent_tree_hash(tree.suite(), parent.as_ref(), left.as_bytes(), right.as_bytes(), scratch)
}

/// Those of ascending `leaves` that stand below the node.
pub(super) fn within(leaves: &[LeafIndex], node: NodeIndex) -> &[LeafIndex] {
    let below = node.leaves_below();
    let start = leaves.partition_point(|leaf| leaf < below.start());
    let end = leaves.partition_point(|leaf| leaf <= below.end());
    leaves.get(start..end).unwrap_or_default()
}
