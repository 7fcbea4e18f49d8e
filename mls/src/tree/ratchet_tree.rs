//! The ratchet tree of one epoch (RFC 9420 section 4).

use super::{
    Feature, LeafRef, NodeIndex, StagedTree, TreeError, TreeSize, TreeView,
    hash::{leaf_tree_hash, parent_tree_hash},
    key_index::KeyIndex,
    leaf::Leaf,
    support::Support,
    view::sealed::Sealed,
};
use crate::{
    codec::{Decode, DecodeError, Reader},
    crypto::{HashOutput, Suite},
    wire::{CredentialType, LeafIndex, LeafNode, ParentNode, TreeHash},
};

/// The public part of a group's ratchet tree, with the tree hash of every node.
///
/// Two trees are equal when their nodes are.
#[derive(Debug)]
pub struct RatchetTree {
    suite: &'static Suite,
    size: TreeSize,
    /// One entry for each leaf position.
    leaves: Vec<Option<Leaf>>,
    /// One entry for each parent position: the parent at node `2 * i + 1`.
    parents: Vec<Option<Box<ParentNode>>>,
    /// The tree hashes of all nodes, `Nh` bytes each, by node index.
    hashes: Vec<u8>,
    encryption_keys: KeyIndex,
    signature_keys: KeyIndex,
    support: Support,
    members: u32,
    /// No leaf position below this one is blank.
    first_blank: u32,
}

impl RatchetTree {
    /// The tree of a group with a single member (RFC 9420 section 11).
    #[must_use]
    pub fn new(suite: &'static Suite, leaf: &LeafNode) -> Self {
        Self::from_nodes(suite, TreeSize::ONE, vec![Some(Leaf::new(leaf))], Vec::new())
    }

    /// Reads the content of a `ratchet_tree` extension (RFC 9420 section 12.4.3.3).
    ///
    /// Only the shape is checked: whoever takes the tree from others calls [`RatchetTree::validate`] too. The memory
    /// that is held stays below 200 bytes for each byte of input; a list of blanks comes nearest to that.
    ///
    /// # Errors
    /// [`TreeError::Decode`], [`TreeError::Empty`], [`TreeError::TrailingBlank`], [`TreeError::TrailingParent`],
    /// [`TreeError::WrongNodeType`], [`TreeError::Full`].
    pub fn from_bytes(suite: &'static Suite, bytes: &[u8]) -> Result<Self, TreeError> {
        let mut outer = Reader::new(bytes);
        let mut reader = outer.prefixed()?;
        outer.finish()?;
        let mut leaves = Vec::new();
        let mut parents = Vec::new();
        let mut next = NodeIndex(0);
        let mut last = None;
        while !reader.is_empty() {
            let content = decode_node(&mut reader)?;
            last = Some(content.is_some());
            match (next.leaf(), content) {
                (Some(_), Some(Content::Leaf(leaf))) => leaves.push(Some(leaf)),
                (None, Some(Content::Parent(parent))) => parents.push(Some(parent)),
                (Some(_), None) => leaves.push(None),
                (None, None) => parents.push(None),
                _ => return Err(TreeError::WrongNodeType { node: next }),
            }
            next.0 = next.0.checked_add(1).ok_or(TreeError::Full)?;
        }
        match last {
            None => return Err(TreeError::Empty),
            Some(false) => return Err(TreeError::TrailingBlank),
            Some(true) if parents.len() == leaves.len() => return Err(TreeError::TrailingParent),
            Some(true) => {}
        }
        let count = u32::try_from(leaves.len()).map_err(|_| TreeError::Full)?;
        let size = TreeSize::holding(count).ok_or(TreeError::Full)?;
        Ok(Self::from_nodes(suite, size, leaves, parents))
    }

    /// The tree hash of the root (RFC 9420 section 7.8).
    #[must_use]
    pub fn tree_hash(&self) -> TreeHash {
        TreeHash(self.hash_slice(self.size.root()).to_vec())
    }

    /// The tree hash of any node; `None` outside the tree (RFC 9420 section 7.8).
    #[must_use]
    pub fn node_hash(&self, node: NodeIndex) -> Option<TreeHash> {
        self.size.contains_node(node).then(|| TreeHash(self.hash_slice(node).to_vec()))
    }

