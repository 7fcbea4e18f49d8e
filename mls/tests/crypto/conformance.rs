//! What one backend makes, every backend takes, and from the same randomness they make the same.

use mls::{
    crypto::{MAX_HASH_LENGTH, Secret, Suite},
    wire::CipherSuite,
};

use crate::{pairs, providers, rng, suites};

#[test]
fn every_backend_has_its_suites() {
    for provider in providers() {
        let curve448 = cfg!(feature = "curve448-prerelease") && provider.name == "rust-crypto";
        let expected = (1..=7).filter(|id| curve448 || ![4, 6].contains(id));
        let expected = expected.chain(cfg!(feature = "post-quantum").then_some(0xf002));
        let ids = provider.suites.iter().map(|suite| suite.id.0);
        assert!(ids.eq(expected), "{}", provider.name);
        assert!(provider.suite(CipherSuite(8)).is_none());
    }
}

#[test]
fn parts_are_those_that_the_suite_is_made_of() {
    for suite in suites() {
        // KEM (RFC 9180 section 7.1), Nh, Nk, signature scheme (RFC 9420 section 17.1).
        let expected = match suite.id.0 {
            1 | 3 => (0x0020, 32, if suite.id.0 == 1 { 16 } else { 32 }, 0x0807),
            2 => (0x0010, 32, 16, 0x0403),
            4 | 6 => (0x0021, 64, 32, 0x0808),
            5 => (0x0012, 64, 32, 0x0603),
            7 => (0x0011, 48, 32, 0x0503),
            0xf002 => (0x647a, 48, 32, 0x0807),
            other => panic!("suite {other}"),
        };
        let parts =
            (suite.kem.id(), suite.hash_length(), suite.aead.key_length(), suite.signature.id());
        assert_eq!(parts, expected, "{suite:?}");
        assert_eq!(suite.kdf.length(), suite.hash_length());
        assert_eq!(suite.aead.nonce_length(), 12);
    }
}

#[test]
fn hashes_macs_and_derived_secrets_agree() {
    let key = Secret::from_slice(&[7; MAX_HASH_LENGTH]);
    let parts: [&[u8]; 4] = [b"one", b"", b"two", &[0; 200]];
    let joined: Vec<u8> = parts.concat();
    for (a, b) in pairs() {
        let length = a.hash_length();
        assert_eq!(a.hash(&parts).as_bytes().len(), length);
        assert_eq!(a.hash(&parts), b.hash(&[&joined]));
        assert_eq!(a.mac(&key, &parts), b.mac(&key, &[&joined]));
        assert_eq!(
            a.extract(&key, &Secret::zeroed(length)),
            b.extract(&key, &Secret::zeroed(length))
        );
        assert_eq!(
            a.kdf.extract(&[], &parts).as_bytes(),
            b.kdf.extract(&vec![0; length], &[&joined]).as_bytes(),
            "an absent salt is a salt of zeros (RFC 5869 section 2.2)"
        );
        // Lengths around the block boundaries, and a context longer than any library's buffer.
        for length in [
            0,
            1,
            12,
            16,
            length - 1,
            length,
            length + 1,
            2 * length,
            2 * length + 1,
            1000,
            255 * length,
        ] {
            let context = vec![3; length * 2];
            let left = a.expand_with_label(&key, "test", &context, length).unwrap();
            let right = b.expand_with_label(&key, "test", &context, length).unwrap();
            assert_eq!(left, right);
            assert_eq!(left.length(), length);
        }
        a.verify_mac(&key, &parts, &b.mac(&key, &[&joined])).unwrap();
    }
}

#[test]
fn labels_contexts_and_lengths_separate() {
    for suite in suites() {
        let secret = Secret::from_slice(&[9; MAX_HASH_LENGTH]);
        let base = suite.expand_with_label(&secret, "a", b"x", 32).unwrap();
        assert_ne!(base, suite.expand_with_label(&secret, "b", b"x", 32).unwrap());
        assert_ne!(base, suite.expand_with_label(&secret, "a", b"y", 32).unwrap());
        let shorter = suite.expand_with_label(&secret, "a", b"x", 16).unwrap();
        assert_ne!(&base.as_bytes()[..16], shorter.as_bytes());
        let tree = suite.derive_tree_secret(&secret, "key", 1, 16).unwrap();
        assert_ne!(tree, suite.derive_tree_secret(&secret, "key", 2, 16).unwrap());
    }
}

#[test]
fn aead_ciphertexts_cross_backends() {
    for (a, b) in pairs() {
        let key = vec![1; a.aead.key_length()];
        let nonce = vec![2; a.aead.nonce_length()];
        for length in [0, 1, 15, 16, 17, 1200] {
            let plaintext = vec![5; length];
            let sealed = a.aead.seal(&key, &nonce, b"aad", &plaintext).unwrap();
            assert_eq!(sealed, b.aead.seal(&key, &nonce, b"aad", &plaintext).unwrap());
            assert_eq!(b.aead.open(&key, &nonce, b"aad", &sealed).unwrap(), plaintext);
        }
    }
}

