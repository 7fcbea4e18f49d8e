//! Which X448 and Ed448 keys and signatures are accepted: canonical encodings, no key of small order.

use ed448_goldilocks::{
    EdwardsScalar, SigningKey, VerifyingKey, WideEdwardsScalarBytes,
    shake::{
        Shake256,
        digest::{ExtendableOutput, Update, XofReader},
    },
};
use mls::{
    crypto::{CryptoError, RUST_CRYPTO, Suite},
    wire::CipherSuite,
};

use crate::rng;

fn suite() -> &'static Suite {
    RUST_CRYPTO.suite(CipherSuite::X448_AES256GCM_SHA512_ED448).unwrap()
}

/// Little-endian: 2^448 - 2^224 - 1, plus `more` (at least -1) in the lowest byte.
fn prime_plus(more: i8) -> Vec<u8> {
    let mut bytes = vec![0xff; 56];
    bytes[28] = 0xfe;
    match more {
        -1 => bytes[0] = 0xfe,
        0 => {}
        more => {
            // The lowest 28 bytes overflow into the one that lacks 1.
            bytes[..28].fill(0);
            bytes[0] = u8::try_from(more - 1).unwrap();
            bytes[28] = 0xff;
        }
    }
    bytes
}

fn small(number: u8) -> Vec<u8> {
    let mut bytes = vec![0; 56];
    bytes[0] = number;
    bytes
}

/// Coordinates of small order, and those that are not below the prime.
fn bad_coordinates() -> Vec<Vec<u8>> {
    let mut bad = vec![small(0), small(1)];
    bad.extend([-1, 0, 1, 2, 6].map(prime_plus));
    bad.push(vec![0xff; 56]);
    bad
}

#[test]
fn x448_points_of_small_order_or_in_another_encoding() {
    let kem = suite().kem;
    let private = kem.generate(&mut rng(1)).unwrap();
    for bad in bad_coordinates() {
        let digits = hex::encode(&bad);
        let parsed = kem.public_key(&bad).map(|_| ());
        assert_eq!(parsed, Err(CryptoError::InvalidPublicKey), "{digits}");
        let decapsulated = private.decap(&bad).map(|_| ());
        assert_eq!(decapsulated, Err(CryptoError::InvalidKemOutput), "{digits}");
        assert_eq!(kem.check_kem_output(&bad), Err(CryptoError::InvalidKemOutput), "{digits}");
    }
    // The base point, and the largest coordinate that is not of small order.
    kem.public_key(&small(5)).unwrap();
    let mut large = prime_plus(-1);
    large[0] -= 1;
    kem.public_key(&large).unwrap();
}

#[test]
fn ed448_keys_of_small_order_or_in_another_encoding() {
    let signature = suite().signature;
    let refused = Err(CryptoError::InvalidPublicKey);
    for bad in bad_coordinates() {
        for sign in [0, 0x80] {
            let key = [&bad[..], &[sign]].concat();
            let parsed = signature.verifying_key(&key).map(|_| ());
            assert_eq!(parsed, refused, "{}", hex::encode(&key));
        }
    }
    let good = signature.generate(&mut rng(2)).unwrap();
    for bit in 0..7 {
        let mut key = good.public().to_vec();
        key[56] ^= 1 << bit;
        VerifyingKey::from_bytes(key[..].try_into().unwrap())
            .expect("the library overlooks these bits");
        assert_eq!(signature.verifying_key(&key).map(|_| ()), refused, "bit {bit}");
    }
    // Half of all numbers are no coordinate of a point.
    let mut accepted = 0;
    for number in 2..66 {
        let key = [&small(number)[..], &[0]].concat();
        match signature.verifying_key(&key) {
            Ok(_) => accepted += 1,
            Err(error) => assert_eq!(error, CryptoError::InvalidPublicKey),
        }
    }
    assert!(accepted < 50, "{accepted} of 64");
}

/// A signer that knows its key can name its commitment R in another encoding. The library takes it; here it is refused, as
/// by those who compare R as bytes.
#[test]
fn an_ed448_commitment_in_another_encoding_is_refused() {
    let seed = [7; 57];
    let signer = SigningKey::from(ed448_goldilocks::SecretKey::from(seed));
    let honest = signer.sign_raw(b"message");
    let key = suite().signature.verifying_key(signer.verifying_key().as_bytes()).unwrap();
    key.verify(b"message", &honest.to_bytes()).unwrap();

    let hash = |parts: &[&[u8]]| {
        let mut shake = Shake256::default();
        parts.iter().for_each(|part| shake.update(part));
        let mut wide = WideEdwardsScalarBytes::default();
        shake.finalize_xof().read(&mut wide);
        EdwardsScalar::from_bytes_mod_order_wide(&wide)
    };
    let public = signer.verifying_key().to_bytes();
    let challenge = |r: &[u8]| hash(&[b"SigEd448", &[0, 0], r, &public, b"message"]);
    let mut other_r = *honest.r_bytes();
    other_r[56] |= 1;
    // s = r + k a, so the same r with another challenge k' gives s + (k' - k) a.
    let s = EdwardsScalar::from_canonical_bytes(honest.s_bytes().into()).unwrap();
    let other_s = s + (challenge(&other_r) - challenge(honest.r_bytes())) * signer.to_scalar();
    let mut forged = other_r.to_vec();
    forged.extend_from_slice(&other_s.to_bytes_rfc_8032());

    let parsed = ed448_goldilocks::Signature::from_slice(&forged).unwrap();
    signer.verifying_key().verify_raw(&parsed, b"message").expect("the library overlooks the bit");
    assert_eq!(key.verify(b"message", &forged), Err(CryptoError::InvalidSignature));
}

#[test]
fn an_s_that_is_not_below_the_order_is_refused() {
    let order = "f34458ab92c27823558fc58d72c26c219036d6ae49db4ec4e923ca7cffffffff\
                 ffffffffffffffffffffffffffffffffffffffffffffff3f00";
    let key = suite().signature.generate(&mut rng(3)).unwrap();
    let public = suite().signature.verifying_key(key.public()).unwrap();
    let good = key.sign(b"message").unwrap();
    public.verify(b"message", &good).unwrap();
    let mut larger = good.clone();
    let mut carry = 0;
    for (digit, add) in larger[57..].iter_mut().zip(hex::decode(order).unwrap()) {
        carry += u16::from(*digit) + u16::from(add);
        *digit = carry as u8;
        carry >>= 8;
    }
    assert_eq!(public.verify(b"message", &larger), Err(CryptoError::InvalidSignature));
}
