//! Restoring a group from a snapshot whose content is the fuzzer's choice: damage that happened before the encryption.

use std::cell::RefCell;

use mls::{GroupInfoOptions, Processed};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    glass,
    input::Input,
    world::{NOW, World, snapshot_key, state},
};

/// Snapshots, each with its content in the clear, and messages for whoever is restored.
struct Scene {
    world: World,
    saved: Vec<Vec<u8>>,
    messages: Vec<Vec<u8>>,
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(Scene::new());
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new();
        let rng = &mut world.rng;
        let attacker = &mut world.attacker.group;
        let data = attacker.protect(b"data", b"", rng).expect("nothing is pending");
        let commit = attacker.commit().build(rng, NOW).expect("a plain commit").commit().to_vec();
        let proposal = attacker.propose_update(rng).expect("an update").message;
        let victim = &mut world.victims[0].group;
        let mut saved = vec![state(victim)];
        let update = victim.propose_update(rng).expect("an update").message;
        for message in [&proposal, &update] {
            let _ = victim.process(message, NOW);
        }
        saved.push(state(victim));
        let Ok(Processed::Application(_)) = victim.process(&data, NOW) else {
            panic!("expected application data")
        };
        saved.push(state(victim));
        let messages = vec![data, commit, proposal];
        Self { world, saved, messages }
    }
}

/// Restores an altered state, and uses what came of it.
pub fn snapshot(data: &[u8]) {
    SCENE.with_borrow_mut(|scene| {
        let mut input = Input::new(data);
        let saved = input.choose(&scene.saved);
        let client = &scene.world.people[0].client;
        let _ = client.restore(saved, &snapshot_key()).expect("it was saved");
        let mut content = glass::last_opened();
        if input.one_in(16) {
            content = input.bytes(4096);
        } else {
            input.alter(&mut content);
        }
        glass::substitute([Some(content)]);
        let restored = client.restore(saved, &snapshot_key());
        glass::substitute([]);
        let mut group = match restored {
            Ok(group) => group,
            Err(error) => {
                let _ = error.to_string();
                return;
            }
        };
        let first = state(&group);
        let again = client.restore(&first, &snapshot_key()).expect("it was saved");
        assert!(state(&again) == first, "restoring changed the state");
        let rng = &mut StdRng::seed_from_u64(4);
        for message in &scene.messages {
            let _ = group.process(message, NOW);
        }
        let _ = group.group_info(GroupInfoOptions::default());
        let _ = group.export("label", b"", 32);
        group.clear_proposals();
        let _ = group.protect(b"data", b"", rng);
        if let Ok(pending) = group.commit().build(rng, NOW) {
            group.confirm(pending).expect("it was built here");
        }
    });
}
