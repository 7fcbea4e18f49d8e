//! The epochs whose keys are kept for receiving, and how long.

use crate::crypto::SuiteCrypto;
use crate::epoch::Epoch;
use crate::error::EpochError;
use crate::key_derivation::{FrameKey, SframeSecret};
use crate::kid::{KidError, KidLayout};
use crate::replay::ReplayWindow;
use crate::time::Now;
use core::time::Duration;
use std::collections::VecDeque;

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

/// One sender's context in one epoch: its key and what has been seen of it.
pub(crate) struct Stream {
    pub(crate) key: FrameKey,
    pub(crate) replay: ReplayWindow,
}

/// A live leaf's streams by context; they appear as frames are verified.
pub(crate) type Streams = Vec<Option<Box<Stream>>>;

/// An epoch whose receive keys are live.
pub(crate) struct KeptEpoch {
    pub(crate) number: u64,
    pub(crate) secret: SframeSecret,
    pub(crate) own_leaf: u32,
    /// By leaf index; `None` is a blank leaf.
    pub(crate) leaves: Vec<Option<Streams>>,
    began: Began,
    /// `None` for the newest epoch, which never expires.
    pub(crate) expires_at: Option<Now>,
}

#[derive(Clone, Copy)]
struct Began {
    installed_at: Now,
    age_then: Duration,
}

impl KeptEpoch {
    /// Time since the epoch began, as far as it is known here.
    pub(crate) fn age(&self, now: Now) -> Duration {
        now.saturating_since(self.began.installed_at).saturating_add(self.began.age_then)
    }

    /// Brings the expiry forward; it never moves back.
    fn live_at_most_until(&mut self, at: Now) {
        self.expires_at = self.expires_at.map(|expires_at| expires_at.min(at));
    }
}

/// Where an epoch's low bits point.
pub(crate) enum Selected<'a> {
    Kept(&'a mut KeptEpoch),
    Future { epoch: u64 },
    Expired { epoch: u64 },
    BeforeJoin { epoch: u64 },
    Nothing,
}

/// The kept epochs, oldest first.
pub(crate) struct EpochWindow {
    pub(crate) layout: KidLayout,
    retention: Retention,
    /// The longest time that anybody keeps sending under a superseded epoch.
    longest_switch: Duration,
    first: Option<u64>,
    epochs: VecDeque<KeptEpoch>,
}

impl EpochWindow {
    pub(crate) fn new(layout: KidLayout, retention: Retention, longest_switch: Duration) -> Self {
        Self { layout, retention, longest_switch, first: None, epochs: VecDeque::new() }
    }

    pub(crate) fn newest(&self) -> Option<&KeptEpoch> {
        self.epochs.back()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &KeptEpoch> {
        self.epochs.iter()
    }

    pub(crate) fn find(&self, number: u64) -> Option<&KeptEpoch> {
        self.epochs.iter().rev().find(|epoch| epoch.number == number)
    }

    /// Checks an epoch and makes its receive keys live. Returns the epochs that had to make room.
    pub(crate) fn install(
        &mut self,
        epoch: &Epoch,
        crypto: &'static SuiteCrypto,
        now: Now,
    ) -> Result<Vec<u64>, EpochError> {
        let kept = self.prepare(epoch, crypto, now)?;
        let number = kept.number;
        let longest = now + self.retention.at_most;
        if let Some(previous) = self.epochs.back_mut() {
            previous.expires_at = Some(longest);
        }
        self.first.get_or_insert(number);
        self.epochs.push_back(kept);
        // What the low bits of an early frame may mean is reserved for epochs ahead.
        let reach = self.layout.epoch_count() - FUTURE_EPOCHS;
        Ok(self.remove(|epoch| number - epoch.number >= reach))
    }

    fn prepare(
        &self,
        epoch: &Epoch,
        crypto: &'static SuiteCrypto,
        now: Now,
    ) -> Result<KeptEpoch, EpochError> {
        if let Some(newest) = self.newest()
            && epoch.number <= newest.number
        {
            return Err(EpochError::NotNewer { newest: newest.number, found: epoch.number });
        }
        let expected = crypto.suite.key_length();
        let found = epoch.base_key.length();
        if found != expected {
            return Err(EpochError::BaseKeyLength { expected, found });
        }
        let highest = epoch.live_leaves.iter().copied().max().unwrap_or(0);
        if highest >= self.layout.leaf_count() {
            let leaf_bits = self.layout.leaf_bits();
            return Err(KidError::LeafTooLarge { leaf: highest, leaf_bits }.into());
        }
        if !epoch.live_leaves.contains(&epoch.own_leaf) {
            return Err(EpochError::OwnLeafNotLive { leaf: epoch.own_leaf });
        }
        let mut leaves: Vec<Option<Streams>> = Vec::new();
        leaves.resize_with(highest as usize + 1, || None);
        for &leaf in &epoch.live_leaves {
            if let Some(slot) = leaves.get_mut(leaf as usize) {
                *slot = Some(Vec::new());
            }
        }
        Ok(KeptEpoch {
            number: epoch.number,
            secret: SframeSecret::extract(crypto, &epoch.base_key),
            own_leaf: epoch.own_leaf,
            leaves,
            began: Began { installed_at: now, age_then: epoch.age },
            expires_at: None,
        })
    }

    /// What the low bits of an epoch mean here and now.
    pub(crate) fn select(&mut self, epoch_low: u64) -> Selected<'_> {
        let Some(newest) = self.epochs.back().map(|epoch| epoch.number) else {
            return Selected::Nothing;
        };
        let count = self.layout.epoch_count();
        let behind = newest.wrapping_sub(epoch_low) & (count - 1);
        let ahead = count - behind;
        if behind != 0 && ahead <= FUTURE_EPOCHS {
            return Selected::Future { epoch: newest.saturating_add(ahead) };
        }
        let Some(epoch) = newest.checked_sub(behind) else { return Selected::Expired { epoch: 0 } };
        let before_join = self.first.is_some_and(|first| epoch < first);
        match self.epochs.iter_mut().rev().find(|kept| kept.number == epoch) {
            Some(kept) => Selected::Kept(kept),
            None if before_join => Selected::BeforeJoin { epoch },
            None => Selected::Expired { epoch },
        }
    }

    /// Everybody has the newest epoch: old ones are needed only until the last switch and what is
    /// in flight after it.
    pub(crate) fn everybody_is_ready(&mut self, now: Now) {
        let until = now + self.longest_switch + self.retention.after_switch;
        for epoch in &mut self.epochs {
            epoch.live_at_most_until(until);
        }
    }

    /// Drops what has expired and returns its numbers.
    pub(crate) fn purge(&mut self, now: Now) -> Vec<u64> {
        self.remove(|epoch| epoch.expires_at.is_some_and(|at| at <= now))
    }

    pub(crate) fn next_expiry(&self) -> Option<Now> {
        self.epochs.iter().filter_map(|epoch| epoch.expires_at).min()
    }

    pub(crate) fn clear(&mut self) -> Vec<u64> {
        self.remove(|_| true)
    }

    fn remove(&mut self, mut which: impl FnMut(&KeptEpoch) -> bool) -> Vec<u64> {
        let mut removed = Vec::new();
        self.epochs.retain(|epoch| {
            let remove = which(epoch);
            if remove {
                removed.push(epoch.number);
            }
            !remove
        });
        removed
    }
}
