//! One update path for each rule of RFC 9420 that a committer can break.

use std::sync::Arc;

use mls::{
    crypto::{CryptoError, Secret},
    tree::{
        NodeIndex, PathSecret, TreeOverlay, TreePrivateKeys, TreeView, UpdatePathError,
        sign_leaf_node,
    },
    wire::{
        HpkePublicKey, LeafIndex, LeafNode, LeafNodeSource, ParentHash, SignaturePublicKey,
        TreePosition, UpdatePath,
    },
};

use super::group::{Plan, World, suite_1, suite_2};

const SENDER: LeafIndex = LeafIndex(2);
const RECEIVER: LeafIndex = LeafIndex(3);

/// A path from leaf 2 of six members, with its GroupContext.
struct Sent {
    world: World,
    path: UpdatePath,
    context: Vec<u8>,
}

fn sent(mut world: World) -> Sent {
    let signer = Arc::clone(&world.members[&SENDER].signer);
    let leaf = world.new_leaf(SENDER, &*signer);
    let mut overlay = TreeOverlay::new(&world.tree);
    let new = overlay.new_path(SENDER, leaf, &world.group_id, &mut world.rng).unwrap();
    let context = world.context(overlay.tree_hash().as_bytes());
    let path = new.encrypt(&overlay, &context, &mut world.rng).unwrap().update_path;
    Sent { world, path, context }
}

fn six() -> Sent {
    sent(World::full(suite_1(), 31, 6))
}

fn sign(world: &World, leaf_node: &mut LeafNode) {
    let position = TreePosition { group_id: &world.group_id, leaf_index: SENDER };
    sign_leaf_node(world.suite, leaf_node, position, &*world.members[&SENDER].signer).unwrap();
}

/// The verdict on an altered path, re-signed by its sender. The tree stays as it was.
fn refused(alter: impl FnOnce(&World, &mut UpdatePath)) -> UpdatePathError {
    let Sent { world, mut path, .. } = six();
    let before = world.tree.encode_tree();
    assert!(TreeOverlay::new(&world.tree).merge_path(SENDER, &path).is_ok());
    alter(&world, &mut path);
    sign(&world, &mut path.leaf_node);
    let error = TreeOverlay::new(&world.tree).merge_path(SENDER, &path).unwrap_err();
    assert_eq!(world.tree.encode_tree(), before);
    error
}

#[test]
fn from_nobody() {
    let Sent { world, path, .. } = six();
    for leaf in [6, 7, 8, u32::MAX].map(LeafIndex) {
        let error = TreeOverlay::new(&world.tree).merge_path(leaf, &path).unwrap_err();
        assert_eq!(error, UpdatePathError::NoSender { leaf });
    }
}

#[test]
fn from_a_member_that_the_commit_removes() {
    let Sent { world, path, .. } = six();
    let mut overlay = TreeOverlay::new(&world.tree);
    overlay.remove(SENDER).unwrap();
    let error = overlay.merge_path(SENDER, &path).unwrap_err();
    assert_eq!(error, UpdatePathError::NoSender { leaf: SENDER });
}

#[test]
fn with_a_leaf_of_another_source() {
    let error = refused(|_, path| path.leaf_node.source = LeafNodeSource::Update);
    assert_eq!(error, UpdatePathError::LeafSource);
}

#[test]
fn with_the_old_leaf_key() {
    let error = refused(|world, path| {
        let key = world.tree.encryption_key(SENDER.into()).unwrap();
        path.leaf_node.encryption_key = HpkePublicKey::from(key);
    });
    assert_eq!(error, UpdatePathError::LeafKeyUnchanged);
}

#[test]
fn with_the_signature_key_of_another_member() {
    let error = refused(|world, path| {
        let key = world.tree.leaf(LeafIndex(5)).unwrap().signature_key();
        path.leaf_node.signature_key = SignaturePublicKey::from(key);
    });
    assert_eq!(error, UpdatePathError::SignatureKeyInUse { leaf: LeafIndex(5) });
}

