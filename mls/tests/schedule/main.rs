//! Key schedule and secret tree beyond the official vectors: limits, bad input, forward secrecy, redaction.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

#[path = "../support/backends.rs"]
mod backends;

mod key_schedule;
mod model;
mod reordering;
mod secret_tree;

use backends::{any_suite, suites};
