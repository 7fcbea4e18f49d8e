//! Which X25519 public keys are accepted, alike in every backend.
//!
//! RFC 7748 lets a receiver take every string of 32 bytes. That is too much for keys that stand in a tree:
//!
//! - under a point of small order every Diffie-Hellman result is zero, which HPKE refuses (RFC 9180 section 7.1.4). A
//!   leaf or key package with such a key could be added, and from then on nobody could encrypt a path or a Welcome to it;
//! - a value that is not reduced, or has the unused bit set, is a second name of another key. RFC 9420 section 7.3 demands
//!   different keys, and keys are compared by their bytes.
//!
//! Keys that were generated as the RFCs say never look like this.

use super::CryptoError;

/// Length of a public key in bytes.
pub(crate) const PUBLIC_KEY_LENGTH: usize = 32;

/// The u coordinates, little-endian, of the points of small order on the curve and on its twist.
const SMALL_ORDER: [[u8; PUBLIC_KEY_LENGTH]; 5] = [
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
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
];

/// Checks what the libraries leave open: canonical encoding, no small order.
pub(crate) fn check_public_key(bytes: &[u8]) -> Result<[u8; PUBLIC_KEY_LENGTH], CryptoError> {
    let key: [u8; PUBLIC_KEY_LENGTH] =
        bytes.try_into().map_err(|_| CryptoError::InvalidPublicKey)?;
    let [first, middle @ .., last] = &key;
    let reducible = *first >= 0xed && middle.iter().all(|byte| *byte == 0xff) && *last == 0x7f;
    if *last > 0x7f || reducible || SMALL_ORDER.contains(&key) {
        return Err(CryptoError::InvalidPublicKey);
    }
    Ok(key)
}
