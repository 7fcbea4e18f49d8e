//! Following the log: proposals and commits in the order that everybody sees.

use std::time::Duration;

use mls::codec::Encode;
use mls::wire::Proposal;
use mls::{Action, Changes, Processed};
use sframe_bridge::Now;
use sfu_protocol::{ChangeId, ChangeKind, DeliveryRequest, EntryKind, LogEntry, PendingChange};

use super::membership::call_member;
use super::requests::Purpose;
use super::status::{SessionEvent, Status};
use super::{Moment, Output, Session, SessionError};

impl Session {
    /// An entry that was appended just now, or a part of the log.
    pub(super) fn entry(&mut self, entry: LogEntry, moment: Moment) {
        if entry.kind == EntryKind::Commit
            && let Some(group) = self.take_external(&entry.message)
        {
            self.begin(group, moment);
            return;
        }
        if self.notices.hold(entry) {
            self.apply_held(moment);
        } else if self.membership.is_some() {
            self.resync();
        }
    }

    pub(super) fn log(&mut self, entries: Vec<LogEntry>, head: u64, more: bool, moment: Moment) {
        let asked_again = entries.last().map(|entry| entry.epoch);
        if !more {
            self.notices.forget_beyond(head);
        }
        for entry in entries {
            self.entry(entry, moment);
        }
        let Some(epoch) = self.epoch() else {
            return;
        };
        if let Some(since_epoch) = asked_again.filter(|_| more) {
            self.ask(Purpose::Log, DeliveryRequest::FetchLog { since_epoch });
        } else if epoch < head && matches!(self.status, Status::CatchingUp { .. }) {
            // The log was replayed to its end and does not lead to the head.
            self.resync();
        } else if matches!(self.status, Status::CatchingUp { .. }) {
            self.set_status(Status::Member { epoch });
        }
    }

    /// Applies what is held and belongs to the group's epoch, and asks for what is missing.
    pub(super) fn apply_held(&mut self, moment: Moment) {
        if self.status == Status::Resyncing {
            return;
        }
        while let Some(entry) = self.epoch().and_then(|epoch| self.notices.next_held(epoch)) {
            match entry.kind {
                EntryKind::Proposal => self.apply_proposal(&entry, moment),
                EntryKind::Commit => self.apply_commit(&entry, moment),
            }
            if self.status == Status::Resyncing {
                return;
            }
        }
        if let Some(since_epoch) = self.epoch()
            && self.notices.holds_entries()
            && !self.requests.awaits(Purpose::Log)
        {
            self.ask(Purpose::Log, DeliveryRequest::FetchLog { since_epoch });
        }
    }

    fn apply_proposal(&mut self, entry: &LogEntry, moment: Moment) {
        let Some(membership) = &mut self.membership else {
            return;
        };
        match membership.group.process(&entry.message, moment.unix) {
            Ok(Processed::Proposal(received)) => {
                if let Proposal::Remove(remove) = &received.proposal {
                    membership.referenced(remove.removed.0);
                }
            }
            Ok(_) => self.ignored("expected a proposal in the log"),
            Err(error) => self.ignored(&format!("a proposal in the log: {error}")),
        }
    }

    fn apply_commit(&mut self, entry: &LogEntry, moment: Moment) {
        let Some(membership) = &mut self.membership else {
            return;
        };
        let change = if let Some(pending) = membership.take_own_commit(&entry.message) {
            match membership.group.confirm(pending) {
                Ok(change) => change,
                Err(error) => {
                    self.ignored(&format!("our own commit: {error}"));
                    self.resync();
                    return;
                }
            }
        } else {
            match membership.group.process(&entry.message, moment.unix) {
                Ok(Processed::Commit(staged)) => {
                    let removed: Vec<_> =
                        staged.changes().removed.iter().map(|member| member.leaf.0).collect();
                    let by = staged.changes().committer.leaf.0;
                    let alarm = membership
                        .check_commit(
                            &self.config.committer,
                            &self.notices,
                            by,
                            &removed,
                            moment.now,
                        )
                        .err();
                    if staged.changes().self_removed {
                        self.removed(moment);
                        return;
                    }
                    let merged = membership.group.merge(*staged);
                    if let Some(alarm) = alarm {
                        self.stats.alarms += 1;
                        self.event(SessionEvent::Alarm(alarm));
                    }
                    match merged {
                        Ok(change) => change,
                        Err(error) => {
                            self.ignored(&format!("a commit: {error}"));
                            self.resync();
                            return;
                        }
                    }
                }
                Ok(_) => {
                    self.ignored("expected a commit in the log");
                    return;
                }
                Err(error) => {
                    self.commit_failed(entry, &error);
                    return;
                }
            }
        };
        if let Some(membership) = &mut self.membership {
            membership.advanced(&change.changes, &entry.message, moment.now);
            let removed: Vec<_> = change.changes.removed.iter().map(|m| m.leaf.0).collect();
            self.notices.advanced(change.epoch, &change.changes.welcomed, &removed);
        }
        self.announce_epoch(Some(&change.changes));
    }

