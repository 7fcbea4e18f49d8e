//! Bad input gets a typed error, the same from every backend.

use mls::{
    crypto::{CryptoError, Secret, Suite},
    wire::{CipherSuite, HpkeCiphertext, Signature},
};

use crate::{rng, suites};

const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P256_PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

fn is_p256(suite: &Suite) -> bool {
    suite.id == CipherSuite::P256_AES128GCM_SHA256_P256
}

fn p256_suites() -> impl Iterator<Item = &'static Suite> {
    suites().filter(|suite| is_p256(suite))
}

#[test]
fn keys_of_a_wrong_length() {
    for suite in suites() {
        let kem = suite.kem.generate(&mut rng(1)).unwrap();
        let signature = suite.signature.generate(&mut rng(1)).unwrap();
        for public in [kem.public(), signature.public()] {
            let longer = [public, &[0]].concat();
            for wrong in [&[][..], &public[1..], &public[..public.len() - 1], &longer] {
                let kem = suite.kem.public_key(wrong).map(|_| ());
                assert!(matches!(kem, Err(CryptoError::WrongLength { .. })), "{suite:?}: {kem:?}");
                let key = suite.signature.verifying_key(wrong).map(|_| ());
                assert!(matches!(key, Err(CryptoError::WrongLength { .. })), "{suite:?}: {key:?}");
            }
        }
        for wrong in [0, 31, 33, 64] {
            let kem = suite.kem.private_key(&vec![1; wrong]).map(|_| ());
            assert!(matches!(kem, Err(CryptoError::WrongLength { .. })), "{suite:?}: {kem:?}");
            let key = suite.signature.signing_key(&vec![1; wrong]).map(|_| ());
            assert!(matches!(key, Err(CryptoError::WrongLength { .. })), "{suite:?}: {key:?}");
        }
    }
}

#[test]
fn a_public_key_of_somebody_else() {
    for suite in suites() {
        let mine = suite.kem.generate(&mut rng(2)).unwrap();
        let other = suite.kem.generate(&mut rng(3)).unwrap();
        let mixed = suite.kem_key_pair(mine.export().unwrap().as_bytes(), other.public());
        assert_eq!(mixed.map(|_| ()), Err(CryptoError::KeyPairMismatch));
        let mine = suite.signature.generate(&mut rng(2)).unwrap();
        let other = suite.signature.generate(&mut rng(3)).unwrap();
        let mixed = suite.signature_key_pair(mine.export().unwrap().as_bytes(), other.public());
        assert_eq!(mixed.map(|_| ()), Err(CryptoError::KeyPairMismatch));
    }
}

#[test]
fn p256_scalars_out_of_range() {
    for suite in p256_suites() {
        for wrong in [vec![0; 32], hex::decode(P256_ORDER).unwrap(), vec![0xff; 32]] {
            let kem = suite.kem.private_key(&wrong).map(|_| ());
            assert_eq!(
                kem,
                Err(CryptoError::InvalidPrivateKey),
                "{suite:?} {}",
                hex::encode(&wrong)
            );
            let key = suite.signature.signing_key(&wrong).map(|_| ());
            assert_eq!(
                key,
                Err(CryptoError::InvalidPrivateKey),
                "{suite:?} {}",
                hex::encode(&wrong)
            );
        }
        let mut largest = hex::decode(P256_ORDER).unwrap();
        largest[31] -= 1;
        suite.kem.private_key(&largest).unwrap();
    }
}

