//! What is measured, and what came out.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use sframe_bridge::Now;

use super::{
    reception::Fate,
    report::{Memory, Report},
    world::{Counts, World},
};

/// What members had spent when measuring began, and until when they are counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Account {
    pub(super) bytes: u64,
    pub(super) computed: Duration,
    pub(super) from: Now,
    pub(super) until: Option<Now>,
}

impl World<'_> {
    pub(super) fn begin_measuring(&mut self) {
        self.measuring = true;
        self.tracker.begin_measuring();
        self.counts = Counts::default();
        let now = self.now();
        for (member, account) in self.members.iter_mut().zip(&mut self.accounts) {
            account.bytes = member.link.bytes();
            account.computed = member.computed;
            account.from = now;
            account.until = member.is_over.then_some(now);
            member.reception.really_opened = 0;
        }
    }

    pub(super) fn close_account(&mut self, member: usize) {
        let now = self.now();
        if let (Some(account), Some(entry)) =
            (self.accounts.get_mut(member), self.members.get(member))
            && account.until.is_none()
        {
            account.until = Some(now);
            account.bytes = entry.link.bytes() - account.bytes;
            account.computed = entry.computed - account.computed;
        }
    }

    pub(super) fn is_measuring(&self) -> bool {
        self.measuring
    }

    /// What all members together spent while it was measured.
    pub(super) fn spent(&self) -> Spent {
        let mut spent = Spent::default();
        let begin = Now::default() + self.scenario.warm_up();
        for account in &self.accounts {
            let Some(until) = account.until.filter(|until| *until > begin) else { continue };
            spent.time += until.saturating_since(account.from);
            spent.bytes += account.bytes;
            spent.computed += account.computed;
        }
        spent
    }

    /// What came out.
    pub(super) fn report(mut self) -> Result<Report> {
        let converged = self.has_converged()?;
        let counts = std::mem::take(&mut self.counts);
        let spent = self.spent();
        let minutes = (spent.time.as_secs_f64() / 60.0).max(f64::MIN_POSITIVE);
        let metrics = self.server.service.metrics().clone();
        let mut frames = counts.frames;
        frames.really_opened =
            self.members.iter().map(|member| member.reception.really_opened).sum();
        let refused = |code: &str| metrics.refused.get(code).copied().unwrap_or_default();
        let mut report = Report {
            scenario: self.scenario.name.clone(),
            seed: self.seed,
            fidelity: self.scenario.fidelity,
            signalling: self.scenario.signalling.path,
            duration_s: self.scenario.duration_s,
            members: counts.most_members as u64,
            full_members: self.members.iter().filter(|member| member.is_full).count() as u64,
            roster_changes: self.tracker.changes,
            epochs: self.tracker.epochs,
            rotation_ms: self.tracker.rotation.percentiles(),
            rotation_after_join_ms: self.tracker.addition.percentiles(),
            exposure_ms: self.tracker.removal.percentiles(),
            receivers_ready_ms: self.tracker.ready.percentiles(),
            join_to_first_frame_ms: counts.first_frame.percentiles(),
            key_wait_ms: counts.key_wait.percentiles(),
            frames,
            after_leave_opened: counts.after_leave_opened,
            after_leave_opened_of_late: counts.after_leave_of_late,
            key_traffic_kbit_s_per_member: rounded(spent.bytes as f64 * 8e-3 / minutes / 60.0),
            key_traffic_bytes_per_member_minute: rounded(spent.bytes as f64 / minutes),
            told_bytes_per_member_minute: counts
                .told
                .into_iter()
                .map(|(name, bytes)| (name, rounded(bytes as f64 / minutes)))
                .collect(),
            cpu_ms_per_member_minute: rounded(spent.computed.as_secs_f64() * 1e3 / minutes),
            commits_lost_in_races: refused("stale_epoch"),
            resyncs: metrics.resyncs,
            epochs_with_two_winners: metrics.epochs_with_two_winners,
            refused: metrics.refused,
            noticed: counts.noticed,
            memory: Memory {
                log_bytes: counts.log_bytes,
                waiting_bytes: counts.waiting_bytes as u64,
            },
            converged,
            targets: Vec::new(),
            targets_met: false,
        };
        report.judge(&self.scenario.targets);
        Ok(report)
    }

    /// Whether all who are connected are in the call's epoch with the same key.
    pub(super) fn has_converged(&self) -> Result<bool> {
        let now = self.now();
        let epoch = self.server.service.epoch();
        let mut keys = BTreeSet::new();
        let mut there = 0;
        for member in self.members.iter().filter(|member| !member.is_over) {
            if !member.is_member() || member.epoch() != epoch || !member.can_reach_others(now) {
                return Ok(false);
            }
            there += 1;
            if !member.has_session() {
                continue;
            }
            let key = member.session.base_key_for_audit().context("a member without a key")?;
            keys.insert(key.expose_secret().to_vec());
        }
        Ok(there == self.server.service.members() && keys.len() <= 1)
    }

    pub(super) fn fate(&mut self, member: usize, fate: Fate, now: Now) {
        let frames = &mut self.counts.frames;
        match fate {
            Fate::Opened { since } => {
                frames.received += 1;
                if let Some(since) = since {
                    frames.waited += 1;
                    self.counts.key_wait.add(now.saturating_since(since));
                }
                self.sees(member, now);
            }
            Fate::Unmeasured { opened } => {
                if opened {
                    self.sees(member, now);
                }
            }
            Fate::Waits => {
                if let Some(entry) = self.members.get(member) {
                    let bytes = entry.reception.waiting_bytes();
                    self.counts.waiting_bytes = self.counts.waiting_bytes.max(bytes);
                }
            }
            Fate::BeforeJoin => {
                frames.before_join += 1;
                frames.sent = frames.sent.saturating_sub(1);
            }
            Fate::NoKey(why) => {
                frames.undecryptable_no_key += 1;
                *frames.undecryptable_by_cause.entry(why).or_default() += 1;
            }
            Fate::Failed(why) => {
                frames.undecryptable_other += 1;
                *frames.undecryptable_by_cause.entry(why).or_default() += 1;
            }
        }
    }
}

/// What members spent.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    time: Duration,
    bytes: u64,
    computed: Duration,
}

/// To a tenth of a thousandth, so that a report is pleasant to read.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