    /// What fails alike for everybody is no commit, and the next one of the epoch counts. What fails
    /// here only must not lead to another commit, or the call would fork.
    fn commit_failed(&mut self, entry: &LogEntry, error: &mls::ProcessError) {
        self.ignored(&format!("a commit: {error}"));
        let own = matches!(error, mls::ProcessError::OwnMessage);
        if own || error.action() == Action::Resync {
            self.report_failure(entry);
            self.resync();
        }
    }

    /// A commit removed this member. If the server took it for gone, it asks to be let in again; whom a moderator
    /// removed, the server refuses.
    fn removed(&mut self, moment: Moment) {
        if self.requests.awaits(Purpose::Leave) {
            self.end(Status::Left);
        } else {
            self.forget_membership();
            self.join(moment);
        }
    }

    /// The group is in an epoch, which this commit began: the media keys get it, the others hear that
    /// it is live.
    pub(super) fn announce_epoch(&mut self, changes: Option<&Changes>) {
        let Some(membership) = &self.membership else {
            return;
        };
        let epoch = membership.epoch();
        let roster = membership.roster();
        match membership.media_epoch(self.config.parameters.suite, changes) {
            Ok(media) => self.outputs.push_back(Output::Install(Box::new(media))),
            Err(error) => {
                let reason = SessionError::from(error).to_string();
                self.end(Status::Failed { reason });
                return;
            }
        }
        let names = |members: &[mls::Member]| {
            members.iter().map(|member| call_member(member).identity).collect()
        };
        self.event(SessionEvent::EpochBegan {
            epoch,
            roster,
            added: changes.map(|changes| names(&changes.added)).unwrap_or_default(),
            removed: changes.map(|changes| names(&changes.removed)).unwrap_or_default(),
        });
        self.acknowledge(epoch);
        // Some may have been quicker.
        let ready = self.notices.acknowledgements(epoch).collect();
        self.peers_ready(epoch, ready);
        if !matches!(self.status, Status::CatchingUp { .. }) {
            self.set_status(Status::Member { epoch });
        }
    }

    pub(super) fn pending_changed(
        &mut self,
        added: &[PendingChange],
        resolved: &[ChangeId],
        moment: Moment,
    ) {
        for change in resolved {
            self.notices.resolve(*change);
            self.event(SessionEvent::ChangeResolved { change: *change });
        }
        for change in added {
            let key_package = match &change.kind {
                ChangeKind::Add { key_package, .. } => {
                    self.client.read_key_package(key_package, moment.unix).ok().and_then(|read| {
                        let reference =
                            self.client.suite().key_package_ref(&read.to_bytes()).ok()?;
                        Some((read, reference))
                    })
                }
                _ => None,
            };
            self.notices.add_change(change, key_package, moment.now);
            if let ChangeKind::Remove { identity, reason, .. } = &change.kind {
                self.event(SessionEvent::RemovalPending {
                    change: change.id,
                    identity: identity.clone(),
                    reason: *reason,
                    age: Duration::from_millis(change.age_ms),
                });
            }
        }
    }

    /// Commits everything that waits.
    pub(super) fn commit(&mut self, moment: Moment) {
        let Some(membership) = &mut self.membership else {
            return;
        };
        let invite = self.config.invite.as_ref();
        let submission =
            match membership.build_commit(&mut *self.rng, &self.notices, moment, invite) {
                Ok(submission) => submission,
                Err(error) => {
                    // A key package that breaks a rule must not keep somebody else in the call.
                    self.notices.drop_adds();
                    membership.commit_refused(moment.now + Duration::from_millis(100));
                    self.ignored(&format!("a commit of ours: {error}"));
                    return;
                }
            };
        let request = DeliveryRequest::Submit {
            proposals: Vec::new(),
            commit: submission.commit.into(),
            welcome: submission.welcome.map(Into::into),
            group_info: submission.group_info.into(),
        };
        let asked = self.ask(Purpose::Submit, request);
        if let Some(membership) = &mut self.membership {
            membership.submitted_by(asked);
        }
    }

    pub(super) fn submit_refused(&mut self, until: Now) {
        if self.status == Status::Resyncing {
            // The external commit lost its race: once more, from the state that won.
            self.resync();
        } else if let Some(membership) = &mut self.membership {
            membership.commit_refused(until);
        }
    }

    pub(super) fn ignored(&mut self, reason: &str) {
        self.stats.ignored += 1;
        tracing::warn!(reason, "ignored a message of the group");
        self.event(SessionEvent::Ignored { reason: reason.to_owned() });
    }
}