#[test]
fn p256_points_off_the_curve_or_in_another_encoding() {
    for suite in p256_suites() {
        let good = suite.kem.generate(&mut rng(4)).unwrap().public().to_vec();
        let mut wrong_y = good.clone();
        wrong_y[64] ^= 1;
        let prime = hex::decode(P256_PRIME).unwrap();
        let x_is_prime = [&[4], &prime[..], &good[33..]].concat();
        let y_is_prime = [&good[..33], &prime[..]].concat();
        // The hybrid encoding of SEC1, which names the parity of y in its first byte.
        let mut hybrid = good.clone();
        hybrid[0] = 6 + (good[64] & 1);
        let mut compressed_tag = good.clone();
        compressed_tag[0] = 2 + (good[64] & 1);
        let mut identity = vec![0; 65];
        let zero = [&[4], &[0; 64][..]].concat();
        for wrong in
            [&wrong_y, &x_is_prime, &y_is_prime, &hybrid, &compressed_tag, &identity, &zero]
        {
            let kem = suite.kem.public_key(wrong).map(|_| ());
            assert_eq!(kem, Err(CryptoError::InvalidPublicKey), "{suite:?} {}", hex::encode(wrong));
            let key = suite.signature.verifying_key(wrong).map(|_| ());
            assert_eq!(key, Err(CryptoError::InvalidPublicKey), "{suite:?} {}", hex::encode(wrong));
            let private = suite.kem.generate(&mut rng(5)).unwrap();
            assert_eq!(private.decap(wrong).map(|_| ()), Err(CryptoError::InvalidKemOutput));
        }
        identity.truncate(1);
        assert!(suite.kem.public_key(&identity).is_err());
    }
}

#[test]
fn x25519_points_of_small_order_or_in_another_encoding() {
    let order_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    let other_order_8 = "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157";
    let minus_one = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
    let prime = [&[0xed][..], &[0xff; 30], &[0x7f]].concat();
    let above_prime = [&[0xff][..], &[0xff; 30], &[0x7f]].concat();
    let mut one = [0; 32];
    one[0] = 1;
    for suite in suites().filter(|suite| !is_p256(suite)) {
        let private = suite.kem.generate(&mut rng(6)).unwrap();
        let mut high_bit = private.public().to_vec();
        high_bit[31] |= 0x80;
        let mut zero_with_high_bit = [0; 32];
        zero_with_high_bit[31] = 0x80;
        let weak = [&[0; 32][..], &one, &minus_one, &prime, &above_prime];
        let orders_of_8 = [hex::decode(order_8).unwrap(), hex::decode(other_order_8).unwrap()];
        let weak = weak.into_iter().chain(orders_of_8.iter().map(Vec::as_slice));
        for weak in weak.chain([&high_bit[..], &zero_with_high_bit]) {
            let refused = Err(CryptoError::InvalidPublicKey);
            assert_eq!(suite.kem.public_key(weak).map(|_| ()), refused);
            let refused = Err(CryptoError::InvalidKemOutput);
            assert_eq!(private.decap(weak).map(|_| ()), refused);
            assert_eq!(suite.kem.check_kem_output(weak), refused);
        }
        assert!(suite.kem.public_key(private.public()).is_ok());
        assert_eq!(suite.kem.check_kem_output(private.public()), Ok(()));
    }
}

#[test]
fn kem_outputs_of_a_wrong_length() {
    for suite in suites() {
        let private = suite.kem.generate(&mut rng(8)).unwrap();
        for wrong in [&[][..], &[4; 31], &[4; 66]] {
            assert_eq!(private.decap(wrong).map(|_| ()), Err(CryptoError::InvalidKemOutput));
        }
    }
}

