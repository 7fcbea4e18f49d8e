//! Proposals beyond the common ones, with OpenMLS 0.9 and mls-rs 0.57: from outside the group, of a type that the application
//! defines, and SelfRemove. Each side makes them, and the other accepts and commits them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests"
)]

#[path = "interop_proposals/mls_rs_peer.rs"]
mod mls_rs_peer;
#[path = "interop_proposals/openmls_peer.rs"]
mod openmls_peer;
#[path = "interop_proposals/scene.rs"]
mod scene;
#[path = "support/mod.rs"]
mod support;