#[test]
fn too_short_or_too_long() {
    let error = refused(|_, path| drop(path.nodes.pop()));
    assert_eq!(error, UpdatePathError::WrongLength { expected: 3, actual: 2 });
    let error = refused(|_, path| path.nodes.push(path.nodes[0].clone()));
    assert_eq!(error, UpdatePathError::WrongLength { expected: 3, actual: 4 });
}

#[test]
fn with_too_few_or_too_many_ciphertexts() {
    let node = NodeIndex(3);
    let error = refused(|_, path| drop(path.nodes[1].encrypted_path_secret.pop()));
    assert_eq!(error, UpdatePathError::WrongCiphertextCount { node, expected: 1, actual: 0 });
    let error = refused(|_, path| {
        let copy = path.nodes[1].encrypted_path_secret[0].clone();
        path.nodes[1].encrypted_path_secret.push(copy);
    });
    assert_eq!(error, UpdatePathError::WrongCiphertextCount { node, expected: 1, actual: 2 });
}

/// Those who join with the commit get their path secret from the Welcome, not from the path.
#[test]
fn with_a_ciphertext_for_a_leaf_that_the_commit_adds() {
    let Sent { mut world, path, .. } = six();
    let joiner = world.candidate();
    let mut overlay = TreeOverlay::new(&world.tree);
    assert_eq!(overlay.add(&joiner.leaf_node), Ok(LeafIndex(6)));
    let copy = path.nodes[2].encrypted_path_secret[0].clone();
    let mut extended = path.clone();
    extended.nodes[2].encrypted_path_secret.push(copy);
    let error = overlay.merge_path(SENDER, &extended).unwrap_err();
    let node = NodeIndex(7);
    assert_eq!(error, UpdatePathError::WrongCiphertextCount { node, expected: 1, actual: 2 });
}

#[test]
fn with_a_key_of_the_tree() {
    for used in [0, 4, 5, 9, 7, 3].map(NodeIndex) {
        if used == NodeIndex::from(SENDER) {
            continue;
        }
        let key = |world: &World| HpkePublicKey::from(world.tree.encryption_key(used).unwrap());
        let error = refused(|world, path| path.nodes[1].encryption_key = key(world));
        assert_eq!(error, UpdatePathError::KeyInUse { node: used });
        let error = refused(|world, path| path.leaf_node.encryption_key = key(world));
        assert_eq!(error, UpdatePathError::KeyInUse { node: used });
    }
}

#[test]
fn with_one_key_twice() {
    let error =
        refused(|_, path| path.nodes[2].encryption_key = path.nodes[0].encryption_key.clone());
    assert_eq!(error, UpdatePathError::RepeatedKey);
    let error =
        refused(|_, path| path.nodes[2].encryption_key = path.leaf_node.encryption_key.clone());
    assert_eq!(error, UpdatePathError::RepeatedKey);
}

#[test]
fn with_bytes_that_are_no_key() {
    let Sent { world, mut path, .. } = sent(World::full(suite_2(), 32, 4));
    path.nodes[1].encryption_key.0[40] ^= 1;
    let error = TreeOverlay::new(&world.tree).merge_path(SENDER, &path).unwrap_err();
    let (node, invalid) = (NodeIndex(3), CryptoError::InvalidPublicKey);
    assert_eq!(error, UpdatePathError::InvalidPublicKey { node, error: invalid });
    path.nodes[1].encryption_key.0.pop();
    let error = TreeOverlay::new(&world.tree).merge_path(SENDER, &path).unwrap_err();
    assert!(matches!(error, UpdatePathError::InvalidPublicKey { node: NodeIndex(3), .. }));
}

#[test]
fn with_a_wrong_parent_hash() {
    let error = refused(|_, path| {
        path.leaf_node.source = LeafNodeSource::Commit(ParentHash(vec![0; 32]));
    });
    assert_eq!(error, UpdatePathError::ParentHash);
    let error = refused(|_, path| path.nodes[1].encryption_key.0[0] ^= 1);
    assert_eq!(error, UpdatePathError::ParentHash);
}

