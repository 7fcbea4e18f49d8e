//! Keys and signatures of the NIST curves: bad input gets a typed error, the same from every backend.

use mls::{
    crypto::{CryptoError, Suite},
    wire::CipherSuite,
};

use crate::{rng, suites};

struct Curve {
    prime: Vec<u8>,
    order: Vec<u8>,
}

const CURVES: [(CipherSuite, &str, &str); 3] = [
    (
        CipherSuite::P256_AES128GCM_SHA256_P256,
        "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    ),
    (
        CipherSuite::P384_AES256GCM_SHA384_P384,
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe\
         ffffffff0000000000000000ffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
         581a0db248b0a77aecec196accc52973",
    ),
    (
        CipherSuite::P521_AES256GCM_SHA512_P521,
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         ffff",
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         fffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e9138\
         6409",
    ),
];

/// The suites on NIST curves of every backend.
fn nist_suites() -> impl Iterator<Item = (&'static Suite, Curve)> {
    CURVES.into_iter().flat_map(|(id, prime, order)| {
        suites().filter(move |suite| suite.id == id).map(move |suite| {
            let [prime, order] = [prime, order].map(|number| hex::decode(number).unwrap());
            (suite, Curve { prime, order })
        })
    })
}

#[test]
fn scalars_out_of_range() {
    for (suite, curve) in nist_suites() {
        let length = curve.order.len();
        assert_eq!(suite.kem.private_key_length(), length);
        let mut larger = curve.order.clone();
        larger[length - 1] += 1;
        for wrong in [vec![0; length], curve.order.clone(), larger, vec![0xff; length]] {
            let wrong_digits = hex::encode(&wrong);
            let kem = suite.kem.private_key(&wrong).map(|_| ());
            assert_eq!(kem, Err(CryptoError::InvalidPrivateKey), "{suite:?} {wrong_digits}");
            let key = suite.signature.signing_key(&wrong).map(|_| ());
            assert_eq!(key, Err(CryptoError::InvalidPrivateKey), "{suite:?} {wrong_digits}");
        }
        let mut largest = curve.order;
        largest[length - 1] -= 1;
        suite.kem.private_key(&largest).unwrap();
        suite.signature.signing_key(&largest).unwrap();
    }
}

#[test]
fn points_off_the_curve_or_in_another_encoding() {
    for (suite, Curve { prime, .. }) in nist_suites() {
        let good = suite.kem.generate(&mut rng(4)).unwrap().public().to_vec();
        let length = prime.len();
        let last = good.len() - 1;
        let mut wrong_y = good.clone();
        wrong_y[last] ^= 1;
        let x_is_prime = [&[4], &prime[..], &good[1 + length..]].concat();
        let y_is_prime = [&good[..1 + length], &prime[..]].concat();
        // The hybrid encoding of SEC1, which names the parity of y in its first byte.
        let mut hybrid = good.clone();
        hybrid[0] = 6 + (good[last] & 1);
        let mut compressed_tag = good.clone();
        compressed_tag[0] = 2 + (good[last] & 1);
        let identity = vec![0; good.len()];
        let zero = [&[4], &vec![0; 2 * length][..]].concat();
        for wrong in
            [wrong_y, x_is_prime, y_is_prime, hybrid, compressed_tag, identity.clone(), zero]
        {
            let digits = hex::encode(&wrong);
            let kem = suite.kem.public_key(&wrong).map(|_| ());
            assert_eq!(kem, Err(CryptoError::InvalidPublicKey), "{suite:?} {digits}");
            let key = suite.signature.verifying_key(&wrong).map(|_| ());
            assert_eq!(key, Err(CryptoError::InvalidPublicKey), "{suite:?} {digits}");
            let private = suite.kem.generate(&mut rng(5)).unwrap();
            assert_eq!(private.decap(&wrong).map(|_| ()), Err(CryptoError::InvalidKemOutput));
        }
        let compressed = [&[2 + (good[last] & 1)], &good[1..1 + length]].concat();
        for wrong in [&compressed[..], &identity[..1]] {
            assert!(suite.kem.public_key(wrong).is_err());
            assert!(suite.signature.verifying_key(wrong).is_err());
        }
    }
}

/// Encodings of an ECDSA signature that a lenient DER parser would take; members must not differ over them.
#[test]
fn ecdsa_signatures_in_another_encoding() {
    for (suite, Curve { order, .. }) in nist_suites() {
        let private = suite.signature.generate(&mut rng(13)).unwrap();
        let public = suite.signature.verifying_key(private.public()).unwrap();
        let good = private.sign(b"message").unwrap();
        public.verify(b"message", &good).unwrap();
        let [r, s] = der_integers(&good);
        assert_eq!(der_signature(&r, &s), good);
        let zero_r = [&[0], &r[..]].concat();
        let zero = [0];
        let order_integer = der_integer(&order);
        let body = [der_element(&r), der_element(&s)].concat();
        let wide_length = match good[1] {
            0x81 => [&[0x30, 0x82, 0], &good[2..]].concat(),
            _ => [&[0x30, 0x81], &good[1..]].concat(),
        };
        for (what, wrong) in [
            ("r with a leading zero", der_signature(&zero_r, &s)),
            ("r = 0", der_signature(&zero, &s)),
            ("s = 0", der_signature(&r, &zero)),
            ("r = the order", der_signature(&order_integer, &s)),
            ("s = the order", der_signature(&r, &order_integer)),
            ("an empty r", der_signature(&[], &s)),
            ("a length in more bytes than needed", wide_length),
            ("no sequence around", body),
            ("the bare numbers", [r.as_slice(), s.as_slice()].concat()),
            ("a byte behind", [&good[..], &[0]].concat()),
        ] {
            let verified = public.verify(b"message", &wrong);
            let digits = hex::encode(&wrong);
            assert_eq!(verified, Err(CryptoError::InvalidSignature), "{suite:?}: {what}: {digits}");
        }
        // ECDSA has two valid values of s; TLS, and so MLS, takes both.
        let other_s = subtract(&order, &s);
        public.verify(b"message", &der_signature(&r, &other_s)).unwrap();
    }
}

/// The contents of the two integers of a signature.
fn der_integers(signature: &[u8]) -> [Vec<u8>; 2] {
    let body = if signature[1] == 0x81 { &signature[3..] } else { &signature[2..] };
    let (r, rest) = body[2..].split_at(usize::from(body[1]));
    [r.to_vec(), rest[2..].to_vec()]
}

fn der_element(integer: &[u8]) -> Vec<u8> {
    [&[0x02, integer.len() as u8], integer].concat()
}

fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    let body = [der_element(r), der_element(s)].concat();
    let length = body.len() as u8;
    let header = if length < 0x80 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
    [header, body].concat()
}

/// The minimal content of an integer that is not negative.
fn der_integer(number: &[u8]) -> Vec<u8> {
    let start = number.iter().take_while(|byte| **byte == 0).count().min(number.len() - 1);
    let sign = if number[start] < 0x80 { &[][..] } else { &[0] };
    [sign, &number[start..]].concat()
}

/// The order minus `s`.
fn subtract(order: &[u8], s: &[u8]) -> Vec<u8> {
    let mut result = order.to_vec();
    let mut borrow = 0;
    let digits = s.iter().rev().chain(std::iter::repeat(&0));
    for (digit, byte) in result.iter_mut().rev().zip(digits) {
        let difference = i16::from(*digit) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *digit = difference.rem_euclid(256) as u8;
    }
    der_integer(&result)
}
