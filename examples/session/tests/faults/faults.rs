//! Trouble of every kind. Whatever happens: nobody forks, what was acknowledged stays, and five seconds after the trouble
//! everybody who is connected is in one epoch and hears the others.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

use crate::network::Faults;
use crate::world::{KILLS, World};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
const SPARE: [&str; 3] = ["erin", "frank", "grace"];

/// So long after the trouble everybody is together again, in milliseconds.
const CONVERGENCE: u64 = 5_000;

/// How many random runs each family gets; more by the environment variable, for a night.
fn runs() -> u64 {
    std::env::var("FAULT_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2)
}

/// Seeds of a family, and the one to be tried again if `FAULT_SEED` names it.
fn seeds(family: u64) -> Vec<u64> {
    match std::env::var("FAULT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..runs()).map(|run| family * 1_000_000 + run).collect(),
    }
}

/// Heals, gives everybody five seconds, and looks.
fn converge(world: &mut World) {
    world.heal();
    world.run(CONVERGENCE);
    let present = world.present();
    let names: Vec<&str> = present.iter().map(String::as_str).collect();
    world.assert_converged(&names);
}

/// Members come, go, lose their connection and crash, while the ways are as bad as `faults` says.
fn random_call(seed: u64, faults: impl FnOnce(&mut World)) {
    println!("seed {seed}");
    let mut world = World::call(seed, &NAMES);
    faults(&mut world);
    let mut spare = SPARE.to_vec();
    for _ in 0..12 {
        happen(&mut world, &mut spare);
        let pause = world.rng.random_range(100..1_500);
        world.run(pause);
    }
    converge(&mut world);
}

fn happen(world: &mut World, spare: &mut Vec<&'static str>) {
    let present = world.present();
    let name = present.choose(&mut world.rng).unwrap().clone();
    match world.rng.random_range(0..6) {
        0 => {
            if let Some(name) = spare.pop() {
                world.arrive(name);
            }
        }
        1 if present.len() > 3 => world.members.get_mut(&name).unwrap().session.leave(),
        2 => {
            let away = world.rng.random_range(50..6_000);
            world.reconnect_after(&name, away);
        }
        3 => {
            let away = world.rng.random_range(50..2_000);
            world.crash(&name, away);
        }
        4 => {
            let now = world.moment().now;
            world.members.get_mut(&name).unwrap().session.want_new_epoch(now);
        }
        _ => {}
    }
}

fn on_signalling_and_media(family: u64, faults: impl Fn(&mut World) -> Faults) {
    for seed in seeds(family) {
        random_call(seed, |world| {
            let faults = faults(world);
            world.signalling_faults(faults);
            world.media_faults(faults);
        });
    }
}

#[test]
fn messages_and_frames_dropped() {
    on_signalling_and_media(1, |world| Faults {
        drop: world.rng.random_range(0.0..0.3),
        ..Faults::default()
    });
}

#[test]
fn messages_and_frames_duplicated() {
    on_signalling_and_media(2, |_| Faults { duplicate: 0.1, ..Faults::default() });
}

#[test]
fn messages_and_frames_reordered() {
    on_signalling_and_media(3, |world| Faults {
        reorder: world.rng.random_range(1..=64),
        ..Faults::default()
    });
}

#[test]
fn messages_and_frames_delayed() {
    on_signalling_and_media(4, |world| Faults {
        delay: world.rng.random_range(100..=5_000),
        ..Faults::default()
    });
}

#[test]
fn bits_of_messages_and_frames_flipped() {
    on_signalling_and_media(5, |world| Faults {
        flip: world.rng.random_range(0.01..0.1),
        ..Faults::default()
    });
}

#[test]
fn everything_at_once() {
    on_signalling_and_media(6, |world| Faults::drawn(&mut world.rng));
}

/// Media alone suffers: no epoch is lost, and nothing is opened that was not sent.
#[test]
fn frames_only() {
    for seed in seeds(7) {
        println!("seed {seed}");
        let mut world = World::call(seed, &NAMES);
        let faults = Faults::drawn(&mut world.rng);
        world.media_faults(faults);
        let epoch = world.service.epoch();
        world.run(8_000);
        assert_eq!(world.service.epoch(), epoch, "seed {seed}");
        let rejected: u64 =
            world.members.values().flat_map(|member| member.rejected.values()).sum();
        assert!(rejected > 0, "seed {seed}: nothing was repeated or altered");
        converge(&mut world);
    }
}

#[test]
fn the_delivery_service_killed_at_each_step_of_an_append() {
    for kill in KILLS {
        println!("{kill:?}");
        let mut world = World::call(10, &NAMES);
        let before = world.service.epoch().unwrap();
        world.kill = Some(kill);
        world.arrive("erin");
        world.run(3_000);
        assert_eq!(world.kills, 1);
        let all = ["alice", "bob", "carol", "dave", "erin"];
        world.run(CONVERGENCE);
        world.assert_converged(&all);
        assert!(world.service.epoch().unwrap() > before);
        // And when somebody leaves.
        world.kill = Some(kill);
        world.members.get_mut("bob").unwrap().session.leave();
        world.run(CONVERGENCE);
        assert_eq!(world.kills, 2);
        world.disconnect("bob");
        world.members.remove("bob");
        world.run(CONVERGENCE);
        world.assert_converged(&["alice", "carol", "dave", "erin"]);
    }
}

#[test]
fn the_delivery_service_killed_again_and_again() {
    for seed in seeds(11) {
        println!("seed {seed}");
        let mut world = World::call(seed, &NAMES);
        let mut spare = SPARE.to_vec();
        for _ in 0..12 {
            world.kill = KILLS.choose(&mut world.rng).copied();
            happen(&mut world, &mut spare);
            let pause = world.rng.random_range(100..1_500);
            world.run(pause);
        }
        converge(&mut world);
    }
}

/// Where in a commit of its own a member dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    BeforeStage,
    AfterStage,
    AfterSend,
    AfterAcknowledgement,
    AfterMerge,
}