#[test]
fn altered_hpke_ciphertexts() {
    for suite in suites() {
        let private = suite.kem.generate(&mut rng(9)).unwrap();
        let public = suite.kem.public_key(private.public()).unwrap();
        let sealed = suite
            .encrypt_with_label(&*public, "Welcome", b"context", b"secret", &mut rng(9))
            .unwrap();
        let open = |label: &str, context: &[u8], sealed: &HpkeCiphertext| {
            suite.decrypt_with_label(&*private, label, context, sealed).map(|_| ()).unwrap_err()
        };
        assert_eq!(open("welcome", b"context", &sealed), CryptoError::DecryptionFailed);
        assert_eq!(open("Welcome", b"contexT", &sealed), CryptoError::DecryptionFailed);
        for index in 0..sealed.ciphertext.len() {
            let mut altered = sealed.clone();
            altered.ciphertext[index] ^= 0x10;
            assert_eq!(open("Welcome", b"context", &altered), CryptoError::DecryptionFailed);
            let mut truncated = sealed.clone();
            truncated.ciphertext.truncate(index);
            let expected = if index < 16 {
                CryptoError::CiphertextTooShort
            } else {
                CryptoError::DecryptionFailed
            };
            assert_eq!(open("Welcome", b"context", &truncated), expected);
        }
        let mut altered = sealed.clone();
        altered.kem_output = suite.kem.generate(&mut rng(10)).unwrap().public().to_vec();
        assert_eq!(open("Welcome", b"context", &altered), CryptoError::DecryptionFailed);
    }
}

#[test]
fn altered_aead_ciphertexts_and_parameters() {
    for suite in suites() {
        let (key, nonce) = (vec![1; suite.aead.key_length()], [2; 12]);
        let sealed = suite.aead.seal(&key, &nonce, b"aad", b"plaintext").unwrap();
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            let opened = suite.aead.open(&key, &nonce, b"aad", &altered);
            assert_eq!(opened, Err(CryptoError::DecryptionFailed));
        }
        let opened = suite.aead.open(&key, &nonce, b"daa", &sealed);
        assert_eq!(opened, Err(CryptoError::DecryptionFailed));
        let opened = suite.aead.open(&key, &nonce, b"aad", &sealed[..15]);
        assert_eq!(opened, Err(CryptoError::CiphertextTooShort));
        for (key, nonce) in [(&key[1..], &nonce[..]), (&key[..], &nonce[1..]), (&[][..], &[][..])] {
            let sealed = suite.aead.seal(key, nonce, b"", b"");
            assert!(matches!(sealed, Err(CryptoError::WrongLength { .. })), "{sealed:?}");
            let opened = suite.aead.open(key, nonce, b"", &[0; 16]);
            assert!(matches!(opened, Err(CryptoError::WrongLength { .. })), "{opened:?}");
        }
    }
}

#[test]
fn altered_signatures() {
    for suite in suites() {
        let private = suite.signature.generate(&mut rng(11)).unwrap();
        let public = suite.signature.verifying_key(private.public()).unwrap();
        let signature = suite.sign_with_label(&*private, "label", b"content").unwrap();
        let verify = |label: &str, content: &[u8], signature: &[u8]| {
            suite.verify_with_label(&*public, label, content, &Signature(signature.to_vec()))
        };
        verify("label", b"content", signature.as_bytes()).unwrap();
        let refused = Err(CryptoError::InvalidSignature);
        assert_eq!(verify("Label", b"content", signature.as_bytes()), refused);
        assert_eq!(verify("label", b"Content", signature.as_bytes()), refused);
        for index in 0..signature.0.len() {
            assert_eq!(verify("label", b"content", &signature.0[..index]), refused);
            for bit in 0..8 {
                let mut altered = signature.0.clone();
                altered[index] ^= 1 << bit;
                assert_eq!(verify("label", b"content", &altered), refused);
            }
        }
        assert_eq!(verify("label", b"content", &[signature.as_bytes(), &[0]].concat()), refused);
        let other = suite.signature.generate(&mut rng(12)).unwrap();
        let other = suite.signature.verifying_key(other.public()).unwrap();
        assert_eq!(suite.verify_with_label(&*other, "label", b"content", &signature), refused);
    }
}

