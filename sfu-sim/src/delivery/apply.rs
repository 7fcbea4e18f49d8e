//! What each record of the log does.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use mls::wire::Proposal;

use crate::protocol::{
    Blob, DeliveryEvent, EntryKind, Identity, LogEntry, Refusal, RefusalCode, RemovalReason,
};

use super::append::StoredRecordMeta;
use super::confirmations::Confirmations;
use super::effects::Output;
use super::group::{Changed, GroupState};
use super::pending::Change;
use super::record::{Bundle, CloseCause, Record, Submitter};
use super::service::{ActiveGroup, KeptTree, KeptWelcome, refusal};
use super::submit::{Checked, no_group};
use super::{DeliveryService, Now};

impl ActiveGroup {
    pub(super) fn new(state: GroupState, group_info: Bytes) -> Self {
        let confirmations = Confirmations::of(state.external_pub_hash(&group_info));
        Self {
            state,
            group_info,
            confirmations,
            committer: None,
            tree: None,
            trees: VecDeque::new(),
            welcomes: BTreeMap::new(),
            failures: BTreeMap::new(),
            info_requests: BTreeMap::new(),
            used_key_packages: VecDeque::new(),
            epoch_proposals: 0,
            commits_since_snapshot: 0,
        }
    }

    /// The tree of the group's epoch.
    pub(super) fn tree(&mut self) -> Bytes {
        self.tree.get_or_insert_with(|| self.state.ratchet_tree().into()).clone()
    }
}

impl DeliveryService {
    /// Puts a record into effect. An error means that it is not valid and has no effect but to take its place.
    pub(super) fn apply(
        &mut self,
        record: Record,
        checked: Checked,
        meta: StoredRecordMeta,
        now: Now,
    ) -> Result<(), Refusal> {
        if !self.advance(meta, record.ends_turn()) {
            let head = self.epoch().unwrap_or(0);
            return Err(refusal(RefusalCode::StaleEpoch { head }, "the turn has been won before"));
        }
        match record {
            Record::Created { creator, group_info, ratchet_tree } => {
                let state = match checked {
                    Checked::Group(state) => *state,
                    _ => {
                        let suites = &self.config.suites;
                        GroupState::open(suites, &group_info, &ratchet_tree, meta.at)?
                    }
                };
                self.begin_group(state, group_info, &creator, now)
            }
            Record::Proposal { from, message } => {
                self.apply_proposal(from, message, checked, meta, now)
            }
            Record::Commit { from, bundle, evicted } => {
                self.apply_commit(from, bundle, &evicted, checked, meta, now)
            }
            Record::Closed { cause } => {
                self.end_group(cause, now);
                Ok(())
            }
        }
    }

    fn begin_group(
        &mut self,
        state: GroupState,
        group_info: Bytes,
        creator: &Identity,
        now: Now,
    ) -> Result<(), Refusal> {
        if self.group.is_some() {
            return Err(refusal(RefusalCode::GroupExists, "the call has a group"));
        }
        self.metrics.groups_created += 1;
        self.acks.begin(state.epoch());
        self.log.clear();
        self.pending.clear();
        self.creator = None;
        self.closing = None;
        self.people.know(creator, now);
        self.group = Some(Box::new(ActiveGroup::new(state, group_info)));
        self.restore_media(creator);
        if let Some(person) = self.people.person_mut(creator) {
            person.left = false;
        }
        let created_here = self.people.connection(creator);
        for connection in self.people.connections() {
            if Some(connection) != created_here {
                self.send_state(connection);
            }
        }
        Ok(())
    }