/// The verdict of a member on an altered path that passes the public checks. Its keys stay as they were.
fn undecryptable(
    alter: impl FnOnce(&mut World, &mut UpdatePath, &[u8]),
    private: impl FnOnce(&World) -> TreePrivateKeys,
) -> UpdatePathError {
    let Sent { mut world, mut path, context } = six();
    alter(&mut world, &mut path, &context);
    let keys = private(&world);
    let before: Vec<_> = keys.export().unwrap().into_iter().map(|k| (k.node, k.key)).collect();
    let mut overlay = TreeOverlay::new(&world.tree);
    let merged = overlay.merge_path(SENDER, &path).unwrap();
    let error = merged.decrypt(&overlay, &context, &keys).unwrap_err();
    let after: Vec<_> = keys.export().unwrap().into_iter().map(|k| (k.node, k.key)).collect();
    assert_eq!(before, after);
    error
}

fn receiver(world: &World) -> TreePrivateKeys {
    world.members[&RECEIVER].private.retained(&world.tree)
}

#[test]
fn by_oneself() {
    let own = |world: &World| world.members[&SENDER].private.retained(&world.tree);
    let error = undecryptable(|_, _, _| {}, own);
    assert_eq!(error, UpdatePathError::NotAReceiver { leaf: SENDER });
}

#[test]
fn by_a_member_that_the_commit_removes() {
    let Sent { mut world, .. } = six();
    let signer = Arc::clone(&world.members[&SENDER].signer);
    let leaf = world.new_leaf(SENDER, &*signer);
    let mut overlay = TreeOverlay::new(&world.tree);
    overlay.remove(RECEIVER).unwrap();
    let new = overlay.new_path(SENDER, leaf, &world.group_id, &mut world.rng).unwrap();
    let path = new.encrypt(&overlay, b"context", &mut world.rng).unwrap().update_path;
    let mut overlay = TreeOverlay::new(&world.tree);
    overlay.remove(RECEIVER).unwrap();
    let merged = overlay.merge_path(SENDER, &path).unwrap();
    let error = merged.decrypt(&overlay, b"context", &receiver(&world)).unwrap_err();
    assert_eq!(error, UpdatePathError::NotAReceiver { leaf: RECEIVER });
}

#[test]
fn with_keys_of_another_tree() {
    let stranger = |world: &World| {
        TreePrivateKeys::new(RECEIVER, world.suite.kem.derive_key_pair(&[7; 32]).unwrap())
    };
    assert_eq!(undecryptable(|_, _, _| {}, stranger), UpdatePathError::NoPrivateKey);
}

#[test]
fn with_a_ciphertext_that_does_not_open() {
    let node = NodeIndex(5);
    let error = undecryptable(
        |_, path, _| path.nodes[0].encrypted_path_secret[0].ciphertext[0] ^= 1,
        receiver,
    );
    assert_eq!(error, UpdatePathError::Decrypt { node, error: CryptoError::DecryptionFailed });
    let error = undecryptable(
        |_, path, _| path.nodes[0].encrypted_path_secret[0].kem_output.truncate(31),
        receiver,
    );
    assert_eq!(error, UpdatePathError::Decrypt { node, error: CryptoError::InvalidKemOutput });
}

#[test]
fn bound_to_another_group_context() {
    let Sent { world, path, .. } = six();
    let mut overlay = TreeOverlay::new(&world.tree);
    let merged = overlay.merge_path(SENDER, &path).unwrap();
    let error = merged.decrypt(&overlay, b"another", &receiver(&world)).unwrap_err();
    let (node, failed) = (NodeIndex(5), CryptoError::DecryptionFailed);
    assert_eq!(error, UpdatePathError::Decrypt { node, error: failed });
}

/// Encrypts other bytes in place of the path secret for the receiver.
fn replace_secret(world: &mut World, path: &mut UpdatePath, context: &[u8], secret: &[u8]) {
    let suite = world.suite;
    let key = suite.kem.public_key(world.tree.encryption_key(RECEIVER.into()).unwrap()).unwrap();
    let sealed = suite.encrypt_with_label(&*key, "UpdatePathNode", context, secret, &mut world.rng);
    path.nodes[0].encrypted_path_secret[0] = sealed.unwrap();
}

#[test]
fn with_a_secret_of_another_length() {
    for actual in [0, 31, 33] {
        let secret = vec![1; actual];
        let error = undecryptable(
            |world, path, context| replace_secret(world, path, context, &secret),
            receiver,
        );
        assert_eq!(error, UpdatePathError::PathSecretLength { expected: 32, actual });
    }
}

