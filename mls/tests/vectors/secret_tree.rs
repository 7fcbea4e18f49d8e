//! `secret-tree.json`: keys of messages and of sender data (RFC 9420 sections 9, 6.3.2).

use mls::{
    crypto::Suite,
    schedule::{
        EncryptionSecret, MessageKey, RatchetKind, RatchetLimits, SecretTree, SecretTreeError,
        SenderDataSecret,
    },
    wire::LeafIndex,
};
use serde::Deserialize;

use crate::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    sender_data: SenderData,
    encryption_secret: Hex,
    leaves: Vec<Vec<Generation>>,
}

#[derive(Deserialize)]
struct SenderData {
    sender_data_secret: Hex,
    ciphertext: Hex,
    key: Hex,
    nonce: Hex,
}

#[derive(Deserialize)]
struct Generation {
    generation: u32,
    handshake_key: Hex,
    handshake_nonce: Hex,
    application_key: Hex,
    application_nonce: Hex,
}

impl Generation {
    fn of(&self, kind: RatchetKind) -> (&[u8], &[u8]) {
        match kind {
            RatchetKind::Handshake => (&self.handshake_key, &self.handshake_nonce),
            RatchetKind::Application => (&self.application_key, &self.application_nonce),
        }
    }
}

#[test]
fn secret_tree() {
    common::run("secret-tree", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        for suite in suites {
            let secret = SenderDataSecret::from_slice(&case.sender_data.sender_data_secret);
            let keys = secret.keys(suite, &case.sender_data.ciphertext).unwrap();
            assert_eq!(keys.key(), &*case.sender_data.key);
            assert_eq!(keys.nonce(), &*case.sender_data.nonce);
            for kind in [RatchetKind::Handshake, RatchetKind::Application] {
                check_opening(suite, &case, kind);
                check_sending(suite, &case, kind);
            }
        }
    });
}

fn tree(suite: &'static Suite, case: &Case, own: u32) -> SecretTree {
    let secret = EncryptionSecret::from_slice(&case.encryption_secret);
    let leaves = u32::try_from(case.leaves.len()).unwrap();
    SecretTree::new(suite, secret, leaves, LeafIndex(own), RatchetLimits::default()).unwrap()
}

/// Each leaf as its fellow members see it; the later generation first, then back to those it skipped.
fn check_opening(suite: &'static Suite, case: &Case, kind: RatchetKind) {
    let members = u32::try_from(case.leaves.len()).unwrap();
    for own in [0, members - 1] {
        let mut tree = tree(suite, case, own);
        for (leaf, generations) in (0..).zip(&case.leaves).filter(|(leaf, _)| *leaf != own) {
            for expected in generations.iter().rev() {
                let check = |key: &MessageKey| -> Result<(), SecretTreeError> {
                    assert_eq!((key.key(), key.nonce()), expected.of(kind));
                    Ok(())
                };
                tree.use_key(LeafIndex(leaf), kind, expected.generation, check).unwrap();
            }
        }
    }
}

/// Each leaf as it sees itself.
fn check_sending(suite: &'static Suite, case: &Case, kind: RatchetKind) {
    for (leaf, generations) in (0..).zip(&case.leaves) {
        let mut tree = tree(suite, case, leaf);
        let mut sent = tree.next_send_key(kind).unwrap();
        for expected in generations {
            while sent.generation < expected.generation {
                sent = tree.next_send_key(kind).unwrap();
            }
            assert_eq!((sent.key.key(), sent.key.nonce()), expected.of(kind));
        }
    }
}
