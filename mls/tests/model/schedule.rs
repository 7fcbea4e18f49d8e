//! Schedules: made from a seed, played, and made smaller when they fail.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe, catch_unwind},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::world::World;

/// One step. Its seed fixes every choice in it, whatever the steps before it were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) deed: Deed,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// One to three members commit at once, one of them wins.
    Commit,
    /// A member proposes something.
    Propose,
    /// Somebody reads on in the log, perhaps missing proposals.
    Read,
    /// Everybody reads to the end.
    ReadAll,
    /// Somebody sends application data.
    Send,
    /// Application data arrive somewhere, where they belong or not.
    Receive,
    /// A handshake message arrives where and when it should not, perhaps damaged.
    Disturb,
    /// Somebody saves its state.
    Save,
    /// Somebody crashes and comes back from a snapshot.
    Crash,
    /// Somebody joins by external commit, or comes back by one.
    External,
    /// Those who were removed try everything.
    Haunt,
    /// Somebody outside the group proposes something.
    Outside,
    /// Some members make a group beside this one.
    Branch,
    /// The group is closed, and all move into its successor.
    Succeed,
}

const DEEDS: [Deed; 28] = [
    Deed::Commit,
    Deed::Commit,
    Deed::Commit,
    Deed::Commit,
    Deed::Save,
    Deed::Propose,
    Deed::Propose,
    Deed::Propose,
    Deed::Read,
    Deed::Read,
    Deed::Read,
    Deed::ReadAll,
    Deed::Send,
    Deed::Send,
    Deed::Send,
    Deed::Receive,
    Deed::Receive,
    Deed::Receive,
    Deed::Receive,
    Deed::Disturb,
    Deed::Save,
    Deed::Crash,
    Deed::External,
    Deed::Haunt,
    Deed::Outside,
    Deed::Outside,
    Deed::Branch,
    Deed::Succeed,
];

/// What has to happen often enough for a run to mean something.
const EVENTS: [&str; 30] = [
    "added",
    "removed",
    "updated by reference",
    "joined by welcome",
    "joined externally",
    "resynced",
    "epochs",
    "commits that lost the race",
    "proposals sent",
    "proposals missed and fetched again",
    "psk proposed",
    "extensions changed",
    "application data sent",
    "application data read",
    "read late",
    "replays refused",
    "foreign data refused",
    "not for this epoch yet",
    "disturbances refused",
    "restored",
    "restored from before",
    "states saved and restored alike",
    "attempts of the removed",
    "committers that crashed before the echo",
    "proposed from outside",
    "asked to join",
    "left by themselves",
    "branched off",
    "waited for the epoch of a branch",
    "moved to a successor",
];

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, event: &'static str) {
        debug_assert!(EVENTS.contains(&event) || event.starts_with("at most"), "{event}");
        *self.events.entry(event).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (event, times) in &other.events {
            *self.events.entry(event).or_default() += times;
        }
    }

    pub(crate) fn assert_complete(&self) {
        for event in EVENTS {
            assert!(self.events.get(event).is_some_and(|times| *times > 0), "never: {event}");
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    /// At most so many members.
    pub(crate) members: usize,
    /// Handshake messages are encrypted.
    pub(crate) private: bool,
    pub(crate) steps: Vec<Step>,
}

impl Schedule {
    pub(crate) fn random(seed: u64, steps: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // Small groups show most; every eighth is large.
        let sizes = [2, 3, 4, 5, 7, 9, 12, 17];
        let members = match seed % 8 {
            7 => [33, 48, 64][usize::try_from(seed / 8 % 3).unwrap()],
            _ => sizes[rng.random_range(0..sizes.len())],
        };
        let steps = (0..steps)
            .map(|_| Step { deed: DEEDS[rng.random_range(0..DEEDS.len())], seed: rng.random() })
            .collect();
        Self { seed, members, private: rng.random_ratio(1, 3), steps }
    }

    /// Plays it, and gives what happened or the message of the panic.
    pub(crate) fn play(&self) -> Result<Tally, String> {
        let played = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(self);
            for step in &self.steps {
                world.step(*step);
            }
            world.finish()
        }));
        played.map_err(|panic| message(&*panic))
    }

    /// A smaller schedule that fails as well, by leaving steps out, and how it fails.
    pub(crate) fn shrunk(&self, failure: String) -> (Self, String) {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let mut smallest = (self.clone(), failure);
        let mut chunk = smallest.0.steps.len() / 2;
        let mut attempts = 300;
        while chunk > 0 && attempts > 0 {
            let mut start = 0;
            while start < smallest.0.steps.len() && attempts > 0 {
                let mut candidate = smallest.0.clone();
                candidate.steps.drain(start..(start + chunk).min(candidate.steps.len()));
                attempts -= 1;
                match candidate.play() {
                    Err(failure) => smallest = (candidate, failure),
                    Ok(_) => start += chunk,
                }
            }
            chunk /= 2;
        }
        panic::set_hook(hook);
        smallest
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (_, Some(text)) => (*text).to_owned(),
        _ => "a panic without a message".to_owned(),
    }
}
