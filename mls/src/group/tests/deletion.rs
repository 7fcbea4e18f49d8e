//! Forward secrecy: what RFC 9420 section 9.2 wants deleted is no longer part of the group's state. The state in the clear holds
//! all that the group holds. What the secret tree deletes is tested with the secret tree.

use super::*;
use crate::{
    MemoryPskStore, Processed,
    crypto::Secret,
    schedule::{EncryptionSecret, JoinerSecret, Psk, PskInput, PskSecret},
    tree::NodeIndex,
    wire::{GroupSecrets, PreSharedKeyId, PskSource},
};
use support::private_options;

/// A secret with its name, for messages of failure.
type Named = (String, Vec<u8>);

const EPOCH_SECRETS: [&str; 8] = [
    "sender data secret",
    "exporter secret",
    "external secret",
    "confirmation key",
    "membership key",
    "resumption psk",
    "epoch authenticator",
    "init secret",
];
const KEPT: [&str; 2] = ["sender data secret", "resumption psk"];

fn epoch_secrets(group: &Group) -> Vec<Named> {
    let mut saved = Vec::new();
    group.secrets.as_ref().unwrap().epoch.save(&mut saved);
    let secrets = saved.chunks_exact(suite().hash_length()).map(<[u8]>::to_vec);
    let names = EPOCH_SECRETS.map(|name| format!("{name} of epoch {}", group.epoch()));
    names.into_iter().zip(secrets).collect()
}

/// The private keys of the leaf and of the nodes above it.
fn private_keys(group: &Group) -> Vec<(NodeIndex, Vec<u8>)> {
    let keys = group.secrets.as_ref().unwrap().private.export().unwrap();
    keys.into_iter().map(|saved| (saved.node, saved.key.as_bytes().to_vec())).collect()
}

fn holds(group: &Group, secret: &[u8]) -> bool {
    assert!(secret.len() >= 32);
    let state = group.encode_state().unwrap();
    state.windows(secret.len()).any(|window| window == secret)
}

fn everybody_commits(scene: &mut Scene, times: usize) {
    for index in (0..scene.groups.len()).cycle().take(times) {
        support::commit_by(&mut scene.groups, index, &mut scene.rng);
    }
}

#[test]
fn secrets_of_an_epoch_go_with_it_and_those_kept_go_in_time() {
    let options = ClientOptions { past_epochs: 2, resumption_epochs: 4, ..public_options() };
    let mut scene = scene_with(60, options);
    let secrets: Vec<Vec<Named>> = scene.groups.iter().map(epoch_secrets).collect();
    for (group, secrets) in scene.groups.iter().zip(&secrets) {
        assert!(secrets.iter().all(|(_, secret)| holds(group, secret)));
    }
    for passed in 1..=5 {
        everybody_commits(&mut scene, 1);
        for (group, secrets) in scene.groups.iter().zip(&secrets) {
            for (name, secret) in secrets {
                let kept = name.starts_with(KEPT[0]) && passed <= 2
                    || name.starts_with(KEPT[1]) && passed <= 4;
                assert_eq!(holds(group, secret), kept, "{name}, {passed} epochs later");
            }
        }
    }
}

#[test]
fn nothing_of_a_past_epoch_stays_where_nothing_is_to_be_kept() {
    let options = ClientOptions { past_epochs: 0, resumption_epochs: 0, ..private_options() };
    let mut scene = scene_with_private(61, options);
    let data = scene.groups[1].protect(b"data", b"", &mut scene.rng).unwrap();
    let secrets: Vec<Vec<Named>> = scene.groups.iter().map(epoch_secrets).collect();
    everybody_commits(&mut scene, 1);
    for (group, secrets) in scene.groups.iter().zip(&secrets) {
        for (name, secret) in secrets {
            assert!(!holds(group, secret), "{name}");
        }
    }
    assert!(scene.groups[0].process(&data, NOW).is_err());
}

/// Like `scene`, without a delivery service, which cannot follow private messages.
fn scene_with_private(seed: u64, options: ClientOptions) -> Scene {
    let scene = scene(seed);
    let mut rng = rng(seed);
    let groups = group_of(4, suite(), &options, &mut rng);
    Scene { groups, rng, options, ..scene }
}

#[test]
fn private_keys_go_when_a_path_replaces_them() {
    let mut scene = scene(62);
    let before: Vec<_> = scene.groups.iter().map(private_keys).collect();
    everybody_commits(&mut scene, 1);
    let path: Vec<NodeIndex> =
        NodeIndex::from(LeafIndex(0)).direct_path(scene.groups[0].tree().size()).collect();
    for (group, keys) in scene.groups.iter().zip(&before) {
        for (node, key) in keys {
            let replaced = path.contains(node) || *node == NodeIndex::from(LeafIndex(0));
            assert_eq!(holds(group, key), !replaced, "{node:?} of {:?}", group.own_leaf());
        }
    }
}

#[test]
fn the_private_key_of_an_update_goes_with_its_epoch() {
    let mut scene = scene(63);
    let update = scene.groups[1].propose_update(&mut scene.rng).unwrap();
    let key = scene.groups[1].updates[0].key.export().unwrap().as_bytes().to_vec();
    let old = private_keys(&scene.groups[1]);
    let (_, leaf) = old.iter().find(|(node, _)| *node == LeafIndex(1).into()).unwrap();
    assert!(holds(&scene.groups[1], &key));
    // Nobody has heard of it, so the next commit leaves it out.
    let pending = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    support::merge(&mut scene.groups[1], pending.commit());
    assert!(!holds(&scene.groups[1], &key) && holds(&scene.groups[1], leaf));
    drop(update);

    // One that is committed takes the place of the leaf's key.
    let mut scene = self::scene(63);
    let update = scene.groups[1].propose_update(&mut scene.rng).unwrap().message;
    let key = scene.groups[1].updates[0].key.export().unwrap().as_bytes().to_vec();
    support::propose_to(&mut scene.groups, &update, 1);
    everybody_commits(&mut scene, 1);
    assert!(holds(&scene.groups[1], &key) && !holds(&scene.groups[1], leaf));
}

