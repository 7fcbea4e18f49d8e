//! Random histories: whatever happens in whatever order, the log stays one line and nobody forks.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sfu_sim::delivery::{CallId, DeliveryConfig, MemoryStorage, Rate, StorageDone, StorageEffect};
use sfu_sim::protocol::{ChangeKind, DeliveryRequest, Identity};

use crate::world::World;

const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Disconnect(usize),
    Join(usize),
    Leave(usize),
    Commit(usize),
    /// Commits without taking up what is pending.
    CommitNothing(usize),
    /// Two members submit before the storage answers.
    Race(usize, usize),
    Update(usize),
    Moderate(usize, usize),
    Resync(usize),
    Garbage(usize, Vec<u8>),
    Pass(u64),
    Restart,
    /// A member submits, the storage may carry it out, and the service dies.
    Crash(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..NAMES.len();
    prop_oneof![
        3 => who.clone().prop_map(Step::Connect),
        2 => who.clone().prop_map(Step::Disconnect),
        4 => who.clone().prop_map(Step::Join),
        1 => who.clone().prop_map(Step::Leave),
        6 => who.clone().prop_map(Step::Commit),
        1 => who.clone().prop_map(Step::CommitNothing),
        3 => (who.clone(), who.clone()).prop_map(|(one, two)| Step::Race(one, two)),
        1 => who.clone().prop_map(Step::Update),
        1 => (who.clone(), who.clone()).prop_map(|(one, two)| Step::Moderate(one, two)),
        1 => who.clone().prop_map(Step::Resync),
        1 => (who.clone(), prop::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(who, bytes)| Step::Garbage(who, bytes)),
        3 => (1u64..5_000).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => (who, any::<bool>()).prop_map(|(who, stored)| Step::Crash(who, stored)),
    ]
}

/// Whether a client is connected and has a group that the service agrees to.
fn is_member(world: &World, name: &str) -> bool {
    let client = &world.clients[name];
    client.connection.is_some()
        && client.group.as_ref().is_some_and(|group| {
            group.is_active()
                && Some(group.epoch()) == world.service.epoch()
                && world.service.leaf_of(&Identity::new(name)) == Some(group.own_leaf().0)
        })
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Connect(who) => world.connect(NAMES[who]),
        Step::Disconnect(who) => {
            if world.clients[NAMES[who]].connection.is_some() {
                world.disconnect(NAMES[who]);
            }
        }
        Step::Join(who) => join_or_create(world, NAMES[who]),
        Step::Leave(who) => {
            if world.clients[NAMES[who]].connection.is_some() {
                let _ = world.ask(NAMES[who], DeliveryRequest::Leave);
            }
        }
        Step::Commit(who) => commit(world, NAMES[who], |_| true),
        Step::CommitNothing(who) => commit(world, NAMES[who], |_| false),
        Step::Race(one, two) => {
            let racers: Vec<&str> =
                if one == two { vec![NAMES[one]] } else { vec![NAMES[one], NAMES[two]] };
            let bundles: Vec<_> = racers
                .into_iter()
                .filter(|name| can_commit(world, name))
                .collect::<Vec<_>>()
                .into_iter()
                .map(|name| (name, world.build(name, wanted(name))))
                .collect();
            world.hold_storage = true;
            let posted: Vec<_> = bundles
                .into_iter()
                .map(|(name, bundle)| (name, world.post(name, bundle)))
                .collect();
            world.release_storage();
            let won = posted
                .iter()
                .filter(|(name, id)| world.reply(name, *id).expect("a reply").is_ok())
                .count();
            assert!(won <= 1, "{won} winners");
            for (name, _) in posted {
                world.client(name).committing = None;
            }
        }
        Step::Update(who) => {
            let name = NAMES[who];
            let proposed = |kind: &ChangeKind| matches!(kind, ChangeKind::Proposal { .. });
            if is_member(world, name) && !world.clients[name].kinds().iter().any(proposed) {
                let group = world.client(name).group.as_mut().unwrap();
                let update = group.propose_update(&mut mls::crypto::os_rng()).unwrap().message;
                world.ask(name, DeliveryRequest::Propose { proposal: update.into() }).unwrap();
            }
        }
        Step::Moderate(one, two) => moderate(world, NAMES[one], NAMES[two]),
        Step::Resync(who) => resync(world, NAMES[who]),
        Step::Garbage(who, bytes) => {
            if world.clients[NAMES[who]].connection.is_some() {
                let before = world.fingerprint();
                let commit = bytes.clone().into();
                let group_info = bytes.clone().into();
                let (proposals, welcome) = (vec![bytes.clone().into()], None);
                let bundle = DeliveryRequest::Submit { proposals, commit, welcome, group_info };
                let proposal = bytes.clone().into();
                let key_package = bytes.into();
                for request in [
                    bundle,
                    DeliveryRequest::Propose { proposal },
                    DeliveryRequest::Join { key_package },
                ] {
                    assert!(world.ask(NAMES[who], request).is_err());
                }
                assert_eq!(world.fingerprint(), before);
            }
        }
        Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Step::Restart => restart(world),
        Step::Crash(who, stored) => {
            let name = NAMES[who];
            if can_commit(world, name) {
                let bundle = world.build(name, wanted(name));
                world.hold_storage = true;
                world.post(name, bundle);
                while let Some(effect) = world.held.pop_front().filter(|_| stored) {
                    let _ = world.run(effect);
                }
            }
            restart(world);
        }
    }
}

