//! Cryptography: cipher suites, the backends that carry them out, and the labelled functions of RFC 9420.
//!
//! A [`CryptoProvider`] is a plain struct that names the [`Suite`]s of one backend; a [`Suite`] is a plain struct of
//! `&'static dyn` parts. A caller resolves its suite once and keeps the `&'static Suite`:
//!
//! ```
//! use mls::{crypto, wire::CipherSuite};
//!
//! let suite = crypto::default_provider()
//!     .suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519)
//!     .ok_or("the backend lacks the suite")?;
//! let key = suite.signature.generate(&mut crypto::os_rng())?;
//! let signature = suite.sign_with_label(&*key, "Example", b"content")?;
//! let public = suite.signature.verifying_key(key.public())?;
//! suite.verify_with_label(&*public, "Example", b"content", &signature)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | suites | AWS-LC | RustCrypto |
//! |---|---|---|
//! | 1, 2, 3 (X25519 or P-256, 128 bits) | yes | yes |
//! | 5, 7 (P-521, P-384) | yes | yes |
//! | 4, 6 (X448 with Ed448) | no | with the feature `curve448-prerelease`: its crates are pre-releases |
//! | X-Wing, a number for private use | with the feature `post-quantum` | with the feature `post-quantum` |
//!
//! Both backends give the same results for the same input and the same randomness, with two exceptions on the NIST curves, where
//! AWS-LC draws from its own generator: the nonces of ECDSA (see [`SigningKey::sign`]) and the ephemeral keys of
//! encryption (see [`KemPublicKey::encap`]).

mod aead;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod curve25519;
mod dhkem;
mod error;
mod hash;
mod hpke;
mod kdf;
mod kem;
mod labels;
mod nist;
mod secret;
mod sha2;
mod signature;
mod suite;
#[cfg(feature = "post-quantum")]
mod x_wing;

#[cfg(feature = "aws-lc-rs")]
mod aws_lc_rs;
#[cfg(feature = "rust-crypto-suite-2")]
mod rust_crypto;

use getrandom::SysRng;
use rand_core::UnwrapErr;

use crate::wire::CipherSuite;

pub use aead::{Aead, MAX_NONCE_LENGTH, TAG_LENGTH};
pub use error::CryptoError;
pub use hash::{Hash, HashOutput, MAX_HASH_LENGTH};
pub use hpke::Hpke;
pub use kdf::Kdf;
pub use kem::{Encapsulation, Kem, KemPrivateKey, KemPublicKey};
pub use rand_core::CryptoRng;
pub(crate) use secret::secret_types;
pub use secret::{HpkePrivateKey, Secret, SignaturePrivateKey};
pub use signature::{SignatureScheme, SigningKey, VerifyingKey};
pub use suite::{ExternalInitSecret, Suite};

#[cfg(feature = "aws-lc-rs")]
pub use aws_lc_rs::AWS_LC_RS;
#[cfg(feature = "rust-crypto-suite-2")]
pub use rust_crypto::RUST_CRYPTO;

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto-suite-2")))]
compile_error!(
    "mls needs a cryptographic backend: enable the feature `aws-lc-rs` or `rust-crypto`"
);

/// A cryptographic backend: its name and the suites that it can carry out.
///
/// An application may build one of its own from any [`Suite`]s.
#[derive(Clone, Copy, Debug)]
pub struct CryptoProvider {
    /// A name for logs.
    pub name: &'static str,
    /// The suites, in order of preference.
    pub suites: &'static [Suite],
}

impl CryptoProvider {
    /// The suite with this identifier, if the backend has it.
    pub fn suite(&self, id: CipherSuite) -> Option<&'static Suite> {
        self.suites.iter().find(|suite| suite.id == id)
    }
}

/// The provider for callers without a preference: AWS-LC where it is compiled in, else RustCrypto.
pub fn default_provider() -> &'static CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return &AWS_LC_RS;
    #[cfg(all(feature = "rust-crypto-suite-2", not(feature = "aws-lc-rs")))]
    return &RUST_CRYPTO;
}

/// The random number generator of the operating system (in a browser: of the Web Crypto API).
///
/// It panics when the system has no randomness to give. That does not happen on a working system, and no input can
/// bring it about; going on without would be worse, and an error would have to pass through every function that makes a
/// key. An embedder that must survive it passes a generator of its own, seeded where it can handle the failure.
pub fn os_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
