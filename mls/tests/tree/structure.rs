//! The examples of RFC 9420 section 4, and relations between positions.

use mls::{
    tree::{NodeIndex, TreeOverlay, TreeSize, TreeView},
    wire::LeafIndex,
};

use super::group::{Plan, World, suite_1};

/// The tree of section 4.1.2: five members A, B, E, F, G with T, W, X, Y set and U, V, Z blank.
fn full_tree() -> World {
    let mut world = World::new(suite_1(), 11);
    let path = Plan { path: true, ..Plan::default() };
    world.commit(LeafIndex(0), &Plan { adds: 6, ..Plan::default() });
    world.commit(LeafIndex(5), &path);
    world.commit(
        LeafIndex(6),
        &Plan { removes: vec![LeafIndex(2), LeafIndex(3)], path: true, ..Plan::default() },
    );
    world.commit(LeafIndex(1), &path);
    world
}

#[test]
fn filtered_direct_paths_of_the_rfc_example() {
    let world = full_tree();
    let path = |leaf| -> Vec<u32> {
        world.tree.filtered_direct_path(LeafIndex(leaf)).iter().map(|step| step.node.0).collect()
    };
    assert_eq!(path(0), [1, 7]);
    assert_eq!(path(1), [1, 7]);
    assert_eq!(path(4), [9, 11, 7]);
    assert_eq!(path(5), [9, 11, 7]);
    assert_eq!(path(6), [11, 7]);
    assert!(world.tree.is_blank(NodeIndex(3)) && world.tree.is_blank(NodeIndex(5)));
    assert_eq!(world.tree.resolution(NodeIndex(3)), [NodeIndex(1)]);
    assert_eq!(world.tree.resolution(NodeIndex(5)), []);
}

#[test]
fn an_added_leaf_is_unmerged_in_every_parent_above() {
    let mut world = full_tree();
    world.commit(LeafIndex(4), &Plan { adds: 1, ..Plan::default() });
    let unmerged = |node| world.tree.parent(NodeIndex(node)).map(|p| p.unmerged_leaves.clone());
    assert_eq!(unmerged(7), Some(vec![LeafIndex(2)]));
    assert_eq!(unmerged(11), Some(vec![]));
    assert_eq!(world.tree.resolution(NodeIndex(7)), [NodeIndex(7), NodeIndex(4)]);
}

#[test]
fn a_full_tree_doubles_and_an_empty_half_is_cut() {
    let mut world = World::full(suite_1(), 12, 4);
    assert_eq!(world.tree.size().leaves(), 4);
    world.commit(LeafIndex(0), &Plan { adds: 1, path: true, ..Plan::default() });
    assert_eq!(world.tree.size().leaves(), 8);
    let before = world.tree.encode_tree();
    let mut overlay = TreeOverlay::new(&world.tree);
    overlay.remove(LeafIndex(4)).unwrap();
    assert_eq!(overlay.size().leaves(), 4);
    drop(overlay);
    assert_eq!(world.tree.encode_tree(), before);
    world
        .commit(LeafIndex(0), &Plan { removes: vec![LeafIndex(4)], path: true, ..Plan::default() });
    assert_eq!(world.tree.size().leaves(), 4);
}

/// Against the definition of section 4.1.2 and appendix C, by walking upwards.
#[test]
fn common_ancestors() {
    let size = TreeSize::holding(16).unwrap();
    let line = |node: NodeIndex| -> Vec<_> {
        std::iter::once(node).chain(node.direct_path(size)).collect()
    };
    for a in (0..size.nodes()).map(NodeIndex) {
        for b in (0..size.nodes()).map(NodeIndex) {
            let above_a = line(a);
            let lowest = line(b).into_iter().find(|node| above_a.contains(node));
            assert_eq!(Some(a.common_ancestor(b)), lowest);
            assert_eq!(a.covers(b), line(b).contains(&a));
        }
    }
}

#[test]
fn positions_beyond_every_tree_do_no_harm() {
    let world = World::full(suite_1(), 13, 3);
    for leaf in [4, 5, 1 << 30, 1 << 31, u32::MAX].map(LeafIndex) {
        let node = NodeIndex::from(leaf);
        assert!(world.tree.leaf(leaf).is_none());
        assert!(world.tree.parent(node).is_none() && world.tree.is_blank(node));
        assert!(node.parent(world.tree.size()).is_none());
        assert!(world.tree.resolution(node).is_empty() && world.tree.has_empty_resolution(node));
        assert!(world.tree.filtered_direct_path(leaf).is_empty());
        assert!(TreeOverlay::new(&world.tree).remove(leaf).is_err());
    }
    assert_eq!(TreeSize::holding((1 << 30) + 1), None);
    assert_eq!(NodeIndex(u32::MAX).level(), 32);
    assert!(NodeIndex(u32::MAX).covers(NodeIndex(0)));
    assert_eq!(NodeIndex(u32::MAX).left(), Some(NodeIndex(0x7fff_ffff)));
}
