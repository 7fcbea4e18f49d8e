//! Which messages have come with all of their datagrams, and which have not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::part::Part;

/// After this time what has not come is lost: more than the spacing of a message's datagrams and the jitter of networks.
const PATIENCE: Duration = Duration::from_millis(60);

/// Messages that are watched at a time.
const MAX_WATCHED: usize = 64;

#[derive(Debug)]
struct Watched {
    until: Duration,
    /// Datagrams that are still to come; unknown if the message came over the stream first.
    missing: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    watched: BTreeMap<u32, Watched>,
}

impl Arrivals {
    /// A part of a message came that is not complete yet, or is with it.
    pub(super) fn first(&mut self, part: &Part<'_>, now: Duration) {
        self.watch(part.number, now);
        self.more(part);
    }

    /// Another datagram of a message came.
    pub(super) fn more(&mut self, part: &Part<'_>) {
        let Some(watched) = self.watched.get_mut(&part.number) else { return };
        let missing = watched.missing.unwrap_or_else(|| part.datagrams()).saturating_sub(1);
        watched.missing = Some(missing);
        if missing == 0 {
            self.watched.remove(&part.number);
        }
    }

    /// Datagrams of a message are to come by now.
    pub(super) fn watch(&mut self, number: u32, now: Duration) {
        let until = now.saturating_add(PATIENCE);
        self.watched.entry(number).or_insert(Watched { until, missing: None });
        if self.watched.len() > MAX_WATCHED {
            self.watched.pop_first();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.watched.values().map(|watched| watched.until).min()
    }

    /// Whether there are datagrams that have not come in time. Each message counts once.
    pub(super) fn take_losses(&mut self, now: Duration) -> bool {
        let before = self.watched.len();
        self.watched.retain(|_, watched| watched.until > now);
        self.watched.len() < before
    }
}
