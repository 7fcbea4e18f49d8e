//! Fuzz targets of `mls`: functions of bytes that panic when an invariant breaks.
//!
//! Whatever the bytes are: nothing panics; what decodes encodes to the same bytes; a message that is refused leaves the
//! state as it was; members and delivery service agree on what is public. Beyond the decoders the bytes are not a
//! message but a recipe: a member as the attacker builds a message by it, alters it, and then signs and tags it again,
//! so that the altered message gets past the cryptography to the rules behind it.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target reports by panicking; the replay of the corpus is a module of this file and uses a part"
)]

mod forge;
#[path = "../../tests/support/glass.rs"]
mod glass;
mod group_info;
mod handshake;
mod input;
mod memory;
mod proposals;
mod seeds;
mod snapshot;
mod tree;
mod welcome;
mod wire;
mod world;

pub use self::{
    group_info::group_info,
    handshake::{process, public_group},
    seeds::{tree_seeds, wire_seeds},
    snapshot::snapshot,
    tree::tree,
    welcome::welcome,
    wire::{TYPES, wire},
};