    /// Puts staged changes in place.
    ///
    /// They must have been staged on this tree in its present state, which [`StagedTree::belongs_to`] tells; what becomes
    /// of the tree is otherwise unspecified.
    pub fn apply(&mut self, staged: StagedTree) {
        let changes = staged.changes;
        for index in changes.leaves.keys().copied() {
            self.forget_leaf(index);
        }
        for node in changes.parents.keys().copied() {
            self.forget_parent(node);
        }
        for index in (changes.kept.leaves()..self.size.leaves()).map(LeafIndex) {
            self.forget_leaf(index);
        }
        for index in (changes.kept.leaves()..self.size.leaves()).map(|leaf| leaf - 1) {
            self.forget_parent(NodeIndex(index * 2 + 1));
        }
        self.size = changes.size;
        let slots = self.size.leaves() as usize;
        self.leaves.resize_with(slots, || None);
        self.parents.resize_with(slots - 1, || None);
        self.hashes.resize(self.size.nodes() as usize * self.suite.hash_length(), 0);
        for (index, leaf) in changes.leaves {
            if let Some(leaf) = leaf {
                self.put_leaf(index, leaf);
            }
        }
        for (node, parent) in changes.parents {
            if let Some(parent) = parent {
                self.put_parent(node, parent);
            }
        }
        for (node, hash) in changes.hashes {
            let Some(hash) = hash else { continue };
            self.put_hash(node, &hash);
        }
        self.support.apply(changes.support);
        self.members = changes.members;
        self.first_blank = changes.first_blank;
    }

    pub(super) fn first_blank(&self) -> u32 {
        self.first_blank
    }

    pub(super) fn support(&self) -> &Support {
        &self.support
    }

    pub(super) fn encryption_key_candidates(&self, key: &[u8]) -> impl Iterator<Item = NodeIndex> {
        self.encryption_keys.candidates(key)
    }

    pub(super) fn signature_key_candidates(&self, key: &[u8]) -> impl Iterator<Item = LeafIndex> {
        self.signature_keys.candidates(key).filter_map(NodeIndex::leaf)
    }

    /// The nodes at which the same encryption key stands.
    pub(super) fn repeated_encryption_key(&self) -> Option<(NodeIndex, NodeIndex)> {
        self.encryption_keys.repeated(|node| self.encryption_key(node))
    }

    /// The leaves at which the same signature key stands.
    pub(super) fn repeated_signature_key(&self) -> Option<(LeafIndex, LeafIndex)> {
        let key = |node: NodeIndex| Some(self.leaf(node.leaf()?)?.signature_key());
        let (first, second) = self.signature_keys.repeated(key)?;
        Some((first.leaf()?, second.leaf()?))
    }

    /// The tree hash of a node within the tree.
    pub(super) fn hash_output(&self, node: NodeIndex) -> HashOutput {
        HashOutput::from_digest(self.hash_slice(node))
    }

    /// Positions of parents, ascending.
    pub(super) fn parents(&self) -> impl Iterator<Item = (NodeIndex, &ParentNode)> {
        (0..self.size.leaves())
            .zip(&self.parents)
            .filter_map(|(index, parent)| Some((NodeIndex(index * 2 + 1), parent.as_deref()?)))
    }

    fn hash_slice(&self, node: NodeIndex) -> &[u8] {
        let length = self.suite.hash_length();
        let start = node.0 as usize * length;
        self.hashes.get(start..start + length).unwrap_or_default()
    }

    fn put_hash(&mut self, node: NodeIndex, hash: &HashOutput) {
        let length = self.suite.hash_length();
        let start = node.0 as usize * length;
        if let Some(place) = self.hashes.get_mut(start..start + length) {
            place.copy_from_slice(hash.as_bytes());
        }
    }

    fn put_leaf(&mut self, index: LeafIndex, leaf: Leaf) {
        let view = leaf.at(index);
        self.encryption_keys.insert(view.encryption_key(), index.into());
        self.signature_keys.insert(view.signature_key(), index.into());
        if let Some(slot) = self.leaves.get_mut(index.0 as usize) {
            *slot = Some(leaf);
        }
    }

    fn put_parent(&mut self, node: NodeIndex, parent: Box<ParentNode>) {
        self.encryption_keys.insert(parent.encryption_key.as_bytes(), node);
        if let Some(slot) = self.parents.get_mut(node.0 as usize / 2) {
            *slot = Some(parent);
        }
    }

    fn forget_leaf(&mut self, index: LeafIndex) {
        if let Some(leaf) = self.leaves.get_mut(index.0 as usize).and_then(Option::take) {
            let view = leaf.at(index);
            self.encryption_keys.remove(view.encryption_key(), index.into());
            self.signature_keys.remove(view.signature_key(), index.into());
        }
    }

    fn forget_parent(&mut self, node: NodeIndex) {
        if let Some(parent) = self.parents.get_mut(node.0 as usize / 2).and_then(Option::take) {
            self.encryption_keys.remove(parent.encryption_key.as_bytes(), node);
        }
    }