fn client_killed(death: Death) {
    for seed in seeds(20 + death as u64) {
        println!("seed {seed}, {death:?}");
        let mut world = World::call(seed, &NAMES);
        let epoch = world.service.epoch().unwrap();
        let now = world.moment();
        let alice = world.members.get_mut("alice").unwrap();
        alice.session.want_new_epoch(now.now);
        match death {
            Death::BeforeStage => {}
            // Built, and never sent.
            Death::AfterStage => alice.session.handle_timeout(now),
            // 20 ms to the server.
            Death::AfterSend => world.run(10),
            // In the log, and not back yet.
            Death::AfterAcknowledgement => world.run(30),
            Death::AfterMerge => world.run(60),
        }
        let appended = world.service.epoch() == Some(epoch + 1);
        let expected = matches!(death, Death::AfterAcknowledgement | Death::AfterMerge);
        assert_eq!(appended, expected, "seed {seed}");
        let own = world.members["alice"].session.epoch().unwrap();
        assert_eq!(own == epoch + 1, matches!(death, Death::AfterMerge), "seed {seed}");
        let away = world.rng.random_range(50..2_000);
        world.crash("alice", away);
        world.run(away + CONVERGENCE);
        world.assert_converged(&NAMES);
    }
}

#[test]
fn a_client_killed_before_it_stages_its_commit() {
    client_killed(Death::BeforeStage);
}

#[test]
fn a_client_killed_after_it_staged_its_commit() {
    client_killed(Death::AfterStage);
}

#[test]
fn a_client_killed_after_it_sent_its_commit() {
    client_killed(Death::AfterSend);
}

#[test]
fn a_client_killed_after_its_commit_was_acknowledged() {
    client_killed(Death::AfterAcknowledgement);
}

#[test]
fn a_client_killed_after_it_merged_its_commit() {
    client_killed(Death::AfterMerge);
}

#[test]
fn a_partition_of_half_the_members_for_30_seconds() {
    for seed in seeds(30) {
        println!("seed {seed}");
        let mut world = World::call(seed, &NAMES);
        let half = ["carol", "dave"];
        // First the ways are silent, as behind a NAT that forgot them; then the connections break.
        world.cut_off.extend(half.map(str::to_owned));
        world.run(10_000);
        for name in half {
            world.disconnect(name);
        }
        world.run(20_000);
        world.assert_converged(&["alice", "bob"]);
        world.cut_off.clear();
        for name in half {
            world.connect(name);
        }
        world.run(CONVERGENCE);
        world.assert_converged(&NAMES);
        let removed = &world.service.metrics().members_removed;
        assert_eq!(removed.get("gone"), Some(&2), "seed {seed}: {removed:?}");
    }
}

/// The one whose turn it is stays connected and commits nothing: the others do, after a moment.
#[test]
fn a_committer_that_hangs() {
    for name in NAMES {
        let mut world = World::call(40, &NAMES);
        world.members.get_mut(name).unwrap().hangs = true;
        let epoch = world.service.epoch().unwrap();
        world.arrive("erin");
        world.run(2_500);
        assert!(world.service.epoch().unwrap() > epoch, "{name} hangs, and nobody commits");
        let leaving = if name == "bob" { "carol" } else { "bob" };
        world.members.get_mut(leaving).unwrap().session.leave();
        world.run(1_000);
        let left = &world.service.metrics().members_removed;
        assert_eq!(left.get("left"), Some(&1), "{name} hangs");
        world.disconnect(leaving);
        world.members.remove(leaving);
        converge(&mut world);
    }
}

#[test]
fn all_members_asleep_but_one() {
    let mut world = World::call(50, &NAMES);
    for name in &NAMES[1..] {
        world.members.get_mut(*name).unwrap().asleep = true;
    }
    world.run(1_000);
    world.arrive("erin");
    world.run(4_000);
    assert!(world.members["erin"].is_member(), "one who is awake lets others in");
    world.members.get_mut("erin").unwrap().session.leave();
    world.run(2_000);
    let epoch = world.service.epoch();
    world.disconnect("erin");
    world.members.remove("erin");
    // They wake up, with all that came meanwhile lost, and on new connections.
    converge(&mut world);
    assert!(world.service.epoch() >= epoch);
}

/// Sleepers whose connections broke are removed, and come back.
#[test]
fn all_members_asleep_but_one_and_their_connections_broken() {
    let mut world = World::call(51, &NAMES);
    for name in &NAMES[1..] {
        world.disconnect(name);
    }
    world.run(10_000);
    world.assert_converged(&["alice"]);
    converge(&mut world);
}
