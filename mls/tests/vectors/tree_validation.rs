//! tree-validation.json: resolutions, tree hashes, parent hashes, leaf signatures (RFC 9420 sections 4.1.1, 7.3, 7.8, 7.9).

use mls::{
    tree::{NodeIndex, RatchetTree, TreeView},
    wire::GroupId,
};
use serde::Deserialize;

use super::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    tree: Hex,
    group_id: Hex,
    resolutions: Vec<Vec<u32>>,
    tree_hashes: Vec<Hex>,
}

#[test]
fn tree_validation() {
    common::run("tree-validation", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        for suite in suites {
            let tree = RatchetTree::from_bytes(suite, &case.tree).unwrap();
            let nodes = tree.size().nodes() as usize;
            assert_eq!((nodes, nodes), (case.resolutions.len(), case.tree_hashes.len()));
            for (node, resolution) in (0..).map(NodeIndex).zip(&case.resolutions) {
                let ours: Vec<u32> = tree.resolution(node).iter().map(|node| node.0).collect();
                assert_eq!(&ours, resolution);
                assert_eq!(tree.has_empty_resolution(node), resolution.is_empty());
            }
            for (node, hash) in (0..).map(NodeIndex).zip(&case.tree_hashes) {
                assert_eq!(tree.node_hash(node).unwrap().as_bytes(), &**hash);
            }
            tree.validate(&GroupId(case.group_id.to_vec())).unwrap();
            assert_eq!(tree.encode_tree(), *case.tree);
        }
    });
}
