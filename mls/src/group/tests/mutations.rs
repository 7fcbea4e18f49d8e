//! Every message cut off at every byte and with every bit flipped: a typed error, the state as before, no panic.

use super::*;
use crate::{
    ExternalJoinOptions, HandshakeFormat, Processed,
    tree::RatchetTree,
    wire::{GroupInfo, KeyPackage, PrivateMessage, PublicMessage, Welcome},
};

/// Calls `check` with every prefix of the message and with every message that differs in one bit, whose place it gets.
fn mutate(message: &[u8], mut check: impl FnMut(&[u8], usize)) {
    for length in 0..message.len() {
        check(&message[..length], length);
    }
    let mut altered = message.to_vec();
    for place in 0..message.len() {
        for bit in 0..8 {
            altered[place] ^= 1 << bit;
            check(&altered, place);
            altered[place] ^= 1 << bit;
        }
    }
    assert_eq!(altered, message);
}

fn unchanged_by_mutations(group: &mut Group, message: &[u8]) {
    let before = group.encode_state().unwrap();
    mutate(message, |altered, _| {
        let error = group.process(altered, NOW).unwrap_err();
        assert!(!error.to_string().is_empty());
        let _ = (error.action(), error.fault());
    });
    assert_eq!(*group.encode_state().unwrap(), *before);
}

#[test]
fn public_handshake_messages() {
    let mut scene = scene(90);
    let newcomer = scene.key_package("newcomer");
    let rng = &mut scene.rng;
    let builder = scene.groups[0].commit().add(newcomer.key_package().clone());
    let commit = builder.remove(LAST).build(rng, NOW).unwrap().commit().to_vec();
    let builder = scene.groups[0].commit().add(newcomer.key_package().clone());
    let short = builder.omit_path().build(rng, NOW).unwrap().commit().to_vec();
    let update = scene.groups[0].propose_update(rng).unwrap().message;
    for message in [&commit, &short, &update] {
        unchanged_by_mutations(&mut scene.groups[1], message);
        // The service cannot check the two tags at the end, 33 bytes each: they take secrets.
        let signed = message.len() - if message == &update { 33 } else { 66 };
        mutate(message, |altered, place| {
            if scene.service.process(altered, NOW).is_ok() {
                assert!(place >= signed && altered.len() == message.len());
                let action = scene.groups[1].process(altered, NOW).unwrap_err().action();
                // A commit that wins its epoch there leaves nobody waiting for another one.
                assert_eq!(action == Action::Resync, message != &update);
            }
        });
    }
    assert!(matches!(scene.groups[1].process(&commit, NOW), Ok(Processed::Commit(_))));
    scene.goes_on();
}

#[test]
fn private_messages() {
    let mut scene = scene(91);
    let rng = &mut scene.rng;
    let data = scene.groups[0].protect(b"some data", b"and more", rng).unwrap();
    scene.groups[0].set_handshake_format(HandshakeFormat::Private);
    let commit = scene.groups[0].commit().build(rng, NOW).unwrap().commit().to_vec();
    let removal = scene.groups[0].propose_remove(LAST, rng).unwrap().message;
    let update = scene.groups[0].propose_update(rng).unwrap().message;
    scene.groups[0].set_handshake_format(HandshakeFormat::Public);
    for message in [&data, &commit, &removal, &update] {
        unchanged_by_mutations(&mut scene.groups[1], message);
        assert!(scene.groups[1].process(message, NOW).is_ok());
    }
    scene.goes_on();
}

#[test]
fn late_application_data() {
    let mut scene = scene(92);
    let data = scene.groups[0].protect(b"late", b"", &mut scene.rng).unwrap();
    let pending = scene.groups[2].commit().build(&mut scene.rng, NOW).unwrap();
    scene.settle(2, pending);
    unchanged_by_mutations(&mut scene.groups[1], &data);
    assert!(scene.groups[1].process(&data, NOW).is_ok());
    unchanged_by_mutations(&mut scene.groups[1], &data);
    scene.goes_on();
}

