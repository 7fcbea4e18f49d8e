//! The report of a run: its JSON form and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::file::Limits;
use super::ledger::{FrameCounts, Tally};
use super::timeline::Timeline;

/// The targets that the product sets itself at its default settings, in milliseconds.
pub const SWITCH_TARGET_MS: f64 = 400.0;
/// See [`SWITCH_TARGET_MS`].
pub const JOIN_TARGET_MS: f64 = 1000.0;

/// Median, 99th percentile and maximum, in milliseconds, by the nearest-rank method. Nothing where
/// nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many values there were.
    pub count: usize,
    /// The median.
    pub p50: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

impl Percentiles {
    /// Of these durations, in any order.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<_> = durations.into_iter().collect();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
            sorted.get(rank).map(|value| round(value.as_secs_f64() * 1000.0))
        };
        Self { count: sorted.len(), p50: rank(50), p99: rank(99), max: rank(100) }
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A pair of participants in the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairReport {
    /// Who sent.
    pub from: String,
    /// Who was to receive.
    pub to: String,
    /// What became of the frames.
    #[serde(flatten)]
    pub frames: FrameCounts,
}

/// One removal in the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RemovalReport {
    /// Who.
    pub who: String,
    /// `left`, `gone`, `moderator` or `rejoins`.
    pub reason: sfu_sim::protocol::RemovalReason,
    /// When the delivery service had it, in seconds from the start.
    pub at_s: f64,
    /// The epoch without it.
    pub epoch: Option<u64>,
    /// Until the last remaining sender switched.
    pub switch_ms: Option<f64>,
}

/// One join in the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JoinReport {
    /// Who.
    pub who: String,
    /// When it asked, in seconds from the start.
    pub at_s: f64,
    /// Until the first opened video frame; nothing for whoever came first.
    pub first_frame_ms: Option<f64>,
}

/// What one kind of attempt with the wrong keys came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttemptReport {
    /// Whose keys were tried.
    pub members: u64,
    /// Frames on which they were tried.
    pub frames: u64,
    /// Keys tried on frames, in all.
    pub attempts: u64,
    /// Frames that opened. Must be 0.
    pub opened: u64,
}

/// What the process used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// The largest resident memory, in MiB.
    pub peak_rss_mb: f64,
    /// Processor time of all threads, in seconds.
    pub cpu_seconds: f64,
}

/// Everything that a run measured. The names are part of the product.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The version of the programs.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// How many participants the scenario has.
    pub participants: usize,
    /// How many roster changes commits carried out.
    pub roster_changes: usize,
    /// How many epochs the group had.
    pub epochs: usize,
    /// What became of the frames.
    pub frames: FrameCounts,
    /// How long frames waited for their keys.
    pub waited_ms: Percentiles,
    /// Frames of later epochs that somebody who had left could open. Must be 0.
    pub after_leave_opened: u64,
    /// Frames of earlier epochs that a newcomer could open. Must be 0.
    pub before_join_opened: u64,
    /// The attempts behind `after_leave_opened`.
    pub after_leave: AttemptReport,
    /// The attempts behind `before_join_opened`.
    pub before_join: AttemptReport,
    /// Frames under a (key, counter) that had been used. Must be 0.
    pub reused_counters: u64,
    /// From a leave's arrival at the delivery service until the last remaining sender switched.
    pub switch_ms: Percentiles,
    /// From the join request to the first opened video frame.
    pub join_to_first_frame_ms: Percentiles,
    /// From a crash until the delivery service decided that the member is gone.
    pub crash_detection_ms: Percentiles,
    /// Each removal.
    pub removals: Vec<RemovalReport>,
    /// Each join.
    pub joins: Vec<JoinReport>,
    /// Each pair of participants.
    pub pairs: Vec<PairReport>,
    /// The largest resident memory, in MiB.
    pub peak_rss_mb: f64,
    /// Processor time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// What did not go as promised, in words. Empty if all promises held.
    pub failures: Vec<String>,
    /// The program's exit code.
    pub exit_code: u8,
}

