//! Receiving an update path (RFC 9420 sections 7.5, 7.6, 12.4.2).

use super::{
    NodeIndex, PathSecret, PathStep, TreeOverlay, TreePrivateKeys, TreeView, UpdatePathError,
    staged::repeated, update_path::UPDATE_PATH_NODE,
};
use crate::{
    crypto::Secret,
    schedule::CommitSecret,
    wire::{LeafIndex, LeafNodeSource, ParentHash, UpdatePath},
};

/// A received update path that passed all public checks and is merged into an overlay.
#[derive(Debug)]
pub struct MergedPath<'p> {
    sender: LeafIndex,
    steps: Vec<PathStep>,
    path: &'p UpdatePath,
}

/// What a member learns from an update path.
#[derive(Debug)]
pub struct DecryptedPath {
    /// Goes into the key schedule.
    pub commit_secret: CommitSecret,
    /// The member's private keys for the next epoch.
    pub private: TreePrivateKeys,
}

impl TreeOverlay<'_> {
    /// Checks an update path against the tree and merges it (RFC 9420 sections 7.5, 12.4.2). The proposals must have been
    /// applied; for an external commit, `sender` is the leaf that [`TreeOverlay::external_leaf`] gave.
    ///
    /// These are the checks that need no secret; everybody comes to the same result. What remains for the caller: the
    /// signature of the leaf and whether it suits the group (RFC 9420 section 7.3).
    ///
    /// # Errors
    /// [`UpdatePathError::NoSender`], [`UpdatePathError::SignatureKeyInUse`], [`UpdatePathError::LeafSource`],
    /// [`UpdatePathError::LeafKeyUnchanged`], [`UpdatePathError::WrongLength`],
    /// [`UpdatePathError::WrongCiphertextCount`], [`UpdatePathError::RepeatedKey`], [`UpdatePathError::KeyInUse`],
    /// [`UpdatePathError::InvalidPublicKey`], [`UpdatePathError::ParentHash`].
    pub fn merge_path<'p>(
        &mut self,
        sender: LeafIndex,
        path: &'p UpdatePath,
    ) -> Result<MergedPath<'p>, UpdatePathError> {
        self.check_path_sender(sender, path.leaf_node.signature_key.as_bytes())?;
        let LeafNodeSource::Commit(leaf_parent_hash) = &path.leaf_node.source else {
            return Err(UpdatePathError::LeafSource);
        };
        let leaf_key = path.leaf_node.encryption_key.as_bytes();
        if self.leaf(sender).is_some_and(|leaf| leaf.encryption_key() == leaf_key) {
            return Err(UpdatePathError::LeafKeyUnchanged);
        }
        let steps = self.filtered_direct_path(sender);
        self.check_shape(&steps, path)?;
        self.check_keys(sender, &steps, path)?;

        let keys = || path.nodes.iter().map(|node| node.encryption_key.as_bytes());
        let parent_hashes = self.path_parent_hashes(&steps, keys());
        let root = ParentHash::default();
        if parent_hashes.first().unwrap_or(&root) != leaf_parent_hash {
            return Err(UpdatePathError::ParentHash);
        }
        self.set_path(sender, &path.leaf_node, &steps, keys(), parent_hashes);
        Ok(MergedPath { sender, steps, path })
    }

    fn check_shape(&self, steps: &[PathStep], path: &UpdatePath) -> Result<(), UpdatePathError> {
        let (expected, actual) = (steps.len(), path.nodes.len());
        if expected != actual {
            return Err(UpdatePathError::WrongLength { expected, actual });
        }
        let recipients = self.recipients();
        for (step, node) in steps.iter().zip(&path.nodes) {
            let expected = recipients.count(step);
            let actual = node.encrypted_path_secret.len();
            if expected != actual {
                let node = step.node;
                return Err(UpdatePathError::WrongCiphertextCount { node, expected, actual });
            }
        }
        Ok(())
    }

    /// Each key is a public key of the suite and stands nowhere else, neither in the tree nor in the path.
    fn check_keys(
        &self,
        sender: LeafIndex,
        steps: &[PathStep],
        path: &UpdatePath,
    ) -> Result<(), UpdatePathError> {
        let inner = steps.iter().zip(&path.nodes);
        let inner = inner.map(|(step, node)| (node.encryption_key.as_bytes(), step.node));
        let leaf = (path.leaf_node.encryption_key.as_bytes(), NodeIndex::from(sender));
        let mut keys: Vec<_> = std::iter::once(leaf).chain(inner).collect();
        for (key, node) in keys.iter().copied() {
            if let Some(node) = self.find_encryption_key(key) {
                return Err(UpdatePathError::KeyInUse { node });
            }
            if let Err(error) = self.suite().kem.check_public_key(key) {
                return Err(UpdatePathError::InvalidPublicKey { node, error });
            }
        }
        keys.sort_unstable();
        if repeated(&keys).is_some() { Err(UpdatePathError::RepeatedKey) } else { Ok(()) }
    }
}

