//! A rate by the clock of this process.

use std::time::{Duration, Instant};

use crate::delivery::{Now, Rate, TokenBucket};

/// `per_second` on average, twice as many at once.
#[derive(Debug)]
pub(crate) struct RateLimit {
    rate: Rate,
    bucket: TokenBucket,
    origin: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let rate = Rate { burst: per_second.saturating_mul(2), per_second: f64::from(per_second) };
        let bucket = TokenBucket::full(rate, Now::from_unix_micros(0));
        Self { rate, bucket, origin: now }
    }

    /// Takes one message; or says after which time one more is welcome.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let since = now.saturating_duration_since(self.origin).as_micros();
        let now = Now::from_unix_micros(u64::try_from(since).unwrap_or(u64::MAX));
        self.bucket.take(self.rate, now)
    }
}
