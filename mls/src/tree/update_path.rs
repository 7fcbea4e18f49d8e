//! Making an update path (RFC 9420 sections 7.4 to 7.6).

use super::{
    NodeIndex, PathSecret, PathStep, TreeOverlay, TreePrivateKeys, TreeView, UpdatePathError,
    sign_leaf_node,
};
use crate::{
    crypto::{CryptoRng, KemPrivateKey, SigningKey},
    parallel::try_map_with_rng,
    schedule::CommitSecret,
    wire::{
        Capabilities, Credential, Extensions, GroupId, HpkeCiphertext, HpkePublicKey, LeafIndex,
        LeafNode, LeafNodeSource, Signature, SignaturePublicKey, TreePosition, UpdatePath,
        UpdatePathNode,
    },
};

pub(super) const UPDATE_PATH_NODE: &str = "UpdatePathNode";

/// What stands in the committer's new leaf, beside its fresh encryption key.
#[derive(Debug)]
pub struct NewLeaf<'a> {
    /// Signs the leaf; its public half becomes the leaf's signature key.
    pub signer: &'a dyn SigningKey,
    /// Who the committer is.
    pub credential: Credential,
    /// What the committer supports.
    pub capabilities: Capabilities,
    /// Extensions of the leaf.
    pub extensions: Extensions,
}

/// An update path whose keys are made and merged, but whose path secrets are not encrypted: they are bound to a
/// GroupContext that contains the tree hash with the new keys.
#[derive(Debug)]
pub struct NewPath {
    committer: LeafIndex,
    steps: Vec<PathStep>,
    path_secrets: Vec<PathSecret>,
    leaf_node: LeafNode,
    private: TreePrivateKeys,
    commit_secret: CommitSecret,
}

/// An update path ready to be sent, and what its sender keeps.
#[derive(Debug)]
pub struct EncryptedPath {
    /// Goes into the commit.
    pub update_path: UpdatePath,
    /// Goes into the key schedule.
    pub commit_secret: CommitSecret,
    /// The committer's private keys for the next epoch.
    pub private: TreePrivateKeys,
    /// For each leaf that the commit adds, in the order of their proposals, what its Welcome carries.
    pub joiners: Vec<JoinerPathSecret>,
}

/// The path secret for a member that joins with the commit (RFC 9420 section 12.4.3.1).
#[derive(Debug)]
pub struct JoinerPathSecret {
    /// The joiner's leaf.
    pub leaf: LeafIndex,
    /// The path secret of the lowest common ancestor of the joiner and the committer.
    pub path_secret: PathSecret,
}

impl TreeOverlay<'_> {
    /// Makes fresh keys for the committer's leaf and filtered direct path, and merges them into the overlay
    /// (RFC 9420 sections 7.4, 7.5). The proposals must have been applied. The next steps are the provisional GroupContext,
    /// with [`TreeOverlay::tree_hash`], and [`NewPath::encrypt`].
    ///
    /// # Errors
    /// [`UpdatePathError::NoSender`], [`UpdatePathError::SignatureKeyInUse`], [`UpdatePathError::Crypto`].
    pub fn new_path(
        &mut self,
        committer: LeafIndex,
        leaf: NewLeaf<'_>,
        group_id: &GroupId,
        rng: &mut dyn CryptoRng,
    ) -> Result<NewPath, UpdatePathError> {
        let suite = self.suite();
        self.check_path_sender(committer, leaf.signer.public())?;
        let steps = self.filtered_direct_path(committer);
        let leaf_key = suite.kem.fresh(rng)?;
        let encryption_key = HpkePublicKey::from(leaf_key.public());
        let mut private = TreePrivateKeys::new(committer, leaf_key);

        let mut path_secrets = Vec::with_capacity(steps.len());
        let mut keys: Vec<Box<dyn KemPrivateKey>> = Vec::with_capacity(steps.len());
        let mut secret = PathSecret::random(suite, rng);
        for _ in &steps {
            keys.push(secret.key_pair(suite)?);
            let next = secret.next(suite)?;
            path_secrets.push(std::mem::replace(&mut secret, next));
        }

        let public_keys = || keys.iter().map(|key| key.public());
        let parent_hashes = self.path_parent_hashes(&steps, public_keys());
        let mut leaf_node = LeafNode {
            encryption_key,
            signature_key: SignaturePublicKey::from(leaf.signer.public()),
            credential: leaf.credential,
            capabilities: leaf.capabilities,
            source: LeafNodeSource::Commit(parent_hashes.first().cloned().unwrap_or_default()),
            extensions: leaf.extensions,
            signature: Signature::default(),
        };
        let position = TreePosition { group_id, leaf_index: committer };
        sign_leaf_node(suite, &mut leaf_node, position, leaf.signer)?;
        self.set_path(committer, &leaf_node, &steps, public_keys(), parent_hashes);
        for (step, key) in steps.iter().zip(keys) {
            private.set(step.node, key);
        }
        let commit_secret = secret.into_commit_secret();
        Ok(NewPath { committer, steps, path_secrets, leaf_node, private, commit_secret })
    }

    /// The nodes to which the path secrets of an update path are encrypted.
    pub(super) fn recipients(&self) -> Recipients<'_> {
        let mut added = self.added().to_vec();
        added.sort_unstable();
        Recipients { tree: self, added }
    }

    /// Checks that a path may come from this leaf with this signature key.
    pub(super) fn check_path_sender(
        &self,
        sender: LeafIndex,
        signature_key: &[u8],
    ) -> Result<(), UpdatePathError> {
        if !self.may_send_path(sender) {
            return Err(UpdatePathError::NoSender { leaf: sender });
        }
        match self.find_signature_key(signature_key) {
            Some(leaf) if leaf != sender => Err(UpdatePathError::SignatureKeyInUse { leaf }),
            _ => Ok(()),
        }
    }
}