#[test]
fn external_commits() {
    let mut scene = scene(93);
    let outsider = scene.client("outsider");
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let join = ExternalJoinOptions::default();
    let pending = outsider.join_external(&info, None, join, &mut scene.rng, NOW).unwrap();
    let commit = pending.commit().to_vec();
    unchanged_by_mutations(&mut scene.groups[1], &commit);
    let signed = commit.len() - 33;
    mutate(&commit, |altered, place| {
        if scene.service.process(altered, NOW).is_ok() {
            assert!(place >= signed && altered.len() == commit.len());
            let error = scene.groups[1].process(altered, NOW).unwrap_err();
            assert_eq!(error.action(), Action::Resync);
        }
    });
    support::deliver(&mut scene.groups, &commit, usize::MAX);
    follow(&mut scene.service, &commit);
    scene.groups.push(pending.confirm());
    scene.goes_on();
}

#[test]
fn welcomes_and_key_packages() {
    let mut scene = scene(94);
    let client = scene.client("newcomer");
    let bundle = key_package(&client, &mut scene.rng);
    mutate(&bundle.message(), |altered, _| {
        assert!(client.read_key_package(altered, NOW).is_err());
    });
    let builder = scene.groups[0].commit().add(bundle.key_package().clone());
    let pending = builder.build(&mut scene.rng, NOW).unwrap();
    let welcome = pending.welcome().unwrap();
    mutate(welcome, |altered, _| {
        let error = client.join(altered, [&bundle], None, NOW).unwrap_err();
        let _ = (error.action(), error.fault(), error.to_string());
    });
    assert!(client.join(welcome, [&bundle], None, NOW).is_ok());
}

#[test]
fn group_infos_and_trees() {
    let mut scene = scene(95);
    let outsider = scene.client("outsider");
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let new = |bytes: &[u8], tree: Option<&[u8]>| {
        let options = PublicGroupOptions::new(AcceptAnyCredential);
        PublicGroup::new(suite(), bytes, tree, options, NOW)
    };
    mutate(&info, |altered, _| {
        assert!(new(altered, None).is_err());
        assert!(scene.service.check_group_info(altered).is_err());
        let join = ExternalJoinOptions::default();
        assert!(outsider.join_external(altered, None, join, &mut scene.rng, NOW).is_err());
    });
    let bare = GroupInfoOptions { tree: false, external_pub: true };
    let bare = scene.groups[1].group_info(bare).unwrap();
    let tree = scene.groups[1].ratchet_tree();
    mutate(&tree, |altered, _| assert!(new(&bare, Some(altered)).is_err()));
    assert!(new(&bare, Some(&tree)).is_ok() && new(&info, None).is_ok());
    scene.goes_on();
}

/// Whatever decodes is in its only encoding.
fn canonical<T: Decode + Encode>(bytes: &[u8]) {
    mutate(bytes, |altered, _| {
        if let Ok(value) = T::from_bytes(altered) {
            assert_eq!(value.to_bytes(), altered);
        }
    });
}

#[test]
fn decoders_accept_one_encoding_of_a_value() {
    let mut scene = scene(96);
    let newcomer = scene.key_package("newcomer");
    let builder = scene.groups[0].commit().add(newcomer.key_package().clone()).remove(LAST);
    let pending = builder.build(&mut scene.rng, NOW).unwrap();
    let data = scene.groups[0].protect(b"data", b"", &mut scene.rng).unwrap();
    let info = scene.groups[0].group_info(GroupInfoOptions::default()).unwrap();
    for message in [pending.commit(), pending.welcome().unwrap(), &data, &info] {
        canonical::<MlsMessage>(message);
        let body = &message[4..];
        canonical::<PublicMessage>(body);
        canonical::<PrivateMessage>(body);
        canonical::<Welcome>(body);
        canonical::<GroupInfo>(body);
        canonical::<KeyPackage>(body);
    }
    mutate(&scene.groups[0].ratchet_tree(), |altered, _| {
        if let Ok(tree) = RatchetTree::from_bytes(suite(), altered) {
            assert_eq!(tree.encode_tree(), altered);
            let _ = tree.validate(scene.groups[0].id());
        }
    });
}

#[test]
fn snapshots() {
    let mut scene = scene(97);
    let key = crate::SnapshotKey::generate(&mut scene.rng);
    let saved = scene.groups[1].save(&key, &mut scene.rng).unwrap();
    let client = scene.groups[1].client().clone();
    mutate(&saved, |altered, _| {
        let error = client.restore(altered, &key).unwrap_err();
        let _ = (error.action(), error.fault(), error.to_string());
    });
    let restored = client.restore(&saved, &key).unwrap();
    assert_eq!(*restored.encode_state().unwrap(), *scene.groups[1].encode_state().unwrap());
}
