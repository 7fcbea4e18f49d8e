//! X-Wing: bad input, alike in every backend.

use mls::{
    crypto::{CryptoError, Suite},
    wire::{CipherSuite, HpkeCiphertext},
};

use crate::{rng, suites};

const X25519_LENGTH: usize = 32;

fn hybrid_suites() -> impl Iterator<Item = &'static Suite> {
    let id = CipherSuite::MLKEM768X25519_AES256GCM_SHA384_ED25519;
    suites().filter(move |suite| suite.id == id)
}

/// Bytes whose last 32, the X25519 half, are a point of small order or in another encoding.
fn with_bad_x25519_half(good: &[u8]) -> Vec<Vec<u8>> {
    let (mlkem, x25519) = good.split_at(good.len() - X25519_LENGTH);
    let mut high_bit = x25519.to_vec();
    high_bit[X25519_LENGTH - 1] |= 0x80;
    let prime = [&[0xed][..], &[0xff; 30], &[0x7f]].concat();
    let mut one = vec![0; X25519_LENGTH];
    one[0] = 1;
    [vec![0; X25519_LENGTH], one, prime, high_bit]
        .into_iter()
        .map(|half| [mlkem, &half].concat())
        .collect()
}

#[test]
fn keys_and_outputs_with_a_bad_x25519_half() {
    for suite in hybrid_suites() {
        let private = suite.kem.generate(&mut rng(1)).unwrap();
        for wrong in with_bad_x25519_half(private.public()) {
            let parsed = suite.kem.public_key(&wrong).map(|_| ());
            assert_eq!(parsed, Err(CryptoError::InvalidPublicKey));
        }
        let public = suite.kem.public_key(private.public()).unwrap();
        let good = public.encap(&mut rng(2)).unwrap().kem_output;
        for wrong in with_bad_x25519_half(&good) {
            let refused = Err(CryptoError::InvalidKemOutput);
            assert_eq!(private.decap(&wrong).map(|_| ()), refused);
            assert_eq!(suite.kem.check_kem_output(&wrong), refused);
        }
    }
}

/// The check of FIPS 203 section 7.2: every coefficient of the ML-KEM half is below 3329.
#[test]
fn keys_with_a_coefficient_that_is_not_reduced() {
    for suite in hybrid_suites() {
        let mut key = suite.kem.generate(&mut rng(3)).unwrap().public().to_vec();
        // The first coefficient has 12 bits: the first byte and the low half of the second.
        key[0] = 0xff;
        key[1] |= 0x0f;
        let parsed = suite.kem.public_key(&key).map(|_| ());
        assert_eq!(parsed, Err(CryptoError::InvalidPublicKey));
        key[0] = 0x00;
        key[1] = (key[1] & 0xf0) | 0x0d;
        suite.kem.public_key(&key).unwrap();
        key[0] = 0x01;
        assert!(suite.kem.public_key(&key).is_err(), "3329 itself");
    }
}

/// ML-KEM rejects implicitly: an altered output carries another secret, and the AEAD notices.
#[test]
fn an_altered_output_opens_nothing() {
    for suite in hybrid_suites() {
        let private = suite.kem.generate(&mut rng(4)).unwrap();
        let public = suite.kem.public_key(private.public()).unwrap();
        let sealed = suite.hpke_seal(&*public, b"info", b"aad", b"secret", &mut rng(5)).unwrap();
        let secret = private.decap(&sealed.kem_output).unwrap();
        for index in [0, 500, 1087, 1088, 1100] {
            let mut altered: HpkeCiphertext = sealed.clone();
            altered.kem_output[index] ^= 1;
            assert_ne!(private.decap(&altered.kem_output).unwrap(), secret, "byte {index}");
            let opened = suite.hpke_open(&*private, b"info", b"aad", &altered).map(|_| ());
            assert_eq!(opened, Err(CryptoError::DecryptionFailed), "byte {index}");
        }
    }
}
