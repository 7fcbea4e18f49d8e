//! Saving and restoring a secret tree.

use std::collections::BTreeMap;

use crate::{
    codec::{Decode, DecodeError, Encode, Reader},
    crypto::{Secret, Suite},
    wire::LeafIndex,
};

use super::{LeafRatchets, MAX_DEPTH, RatchetLimits, SecretTree, ratchet::Ratchet};

const BAD: DecodeError = DecodeError::Malformed("a saved secret tree contradicts itself");

impl SecretTree {
    /// How many bytes [`SecretTree::save`] appends.
    #[must_use]
    pub fn saved_length(&self) -> usize {
        let nodes: usize = self.nodes.values().map(|secret| 8 + secret.length()).sum();
        let ratchets: usize = self
            .ratchets
            .values()
            .map(|leaf| 4 + leaf.handshake.saved_length() + leaf.application.saved_length())
            .sum();
        16 + nodes + ratchets
    }

    /// Appends the state in the clear; equal states give equal bytes.
    ///
    /// The caller encrypts and then overwrites `out`. To leave no copy behind in memory that a growing vector
    /// gave up, reserve [`SecretTree::saved_length`] bytes beforehand.
    pub fn save(&self, out: &mut Vec<u8>) {
        self.depth.encode(out);
        self.own.encode(out);
        (self.nodes.len() as u32).encode(out);
        for (position, secret) in &self.nodes {
            position.encode(out);
            out.extend_from_slice(secret.as_bytes());
        }
        (self.ratchets.len() as u32).encode(out);
        for (leaf, ratchets) in &self.ratchets {
            leaf.encode(out);
            ratchets.handshake.save(out);
            ratchets.application.save(out);
        }
    }

    /// Reads what [`SecretTree::save`] wrote for a group of the same suite.
    ///
    /// A tree that is restored from an old snapshot gives out keys that were used since. The reuse guard in each message
    /// (RFC 9420 section 6.3.1) makes a repeated nonce unlikely, not impossible: do not send before the next epoch.
    ///
    /// # Errors
    /// [`DecodeError`] when the input ends early or contradicts itself.
    pub fn restore(
        suite: &'static Suite,
        limits: RatchetLimits,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let depth = u32::decode(reader)?;
        let own = LeafIndex::decode(reader)?;
        if depth > MAX_DEPTH {
            return Err(BAD);
        }
        let mut tree =
            Self { suite, limits, own, depth, nodes: BTreeMap::new(), ratchets: BTreeMap::new() };
        for _ in 0..u32::decode(reader)? {
            let position = u64::decode(reader)?;
            let secret = Secret::from_slice(reader.take(suite.hash_length())?);
            if tree.nodes.insert(position, secret).is_some() {
                return Err(BAD);
            }
        }
        for _ in 0..u32::decode(reader)? {
            let leaf = u32::decode(reader)?;
            let handshake = Ratchet::restore(suite, reader)?;
            let application = Ratchet::restore(suite, reader)?;
            if tree.ratchets.insert(leaf, LeafRatchets { handshake, application }).is_some() {
                return Err(BAD);
            }
        }
        if tree.check_leaf(own).is_ok() && tree.covers_every_leaf_once() {
            Ok(tree)
        } else {
            Err(BAD)
        }
    }

    /// Every leaf has either its ratchets or exactly one secret above it.
    fn covers_every_leaf_once(&self) -> bool {
        let first_leaf = self.leaves();
        let last = first_leaf.saturating_mul(2);
        if self.nodes.keys().any(|&position| position == 0 || position >= last)
            || self.ratchets.keys().any(|&leaf| u64::from(leaf) >= first_leaf)
        {
            return false;
        }
        let below = |position: u64| first_leaf >> position.ilog2();
        let leaves_below: u64 = self.nodes.keys().map(|&position| below(position)).sum();
        let uncovered_above = |position: u64| {
            (1..=position.ilog2()).all(|up| !self.nodes.contains_key(&(position >> up)))
        };
        let ratchets =
            || self.ratchets.keys().map(|&leaf| first_leaf.saturating_add(u64::from(leaf)));
        leaves_below.checked_add(self.ratchets.len() as u64) == Some(first_leaf)
            && self.nodes.keys().all(|&position| uncovered_above(position))
            && ratchets().all(|leaf| uncovered_above(leaf) && !self.nodes.contains_key(&leaf))
    }
}
