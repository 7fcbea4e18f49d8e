//! tree-operations.json: adds, updates and removes (RFC 9420 sections 7.7, 12.1).

use mls::{
    codec::Decode,
    tree::{RatchetTree, TreeOverlay, TreeView},
    wire::{LeafIndex, Proposal},
};
use serde::Deserialize;

use super::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    tree_before: Hex,
    proposal: Hex,
    proposal_sender: u32,
    tree_after: Hex,
    tree_hash_before: Hex,
    tree_hash_after: Hex,
}

#[test]
fn tree_operations() {
    common::run("tree-operations", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        for suite in suites {
            let mut tree = RatchetTree::from_bytes(suite, &case.tree_before).unwrap();
            assert_eq!(tree.tree_hash().as_bytes(), &*case.tree_hash_before);
            assert_eq!(tree.encode_tree(), *case.tree_before);

            let mut overlay = TreeOverlay::new(&tree);
            match Proposal::from_bytes(&case.proposal).unwrap() {
                Proposal::Add(add) => {
                    overlay.add(&add.key_package.leaf_node).unwrap();
                }
                Proposal::Update(update) => {
                    overlay.update(LeafIndex(case.proposal_sender), &update.leaf_node).unwrap();
                }
                Proposal::Remove(remove) => overlay.remove(remove.removed).unwrap(),
                other => panic!("the file has only adds, updates and removes, not {other:?}"),
            }
            overlay.check_unique_keys().unwrap();
            let staged = overlay.finish();
            assert_eq!(staged.tree_hash().as_bytes(), &*case.tree_hash_after);
            assert_eq!(staged.view(&tree).encode_tree(), *case.tree_after);

            tree.apply(staged);
            assert_eq!(tree.tree_hash().as_bytes(), &*case.tree_hash_after);
            assert_eq!(tree.encode_tree(), *case.tree_after);
            assert_eq!(tree, RatchetTree::from_bytes(suite, &case.tree_after).unwrap());
        }
    });
}
