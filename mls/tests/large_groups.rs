//! What the feature `threads` spreads: the encryption to many receivers and the signature checks of a join. The same tests
//! run without it; what they ask for does not depend on it, nor on the number of threads.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use mls::{
    Group, Processed,
    codec::{Decode, Encode},
    tree::{RatchetTree, TreeError},
    wire::{LeafIndex, Node},
};
use support::*;

/// Enough for several threads.
const MEMBERS: usize = 100;

#[test]
fn a_commit_and_a_welcome_for_many_reach_everybody() {
    for options in [public_options(), private_options()] {
        let rng = &mut rng(1);
        // All of them have joined by one Welcome, and the tree is blank.
        let mut groups = group_of(MEMBERS, suite(), &options, rng);
        commit_by(&mut groups, MEMBERS / 2, rng);
        commit_by(&mut groups, 3, rng);
    }
}

#[test]
fn a_commit_for_many_follows_from_state_and_randomness() {
    let groups = group_of(MEMBERS, suite(), &public_options(), &mut rng(2));
    let key = mls::SnapshotKey::generate(&mut rng(3));
    let saved = groups[7].save(&key, &mut rng(3)).unwrap();
    let again = || groups[7].client().restore(&saved, &key).unwrap();
    let commit = |mut group: Group, seed| {
        let pending = group.commit().build(&mut rng(seed), NOW).unwrap();
        pending.commit().to_vec()
    };
    let first = commit(again(), 4);
    assert!(first.len() > MEMBERS * 48, "one ciphertext for each");
    assert!(first == commit(again(), 4));
    assert!(first != commit(again(), 5));
    let mut receiver = groups.into_iter().next_back().unwrap();
    assert!(matches!(receiver.process(&first, NOW), Ok(Processed::Commit(_))));
}

#[test]
fn of_several_bad_signatures_the_first_leaf_is_named() {
    let groups = group_of(MEMBERS, suite(), &public_options(), &mut rng(6));
    let mut nodes = Vec::<Option<Node>>::from_bytes(&groups[0].ratchet_tree()).unwrap();
    let check = |nodes: &Vec<Option<Node>>| {
        let tree = RatchetTree::from_bytes(suite(), &nodes.to_bytes()).unwrap();
        tree.verify_leaf_signatures(groups[0].id())
    };
    assert_eq!(check(&nodes), Ok(()));
    for bad in [99, 50, 49, 20, 1] {
        let Some(Node::Leaf(leaf)) = &mut nodes[bad * 2] else { panic!("expected a leaf") };
        leaf.signature.0[5] ^= 1;
        let leaf = LeafIndex(u32::try_from(bad).unwrap());
        let named = check(&nodes);
        let expected =
            matches!(named, Err(TreeError::LeafSignature { leaf: at, .. }) if at == leaf);
        assert!(expected, "{leaf:?}: {named:?}");
    }
}