#[test]
fn same_randomness_makes_same_keys() {
    for (a, b) in pairs() {
        for seed in 0..20 {
            let left = a.kem.generate(&mut rng(seed)).unwrap();
            let right = b.kem.generate(&mut rng(seed)).unwrap();
            assert_eq!(left.public(), right.public());
            assert_eq!(left.export().unwrap(), right.export().unwrap());
            assert_eq!(left.public().len(), a.kem.public_key_length());
            assert_eq!(left.export().unwrap().as_bytes().len(), a.kem.private_key_length());

            let ikm = [seed as u8; 40];
            let left = a.kem.derive_key_pair(&ikm).unwrap();
            let right = b.kem.derive_key_pair(&ikm).unwrap();
            assert_eq!(left.public(), right.public());

            let left = a.signature.generate(&mut rng(seed)).unwrap();
            let right = b.signature.generate(&mut rng(seed)).unwrap();
            assert_eq!(left.public(), right.public());
            assert_eq!(left.export().unwrap(), right.export().unwrap());
        }
    }
}

#[test]
fn exported_keys_import_into_every_backend() {
    for (a, b) in pairs() {
        let key = a.kem.generate(&mut rng(1)).unwrap();
        let again = b.kem_key_pair(key.export().unwrap().as_bytes(), key.public()).unwrap();
        let public = a.kem.public_key(again.public()).unwrap();
        assert_eq!(public.as_bytes(), key.public());
        let encapsulation = public.encap(&mut rng(2)).unwrap();
        assert_eq!(again.decap(&encapsulation.kem_output).unwrap(), encapsulation.shared_secret);

        let key = a.signature.generate(&mut rng(3)).unwrap();
        let again = b.signature_key_pair(key.export().unwrap().as_bytes(), key.public()).unwrap();
        assert_eq!(again.public(), key.public());
    }
}

#[test]
fn encryption_crosses_backends() {
    for (a, b) in pairs() {
        let private = b.kem.generate(&mut rng(4)).unwrap();
        let public = a.kem.public_key(private.public()).unwrap();
        for length in [0, 32, 1000] {
            let plaintext = vec![6; length];
            let sealed = a
                .encrypt_with_label(&*public, "UpdatePathNode", b"context", &plaintext, &mut rng(5))
                .unwrap();
            let opened =
                b.decrypt_with_label(&*private, "UpdatePathNode", b"context", &sealed).unwrap();
            assert_eq!(opened.as_bytes(), plaintext);

            if draws_for_itself(a) || draws_for_itself(b) {
                continue;
            }
            let same = b.kem.public_key(private.public()).unwrap();
            let again = b
                .encrypt_with_label(&*same, "UpdatePathNode", b"context", &plaintext, &mut rng(5))
                .unwrap();
            assert_eq!(again, sealed, "the same randomness makes the same ciphertext");
        }
    }
}

/// AWS-LC draws the ephemeral keys of the NIST curves from its own generator.
fn draws_for_itself(suite: &Suite) -> bool {
    let of_other_backend = providers()
        .into_iter()
        .filter(|provider| provider.name != "aws-lc-rs")
        .flat_map(|provider| provider.suites)
        .any(|other| std::ptr::eq(other, suite));
    matches!(suite.id.0, 2 | 5 | 7) && !of_other_backend
}

#[test]
fn external_init_crosses_backends() {
    for (a, b) in pairs() {
        let private = b.kem.derive_key_pair(&[8; 32]).unwrap();
        let public = a.kem.public_key(private.public()).unwrap();
        let sent = a.setup_external_init(&*public, &mut rng(6)).unwrap();
        let received = b.open_external_init(&*private, &sent.kem_output).unwrap();
        assert_eq!(received, sent.init_secret);
        assert_eq!(received.length(), a.hash_length());
        let other = a.setup_external_init(&*public, &mut rng(7)).unwrap();
        assert_ne!(other.init_secret, sent.init_secret);
    }
}

#[test]
fn signatures_cross_backends() {
    for (a, b) in pairs() {
        let private = a.signature.generate(&mut rng(8)).unwrap();
        let public = b.signature.verifying_key(private.public()).unwrap();
        assert_eq!(public.as_bytes(), private.public());
        // ECDSA signatures vary in length with the leading bits of r and s.
        for round in 0..50 {
            let content = vec![round; usize::from(round) * 7];
            let signature = a.sign_with_label(&*private, "FramedContentTBS", &content).unwrap();
            b.verify_with_label(&*public, "FramedContentTBS", &content, &signature).unwrap();
        }
    }
}

#[test]
fn references_are_hashes_with_their_label() {
    for (a, b) in pairs() {
        let reference = a.key_package_ref(b"encoded").unwrap();
        assert_eq!(reference, b.key_package_ref(b"encoded").unwrap());
        assert_eq!(
            reference.as_bytes(),
            a.hash(&[b"\x1cMLS 1.0 KeyPackage Reference\x07encoded"]).as_bytes()
        );
        let reference = a.proposal_ref(b"encoded").unwrap();
        assert_eq!(
            reference.as_bytes(),
            b.hash(&[b"\x1aMLS 1.0 Proposal Reference\x07encoded"]).as_bytes()
        );
    }
}

#[test]
fn debug_shows_public_keys_only() {
    for suite in suites() {
        let kem = suite.kem.generate(&mut rng(9)).unwrap();
        assert_eq!(format!("{kem:?}"), "KemPrivateKey(redacted)");
        let signing = suite.signature.generate(&mut rng(9)).unwrap();
        assert_eq!(format!("{signing:?}"), "SigningKey(redacted)");
        let verifying = suite.signature.verifying_key(signing.public()).unwrap();
        assert_eq!(format!("{verifying:?}"), format!("VerifyingKey({:02x?})", signing.public()));
        let exported = format!("{:?} {:?}", kem.export().unwrap(), signing.export().unwrap());
        assert_eq!(exported, "HpkePrivateKey(redacted) SignaturePrivateKey(redacted)");
    }
}
