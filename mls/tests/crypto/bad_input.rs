//! Bad input gets a typed error, the same from every backend.

use mls::{
    crypto::{CryptoError, Secret, Suite},
    wire::{HpkeCiphertext, Signature},
};

use crate::{rng, suites};

/// The identifier of the DHKEM over X25519.
const X25519: u16 = 0x0020;

/// Every length near the right one, and the empty string.
fn of_wrong_length(right: &[u8]) -> Vec<Vec<u8>> {
    let longer = [right, &[0]].concat();
    vec![Vec::new(), right[1..].to_vec(), right[..right.len() - 1].to_vec(), longer]
}

#[test]
fn keys_of_a_wrong_length() {
    fn refused<T>(suite: &Suite, result: Result<T, CryptoError>) {
        let result = result.map(|_| ());
        assert!(matches!(result, Err(CryptoError::WrongLength { .. })), "{suite:?}: {result:?}");
    }
    for suite in suites() {
        let kem = suite.kem.generate(&mut rng(1)).unwrap();
        let signature = suite.signature.generate(&mut rng(1)).unwrap();
        for wrong in of_wrong_length(kem.public()) {
            refused(suite, suite.kem.public_key(&wrong));
        }
        for wrong in of_wrong_length(signature.public()) {
            refused(suite, suite.signature.verifying_key(&wrong));
        }
        for wrong in of_wrong_length(kem.export().unwrap().as_bytes()) {
            refused(suite, suite.kem.private_key(&wrong));
        }
        for wrong in of_wrong_length(signature.export().unwrap().as_bytes()) {
            refused(suite, suite.signature.signing_key(&wrong));
        }
    }
}

/// Members would fork if one took a key that another refuses: all backends, and the check alone, decide alike.
#[test]
fn a_public_key_is_checked_as_it_is_parsed() {
    for suite in suites() {
        let right = suite.kem.generate(&mut rng(4)).unwrap().public().to_vec();
        let mut candidates = vec![right.clone(), vec![0; right.len()], vec![0xff; right.len()]];
        for place in 0..right.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut wrong = right.clone();
                wrong[place] ^= change;
                candidates.push(wrong);
            }
        }
        // Coordinates as large as the encoding allows, and the forms that are not uncompressed points.
        for first in [0x00, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07] {
            let mut form = right.clone();
            form[0] = first;
            candidates.push(form.clone());
            form[1..].fill(0xff);
            candidates.push(form.clone());
            form[1..].fill(0);
            candidates.push(form);
        }
        for candidate in candidates {
            let parsed = suite.kem.public_key(&candidate).map(|_| ());
            assert_eq!(
                suite.kem.check_public_key(&candidate),
                parsed,
                "{suite:?} {candidate:02x?}"
            );
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
fn x25519_points_of_small_order_or_in_another_encoding() {
    let order_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    let other_order_8 = "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157";
    let minus_one = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
    let prime = [&[0xed][..], &[0xff; 30], &[0x7f]].concat();
    let above_prime = [&[0xff][..], &[0xff; 30], &[0x7f]].concat();
    let mut one = [0; 32];
    one[0] = 1;
    for suite in suites().filter(|suite| suite.kem.id() == X25519) {
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
        let public = suite.kem.public_key(private.public()).unwrap();
        let right = public.encap(&mut rng(8)).unwrap().kem_output;
        assert_eq!(suite.kem.check_kem_output(&right), Ok(()));
        for wrong in of_wrong_length(&right) {
            let refused = Err(CryptoError::InvalidKemOutput);
            assert_eq!(private.decap(&wrong).map(|_| ()), refused, "{suite:?}");
            assert_eq!(suite.kem.check_kem_output(&wrong), refused, "{suite:?}");
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
        altered.kem_output = public.encap(&mut rng(10)).unwrap().kem_output;
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

#[test]
fn more_output_than_the_kdf_gives() {
    for suite in suites() {
        let full = vec![1; suite.hash_length()];
        let secret = Secret::from_slice(&full);
        let most = 255 * suite.hash_length();
        for length in [most + 1, 65_536, usize::MAX] {
            let out = suite.expand_with_label(&secret, "x", b"", length).map(|_| ());
            assert_eq!(out, Err(CryptoError::OutputTooLong));
        }
        let mut out = vec![1; most + 1];
        let result = suite.expand_with_label_into(&secret, "x", b"", &mut out);
        assert_eq!(result, Err(CryptoError::OutputTooLong));
        let short = Secret::from_slice(&full[1..]);
        let out = suite.derive_secret(&short, "x").map(|_| ());
        assert!(matches!(out, Err(CryptoError::WrongLength { expected, actual, .. })
                if expected == full.len() && actual == full.len() - 1));
    }
}

#[test]
fn altered_macs() {
    for suite in suites() {
        let key = Secret::from_slice(&[1; 32]);
        let tag = suite.mac(&key, &[b"content"]);
        suite.verify_mac(&key, &[b"content"], &tag).unwrap();
        let mut altered = tag.clone();
        altered[0] ^= 1;
        let long = [&tag[..], &[0]].concat();
        for wrong in [&altered[..], &tag[1..], &[], &long] {
            let verified = suite.verify_mac(&key, &[b"content"], wrong);
            assert_eq!(verified, Err(CryptoError::InvalidMac));
        }
        let other = Secret::from_slice(&[2; 32]);
        assert_eq!(suite.verify_mac(&other, &[b"content"], &tag), Err(CryptoError::InvalidMac));
    }
}
