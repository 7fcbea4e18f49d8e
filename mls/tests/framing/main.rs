//! Message framing: bad input by the name of its error, forgeries, padding, redaction.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

#[path = "../support/backends.rs"]
mod backends;

mod altered;
mod group;
mod private_message;
mod public_message;

use backends::{any_suite, suites};
