//! Requests that are answered without an append.

use std::time::Duration;

use crate::protocol::{Blob, DeliveryEvent, Refusal, RefusalCode, RemovalReason};

use super::pending::Change;
use super::people::Ration;
use super::record::CloseCause;
use super::service::{Answer, Asker, refusal};
use super::submit::{check_length, member_group, no_group, not_a_member};
use super::{DeliveryService, Now};

impl DeliveryService {
    pub(super) fn join(
        &mut self,
        asker: &Asker,
        key_package: Blob,
        now: Now,
    ) -> Result<Answer, Refusal> {
        let identity = &asker.identity;
        if self.group.is_none() {
            self.offer_to_create(asker, now);
        }
        let group = member_group(&self.group)?;
        if self.banned.contains(identity) {
            return Err(removed());
        }
        let leaf = group.state.leaf_of(identity);
        let removal = leaf.and_then(|leaf| self.pending.removal_of(leaf));
        if removal.is_some_and(|removal| removal.reason == RemovalReason::Moderator) {
            return Err(removed());
        }
        check_length(key_package.len(), self.config.max_key_package)?;
        self.ration(identity, Ration::Join, self.config.joins, now)?;
        let group = member_group(&self.group)?;
        let reference = group.state.check_key_package(&key_package, identity, now.unix_time())?;
        if group.used_key_packages.contains(&reference) {
            let message = "expected a key package that has not been used";
            return Err(refusal(RefusalCode::InvalidKeyPackage, message));
        }
        let joining = self
            .pending
            .changes()
            .filter(
                |change| matches!(change, Change::Add { identity: other, .. } if other != identity),
            )
            .count();
        let members = group.state.len() - usize::from(leaf.is_some());
        if members + joining >= usize::try_from(self.config.max_members).unwrap_or(usize::MAX) {
            return Err(refusal(RefusalCode::RoomFull, "the group has its greatest size"));
        }
        self.withdraw_add(identity);
        let name = self.people.person(identity).map(|person| person.name.clone());
        let key_package = key_package.into_bytes();
        let name = name.unwrap_or_default();
        let add = Change::Add { identity: identity.clone(), name, key_package, reference };
        self.pending.insert(add, now);
        if let Some(leaf) = leaf {
            let reason = RemovalReason::Rejoins;
            self.pending.remove_leaf(leaf, identity.clone(), reason, None, now);
        }
        if let Some(person) = self.people.person_mut(identity) {
            person.left = false;
        }
        self.restore_media(identity);
        Ok(Answer::Done)
    }

    /// Who left and wants to come back to a call without a group may be the only one to create it.
    fn offer_to_create(&mut self, asker: &Asker, now: Now) {
        if let Some(person) = self.people.person_mut(&asker.identity) {
            person.left = false;
        }
        if self.creator.is_none() && self.in_flight.is_none() {
            self.elect(now);
            self.send_state(asker.connection);
        }
    }

    pub(super) fn leave(&mut self, asker: &Asker, now: Now) -> Result<Answer, Refusal> {
        let identity = &asker.identity;
        if let Some(person) = self.people.person_mut(identity) {
            person.left = true;
        }
        self.withdraw_add(identity);
        let reason = RemovalReason::Left;
        if let Some(leaf) = self.leaf_of(identity) {
            self.pending.remove_leaf(leaf, identity.clone(), reason, None, now);
        }
        self.cut_off_media(identity, reason);
        if self.creator.is_some_and(|creator| creator.connection == asker.connection) {
            self.elect(now);
        }
        Ok(Answer::Done)
    }

