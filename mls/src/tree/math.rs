//! Positions in an array-based tree (RFC 9420 appendix C).

use std::ops::RangeInclusive;

use crate::wire::LeafIndex;

/// The largest tree that this library handles: 2^30 leaves.
const MAX_DEPTH: u32 = 30;

/// The position of a node: leaves have even numbers, parents odd ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIndex(pub u32);

/// The position of the leaf's node. A leaf index beyond every possible tree gives a node beyond every possible tree.
impl From<LeafIndex> for NodeIndex {
    fn from(leaf: LeafIndex) -> Self {
        Self(leaf.0.saturating_mul(2))
    }
}

impl std::fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl NodeIndex {
    /// Distance from the leaves: 0 for a leaf.
    #[must_use]
    pub fn level(self) -> u32 {
        self.0.trailing_ones()
    }

    /// The leaf that stands here, unless this is the position of a parent.
    #[must_use]
    pub fn leaf(self) -> Option<LeafIndex> {
        (self.level() == 0).then_some(LeafIndex(self.0 / 2))
    }

    /// The left child; `None` for a leaf.
    #[must_use]
    pub fn left(self) -> Option<Self> {
        let below = self.level().checked_sub(1)?;
        Some(Self(self.0 ^ (1 << below)))
    }

    /// The right child; `None` for a leaf.
    #[must_use]
    pub fn right(self) -> Option<Self> {
        let below = self.level().checked_sub(1)?;
        Some(Self(self.0 ^ (3 << below)))
    }

    /// The parent in a tree of this size; `None` for the root and for positions outside the tree.
    #[must_use]
    pub fn parent(self, size: TreeSize) -> Option<Self> {
        if self == size.root() || !size.contains_node(self) {
            return None;
        }
        let level = self.level();
        let bit = (self.0 >> (level + 1)) & 1;
        Some(Self((self.0 | (1 << level)) ^ (bit << (level + 1))))
    }

    /// The other child of the parent; `None` where there is no parent.
    #[must_use]
    pub fn sibling(self, size: TreeSize) -> Option<Self> {
        let parent = self.parent(size)?;
        if self < parent { parent.right() } else { parent.left() }
    }

    /// The ancestors, from the parent up to the root (RFC 9420 section 4.1.2).
    pub fn direct_path(self, size: TreeSize) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(size), move |node| node.parent(size))
    }

    /// The sibling, and those of all ancestors but the root, upwards (RFC 9420 section 4.1.2).
    pub fn copath(self, size: TreeSize) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), move |node| node.parent(size))
            .map_while(move |node| node.sibling(size))
    }

    /// The lowest node that has both below it or is one of them and has the other below it.
    #[must_use]
    pub fn common_ancestor(self, other: Self) -> Self {
        let (x, y) = (u64::from(self.0), u64::from(other.0));
        let mut level = self.level().max(other.level());
        while x >> (level + 1) != y >> (level + 1) {
            level += 1;
        }
        let node = (x >> (level + 1) << (level + 1)) | ((1 << level) - 1);
        Self(u32::try_from(node).unwrap_or(u32::MAX))
    }

    /// The leaves of the subtree under this node, by index.
    #[must_use]
    pub fn leaves_below(self) -> RangeInclusive<LeafIndex> {
        let nodes = self.nodes_below();
        LeafIndex(nodes.start() / 2)..=LeafIndex(nodes.end() / 2)
    }

    /// True when `other` is this node or stands in the subtree under it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.nodes_below().contains(&other.0)
    }

    fn nodes_below(self) -> RangeInclusive<u32> {
        let reach = 1u32.checked_shl(self.level()).map_or(u32::MAX, |width| width - 1);
        self.0.saturating_sub(reach)..=self.0.saturating_add(reach)
    }
}

/// The number of leaf positions of a tree: a power of two, as trees are always full (RFC 9420 section 7.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeSize {
    depth: u32,
}

impl TreeSize {
    /// The size of a tree with a single leaf.
    pub const ONE: Self = Self { depth: 0 };

    /// The smallest tree with at least this many leaf positions; `None` above 2^30.
    #[must_use]
    pub fn holding(leaves: u32) -> Option<Self> {
        let depth = leaves.max(1).checked_next_power_of_two()?.trailing_zeros();
        (depth <= MAX_DEPTH).then_some(Self { depth })
    }

    /// The number of leaf positions.
    #[must_use]
    pub fn leaves(self) -> u32 {
        1 << self.depth
    }

    /// The number of node positions.
    #[must_use]
    pub fn nodes(self) -> u32 {
        self.leaves() * 2 - 1
    }

    /// The root.
    #[must_use]
    pub fn root(self) -> NodeIndex {
        NodeIndex(self.leaves() - 1)
    }

    /// True when the leaf's position is within the tree.
    #[must_use]
    pub fn contains(self, leaf: LeafIndex) -> bool {
        leaf.0 < self.leaves()
    }

    /// True when the position is within the tree.
    #[must_use]
    pub fn contains_node(self, node: NodeIndex) -> bool {
        node.0 < self.nodes()
    }

    /// Twice the size; `None` above 2^30 leaves.
    #[must_use]
    pub fn doubled(self) -> Option<Self> {
        let depth = self.depth + 1;
        (depth <= MAX_DEPTH).then_some(Self { depth })
    }

    /// Half the size; `None` for a single leaf.
    #[must_use]
    pub fn halved(self) -> Option<Self> {
        self.depth.checked_sub(1).map(|depth| Self { depth })
    }
}
