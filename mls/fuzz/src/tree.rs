//! A ratchet tree from bytes.

use mls::{
    tree::{RatchetTree, TreeView},
    wire::GroupId,
};

use super::{memory, world};

/// What the documentation of `RatchetTree::from_bytes` promises.
const MEMORY_PER_BYTE: usize = 200;

/// Decodes and validates a tree.
pub fn tree(data: &[u8]) {
    let suite = world::suite();
    let start = memory::mark();
    let tree = RatchetTree::from_bytes(suite, data);
    memory::check(start, data.len(), MEMORY_PER_BYTE);
    if let Ok(tree) = tree {
        assert_eq!(tree.encode_tree(), data);
        let valid = tree.validate(&GroupId(b"fuzz".to_vec()));
        if valid.is_ok() {
            assert_eq!(tree.leaves().count(), usize::try_from(tree.member_count()).unwrap());
        }
    }
}
