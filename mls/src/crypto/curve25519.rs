//! Which X25519 and Ed25519 public keys, and which Ed25519 signatures, are accepted, alike in every backend.
//!
//! Members that disagree on the validity of one key or signature fork the group, and the RFCs leave room to disagree. The
//! rule here:
//!
//! - a public key must be canonically encoded (its coordinate below 2^255 - 19, no unused bit set) and not of small order:
//!   checked by this module, before a library sees the key. A key in another encoding is a second name of the same key,
//!   and RFC 9420 section 7.3 demands different keys, compared by their bytes. Under an X25519 key of small order every
//!   Diffie-Hellman result is zero, which HPKE refuses (RFC 9180 section 7.1.4): a leaf with such a key could be added, and
//!   from then on nobody could encrypt a path to it. Under an Ed25519 key of small order one signature fits many messages;
//! - the equation of an Ed25519 signature is the one without the cofactor, R is compared as bytes (so it is canonical too)
//!   and S must be below the group order: so do both libraries.
//!
//! An Ed25519 key that passes the first check and still is not a point parses as a key with which no signature verifies:
//! AWS-LC decompresses the point when it verifies, and the other backend follows it.

use super::{CryptoError, error::exactly};

/// Length in bytes of every private and public key of both algorithms.
pub(crate) const KEY_LENGTH: usize = 32;
/// The identifier of DHKEM(X25519, HKDF-SHA256) (RFC 9180 section 7.1).
pub(crate) const KEM_ID: u16 = 0x0020;
/// The code point of `ed25519` in the TLS SignatureScheme registry.
pub(crate) const SCHEME: u16 = 0x0807;

type Number = [u8; KEY_LENGTH];

/// The little-endian number whose bytes between the first and the last are all alike.
const fn number(first: u8, middle: u8, last: u8) -> Number {
    let mut bytes = [middle; KEY_LENGTH];
    bytes[0] = first;
    bytes[KEY_LENGTH - 1] = last;
    bytes
}

/// 2^255 - 19.
const PRIME: Number = number(0xed, 0xff, 0x7f);

/// 0, 1 and -1: u coordinates of order 2 and 4 on the Montgomery curve and its twist, y coordinates of order 4, 1 and 2 on
/// the Edwards curve.
const LOW: [Number; 3] = [[0; KEY_LENGTH], number(1, 0, 0), number(0xec, 0xff, 0x7f)];

/// The u coordinates of order 8 on the Montgomery curve.
const X25519_ORDER_8: [Number; 2] = [
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

/// The y coordinates of order 8 on the Edwards curve.
const ED25519_ORDER_8: [Number; 2] = [
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

/// Checks an X25519 public key.
pub(crate) fn check_x25519_public(bytes: &[u8]) -> Result<Number, CryptoError> {
    let key = *exactly("an x25519 public key", bytes)?;
    check_coordinate(&key, &X25519_ORDER_8)?;
    Ok(key)
}

/// Checks what the libraries leave open about an Ed25519 public key.
pub(crate) fn check_ed25519_public(bytes: &[u8]) -> Result<&Number, CryptoError> {
    let key = exactly("an ed25519 public key", bytes)?;
    let mut y: Number = *key;
    if let Some(last) = y.last_mut() {
        // The sign of x.
        *last &= 0x7f;
    }
    check_coordinate(&y, &ED25519_ORDER_8)?;
    Ok(key)
}

/// Checks the length of an Ed25519 private key, the seed.
pub(crate) fn check_ed25519_private(bytes: &[u8]) -> Result<&Number, CryptoError> {
    exactly("an ed25519 private key", bytes)
}

fn check_coordinate(number: &Number, order_8: &[Number]) -> Result<(), CryptoError> {
    if is_below(number, &PRIME) && !LOW.contains(number) && !order_8.contains(number) {
        Ok(())
    } else {
        Err(CryptoError::InvalidPublicKey)
    }
}

/// True if one public, little-endian number is below another of the same length.
pub(crate) fn is_below(number: &[u8], bound: &[u8]) -> bool {
    number.iter().rev().lt(bound.iter().rev())
}
