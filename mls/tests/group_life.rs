//! The life of groups, over every suite of both backends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use mls::{
    Client, ExternalJoinOptions, GroupInfoOptions, KeyPackageBundle, MemoryPskStore, ProcessError,
    Processed, SnapshotError, SnapshotKey,
    wire::{Extension, ExtensionType, Extensions, LeafIndex, PskSource},
};
use std::sync::Arc;
use support::*;

#[test]
fn members_come_and_go_in_every_suite() {
    for (backend, suite) in suites() {
        for options in [public_options(), private_options()] {
            println!("{backend} {:?} {:?}", suite.id, options.handshake);
            let rng = &mut rng(1);
            let mut groups = group_of(5, suite, &options, rng);
            everybody_commits(&mut groups, rng);

            let pending = groups[2].commit().remove(LeafIndex(4)).build(rng, NOW).unwrap();
            assert_eq!(pending.changes().removed[0].leaf, LeafIndex(4));
            settle(&mut groups, 2, pending);
            let removed = groups.pop().unwrap();
            assert!(!removed.is_active());
            assert!(removed.export("test", b"", 32).is_err());
            assert_agreement(&groups);

            let newcomer = client("newcomer", suite, options.clone(), rng);
            let bundle = key_package(&newcomer, rng);
            let pending = groups[1]
                .commit()
                .add(bundle.key_package().clone())
                .omit_path()
                .welcome_tree(false)
                .build(rng, NOW)
                .unwrap();
            let welcome = settle(&mut groups, 1, pending).welcome.unwrap();
            let tree = groups[0].ratchet_tree();
            let joined = newcomer.join(&welcome, [&bundle], Some(&tree), NOW).unwrap();
            assert_eq!(joined.sender().unwrap().leaf, LeafIndex(1));
            groups.push(joined.accept());
            everybody_commits(&mut groups, rng);
        }
    }
}

#[test]
fn application_data_is_read_by_members_also_late() {
    for (_, suite) in suites() {
        let rng = &mut rng(2);
        let mut groups = group_of(3, suite, &private_options(), rng);
        let early = groups[0].protect(b"early", b"aad", rng).unwrap();
        let second = groups[0].protect(b"second", b"", rng).unwrap();
        let pending = groups[2].commit().remove(LeafIndex(0)).build(rng, NOW).unwrap();
        settle(&mut groups, 2, pending);
        for (bytes, data) in [(&second, b"second".as_slice()), (&early, b"early")] {
            let Processed::Application(message) = groups[1].process(bytes, NOW).unwrap() else {
                panic!("expected application data");
            };
            assert_eq!(message.data, data);
            assert_eq!(message.sender.leaf, LeafIndex(0));
            assert!(groups[1].process(bytes, NOW).is_err(), "a replay is refused");
        }
    }
}

#[test]
fn proposals_by_reference_of_every_kind_are_committed() {
    for (_, suite) in suites() {
        for mut options in [public_options(), private_options()] {
            let rng = &mut rng(3);
            let store = Arc::new(MemoryPskStore::new());
            store.insert(b"name".to_vec(), mls::schedule::Psk::from_slice(&[7; 32]));
            options.psks = store;
            let kind = ExtensionType(0xff01);
            options.capabilities.extensions.push(kind);
            let mut groups = group_of(6, suite, &options, rng);
            let newcomer = client("newcomer", suite, options.clone(), rng);
            let bundle = key_package(&newcomer, rng);

            let add =
                groups[0].propose_add(bundle.key_package().clone(), rng, NOW).unwrap().message;
            propose_to(&mut groups, &add, 0);
            let update = groups[1].propose_update(rng).unwrap().message;
            propose_to(&mut groups, &update, 1);
            let remove = groups[2].propose_remove(LeafIndex(5), rng).unwrap().message;
            propose_to(&mut groups, &remove, 2);
            let psk = PskSource::External { psk_id: b"name".to_vec() };
            let psk = groups[3].propose_psk(psk, rng).unwrap().message;
            propose_to(&mut groups, &psk, 3);
            let extensions =
                Extensions::from_iter([Extension { extension_type: kind, data: vec![1] }]);
            let gce = groups[4].propose_extensions(extensions.clone(), rng).unwrap().message;
            propose_to(&mut groups, &gce, 4);
            assert!(groups[0].protect(b"too early", b"", rng).is_err());

            let pending = groups[3].commit().build(rng, NOW).unwrap();
            let changes = pending.changes();
            assert_eq!(changes.added.len(), 1);
            assert_eq!(changes.removed.len(), 1);
            assert_eq!(changes.updated[0].leaf, LeafIndex(1));
            assert_eq!(changes.psks, 1);
            assert!(changes.extensions_changed && changes.path && !changes.external);
            let welcome = settle(&mut groups, 3, pending).welcome.unwrap();
            let joined = newcomer.join(&welcome, [&bundle], None, NOW).unwrap();
            assert_eq!(joined.context().extensions, extensions);
            groups[5] = joined.accept();
            assert_agreement(&groups);
            everybody_commits(&mut groups, rng);
        }
    }
}