    /// Fills the tree up with blanks to its size, and computes what is kept beside the nodes.
    fn from_nodes(
        suite: &'static Suite,
        size: TreeSize,
        mut leaves: Vec<Option<Leaf>>,
        mut parents: Vec<Option<Box<ParentNode>>>,
    ) -> Self {
        let slots = size.leaves() as usize;
        leaves.resize_with(slots, || None);
        leaves.shrink_to_fit();
        parents.resize_with(slots - 1, || None);
        parents.shrink_to_fit();
        let mut tree = Self {
            suite,
            size,
            leaves,
            parents,
            hashes: vec![0; size.nodes() as usize * suite.hash_length()],
            encryption_keys: KeyIndex::default(),
            signature_keys: KeyIndex::default(),
            support: Support::default(),
            members: 0,
            first_blank: 0,
        };
        let members = tree.leaves.iter().flatten().count();
        tree.members = u32::try_from(members).unwrap_or(u32::MAX);
        let first_blank = tree.leaves.iter().position(Option::is_none).unwrap_or(slots);
        tree.first_blank = u32::try_from(first_blank).unwrap_or(u32::MAX);
        tree.encryption_keys = (0..size.nodes())
            .map(NodeIndex)
            .filter_map(|node| Some((tree.encryption_key(node)?, node)))
            .collect();
        tree.signature_keys =
            tree.leaves().map(|leaf| (leaf.signature_key(), leaf.index().into())).collect();
        tree.support = Support::of_all(tree.leaves());
        tree.hash_everything();
        tree
    }

    fn hash_everything(&mut self) {
        for index in (0..self.size.leaves()).map(LeafIndex) {
            let leaf = self.leaf(index).map(LeafRef::as_bytes);
            let hash = leaf_tree_hash(self.suite, index, leaf);
            self.put_hash(index.into(), &hash);
        }
        let mut scratch = Vec::new();
        let mut width = 2;
        while width <= self.size.leaves() {
            for node in (width - 1..self.size.nodes()).step_by(width as usize * 2).map(NodeIndex) {
                let left = node.left().map(|left| self.hash_slice(left)).unwrap_or_default();
                let right = node.right().map(|right| self.hash_slice(right)).unwrap_or_default();
                let parent = self.parent(node);
                let hash = parent_tree_hash(self.suite, parent, left, right, &mut scratch);
                self.put_hash(node, &hash);
            }
            width *= 2;
        }
    }
}

impl Sealed for RatchetTree {}

impl TreeView for RatchetTree {
    fn suite(&self) -> &'static Suite {
        self.suite
    }

    fn size(&self) -> TreeSize {
        self.size
    }

    fn leaf(&self, index: LeafIndex) -> Option<LeafRef<'_>> {
        self.leaves.get(index.0 as usize)?.as_ref().map(|leaf| leaf.at(index))
    }

    fn parent(&self, node: NodeIndex) -> Option<&ParentNode> {
        if node.level() == 0 { None } else { self.parents.get(node.0 as usize / 2)?.as_deref() }
    }

    fn member_count(&self) -> u32 {
        self.members
    }

    fn count(&self, feature: Feature) -> u32 {
        self.support.count(feature)
    }

    fn credential_types_in_use(&self) -> Vec<CredentialType> {
        let in_use = self.support.features().filter_map(|feature| match feature {
            Feature::CredentialInUse(credential) => Some(credential),
            _ => None,
        });
        in_use.collect()
    }

    fn find_encryption_key(&self, key: &[u8]) -> Option<NodeIndex> {
        self.encryption_key_candidates(key).find(|node| self.encryption_key(*node) == Some(key))
    }

    fn find_signature_key(&self, key: &[u8]) -> Option<LeafIndex> {
        self.signature_key_candidates(key)
            .find(|leaf| self.leaf(*leaf).is_some_and(|leaf| leaf.signature_key() == key))
    }
}

impl PartialEq for RatchetTree {
    fn eq(&self, other: &Self) -> bool {
        self.suite.id == other.suite.id
            && self.leaves == other.leaves
            && self.parents == other.parents
    }
}

impl Eq for RatchetTree {}

enum Content {
    Leaf(Leaf),
    Parent(Box<ParentNode>),
}

/// `optional<Node>` (RFC 9420 section 12.4.3.3).
fn decode_node(reader: &mut Reader<'_>) -> Result<Option<Content>, DecodeError> {
    match u8::decode(reader)? {
        0 => return Ok(None),
        1 => {}
        other => return Err(DecodeError::BadPresence(other)),
    }
    match u8::decode(reader)? {
        1 => Ok(Some(Content::Leaf(Leaf::decode(reader)?))),
        2 => Ok(Some(Content::Parent(Decode::decode(reader)?))),
        other => Err(DecodeError::UnknownValue { what: "node_type", value: other.into() }),
    }
}
