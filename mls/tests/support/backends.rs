//! The backends that are compiled in, and their suites.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "these are tests, and each binary uses a part of it"
)]

use mls::{
    crypto::{self, CryptoProvider, Suite},
    wire::CipherSuite,
};

/// Every backend that is compiled in.
pub(crate) fn providers() -> Vec<&'static CryptoProvider> {
    vec![
        #[cfg(feature = "aws-lc-rs")]
        &crypto::AWS_LC_RS,
        #[cfg(feature = "rust-crypto")]
        &crypto::RUST_CRYPTO,
    ]
}

/// Every suite of every backend.
pub(crate) fn suites() -> impl Iterator<Item = &'static Suite> {
    providers().into_iter().flat_map(|provider| provider.suites)
}

/// A suite where any will do.
pub(crate) fn any_suite() -> &'static Suite {
    crypto::default_provider().suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519).unwrap()
}
