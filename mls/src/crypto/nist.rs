//! What the backends have in common about keys of the NIST curves P-256, P-384 and P-521.

use rand_core::CryptoRng;

use super::{
    CryptoError, Secret, SignatureScheme, SigningKey, dhkem::random_candidate, error::check_length,
};

/// What RFC 9180 section 7.1, SEC1 and the TLS SignatureScheme registry say of a curve.
pub(crate) trait NistCurve: Send + Sync + 'static {
    /// Identifier of the DHKEM over the curve.
    const KEM_ID: u16;
    /// Code point of ECDSA on the curve with the hash that goes with it.
    const SCHEME: u16;
    /// Length in bytes of a scalar.
    const PRIVATE_LENGTH: usize;
    /// Length in bytes of an uncompressed point: 0x04, x, y.
    const PUBLIC_LENGTH: usize = 1 + 2 * Self::PRIVATE_LENGTH;
    /// The bits that the first byte of a scalar can have.
    const FIRST_BYTE: u8 = 0xff;
}

pub(crate) struct P256;

impl NistCurve for P256 {
    const KEM_ID: u16 = 0x0010;
    const SCHEME: u16 = 0x0403;
    const PRIVATE_LENGTH: usize = 32;
}

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) struct P384;

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
impl NistCurve for P384 {
    const KEM_ID: u16 = 0x0011;
    const SCHEME: u16 = 0x0503;
    const PRIVATE_LENGTH: usize = 48;
}

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) struct P521;

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
impl NistCurve for P521 {
    const KEM_ID: u16 = 0x0012;
    const SCHEME: u16 = 0x0603;
    const PRIVATE_LENGTH: usize = 66;
    const FIRST_BYTE: u8 = 0x01;
}

/// Checks the encoding: MLS and HPKE know the uncompressed point only, while the libraries also take compressed points
/// and X.509 structures.
pub(crate) fn check_encoding<C: NistCurve>(bytes: &[u8]) -> Result<(), CryptoError> {
    check_length("the public key of a nist curve", C::PUBLIC_LENGTH, bytes)?;
    match bytes.first() {
        Some(0x04) => Ok(()),
        _ => Err(CryptoError::InvalidPublicKey),
    }
}

/// Checks the length of a scalar.
pub(crate) fn check_private_length<C: NistCurve>(bytes: &[u8]) -> Result<(), CryptoError> {
    check_length("the private key of a nist curve", C::PRIVATE_LENGTH, bytes)
}

/// A uniform signing key.
pub(crate) fn generate<C: NistCurve>(
    scheme: &dyn SignatureScheme,
    rng: &mut dyn CryptoRng,
) -> Result<Box<dyn SigningKey>, CryptoError> {
    let parse = |bytes: &Secret| scheme.signing_key(bytes.as_bytes());
    random_candidate(C::PRIVATE_LENGTH, C::FIRST_BYTE, rng, parse)
}
