//! `psk_secret.json`: what pre-shared keys contribute to an epoch (RFC 9420 section 8.4).

use mls::{
    schedule::{Psk, PskInput, PskSecret},
    wire::{PreSharedKeyId, PskSource},
};
use serde::Deserialize;

use crate::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    psks: Vec<Listed>,
    psk_secret: Hex,
}

#[derive(Deserialize)]
struct Listed {
    psk_id: Hex,
    psk: Hex,
    psk_nonce: Hex,
}

#[test]
fn psk_secret() {
    common::run("psk_secret", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        let listed: Vec<(PreSharedKeyId, Psk)> = case
            .psks
            .iter()
            .map(|listed| {
                let source = PskSource::External { psk_id: listed.psk_id.0.clone() };
                let id = PreSharedKeyId { source, psk_nonce: listed.psk_nonce.0.clone() };
                (id, Psk::from_slice(&listed.psk))
            })
            .collect();
        let inputs: Vec<PskInput<'_>> =
            listed.iter().map(|(id, psk)| PskInput { id, psk }).collect();
        for suite in suites {
            let computed = PskSecret::compute(suite, &inputs).unwrap();
            assert_eq!(computed.as_bytes(), &*case.psk_secret);
        }
    });
}
