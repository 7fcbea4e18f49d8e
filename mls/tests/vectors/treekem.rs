//! treekem.json: receiving and making update paths (RFC 9420 sections 7.4 to 7.6).

use mls::{
    codec::{Decode, Encode},
    crypto::{Secret, Suite},
    tree::{
        NewLeaf, NodeIndex, RatchetTree, SavedKey, TreeOverlay, TreePrivateKeys, TreeView,
        verify_leaf_node_signature,
    },
    wire::{
        CipherSuite, Extensions, GroupContext, GroupId, LeafIndex, ProtocolVersion, TreeHash,
        TreePosition, UpdatePath,
    },
};
use rand::{SeedableRng, rngs::StdRng};
use serde::Deserialize;

use super::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    group_id: Hex,
    epoch: u64,
    confirmed_transcript_hash: Hex,
    ratchet_tree: Hex,
    leaves_private: Vec<LeafPrivate>,
    update_paths: Vec<Path>,
}

#[derive(Deserialize)]
struct LeafPrivate {
    index: u32,
    encryption_priv: Hex,
    signature_priv: Hex,
    path_secrets: Vec<NodePathSecret>,
}

#[derive(Deserialize)]
struct NodePathSecret {
    node: u32,
    path_secret: Hex,
}

#[derive(Deserialize)]
struct Path {
    sender: u32,
    update_path: Hex,
    path_secrets: Vec<Option<Hex>>,
    commit_secret: Hex,
    tree_hash_after: Hex,
}

impl Case {
    /// The provisional GroupContext of a commit that leads to this tree.
    fn context(&self, tree_hash: TreeHash) -> Vec<u8> {
        GroupContext {
            version: ProtocolVersion::MLS10,
            cipher_suite: CipherSuite(self.cipher_suite),
            group_id: GroupId(self.group_id.to_vec()),
            epoch: self.epoch,
            tree_hash,
            confirmed_transcript_hash: self.confirmed_transcript_hash.to_vec(),
            extensions: Extensions::new(),
        }
        .to_bytes()
    }
}

/// The key pair that belongs to a path secret, derived without the code under test.
fn node_key(suite: &Suite, path_secret: &[u8]) -> Vec<u8> {
    let secret = suite.derive_secret(&Secret::from_slice(path_secret), "node").unwrap();
    suite.kem.derive_key_pair(secret.as_bytes()).unwrap().export().unwrap().as_bytes().to_vec()
}

fn private_keys(suite: &Suite, tree: &RatchetTree, leaf: &LeafPrivate) -> TreePrivateKeys {
    let own = LeafIndex(leaf.index);
    let inner = leaf
        .path_secrets
        .iter()
        .map(|secret| (NodeIndex(secret.node), node_key(suite, &secret.path_secret)));
    let saved = std::iter::once((own.into(), leaf.encryption_priv.to_vec()))
        .chain(inner)
        .map(|(node, key)| SavedKey { node, key: Secret::from(key).into() });
    let keys = TreePrivateKeys::import(suite, own, saved).unwrap();
    keys.check(tree).unwrap();
    keys
}

fn received_path(suite: &'static Suite, case: &Case, tree: &RatchetTree, path: &Path) {
    let sender = LeafIndex(path.sender);
    let update_path = UpdatePath::from_bytes(&path.update_path).unwrap();
    let group_id = GroupId(case.group_id.to_vec());
    let position = TreePosition { group_id: &group_id, leaf_index: sender };
    verify_leaf_node_signature(suite, &update_path.leaf_node, position).unwrap();

    let mut overlay = TreeOverlay::new(tree);
    let merged = overlay.merge_path(sender, &update_path).unwrap();
    let tree_hash = overlay.tree_hash();
    assert_eq!(tree_hash.as_bytes(), &*path.tree_hash_after);
    let context = case.context(tree_hash);

    for leaf in case.leaves_private.iter().filter(|leaf| leaf.index != path.sender) {
        let keys = private_keys(suite, tree, leaf);
        let decrypted = merged.decrypt(&overlay, &context, &keys).unwrap();
        assert_eq!(decrypted.commit_secret.as_bytes(), &*path.commit_secret);
        decrypted.private.check(&overlay).unwrap();
        let ancestor = NodeIndex::from(sender).common_ancestor(LeafIndex(leaf.index).into());
        let path_secret = path.path_secrets[leaf.index as usize].as_ref().unwrap();
        let key = decrypted.private.key(ancestor).unwrap().export().unwrap();
        assert_eq!(key.as_bytes(), node_key(suite, path_secret));
    }
}

fn own_path(suite: &'static Suite, case: &Case, tree: &RatchetTree, leaf: &LeafPrivate) {
    let mut rng = StdRng::seed_from_u64(7);
    let sender = LeafIndex(leaf.index);
    let old = tree.leaf(sender).unwrap();
    let signer = suite.signature_key_pair(&leaf.signature_priv, old.signature_key()).unwrap();
    let new_leaf = NewLeaf {
        signer: &*signer,
        credential: old.credential(),
        capabilities: old.capabilities(),
        extensions: old.extensions(),
    };
    let group_id = GroupId(case.group_id.to_vec());
    let mut ours = TreeOverlay::new(tree);
    let new_path = ours.new_path(sender, new_leaf, &group_id, &mut rng).unwrap();
    let tree_hash = ours.tree_hash();
    let context = case.context(tree_hash.clone());
    let path = new_path.encrypt(&ours, &context, &mut rng).unwrap();
    path.private.check(&ours).unwrap();
    assert!(path.joiners.is_empty());

    let mut theirs = TreeOverlay::new(tree);
    let merged = theirs.merge_path(sender, &path.update_path).unwrap();
    assert_eq!(theirs.tree_hash(), tree_hash);
    for other in case.leaves_private.iter().filter(|other| other.index != leaf.index) {
        let keys = private_keys(suite, tree, other);
        let decrypted = merged.decrypt(&theirs, &context, &keys).unwrap();
        assert_eq!(decrypted.commit_secret, path.commit_secret);
    }
    let staged = theirs.finish();
    let encoded = staged.view(tree).encode_tree();
    RatchetTree::from_bytes(suite, &encoded).unwrap().validate(&group_id).unwrap();
}

#[test]
fn treekem() {
    common::run("treekem", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        for suite in suites {
            let tree = RatchetTree::from_bytes(suite, &case.ratchet_tree).unwrap();
            tree.validate(&GroupId(case.group_id.to_vec())).unwrap();
            for path in &case.update_paths {
                received_path(suite, &case, &tree, path);
            }
            for leaf in &case.leaves_private {
                own_path(suite, &case, &tree, leaf);
            }
        }
    });
}
