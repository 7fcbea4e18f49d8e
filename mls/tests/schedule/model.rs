//! A reference model of the secret tree: derives every key from the root, and keeps plain sets of generations.

use std::collections::{BTreeMap, BTreeSet};

use mls::{
    crypto::{Secret, Suite},
    schedule::{RatchetKind, RatchetLimits, SecretTreeError},
};

/// Key and nonce of a message.
pub(crate) type KeyAndNonce = (Vec<u8>, Vec<u8>);

/// Secrets from the root down to the leaf, both included.
pub(crate) fn path_secrets(suite: &Suite, root: &[u8], depth: u32, leaf: u32) -> Vec<Secret> {
    let mut path = vec![Secret::from_slice(root)];
    for level in (0..depth).rev() {
        let side: &[u8] = if leaf >> level & 1 == 0 { b"left" } else { b"right" };
        let above = path.last().unwrap();
        path.push(suite.expand_with_label(above, "tree", side, suite.hash_length()).unwrap());
    }
    path
}

/// Secrets of a leaf's ratchet for the generations from 0 to `last`.
pub(crate) fn ratchet_secrets(
    suite: &Suite,
    leaf_secret: &Secret,
    kind: RatchetKind,
    last: u32,
) -> Vec<Secret> {
    let label = match kind {
        RatchetKind::Handshake => "handshake",
        RatchetKind::Application => "application",
    };
    let mut secrets = vec![suite.derive_secret(leaf_secret, label).unwrap()];
    for generation in 0..last {
        let before = secrets.last().unwrap();
        let length = suite.hash_length();
        secrets.push(suite.derive_tree_secret(before, "secret", generation, length).unwrap());
    }
    secrets
}

/// The key of one message, from the root.
pub(crate) fn key_and_nonce(
    suite: &Suite,
    root: &[u8],
    depth: u32,
    leaf: u32,
    kind: RatchetKind,
    generation: u32,
) -> KeyAndNonce {
    let path = path_secrets(suite, root, depth, leaf);
    let secrets = ratchet_secrets(suite, path.last().unwrap(), kind, generation);
    let derive = |label, length| {
        let secret = secrets.last().unwrap();
        suite.derive_tree_secret(secret, label, generation, length).unwrap().as_bytes().to_vec()
    };
    (derive("key", suite.aead.key_length()), derive("nonce", suite.aead.nonce_length()))
}

/// Which generations a member can still open.
pub(crate) struct Model {
    limits: RatchetLimits,
    ratchets: BTreeMap<(u32, bool), Generations>,
}

#[derive(Default)]
struct Generations {
    next: u32,
    open: BTreeSet<u32>,
    given_up_below: u32,
}

impl Model {
    pub(crate) fn new(limits: RatchetLimits) -> Self {
        Self { limits, ratchets: BTreeMap::new() }
    }

    /// What the tree must answer, and, if the message is genuine, what it must remember.
    pub(crate) fn receive(
        &mut self,
        leaf: u32,
        kind: RatchetKind,
        generation: u32,
        genuine: bool,
    ) -> Result<(), SecretTreeError> {
        let limit = self.limits.max_forward;
        let state = self.ratchets.entry((leaf, kind == RatchetKind::Handshake)).or_default();
        let next = state.next;
        if generation < next && !state.open.contains(&generation) {
            return Err(if generation < state.given_up_below {
                let oldest = state.given_up_below;
                SecretTreeError::GenerationTooOld { generation, oldest }
            } else {
                SecretTreeError::KeyConsumed { generation }
            });
        }
        if generation > next + limit {
            return Err(SecretTreeError::GenerationTooFarAhead { generation, next, limit });
        }
        if genuine {
            state.open.extend(next..=generation);
            state.open.remove(&generation);
            state.next = next.max(generation + 1);
            while state.open.len() > self.limits.max_kept as usize {
                state.given_up_below = state.open.pop_first().unwrap() + 1;
            }
        }
        Ok(())
    }
}