/// The clients notice that the service died, and connect again.
fn restart(world: &mut World) {
    let connected: Vec<String> = world
        .clients
        .values()
        .filter(|client| client.connection.is_some())
        .map(|client| client.name.clone())
        .collect();
    let epoch = world.service.epoch();
    world.restart();
    assert!(world.service.epoch() >= epoch, "an acknowledged entry is lost");
    for name in connected {
        world.connect(&name);
    }
}

fn join_or_create(world: &mut World, name: &str) {
    if world.clients[name].connection.is_none() {
        return;
    }
    if world.service.epoch().is_none() {
        if world.clients[name].create {
            world.create_group(name).unwrap();
        }
    } else if !is_member(world, name) {
        let former = world.client(name).group.take();
        if world.join(name).is_err() {
            world.client(name).group = former;
        }
    }
}

fn wanted(name: &str) -> impl Fn(&ChangeKind) -> bool + '_ {
    move |kind| match kind {
        ChangeKind::Remove { identity, .. } => identity.as_str() != name,
        _ => true,
    }
}

/// A member whose list of pending changes a commit can be built from.
fn can_commit(world: &World, name: &str) -> bool {
    is_member(world, name)
        && !world.clients[name].kinds().iter().any(
            |kind| matches!(kind, ChangeKind::Remove { identity, .. } if identity.as_str() == name),
        )
}

fn commit(world: &mut World, name: &str, take: impl Fn(&ChangeKind) -> bool) {
    if can_commit(world, name) {
        let bundle = world.build(name, |kind| take(kind));
        let _ = world.ask(name, bundle);
        world.client(name).committing = None;
    }
}

fn moderate(world: &mut World, name: &str, target: &str) {
    let leaf = world.service.leaf_of(&Identity::new(target));
    let Some(leaf) = leaf.filter(|_| can_commit(world, name) && name != target) else { return };
    let proposed = |kind: &ChangeKind| matches!(kind, ChangeKind::Remove { leaf: other, proposal: Some(_), .. } if *other == leaf);
    if world.clients[name].kinds().iter().any(proposed) {
        return;
    }
    world.client(name).moderator = true;
    world.connect(name);
    let group = world.client(name).group.as_mut().unwrap();
    let rng = &mut mls::crypto::os_rng();
    let proposal = group.propose_remove(mls::LeafIndex(leaf), rng).unwrap().message;
    world.ask(name, DeliveryRequest::Propose { proposal: proposal.into() }).unwrap();
    world.client(name).moderator = false;
    world.connect(name);
}

fn resync(world: &mut World, name: &str) {
    if !can_commit(world, name) {
        return;
    }
    let id = world.post(name, DeliveryRequest::FetchGroupInfo);
    let served = world.reply(name, id);
    if served.is_some_and(|reply| reply.is_ok()) {
        let (bundle, joining) = world.build_resync(name);
        world.client(name).follows = false;
        let accepted = world.ask(name, bundle).is_ok();
        world.client(name).follows = true;
        if accepted {
            world.client(name).group = Some(joining.confirm());
        }
    }
}

/// The log in the storage is one line, and its turns never go back.
fn check_log(world: &mut World) {
    let call = CallId::new("room");
    let mut next = None;
    let mut turn = 0;
    loop {
        let effect = StorageEffect::Read { call: call.clone(), seq: next.unwrap_or(0) };
        let StorageDone::Records { result: Ok(records) } = world.run(effect) else {
            panic!("expected records");
        };
        if records.is_empty() {
            return;
        }
        for record in records {
            assert!(next.is_none_or(|next| next == record.seq));
            assert!(record.turn == turn || record.turn == turn + 1 || next.is_none());
            next = Some(record.seq + 1);
            turn = record.turn;
        }
    }
}

/// How many histories are tried; more by the environment variable, for a night.
fn histories() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), ..ProptestConfig::default() })]

    #[test]
    fn histories_never_fork(steps in prop::collection::vec(step(), 1..100)) {
        let rate = Rate { burst: 1_000, per_second: 1_000.0 };
        let config = DeliveryConfig {
            commits: rate,
            resyncs: rate,
            joins: rate,
            proposals: rate,
            fetches: rate,
            snapshot_every: 4,
            ..DeliveryConfig::default()
        };
        let mut world = World::with(config, Arc::new(MemoryStorage::new()));
        for name in NAMES {
            world.add_client(name, false);
        }
        world.create_group("alice").unwrap();
        for name in ["bob", "carol", "dave"] {
            world.join(name).unwrap();
        }
        world.commit("alice").unwrap();
        for step in steps {
            take(&mut world, step);
            let metrics = world.service.metrics();
            prop_assert_eq!(metrics.epochs_with_two_winners, 0);
            prop_assert_eq!(metrics.invalid_records, 0);
            let members: Vec<&str> =
                NAMES.into_iter().filter(|name| is_member(&world, name)).collect();
            if !members.is_empty() {
                world.assert_agree(&members);
            }
        }
        check_log(&mut world);
        // Whoever is connected can go on: the next commit brings everybody together.
        let epoch = world.service.epoch();
        restart(&mut world);
        prop_assert_eq!(world.service.epoch(), epoch);
    }
}
