//! Which frames a receiver considers at all: the checks that need no key.

use crate::error::ReceiveError;
use crate::installed_epoch::InstalledEpoch;
use crate::kid::KidParts;
use crate::time::Now;
use core::time::Duration;

/// Bounds on what is received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceiveLimits {
    /// The longest frame, header and tag included. Default 4 MiB.
    pub frame_length: usize,
    /// Contexts each member may use in an epoch: those below this number. Default 64.
    pub contexts: u32,
    /// Frames (or packets, if each is encrypted) that one context may send in a second.
    /// Default 1,000. A counter above what the epoch's age allows at this rate is refused.
    pub frame_rate: u32,
    /// How much older than known here an epoch may be, because the sender saw it begin earlier.
    /// Default 10 s.
    pub age_slack: Duration,
}

impl Default for ReceiveLimits {
    fn default() -> Self {
        Self {
            frame_length: 4 << 20,
            contexts: 64,
            frame_rate: 1_000,
            age_slack: Duration::from_secs(10),
        }
    }
}

impl ReceiveLimits {
    fn highest_counter(&self, age: Duration) -> u64 {
        let millis = age.saturating_add(self.age_slack).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).saturating_mul(self.frame_rate.into()) / 1_000
    }
}

/// Refuses a frame of more than `limit` bytes.
#[inline]
pub(crate) fn check_length(limit: usize, frame: &[u8]) -> Result<(), ReceiveError> {
    let found = frame.len();
    if found > limit { Err(ReceiveError::TooLong { limit, found }) } else { Ok(()) }
}

/// Which leaves a receiver takes: those with `leaf % count == index`. None at all if `count` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    pub(crate) index: u32,
    pub(crate) count: u32,
}

impl Share {
    pub(crate) const ALL: Self = Self { index: 0, count: 1 };
    pub(crate) const NOTHING: Self = Self { index: 0, count: 0 };

    pub(crate) fn takes(self, leaf: u32) -> bool {
        self.count == 1 || leaf.checked_rem(self.count) == Some(self.index)
    }
}

/// The rules of one receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    pub(crate) limits: ReceiveLimits,
    pub(crate) share: Share,
}

impl Admission {
    /// Checks a KID. As long as the epoch is kept the answer stays the same.
    pub(crate) fn check_kid(
        &self,
        parts: KidParts,
        epoch: &InstalledEpoch,
    ) -> Result<(), ReceiveError> {
        let leaf = parts.leaf;
        if leaf == epoch.own_leaf {
            return Err(ReceiveError::OwnKid);
        }
        if !epoch.live.contains(leaf) {
            return Err(ReceiveError::BlankLeaf { leaf });
        }
        if parts.context >= u64::from(self.limits.contexts) {
            let (context, limit) = (parts.context, self.limits.contexts);
            return Err(ReceiveError::ContextNotAllowed { context, limit });
        }
        if !self.share.takes(leaf) {
            return Err(ReceiveError::OtherReceiver { leaf });
        }
        Ok(())
    }

    /// Checks a counter. `allowed` is one that an earlier age of the epoch has allowed, so that
    /// not every frame computes it.
    #[inline]
    pub(crate) fn check_counter(
        &self,
        ctr: u64,
        allowed: &mut u64,
        epoch: &InstalledEpoch,
        now: Now,
    ) -> Result<(), ReceiveError> {
        if ctr <= *allowed {
            return Ok(());
        }
        self.check_counter_anew(ctr, allowed, epoch, now)
    }

    #[cold]
    fn check_counter_anew(
        &self,
        ctr: u64,
        allowed: &mut u64,
        epoch: &InstalledEpoch,
        now: Now,
    ) -> Result<(), ReceiveError> {
        *allowed = self.limits.highest_counter(epoch.age(now));
        if ctr > *allowed {
            return Err(ReceiveError::CounterTooFarAhead { ctr, limit: *allowed });
        }
        Ok(())
    }
}
