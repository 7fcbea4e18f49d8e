//! Vectors of our own, computed a second time by `tests/vectors/compute.py`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde::Deserialize;
use sframe_bridge::verification::{LongCode, RosterEntry, VerificationInput};
use sframe_bridge::{BaseKey, CipherSuite, crypto};

#[derive(Deserialize)]
struct Vectors {
    long_codes: Vec<Code>,
    keys: Vec<Keys>,
}

#[derive(Deserialize)]
struct Code {
    suite: u16,
    epoch_authenticator: String,
    group_id: String,
    epoch: u64,
    roster: Vec<Entry>,
    digits: String,
    qr: String,
}

#[derive(Deserialize)]
struct Entry {
    leaf: u32,
    credential: String,
    signature_key: String,
}

#[derive(Deserialize)]
struct Keys {
    suite: u16,
    base_key: String,
    ratchet: Vec<String>,
    rtp_streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    ssrc: u32,
    key: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/own.json")).unwrap()
}

fn suites(id: u16) -> impl Iterator<Item = &'static crypto::SuiteCrypto> {
    let suite = CipherSuite::try_from(id).unwrap();
    crypto::PROVIDERS.iter().map(move |provider| provider.suite(suite).unwrap())
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

#[test]
fn long_codes() {
    let cases = vectors().long_codes;
    assert_eq!(cases.len(), 8);
    for case in cases {
        let parts: Vec<_> = case
            .roster
            .iter()
            .map(|entry| (entry.leaf, bytes(&entry.credential), bytes(&entry.signature_key)))
            .collect();
        let roster: Vec<_> = parts
            .iter()
            .map(|(leaf, credential, signature_key)| RosterEntry {
                leaf: *leaf,
                credential,
                signature_key,
            })
            .collect();
        let input = VerificationInput {
            epoch_authenticator: &bytes(&case.epoch_authenticator),
            group_id: &bytes(&case.group_id),
            epoch: case.epoch,
            roster: &roster,
        };
        for suite in suites(case.suite) {
            let code = LongCode::derive(suite.kdf, &input).unwrap();
            assert_eq!(code.to_string(), case.digits);
            assert_eq!(hex::encode(code.qr_payload()), case.qr);
        }
    }
}

#[test]
fn ratchets_and_rtp_streams() {
    let cases = vectors().keys;
    assert_eq!(cases.len(), 4);
    for case in cases {
        for suite in suites(case.suite) {
            let base_key = || BaseKey::new(bytes(&case.base_key));
            let mut key = base_key();
            for expected in &case.ratchet {
                key = key.ratchet(suite).unwrap();
                assert_eq!(hex::encode(key.expose_secret()), *expected);
            }
            for stream in &case.rtp_streams {
                let key = base_key().for_rtp_stream(suite, stream.ssrc).unwrap();
                assert_eq!(hex::encode(key.expose_secret()), stream.key);
            }
        }
    }
}
