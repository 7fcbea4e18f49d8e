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
mod support;
#[path = "model/world.rs"]
mod world;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use schedule::{Schedule, Tally};

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().expect("expected a number"))
}

#[test]
fn every_schedule_keeps_the_invariants() {
    let first = setting("FRAMELOCK_MODEL_FIRST", 0);
    let seeds = setting("FRAMELOCK_MODEL_SEEDS", 200);
    let steps = usize::try_from(setting("FRAMELOCK_MODEL_STEPS", 250)).unwrap();
    let next = AtomicU64::new(first);
    let worker = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return tally;
            }
            let schedule = Schedule::random(seed, steps);
            match schedule.play() {
                Ok(played) => tally.add(&played),
                Err(failure) => {
                    let (smallest, then) = schedule.shrunk(failure.clone());
                    panic!(
                        "seed {seed}: {failure}\nFRAMELOCK_MODEL_FIRST={seed} FRAMELOCK_MODEL_SEEDS=1\n\
                         the smallest schedule found that fails: {smallest:#?}\nwith {then}"
                    );
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let tally = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Tally::default();
        for worker in workers {
            all.add(&worker.join().expect("a schedule failed, see above"));
        }
        all
    });
    println!("model: {seeds} seeds x {steps} steps from seed {first}");
    for (event, times) in &tally.events {
        println!("  {times:>8} {event}");
    }
    if seeds >= 32 && steps >= 200 {
        tally.assert_complete();
    }
}