    fn apply_proposal(
        &mut self,
        from: Submitter,
        message: Bytes,
        checked: Checked,
        meta: StoredRecordMeta,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(group) = &mut self.group else { return Err(no_group()) };
        let proposal = match checked {
            Checked::Proposal(proposal) => proposal,
            _ => group.state.check_proposal(&message, meta.at)?,
        };
        let epoch = group.state.epoch();
        let sender = proposal.sender();
        let content = proposal.proposal().clone();
        group.state.keep_proposal(proposal)?;
        group.epoch_proposals += 1;
        self.metrics.proposals_accepted += u64::from(meta.own);
        let kind = EntryKind::Proposal;
        self.tell_entry(entry(meta.seq, epoch, kind, &from, message.clone()));
        match (content, sender) {
            (Proposal::Remove(remove), Some(sender)) => {
                let leaf = remove.removed.0;
                let reason =
                    if leaf == sender { RemovalReason::Left } else { RemovalReason::Moderator };
                self.remove_by_proposal(leaf, reason, message, now);
            }
            (_, Some(sender)) => {
                self.pending.insert(Change::Proposal { leaf: sender, message }, now);
            }
            _ => {}
        }
        Ok(())
    }

    fn remove_by_proposal(&mut self, leaf: u32, reason: RemovalReason, message: Bytes, now: Now) {
        let identity = self.group.as_ref().and_then(|group| group.state.identity_of(leaf)).cloned();
        let Some(identity) = identity else { return };
        if reason == RemovalReason::Left
            && let Some(person) = self.people.person_mut(&identity)
        {
            person.left = true;
        }
        self.pending.remove_leaf(leaf, identity.clone(), reason, Some(message), now);
        self.withdraw_add(&identity);
        self.cut_off_media(&identity, reason);
    }

    fn apply_commit(
        &mut self,
        from: Submitter,
        bundle: Bundle,
        evicted: &[u32],
        checked: Checked,
        meta: StoredRecordMeta,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(group) = &mut self.group else { return Err(no_group()) };
        let staged = match checked {
            Checked::Commit(staged) => staged,
            _ => {
                let handshake = group.state.read_handshake(&bundle.commit)?;
                let staged = group.state.stage(&bundle, meta.at)?;
                let resync = group.state.is_resync_of(&handshake, &from.identity);
                if staged.changed.external && !resync {
                    let code = RefusalCode::ExternalCommitNotAllowed;
                    return Err(refusal(code, "expected a resync"));
                }
                staged
            }
        };
        let epoch = group.state.epoch();
        // Members of the old epoch get the commit, those whom it removes included; joiners get a Welcome.
        let before = self.member_connections();
        let Some(group) = &mut self.group else { return Err(no_group()) };
        let changed = group.state.merge(staged)?;
        self.metrics.commits_accepted += u64::from(meta.own);
        self.metrics.resyncs += u64::from(meta.own && changed.external);
        for message in &bundle.proposals {
            let kind = EntryKind::Proposal;
            self.keep_entry(entry(meta.seq, epoch, kind, &from, message.clone()), &before);
        }
        let commit = bundle.commit.clone();
        self.keep_entry(entry(meta.seq, epoch, EntryKind::Commit, &from, commit), &before);
        self.begin_epoch(&bundle, &changed, now);
        let removed = self.resolve_changes(&changed, evicted);
        if let Some(delta) = self.pending.take_delta(now) {
            let (added, resolved) = (delta.added, delta.resolved);
            self.broadcast_to(before, DeliveryEvent::PendingChanged { added, resolved });
        }
        for joiner in &changed.joiners {
            self.people.know(&joiner.identity, now);
            self.metrics.members_added += 1;
            if let Some(connection) = self.people.connection(&joiner.identity) {
                self.send_member_lists(connection, &joiner.identity, now);
            }
        }
        for (identity, reason) in removed {
            self.people.forget_if_absent(&identity);
            self.outputs.push_back(Output::Removed { identity, reason });
        }
        self.snapshot_if_due();
        Ok(())
    }