/// What a report is made from.
#[derive(Debug)]
pub struct Measured<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// How many participants it has.
    pub participants: usize,
    /// The roster changes that it asks for.
    pub expected_changes: usize,
    /// Its bounds.
    pub limits: &'a Limits,
    /// How long it took.
    pub duration: Duration,
    /// The frames.
    pub tally: &'a Tally,
    /// The times.
    pub timeline: &'a Timeline,
    /// Attempts with the keys of those who had left.
    pub after_leave: AttemptReport,
    /// Attempts with the keys of those who came later.
    pub before_join: AttemptReport,
    /// What the process used.
    pub usage: Usage,
    /// Steps that did not happen as written, in words.
    pub mishaps: &'a [String],
}

/// How a run ended. The numbers are the exit codes of `call`; the gravest one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// All promises held.
    Held = 0,
    /// The run could not be carried out: no server, no file, no socket.
    Broken = 1,
    /// The command line or the scenario file is wrong.
    BadInput = 2,
    /// A frame could not be opened by somebody it was meant for.
    Undecryptable = 3,
    /// A frame was opened and is not what was sent.
    Mismatched = 4,
    /// Somebody who had left could open later frames.
    AfterLeaveOpened = 5,
    /// A newcomer could open earlier frames.
    BeforeJoinOpened = 6,
    /// A counter was used twice under one key.
    ReusedCounter = 7,
    /// A measured time or the loss is beyond the scenario's limits.
    LimitExceeded = 8,
    /// The call did not go as the scenario says: somebody could not join, a change did not happen.
    OffScript = 9,
}

impl Report {
    /// Puts the measurements together and judges them.
    pub fn new(measured: &Measured<'_>) -> Self {
        let timeline = measured.timeline;
        let removals = timeline.removals();
        let joins = timeline.joins();
        let millis = |duration: Duration| round(duration.as_secs_f64() * 1000.0);
        let seconds = |duration: Duration| (duration.as_secs_f64() * 1000.0).round() / 1000.0;
        let mut report = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: measured.scenario.to_owned(),
            duration_s: seconds(measured.duration),
            participants: measured.participants,
            roster_changes: timeline.roster_changes(),
            epochs: timeline.epochs(),
            frames: measured.tally.frames.clone(),
            waited_ms: Percentiles::of(measured.tally.waits.iter().copied()),
            after_leave_opened: measured.after_leave.opened,
            before_join_opened: measured.before_join.opened,
            after_leave: measured.after_leave.clone(),
            before_join: measured.before_join.clone(),
            reused_counters: measured.tally.reused_counters,
            switch_ms: Percentiles::of(removals.iter().filter_map(|r| r.switched_after)),
            join_to_first_frame_ms: Percentiles::of(
                joins
                    .iter()
                    .filter_map(|join| join.first_frame_after.filter(|_| join.somebody_sent)),
            ),
            crash_detection_ms: Percentiles::of(timeline.crash_detection()),
            removals: removals
                .iter()
                .map(|removal| RemovalReport {
                    who: removal.name.clone(),
                    reason: removal.reason,
                    at_s: seconds(removal.at),
                    epoch: removal.epoch,
                    switch_ms: removal.switched_after.map(millis),
                })
                .collect(),
            joins: joins
                .iter()
                .map(|join| JoinReport {
                    who: join.name.clone(),
                    at_s: seconds(join.at),
                    first_frame_ms: join
                        .first_frame_after
                        .filter(|_| join.somebody_sent)
                        .map(millis),
                })
                .collect(),
            pairs: pairs(&measured.tally.pairs),
            peak_rss_mb: round(measured.usage.peak_rss_mb),
            cpu_seconds: round(measured.usage.cpu_seconds),
            failures: Vec::new(),
            exit_code: 0,
        };
        let faults = judge(measured, &report);
        report.exit_code = faults
            .iter()
            .map(|fault| fault.verdict as u8)
            .min_by_key(|code| gravity(*code))
            .unwrap_or(0);
        report.failures = faults.into_iter().map(|fault| fault.words).collect();
        report
    }

    /// The report as JSON, for people and programs.
    ///
    /// # Errors
    ///
    /// serde's, which does not happen for this type.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

