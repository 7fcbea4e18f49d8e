//! When to start sending under a new epoch: make before break.

use crate::time::Now;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::epoch_window::FUTURE_EPOCHS;

/// How long a member waits for acknowledgements before it switches by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SwitchTiming {
    /// After a commit that removes somebody. Default 80 ms; sensible values are 60 to 100 ms, and
    /// the others' wait buffers absorb the skew.
    pub after_removal: Duration,
    /// After any other commit. Default 200 ms: most have the commit by then, and the wait buffers absorb the rest.
    pub otherwise: Duration,
}

impl Default for SwitchTiming {
    fn default() -> Self {
        Self { after_removal: Duration::from_millis(80), otherwise: Duration::from_millis(200) }
    }
}

impl SwitchTiming {
    pub(crate) fn longest(&self) -> Duration {
        self.after_removal.max(self.otherwise)
    }
}

/// Why sending switched to another epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SwitchCause {
    /// There was no epoch to send under before.
    First,
    /// Every live member has acknowledged the epoch.
    Acknowledged,
    /// The member's own timer fired.
    Deadline,
    /// The application resumed sending.
    Resumed,
}

/// A switch that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Switch {
    pub(crate) epoch: u64,
    pub(crate) cause: SwitchCause,
    /// Whether somebody joined with one of the epochs since the last switch.
    pub(crate) joined: bool,
}

/// The epoch that one would switch to, and when at the latest.
#[derive(Clone, Copy)]
struct Target {
    epoch: u64,
    deadline: Now,
    joined: bool,
}

/// What an epoch means for the switch.
pub(crate) struct Arrival<'a> {
    pub(crate) epoch: u64,
    pub(crate) own_leaf: u32,
    pub(crate) live: &'a [u32],
    pub(crate) joined: &'a [u32],
    pub(crate) removed: &'a [u32],
    pub(crate) receive_only: bool,
}

/// The state of the send switch.
///
/// - A new epoch is a target with a deadline. A later epoch replaces the target, but the earliest
///   deadline stays, or steady churn would hold everybody at an old key.
/// - The switch happens when every live member has acknowledged the newest epoch, or at the
///   deadline, and goes to the newest epoch.
/// - An epoch that forbids sending is never a target.
pub(crate) struct SendSwitch {
    timing: SwitchTiming,
    current: Option<u64>,
    target: Option<Target>,
    newest: Option<u64>,
    others: Vec<u32>,
    acknowledged: BTreeMap<u32, u64>,
    unacknowledged: usize,
    early_limit: usize,
}

impl SendSwitch {
    pub(crate) fn new(timing: SwitchTiming) -> Self {
        Self {
            timing,
            current: None,
            target: None,
            newest: None,
            others: Vec::new(),
            acknowledged: BTreeMap::new(),
            unacknowledged: 0,
            early_limit: 1024,
        }
    }

    pub(crate) fn current(&self) -> Option<u64> {
        self.current
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        self.target.map(|target| target.deadline)
    }

    /// Whether every other live member has acknowledged the newest epoch.
    pub(crate) fn everybody_is_ready(&self) -> bool {
        self.newest.is_some() && self.unacknowledged == 0
    }

    /// Takes in a new epoch, which is newer than all before.
    pub(crate) fn arrive(&mut self, arrival: &Arrival<'_>, now: Now) {
        self.newest = Some(arrival.epoch);
        self.others =
            arrival.live.iter().copied().filter(|&leaf| leaf != arrival.own_leaf).collect();
        self.others.sort_unstable();
        self.others.dedup();
        // A leaf changes hands: what its last occupant acknowledged says nothing about the next.
        for leaf in arrival.removed.iter().chain(arrival.joined) {
            if self.acknowledged.get(leaf).is_some_and(|&epoch| epoch < arrival.epoch) {
                self.acknowledged.remove(leaf);
            }
        }
        // Both are in order of leaves: one pass, whatever the size of the call.
        let mut others = self.others.iter().peekable();
        let mut ready = 0;
        self.acknowledged.retain(|leaf, epoch| {
            while others.next_if(|other| *other < leaf).is_some() {}
            let live = others.peek() == Some(&leaf);
            ready += usize::from(live && *epoch >= arrival.epoch);
            live || *epoch > arrival.epoch
        });
        self.unacknowledged = self.others.len() - ready;
        if arrival.receive_only {
            return;
        }
        let wait = match self.current {
            None => Duration::ZERO,
            Some(_) if !arrival.removed.is_empty() => self.timing.after_removal,
            Some(_) => self.timing.otherwise,
        };
        let own = now + wait;
        self.target = Some(Target {
            epoch: arrival.epoch,
            deadline: self.target.map_or(own, |target| target.deadline.min(own)),
            joined: !arrival.joined.is_empty() || self.target.is_some_and(|target| target.joined),
        });
    }

    /// Takes in that the member at `leaf` has the receive keys of `epoch` and all before.
    /// Returns whether that made everybody ready.
    pub(crate) fn acknowledge(&mut self, leaf: u32, epoch: u64) -> bool {
        let Some(newest) = self.newest else { return false };
        let live = self.others.binary_search(&leaf).is_ok();
        let early = epoch > newest && epoch - newest <= FUTURE_EPOCHS;
        if !(live || early && self.acknowledged.len() < self.others.len() + self.early_limit) {
            return false;
        }
        let before = self.acknowledged.get(&leaf).copied();
        if before.is_some_and(|before| before >= epoch) {
            return false;
        }
        self.acknowledged.insert(leaf, epoch);
        let completes = live && epoch >= newest && before.is_none_or(|before| before < newest);
        if completes {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        completes && self.unacknowledged == 0
    }

    /// The switch that is due now, if one is; it counts as done.
    pub(crate) fn take_due(&mut self, now: Now) -> Option<Switch> {
        let target = self.target?;
        let ready = self.everybody_is_ready() && self.newest == Some(target.epoch);
        let cause = if self.current.is_none() {
            SwitchCause::First
        } else if ready {
            SwitchCause::Acknowledged
        } else if target.deadline <= now {
            SwitchCause::Deadline
        } else {
            return None;
        };
        self.target = None;
        self.current = Some(target.epoch);
        Some(Switch { epoch: target.epoch, cause, joined: target.joined })
    }

    /// Whether the member at `leaf` has acknowledged `epoch`.
    pub(crate) fn has_acknowledged(&self, leaf: u32, epoch: u64) -> bool {
        self.acknowledged.get(&leaf).is_some_and(|&acknowledged| acknowledged >= epoch)
    }
}
