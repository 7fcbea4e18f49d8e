//! How the parts behave together, and what they refuse.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attacks;
mod authentication;
mod bad_input;
mod committer;
mod common;
mod formats;
mod groups;
mod no_reuse;
mod oracle;
mod reinit;
mod rtp;
mod send_switch;
mod sender_keys;
mod threads;
mod verification;
mod waiting;
