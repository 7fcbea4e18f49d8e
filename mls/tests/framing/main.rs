//! Message framing: bad input by the name of its error, forgeries, padding, redaction.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

mod altered;
mod group;
mod private_message;
mod public_message;

use mls::{
    crypto::{self, CryptoProvider, Suite},
    wire::CipherSuite,
};

/// Every backend that is compiled in.
fn providers() -> Vec<&'static CryptoProvider> {
    vec![
        #[cfg(feature = "aws-lc-rs")]
        &crypto::AWS_LC_RS,
        #[cfg(feature = "rust-crypto")]
        &crypto::RUST_CRYPTO,
    ]
}

/// Every suite of every backend.
fn suites() -> impl Iterator<Item = &'static Suite> {
    providers().into_iter().flat_map(|provider| provider.suites)
}

/// A suite where any will do.
fn any_suite() -> &'static Suite {
    crypto::default_provider().suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519).unwrap()
}
