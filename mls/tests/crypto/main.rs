//! One conformance suite for every cipher suite of every cryptographic backend.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

#[path = "../support/backends.rs"]
mod backends;

mod bad_input;
mod conformance;
#[cfg(feature = "curve448-prerelease")]
mod curve448;
#[cfg(all(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod ed25519;
mod known_answers;
mod nist;
#[cfg(feature = "post-quantum")]
mod x_wing;

use backends::{providers, suites};
use mls::crypto::Suite;
use rand::{SeedableRng, rngs::StdRng};

/// Every ordered pair of backends that share a suite, a backend with itself included.
fn pairs() -> impl Iterator<Item = (&'static Suite, &'static Suite)> {
    suites().flat_map(|a| suites().filter(move |b| a.id == b.id).map(move |b| (a, b)))
}

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
