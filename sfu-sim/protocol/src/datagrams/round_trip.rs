//! How long a confirmation takes (RFC 6298 section 2, with bounds of its own).

use std::time::Duration;

/// Before anything was measured.
const FIRST: Duration = Duration::from_millis(300);

/// At least so much later than a round trip a confirmation may come.
const SLACK: Duration = Duration::from_millis(30);

const LONGEST: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
}

impl RoundTrip {
    /// A greeting was confirmed after this time: what was known of an earlier network counts no more.
    pub(super) fn begin(&mut self, sample: Duration) {
        self.smoothed = Some(sample.min(LONGEST));
        self.variation = Duration::ZERO;
    }

    /// A message was confirmed after this time.
    pub(super) fn measured(&mut self, sample: Duration) {
        let Some(smoothed) = self.smoothed else { return self.begin(sample) };
        let deviation = smoothed.abs_diff(sample);
        self.smoothed = Some(if sample < smoothed {
            // The longer one has probably waited for a retransmission: that wears off quickly.
            self.variation = self.variation * 3 / 4;
            (smoothed + sample) / 2
        } else {
            self.variation = (self.variation * 3 + deviation) / 4;
            (smoothed * 7 + sample) / 8
        });
    }

    /// How long to wait for a confirmation.
    pub(super) fn patience(&self) -> Duration {
        let Some(smoothed) = self.smoothed else { return FIRST };
        (smoothed + SLACK.max(self.variation * 4)).min(LONGEST)
    }
}
