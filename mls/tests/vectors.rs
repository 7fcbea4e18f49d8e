//! The official test vectors of RFC 9420, one module for each file.
//!
//! `cargo test --release --workspace --test vectors -- --nocapture` prints how many cases of each file ran, and last the sum.
//! A workspace build has every feature, hence every suite. The files are searched in the folder that `FRAMELOCK_VECTORS`
//! names, else in `../shared/vectors` beside the workspace.

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
#[path = "vectors/deserialization.rs"]
mod deserialization;
#[path = "vectors/key_schedule.rs"]
mod key_schedule;
#[path = "vectors/message_protection.rs"]
mod message_protection;
#[path = "vectors/messages.rs"]
mod messages;
#[path = "vectors/passive_client.rs"]
mod passive_client;
#[path = "vectors/psk_secret.rs"]
mod psk_secret;
#[path = "vectors/secret_tree.rs"]
mod secret_tree;
#[path = "vectors/transcript_hashes.rs"]
mod transcript_hashes;
#[path = "vectors/tree_math.rs"]
mod tree_math;
#[path = "vectors/tree_operations.rs"]
mod tree_operations;
#[path = "vectors/tree_validation.rs"]
mod tree_validation;
#[path = "vectors/treekem.rs"]
mod treekem;
#[path = "vectors/welcome.rs"]
mod welcome;
