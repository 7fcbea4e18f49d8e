use std::time::{Duration, Instant};

/// Turns many requests for a keyframe into few.
///
/// The first request is due at once; those that follow within the interval are due together at its end, so
/// that the last one is never lost.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Throttle {
    pub(super) fn request(&mut self, now: Instant, interval: Duration) {
        if self.due.is_none() {
            self.due = Some(self.last.map_or(now, |last| now.max(last + interval)));
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn take_due(&mut self, now: Instant, interval: Duration) -> bool {
        match self.due {
            Some(due) if due <= now => {
                self.due = None;
                self.last = (interval > Duration::ZERO).then_some(now);
                true
            }
            _ => false,
        }
    }
}