#[test]
fn what_leads_to_an_epoch_is_not_part_of_it() {
    let store = std::sync::Arc::new(MemoryPskStore::new());
    let psk = Psk::from_slice(&[0x5a; 32]);
    store.insert(b"psk".to_vec(), Psk::from_slice(psk.as_bytes()));
    let options = ClientOptions { psks: store, ..public_options() };
    let mut scene = scene_with(64, options);
    let newcomer = scene.client("newcomer");
    let bundle = scene_bundle(&mut scene, &newcomer);
    let source = PskSource::External { psk_id: b"psk".to_vec() };
    let builder = scene.groups[0].commit().add(bundle.key_package().clone()).psk(source);
    let pending = builder.build(&mut scene.rng, NOW).unwrap();
    let welcome = scene.settle(0, pending).welcome.unwrap();
    let joined = newcomer.join(&welcome, [&bundle], None, NOW).unwrap().accept();
    let private = bundle.private_keys();
    let (init_key, leaf_key) = (private.0.as_bytes().to_vec(), private.1.as_bytes().to_vec());
    drop(bundle);
    scene.groups.push(joined);

    // The way from the joiner secret to the secret tree, walked again.
    let MlsMessageBody::Welcome(parsed) = MlsMessage::from_bytes(&welcome).unwrap().0 else {
        panic!("expected a welcome");
    };
    let key = suite().kem.private_key(&init_key).unwrap();
    let (context, entry) = (&parsed.encrypted_group_info, &parsed.secrets[0]);
    let entry = &entry.encrypted_group_secrets;
    let opened = suite().decrypt_with_label(&*key, "Welcome", context, entry).unwrap();
    let secrets = GroupSecrets::from_bytes(opened.as_bytes()).unwrap();
    let id: &PreSharedKeyId = &secrets.psks[0];
    let psk_secret = PskSecret::compute(suite(), &[PskInput { id, psk: &psk }]).unwrap();
    let joiner = JoinerSecret::from_slice(secrets.expose_joiner_secret());
    let mut gone: Vec<Named> = vec![
        ("init key of the key package".into(), init_key),
        ("joiner secret".into(), joiner.as_bytes().to_vec()),
        ("path secret".into(), secrets.path_secret.as_ref().unwrap().expose().to_vec()),
        ("psk".into(), psk.as_bytes().to_vec()),
        ("psk secret".into(), psk_secret.as_bytes().to_vec()),
    ];
    let member = joiner.member(suite(), &psk_secret);
    gone.push(("member secret".into(), member.as_bytes().to_vec()));
    let welcome_secret = member.welcome(suite()).unwrap();
    gone.push(("welcome secret".into(), welcome_secret.as_bytes().to_vec()));
    let epoch = member.epoch(suite(), &scene.groups[0].state.context_bytes).unwrap();
    gone.push(("epoch secret".into(), epoch.as_bytes().to_vec()));
    let epoch_bytes = Secret::from_slice(epoch.as_bytes());
    let encryption = suite().derive_secret(&epoch_bytes, "encryption").unwrap();
    let derived = epoch.derive(suite()).unwrap();
    assert_eq!(derived.encryption.as_bytes(), encryption.as_bytes());
    for group in &scene.groups {
        for (name, secret) in &gone {
            assert!(!holds(group, secret), "{name}, member {:?}", group.own_leaf());
        }
    }
    assert!(holds(&scene.groups[4], &leaf_key), "the leaf's key is in use");

    // The root of the secret tree goes with the first message; each sender's key with its use.
    let encryption = EncryptionSecret::from_slice(encryption.as_bytes());
    assert!(scene.groups.iter().all(|group| holds(group, encryption.as_bytes())));
    let message = scene.groups[1].protect(b"data", b"", &mut scene.rng).unwrap();
    for index in [0, 2, 3, 4] {
        let processed = scene.groups[index].process(&message, NOW).unwrap();
        assert!(matches!(processed, Processed::Application(_)));
    }
    for group in &scene.groups {
        assert!(!holds(group, encryption.as_bytes()), "member {:?}", group.own_leaf());
    }
    everybody_commits(&mut scene, 5);
    assert!(!holds(&scene.groups[4], &leaf_key), "replaced by the member's own commit");
}

fn scene_bundle(scene: &mut Scene, client: &Client) -> KeyPackageBundle {
    key_package(client, &mut scene.rng)
}

#[test]
fn a_member_that_is_removed_keeps_no_secret() {
    let mut scene = scene(65);
    everybody_commits(&mut scene, 4);
    let mut secrets = epoch_secrets(&scene.groups[3]);
    let keys = private_keys(&scene.groups[3]);
    secrets.extend(keys.into_iter().map(|(node, key)| (format!("key of {node:?}"), key)));
    for past in &scene.groups[3].past.0 {
        secrets.push(("resumption psk".into(), past.resumption.as_bytes().to_vec()));
        if let Some(messages) = &past.messages {
            secrets.push(("sender data".into(), messages.sender_data.as_bytes().to_vec()));
        }
    }
    assert!(secrets.iter().all(|(_, secret)| holds(&scene.groups[3], secret)));
    let pending = scene.groups[0].commit().remove(LAST).build(&mut scene.rng, NOW).unwrap();
    support::merge(&mut scene.groups[3], pending.commit());
    for (name, secret) in &secrets {
        assert!(!holds(&scene.groups[3], secret), "{name}");
    }
}
