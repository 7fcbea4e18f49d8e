//! How many messages a client may send.

use std::time::{Duration, Instant};

/// A token bucket: `per_second` on average, twice as many at once.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_second: f64,
    allowance: f64,
    last: Instant,
}

impl RateLimit {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, allowance: per_second * 2.0, last: now }
    }

    /// Takes one message; or says after which time one more is welcome.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.allowance = (self.allowance + elapsed * self.per_second).min(self.per_second * 2.0);
        if self.allowance < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.allowance) / self.per_second));
        }
        self.allowance -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_pass_and_floods_do_not() {
        let start = Instant::now();
        let mut limit = RateLimit::new(10, start);
        assert_eq!((0..30).filter(|_| limit.take(start).is_ok()).count(), 20);
        let wait = limit.take(start).unwrap_err();
        assert!(wait <= Duration::from_millis(100));
        assert!(limit.take(start + wait + Duration::from_millis(1)).is_ok());
        assert!(limit.take(start + wait + Duration::from_millis(1)).is_err());
    }
}
