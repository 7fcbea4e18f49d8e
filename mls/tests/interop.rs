//! Live interoperation with OpenMLS 0.9 and mls-rs 0.57: groups that mix all three implementations, ours with both of its
//! backends, go through random schedules. After each step every member agrees on epoch, epoch authenticator, GroupContext,
//! ratchet tree, roster and an exported secret.
//!
//! `FRAMELOCK_INTEROP_SEEDS` and `FRAMELOCK_INTEROP_STEPS` set how many schedules are played and how long they are;
//! `FRAMELOCK_INTEROP_FIRST` is the first seed, so that a failing one can be played alone. A seed fixes the schedule; the
//! peers' own randomness it cannot.
//!
//! By default 200 schedules of 60 steps each are played, which takes some minutes of processor time. A longer run, with
//! schedules that the default one does not have and groups that live longer:
//!
//! ```text
//! FRAMELOCK_INTEROP_FIRST=200 FRAMELOCK_INTEROP_SEEDS=1000 FRAMELOCK_INTEROP_STEPS=300 \
//!     cargo test --release --workspace --test interop -- --nocapture
//! ```

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

#[path = "interop/deviations.rs"]
mod deviations;
#[path = "interop/exchange.rs"]
mod exchange;
#[path = "interop/member.rs"]
mod member;
#[path = "interop/mls_rs_peer.rs"]
mod mls_rs_peer;
#[path = "interop/openmls_peer.rs"]
mod openmls_peer;
#[path = "interop/ours.rs"]
mod ours;
#[path = "interop/proposals.rs"]
mod proposals;
#[path = "interop/schedule.rs"]
mod schedule;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use member::Implementation;
use schedule::{DEEDS, Deeds, play};

/// From so many epochs on, every deed must have been done by every implementation.
const ENOUGH: u64 = 300;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().expect("expected a number"))
}

#[test]
fn groups_of_all_implementations_agree_through_random_schedules() {
    let first = setting("FRAMELOCK_INTEROP_FIRST", 0);
    let seeds = setting("FRAMELOCK_INTEROP_SEEDS", 200);
    let steps = setting("FRAMELOCK_INTEROP_STEPS", 60);
    let next = AtomicU64::new(first);
    let worker = || {
        let mut deeds = Deeds::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return deeds;
            }
            for (deed, times) in play(seed, usize::try_from(steps).unwrap()) {
                *deeds.entry(deed).or_default() += times;
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let deeds = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Deeds::new();
        for worker in workers {
            for (deed, times) in worker.join().expect("a schedule failed, see above") {
                *all.entry(deed).or_default() += times;
            }
        }
        all
    });

    for deed in DEEDS {
        let times = Implementation::ALL.map(|who| deeds.get(&(deed, who)).copied().unwrap_or(0));
        println!("  {deed:<38} {times:?}");
        if seeds * steps >= ENOUGH {
            assert!(times.iter().all(|times| *times > 0), "{deed}: {times:?}");
        }
    }
    let names = Implementation::ALL.map(|implementation| implementation.to_string()).join(", ");
    println!("interop: {seeds} seeds x {steps} steps from seed {first}, suites 1, 2, 3: {names}");
}
