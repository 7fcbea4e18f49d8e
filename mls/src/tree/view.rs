//! What can be read of a ratchet tree, whether in place or staged.

use super::{Feature, LeafRef, NodeIndex, TreeSize};
use crate::{
    codec::{Encode, encode_prefixed},
    crypto::Suite,
    wire::{CredentialType, LeafIndex, ParentNode},
};

/// A node of a filtered direct path (RFC 9420 section 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// The node.
    pub node: NodeIndex,
    /// Its child that is on the copath of the leaf: the node's path secret is encrypted to the resolution of this child.
    pub copath_child: NodeIndex,
}

/// A ratchet tree that can be read: a [`RatchetTree`](super::RatchetTree), or one with changes staged on it.
///
/// Only the types of this module implement it.
pub trait TreeView: sealed::Sealed {
    /// The suite of the group.
    fn suite(&self) -> &'static Suite;

    /// The number of leaf positions.
    fn size(&self) -> TreeSize;

    /// The leaf at this position, unless it is blank or outside the tree.
    fn leaf(&self, index: LeafIndex) -> Option<LeafRef<'_>>;

    /// The parent at this position, unless it is blank, outside the tree or the position of a leaf.
    fn parent(&self, node: NodeIndex) -> Option<&ParentNode>;

    /// The number of leaves that are not blank.
    fn member_count(&self) -> u32;

    /// How many members have a feature. Does not walk over the tree.
    fn count(&self, feature: Feature) -> u32;

    /// The credential types that members use, ascending. Does not walk over the tree.
    fn credential_types_in_use(&self) -> Vec<CredentialType>;

    /// The node with this encryption key. Does not walk over the tree.
    fn find_encryption_key(&self, key: &[u8]) -> Option<NodeIndex>;

    /// The member with this signature key. Does not walk over the tree.
    fn find_signature_key(&self, key: &[u8]) -> Option<LeafIndex>;

    /// True when every member has the feature.
    fn all_support(&self, feature: Feature) -> bool {
        self.count(feature) == self.member_count()
    }

    /// The members, ascending by leaf.
    fn leaves(&self) -> Box<dyn Iterator<Item = LeafRef<'_>> + '_> {
        Box::new((0..self.size().leaves()).filter_map(|index| self.leaf(LeafIndex(index))))
    }

    /// The encryption key of a node, unless it is blank or outside the tree.
    fn encryption_key(&self, node: NodeIndex) -> Option<&[u8]> {
        match node.leaf() {
            Some(leaf) => self.leaf(leaf).map(LeafRef::encryption_key),
            None => self.parent(node).map(|parent| parent.encryption_key.as_bytes()),
        }
    }

    /// True when the node is blank or outside the tree.
    fn is_blank(&self, node: NodeIndex) -> bool {
        match node.leaf() {
            Some(leaf) => self.leaf(leaf).is_none(),
            None => self.parent(node).is_none(),
        }
    }

    /// The nodes whose keys together reach every member below a node (RFC 9420 section 4.1.1).
    fn resolution(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let mut resolution = Vec::new();
        self.visit_resolution(node, &mut |node| resolution.push(node));
        resolution
    }

    /// [`resolution`](Self::resolution), node by node: a full tree's takes no allocation.
    fn visit_resolution(&self, node: NodeIndex, visit: &mut dyn FnMut(NodeIndex)) {
        let mut open = Vec::new();
        let mut next = self.size().contains_node(node).then_some(node);
        while let Some(node) = next {
            if let Some(parent) = self.parent(node) {
                visit(node);
                parent.unmerged_leaves.iter().for_each(|leaf| visit((*leaf).into()));
            } else if node.leaf().is_none() {
                open.extend(node.right());
                open.extend(node.left());
            } else if !self.is_blank(node) {
                visit(node);
            }
            next = open.pop();
        }
    }

    /// True when neither the node nor anything below it has a key.
    fn has_empty_resolution(&self, node: NodeIndex) -> bool {
        let mut open = Vec::new();
        let mut next = self.size().contains_node(node).then_some(node);
        while let Some(node) = next {
            if !self.is_blank(node) {
                return false;
            }
            open.extend(node.right());
            open.extend(node.left());
            next = open.pop();
        }
        true
    }

    /// The nodes that an update path from this leaf sets, upwards (RFC 9420 section 4.1.2).
    fn filtered_direct_path(&self, leaf: LeafIndex) -> Vec<PathStep> {
        let start = NodeIndex::from(leaf);
        let size = self.size();
        start
            .direct_path(size)
            .zip(start.copath(size))
            .filter(|step| !self.has_empty_resolution(step.1))
            .map(|(node, copath_child)| PathStep { node, copath_child })
            .collect()
    }

    /// The content of the `ratchet_tree` extension (RFC 9420 section 12.4.3.3).
    fn encode_tree(&self) -> Vec<u8> {
        let last =
            (0..self.size().leaves()).rev().find(|index| self.leaf(LeafIndex(*index)).is_some());
        let nodes = last.map_or(0, |last| last.saturating_mul(2).saturating_add(1));
        let mut bytes = Vec::new();
        encode_prefixed(&mut bytes, |out| {
            for node in (0..nodes).map(NodeIndex) {
                match node.leaf() {
                    Some(leaf) => match self.leaf(leaf) {
                        Some(leaf) => {
                            out.extend_from_slice(&[1, 1]);
                            out.extend_from_slice(leaf.as_bytes());
                        }
                        None => out.push(0),
                    },
                    None => match self.parent(node) {
                        Some(parent) => {
                            out.extend_from_slice(&[1, 2]);
                            parent.encode(out);
                        }
                        None => out.push(0),
                    },
                }
            }
        });
        bytes
    }
}

pub(super) mod sealed {
    /// Keeps [`TreeView`](super::TreeView) to the types of this module.
    #[allow(unnameable_types, reason = "that it cannot be named is its purpose")]
    pub trait Sealed {}
}
