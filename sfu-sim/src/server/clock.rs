//! One clock for everything that the delivery service is told.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::delivery::Now;

/// The wall clock as it stood at the start, carried on by monotonic time: it never goes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    unix: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), unix }
    }

    pub(super) fn now(&self) -> Now {
        let elapsed = self.unix.saturating_add(self.start.elapsed());
        Now::from_unix_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// The same moment on the runtime's clock.
    pub(super) fn instant(&self, at: Now) -> Instant {
        let unix = Duration::from_micros(at.as_unix_micros());
        self.start + unix.saturating_sub(self.unix)
    }
}
