//! The corpus of the fuzz targets (`sframe-bridge/fuzz`).
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test reports by panicking"
)]

#[macro_use]
#[path = "../../mls/tests/corpus/replay.rs"]
mod replay;
#[path = "../fuzz/src/lib.rs"]
mod targets;

replays!(at least 10 inputs: parse, reassembly, codecs);
