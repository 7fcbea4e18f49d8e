//! The delivery service with real groups, under virtual time.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "the items are shared between the modules of one test program")]

mod attacks;
mod client;
mod flow;
mod nodes;
mod presence;
mod random;
mod restart;
mod world;
