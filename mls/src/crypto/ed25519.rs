//! Which Ed25519 public keys and signatures are accepted, alike in every backend.
//!
//! Members that disagree on the validity of one signature fork the group, and RFC 8032 leaves room to disagree. The
//! rule here:
//!
//! - a public key must be canonically encoded (y below 2^255 - 19) and not of small order: checked by this module, before
//!   the library sees the key. Under a key of small order one signature fits many messages;
//! - the verification equation is the one without the cofactor, R is compared as bytes (so it is canonical too) and S
//!   must be below the group order: so do both libraries.
//!
//! Bytes that pass the first check and still are not a point parse as a key with which no signature verifies: AWS-LC
//! decompresses the point when it verifies, and the other backend follows it.

use super::CryptoError;

/// Length of a public key in bytes.
pub(crate) const PUBLIC_KEY_LENGTH: usize = 32;
/// Length of a private key (the seed) in bytes.
pub(crate) const PRIVATE_KEY_LENGTH: usize = 32;
/// The code point of `ed25519` in the TLS SignatureScheme registry.
pub(crate) const SCHEME: u16 = 0x0807;

/// The y coordinates, little-endian, of the points whose order divides 8.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// Checks what the libraries leave open: length, canonical encoding, no small order.
pub(crate) fn check_public_key(bytes: &[u8]) -> Result<&[u8; PUBLIC_KEY_LENGTH], CryptoError> {
    let key: &[u8; PUBLIC_KEY_LENGTH] = bytes.try_into().map_err(|_| CryptoError::WrongLength {
        what: "an ed25519 public key",
        expected: PUBLIC_KEY_LENGTH,
        actual: bytes.len(),
    })?;
    let [first, middle @ .., last] = key;
    let y_last = last & 0x7f;
    let reducible = *first >= 0xed && middle.iter().all(|byte| *byte == 0xff) && y_last == 0x7f;
    let small_order = SMALL_ORDER.iter().any(|[small_first, small_middle @ .., small_last]| {
        first == small_first && middle == small_middle && y_last == *small_last
    });
    if reducible || small_order { Err(CryptoError::InvalidPublicKey) } else { Ok(key) }
}

/// Checks the length of a seed.
pub(crate) fn check_private_key(bytes: &[u8]) -> Result<&[u8; PRIVATE_KEY_LENGTH], CryptoError> {
    bytes.try_into().map_err(|_| CryptoError::WrongLength {
        what: "an ed25519 private key",
        expected: PRIVATE_KEY_LENGTH,
        actual: bytes.len(),
    })
}
