//! The cryptographic parts that SFrame needs, as plain structs of `&'static dyn` parts: chosen
//! once, then carried along as a [`SuiteCrypto`].
//!
//! Media frames need more than a one-shot AEAD: an expanded key that is kept, and encryption in
//! place without allocation. That is what [`FrameCipher`] is.

use crate::suite::CipherSuite;
use core::fmt;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
#[cfg(all(feature = "aws-lc-rs", feature = "ring"))]
mod by_size;
#[cfg(feature = "aws-lc-rs")]
mod gcm;
#[cfg(feature = "rust-crypto-suite-2")]
mod rust_crypto;
#[cfg(feature = "aws-lc-rs")]
pub use aws_lc::AWS_LC_RS;
#[cfg(all(feature = "aws-lc-rs", feature = "ring"))]
pub use by_size::{AWS_LC_RS_AND_RING, RING_UP_TO};
#[cfg(feature = "rust-crypto-suite-2")]
pub use rust_crypto::RUST_CRYPTO;

/// `AEAD.Nn` of every SFrame suite.
pub const NONCE_LENGTH: usize = 12;

/// `AEAD.Nt` of the AES-GCM suites.
const GCM_TAG_LENGTH: usize = 16;

/// A backend: its name and the suites it offers.
#[derive(Clone, Copy, Debug)]
pub struct FrameProvider {
    /// The backend's name, for logs and reports.
    pub name: &'static str,
    /// The suites it offers.
    pub suites: &'static [SuiteCrypto],
}

impl FrameProvider {
    /// The parts for one suite, if the backend has it.
    pub fn suite(&self, suite: CipherSuite) -> Option<&'static SuiteCrypto> {
        self.suites.iter().find(|parts| parts.suite == suite)
    }
}

/// Every backend that is compiled in, the fastest first.
pub static PROVIDERS: &[&FrameProvider] = &[
    #[cfg(all(feature = "aws-lc-rs", feature = "ring"))]
    &AWS_LC_RS_AND_RING,
    #[cfg(feature = "aws-lc-rs")]
    &AWS_LC_RS,
    #[cfg(feature = "rust-crypto-suite-2")]
    &RUST_CRYPTO,
];

/// The fastest backend that is compiled in; the pure Rust one is the last choice.
#[cfg(all(feature = "aws-lc-rs", feature = "ring"))]
pub fn default_provider() -> &'static FrameProvider {
    &AWS_LC_RS_AND_RING
}

/// The fastest backend that is compiled in; the pure Rust one is the last choice.
#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
pub fn default_provider() -> &'static FrameProvider {
    &AWS_LC_RS
}

/// The fastest backend that is compiled in; the pure Rust one is the last choice.
#[cfg(all(feature = "rust-crypto-suite-2", not(feature = "aws-lc-rs")))]
pub fn default_provider() -> &'static FrameProvider {
    &RUST_CRYPTO
}

/// The parts of one cipher suite.
#[derive(Clone, Copy)]
pub struct SuiteCrypto {
    /// Which suite this is.
    pub suite: CipherSuite,
    /// HKDF with the suite's hash.
    pub kdf: &'static dyn Kdf,
    /// The suite's AEAD.
    pub aead: &'static dyn Aead,
}

impl fmt::Debug for SuiteCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SuiteCrypto").field(&self.suite).finish()
    }
}

/// A cryptographic operation failed that can only fail when the backend is broken or out of
/// memory, or when it was given a key of the wrong length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("expected the cryptographic backend to work")]
pub struct BackendError;

/// The tag did not match: key, nonce, metadata or ciphertext differ from what was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("expected an authentic ciphertext")]
pub struct Unauthentic;

/// HKDF (RFC 5869) with a fixed hash.
pub trait Kdf: Send + Sync {
    /// HKDF-Extract.
    fn extract(&self, salt: &[u8], input: &[u8]) -> Prk;

    /// HKDF-Expand: fills `out`.
    fn expand(&self, prk: &Prk, info: &[u8], out: &mut [u8]) -> Result<(), BackendError>;
}

/// An AEAD algorithm that makes cipher objects from keys.
pub trait Aead: Send + Sync {
    /// Expands `key`, which has [`CipherSuite::key_length`] bytes, once for many frames.
    fn cipher(&self, key: &[u8]) -> Result<Box<dyn FrameCipher>, BackendError>;
}

/// An expanded key. Works in place and allocates nothing.
pub trait FrameCipher: Send + Sync {
    /// Encrypts all of `in_out` but the last [`CipherSuite::tag_length`] bytes, which receive the
    /// tag.
    ///
    /// The caller answers for the nonce: each one is used once.
    fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), BackendError>;

    /// Checks the tag at the end of `in_out` and decrypts what stands before it. Returns the
    /// plaintext's length. After an error the content of `in_out` is unspecified.
    fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<usize, Unauthentic>;
}

/// A pseudorandom key: the output of HKDF-Extract, 32 or 64 bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Prk {
    bytes: [u8; 64],
    length: usize,
}

impl Prk {
    /// Holds the first 64 bytes of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut held = [0; 64];
        for (target, byte) in held.iter_mut().zip(bytes) {
            *target = *byte;
        }
        Self { bytes: held, length: bytes.len().min(64) }
    }

    /// The secret bytes.
    pub fn expose_secret(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Prk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prk(redacted)")
    }
}

/// The authenticated input of the AES-CTR suites before nonce, AAD and ciphertext (RFC 9605
/// section 4.5.1): three lengths of 8 bytes each.
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
fn ctr_hmac_lengths(aad: usize, ciphertext: usize, tag: usize) -> [u8; 24] {
    let mut lengths = [0; 24];
    let source =
        [aad, ciphertext, tag].into_iter().flat_map(|length| (length as u64).to_be_bytes());
    for (target, byte) in lengths.iter_mut().zip(source) {
        *target = byte;
    }
    lengths
}

/// The initial counter block of the AES-CTR suites: the nonce and four zero bytes.
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
fn ctr_initial_block(nonce: &[u8; NONCE_LENGTH]) -> [u8; 16] {
    let mut block = [0; 16];
    for (target, byte) in block.iter_mut().zip(nonce) {
        *target = *byte;
    }
    block
}
