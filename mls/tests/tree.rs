//! The ratchet tree and TreeKEM under random histories and under bad input.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

#[path = "tree/bad_paths.rs"]
mod bad_paths;
#[path = "tree/bad_trees.rs"]
mod bad_trees;
#[path = "tree/group.rs"]
mod group;
#[path = "tree/histories.rs"]
mod histories;
#[path = "tree/structure.rs"]
mod structure;
