//! passive-client-*.json: a member that joins by Welcome and follows the group (RFC 9420 section 12.4).

use std::sync::Arc;

use mls::{
    AcceptAnyCredential, Client, ClientOptions, Identity, KeyPackageBundle, MemoryPskStore,
    Processed, SignatureKeyPair, UnixTime,
    codec::Decode,
    crypto::{HpkePrivateKey, SignaturePrivateKey, Suite},
    schedule::Psk,
    wire::{Capabilities, KeyPackage, MlsMessage, MlsMessageBody},
};
use serde::Deserialize;

use super::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    external_psks: Vec<ExternalPsk>,
    key_package: Hex,
    signature_priv: Hex,
    encryption_priv: Hex,
    init_priv: Hex,
    welcome: Hex,
    ratchet_tree: Option<Hex>,
    initial_epoch_authenticator: Hex,
    epochs: Vec<Epoch>,
}

#[derive(Deserialize)]
struct ExternalPsk {
    psk_id: Hex,
    psk: Hex,
}

#[derive(Deserialize)]
struct Epoch {
    proposals: Vec<Hex>,
    commit: Hex,
    epoch_authenticator: Hex,
}

const NOW: UnixTime = UnixTime(1_700_000_000);

impl Case {
    fn key_package(&self) -> KeyPackage {
        match MlsMessage::from_bytes(&self.key_package).unwrap().0 {
            MlsMessageBody::KeyPackage(key_package) => *key_package,
            other => panic!("expected a key package, not {other:?}"),
        }
    }

    fn client(&self, suite: &'static Suite) -> Client {
        let leaf = self.key_package().leaf_node;
        let private =
            SignaturePrivateKey::from_slice(&common::private_key(suite, &self.signature_priv));
        let keys = SignatureKeyPair::import(suite, &private, &leaf.signature_key).unwrap();
        let psks = MemoryPskStore::new();
        for psk in &self.external_psks {
            psks.insert(psk.psk_id.to_vec(), Psk::from_slice(&psk.psk));
        }
        let options = ClientOptions {
            capabilities: Capabilities::clone(&leaf.capabilities),
            psks: Arc::new(psks),
            max_lifetime: None,
            resumption_epochs: 1000,
            ..ClientOptions::new(AcceptAnyCredential)
        };
        Client::new(suite, Identity::new(leaf.credential, keys), options)
    }

    fn check(&self, suite: &'static Suite) {
        let bundle = KeyPackageBundle::from_parts(
            suite,
            self.key_package(),
            &HpkePrivateKey::from_slice(&common::private_key(suite, &self.init_priv)),
            &HpkePrivateKey::from_slice(&common::private_key(suite, &self.encryption_priv)),
        )
        .unwrap();
        let tree = self.ratchet_tree.as_deref();
        let joined = self.client(suite).join(&self.welcome, [&bundle], tree, NOW).unwrap();
        let mut group = joined.accept();
        let authenticator = group.epoch_authenticator().unwrap().as_bytes();
        assert_eq!(authenticator, &*self.initial_epoch_authenticator);
        for (index, epoch) in self.epochs.iter().enumerate() {
            for proposal in &epoch.proposals {
                let processed = group.process(proposal, NOW).unwrap();
                assert!(matches!(processed, Processed::Proposal(_)));
            }
            let processed = group
                .process(&epoch.commit, NOW)
                .unwrap_or_else(|error| panic!("commit {index}: {error}"));
            let Processed::Commit(staged) = processed else { panic!("expected a commit") };
            group.merge(*staged).unwrap();
            let authenticator = group.epoch_authenticator().unwrap().as_bytes();
            assert_eq!(authenticator, &*epoch.epoch_authenticator);
        }
    }
}

fn run(name: &str) {
    common::run(name, |case: Case| {
        let suites = common::suites(case.cipher_suite);
        suites.into_iter().for_each(|suite| case.check(suite));
    });
}

#[test]
fn joins_by_welcome() {
    run("passive-client-welcome");
}

#[test]
fn handles_commits() {
    run("passive-client-handling-commit");
}

#[test]
fn follows_a_random_history() {
    run("passive-client-random");
}
