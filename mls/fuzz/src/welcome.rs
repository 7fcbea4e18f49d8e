//! A Welcome of a hostile member: everything inside the two encryptions is the fuzzer's choice.

use std::cell::RefCell;

use mls::{
    codec::{Decode, Encode},
    schedule::{JoinerSecret, Psk, PskInput, PskSecret},
    wire::{
        Credential, EncryptedGroupSecrets, GroupInfo, GroupSecrets, MlsMessage, MlsMessageBody,
        PathSecretBytes, PreSharedKeyId, PskSource, Welcome,
    },
};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    glass,
    group_info::{alter_group_info, sign},
    input::Input,
    proposals::psk_id,
    world::{NOW, SHARED_PSK, World, state, suite},
};

/// The world, and a genuine Welcome taken apart.
struct Scene {
    world: World,
    info: GroupInfo,
    joiner_secret: Vec<u8>,
    path_secret: Vec<u8>,
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(Scene::new());
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new();
        let rng = &mut world.rng;
        let added = world.outsiders[0].bundle.key_package().clone();
        let builder = world.attacker.group.commit().add(added);
        let _ = glass::take_hpke_plaintexts();
        let pending = builder.build(rng, NOW).expect("the outsider may join");
        let secrets = glass::take_hpke_plaintexts().pop().expect("the Welcome was encrypted");
        let secrets = GroupSecrets::from_bytes(&secrets).expect("the library made it");
        let joiner_secret = secrets.expose_joiner_secret().to_vec();
        let path_secret = secrets.path_secret.as_ref().expect("there was a path").expose().to_vec();
        let message = MlsMessage::from_bytes(pending.welcome().expect("somebody was added"));
        let MlsMessageBody::Welcome(welcome) = message.expect("the library made it").0 else {
            panic!("expected a welcome")
        };
        let opened = JoinerSecret::from_slice(&joiner_secret)
            .member(suite(), &no_psks())
            .welcome(suite())
            .and_then(|secret| secret.keys(suite()))
            .and_then(|keys| keys.open(&welcome.encrypted_group_info))
            .expect("it opens for the joiner");
        let info = GroupInfo::from_bytes(&opened).expect("the library made it");
        Self { world, info, joiner_secret, path_secret }
    }
}

fn no_psks() -> PskSecret {
    PskSecret::compute(suite(), &[]).expect("few enough")
}

/// Joins by a forged Welcome.
pub fn welcome(data: &[u8]) {
    SCENE.with_borrow_mut(|scene| {
        let mut input = Input::new(data);
        let Some((message, tree)) = forge(&mut input, scene) else { return };
        let outsider = &scene.world.outsiders[input.pick(2)];
        let client = &outsider.person.client;
        match client.join(&message, [&outsider.bundle], tree.as_deref(), NOW) {
            Err(error) => {
                let _ = (error.to_string(), error.action(), error.fault());
            }
            Ok(staged) => {
                let mut group = staged.accept();
                let own = group.member(group.own_leaf()).expect("the joiner is a member");
                assert_eq!(own.signature_key, client.identity().public());
                assert!(matches!(own.credential, Credential::Basic(_)));
                assert!(state(&group) == state(&restored(&group)), "restoring changed the state");
                let rng = &mut StdRng::seed_from_u64(2);
                // What a group of absurd parameters can do is bounded by typed errors.
                if let Ok(pending) = group.commit().build(rng, NOW) {
                    group.confirm(pending).expect("it was built here");
                    group.export("label", b"", 32).expect("an active member exports");
                }
            }
        }
    });
}

fn restored(group: &mls::Group) -> mls::Group {
    let client = group.client();
    client.restore(&state(group), &super::world::snapshot_key()).expect("it was saved")
}

fn forge(input: &mut Input<'_>, scene: &mut Scene) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut info = scene.info.clone();
    let tree = match input.one_in(2) {
        true => alter_group_info(input, &scene.world, &mut info),
        false => None,
    };
    let mut joiner_secret = scene.joiner_secret.clone();
    let mut path_secret = Some(scene.path_secret.clone());
    let mut psks: Vec<PreSharedKeyId> = Vec::new();
    for _ in 0..input.pick(3) {
        match input.pick(4) {
            0 => path_secret = None,
            1 => path_secret = Some(input.bytes(40)),
            2 => psks.push(psk_id(input, &scene.world)),
            _ => joiner_secret = input.bytes(40),
        }
    }
    let psk = Psk::from_slice(&[1; 32]);
    let shared = |id: &PreSharedKeyId| matches!(&id.source, PskSource::External { psk_id } if psk_id == SHARED_PSK);
    let inputs: Vec<PskInput<'_>> =
        psks.iter().filter(|id| shared(id)).map(|id| PskInput { id, psk: &psk }).collect();
    let psk_secret = PskSecret::compute(suite(), &inputs).ok()?;
    let member = JoinerSecret::from_slice(&joiner_secret).member(suite(), &psk_secret);
    let keys = member.welcome(suite()).and_then(|secret| secret.keys(suite())).ok()?;
    if !input.one_in(8) {
        let context = info.group_context.to_bytes();
        let epoch = member.epoch(suite(), &context).ok()?.derive(suite()).ok()?;
        let transcript = &info.group_context.confirmed_transcript_hash;
        info.confirmation_tag = epoch.secrets.confirmation_tag(transcript);
    }
    sign(&scene.world, &mut info);
    let mut inside = info.to_bytes();
    if input.one_in(8) {
        input.alter(&mut inside);
    }
    let encrypted_group_info = keys.seal(&inside).ok()?;

    let secrets = GroupSecrets::new(joiner_secret, path_secret.map(PathSecretBytes::new), psks);
    let mut plaintext = secrets.to_bytes();
    if input.one_in(8) {
        input.alter(&mut plaintext);
    }
    let joiner = &scene.world.outsiders[input.pick(2)].bundle;
    let init_key = suite().kem.public_key(joiner.key_package().init_key.as_bytes()).ok()?;
    let rng = &mut StdRng::seed_from_u64(3);
    let encrypted_group_secrets = suite()
        .encrypt_with_label(&*init_key, "Welcome", &encrypted_group_info, &plaintext, rng)
        .ok()?;
    let _ = glass::take_hpke_plaintexts();
    let entry =
        EncryptedGroupSecrets { new_member: joiner.reference().clone(), encrypted_group_secrets };
    let mut welcome = Welcome {
        cipher_suite: suite().id,
        secrets: vec![entry; 1 + usize::from(input.one_in(8))],
        encrypted_group_info,
    };
    if input.one_in(16) {
        welcome = input.altered(welcome);
    }
    Some((MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes(), tree))
}
