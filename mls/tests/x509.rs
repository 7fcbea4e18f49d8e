//! X.509 credentials: chains that are accepted and chains that are not, and groups whose members have them.
#![cfg(feature = "x509")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests"
)]

#[path = "x509/authority.rs"]
mod authority;
#[path = "x509/chains.rs"]
mod chains;
#[path = "x509/groups.rs"]
mod groups;
#[path = "support/mod.rs"]
mod support;
