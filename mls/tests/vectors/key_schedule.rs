//! `key-schedule.json`: from an init secret to the secrets of an epoch (RFC 9420 section 8).

use mls::{
    codec::Encode,
    schedule::{CommitSecret, InitSecret, JoinerSecret, NewEpoch, PskSecret},
    wire::{CipherSuite, Extensions, GroupContext, GroupId, ProtocolVersion, TreeHash},
};
use serde::Deserialize;

use crate::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    group_id: Hex,
    initial_init_secret: Hex,
    epochs: Vec<Epoch>,
}

#[derive(Deserialize)]
struct Epoch {
    tree_hash: Hex,
    commit_secret: Hex,
    psk_secret: Hex,
    confirmed_transcript_hash: Hex,
    group_context: Hex,
    joiner_secret: Hex,
    welcome_secret: Hex,
    init_secret: Hex,
    sender_data_secret: Hex,
    encryption_secret: Hex,
    exporter_secret: Hex,
    epoch_authenticator: Hex,
    external_secret: Hex,
    confirmation_key: Hex,
    membership_key: Hex,
    resumption_psk: Hex,
    external_pub: Hex,
    exporter: Exporter,
}

#[derive(Deserialize)]
struct Exporter {
    label: String,
    context: Hex,
    length: usize,
    secret: Hex,
}

#[test]
fn key_schedule() {
    common::run("key-schedule", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        for suite in suites {
            let mut init = InitSecret::from_slice(&case.initial_init_secret);
            for (number, epoch) in (0..).zip(&case.epochs) {
                let context = GroupContext {
                    version: ProtocolVersion::MLS10,
                    cipher_suite: CipherSuite(case.cipher_suite),
                    group_id: GroupId::from(&*case.group_id),
                    epoch: number,
                    tree_hash: TreeHash::from(&*epoch.tree_hash),
                    confirmed_transcript_hash: epoch.confirmed_transcript_hash.0.clone(),
                    extensions: Extensions::default(),
                }
                .to_bytes();
                assert_eq!(context, *epoch.group_context);

                let commit = CommitSecret::from_slice(&epoch.commit_secret);
                let joiner = init.joiner(suite, &commit, &context).unwrap();
                assert_eq!(joiner, JoinerSecret::from_slice(&epoch.joiner_secret));
                let member = joiner.member(suite, &PskSecret::from_slice(&epoch.psk_secret));
                assert_eq!(member.welcome(suite).unwrap().as_bytes(), &*epoch.welcome_secret);

                let derived = member.epoch(suite, &context).unwrap().derive(suite).unwrap();
                let NewEpoch { secrets, encryption } = derived;
                assert_eq!(encryption.as_bytes(), &*epoch.encryption_secret);
                for (ours, theirs) in [
                    (secrets.init().as_bytes(), &epoch.init_secret),
                    (secrets.sender_data().as_bytes(), &epoch.sender_data_secret),
                    (secrets.exporter().as_bytes(), &epoch.exporter_secret),
                    (secrets.epoch_authenticator().as_bytes(), &epoch.epoch_authenticator),
                    (secrets.external_secret().as_bytes(), &epoch.external_secret),
                    (secrets.confirmation_key().as_bytes(), &epoch.confirmation_key),
                    (secrets.membership_key().as_bytes(), &epoch.membership_key),
                    (secrets.resumption_psk().as_bytes(), &epoch.resumption_psk),
                    (secrets.external().unwrap().public_key().as_bytes(), &epoch.external_pub),
                ] {
                    assert_eq!(ours, &**theirs);
                }
                let Exporter { label, context, length, secret } = &epoch.exporter;
                let exported = secrets.export(label, context, *length).unwrap();
                assert_eq!(exported.as_bytes(), &**secret);
                init = InitSecret::from_slice(secrets.init().as_bytes());
            }
        }
    });
}
