//! What a commit changes, in the application's terms.

use crate::{
    tree::LeafRef,
    validation::CustomProposal,
    wire::{Credential, KeyPackageRef, LeafIndex, ReInit, SignaturePublicKey},
};

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its leaf. The same leaf may hold another member in a later epoch.
    pub leaf: LeafIndex,
    /// Who it is, as the application's validator accepted it.
    pub credential: Credential,
    /// The key that verifies what it signs.
    pub signature_key: SignaturePublicKey,
}

impl From<LeafRef<'_>> for Member {
    fn from(leaf: LeafRef<'_>) -> Self {
        Self {
            leaf: leaf.index(),
            credential: leaf.credential(),
            signature_key: leaf.signature_key().into(),
        }
    }
}

/// What a commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The epoch that the commit starts.
    pub epoch: u64,
    /// Who committed, at the leaf that it has after the commit.
    pub committer: Member,
    /// True for an external commit. The committer then stands in `added` as well.
    pub external: bool,
    /// Who joins, in the order of the leaves' allocation.
    pub added: Vec<Member>,
    /// References of the key packages added, in the order of `added`; an external committer has none.
    /// A Welcome must name exactly these.
    pub welcomed: Vec<KeyPackageRef>,
    /// Who leaves, as it was before the commit. A resync has the committer's former leaf here.
    pub removed: Vec<Member>,
    /// Whose leaf an Update proposal replaced, as it is after the commit.
    pub updated: Vec<Member>,
    /// True when a GroupContextExtensions proposal replaced the extensions of the group.
    pub extensions_changed: bool,
    /// True when the commit carried a path, that is, renewed the committer's keys.
    pub path: bool,
    /// Number of pre-shared keys that enter the epoch.
    pub psks: usize,
    /// True when this member is among `removed`. Merging the commit ends its membership.
    pub self_removed: bool,
    /// The group is closed in favour of the one described here (RFC 9420 section 11.2).
    pub reinit: Option<ReInit>,
    /// The proposals of types that the application defines, in the order of the commit.
    pub custom: Vec<CustomProposal>,
}

impl Changes {
    /// True when somebody joins or leaves.
    #[must_use]
    pub fn membership_changed(&self) -> bool {
        !self.added.is_empty() || !self.removed.is_empty()
    }
}

/// The epoch that merging a commit started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochChange {
    /// The epoch that the group is in.
    pub epoch: u64,
    /// What changed.
    pub changes: Changes,
}
