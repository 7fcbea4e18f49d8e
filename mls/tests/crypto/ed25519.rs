//! The backends accept the same Ed25519 keys and signatures, also where RFC 8032 leaves room to disagree.

use std::ops::{Add, Mul};

use ed25519_dalek::{SigningKey, VerifyingKey};
use mls::{
    crypto::{AWS_LC_RS, CryptoError, RUST_CRYPTO, Suite},
    wire::CipherSuite,
};
use sha2::{Digest, Sha512};

/// The y coordinates of the points of order 1, 2, 4 and 8.
const SMALL_ORDER: [&str; 5] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

fn both() -> [&'static Suite; 2] {
    let id = CipherSuite::X25519_AES128GCM_SHA256_ED25519;
    [AWS_LC_RS.suite(id).unwrap(), RUST_CRYPTO.suite(id).unwrap()]
}

fn bytes32(digits: &str) -> [u8; 32] {
    hex::decode(digits).unwrap().try_into().unwrap()
}

/// What both backends say; panics when they differ.
fn verdict(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let verdicts = both().map(|suite| {
        suite.signature.verifying_key(key).and_then(|key| key.verify(message, signature))
    });
    assert_eq!(verdicts[0], verdicts[1], "{} {}", hex::encode(key), hex::encode(signature));
    verdicts[0]
}

#[test]
fn keys_of_small_order_are_refused() {
    let mut points = 0;
    for y in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut key = bytes32(y);
            key[31] |= sign;
            assert_eq!(verdict(&key, b"", &[0; 64]), Err(CryptoError::InvalidPublicKey));
            if let Ok(point) = VerifyingKey::from_bytes(&key) {
                assert!(point.is_weak());
                points += 1;
            }
        }
    }
    assert!(points >= 8, "the list holds the whole subgroup of order 8");
}

#[test]
fn keys_in_another_encoding_are_refused() {
    for first in 0xed..=0xff {
        for sign in [0, 0x80] {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (first, 0x7f | sign);
            assert_eq!(verdict(&key, b"", &[0; 64]), Err(CryptoError::InvalidPublicKey));
        }
    }
}

#[test]
fn bytes_that_are_not_a_point_verify_nothing() {
    let mut found = 0;
    for byte in 2..40 {
        let mut key = [0; 32];
        key[0] = byte;
        if VerifyingKey::from_bytes(&key).is_err() {
            found += 1;
            assert_eq!(verdict(&key, b"", &[0; 64]), Err(CryptoError::InvalidSignature));
        }
    }
    assert!(found > 5);
}

#[test]
fn s_not_below_the_order_is_refused() {
    let order = bytes32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let key = both()[0].signature.signing_key(&[7; 32]).unwrap();
    let signature = key.sign(b"message").unwrap();
    verdict(key.public(), b"message", &signature).unwrap();
    let mut larger = signature.clone();
    let mut carry = 0;
    for (s, l) in larger[32..].iter_mut().zip(order) {
        carry += u16::from(*s) + u16::from(l);
        *s = carry as u8;
        carry >>= 8;
    }
    assert_eq!(verdict(key.public(), b"message", &larger), Err(CryptoError::InvalidSignature));
}

/// A key with a component of order 8 verifies, without the cofactor, one signature in eight. The backends must agree
/// on which.
#[test]
fn keys_of_mixed_order_get_one_verdict() {
    let secret = SigningKey::from_bytes(&[1; 32]);
    let nonce = SigningKey::from_bytes(&[2; 32]);
    let torsion = VerifyingKey::from_bytes(&bytes32(SMALL_ORDER[3])).unwrap();
    let mixed = (secret.verifying_key().to_edwards() + torsion.to_edwards()).compress();
    let commitment = nonce.verifying_key();
    let (mut accepted, mut refused) = (0, 0);
    for message in 0..64u8 {
        let challenge: [u8; 64] = Sha512::new()
            .chain_update(commitment.as_bytes())
            .chain_update(mixed.as_bytes())
            .chain_update([message])
            .finalize()
            .into();
        let challenge = reduce(secret.to_scalar(), &challenge);
        let response = nonce.to_scalar() + challenge * secret.to_scalar();
        let signature = [*commitment.as_bytes(), response.to_bytes()].concat();
        match verdict(mixed.as_bytes(), &[message], &signature) {
            Ok(()) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 0 && refused > accepted, "{accepted} accepted, {refused} refused");
}

/// A commitment R of small order, which a strict verifier refuses and a plain one accepts when the equation holds.
#[test]
fn small_order_commitments_get_one_verdict() {
    let secret = SigningKey::from_bytes(&[3; 32]);
    let torsion = VerifyingKey::from_bytes(&bytes32(SMALL_ORDER[4])).unwrap();
    let mixed = (secret.verifying_key().to_edwards() + torsion.to_edwards()).compress();
    let mut accepted = 0;
    for message in 0..64u8 {
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut commitment = bytes32(y);
                commitment[31] |= sign;
                let challenge: [u8; 64] = Sha512::new()
                    .chain_update(commitment)
                    .chain_update(mixed.as_bytes())
                    .chain_update([message])
                    .finalize()
                    .into();
                let challenge = reduce(secret.to_scalar(), &challenge);
                let response = challenge * secret.to_scalar();
                let signature = [commitment, response.to_bytes()].concat();
                accepted += usize::from(verdict(mixed.as_bytes(), &[message], &signature).is_ok());
            }
        }
    }
    assert!(accepted > 0);
}

/// A little-endian number as a scalar; `like` only names the type.
fn reduce<S: Copy + From<u64> + Add<Output = S> + Mul<Output = S>>(_like: S, bytes: &[u8]) -> S {
    let zero = S::from(0);
    bytes.iter().rev().fold(zero, |sum, byte| sum * S::from(256) + S::from(u64::from(*byte)))
}