/// Encodings of an ECDSA signature that a lenient DER parser would take; members must not differ over them.
#[test]
fn ecdsa_signatures_in_another_encoding() {
    for suite in p256_suites() {
        let private = suite.signature.generate(&mut rng(13)).unwrap();
        let public = suite.signature.verifying_key(private.public()).unwrap();
        let good = private.sign(b"message").unwrap();
        public.verify(b"message", &good).unwrap();
        let (r, s) = der_integers(&good);
        assert_eq!(der_signature(&r, &s), good);
        let zero_r = [&[0], &r[..]].concat();
        let zero = [0];
        let order = [&[0], &hex::decode(P256_ORDER).unwrap()[..]].concat();
        let long_length = [&[0x30, 0x81], &good[1..]].concat();
        for wrong in [
            der_signature(&zero_r, &s),
            der_signature(&zero, &s),
            der_signature(&r, &zero),
            der_signature(&order, &s),
            der_signature(&r, &order),
            der_signature(&[], &s),
            long_length,
            [r.as_slice(), s.as_slice()].concat(),
        ] {
            let verified = public.verify(b"message", &wrong);
            assert_eq!(verified, Err(CryptoError::InvalidSignature), "{}", hex::encode(&wrong));
        }
        // ECDSA has two valid values of s; TLS, and so MLS, takes both.
        let other_s = subtract_from_order(&s);
        public.verify(b"message", &der_signature(&r, &other_s)).unwrap();
    }
}

#[test]
fn more_output_than_the_kdf_gives() {
    for suite in suites() {
        let secret = Secret::from_slice(&[1; 32]);
        let most = 255 * suite.hash_length();
        for length in [most + 1, 65_536, usize::MAX] {
            let out = suite.expand_with_label(&secret, "x", b"", length).map(|_| ());
            assert_eq!(out, Err(CryptoError::OutputTooLong));
        }
        let mut out = vec![1; most + 1];
        let result = suite.expand_with_label_into(&secret, "x", b"", &mut out);
        assert_eq!(result, Err(CryptoError::OutputTooLong));
        let short = Secret::from_slice(&[1; 31]);
        let out = suite.derive_secret(&short, "x").map(|_| ());
        assert!(matches!(out, Err(CryptoError::WrongLength { expected: 32, actual: 31, .. })));
    }
}

#[test]
fn altered_macs() {
    for suite in suites() {
        let key = Secret::from_slice(&[1; 32]);
        let tag = suite.mac(&key, &[b"content"]);
        suite.verify_mac(&key, &[b"content"], &tag).unwrap();
        let mut altered = tag.clone();
        altered[31] ^= 1;
        let long = [&tag[..], &[0]].concat();
        for wrong in [&altered[..], &tag[..31], &[], &long] {
            let verified = suite.verify_mac(&key, &[b"content"], wrong);
            assert_eq!(verified, Err(CryptoError::InvalidMac));
        }
        let other = Secret::from_slice(&[2; 32]);
        assert_eq!(suite.verify_mac(&other, &[b"content"], &tag), Err(CryptoError::InvalidMac));
    }
}

fn der_integers(signature: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let r_length = usize::from(signature[3]);
    let (r, rest) = signature[4..].split_at(r_length);
    (r.to_vec(), rest[2..].to_vec())
}

fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    let length = 4 + r.len() + s.len();
    let mut out = vec![0x30, length as u8, 0x02, r.len() as u8];
    out.extend_from_slice(r);
    out.extend_from_slice(&[0x02, s.len() as u8]);
    out.extend_from_slice(s);
    out
}

/// The order minus `s`, as a minimal DER integer.
fn subtract_from_order(s: &[u8]) -> Vec<u8> {
    let order = hex::decode(P256_ORDER).unwrap();
    let s = [vec![0; 33 - s.len()], s.to_vec()].concat();
    let mut result = [0; 33];
    let mut borrow = 0;
    for index in (0..32).rev() {
        let difference = i16::from(order[index]) - i16::from(s[index + 1]) - borrow;
        borrow = i16::from(difference < 0);
        result[index + 1] = difference.rem_euclid(256) as u8;
    }
    let mut start = 0;
    while start < 32 && result[start] == 0 && result[start + 1] < 0x80 {
        start += 1;
    }
    result[start..].to_vec()
}