fn pairs(pairs: &BTreeMap<(String, String), FrameCounts>) -> Vec<PairReport> {
    pairs
        .iter()
        .map(|((from, to), frames)| PairReport {
            from: from.clone(),
            to: to.clone(),
            frames: frames.clone(),
        })
        .collect()
}

struct Fault {
    verdict: Verdict,
    words: String,
}

/// Secrets come first, then content, then what can be seen, then time.
fn gravity(code: u8) -> usize {
    const ORDER: [u8; 9] = [
        Verdict::Broken as u8,
        Verdict::BadInput as u8,
        Verdict::AfterLeaveOpened as u8,
        Verdict::BeforeJoinOpened as u8,
        Verdict::ReusedCounter as u8,
        Verdict::Mismatched as u8,
        Verdict::Undecryptable as u8,
        Verdict::OffScript as u8,
        Verdict::LimitExceeded as u8,
    ];
    ORDER.iter().position(|known| *known == code).unwrap_or(ORDER.len())
}

fn judge(measured: &Measured<'_>, report: &Report) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |verdict, words: String| faults.push(Fault { verdict, words });
    let frames = &report.frames;
    if report.after_leave_opened > 0 {
        let words = format!(
            "{} frames could be opened by somebody who had left",
            report.after_leave_opened
        );
        fault(Verdict::AfterLeaveOpened, words);
    }
    if report.before_join_opened > 0 {
        let words =
            format!("{} earlier frames could be opened by a newcomer", report.before_join_opened);
        fault(Verdict::BeforeJoinOpened, words);
    }
    if report.reused_counters > 0 {
        let words =
            format!("{} frames under a key and counter used before", report.reused_counters);
        fault(Verdict::ReusedCounter, words);
    }
    if frames.mismatched > 0 {
        fault(
            Verdict::Mismatched,
            format!("{} frames differ from what was sent", frames.mismatched),
        );
    }
    for (reason, count) in &frames.undecryptable_by_reason {
        fault(Verdict::Undecryptable, format!("{count} frames could not be opened: {reason}"));
    }
    if frames.received == 0 {
        fault(Verdict::OffScript, "no frame was received".to_owned());
    }
    for mishap in measured.mishaps {
        fault(Verdict::OffScript, mishap.clone());
    }
    if report.roster_changes < measured.expected_changes {
        let words = format!(
            "{} roster changes were carried out, the scenario asks for {}",
            report.roster_changes, measured.expected_changes
        );
        fault(Verdict::OffScript, words);
    }
    for removal in measured.timeline.removals() {
        for name in &removal.never_switched {
            let words = format!("{name} never switched its key after {} had left", removal.name);
            fault(Verdict::OffScript, words);
        }
    }
    for join in report.joins.iter().zip(measured.timeline.joins()) {
        if join.1.somebody_sent && join.1.first_frame_after.is_none() {
            fault(Verdict::OffScript, format!("{} never saw a picture", join.0.who));
        }
    }
    let over = |limit: Option<f64>, value: Option<f64>| matches!((limit, value), (Some(l), Some(v)) if v > l);
    if over(measured.limits.switch_ms, report.switch_ms.max) {
        fault(
            Verdict::LimitExceeded,
            "switching after a leave took longer than the limit".to_owned(),
        );
    }
    if over(measured.limits.join_to_first_frame_ms, report.join_to_first_frame_ms.max) {
        fault(Verdict::LimitExceeded, "a first picture took longer than the limit".to_owned());
    }
    let lost = frames.lost_in_transport as f64 / (frames.sent as f64).max(1.0);
    if over(measured.limits.lost_share, Some(lost)) {
        let words = format!("{:.2} % of the frames were lost in transport", lost * 100.0);
        fault(Verdict::LimitExceeded, words);
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ledger::MemberId;
    use sfu_sim::protocol::RemovalReason;

    #[test]
    fn percentiles_by_nearest_rank() {
        let of = |values: &[u64]| Percentiles::of(values.iter().map(|v| Duration::from_millis(*v)));
        let hundred = of(&(1..=100).rev().collect::<Vec<_>>());
        assert_eq!((hundred.p50, hundred.p99, hundred.max), (Some(50.0), Some(99.0), Some(100.0)));
        let three = of(&[5, 1, 9]);
        assert_eq!((three.p50, three.p99, three.max), (Some(5.0), Some(9.0), Some(9.0)));
        assert_eq!(of(&[]), Percentiles::default());
    }

    fn measured<'a>(tally: &'a Tally, timeline: &'a Timeline, limits: &'a Limits) -> Measured<'a> {
        Measured {
            scenario: "small",
            participants: 2,
            expected_changes: 2,
            limits,
            duration: Duration::from_secs(3),
            tally,
            timeline,
            after_leave: AttemptReport::default(),
            before_join: AttemptReport::default(),
            usage: Usage { peak_rss_mb: 12.34, cpu_seconds: 1.0 },
            mishaps: &[],
        }
    }

    fn calm() -> (Tally, Timeline) {
        let frames = FrameCounts { sent: 100, received: 100, ..FrameCounts::default() };
        let tally = Tally { frames, ..Tally::default() };
        let mut timeline = Timeline::default();
        let alice = MemberId(0);
        timeline.asked_to_join(alice, "alice", Duration::ZERO, true, false);
        timeline.epoch_began(alice, 0, [], Duration::ZERO);
        let added = crate::scenario::timeline::RosterChange::Added("bob".to_owned());
        timeline.epoch_began(alice, 1, [added], Duration::from_secs(1));
        let removed = crate::scenario::timeline::RosterChange::Removed("bob".to_owned());
        timeline.removal_pending(1, "bob", RemovalReason::Left, Duration::from_secs(2), 1);
        timeline.epoch_began(alice, 2, [removed], Duration::from_millis(2010));
        timeline.switched(alice, 2, Duration::from_millis(2120));
        (tally, timeline)
    }

    #[test]
    fn all_promises_held() {
        let (tally, timeline) = calm();
        let limits = Limits { switch_ms: Some(150.0), ..Limits::default() };
        let report = Report::new(&measured(&tally, &timeline, &limits));
        assert_eq!(report.failures, Vec::<String>::new());
        assert_eq!(report.exit_code, Verdict::Held as u8);
        let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        for name in [
            "participants",
            "roster_changes",
            "epochs",
            "after_leave_opened",
            "before_join_opened",
            "peak_rss_mb",
            "cpu_seconds",
        ] {
            assert!(json[name].is_number(), "{name}");
        }
        for name in
            ["sent", "received", "lost_in_transport", "waited", "undecryptable", "mismatched"]
        {
            assert!(json["frames"][name].is_number(), "{name}");
        }
        assert_eq!(json["switch_ms"]["p50"], 120.0);
        assert_eq!(json["switch_ms"]["p99"], 120.0);
        assert_eq!(json["switch_ms"]["max"], 120.0);
        assert!(json["join_to_first_frame_ms"]["max"].is_null());
        assert_eq!(json["scenario"], "small");
        assert!(json["version"].is_string());
    }

    #[test]
    fn the_gravest_failure_gives_the_exit_code() {
        let (mut tally, timeline) = calm();
        let limits = Limits { switch_ms: Some(100.0), ..Limits::default() };
        let code = |tally: &Tally, change: fn(&mut Measured<'_>)| {
            let mut measured = measured(tally, &timeline, &limits);
            change(&mut measured);
            Report::new(&measured).exit_code
        };
        assert_eq!(code(&tally, |_| {}), Verdict::LimitExceeded as u8);
        assert_eq!(code(&tally, |m| m.expected_changes = 3), Verdict::OffScript as u8);
        tally.frames.undecryptable_by_reason.insert("no key".to_owned(), 1);
        assert_eq!(code(&tally, |_| {}), Verdict::Undecryptable as u8);
        tally.frames.mismatched = 1;
        assert_eq!(code(&tally, |_| {}), Verdict::Mismatched as u8);
        tally.reused_counters = 1;
        assert_eq!(code(&tally, |_| {}), Verdict::ReusedCounter as u8);
        assert_eq!(code(&tally, |m| m.before_join.opened = 1), Verdict::BeforeJoinOpened as u8);
        let leak = |m: &mut Measured<'_>| {
            m.before_join.opened = 1;
            m.after_leave.opened = 1;
        };
        assert_eq!(code(&tally, leak), Verdict::AfterLeaveOpened as u8);
    }
}
