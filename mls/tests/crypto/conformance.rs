//! What one backend makes, every backend takes, and from the same randomness they make the same.

use mls::{crypto::Secret, wire::CipherSuite};

use crate::{pairs, providers, rng, suites};

#[test]
fn every_backend_has_the_first_three_suites() {
    for provider in providers() {
        let ids: Vec<u16> = provider.suites.iter().map(|suite| suite.id.0).collect();
        assert_eq!(ids, [1, 2, 3], "{}", provider.name);
        assert!(provider.suite(CipherSuite(4)).is_none());
    }
}

#[test]
fn hashes_macs_and_derived_secrets_agree() {
    let key = Secret::from_slice(&[7; 32]);
    let parts: [&[u8]; 4] = [b"one", b"", b"two", &[0; 200]];
    let joined: Vec<u8> = parts.concat();
    for (a, b) in pairs() {
        assert_eq!(a.hash_length(), 32);
        assert_eq!(a.hash(&parts), b.hash(&[&joined]));
        assert_eq!(a.mac(&key, &parts), b.mac(&key, &[&joined]));
        assert_eq!(a.extract(&key, &Secret::zeroed(32)), b.extract(&key, &Secret::zeroed(32)));
        assert_eq!(
            a.kdf.extract(&[], &parts).as_bytes(),
            b.kdf.extract(&[0; 32], &[&joined]).as_bytes(),
            "an absent salt is a salt of zeros (RFC 5869 section 2.2)"
        );
        // Lengths around the block boundaries, and a context longer than any library's buffer.
        for length in [0, 1, 12, 16, 31, 32, 33, 64, 65, 1000, 255 * 32] {
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
        let secret = Secret::from_slice(&[9; 32]);
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

            let same = b.kem.public_key(private.public()).unwrap();
            let again = b
                .encrypt_with_label(&*same, "UpdatePathNode", b"context", &plaintext, &mut rng(5))
                .unwrap();
            assert_eq!(again, sealed, "the same randomness makes the same ciphertext");
        }
    }
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
