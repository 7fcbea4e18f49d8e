//! Finds the nodes that have a given key without reading the tree.

use std::collections::BTreeSet;

use super::{NodeIndex, staged::repeated};

/// Nodes by the last eight bytes of a key.
///
/// Different keys may share these bytes, even on purpose, so that whoever looks one up compares the candidates; each key
/// that an attacker adds to a heap costs it a node in the tree.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyIndex(BTreeSet<(u64, NodeIndex)>);

impl KeyIndex {
    pub(super) fn insert(&mut self, key: &[u8], node: NodeIndex) {
        self.0.insert((abbreviation(key), node));
    }

    pub(super) fn remove(&mut self, key: &[u8], node: NodeIndex) {
        self.0.remove(&(abbreviation(key), node));
    }

    /// Nodes that may have this key.
    pub(super) fn candidates(&self, key: &[u8]) -> impl Iterator<Item = NodeIndex> {
        let short = abbreviation(key);
        self.0.range((short, NodeIndex(0))..=(short, NodeIndex(u32::MAX))).map(|entry| entry.1)
    }

    /// Two nodes with the same key, if there are any; `key` reads the key of a node.
    pub(super) fn repeated<'k>(
        &self,
        key: impl Fn(NodeIndex) -> Option<&'k [u8]>,
    ) -> Option<(NodeIndex, NodeIndex)> {
        let nodes: Vec<_> = self.0.iter().copied().collect();
        nodes.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1).find_map(|alike| {
            let mut keys: Vec<_> =
                alike.iter().filter_map(|(_, node)| Some((key(*node)?, *node))).collect();
            keys.sort_unstable();
            repeated(&keys)
        })
    }
}

impl<'a> FromIterator<(&'a [u8], NodeIndex)> for KeyIndex {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], NodeIndex)>>(keys: I) -> Self {
        Self(keys.into_iter().map(|(key, node)| (abbreviation(key), node)).collect())
    }
}

fn abbreviation(key: &[u8]) -> u64 {
    match key.last_chunk() {
        Some(end) => u64::from_be_bytes(*end),
        None => key.iter().fold(0, |short, byte| short << 8 | u64::from(*byte)),
    }
}
