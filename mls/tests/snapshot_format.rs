//! What has been saved can be read by later builds: a group and a pending commit in the present format are kept as a file, so that no
//! change of the format goes unnoticed. Whoever changes it raises the version, and writes the file anew with
//! `cargo test -p mls --test snapshot_format -- --ignored`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use mls::{
    Action, Client, Fault, Identity, PendingCommit, SignatureKeyPair, SnapshotError, SnapshotKey,
    crypto::{RUST_CRYPTO, SignaturePrivateKey, Suite},
    wire::{Credential, SignaturePublicKey},
};
use rand::rngs::StdRng;
use std::{collections::BTreeMap, path::PathBuf};
use support::*;

const VERSION: u16 = 2;

fn file() -> PathBuf {
    let name = format!("tests/fixtures/snapshot-{VERSION}.json");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn portable() -> &'static Suite {
    RUST_CRYPTO.suite(mls::CipherSuite::X25519_AES128GCM_SHA256_ED25519).unwrap()
}

/// Values by name.
struct Fixture(BTreeMap<String, Vec<u8>>);

impl Fixture {
    fn read() -> Self {
        let text = std::fs::read_to_string(file()).unwrap();
        let values: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        Self(values.into_iter().map(|(name, hex)| (name, hex::decode(hex).unwrap())).collect())
    }

    fn key(&self) -> SnapshotKey {
        SnapshotKey::new(self.0["key"].as_slice().try_into().unwrap())
    }

    fn client(&self) -> Client {
        let private = SignaturePrivateKey::from_slice(&self.0["signature_private"]);
        let public = SignaturePublicKey(self.0["signature_public"].clone());
        let keys = SignatureKeyPair::import(portable(), &private, &public).unwrap();
        let identity = Identity::new(Credential::basic("member 1"), keys);
        Client::new(portable(), identity, private_options())
    }
}

#[test]
fn what_was_saved_in_the_present_format_is_restored() {
    let fixture = Fixture::read();
    let (client, key) = (fixture.client(), fixture.key());
    let mut group = client.restore(&fixture.0["group"], &key).unwrap();
    assert!(group.is_restored());
    let authenticator =
        |group: &mls::Group| group.epoch_authenticator().unwrap().as_bytes().to_vec();
    assert_eq!(authenticator(&group), fixture.0["authenticator"]);
    assert_eq!(group.proposals().count(), 2);
    let mls::Processed::Application(late) = group.process(&fixture.0["late"], NOW).unwrap() else {
        panic!("expected application data");
    };
    assert_eq!(late.data, b"late");

    let pending = group.restore_pending(&fixture.0["pending"], &key).unwrap();
    assert!(pending.is_echo(&fixture.0["commit"]));
    group.confirm(pending).unwrap();
    assert_eq!(authenticator(&group), fixture.0["next_authenticator"]);
    let again = group.save(&key, &mut rng(1)).unwrap();
    assert_eq!(u16::from_be_bytes([again[4], again[5]]), VERSION, "the file is of another version");
}

#[test]
fn other_versions_are_named() {
    let fixture = Fixture::read();
    for other in [0, 1, VERSION + 1, u16::MAX] {
        let mut saved = fixture.0["group"].clone();
        saved[4..6].copy_from_slice(&other.to_be_bytes());
        let error = fixture.client().restore(&saved, &fixture.key()).unwrap_err();
        assert_eq!(error, SnapshotError::Version(other));
        assert_eq!((error.fault(), error.action()), (Fault::Misuse, Action::Resync));
        assert!(error.to_string().contains(&other.to_string()));
    }
    let mut saved = fixture.0["group"].clone();
    saved[0] ^= 1;
    let error = fixture.client().restore(&saved, &fixture.key()).unwrap_err();
    assert!(matches!(error, SnapshotError::Malformed(_)));
}

#[test]
#[ignore = "writes the file anew, after a change of the format"]
fn write_the_file() {
    let rng = &mut rng(7);
    let mut groups = group_with_past(rng);
    let late = groups[0].protect(b"late", b"", rng).unwrap();
    let pending = groups[2].commit().build(rng, NOW).unwrap();
    settle(&mut groups, 2, pending);
    let update = groups[1].propose_update(rng).unwrap().message;
    propose_to(&mut groups, &update, 1);
    let remove = groups[0].propose_remove(mls::LeafIndex(2), rng).unwrap().message;
    propose_to(&mut groups, &remove, 0);
    let key = SnapshotKey::generate(rng);
    let pending = groups[1].commit().build(rng, NOW).unwrap();
    let saved = (groups[1].save(&key, rng).unwrap(), save(&pending, &groups[1], &key, rng));
    let authenticator = groups[1].epoch_authenticator().unwrap().as_bytes().to_vec();
    let commit = pending.commit().to_vec();
    groups[1].confirm(pending).unwrap();
    let next = groups[1].epoch_authenticator().unwrap().as_bytes().to_vec();
    let identity = groups[1].client().identity();
    let values = BTreeMap::from([
        ("key", key.as_bytes().to_vec()),
        ("signature_private", identity.keys().export_private().unwrap().as_bytes().to_vec()),
        ("signature_public", identity.public().0),
        ("group", saved.0),
        ("pending", saved.1),
        ("commit", commit),
        ("late", late),
        ("authenticator", authenticator),
        ("next_authenticator", next),
    ]);
    let values: BTreeMap<_, _> =
        values.into_iter().map(|(name, bytes)| (name, hex::encode(bytes))).collect();
    let text = serde_json::to_string_pretty(&values).unwrap();
    std::fs::write(file(), text + "\n").unwrap();
}

fn save(
    pending: &PendingCommit,
    group: &mls::Group,
    key: &SnapshotKey,
    rng: &mut StdRng,
) -> Vec<u8> {
    pending.save(group, key, rng).unwrap()
}

/// Three members, in a group that has had some epochs.
fn group_with_past(rng: &mut StdRng) -> Vec<mls::Group> {
    let mut groups = group_of(3, portable(), &private_options(), rng);
    everybody_commits(&mut groups, rng);
    groups
}
