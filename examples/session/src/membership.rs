//! A member's group: its epochs, and the commits of its own.

use mls::{Changes, Group, GroupInfoOptions, LeafIndex, PendingCommit};
use sframe_bridge::committer::{
    ChangeKind, CommitAlarm, Committer, Decision, Member, PendingChange, View,
};
use sframe_bridge::verification::{LongCode, RosterEntry, VerificationInput};
use sframe_bridge::{BASE_KEY_LABEL, BaseKey, CipherSuite, Epoch, EpochError, Now, crypto};
use sfu_protocol::{EXTERNAL_PUB_HASH, EXTERNAL_PUB_LABEL, Identity};

use super::failure::Failures;
use super::heartbeat::Heartbeats;
use super::notices::Notices;
use super::status::CallMember;
use super::trust;
use super::{Moment, SessionError};

/// Commits of one's own in one epoch: the second builds on nothing new, but the answer to the first
/// may have been lost.
const MAX_OWN_COMMITS: usize = 4;

/// What a commit needs to be submitted.
pub(super) struct Submission {
    pub(super) commit: Vec<u8>,
    pub(super) welcome: Option<Vec<u8>>,
    pub(super) group_info: Vec<u8>,
}

/// A commit of one's own that may stand in the log one day.
struct OwnCommit {
    pending: PendingCommit,
    /// The request that submitted it.
    asked: Option<u64>,
}

pub(super) struct Membership {
    pub(super) group: Group,
    pub(super) heartbeats: Heartbeats,
    pub(super) failures: Failures,
    /// The members' leaves, ascending: decisions are frequent, and the roster is long to read.
    leaves: Vec<u32>,
    /// Leaves whose logged Remove proposal this epoch's commit takes by reference.
    referenced: Vec<u32>,
    began: Now,
    only_added: bool,
    own_commits: Vec<OwnCommit>,
    submitted: Option<Now>,
    hold_off: Option<Now>,
    new_epoch_wanted: Option<Now>,
}

