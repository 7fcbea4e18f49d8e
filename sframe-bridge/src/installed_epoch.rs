//! An installed epoch, as senders and receivers share it, and where receivers find the newest
//! ones.

use crate::key_derivation::SframeSecret;
use crate::time::Now;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

/// An epoch whose receive keys are live.
pub(crate) struct InstalledEpoch {
    pub(crate) number: u64,
    pub(crate) secret: SframeSecret,
    pub(crate) own_leaf: u32,
    pub(crate) live: LeafSet,
    pub(crate) installed_at: Now,
    /// How old the epoch was then, as far as it is known here.
    pub(crate) age_then: Duration,
}

impl InstalledEpoch {
    /// Time since the epoch began, as far as it is known here.
    pub(crate) fn age(&self, now: Now) -> Duration {
        now.saturating_since(self.installed_at).saturating_add(self.age_then)
    }
}

/// A set of leaves, one bit each.
pub(crate) struct LeafSet(Vec<u64>);

impl LeafSet {
    pub(crate) fn new(leaves: &[u32]) -> Self {
        let highest = leaves.iter().copied().max().unwrap_or(0);
        let mut words = vec![0; highest as usize / 64 + 1];
        for &leaf in leaves {
            if let Some(word) = words.get_mut(leaf as usize / 64) {
                *word |= 1 << (leaf % 64);
            }
        }
        Self(words)
    }

    pub(crate) fn contains(&self, leaf: u32) -> bool {
        self.0.get(leaf as usize / 64).is_some_and(|word| word >> (leaf % 64) & 1 == 1)
    }
}

/// The kept epochs, oldest first, and where the first one stood that was ever installed.
#[derive(Clone, Default)]
pub(crate) struct Installed {
    pub(crate) first: Option<u64>,
    pub(crate) epochs: Vec<Arc<InstalledEpoch>>,
}

/// Where `CallKeys` leaves the kept epochs for its receivers, and they their reports. The way of
/// a frame reads one atomic number here and takes the lock only after a change.
#[derive(Default)]
pub(crate) struct EpochBoard {
    generation: AtomicU64,
    installed: Mutex<Installed>,
    /// The newest epoch that a frame has asked for in vain; 0 is none.
    missing: AtomicU64,
}

impl EpochBoard {
    pub(crate) fn publish(&self, installed: Installed) {
        let mut place = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        *place = installed;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How often something was published.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What is there, and its generation in `seen`.
    pub(crate) fn installed(&self, seen: &mut u64) -> Installed {
        let place = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = self.generation();
        place.clone()
    }

    pub(crate) fn report_missing(&self, epoch: u64) {
        self.missing.fetch_max(epoch, Ordering::Relaxed);
    }

    pub(crate) fn take_missing(&self) -> Option<u64> {
        Some(self.missing.swap(0, Ordering::Relaxed)).filter(|&epoch| epoch != 0)
    }
}
