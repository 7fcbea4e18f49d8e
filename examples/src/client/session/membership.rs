//! A member's view of the group: what waits, who acknowledged, and the commits of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mls::{Group, GroupInfoOptions, KeyPackage, LeafIndex, PendingCommit};
use sframe_bridge::committer::{
    ChangeKind, CommitAlarm, Committer, Decision, Member, PendingChange, View,
};
use sframe_bridge::verification::{LongCode, RosterEntry, VerificationInput};
use sframe_bridge::{BASE_KEY_LABEL, BaseKey, Epoch, EpochError, Now, crypto};
use sfu_sim::protocol::{self, ChangeId, Identity, LogEntry};

use super::status::CallMember;
use super::trust;
use super::{Moment, SessionError};

/// Entries that are held until those before them have come.
const MAX_HELD: usize = 4096;

/// Commits of one's own in one epoch: the second builds on nothing new, but the answer to the first
/// may have been lost.
const MAX_OWN_COMMITS: usize = 4;

/// A pending change with what this member needs of it.
struct Waiting {
    since: Now,
    kind: WaitingKind,
}

enum WaitingKind {
    Add(Box<KeyPackage>),
    Remove { leaf: u32 },
    Proposal,
}

/// What a commit needs to be submitted.
pub(super) struct Submission {
    pub(super) commit: Vec<u8>,
    pub(super) welcome: Option<Vec<u8>>,
    pub(super) group_info: Vec<u8>,
}

/// What changed with an epoch.
pub(super) struct EpochChanges {
    pub(super) added: Vec<CallMember>,
    pub(super) removed: Vec<CallMember>,
}

pub(super) struct Membership {
    pub(super) group: Group,
    waiting: BTreeMap<ChangeId, Waiting>,
    /// Leaves whose logged Remove proposal this epoch's commit takes by reference.
    referenced: BTreeSet<u32>,
    acknowledged: BTreeMap<u64, BTreeSet<u32>>,
    began: Now,
    only_added: bool,
    own_commits: Vec<PendingCommit>,
    submitted: Option<Now>,
    hold_off: Option<Now>,
    new_epoch_wanted: Option<Now>,
    pub(super) held: VecDeque<LogEntry>,
}