#[test]
fn with_a_secret_that_gives_other_keys() {
    let error = undecryptable(
        |world, path, context| replace_secret(world, path, context, &[1; 32]),
        receiver,
    );
    assert_eq!(error, UpdatePathError::PublicKeyMismatch { node: NodeIndex(5) });
}

#[test]
fn joining_with_the_wrong_keys() {
    let mut world = World::full(suite_1(), 33, 4);
    let suite = world.suite;
    let joiner = world.candidate();
    let mut overlay = TreeOverlay::new(&world.tree);
    let leaf = overlay.add(&joiner.leaf_node).unwrap();
    let signer = Arc::clone(&world.members[&SENDER].signer);
    let new_leaf = world.new_leaf(SENDER, &*signer);
    let new = overlay.new_path(SENDER, new_leaf, &world.group_id, &mut world.rng).unwrap();
    let path = new.encrypt(&overlay, b"context", &mut world.rng).unwrap();
    let staged = overlay.finish();
    let tree = staged.view(&world.tree);
    let join = |key: &[u8], signer, secret: Option<&[u8]>| {
        let key = suite.kem.private_key(key).unwrap();
        let secret = secret.map(PathSecret::from_slice);
        TreePrivateKeys::join(&tree, leaf, key, signer, secret).map(drop)
    };
    let own = joiner.leaf_key.export().unwrap();
    let secret = path.joiners[0].path_secret.as_bytes();
    assert_eq!(path.joiners[0].leaf, leaf);
    assert_eq!(join(own.as_bytes(), SENDER, Some(secret)), Ok(()));
    assert_eq!(join(own.as_bytes(), SENDER, None), Ok(()));

    let other = suite.kem.derive_key_pair(&[7; 32]).unwrap().export().unwrap();
    let error = join(other.as_bytes(), SENDER, Some(secret));
    assert_eq!(error, Err(UpdatePathError::OwnLeafKey { leaf }));
    let error = join(own.as_bytes(), SENDER, Some(&[1; 32]));
    assert_eq!(error, Err(UpdatePathError::PublicKeyMismatch { node: NodeIndex(7) }));
    for (signer, node) in [(leaf, NodeIndex::from(leaf)), (LeafIndex(5), NodeIndex(9))] {
        let error = join(own.as_bytes(), signer, Some(secret));
        assert_eq!(error, Err(UpdatePathError::BlankNode { node }));
    }
    let long = PathSecret::received(suite, Secret::zeroed(33)).map(drop);
    assert_eq!(long, Err(UpdatePathError::PathSecretLength { expected: 32, actual: 33 }));
}

#[test]
fn to_a_tree_with_bytes_that_are_no_key() {
    let mut world = World::full(suite_2(), 34, 2);
    let mut joiner = world.candidate();
    joiner.leaf_node.encryption_key.0[40] ^= 1;
    let mut overlay = TreeOverlay::new(&world.tree);
    overlay.add(&joiner.leaf_node).unwrap();
    let staged = overlay.finish();
    world.tree.apply(staged);
    world.members.retain(|leaf, _| leaf.0 == 0);
    let signer = Arc::clone(&world.members[&LeafIndex(0)].signer);
    let leaf = world.new_leaf(LeafIndex(0), &*signer);
    let mut overlay = TreeOverlay::new(&world.tree);
    let new = overlay.new_path(LeafIndex(0), leaf, &world.group_id, &mut world.rng).unwrap();
    let error = new.encrypt(&overlay, b"context", &mut world.rng).unwrap_err();
    let (node, invalid) = (NodeIndex(4), CryptoError::InvalidPublicKey);
    assert_eq!(error, UpdatePathError::Encrypt { node, error: invalid });
}

#[test]
fn a_commit_without_path_leaves_newcomers_unmerged() {
    let mut world = World::full(suite_1(), 35, 4);
    world.commit(LeafIndex(1), &Plan { adds: 2, ..Plan::default() });
    let keys = world.members[&LeafIndex(4)].private.export().unwrap();
    assert_eq!(keys.len(), 1);
}
