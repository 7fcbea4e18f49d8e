//! The secret tree (RFC 9420 section 9).

mod ratchet;
mod state;

use std::collections::BTreeMap;

use crate::{
    crypto::{CryptoError, Secret, Suite},
    wire::{ContentType, LeafIndex},
};

use super::{EncryptionSecret, MessageKey, SecretTreeError};
use ratchet::{Advance, Ratchet};

/// The largest depth whose leaves a `uint32` can number with room for the node above.
const MAX_DEPTH: u32 = 31;

/// Which of a leaf's two ratchets (RFC 9420 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RatchetKind {
    /// For proposals and commits.
    Handshake,
    /// For data of the application.
    Application,
}

impl From<ContentType> for RatchetKind {
    fn from(content_type: ContentType) -> Self {
        match content_type {
            ContentType::Application => Self::Application,
            ContentType::Proposal | ContentType::Commit => Self::Handshake,
        }
    }
}

/// How far a ratchet follows messages that come out of order (RFC 9420 section 15.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatchetLimits {
    /// How far beyond the next generation a message may lie. Each step costs three key derivations.
    pub max_forward: u32,
    /// How many keys of skipped generations one ratchet keeps, about 50 bytes each; the oldest go first.
    pub max_kept: u32,
}

impl Default for RatchetLimits {
    fn default() -> Self {
        Self { max_forward: 1000, max_kept: 256 }
    }
}

/// The keys of an epoch's private messages.
///
/// A leaf's secret is derived when the leaf is first used, and every secret above it is then deleted, as section 9.2 demands:
/// what remains is what other leaves need. A key for opening is derived tentatively; the tree changes only when the message
/// turns out to be genuine.
pub struct SecretTree {
    suite: &'static Suite,
    limits: RatchetLimits,
    own: LeafIndex,
    depth: u32,
    /// Node secrets by heap index: the root is 1, the children of `n` are `2n` and `2n + 1`. No node here is above another one
    /// or above a leaf in `ratchets`, and together they cover all leaves.
    nodes: BTreeMap<u64, Secret>,
    ratchets: BTreeMap<u32, LeafRatchets>,
}

/// A key for sending.
#[derive(Debug)]
pub struct SendKey {
    /// Its generation, for the sender data.
    pub generation: u32,
    /// The key. The ratchet holds no copy of it.
    pub key: MessageKey,
}

struct LeafRatchets {
    handshake: Ratchet,
    application: Ratchet,
}

impl LeafRatchets {
    fn of(&self, kind: RatchetKind) -> &Ratchet {
        match kind {
            RatchetKind::Handshake => &self.handshake,
            RatchetKind::Application => &self.application,
        }
    }

    fn of_mut(&mut self, kind: RatchetKind) -> &mut Ratchet {
        match kind {
            RatchetKind::Handshake => &mut self.handshake,
            RatchetKind::Application => &mut self.application,
        }
    }
}

/// A leaf that is used for the first time: the ratchets and what replaces the node secret they came from.
struct Entry {
    ancestor: u64,
    copath: Vec<(u64, Secret)>,
    ratchets: LeafRatchets,
}

/// A key that has been derived without changing the tree.
#[derive(Debug)]
pub(crate) struct Derived {
    pub(crate) key: MessageKey,
    pub(crate) change: TreeChange,
}

/// What the use of a key does to the tree.
pub(crate) struct TreeChange {
    leaf: LeafIndex,
    kind: RatchetKind,
    generation: u32,
    entry: Option<Entry>,
    advance: Option<Advance>,
}

impl SecretTree {
    /// The tree of an epoch whose ratchet tree has `leaves` leaves; any number is rounded up to a power of two.
    /// `own` is the leaf that sends.
    ///
    /// # Errors
    /// [`SecretTreeError::BadSize`] for no leaves or more than 2^31, [`SecretTreeError::NoSuchLeaf`] when `own` lies outside.
    pub fn new(
        suite: &'static Suite,
        encryption_secret: EncryptionSecret,
        leaves: u32,
        own: LeafIndex,
        limits: RatchetLimits,
    ) -> Result<Self, SecretTreeError> {
        let depth = leaves.checked_next_power_of_two().unwrap_or_default().trailing_zeros();
        if leaves == 0 || depth > MAX_DEPTH {
            return Err(SecretTreeError::BadSize(leaves));
        }
        let nodes = BTreeMap::from([(1, encryption_secret.into_secret())]);
        let tree = Self { suite, limits, own, depth, nodes, ratchets: BTreeMap::new() };
        tree.check_leaf(own)?;
        Ok(tree)
    }

