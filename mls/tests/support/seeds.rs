//! Schedules made from seeds, played on all the threads that the machine offers.
#![allow(clippy::expect_used, reason = "a test reports a failure by panicking")]

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Which seeds are played, and how many steps with each.
pub(crate) struct Seeds {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) steps: usize,
}

impl Seeds {
    /// What `PREFIX_FIRST`, `PREFIX_SEEDS` and `PREFIX_STEPS` say, or else seeds from 0 on as given.
    pub(crate) fn from_environment(prefix: &str, count: u64, steps: usize) -> Self {
        let number = |name: &str, default: u64| {
            env::var(format!("{prefix}_{name}"))
                .map_or(default, |value| value.parse().expect("expected a number"))
        };
        let steps = number("STEPS", u64::try_from(steps).expect("a small number"));
        Self {
            first: number("FIRST", 0),
            count: number("SEEDS", count),
            steps: usize::try_from(steps).expect("a small number"),
        }
    }

    /// Plays every seed. Each thread adds up what it plays; the sums of all threads are added up in the end.
    pub(crate) fn play<T: Default + Send>(
        &self,
        play: impl Fn(u64) -> T + Sync,
        add: impl Fn(&mut T, T) + Sync,
    ) -> T {
        let next = AtomicU64::new(self.first);
        let worker = || {
            let mut sum = T::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.first + self.count {
                    return sum;
                }
                add(&mut sum, play(seed));
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            let mut all = T::default();
            for worker in workers {
                add(&mut all, worker.join().expect("a schedule failed, see above"));
            }
            all
        })
    }
}
