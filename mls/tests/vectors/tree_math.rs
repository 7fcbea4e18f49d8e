//! tree-math.json: RFC 9420 appendix C.

use mls::tree::{NodeIndex, TreeSize};
use serde::Deserialize;

use super::common;

#[derive(Deserialize)]
struct Case {
    n_leaves: u32,
    n_nodes: u32,
    root: u32,
    left: Vec<Option<u32>>,
    right: Vec<Option<u32>>,
    parent: Vec<Option<u32>>,
    sibling: Vec<Option<u32>>,
}

#[test]
fn tree_math() {
    common::run("tree-math", |case: Case| {
        let size = TreeSize::holding(case.n_leaves).unwrap();
        assert_eq!(size.leaves(), case.n_leaves);
        assert_eq!(size.nodes(), case.n_nodes);
        assert_eq!(size.root(), NodeIndex(case.root));
        let all = |relation: &dyn Fn(NodeIndex) -> Option<NodeIndex>| -> Vec<Option<u32>> {
            (0..case.n_nodes).map(|node| relation(NodeIndex(node)).map(|node| node.0)).collect()
        };
        assert_eq!(all(&NodeIndex::left), case.left);
        assert_eq!(all(&NodeIndex::right), case.right);
        assert_eq!(all(&|node| node.parent(size)), case.parent);
        assert_eq!(all(&|node| node.sibling(size)), case.sibling);
    });
}