    /// The suite of the group.
    #[must_use]
    pub fn suite(&self) -> &'static Suite {
        self.suite
    }

    /// The leaf that sends.
    #[must_use]
    pub fn own_leaf(&self) -> LeafIndex {
        self.own
    }

    /// The next key of one's own ratchet, taken out of it: it is never given out again, whatever the caller does with it.
    ///
    /// # Errors
    /// [`SecretTreeError::RatchetExhausted`].
    pub fn next_send_key(&mut self, kind: RatchetKind) -> Result<SendKey, SecretTreeError> {
        let next = self.next_generation(self.own, kind);
        let Derived { key, change } = self.derive_any(self.own, kind, next)?;
        self.consume(change);
        Ok(SendKey { generation: next, key })
    }

    /// Lets `open` try the key of a message. The key is consumed exactly when `open` succeeds; otherwise the tree is unchanged.
    ///
    /// # Errors
    /// What `open` returns, or any [`SecretTreeError`].
    pub fn use_key<T, E: From<SecretTreeError>>(
        &mut self,
        leaf: LeafIndex,
        kind: RatchetKind,
        generation: u32,
        open: impl FnOnce(&MessageKey) -> Result<T, E>,
    ) -> Result<T, E> {
        let Derived { key, change } = self.derive(leaf, kind, generation)?;
        let opened = open(&key)?;
        self.consume(change);
        Ok(opened)
    }

    /// Derives the key of a message from another member without changing the tree.
    pub(crate) fn derive(
        &self,
        leaf: LeafIndex,
        kind: RatchetKind,
        generation: u32,
    ) -> Result<Derived, SecretTreeError> {
        if leaf == self.own {
            return Err(SecretTreeError::OwnLeaf);
        }
        self.derive_any(leaf, kind, generation)
    }

    fn derive_any(
        &self,
        leaf: LeafIndex,
        kind: RatchetKind,
        generation: u32,
    ) -> Result<Derived, SecretTreeError> {
        self.check_leaf(leaf)?;
        // Before anything is derived: a generation out of reach must cost nothing.
        self.limits.check(self.next_generation(leaf, kind), generation)?;
        let (entry, step) = match self.ratchets.get(&leaf.0) {
            Some(ratchets) => {
                (None, ratchets.of(kind).derive(self.suite, self.limits, generation)?)
            }
            None => {
                let entry = self.enter(leaf)?;
                let step = entry.ratchets.of(kind).derive(self.suite, self.limits, generation)?;
                (Some(entry), step)
            }
        };
        let change = TreeChange { leaf, kind, generation, entry, advance: step.advance };
        Ok(Derived { key: step.key, change })
    }

    /// Puts a change into effect. It must come from this tree, unchanged since.
    pub(crate) fn consume(&mut self, change: TreeChange) {
        if let Some(entry) = change.entry {
            self.nodes.remove(&entry.ancestor);
            self.nodes.extend(entry.copath);
            self.ratchets.insert(change.leaf.0, entry.ratchets);
        }
        if let Some(ratchets) = self.ratchets.get_mut(&change.leaf.0) {
            let ratchet = ratchets.of_mut(change.kind);
            ratchet.apply(self.limits, change.generation, change.advance);
        }
    }

    /// Derives the way from the nearest secret above a leaf down to its two ratchets.
    fn enter(&self, leaf: LeafIndex) -> Result<Entry, CryptoError> {
        let position = (1u64 << self.depth) + u64::from(leaf.0);
        let found = (0..=self.depth)
            .find_map(|up| self.nodes.get(&(position >> up)).map(|secret| (up, secret)));
        let (up, ancestor) = found.ok_or(CryptoError::Backend("a leaf outside the secret tree"))?;
        let length = self.suite.hash_length();
        let mut secret = ancestor.duplicate();
        let mut copath = Vec::new();
        for level in (0..up).rev() {
            let child = position >> level;
            let left = self.suite.expand_with_label(&secret, "tree", b"left", length)?;
            let right = self.suite.expand_with_label(&secret, "tree", b"right", length)?;
            let (on_path, beside) = if child & 1 == 0 { (left, right) } else { (right, left) };
            copath.push((child ^ 1, beside));
            secret = on_path;
        }
        let ratchet = |label| self.suite.derive_secret(&secret, label).map(Ratchet::new);
        let ratchets =
            LeafRatchets { handshake: ratchet("handshake")?, application: ratchet("application")? };
        Ok(Entry { ancestor: position >> up, copath, ratchets })
    }

    fn next_generation(&self, leaf: LeafIndex, kind: RatchetKind) -> u32 {
        self.ratchets.get(&leaf.0).map_or(0, |ratchets| ratchets.of(kind).next())
    }

    fn leaves(&self) -> u64 {
        1 << self.depth
    }

    fn check_leaf(&self, leaf: LeafIndex) -> Result<(), SecretTreeError> {
        if u64::from(leaf.0) < self.leaves() {
            Ok(())
        } else {
            Err(SecretTreeError::NoSuchLeaf { leaf, leaves: self.leaves() })
        }
    }
}

impl std::fmt::Debug for SecretTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretTree")
            .field("leaves", &self.leaves())
            .field("leaves_used", &self.ratchets.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TreeChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeChange")
            .field("leaf", &self.leaf)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
