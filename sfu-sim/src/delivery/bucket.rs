use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Now;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// How many a second are allowed in the long run. Zero or less means that none comes back.
    pub per_second: f64,
}

/// Counts down what a [`Rate`] allows. Time comes in as an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    tokens: f64,
    filled: Now,
}

impl TokenBucket {
    pub(crate) fn full(rate: Rate, now: Now) -> Self {
        Self { tokens: f64::from(rate.burst), filled: now }
    }

    /// Whether it holds all that a rate allows at once, like one that nothing was taken from.
    pub(crate) fn is_full(&self, rate: Rate, now: Now) -> bool {
        self.filled_up(rate, now) >= f64::from(rate.burst)
    }

    fn filled_up(&self, rate: Rate, now: Now) -> f64 {
        let elapsed = now.since(self.filled).as_secs_f64();
        (self.tokens + elapsed * rate.per_second.max(0.0)).min(f64::from(rate.burst))
    }

    /// Takes one, or says after how long one will be there.
    pub(crate) fn take(&mut self, rate: Rate, now: Now) -> Result<(), Duration> {
        self.tokens = self.filled_up(rate, now);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / rate.per_second.max(f64::MIN_POSITIVE);
        Err(Duration::from_secs_f64(wait.min(3600.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let rate = Rate { burst: 3, per_second: 2.0 };
        let start = Now::from_unix_micros(1_000_000);
        let mut bucket = TokenBucket::full(rate, start);
        for _ in 0..3 {
            bucket.take(rate, start).unwrap();
        }
        assert_eq!(bucket.take(rate, start), Err(Duration::from_millis(500)));
        let later = start + Duration::from_millis(500);
        bucket.take(rate, later).unwrap();
        assert!(bucket.take(rate, later).is_err());
        assert!(!bucket.is_full(rate, later + Duration::from_millis(1_499)));
        let much_later = later + Duration::from_secs(3600);
        assert!(bucket.is_full(rate, much_later));
        for _ in 0..3 {
            bucket.take(rate, much_later).unwrap();
        }
        assert!(bucket.take(rate, much_later).is_err());
    }

    #[test]
    fn a_rate_of_zero_never_refills_nor_divides_by_zero() {
        let rate = Rate { burst: 1, per_second: 0.0 };
        let start = Now::from_unix_micros(0);
        let mut bucket = TokenBucket::full(rate, start);
        bucket.take(rate, start).unwrap();
        assert_eq!(
            bucket.take(rate, start + Duration::from_secs(999)),
            Err(Duration::from_secs(3600))
        );
    }
}
