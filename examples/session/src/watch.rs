//! Watching the server: heartbeats of one's own, those of others, and what their absence means.

use sframe_bridge::Now;
use sfu_protocol::{Blob, DeliveryRequest, Identity, LogEntry};

use super::failure::{Failures, Reported};
use super::heartbeat::Heard;
use super::membership::call_member;
use super::requests::Purpose;
use super::status::{HistoryAlarm, SessionEvent, Status};
use super::{Moment, Output, Session};

impl Session {
    /// Members that have not confirmed for as long as two heartbeats take that they are in this call.
    pub fn unconfirmed(&self, now: Now) -> Vec<Identity> {
        let Some(membership) = &self.membership else { return Vec::new() };
        let silent = membership.heartbeats.silent(now).into_iter();
        silent
            .filter_map(|leaf| membership.group.member(mls::LeafIndex(leaf)))
            .map(|member| call_member(&member).identity)
            .collect()
    }

    pub(super) fn watch_deadline(&self) -> Option<Now> {
        let heartbeats = &self.membership.as_ref()?.heartbeats;
        let next = heartbeats.due().filter(|_| self.may_commit());
        let patience = [heartbeats.patience_ends(), self.notices.patience_ends()];
        patience.into_iter().chain([next]).flatten().min()
    }

    /// Sends the heartbeat that is due, and says what has not come for too long.
    pub(super) fn watch(&mut self, moment: Moment) {
        let connected = self.may_commit();
        let Some(membership) = &mut self.membership else { return };
        let now = moment.now;
        let epoch = membership.epoch();
        let withheld = membership.heartbeats.take_withheld(now);
        let overdue = self.notices.take_overdue(now);
        let heartbeat = if connected && membership.heartbeats.due().is_some_and(|due| due <= now) {
            membership.heartbeats.make(&membership.group, moment).ok()
        } else {
            None
        };
        if let Some(heartbeat) = heartbeat {
            let heartbeat = heartbeat.into();
            self.ask(Purpose::Note, DeliveryRequest::Heartbeat { epoch, heartbeat });
        }
        let overdue = overdue.into_iter().map(|leaf| HistoryAlarm::RemovalOverdue { leaf });
        for alarm in withheld.into_iter().chain(overdue) {
            self.alarm(alarm);
        }
        self.judge_sending(now);
    }

    pub(super) fn heartbeats(&mut self, heartbeats: &[Blob], moment: Moment) {
        let mut behind = false;
        for heartbeat in heartbeats {
            let Some(membership) = &mut self.membership else { return };
            match membership.heartbeats.take(&membership.group, heartbeat, moment.now) {
                Heard::Confirmed => self.stats.heartbeats_confirmed += 1,
                Heard::Nothing => self.stats.heartbeats_ignored += 1,
                Heard::Ahead => behind = true,
                Heard::OtherHistory(alarm) => self.alarm(alarm),
            }
        }
        let member = matches!(self.status, Status::Member { .. });
        if let Some(since_epoch) = self.epoch().filter(|_| behind && member && self.connected)
            && !self.requests.awaits(Purpose::Log)
        {
            self.ask(Purpose::Log, DeliveryRequest::FetchLog { since_epoch });
        }
        self.judge_sending(moment.now);
    }

    /// Tells the others that a commit of the log failed here alone.
    pub(super) fn report_failure(&mut self, entry: &LogEntry) {
        let Some(membership) = &self.membership else { return };
        let epoch = entry.epoch;
        match Failures::make(&membership.group, epoch, &entry.message) {
            Ok(report) => {
                self.stats.failures_reported += 1;
                let report = report.into();
                self.ask(Purpose::Note, DeliveryRequest::ReportFailure { epoch, report });
            }
            Err(error) => tracing::warn!(%error, "a failed commit could not be reported"),
        }
    }

    pub(super) fn failure_reported(&mut self, report: &[u8]) {
        let Some(membership) = &mut self.membership else { return };
        let since = |leaf| membership.heartbeats.since(leaf);
        match membership.failures.take(&membership.group, report, since) {
            Reported::Failed { leaf, epoch } => {
                self.stats.failures_heard += 1;
                self.event(SessionEvent::CommitFailed { leaf, epoch });
            }
            Reported::OtherHistory(alarm) => self.alarm(alarm),
            Reported::Nothing => self.stats.failures_ignored += 1,
        }
    }

    /// Whoever is confirmed by too few may be alone with somebody who was removed, or with nobody.
    fn judge_sending(&mut self, now: Now) {
        let Some(membership) = &self.membership else { return };
        let share = membership.heartbeats.share(now);
        let allowed = !share.is_too_small();
        if std::mem::replace(&mut self.sending, allowed) != allowed {
            self.outputs.push_back(Output::Sending { allowed });
            if !allowed {
                let (confirmed, of) = (share.confirmed, share.of);
                self.alarm(HistoryAlarm::TooFewConfirm { confirmed, of });
            }
        }
    }

    fn alarm(&mut self, alarm: HistoryAlarm) {
        self.stats.history_alarms += 1;
        self.event(SessionEvent::History(alarm));
    }
}
