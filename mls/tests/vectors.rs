//! The official test vectors of RFC 9420, one module for each file.
//!
//! `cargo test -p mls --test vectors -- --nocapture` prints how many cases of each file ran. The files are searched in
//! the folder that `FRAMELOCK_VECTORS` names, else in `../shared/vectors` beside the workspace.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

#[path = "vectors/common.rs"]
mod common;
#[path = "vectors/crypto_basics.rs"]
mod crypto_basics;
