//! What the backends have in common about keys of the curve P-256.

use rand_core::CryptoRng;

use super::{CryptoError, Secret, SignatureScheme, SigningKey};

/// Length in bytes of an uncompressed point: 0x04, x, y.
pub(crate) const PUBLIC_KEY_LENGTH: usize = 65;
/// Length in bytes of a scalar.
pub(crate) const PRIVATE_KEY_LENGTH: usize = 32;
/// The code point of `ecdsa_secp256r1_sha256` in the TLS SignatureScheme registry.
pub(crate) const SCHEME: u16 = 0x0403;

/// Checks the encoding: MLS and HPKE know the uncompressed point only, while the libraries also take compressed points
/// and X.509 structures.
pub(crate) fn check_encoding(bytes: &[u8]) -> Result<(), CryptoError> {
    if bytes.len() != PUBLIC_KEY_LENGTH {
        return Err(CryptoError::WrongLength {
            what: "a p-256 public key",
            expected: PUBLIC_KEY_LENGTH,
            actual: bytes.len(),
        });
    }
    match bytes.first() {
        Some(0x04) => Ok(()),
        _ => Err(CryptoError::InvalidPublicKey),
    }
}

/// Checks the length of a scalar.
pub(crate) fn check_private_length(bytes: &[u8]) -> Result<(), CryptoError> {
    if bytes.len() == PRIVATE_KEY_LENGTH {
        return Ok(());
    }
    Err(CryptoError::WrongLength {
        what: "a p-256 private key",
        expected: PRIVATE_KEY_LENGTH,
        actual: bytes.len(),
    })
}

/// Draws scalars until one is in range: more than this many refusals in a row do not happen.
pub(crate) fn generate(
    scheme: &dyn SignatureScheme,
    rng: &mut dyn CryptoRng,
) -> Result<Box<dyn SigningKey>, CryptoError> {
    for _ in 0..=u8::MAX {
        match scheme.signing_key(Secret::random(PRIVATE_KEY_LENGTH, rng).as_bytes()) {
            Err(CryptoError::InvalidPrivateKey) => {}
            decided => return decided,
        }
    }
    Err(CryptoError::Backend("every candidate for a private key"))
}
