//! The vectors of RFC 9605 (appendix C) and of the IANA suites with AES-256, on every backend.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it ran"
)]

use serde_json::Value;
use sframe_bridge::crypto::{self, FrameProvider};
use sframe_bridge::{
    BASE_KEY_LABEL, BaseKey, CipherSuite, Header, HeaderError, Kid, SframeSecret, peek,
};
use std::path::PathBuf;

fn load(name: &str) -> Option<Value> {
    let folder = std::env::var_os("FRAMELOCK_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        PathBuf::from,
    );
    let path = folder.join("sframe").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).expect("valid JSON")),
        Err(error) => {
            println!("vectors: sframe/{name} SKIPPED: {} not readable: {error}", path.display());
            None
        }
    }
}

fn providers() -> &'static [&'static FrameProvider] {
    crypto::PROVIDERS
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    hex::decode(case[field].as_str().unwrap()).unwrap()
}

fn number(case: &Value, field: &str) -> u64 {
    case[field].as_u64().unwrap()
}

fn suite(case: &Value) -> CipherSuite {
    CipherSuite::try_from(u16::try_from(number(case, "cipher_suite")).unwrap()).unwrap()
}

fn report(name: &str, section: &str, ran: usize, expected: usize) {
    println!("vectors: sframe/{name} {section} ran {ran} of {expected}, left out 0");
    assert_eq!(ran, expected, "{section} of {name}");
}

#[test]
fn header() {
    for name in ["test-vectors.json"] {
        let Some(file) = load(name) else { return };
        let cases = file["header"].as_array().unwrap();
        for case in cases {
            let header = Header { kid: Kid(number(case, "kid")), ctr: number(case, "ctr") };
            let encoded = bytes(case, "encoded");
            assert_eq!(header.encode().as_bytes(), encoded);
            let peeked = peek(&encoded).unwrap();
            assert_eq!((peeked.header, peeked.length), (header, encoded.len()));
            for cut in 0..encoded.len() {
                let error = peek(&encoded[..cut]).unwrap_err();
                assert!(matches!(error, HeaderError::Truncated { .. }));
            }
        }
        report(name, "header", cases.len(), 289);
    }
}

#[test]
fn aes_ctr_hmac() {
    for (name, section) in [
        ("test-vectors.json", "aes_ctr_hmac"),
        ("test-vectors.json", "aes_256_ctr_hmac"),
        ("test-vectors-aes256.json", "aes_256_ctr_hmac"),
    ] {
        let Some(file) = load(name) else { return };
        let Some(cases) = file[section].as_array() else { continue };
        for provider in providers() {
            for case in cases {
                let aead = provider.suite(suite(case)).unwrap().aead;
                let cipher = aead.cipher(&bytes(case, "key")).unwrap();
                let nonce = bytes(case, "nonce").try_into().unwrap();
                let (aad, plain) = (bytes(case, "aad"), bytes(case, "pt"));
                let mut buffer = plain.clone();
                buffer.resize(plain.len() + suite(case).tag_length(), 0);
                cipher.seal_in_place(&nonce, &aad, &mut buffer).unwrap();
                assert_eq!(buffer, bytes(case, "ct"), "{}", provider.name);
                let length = cipher.open_in_place(&nonce, &aad, &mut buffer).unwrap();
                assert_eq!(buffer[..length], plain);
                let mut forged = bytes(case, "ct");
                *forged.last_mut().unwrap() ^= 1;
                assert!(cipher.open_in_place(&nonce, &aad, &mut forged).is_err());
            }
        }
        report(name, section, cases.len(), 3);
    }
}

#[test]
fn sframe() {
    for (name, section, expected) in [
        ("test-vectors.json", "sframe", 5),
        ("test-vectors-aes256.json", "sframe_aes_256_ctr_hmac", 3),
    ] {
        let Some(file) = load(name) else { return };
        let cases = file[section].as_array().unwrap();
        for provider in providers() {
            for case in cases {
                let suite = provider.suite(suite(case)).unwrap();
                let base_key = bytes(case, "base_key");
                let prk = suite.kdf.extract(b"", &base_key);
                assert_eq!(prk.expose_secret(), bytes(case, "sframe_secret"));
                let mut key = vec![0; suite.suite.key_length()];
                suite.kdf.expand(&prk, &bytes(case, "sframe_key_label"), &mut key).unwrap();
                assert_eq!(key, bytes(case, "sframe_key"));
                let mut salt = vec![0; 12];
                suite.kdf.expand(&prk, &bytes(case, "sframe_salt_label"), &mut salt).unwrap();
                assert_eq!(salt, bytes(case, "sframe_salt"));

                let header = Header { kid: Kid(number(case, "kid")), ctr: number(case, "ctr") };
                let secret = SframeSecret::extract(suite, &BaseKey::new(base_key));
                let frame_key = secret.frame_key(header.kid).unwrap();
                let plain = bytes(case, "pt");
                let mut aad = header.encode().as_bytes().to_vec();
                aad.extend(bytes(case, "metadata"));
                assert_eq!(aad, bytes(case, "aad"));
                let mut sealed = plain.clone();
                sealed.resize(plain.len() + suite.suite.tag_length(), 0);
                frame_key
                    .seal_with_counter_of_callers_choice(header.ctr, &aad, &mut sealed)
                    .unwrap();
                let mut frame = header.encode().as_bytes().to_vec();
                frame.extend(&sealed);
                assert_eq!(frame, bytes(case, "ct"), "{} {:?}", provider.name, suite);
                let length = frame_key.open(header.ctr, &aad, &mut sealed).unwrap();
                assert_eq!(sealed[..length], plain);
            }
        }
        report(name, section, cases.len(), expected);
    }
}

#[test]
fn label_of_the_exporter() {
    assert_eq!(BASE_KEY_LABEL, "SFrame 1.0 Base Key");
}
