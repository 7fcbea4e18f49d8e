//! What can go wrong in a cryptographic operation.

use thiserror::Error;

/// A cryptographic operation that did not give a result.
///
/// No variant carries key material. Which side is at fault follows from where the bytes came from: a wrong length in
/// one's own key store is a fault of the application, one in a received message a fault of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// A key, nonce or secret does not have the length that the algorithm requires.
    #[error("{what} must be {expected} bytes long, not {actual}")]
    WrongLength {
        /// What was given.
        what: &'static str,
        /// The length in bytes that the algorithm requires.
        expected: usize,
        /// The length in bytes that was given.
        actual: usize,
    },
    /// The bytes are not a private key of this algorithm (for a NIST curve: zero, or not below the order).
    #[error("the bytes are not a private key of this algorithm")]
    InvalidPrivateKey,
    /// The bytes are not a public key of this algorithm: not a point of the curve, a point of small order, or another
    /// encoding than the one MLS prescribes.
    #[error("the bytes are not an acceptable public key of this algorithm")]
    InvalidPublicKey,
    /// The public key is not the one that belongs to the private key.
    #[error("the public key does not belong to the private key")]
    KeyPairMismatch,
    /// A KEM output is not a valid encapsulation for this KEM (RFC 9180 section 7.1.4).
    #[error("the kem output is not a valid encapsulation")]
    InvalidKemOutput,
    /// The Diffie-Hellman result is all zero: the peer contributed a point of small order (RFC 9180 section 7.1.4).
    #[error("the peer's public key forces an all-zero shared secret")]
    DegenerateSharedSecret,
    /// The signature is malformed or was not made over this content by this key.
    #[error("the signature does not verify")]
    InvalidSignature,
    /// The authentication tag is not the one computed over this data.
    #[error("the authentication tag does not match")]
    InvalidMac,
    /// The ciphertext was not made with this key, nonce and associated data, or was altered.
    #[error("the ciphertext does not open")]
    DecryptionFailed,
    /// A ciphertext is shorter than the authentication tag alone.
    #[error("the ciphertext is shorter than its authentication tag")]
    CiphertextTooShort,
    /// More output was asked for than the KDF can give (255 hash lengths; 65535 bytes with a label).
    #[error("the kdf cannot give that much output")]
    OutputTooLong,
    /// A label or context is longer than a variable-size vector may be (2^30 - 1 bytes).
    #[error("a label or context is longer than 2^30 - 1 bytes")]
    InputTooLong,
    /// The cryptographic library refused an operation whose inputs had been checked.
    #[error("the cryptographic library refused {0}")]
    Backend(&'static str),
}

/// Checks the length of a key that the algorithm fixes.
pub(crate) fn check_length(
    what: &'static str,
    expected: usize,
    bytes: &[u8],
) -> Result<(), CryptoError> {
    let actual = bytes.len();
    if actual == expected {
        Ok(())
    } else {
        Err(CryptoError::WrongLength { what, expected, actual })
    }
}

/// The bytes as an array of the length that the algorithm fixes.
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) fn exactly<'a, const N: usize>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<&'a [u8; N], CryptoError> {
    let actual = bytes.len();
    bytes.try_into().map_err(|_| CryptoError::WrongLength { what, expected: N, actual })
}