    pub(super) fn acknowledge(
        &mut self,
        asker: &Asker,
        epoch: u64,
        external_pub: Option<&[u8]>,
        now: Now,
    ) -> Result<Answer, Refusal> {
        let Some(group) = &mut self.group else { return Err(no_group()) };
        let leaf = group.state.leaf_of(&asker.identity).ok_or_else(not_a_member)?;
        let (head, members) = (group.state.epoch(), group.state.len());
        if epoch > head {
            let code = RefusalCode::FutureEpoch { head };
            return Err(refusal(code, format!("the call is in epoch {head}")));
        }
        self.metrics.acknowledgements += 1;
        if group.welcomes.get(&asker.identity).is_some_and(|welcome| welcome.epoch <= epoch) {
            group.welcomes.remove(&asker.identity);
        }
        if epoch == head {
            let differs = external_pub.is_some_and(|said| group.confirmations.hear(leaf, said));
            self.metrics.external_pubs_disputed += u64::from(differs);
            let batch = Duration::from_millis(self.config.acknowledgement_batch_ms);
            self.acks.insert(leaf, batch, now);
            if self.acks.leaves().len() >= members {
                // What the members' send switches wait for.
                self.acks.tell_at_once(now);
            }
            self.answer_info_requests();
        }
        Ok(Answer::Done)
    }

    pub(super) fn heartbeat(
        &mut self,
        asker: &Asker,
        epoch: u64,
        heartbeat: Blob,
        now: Now,
    ) -> Result<Answer, Refusal> {
        let leaf = self.check_report(asker, epoch, &heartbeat, now)?;
        self.metrics.heartbeats += 1;
        let batch = Duration::from_millis(self.config.heartbeat_batch_ms);
        self.heartbeats.insert(leaf, heartbeat, batch, now);
        Ok(Answer::Done)
    }

    pub(super) fn report_failure(
        &mut self,
        asker: &Asker,
        epoch: u64,
        report: Blob,
        now: Now,
    ) -> Result<Answer, Refusal> {
        let leaf = self.check_report(asker, epoch, &report, now)?;
        self.metrics.failure_reports += 1;
        self.broadcast(DeliveryEvent::FailureReported { epoch, leaf, report });
        let window = self.config.failure_window();
        let Some(group) = &mut self.group else { return Err(no_group()) };
        group.failures.retain(|_, at| now.since(*at) <= window);
        group.failures.insert(asker.identity.clone(), now);
        if group.failures.len() >= self.config.failure_threshold(group.state.len()) {
            self.closing.get_or_insert(CloseCause::Failed);
        }
        Ok(Answer::Done)
    }

    /// What heartbeats and failure reports have in common. Gives the sender's leaf.
    fn check_report(
        &mut self,
        asker: &Asker,
        epoch: u64,
        report: &Blob,
        now: Now,
    ) -> Result<u32, Refusal> {
        check_length(report.len(), self.config.max_report)?;
        let group = member_group(&self.group)?;
        let leaf = group.state.leaf_of(&asker.identity).ok_or_else(not_a_member)?;
        let head = group.state.epoch();
        if epoch > head {
            let message = format!("expected a report on an epoch up to {head}");
            return Err(refusal(RefusalCode::InvalidReport, message));
        }
        self.ration(&asker.identity, Ration::Report, self.config.reports, now)?;
        Ok(leaf)
    }

    pub(super) fn fetch_log(
        &mut self,
        asker: &Asker,
        since_epoch: u64,
        now: Now,
    ) -> Result<Answer, Refusal> {
        let head = self.check_fetch(asker, now)?;
        let page = self.log.since(since_epoch, self.config.page_bytes).map_err(|first| {
            let message = "the log no longer reaches back that far";
            refusal(RefusalCode::LogTruncated { first }, message)
        })?;
        let event = DeliveryEvent::Log { entries: page.entries, head, more: page.more };
        Ok(Answer::Event(event))
    }

    pub(super) fn fetch_tree(
        &mut self,
        asker: &Asker,
        epoch: u64,
        now: Now,
    ) -> Result<Answer, Refusal> {
        let head = self.check_fetch(asker, now)?;
        let Some(group) = &mut self.group else { return Err(no_group()) };
        let ratchet_tree = if epoch == head {
            Some(group.tree())
        } else {
            group.trees.iter().find(|kept| kept.epoch == epoch).map(|kept| kept.bytes.clone())
        };
        match ratchet_tree {
            Some(tree) => {
                Ok(Answer::Event(DeliveryEvent::Tree { epoch, ratchet_tree: tree.into() }))
            }
            None => {
                let message = format!("there is no tree of epoch {epoch}");
                Err(refusal(RefusalCode::UnknownEpoch { head }, message))
            }
        }
    }