/// The nodes to which the path secret of a step is encrypted (RFC 9420 section 7.5): the resolution of the copath child
/// without the leaves that the commit adds, for they learn it from the Welcome.
pub(super) struct Recipients<'t> {
    tree: &'t TreeOverlay<'t>,
    /// Sorted.
    added: Vec<LeafIndex>,
}

impl Recipients<'_> {
    pub(super) fn of(&self, step: &PathStep) -> Vec<NodeIndex> {
        let mut nodes = Vec::new();
        self.visit(step, &mut |node| nodes.push(node));
        nodes
    }

    pub(super) fn count(&self, step: &PathStep) -> usize {
        let mut count = 0;
        self.visit(step, &mut |_| count += 1);
        count
    }

    fn visit(&self, step: &PathStep, visit: &mut dyn FnMut(NodeIndex)) {
        self.tree.visit_resolution(step.copath_child, &mut |node| {
            if node.leaf().is_none_or(|leaf| self.added.binary_search(&leaf).is_err()) {
                visit(node);
            }
        });
    }
}

impl NewPath {
    /// The committer's new leaf.
    #[must_use]
    pub fn leaf_node(&self) -> &LeafNode {
        &self.leaf_node
    }

    /// Encrypts the path secrets (RFC 9420 section 7.6). `tree` is the overlay that the path was merged into,
    /// `group_context` the encoded provisional GroupContext (RFC 9420 section 12.4.1).
    ///
    /// # Errors
    /// [`UpdatePathError::Encrypt`] when a key in the tree is not a public key of the suite.
    pub fn encrypt(
        self,
        tree: &TreeOverlay<'_>,
        group_context: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<EncryptedPath, UpdatePathError> {
        let receivers = tree.recipients();
        let mut recipients = Vec::new();
        let mut counts = Vec::with_capacity(self.steps.len());
        for (step, secret) in self.steps.iter().zip(&self.path_secrets) {
            let nodes = receivers.of(step);
            counts.push(nodes.len());
            recipients.extend(nodes.into_iter().map(|node| (node, secret)));
        }
        let encrypted = try_map_with_rng(tree.suite(), &recipients, rng, |(node, secret), rng| {
            encrypt_to(tree, *node, secret, group_context, rng)
        })?;
        let mut encrypted = encrypted.into_iter();
        let node = |(step, count): (&PathStep, usize)| UpdatePathNode {
            encryption_key: tree.encryption_key(step.node).unwrap_or_default().into(),
            encrypted_path_secret: encrypted.by_ref().take(count).collect(),
        };
        let nodes = self.steps.iter().zip(counts).map(node).collect();
        Ok(EncryptedPath {
            joiners: self.joiners(tree.added()),
            update_path: UpdatePath { leaf_node: self.leaf_node, nodes },
            commit_secret: self.commit_secret,
            private: self.private,
        })
    }

    fn joiners(&self, added: &[LeafIndex]) -> Vec<JoinerPathSecret> {
        let own = NodeIndex::from(self.committer);
        let path_secret = |leaf: LeafIndex| {
            let ancestor = own.common_ancestor(leaf.into());
            let place = self.steps.iter().position(|step| step.node == ancestor)?;
            let path_secret = self.path_secrets.get(place)?.duplicate();
            Some(JoinerPathSecret { leaf, path_secret })
        };
        added.iter().copied().filter_map(path_secret).collect()
    }
}

fn encrypt_to(
    tree: &TreeOverlay<'_>,
    node: NodeIndex,
    secret: &PathSecret,
    group_context: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<HpkeCiphertext, UpdatePathError> {
    let suite = tree.suite();
    let key = tree.encryption_key(node).unwrap_or_default();
    let encrypted = suite.kem.public_key(key).and_then(|key| {
        suite.encrypt_with_label(&*key, UPDATE_PATH_NODE, group_context, secret.as_bytes(), rng)
    });
    encrypted.map_err(|error| UpdatePathError::Encrypt { node, error })
}