impl Membership {
    pub(super) fn new(group: Group, now: Now) -> Self {
        let mut heartbeats = Heartbeats::default();
        heartbeats.begin_epoch(&group, None, now);
        Self {
            leaves: leaves(&group),
            group,
            heartbeats,
            failures: Failures::default(),
            referenced: Vec::new(),
            began: now,
            only_added: false,
            own_commits: Vec::new(),
            submitted: None,
            hold_off: None,
            new_epoch_wanted: None,
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

    /// What an acknowledgement says of the epoch's external public key.
    pub(super) fn external_pub_hash(&self) -> Option<Vec<u8>> {
        let key = self.group.external_pub().ok()?;
        let hash = self.group.suite().ref_hash(EXTERNAL_PUB_LABEL, key.as_bytes()).ok()?;
        Some(hash.as_bytes().get(..EXTERNAL_PUB_HASH)?.to_vec())
    }

    /// The epoch's SFrame base key (RFC 9605, section 5.2).
    pub(super) fn base_key(&self, length: usize) -> Result<BaseKey, EpochError> {
        let secret =
            self.group.export(BASE_KEY_LABEL, &[], length).map_err(|_| EpochError::Export)?;
        Ok(BaseKey::new(secret.as_bytes().to_vec()))
    }

    /// The epoch for the media keys; `changes` are those of the commit that began it.
    pub(super) fn media_epoch(
        &self,
        suite: CipherSuite,
        changes: Option<&Changes>,
    ) -> Result<Epoch, EpochError> {
        Epoch::from_group(&self.group, suite, changes)
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

    /// A Remove proposal was logged in this epoch.
    pub(super) fn referenced(&mut self, leaf: u32) {
        self.referenced.push(leaf);
    }

    /// Asks for a new epoch, because a counter runs low.
    pub(super) fn want_new_epoch(&mut self, now: Now) {
        self.new_epoch_wanted.get_or_insert(now);
    }

    /// Whether a commit with these removals should alarm.
    pub(super) fn check_commit(
        &self,
        committer: &Committer,
        notices: &Notices,
        by: u32,
        removed: &[u32],
        now: Now,
    ) -> Result<(), CommitAlarm> {
        committer.check_commit(by, removed, &self.pending(notices), now)
    }

    pub(super) fn decide(&self, committer: &Committer, notices: &Notices, now: Now) -> Decision {
        if let Some(until) = self.hold_off.filter(|until| now < *until) {
            return Decision::Wait { until };
        }
        let epoch = self.epoch();
        let own = self.own_leaf();
        // Both are in order of leaves.
        let mut ready = notices.acknowledgements(epoch).peekable();
        let members: Vec<_> = self
            .leaves
            .iter()
            .map(|&leaf| {
                while ready.next_if(|other| *other < leaf).is_some() {}
                let acknowledged = leaf == own || ready.peek() == Some(&leaf);
                Member { leaf, acknowledged }
            })
            .collect();
        let view = View {
            own_leaf: own,
            epoch,
            epoch_began: self.began,
            epoch_only_added: self.only_added,
            members: &members,
            pending: &self.pending(notices),
            submitted: self.submitted,
        };
        committer.decide(&view, now)
    }

    /// Builds a commit of everything that waits.
    pub(super) fn build_commit(
        &mut self,
        rng: &mut dyn mls::crypto::CryptoRng,
        notices: &Notices,
        moment: Moment,
        invite: Option<&trust::Invite>,
    ) -> Result<Submission, SessionError> {
        let mut removes = notices.removes();
        removes.retain(|leaf| self.is_occupied(*leaf));
        let mut builder = self.group.commit().welcome_tree(false);
        let mut adds = false;
        for key_package in notices.adds() {
            builder = builder.add(key_package.clone());
            adds = true;
        }
        for leaf in removes {
            if !self.referenced.contains(&leaf) {
                builder = builder.remove(LeafIndex(leaf));
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
        self.own_commits.push(OwnCommit { pending, asked: None });
        self.submitted = Some(moment.now);
        Ok(submission)
    }

    /// The commit of one's own that this message is, if it is one.
    pub(super) fn take_own_commit(&mut self, message: &[u8]) -> Option<PendingCommit> {
        let place = self.own_commits.iter().position(|own| own.pending.is_echo(message))?;
        Some(self.own_commits.swap_remove(place).pending)
    }

    /// The latest commit of one's own was submitted by this request.
    pub(super) fn submitted_by(&mut self, asked: Option<u64>) {
        if let Some(own) = self.own_commits.last_mut() {
            own.asked = asked;
        }
    }

    /// The server has refused the commit of this request: it will never stand in the log.
    pub(super) fn withdraw_commit(&mut self, asked: Option<u64>) {
        self.own_commits.retain(|own| own.asked != asked);
    }

    /// The server refused a commit of one's own: no other before `until`.
    pub(super) fn commit_refused(&mut self, until: Now) {
        self.submitted = None;
        self.hold_off = Some(until);
    }

    /// The group is in another epoch, which this commit began.
    pub(super) fn advanced(&mut self, changes: &Changes, commit: &[u8], now: Now) {
        self.heartbeats.begin_epoch(&self.group, Some(changes), now);
        self.failures.applied(&self.group, self.epoch().saturating_sub(1), commit);
        self.leaves = leaves(&self.group);
        self.began = now;
        self.only_added = changes.removed.is_empty() && !changes.added.is_empty();
        self.own_commits.clear();
        self.submitted = None;
        self.hold_off = None;
        self.new_epoch_wanted = None;
        self.referenced.clear();
    }

    fn is_occupied(&self, leaf: u32) -> bool {
        self.leaves.binary_search(&leaf).is_ok()
    }

    fn pending(&self, notices: &Notices) -> Vec<PendingChange> {
        let mut changes = notices.changes();
        // The server may name whom it likes; a removal of nobody must not keep the others from theirs.
        changes.retain(|change| match change.kind {
            ChangeKind::Remove { leaf } => self.is_occupied(leaf),
            _ => true,
        });
        if let Some(since) = self.new_epoch_wanted {
            changes.push(PendingChange { since, kind: ChangeKind::NewEpoch });
        }
        changes
    }
}

fn leaves(group: &Group) -> Vec<u32> {
    group.roster().map(|member| member.leaf.0).collect()
}

pub(super) fn call_member(member: &mls::Member) -> CallMember {
    CallMember {
        leaf: member.leaf.0,
        identity: trust::identity_of(&member.credential),
        signature_key: member.signature_key.as_bytes().to_vec(),
    }
}