impl Membership {
    pub(super) fn new(group: Group, now: Now) -> Self {
        Self {
            group,
            waiting: BTreeMap::new(),
            referenced: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            began: now,
            only_added: false,
            own_commits: Vec::new(),
            submitted: None,
            hold_off: None,
            new_epoch_wanted: None,
            held: VecDeque::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.group.epoch()
    }

    pub(super) fn own_leaf(&self) -> u32 {
        self.group.own_leaf().0
    }

    pub(super) fn roster(&self) -> Vec<CallMember> {
        self.group.roster().map(|member| call_member(&member)).collect()
    }

    pub(super) fn leaf_of(&self, identity: &Identity) -> Option<u32> {
        self.roster().into_iter().find(|member| member.identity == *identity).map(|m| m.leaf)
    }

    /// The epoch's SFrame base key (RFC 9605, section 5.2).
    pub(super) fn base_key(&self, length: usize) -> Result<BaseKey, EpochError> {
        let secret =
            self.group.export(BASE_KEY_LABEL, &[], length).map_err(|_| EpochError::Export)?;
        Ok(BaseKey::new(secret.as_bytes().to_vec()))
    }

    /// The epoch for the media keys.
    pub(super) fn media_epoch(
        &self,
        key_length: usize,
        changes: &EpochChanges,
    ) -> Result<Epoch, EpochError> {
        let leaves = |members: &[CallMember]| members.iter().map(|m| m.leaf).collect();
        let live = leaves(&self.roster());
        Ok(Epoch::new(self.epoch(), self.base_key(key_length)?, self.own_leaf(), live)
            .with_joined(leaves(&changes.added))
            .with_removed(leaves(&changes.removed)))
    }

    /// The code that two members compare to know that nobody stands between them.
    pub(super) fn verification_code(&self, kdf: &dyn crypto::Kdf) -> Option<LongCode> {
        let members: Vec<_> = self
            .group
            .roster()
            .map(|member| (member.leaf.0, trust::encoded(&member.credential), member.signature_key))
            .collect();
        let roster: Vec<_> = members
            .iter()
            .map(|(leaf, credential, key)| RosterEntry {
                leaf: *leaf,
                credential,
                signature_key: key.as_bytes(),
            })
            .collect();
        let input = VerificationInput {
            epoch_authenticator: self.group.epoch_authenticator().ok()?.as_bytes(),
            group_id: self.group.id().as_bytes(),
            epoch: self.epoch(),
            roster: &roster,
        };
        LongCode::derive(kdf, &input).ok()
    }

    /// Takes in a pending change. An add whose key package cannot be read is left out: the delivery
    /// service should have refused it.
    pub(super) fn add_pending(&mut self, change: &protocol::PendingChange, now: Now) {
        let age = std::time::Duration::from_millis(change.age_ms);
        let since = Now::from_micros(
            now.as_micros().saturating_sub(u64::try_from(age.as_micros()).unwrap_or(0)),
        );
        let kind = match &change.kind {
            protocol::ChangeKind::Add { key_package, .. } => {
                match trust::read_key_package(key_package) {
                    Some(key_package) => WaitingKind::Add(Box::new(key_package)),
                    None => return,
                }
            }
            protocol::ChangeKind::Remove { leaf, .. } => WaitingKind::Remove { leaf: *leaf },
            protocol::ChangeKind::Proposal { .. } => WaitingKind::Proposal,
        };
        self.waiting.insert(change.id, Waiting { since, kind });
    }

    /// Forgets a pending change. Returns whether it was a removal.
    pub(super) fn resolve_pending(&mut self, change: ChangeId) -> bool {
        let removed = self.waiting.remove(&change);
        matches!(removed, Some(Waiting { kind: WaitingKind::Remove { .. }, .. }))
    }

    /// A connection begins with an empty list.
    pub(super) fn clear_pending(&mut self) {
        self.waiting.clear();
    }

    /// A Remove proposal was logged in this epoch.
    pub(super) fn referenced(&mut self, leaf: u32) {
        self.referenced.insert(leaf);
    }

    pub(super) fn acknowledge(&mut self, epoch: u64, leaves: &[u32]) {
        if epoch >= self.epoch() && epoch <= self.epoch() + 64 {
            self.acknowledged.entry(epoch).or_default().extend(leaves);
        }
    }

    /// Asks for a new epoch, because a counter runs low.
    pub(super) fn want_new_epoch(&mut self, now: Now) {
        self.new_epoch_wanted.get_or_insert(now);
    }

    /// Whether a commit with these removals should alarm.
    pub(super) fn check_commit(
        &self,
        committer: &Committer,
        by: u32,
        removed: &[u32],
        now: Now,
    ) -> Result<(), CommitAlarm> {
        committer.check_commit(by, removed, &self.pending_changes(), now)
    }

    pub(super) fn decide(&self, committer: &Committer, now: Now) -> Decision {
        if let Some(until) = self.hold_off.filter(|until| now < *until) {
            return Decision::Wait { until };
        }
        let epoch = self.epoch();
        let acknowledged = self.acknowledged.get(&epoch);
        let own = self.own_leaf();
        let members: Vec<_> = self
            .group
            .roster()
            .map(|member| {
                let leaf = member.leaf.0;
                let known = acknowledged.is_some_and(|leaves| leaves.contains(&leaf));
                Member { leaf, acknowledged: known || leaf == own }
            })
            .collect();
        let view = View {
            own_leaf: own,
            epoch,
            epoch_began: self.began,
            epoch_only_added: self.only_added,
            members: &members,
            pending: &self.pending_changes(),
            submitted: self.submitted,
        };
        committer.decide(&view, now)
    }

    /// Builds a commit of everything that waits.
    pub(super) fn build_commit(
        &mut self,
        rng: &mut dyn mls::crypto::CryptoRng,
        moment: Moment,
        invite: Option<&trust::Invite>,
    ) -> Result<Submission, SessionError> {
        let mut builder = self.group.commit().welcome_tree(false);
        let mut leaves = BTreeSet::new();
        let mut adds = false;
        for waiting in self.waiting.values() {
            match &waiting.kind {
                WaitingKind::Add(key_package) => {
                    builder = builder.add(KeyPackage::clone(key_package));
                    adds = true;
                }
                WaitingKind::Remove { leaf } => {
                    // Two reasons may stand for one leaf.
                    if !self.referenced.contains(leaf) && leaves.insert(*leaf) {
                        builder = builder.remove(LeafIndex(*leaf));
                    }
                }
                WaitingKind::Proposal => {}
            }
        }
        if let Some(invite) = invite.filter(|_| adds) {
            builder = builder.psk(invite.source());
        }
        let pending = builder.build(rng, moment.unix)?;
        let options = GroupInfoOptions { tree: false, external_pub: true };
        let submission = Submission {
            commit: pending.commit().to_vec(),
            welcome: pending.welcome().map(<[u8]>::to_vec),
            group_info: pending.group_info(&self.group, options)?,
        };
        if self.own_commits.len() == MAX_OWN_COMMITS {
            drop(self.own_commits.remove(0));
        }
        self.own_commits.push(pending);
        self.submitted = Some(moment.now);
        Ok(submission)
    }

    /// The commit of one's own that this message is, if it is one.
    pub(super) fn take_own_commit(&mut self, message: &[u8]) -> Option<PendingCommit> {
        let place = self.own_commits.iter().position(|pending| pending.is_echo(message))?;
        Some(self.own_commits.swap_remove(place))
    }

    /// The server refused a commit of one's own: no other before `until`.
    pub(super) fn commit_refused(&mut self, until: Now) {
        self.submitted = None;
        self.hold_off = Some(until);
    }

    /// The adds that wait cannot be committed: leave them out.
    pub(super) fn drop_adds(&mut self) {
        self.waiting.retain(|_, waiting| !matches!(waiting.kind, WaitingKind::Add(_)));
    }

    /// The group is in another epoch.
    pub(super) fn advanced(&mut self, only_added: bool, now: Now) {
        self.began = now;
        self.only_added = only_added;
        self.own_commits.clear();
        self.submitted = None;
        self.hold_off = None;
        self.new_epoch_wanted = None;
        self.referenced.clear();
        let epoch = self.epoch();
        self.acknowledged = self.acknowledged.split_off(&epoch);
    }

    /// Keeps an entry until those before it have come. Returns false if there are too many.
    pub(super) fn hold(&mut self, entry: LogEntry) -> bool {
        if self.held.len() >= MAX_HELD {
            return false;
        }
        if !self.held.iter().any(|held| held.seq == entry.seq) {
            let place = self.held.partition_point(|held| held.seq < entry.seq);
            self.held.insert(place, entry);
        }
        true
    }

    /// The next entry held that belongs to the group's epoch; older ones are thrown away.
    pub(super) fn next_held(&mut self) -> Option<LogEntry> {
        let epoch = self.epoch();
        while self.held.front().is_some_and(|entry| entry.epoch < epoch) {
            self.held.pop_front();
        }
        let is_next = self.held.front().is_some_and(|entry| entry.epoch == epoch);
        if is_next { self.held.pop_front() } else { None }
    }

    fn pending_changes(&self) -> Vec<PendingChange> {
        let mut changes: Vec<_> = self
            .waiting
            .values()
            .map(|waiting| PendingChange {
                since: waiting.since,
                kind: match &waiting.kind {
                    WaitingKind::Add(_) => ChangeKind::Add,
                    WaitingKind::Remove { leaf } => ChangeKind::Remove { leaf: *leaf },
                    WaitingKind::Proposal => ChangeKind::NewEpoch,
                },
            })
            .collect();
        if let Some(since) = self.new_epoch_wanted {
            changes.push(PendingChange { since, kind: ChangeKind::NewEpoch });
        }
        changes
    }
}

pub(super) fn call_member(member: &mls::Member) -> CallMember {
    CallMember { leaf: member.leaf.0, identity: trust::identity_of(&member.credential) }
}
