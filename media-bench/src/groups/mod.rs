//! MLS groups of any size in which any implementation holds a seat.
//!
//! A [`FullTree`] is a group whose every other leaf has committed, so that no node is blank: the shape that a group has after
//! a while. It is made by this project's `mls`; a peer joins it by a Welcome, as it would in the field.

mod blank_tree;
mod full_tree;
mod member;
mod mls_rs_peer;
mod openmls_peer;
mod ours;
mod pair;

pub use blank_tree::Newborn;
pub use full_tree::FullTree;
pub use member::{Committed, Implementation, Member, Outsider, Saved};
pub use pair::Pair;

pub(crate) use ours::plain_client;

use std::time::{SystemTime, UNIX_EPOCH};

use mls::UnixTime;

/// The time of the day: the peers read the clock themselves.
#[must_use]
pub fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(since.as_secs())
}