#[test]
fn external_commits_join_and_resync() {
    for (_, suite) in suites() {
        let rng = &mut rng(4);
        let mut groups = group_of(3, suite, &public_options(), rng);
        let outsider = client("outsider", suite, public_options(), rng);
        let info = groups[1].group_info(GroupInfoOptions::default()).unwrap();
        let options = ExternalJoinOptions::default();
        let pending = outsider.join_external(&info, None, options, rng, NOW).unwrap();
        assert!(pending.changes().external);
        let commit = pending.commit().to_vec();
        deliver(&mut groups, &commit, usize::MAX);
        groups.push(pending.confirm());
        assert_agreement(&groups);
        everybody_commits(&mut groups, rng);

        // A member that lost its state, though not its keys, takes the place of its former self.
        let info = GroupInfoOptions { tree: false, external_pub: true };
        let info = groups[0].group_info(info).unwrap();
        let tree = groups[0].ratchet_tree();
        let lost: Client = outsider.clone();
        let options = ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
        let pending = lost.join_external(&info, Some(&tree), options, rng, NOW).unwrap();
        assert_eq!(pending.changes().removed[0].leaf, LeafIndex(3));
        let commit = pending.commit().to_vec();
        deliver(&mut groups, &commit, usize::MAX);
        assert!(!groups[3].is_active());
        groups[3] = pending.confirm();
        assert_agreement(&groups);
        everybody_commits(&mut groups, rng);
    }
}

#[test]
fn a_commit_that_lost_the_race_is_dropped_cleanly() {
    let rng = &mut rng(5);
    let mut groups = group_of(3, suite(), &public_options(), rng);
    let loser = groups[0].commit().remove(LeafIndex(2)).build(rng, NOW).unwrap();
    let winner = groups[1].commit().build(rng, NOW).unwrap();
    assert!(winner.is_echo(winner.commit()) && !loser.is_echo(winner.commit()));
    assert_eq!(groups[1].process(winner.commit(), NOW).unwrap_err(), ProcessError::OwnCommit);
    settle(&mut groups, 1, winner);
    let stale = loser.commit().to_vec();
    let authenticator = groups[0].epoch_authenticator().unwrap().as_bytes().to_vec();
    assert_eq!(groups[0].confirm(loser).unwrap_err(), mls::MergeError::Superseded);
    assert_eq!(groups[0].epoch_authenticator().unwrap().as_bytes(), authenticator);
    assert!(matches!(
        groups[1].process(&stale, NOW),
        Err(ProcessError::StaleEpoch { message: 1, current: 2 })
    ));
    assert_agreement(&groups);
    let again = groups[0].commit().remove(LeafIndex(2)).build(rng, NOW).unwrap();
    settle(&mut groups, 0, again);
    assert!(!groups[2].is_active());
    assert_agreement(&groups);
}

#[test]
fn a_restored_member_goes_on_where_it_was_saved() {
    for (_, suite) in suites() {
        let rng = &mut rng(6);
        let mut groups = group_of(4, suite, &private_options(), rng);
        let late = groups[2].protect(b"late", b"", rng).unwrap();
        everybody_commits(&mut groups[..], rng);
        let late_too = groups[2].protect(b"late too", b"", rng).unwrap();
        let pending = groups[3].commit().build(rng, NOW).unwrap();
        settle(&mut groups, 3, pending);
        let update = groups[1].propose_update(rng).unwrap().message;
        propose_to(&mut groups, &update, 1);

        let key = SnapshotKey::generate(rng);
        let owner = groups[1].client().clone();
        let saved = groups[1].save(&key, rng).unwrap();
        groups[1] = owner.restore(&saved, &key).unwrap();
        assert!(groups[1].is_restored());
        assert_agreement(&groups);
        assert!(groups[1].process(&late, NOW).is_err(), "older than the epochs kept");
        let Processed::Application(message) = groups[1].process(&late_too, NOW).unwrap() else {
            panic!("expected application data");
        };
        assert_eq!(message.data, b"late too");

        // Its own update proposal, whose private key is part of the snapshot, gets committed.
        let pending = groups[0].commit().build(rng, NOW).unwrap();
        assert_eq!(pending.changes().updated.len(), 1);
        settle(&mut groups, 0, pending);
        assert!(groups[1].is_restored(), "the update was made before the snapshot");
        assert_agreement(&groups);
        everybody_commits(&mut groups, rng);
        assert!(!groups[1].is_restored());

        let other = SnapshotKey::generate(rng);
        assert_eq!(owner.restore(&saved, &other).unwrap_err(), SnapshotError::Key);
        for index in 0..saved.len().min(200) {
            let mut altered = saved.clone();
            altered[index] ^= 1;
            assert!(owner.restore(&altered, &key).is_err(), "byte {index}");
            assert!(owner.restore(&saved[..index], &key).is_err(), "length {index}");
        }
        let stranger = client("stranger", suite, private_options(), rng);
        assert_eq!(stranger.restore(&saved, &key).unwrap_err(), SnapshotError::OtherClient);
    }
}

#[test]
fn a_saved_key_package_joins() {
    let rng = &mut rng(7);
    let mut groups = group_of(2, suite(), &public_options(), rng);
    let newcomer = client("newcomer", suite(), public_options(), rng);
    let bundle = key_package(&newcomer, rng);
    let key = SnapshotKey::generate(rng);
    let saved = bundle.save(&key, suite(), rng).unwrap();
    let restored = KeyPackageBundle::restore(&saved, &key, suite()).unwrap();
    let pending = groups[0].commit().add(bundle.key_package().clone()).build(rng, NOW).unwrap();
    let joined = newcomer.join(pending.welcome().unwrap(), [&restored], None, NOW).unwrap();
    assert_eq!(joined.key_package(), bundle.reference());
    assert_eq!(joined.context().epoch, 2);
}
