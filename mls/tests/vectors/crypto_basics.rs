//! `crypto-basics.json`: the labelled functions.

use mls::{
    crypto::{Secret, os_rng},
    wire::{HpkeCiphertext, Signature},
};
use serde::Deserialize;

use crate::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    ref_hash: RefHash,
    expand_with_label: Expand,
    derive_secret: Derive,
    derive_tree_secret: DeriveTree,
    sign_with_label: Sign,
    encrypt_with_label: Encrypt,
}

#[derive(Deserialize)]
struct RefHash {
    label: String,
    value: Hex,
    out: Hex,
}

#[derive(Deserialize)]
struct Expand {
    secret: Hex,
    label: String,
    context: Hex,
    length: usize,
    out: Hex,
}

#[derive(Deserialize)]
struct Derive {
    secret: Hex,
    label: String,
    out: Hex,
}

#[derive(Deserialize)]
struct DeriveTree {
    secret: Hex,
    label: String,
    generation: u32,
    length: usize,
    out: Hex,
}

#[derive(Deserialize)]
struct Sign {
    r#priv: Hex,
    r#pub: Hex,
    content: Hex,
    label: String,
    signature: Hex,
}

#[derive(Deserialize)]
struct Encrypt {
    r#priv: Hex,
    r#pub: Hex,
    label: String,
    context: Hex,
    plaintext: Hex,
    kem_output: Hex,
    ciphertext: Hex,
}

#[test]
fn crypto_basics() {
    common::run("crypto-basics", run);
}

fn run(case: Case) {
    let suites = common::suites(case.cipher_suite);
    for suite in &suites {
        let t = &case.ref_hash;
        assert_eq!(suite.ref_hash(&t.label, &t.value).unwrap().as_bytes(), &*t.out);

        let t = &case.expand_with_label;
        let secret = Secret::from_slice(&t.secret);
        let out = suite.expand_with_label(&secret, &t.label, &t.context, t.length).unwrap();
        assert_eq!(out.as_bytes(), &*t.out);

        let t = &case.derive_secret;
        let out = suite.derive_secret(&Secret::from_slice(&t.secret), &t.label).unwrap();
        assert_eq!(out.as_bytes(), &*t.out);

        let t = &case.derive_tree_secret;
        let secret = Secret::from_slice(&t.secret);
        let out = suite.derive_tree_secret(&secret, &t.label, t.generation, t.length).unwrap();
        assert_eq!(out.as_bytes(), &*t.out);

        let t = &case.sign_with_label;
        let public = suite.signature.verifying_key(&t.r#pub).unwrap();
        let given = Signature(t.signature.to_vec());
        suite.verify_with_label(&*public, &t.label, &t.content, &given).unwrap();
        let private = suite.signature_key_pair(&t.r#priv, &t.r#pub).unwrap();
        let ours = suite.sign_with_label(&*private, &t.label, &t.content).unwrap();
        suite.verify_with_label(&*public, &t.label, &t.content, &ours).unwrap();

        let t = &case.encrypt_with_label;
        let private = suite.kem_key_pair(&t.r#priv, &t.r#pub).unwrap();
        let given =
            HpkeCiphertext { kem_output: t.kem_output.to_vec(), ciphertext: t.ciphertext.to_vec() };
        let opened = suite.decrypt_with_label(&*private, &t.label, &t.context, &given).unwrap();
        assert_eq!(opened.as_bytes(), &*t.plaintext);
        let public = suite.kem.public_key(&t.r#pub).unwrap();
        let ours = suite
            .encrypt_with_label(&*public, &t.label, &t.context, &t.plaintext, &mut os_rng())
            .unwrap();
        let opened = suite.decrypt_with_label(&*private, &t.label, &t.context, &ours).unwrap();
        assert_eq!(opened.as_bytes(), &*t.plaintext);
    }
}
