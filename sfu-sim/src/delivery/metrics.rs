use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::RefusalCode;

/// The upper bounds of [`LatencyHistogram`]'s buckets, in seconds; one more bucket holds the rest.
pub const LATENCY_BOUNDS: [f64; 10] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// How long something took, counted in buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatencyHistogram {
    /// How many fell into each bucket (not cumulative); the last one has no upper bound.
    pub counts: [u64; LATENCY_BOUNDS.len() + 1],
    /// All of them added up, in seconds.
    pub sum: f64,
}

impl LatencyHistogram {
    pub(super) fn observe(&mut self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What a delivery service counts. Counters only rise; gauges say how it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryMetrics {
    /// Counter: groups created.
    pub groups_created: u64,
    /// Counter: groups that ended, by cause: `abandoned`, `failed`, `damaged`.
    pub groups_closed: BTreeMap<&'static str, u64>,
    /// Counter: commits submitted here that won their epoch, resyncs included.
    pub commits_accepted: u64,
    /// Counter: commits refused, by [`RefusalCode`]; those that lost their epoch count as `stale_epoch`.
    pub commits_refused: BTreeMap<&'static str, u64>,
    /// Counter: proposals logged.
    pub proposals_accepted: u64,
    /// Counter: members added.
    pub members_added: u64,
    /// Counter: members removed, by reason.
    pub members_removed: BTreeMap<&'static str, u64>,
    /// Counter: requests refused, by [`RefusalCode`].
    pub refused: BTreeMap<&'static str, u64>,
    /// Counter: resyncs among the commits.
    pub resyncs: u64,
    /// Counter: turns of the log for which the storage let two appends win. Must stay 0.
    pub epochs_with_two_winners: u64,
    /// Counter: records of the log that could not be read or are not valid, and were passed over.
    pub invalid_records: u64,
    /// Counter: answers of the storage that were errors.
    pub storage_errors: u64,
    /// Counter: acknowledgements received.
    pub acknowledgements: u64,
    /// Counter: acknowledgements with another external public key than that of the epoch's GroupInfo.
    pub external_pubs_disputed: u64,
    /// Counter: heartbeats received.
    pub heartbeats: u64,
    /// Counter: failure reports received.
    pub failure_reports: u64,
    /// Counter: members whose connection was lost for longer than the grace period.
    pub gone: u64,
    /// How long appends took, from the request to the storage until its answer.
    pub append_latency: LatencyHistogram,
    /// Gauge: members of the group.
    pub members: u64,
    /// Gauge: the group's epoch.
    pub epoch: u64,
    /// Gauge: pending changes.
    pub pending: u64,
    /// Gauge: entries of the log that are kept for members that were away.
    pub log_entries: u64,
    /// Gauge: their bytes.
    pub log_bytes: u64,
}

impl DeliveryMetrics {
    pub(super) fn refuse_commit(&mut self, code: &RefusalCode) {
        *self.commits_refused.entry(code.name()).or_default() += 1;
    }

    pub(super) fn refuse(&mut self, code: &RefusalCode) {
        *self.refused.entry(code.name()).or_default() += 1;
    }
}