    /// Sets what belongs to the epoch that a commit has begun.
    fn begin_epoch(&mut self, bundle: &Bundle, changed: &Changed, now: Now) {
        let kept_trees = self.config.kept_trees;
        let used = self.config.used_key_packages;
        let window = self.config.failure_window();
        let Some(group) = &mut self.group else { return };
        let epoch = group.state.epoch();
        group.group_info = bundle.group_info.clone();
        group.confirmations = Confirmations::of(group.state.external_pub_hash(&group.group_info));
        group.committer = Some(changed.committer);
        group.tree = None;
        group.epoch_proposals = 0;
        group.commits_since_snapshot += 1;
        group.failures.retain(|_, at| now.since(*at) <= window);
        if !changed.joiners.is_empty() {
            let bytes = group.tree();
            group.trees.push_back(KeptTree { epoch, bytes });
            let surplus = group.trees.len().saturating_sub(kept_trees);
            group.trees.drain(..surplus);
        }
        for seat in &changed.removed {
            group.welcomes.remove(&seat.identity);
        }
        for joiner in &changed.joiners {
            if let Some(bytes) = bundle.welcome.clone() {
                group.welcomes.insert(joiner.identity.clone(), KeptWelcome { epoch, bytes });
            }
            group.used_key_packages.push_back(joiner.reference.clone());
        }
        let surplus = group.used_key_packages.len().saturating_sub(used);
        group.used_key_packages.drain(..surplus);
        self.acks.begin(epoch);
    }

    /// Resolves the pending changes that a commit has taken up, or made void. Gives those who are out.
    fn resolve_changes(
        &mut self,
        changed: &Changed,
        evicted: &[u32],
    ) -> Vec<(Identity, RemovalReason)> {
        let mut out = Vec::new();
        for seat in &changed.removed {
            let removal = self.pending.removal_of(seat.leaf);
            let reason = if evicted.contains(&seat.leaf) {
                RemovalReason::Moderator
            } else {
                removal.map_or(RemovalReason::Gone, |removal| removal.reason)
            };
            self.pending.resolve(
                |change| matches!(change, Change::Remove { leaf, .. } if *leaf == seat.leaf),
            );
            if changed.external {
                continue;
            }
            *self.metrics.members_removed.entry(reason_name(reason)).or_default() += 1;
            if reason == RemovalReason::Moderator {
                self.banned.insert(seat.identity.clone());
                self.cut_off_media(&seat.identity, reason);
            }
            if self.leaf_of(&seat.identity).is_none() {
                out.push((seat.identity.clone(), reason));
            }
        }
        for joiner in &changed.joiners {
            self.pending.resolve(|change| {
                matches!(change, Change::Add { identity, .. } if *identity == joiner.identity)
            });
        }
        self.pending.begin_epoch();
        out
    }

    fn end_group(&mut self, cause: CloseCause, now: Now) {
        let Some(group) = self.group.take() else { return };
        *self.metrics.groups_closed.entry(cause_name(cause)).or_default() += 1;
        self.closing = None;
        self.pending.clear();
        self.log.clear();
        self.acks.begin(0);
        if cause == CloseCause::Abandoned {
            self.banned.clear();
        }
        for (asker, _) in group.info_requests.into_values() {
            self.answer(&asker, Err(no_group()));
        }
        self.refuse_queue(&no_group());
        self.people.forget_absent();
        self.elect(now);
        for connection in self.people.connections() {
            self.send_state(connection);
        }
        self.snapshot();
    }

    fn tell_entry(&mut self, entry: LogEntry) {
        let to = self.member_connections();
        self.keep_entry(entry, &to);
    }

    fn keep_entry(&mut self, entry: LogEntry, to: &[super::ConnectionId]) {
        self.log.push(entry.clone(), self.config.log_bytes);
        self.broadcast_to(to.to_vec(), DeliveryEvent::Entry { entry });
    }
}

pub(super) fn entry(
    seq: u64,
    epoch: u64,
    kind: EntryKind,
    from: &Submitter,
    message: Bytes,
) -> LogEntry {
    let sender = Some(from.identity.clone());
    LogEntry { seq, epoch, kind, sender, message: Blob::from(message) }
}

fn reason_name(reason: RemovalReason) -> &'static str {
    match reason {
        RemovalReason::Left => "left",
        RemovalReason::Gone => "gone",
        RemovalReason::Rejoins => "rejoins",
        RemovalReason::Moderator => "moderator",
    }
}

fn cause_name(cause: CloseCause) -> &'static str {
    match cause {
        CloseCause::Abandoned => "abandoned",
        CloseCause::Failed => "failed",
        CloseCause::Damaged => "damaged",
    }
}
