//! What a simulation found.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::scenario::{Fidelity, SignallingPath, Targets};

/// Durations as they are collected.
#[derive(Clone, Default)]
pub(super) struct Durations(Option<Histogram<u64>>);

impl Durations {
    pub(super) fn add(&mut self, duration: Duration) {
        // Three significant figures; up to an hour in microseconds.
        let histogram = match &mut self.0 {
            Some(histogram) => histogram,
            none => match Histogram::new_with_bounds(1, 3_600_000_000, 3) {
                Ok(histogram) => none.insert(histogram),
                Err(_) => return,
            },
        };
        histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let Some(histogram) = &self.0 else { return Percentiles::default() };
        let at = |percentile| histogram.value_at_percentile(percentile) as f64 / 1e3;
        Percentiles {
            p50: at(50.0),
            p99: at(99.0),
            max: at(100.0),
            mean: (histogram.mean() * 10.0).round() / 1e4,
            count: histogram.len(),
        }
    }
}

/// A distribution in milliseconds, to three significant figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// How many there were.
    pub count: u64,
}

/// What became of frames, once for each receiver. `sent` is the sum of `received`, `lost_in_transport`,
/// `undecryptable_no_key` and `undecryptable_other`, and of what is still on its way at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Frames {
    /// Sent and meant for the receiver.
    pub sent: u64,
    /// Arrived, and the receiver held the key.
    pub received: u64,
    /// Lost on the way.
    pub lost_in_transport: u64,
    /// Arrived, and the key was not there in time.
    pub undecryptable_no_key: u64,
    /// Could not be opened with the right key. Only of frames that are really opened.
    pub undecryptable_other: u64,
    /// The reasons of both.
    pub undecryptable_by_cause: BTreeMap<&'static str, u64>,
    /// Of the frames received, those that waited for their key.
    pub waited: u64,
    /// Of an epoch before the receiver joined: it must not be able to read them. Not in `sent`.
    pub before_join: u64,
    /// On its way, or waiting, when the receiver left. Not in `sent`.
    pub on_the_way: u64,
    /// Of the frames received, those opened by the real cryptography.
    pub really_opened: u64,
}

/// A target and what came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// What it is about.
    pub name: &'static str,
    /// The limit in the scenario.
    pub limit: f64,
    /// What came out.
    pub value: f64,
    /// Whether that is within the limit.
    pub met: bool,
}

/// What a simulation found. The same scenario and seed give the same report, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Which members ran all of the real code.
    pub fidelity: Fidelity,
    /// How signalling travelled.
    pub signalling: SignallingPath,
    /// The time simulated and measured, in seconds.
    pub duration_s: f64,
    /// The greatest number of members at a time.
    pub members: u64,
    /// Of those that ever were, how many ran all of the real code.
    pub full_members: u64,
    /// Changes of the roster that were committed.
    pub roster_changes: u64,
    /// Epochs that began.
    pub epochs: u64,
    /// From the moment when the delivery service knows of a change to the switch of the last sender.
    pub rotation_ms: Percentiles,
    /// The same for joins alone.
    pub rotation_after_join_ms: Percentiles,
    /// The same for leaves, kicks and disappearances: how long the member that is removed could still read.
    pub exposure_ms: Percentiles,
    /// From the moment when the delivery service knows of a change until the last member has the new keys.
    pub receivers_ready_ms: Percentiles,
    /// From the wish to join to the first frame opened.
    pub join_to_first_frame_ms: Percentiles,
    /// How long frames waited for their key, those that waited.
    pub key_wait_ms: Percentiles,
    /// What became of frames.
    pub frames: Frames,
    /// Frames sent after the last sender had switched, under a key that a removed member has. Must be 0.
    pub after_leave_opened: u64,
    /// The same of senders that have just joined, or were away, until they have caught up.
    pub after_leave_opened_of_late: u64,
    /// Signalling of a member, both ways, headers included.
    pub key_traffic_kbit_s_per_member: f64,
    /// The same in bytes.
    pub key_traffic_bytes_per_member_minute: f64,
    /// The server's messages in bytes by kind, without headers and repetitions.
    pub told_bytes_per_member_minute: BTreeMap<&'static str, f64>,
    /// Processor time for key management as modelled, of a member in a minute.
    pub cpu_ms_per_member_minute: f64,
    /// Commits that another one had overtaken.
    pub commits_lost_in_races: u64,
    /// Returns by external commit.
    pub resyncs: u64,
    /// Epochs that two commits won. Must be 0.
    pub epochs_with_two_winners: u64,
    /// Requests refused by the delivery service, by code.
    pub refused: BTreeMap<&'static str, u64>,
    /// What members noticed that should be rare.
    pub noticed: BTreeMap<&'static str, u64>,
    /// Bytes, where they are known without measuring the process.
    pub memory: Memory,
    /// Whether in the end all who were connected were in one epoch with one key.
    pub converged: bool,
    /// The targets one by one.
    pub targets: Vec<Target>,
    /// Whether all targets were met and the call converged.
    pub targets_met: bool,
}

/// Bytes held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// The most that the delivery service's log held.
    pub log_bytes: u64,
    /// The most that waited for keys at one member.
    pub waiting_bytes: u64,
}

impl Report {
    /// Compares with what was asked for.
    pub(super) fn judge(&mut self, targets: &Targets) {
        let no_key = targets.undecryptable_no_key.map(|limit| Target {
            name: "undecryptable_no_key",
            limit: limit as f64,
            value: self.frames.undecryptable_no_key as f64,
            met: self.frames.undecryptable_no_key <= limit,
        });
        let below = [
            ("rotation_p99_ms", targets.rotation_p99_ms, self.rotation_ms.p99),
            ("exposure_p99_ms", targets.exposure_p99_ms, self.exposure_ms.p99),
            ("key_traffic_kbit_s", targets.key_traffic_kbit_s, self.key_traffic_kbit_s_per_member),
            (
                "join_to_first_frame_p99_ms",
                targets.join_to_first_frame_p99_ms,
                self.join_to_first_frame_ms.p99,
            ),
        ];
        let below = below.into_iter().filter_map(|(name, limit, value)| {
            limit.map(|limit| Target { name, limit, value, met: value < limit })
        });
        self.targets = no_key.into_iter().chain(below).collect();
        self.targets_met = self.converged
            && self.after_leave_opened == 0
            && self.epochs_with_two_winners == 0
            && self.targets.iter().all(|target| target.met);
    }

    /// As JSON, in the same order every time.
    ///
    /// # Errors
    /// None that a report can cause.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// As JSON on one line.
    ///
    /// # Errors
    /// None that a report can cause.
    pub fn to_json_line(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}
