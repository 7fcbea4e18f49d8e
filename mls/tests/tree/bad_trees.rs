//! One tree for each rule of RFC 9420 that a ratchet tree from others can break.

use mls::{
    codec::{Decode, DecodeError, Encode},
    crypto::CryptoError,
    tree::{NodeIndex, RatchetTree, TreeError, TreeOverlay, TreeView, sign_leaf_node},
    wire::{GroupId, LeafIndex, LeafNode, LeafNodeSource, Node, ParentNode, TreePosition},
};
use proptest::prelude::*;

use super::group::{Plan, World, suite_1};

type Nodes = Vec<Option<Node>>;

/// Eight members; leaf 6 was added last and is unmerged at nodes 11 and 7.
fn world() -> World {
    let mut world = World::full(suite_1(), 21, 8);
    let removes = vec![LeafIndex(6)];
    world.commit(LeafIndex(7), &Plan { removes, path: true, ..Plan::default() });
    world.commit(LeafIndex(4), &Plan { path: true, ..Plan::default() });
    world.commit(LeafIndex(0), &Plan { adds: 1, ..Plan::default() });
    world
}

fn nodes(world: &World) -> Nodes {
    Nodes::from_bytes(&world.tree.encode_tree()).unwrap()
}

fn leaf(nodes: &mut Nodes, index: usize) -> &mut LeafNode {
    match nodes[2 * index].as_mut().unwrap() {
        Node::Leaf(leaf) => leaf,
        Node::Parent(_) => panic!("a parent at the place of leaf {index}"),
    }
}

fn parent(nodes: &mut Nodes, node: usize) -> &mut ParentNode {
    match nodes[node].as_mut().unwrap() {
        Node::Parent(parent) => parent,
        Node::Leaf(_) => panic!("a leaf at node {node}"),
    }
}

/// Signs a leaf again after it was altered, as its owner could.
fn sign(world: &World, nodes: &mut Nodes, index: u32) {
    let leaf_index = LeafIndex(index);
    let position = TreePosition { group_id: &world.group_id, leaf_index };
    let signer = &world.members[&leaf_index].signer;
    sign_leaf_node(world.suite, leaf(nodes, index as usize), position, &**signer).unwrap();
}

fn validated(world: &World, nodes: &Nodes) -> Result<(), TreeError> {
    RatchetTree::from_bytes(world.suite, &nodes.to_bytes())?.validate(&world.group_id)
}

fn altered(alter: impl FnOnce(&World, &mut Nodes)) -> Result<(), TreeError> {
    let world = world();
    let mut nodes = nodes(&world);
    assert_eq!(validated(&world, &nodes), Ok(()));
    alter(&world, &mut nodes);
    validated(&world, &nodes)
}

#[test]
fn the_unaltered_tree_has_what_the_tests_alter() {
    let world = world();
    let mut nodes = nodes(&world);
    assert_eq!(nodes.len(), 15);
    assert!(nodes.iter().enumerate().all(|(node, content)| content.is_some() || node == 13));
    assert_eq!(parent(&mut nodes, 11).unmerged_leaves, [LeafIndex(6)]);
    assert_eq!(parent(&mut nodes, 7).unmerged_leaves, [LeafIndex(6)]);
}

#[test]
fn malformed() {
    let world = world();
    let bytes = world.tree.encode_tree();
    for end in 0..bytes.len() {
        let error = RatchetTree::from_bytes(world.suite, &bytes[..end]).unwrap_err();
        assert_eq!(error, TreeError::Decode(DecodeError::Truncated));
    }
    let longer = [&bytes[..], &[0]].concat();
    let error = RatchetTree::from_bytes(world.suite, &longer).unwrap_err();
    assert_eq!(error, TreeError::Decode(DecodeError::TrailingBytes(1)));
}

#[test]
fn no_node_at_all() {
    assert_eq!(altered(|_, nodes| nodes.clear()), Err(TreeError::Empty));
}

#[test]
fn the_last_node_is_blank() {
    assert_eq!(altered(|_, nodes| nodes.push(None)), Err(TreeError::TrailingBlank));
}

#[test]
fn the_last_node_is_a_parent() {
    let result = altered(|_, nodes| {
        let copy = nodes[11].clone();
        nodes.push(copy);
    });
    assert_eq!(result, Err(TreeError::TrailingParent));
}

#[test]
fn a_parent_at_the_place_of_a_leaf() {
    let result = altered(|_, nodes| nodes[4] = nodes[1].clone());
    assert_eq!(result, Err(TreeError::WrongNodeType { node: NodeIndex(4) }));
    let result = altered(|_, nodes| nodes[3] = nodes[4].clone());
    assert_eq!(result, Err(TreeError::WrongNodeType { node: NodeIndex(3) }));
}

#[test]
fn unmerged_leaves_out_of_order() {
    for list in [[5, 4], [4, 4]] {
        let result = altered(|_, nodes| {
            parent(nodes, 11).unmerged_leaves = list.map(LeafIndex).to_vec();
        });
        assert_eq!(result, Err(TreeError::UnmergedLeavesNotSorted { node: NodeIndex(11) }));
    }
}

#[test]
fn an_unmerged_leaf_elsewhere() {
    for leaf in [0, 3, 8, u32::MAX].map(LeafIndex) {
        let result = altered(|_, nodes| {
            parent(nodes, 11).unmerged_leaves.push(leaf);
            parent(nodes, 11).unmerged_leaves.sort_unstable();
        });
        assert_eq!(result, Err(TreeError::UnmergedLeafNotBelow { node: NodeIndex(11), leaf }));
    }
}