impl MergedPath<'_> {
    /// Decrypts the path secret meant for this member, derives those above it and checks the keys that follow from them
    /// (RFC 9420 sections 7.5, 7.6). `tree` is the overlay that the path was merged into, `group_context` the encoded
    /// provisional GroupContext (RFC 9420 section 12.4.2). The member's present keys stay as they are.
    ///
    /// # Errors
    /// [`UpdatePathError::NotAReceiver`], [`UpdatePathError::NoPrivateKey`], [`UpdatePathError::Decrypt`],
    /// [`UpdatePathError::PathSecretLength`], [`UpdatePathError::PublicKeyMismatch`], [`UpdatePathError::Crypto`].
    pub fn decrypt(
        &self,
        tree: &TreeOverlay<'_>,
        group_context: &[u8],
        private: &TreePrivateKeys,
    ) -> Result<DecryptedPath, UpdatePathError> {
        let suite = tree.suite();
        let leaf = private.own_leaf();
        if leaf == self.sender || tree.leaf(leaf).is_none() || tree.added().contains(&leaf) {
            return Err(UpdatePathError::NotAReceiver { leaf });
        }
        let own = NodeIndex::from(leaf);
        let overlap = self.steps.iter().position(|step| step.copath_child.covers(own));
        let overlap = overlap.ok_or(UpdatePathError::NotAReceiver { leaf })?;
        let mut next = private.retained(tree);
        let secret = self.open(tree, overlap, group_context, &next)?;
        let mut secret = PathSecret::received(suite, secret)?;
        for step in self.steps.iter().skip(overlap) {
            next.set_checked(tree, step.node, &secret)?;
            secret = secret.next(suite)?;
        }
        Ok(DecryptedPath { commit_secret: secret.into_commit_secret(), private: next })
    }

    /// Decrypts the path secret of a step with whichever key of its recipients the member holds.
    fn open(
        &self,
        tree: &TreeOverlay<'_>,
        step: usize,
        group_context: &[u8],
        private: &TreePrivateKeys,
    ) -> Result<Secret, UpdatePathError> {
        let mut steps = self.steps.iter().zip(&self.path.nodes).skip(step);
        let (step, sealed) = steps.next().ok_or(UpdatePathError::NoPrivateKey)?;
        let (key, sealed) = tree
            .recipients()
            .of(step)
            .into_iter()
            .zip(&sealed.encrypted_path_secret)
            .find_map(|(node, sealed)| Some((private.key(node)?, sealed)))
            .ok_or(UpdatePathError::NoPrivateKey)?;
        tree.suite()
            .decrypt_with_label(key, UPDATE_PATH_NODE, group_context, sealed)
            .map_err(|error| UpdatePathError::Decrypt { node: step.node, error })
    }
}
