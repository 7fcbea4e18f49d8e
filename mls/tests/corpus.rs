//! The corpus of the fuzz targets (`mls/fuzz`).
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test reports by panicking"
)]

#[macro_use]
#[path = "corpus/replay.rs"]
mod replay;
#[path = "../fuzz/src/lib.rs"]
mod targets;

replays!(at least 20 inputs: wire, tree, group_info, welcome, process, public_group, snapshot);