    /// A GroupInfo is served once another member has confirmed its epoch, and not against what members say of its
    /// external_pub: a committer could give out a false one. Where there is no other member to wait for, whoever asks has
    /// to rely on it.
    pub(super) fn fetch_group_info(&mut self, asker: &Asker, now: Now) -> Result<Answer, Refusal> {
        self.check_fetch(asker, now)?;
        if self.group.as_ref().is_some_and(|it| it.confirmations.is_disputed(it.committer)) {
            return Err(disputed());
        }
        if let Some(event) = self.confirmed_group_info(asker) {
            return Ok(Answer::Event(event));
        }
        let until = now + Duration::from_millis(self.config.group_info_wait_ms);
        let Some(group) = &mut self.group else { return Err(no_group()) };
        let former = group.info_requests.insert(asker.connection, (asker.clone(), until));
        if let Some((former, _)) = former {
            let message = "a later request has taken the place of this one";
            self.answer(&former, Err(refusal(RefusalCode::Unavailable, message)));
        }
        Ok(Answer::Later)
    }

    fn check_fetch(&mut self, asker: &Asker, now: Now) -> Result<u64, Refusal> {
        let group = member_group(&self.group)?;
        group.state.leaf_of(&asker.identity).ok_or_else(not_a_member)?;
        let head = group.state.epoch();
        self.ration(&asker.identity, Ration::Fetch, self.config.fetches, now)?;
        Ok(head)
    }

    fn confirmed_group_info(&mut self, asker: &Asker) -> Option<DeliveryEvent> {
        let group = self.group.as_mut()?;
        let epoch = group.state.epoch();
        let committer = group.committer;
        let asking = group.state.leaf_of(&asker.identity);
        let other = |leaf: u32| Some(leaf) != committer && Some(leaf) != asking;
        let confirmed = epoch == 0 || self.acks.leaves().iter().any(|leaf| other(*leaf));
        let alone = || {
            group
                .state
                .members()
                .filter(|seat| other(seat.leaf))
                .all(|seat| self.people.connection(seat.identity).is_none())
        };
        if !confirmed && !alone() {
            return None;
        }
        let (group_info, ratchet_tree) = (group.group_info.clone(), group.tree());
        Some(DeliveryEvent::GroupInfo {
            epoch,
            group_info: group_info.into(),
            ratchet_tree: ratchet_tree.into(),
        })
    }

    pub(super) fn answer_info_requests(&mut self) {
        let waiting: Vec<Asker> = self
            .group
            .iter()
            .flat_map(|group| group.info_requests.values())
            .map(|(asker, _)| asker.clone())
            .collect();
        let is_disputed =
            self.group.as_ref().is_some_and(|it| it.confirmations.is_disputed(it.committer));
        for asker in waiting {
            let answer = match self.confirmed_group_info(&asker) {
                Some(_) if is_disputed => Err(disputed()),
                Some(event) => Ok(Answer::Event(event)),
                None => continue,
            };
            if let Some(group) = &mut self.group {
                group.info_requests.remove(&asker.connection);
            }
            self.answer(&asker, answer);
        }
    }

    pub(super) fn refuse_overdue_info_requests(&mut self, now: Now) {
        let Some(group) = &mut self.group else { return };
        let overdue: Vec<Asker> = group
            .info_requests
            .values()
            .filter(|(_, until)| *until <= now)
            .map(|(asker, _)| asker.clone())
            .collect();
        for asker in overdue {
            if let Some(group) = &mut self.group {
                group.info_requests.remove(&asker.connection);
            }
            let message = "no other member has confirmed the epoch yet";
            self.answer(&asker, Err(refusal(RefusalCode::Unavailable, message)));
        }
    }
}

fn disputed() -> Refusal {
    let message = "members know another external_pub than that of the GroupInfo";
    refusal(RefusalCode::Unavailable, message)
}

fn removed() -> Refusal {
    refusal(RefusalCode::Removed, "a moderator removed this participant from the call")
}
