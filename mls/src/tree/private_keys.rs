//! The private keys of the tree that one member holds (RFC 9420 section 4.2).

use std::{collections::BTreeMap, sync::Arc};

use super::{NodeIndex, PathSecret, TreeView, UpdatePathError};
use crate::{
    crypto::{CryptoError, HpkePrivateKey, KemPrivateKey, Suite},
    wire::LeafIndex,
};

/// The private keys that a member holds in one epoch: that of its leaf, and those of the ancestors that it knows.
///
/// A commit gives a new value for the next epoch and leaves the old one as it is. Key objects that both epochs use are
/// shared; one that is no longer used is wiped when the old value is dropped.
#[derive(Debug)]
pub struct TreePrivateKeys {
    own_leaf: LeafIndex,
    keys: BTreeMap<NodeIndex, Arc<dyn KemPrivateKey>>,
}

/// A private key and its place, for storage.
#[derive(Debug)]
pub struct SavedKey {
    /// The node.
    pub node: NodeIndex,
    /// Its private key.
    pub key: HpkePrivateKey,
}

impl TreePrivateKeys {
    /// The keys of a member that knows only its own leaf's.
    #[must_use]
    pub fn new(own_leaf: LeafIndex, leaf_key: Box<dyn KemPrivateKey>) -> Self {
        Self { own_leaf, keys: BTreeMap::from([(own_leaf.into(), leaf_key.into())]) }
    }

    /// The keys of a member that joins by a Welcome (RFC 9420 section 12.4.3.1). `path_secret` is the one in its
    /// GroupSecrets, if any: that of the lowest common ancestor of its leaf and the leaf of `signer`, who signed the
    /// GroupInfo.
    ///
    /// # Errors
    /// [`UpdatePathError::OwnLeafKey`], [`UpdatePathError::BlankNode`], [`UpdatePathError::PublicKeyMismatch`],
    /// [`UpdatePathError::Crypto`].
    pub fn join(
        tree: &dyn TreeView,
        own_leaf: LeafIndex,
        leaf_key: Box<dyn KemPrivateKey>,
        signer: LeafIndex,
        path_secret: Option<PathSecret>,
    ) -> Result<Self, UpdatePathError> {
        let mut keys = Self::new(own_leaf, leaf_key);
        keys.check(tree)?;
        let Some(mut secret) = path_secret else { return Ok(keys) };
        let (own, size) = (NodeIndex::from(own_leaf), tree.size());
        let ancestor = own.common_ancestor(signer.into());
        if ancestor == own || tree.parent(ancestor).is_none() {
            return Err(UpdatePathError::BlankNode { node: ancestor });
        }
        // Nodes that the filter took out of the signer's direct path are blank.
        let path = std::iter::once(ancestor).chain(ancestor.direct_path(size));
        for node in path.filter(|node| !tree.is_blank(*node)) {
            keys.set_checked(tree, node, &secret)?;
            secret = secret.next(tree.suite())?;
        }
        Ok(keys)
    }

    /// The member's leaf.
    #[must_use]
    pub fn own_leaf(&self) -> LeafIndex {
        self.own_leaf
    }

    /// The number of keys.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The private key of a node, if the member holds it.
    #[must_use]
    pub fn key(&self, node: NodeIndex) -> Option<&dyn KemPrivateKey> {
        self.keys.get(&node).map(AsRef::as_ref)
    }

    /// The keys with another one for the leaf: what holds when an Update proposal of one's own is committed.
    #[must_use]
    pub fn with_leaf_key(&self, leaf_key: Arc<dyn KemPrivateKey>) -> Self {
        let mut next = self.shared();
        next.keys.insert(self.own_leaf.into(), leaf_key);
        next
    }

    /// The keys that are still those of a changed tree: what holds after a commit without an update path.
    #[must_use]
    pub fn retained(&self, tree: &dyn TreeView) -> Self {
        let mut next = self.shared();
        next.keys.retain(|node, key| tree.encryption_key(*node) == Some(key.public()));
        next
    }

    /// Checks that each key is the private half of the one in the tree, the leaf's among them.
    ///
    /// # Errors
    /// [`UpdatePathError::OwnLeafKey`], [`UpdatePathError::PublicKeyMismatch`].
    pub fn check(&self, tree: &dyn TreeView) -> Result<(), UpdatePathError> {
        let leaf = self.own_leaf;
        if !self.keys.contains_key(&leaf.into()) {
            return Err(UpdatePathError::OwnLeafKey { leaf });
        }
        for (node, key) in &self.keys {
            if tree.encryption_key(*node) != Some(key.public()) {
                return Err(match node.leaf() {
                    Some(leaf) => UpdatePathError::OwnLeafKey { leaf },
                    None => UpdatePathError::PublicKeyMismatch { node: *node },
                });
            }
        }
        Ok(())
    }

    /// All keys, for storage.
    ///
    /// # Errors
    /// [`CryptoError::Backend`].
    pub fn export(&self) -> Result<Vec<SavedKey>, CryptoError> {
        self.keys
            .iter()
            .map(|(node, key)| Ok(SavedKey { node: *node, key: key.export()? }))
            .collect()
    }

    /// Takes keys back from storage. [`TreePrivateKeys::check`] tells whether they belong to a tree.
    ///
    /// # Errors
    /// [`CryptoError::WrongLength`], [`CryptoError::InvalidPrivateKey`].
    pub fn import(
        suite: &Suite,
        own_leaf: LeafIndex,
        saved: impl IntoIterator<Item = SavedKey>,
    ) -> Result<Self, CryptoError> {
        let keys = saved.into_iter().map(|saved| {
            let key = suite.kem.private_key(saved.key.as_bytes())?;
            Ok((saved.node, Arc::from(key)))
        });
        Ok(Self { own_leaf, keys: keys.collect::<Result<_, CryptoError>>()? })
    }

    /// Derives the key pair of a node from its path secret, checks it against the tree and keeps it.
    pub(super) fn set_checked(
        &mut self,
        tree: &dyn TreeView,
        node: NodeIndex,
        secret: &PathSecret,
    ) -> Result<(), UpdatePathError> {
        let key = secret.key_pair(tree.suite())?;
        if tree.encryption_key(node) != Some(key.public()) {
            return Err(UpdatePathError::PublicKeyMismatch { node });
        }
        self.set(node, key);
        Ok(())
    }

    pub(super) fn set(&mut self, node: NodeIndex, key: Box<dyn KemPrivateKey>) {
        self.keys.insert(node, key.into());
    }

    fn shared(&self) -> Self {
        Self { own_leaf: self.own_leaf, keys: self.keys.clone() }
    }
}
