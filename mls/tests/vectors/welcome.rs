//! welcome.json: opening a Welcome (RFC 9420 section 12.4.3.1).

use mls::{
    codec::{Decode, Encode},
    crypto::Suite,
    schedule::{JoinerSecret, PskSecret},
    wire::{
        GroupInfo, GroupInfoTbs, GroupSecrets, KeyPackage, MlsMessage, MlsMessageBody, Welcome,
    },
};
use serde::Deserialize;

use super::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    init_priv: Hex,
    signer_pub: Hex,
    key_package: Hex,
    welcome: Hex,
}

impl Case {
    fn key_package(&self) -> KeyPackage {
        match MlsMessage::from_bytes(&self.key_package).unwrap().0 {
            MlsMessageBody::KeyPackage(key_package) => *key_package,
            other => panic!("expected a key package, not {other:?}"),
        }
    }

    fn welcome(&self) -> Welcome {
        match MlsMessage::from_bytes(&self.welcome).unwrap().0 {
            MlsMessageBody::Welcome(welcome) => welcome,
            other => panic!("expected a welcome, not {other:?}"),
        }
    }

    fn check(&self, suite: &'static Suite) {
        let (key_package, welcome) = (self.key_package(), self.welcome());
        assert_eq!(welcome.to_bytes(), self.welcome[4..]);
        let reference = suite.key_package_ref(&key_package.to_bytes()).unwrap();
        let entry = welcome.secrets.iter().find(|entry| entry.new_member == reference).unwrap();
        let init_key =
            suite.kem_key_pair(&self.init_priv, key_package.init_key.as_bytes()).unwrap();
        let secrets = suite
            .decrypt_with_label(
                &*init_key,
                "Welcome",
                &welcome.encrypted_group_info,
                &entry.encrypted_group_secrets,
            )
            .unwrap();
        let secrets = GroupSecrets::from_bytes(secrets.as_bytes()).unwrap();
        assert!(secrets.psks.is_empty());

        let joiner = JoinerSecret::from_slice(secrets.expose_joiner_secret());
        let member = joiner.member(suite, &PskSecret::compute(suite, &[]).unwrap());
        let keys = member.welcome(suite).unwrap().keys(suite).unwrap();
        let info = keys.open(&welcome.encrypted_group_info).unwrap();
        let info = GroupInfo::from_bytes(&info).unwrap();
        let signer = suite.signature.verifying_key(&self.signer_pub).unwrap();
        suite
            .verify_with_label(
                &*signer,
                "GroupInfoTBS",
                &GroupInfoTbs(&info).to_bytes(),
                &info.signature,
            )
            .unwrap();
        let epoch = member.epoch(suite, &info.group_context.to_bytes()).unwrap();
        let confirmed = &info.group_context.confirmed_transcript_hash;
        epoch
            .derive(suite)
            .unwrap()
            .secrets
            .check_confirmation_tag(confirmed, &info.confirmation_tag)
            .unwrap();
    }
}

#[test]
fn welcome() {
    common::run("welcome", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        suites.into_iter().for_each(|suite| case.check(suite));
    });
}
