//! The epochs whose keys are kept for receiving, and how long.

use crate::crypto::SuiteCrypto;
use crate::epoch::Epoch;
use crate::error::EpochError;
use crate::installed_epoch::{EpochBoard, Installed, InstalledEpoch};
use crate::key_derivation::SframeSecret;
use crate::kid::KidLayout;
use crate::time::Now;
use core::time::Duration;
use std::sync::Arc;

/// How many epochs ahead of the newest one (mod 2^E) a frame may be to count as early.
pub const FUTURE_EPOCHS: u64 = 8;

/// How long the keys of an epoch live once a newer one is installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Kept at least this long after the longest send switch. Default 2 s.
    pub after_switch: Duration,
    /// Never kept longer than this. Default 10 s.
    pub at_most: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { after_switch: Duration::from_secs(2), at_most: Duration::from_secs(10) }
    }
}

struct Kept {
    epoch: Arc<InstalledEpoch>,
    /// `None` for the newest epoch, which never expires.
    expires_at: Option<Now>,
}

/// The kept epochs, oldest first.
pub(crate) struct EpochWindow {
    layout: KidLayout,
    retention: Retention,
    /// The longest time that anybody keeps sending under a superseded epoch.
    longest_switch: Duration,
    first: Option<u64>,
    kept: Vec<Kept>,
    board: Arc<EpochBoard>,
}

impl EpochWindow {
    pub(crate) fn new(layout: KidLayout, retention: Retention, longest_switch: Duration) -> Self {
        let board = Arc::new(EpochBoard::default());
        Self { layout, retention, longest_switch, first: None, kept: Vec::new(), board }
    }

    /// Where receivers find what is kept.
    pub(crate) fn board(&self) -> &Arc<EpochBoard> {
        &self.board
    }

    pub(crate) fn newest(&self) -> Option<u64> {
        self.kept.last().map(|kept| kept.epoch.number)
    }

    pub(crate) fn find(&self, number: u64) -> Option<&InstalledEpoch> {
        self.kept.iter().rev().map(|kept| &*kept.epoch).find(|epoch| epoch.number == number)
    }

    /// Checks an epoch and makes its receive keys live. Returns the epochs that had to make room.
    pub(crate) fn install(
        &mut self,
        epoch: &Epoch,
        crypto: &'static SuiteCrypto,
        now: Now,
    ) -> Result<Vec<u64>, EpochError> {
        let epoch = Arc::new(self.prepare(epoch, crypto, now)?);
        let number = epoch.number;
        let longest = now + self.retention.at_most;
        if let Some(previous) = self.kept.last_mut() {
            previous.expires_at = Some(longest);
        }
        self.first.get_or_insert(number);
        self.kept.push(Kept { epoch, expires_at: None });
        // What the low bits of an early frame may mean is reserved for epochs ahead.
        let reach = self.layout.epoch_count() - FUTURE_EPOCHS;
        let removed = self.retain(|kept| number - kept.epoch.number < reach);
        self.publish();
        Ok(removed)
    }

    fn prepare(
        &self,
        epoch: &Epoch,
        crypto: &'static SuiteCrypto,
        now: Now,
    ) -> Result<InstalledEpoch, EpochError> {
        if let Some(newest) = self.newest()
            && epoch.number <= newest
        {
            return Err(EpochError::NotNewer { newest, found: epoch.number });
        }
        let live = epoch.check(crypto.suite, self.layout)?;
        Ok(InstalledEpoch {
            number: epoch.number,
            secret: SframeSecret::extract(crypto, &epoch.base_key),
            own_leaf: epoch.own_leaf,
            live,
            installed_at: now,
            age_then: epoch.age,
        })
    }

    /// Everybody has the newest epoch: old ones are needed only until the last switch and what is
    /// in flight after it. An expiry never moves back.
    pub(crate) fn everybody_is_ready(&mut self, now: Now) {
        let until = now + self.longest_switch + self.retention.after_switch;
        for kept in &mut self.kept {
            kept.expires_at = kept.expires_at.map(|expires_at| expires_at.min(until));
        }
    }

    /// Drops what has expired and returns its numbers.
    pub(crate) fn purge(&mut self, now: Now) -> Vec<u64> {
        self.remove(|kept| kept.expires_at.is_some_and(|at| at <= now))
    }

    pub(crate) fn next_expiry(&self) -> Option<Now> {
        self.kept.iter().filter_map(|kept| kept.expires_at).min()
    }

    pub(crate) fn clear(&mut self) -> Vec<u64> {
        self.remove(|_| true)
    }

    fn remove(&mut self, which: impl Fn(&Kept) -> bool) -> Vec<u64> {
        let removed = self.retain(|kept| !which(kept));
        if !removed.is_empty() {
            self.publish();
        }
        removed
    }

    fn retain(&mut self, which: impl Fn(&Kept) -> bool) -> Vec<u64> {
        let removed =
            self.kept.iter().filter(|kept| !which(kept)).map(|kept| kept.epoch.number).collect();
        self.kept.retain(which);
        removed
    }

    fn publish(&self) {
        let epochs = self.kept.iter().map(|kept| Arc::clone(&kept.epoch)).collect();
        self.board.publish(Installed { first: self.first, epochs });
    }
}
