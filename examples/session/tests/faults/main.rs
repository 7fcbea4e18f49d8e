//! Sessions and the real delivery service under virtual time, over a network that does everything a network can do.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says with which seed; the program `secrets` uses the rest of the world"
)]
#![allow(unreachable_pub, reason = "the items are shared between the modules of one test program")]

mod faults;
mod member;
mod network;

mod world;
