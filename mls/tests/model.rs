//! A group under random schedules, against a model of what must hold: members add, remove, update and commit, several at
//! once; messages get lost, come twice and out of order; members crash and come back from snapshots, also from old ones.
//!
//! After each step: there is one history, in which all members of an epoch agree on authenticator, context, roster and
//! export, and with the delivery service on what is public; whoever was removed, or joins later, can neither read nor
//! export an epoch that is not theirs, with all the states that they kept; no key and nonce seal twice; saving and
//! restoring changes nothing; what is refused changes nothing.
//!
//! `FRAMELOCK_MODEL_SEEDS` sets how many schedules are played, `FRAMELOCK_MODEL_STEPS` how long they are, and
//! `FRAMELOCK_MODEL_FIRST` is the first seed. A schedule that fails is made smaller before it is printed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

#[path = "model/actor.rs"]
mod actor;
#[path = "model/commits.rs"]
mod commits;
#[path = "model/delivery.rs"]
mod delivery;
#[path = "support/glass.rs"]
mod glass;
#[path = "model/history.rs"]
mod history;
#[path = "model/schedule.rs"]
mod schedule;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "model/succession.rs"]
mod succession;
mod support;
#[path = "model/world.rs"]
mod world;

use schedule::{Schedule, Tally};
use seeds::Seeds;

#[test]
fn every_schedule_keeps_the_invariants() {
    let seeds = Seeds::from_environment("FRAMELOCK_MODEL", 200, 250);
    let play = |seed| {
        let schedule = Schedule::random(seed, seeds.steps);
        schedule.play().unwrap_or_else(|failure| {
            let (smallest, then) = schedule.shrunk(failure.clone());
            panic!(
                "seed {seed}: {failure}\nFRAMELOCK_MODEL_FIRST={seed} FRAMELOCK_MODEL_SEEDS=1\n\
                 the smallest schedule found that fails: {smallest:#?}\nwith {then}"
            );
        })
    };
    let tally = seeds.play(play, |sum: &mut Tally, tally| sum.add(&tally));
    println!("model: {} seeds x {} steps from seed {}", seeds.count, seeds.steps, seeds.first);
    for (event, times) in &tally.events {
        println!("  {times:>8} {event}");
    }
    if seeds.count >= 32 && seeds.steps >= 200 {
        tally.assert_complete();
    }
}
