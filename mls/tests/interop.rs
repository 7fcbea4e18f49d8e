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
#[path = "support/seeds.rs"]
mod seeds;

use member::Implementation;
use schedule::{DEEDS, Deeds, play};
use seeds::Seeds;

/// From so many epochs on, every deed must have been done by every implementation.
const ENOUGH: usize = 300;

#[test]
fn groups_of_all_implementations_agree_through_random_schedules() {
    let seeds = Seeds::from_environment("FRAMELOCK_INTEROP", 200, 60);
    let deeds = seeds.play(
        |seed| play(seed, seeds.steps),
        |sum: &mut Deeds, deeds| {
            for (deed, times) in deeds {
                *sum.entry(deed).or_default() += times;
            }
        },
    );
    let Seeds { first, count, steps } = seeds;
    for deed in DEEDS {
        let times = Implementation::ALL.map(|who| deeds.get(&(deed, who)).copied().unwrap_or(0));
        println!("  {deed:<38} {times:?}");
        if usize::try_from(count).unwrap() * steps >= ENOUGH {
            assert!(times.iter().all(|times| *times > 0), "{deed}: {times:?}");
        }
    }
    let names = Implementation::ALL.map(|implementation| implementation.to_string()).join(", ");
    println!("interop: {count} seeds x {steps} steps from seed {first}, suites 1, 2, 3: {names}");
}
