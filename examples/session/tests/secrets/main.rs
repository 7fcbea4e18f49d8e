//! A whole call with every log taken down. A program of its own: in one with other tests, whether a log line is on at all
//! may be decided by their threads, which take none down.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and needs a part of the world only"
)]
#![allow(unreachable_pub, reason = "the items are shared between the modules of one test program")]

mod attacks;
#[path = "../faults/member.rs"]
mod member;
#[path = "../faults/network.rs"]
mod network;
#[path = "../faults/world.rs"]
mod world;