#[test]
fn a_blank_unmerged_leaf() {
    let result = altered(|_, nodes| nodes[12] = None);
    let error = TreeError::UnmergedLeafBlank { node: NodeIndex(7), leaf: LeafIndex(6) };
    assert_eq!(result, Err(error));
}

#[test]
fn an_unmerged_leaf_that_a_parent_between_does_not_list() {
    let result = altered(|_, nodes| parent(nodes, 11).unmerged_leaves.clear());
    let error = TreeError::UnmergedLeafNotListed { node: NodeIndex(11), leaf: LeafIndex(6) };
    assert_eq!(result, Err(error));
}

#[test]
fn two_nodes_with_one_encryption_key() {
    let result = altered(|world, nodes| {
        leaf(nodes, 2).encryption_key = leaf(nodes, 5).encryption_key.clone();
        sign(world, nodes, 2);
    });
    let (first, second) = (NodeIndex(4), NodeIndex(10));
    assert_eq!(result, Err(TreeError::DuplicateEncryptionKey { first, second }));
    let result = altered(|world, nodes| {
        leaf(nodes, 2).encryption_key = parent(nodes, 11).encryption_key.clone();
        sign(world, nodes, 2);
    });
    let (first, second) = (NodeIndex(4), NodeIndex(11));
    assert_eq!(result, Err(TreeError::DuplicateEncryptionKey { first, second }));
}

#[test]
fn two_leaves_with_one_signature_key() {
    let result = altered(|_, nodes| {
        leaf(nodes, 2).signature_key = leaf(nodes, 5).signature_key.clone();
    });
    let (first, second) = (LeafIndex(2), LeafIndex(5));
    assert_eq!(result, Err(TreeError::DuplicateSignatureKey { first, second }));
}

#[test]
fn parents_that_no_member_vouches_for() {
    for node in [1, 3, 5, 7, 9, 11] {
        let key = altered(|_, nodes| parent(nodes, node).encryption_key.0[0] ^= 1);
        assert!(matches!(key, Err(TreeError::ParentHash { .. })), "{node}: {key:?}");
        let hash = altered(|_, nodes| match parent(nodes, node).parent_hash.0.first_mut() {
            Some(byte) => *byte ^= 1,
            None => parent(nodes, node).parent_hash.0.push(0),
        });
        assert!(matches!(hash, Err(TreeError::ParentHash { .. })), "{node}: {hash:?}");
    }
}

#[test]
fn a_parent_that_nobody_below_has_set() {
    let result = altered(|_, nodes| {
        let mut made_up = parent(nodes, 11).clone();
        made_up.encryption_key.0[0] ^= 1;
        nodes[13] = Some(Node::Parent(Box::new(made_up)));
    });
    assert!(matches!(result, Err(TreeError::ParentHash { .. })), "{result:?}");
}

#[test]
fn a_merged_leaf_listed_as_unmerged() {
    let result = altered(|_, nodes| {
        for node in [11, 7] {
            parent(nodes, node).unmerged_leaves = vec![LeafIndex(5), LeafIndex(6)];
        }
        parent(nodes, 9).unmerged_leaves = vec![LeafIndex(5)];
    });
    assert!(matches!(result, Err(TreeError::ParentHash { .. })), "{result:?}");
}

#[test]
fn a_committer_whose_leaf_no_longer_vouches() {
    let result = altered(|world, nodes| {
        leaf(nodes, 4).source = LeafNodeSource::Update;
        sign(world, nodes, 4);
    });
    assert!(matches!(result, Err(TreeError::ParentHash { .. })), "{result:?}");
}

#[test]
fn signatures_of_leaves() {
    let result = altered(|_, nodes| leaf(nodes, 6).signature.0[3] ^= 1);
    let error = CryptoError::InvalidSignature;
    assert_eq!(result, Err(TreeError::LeafSignature { leaf: LeafIndex(6), error }));

    let world = world();
    let other = GroupId(b"another group".to_vec());
    let result = world.tree.validate(&other);
    assert_eq!(result, Err(TreeError::LeafSignature { leaf: LeafIndex(0), error }));
}

#[test]
fn changes_to_places_without_member() {
    let world = world();
    let leaf_node = world.tree.leaf(LeafIndex(0)).unwrap().to_leaf_node();
    let mut overlay = TreeOverlay::new(&world.tree);
    overlay.remove(LeafIndex(3)).unwrap();
    for leaf in [3, 8, u32::MAX].map(LeafIndex) {
        assert_eq!(overlay.remove(leaf), Err(TreeError::NoMember { leaf }));
        assert_eq!(overlay.update(leaf, &leaf_node), Err(TreeError::NoMember { leaf }));
    }
}

#[test]
fn memory_of_a_sparse_tree_is_bounded_by_its_encoding() {
    let world = world();
    let mut nodes: Nodes = vec![None; 20_000];
    nodes.push(Some(Node::Leaf(Box::new(leaf(&mut self::nodes(&world), 0).clone()))));
    let bytes = nodes.to_bytes();
    let tree = RatchetTree::from_bytes(world.suite, &bytes).unwrap();
    assert!(tree.size().nodes() as usize <= 2 * bytes.len());
    assert_eq!(tree.encode_tree(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is accepted is what was encoded; nothing panics.
    #[test]
    fn altered_bytes(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        thread_local! {
            static WORLD: World = world();
        }
        WORLD.with(|world| {
            let original = world.tree.encode_tree();
            let mut bytes = original.clone();
            for (place, value) in flips {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Ok(tree) = RatchetTree::from_bytes(world.suite, &bytes) {
                prop_assert_eq!(&tree.encode_tree(), &bytes);
                prop_assert_eq!(tree.validate(&world.group_id).is_ok(), bytes == original);
            }
            Ok(())
        })?;
    }
}
