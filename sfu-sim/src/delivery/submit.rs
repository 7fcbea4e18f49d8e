//! What is to be appended: groups, commits, proposals; each checked before the storage is asked.

use bytes::Bytes;
use mls::wire::{Content, Proposal, Sender};

use crate::protocol::{Blob, DeliveryRequest, Refusal, RefusalCode};

use super::append::storage_fails;
use super::group::{CheckedProposal, GroupState, StagedBundle};
use super::pending::Change;
use super::people::Ration;
use super::record::{Bundle, Record, Submitter};
use super::service::{ActiveGroup, Answer, Asker, refusal};
use super::{DeliveryService, Now};

/// A record that may be appended, and what was learnt in checking it.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) record: Record,
    pub(super) checked: Checked,
}

/// The outcome of the checks, so that they need not be repeated once the record is durable.
#[derive(Debug)]
pub(super) enum Checked {
    Group(Box<GroupState>),
    Commit(StagedBundle),
    Proposal(CheckedProposal),
    Nothing,
}

impl DeliveryService {
    /// Begins an append, unless one is under way: then the request waits for its outcome.
    pub(super) fn handle_append(
        &mut self,
        asker: &Asker,
        request: DeliveryRequest,
        now: Now,
    ) -> Result<Answer, Refusal> {
        if self.in_flight.is_some() || self.closing.is_some() {
            if self.storage_fails() && !matches!(request, DeliveryRequest::Create { .. }) {
                return Err(storage_fails());
            }
            if self.queue.len() >= self.config.max_queued {
                let message = "expected fewer submissions at a time";
                return Err(refusal(RefusalCode::Unavailable, message));
            }
            self.queue.push_back((asker.clone(), request));
            return Ok(Answer::Later);
        }
        let admitted = match request {
            DeliveryRequest::Create { group_info, ratchet_tree } => {
                self.admit_group(asker, group_info, ratchet_tree, now)?
            }
            DeliveryRequest::Submit { proposals, commit, welcome, group_info } => {
                let bundle = Bundle {
                    proposals: proposals.into_iter().map(Blob::into_bytes).collect(),
                    commit: commit.into_bytes(),
                    welcome: welcome.map(Blob::into_bytes),
                    group_info: group_info.into_bytes(),
                };
                self.admit_commit(asker, bundle, now)?
            }
            DeliveryRequest::Propose { proposal } => {
                self.admit_proposal(asker, proposal.into_bytes(), now)?
            }
            _ => return Err(refusal(RefusalCode::Malformed, "expected something to append")),
        };
        self.begin_append(Some(asker.clone()), admitted, now);
        Ok(Answer::Later)
    }

    fn admit_group(
        &mut self,
        asker: &Asker,
        group_info: Blob,
        ratchet_tree: Blob,
        now: Now,
    ) -> Result<Admitted, Refusal> {
        if self.group.is_some() {
            let message = "the call has a group, expected a request to join it";
            return Err(refusal(RefusalCode::GroupExists, message));
        }
        if self.creator.is_none_or(|creator| creator.connection != asker.connection) {
            let message = "another participant has been asked to create the group";
            return Err(refusal(RefusalCode::NotCreator, message));
        }
        check_length(group_info.len(), self.config.max_group_info)?;
        check_length(ratchet_tree.len(), self.config.max_first_tree)?;
        self.ration(&asker.identity, Ration::Join, self.config.joins, now)?;
        let state =
            GroupState::open(&self.config.suites, &group_info, &ratchet_tree, now.unix_time())?;
        if state.epoch() != 0 || state.len() != 1 {
            let message = "expected a group of one member in epoch 0";
            return Err(refusal(RefusalCode::InvalidGroup, message));
        }
        if state.leaf_of(&asker.identity).is_none() {
            let message = "expected the token's identity in the leaf's basic credential";
            return Err(refusal(RefusalCode::WrongIdentity, message));
        }
        let record = Record::Created {
            creator: asker.identity.clone(),
            group_info: group_info.into_bytes(),
            ratchet_tree: ratchet_tree.into_bytes(),
        };
        Ok(Admitted { record, checked: Checked::Group(Box::new(state)) })
    }

    fn admit_commit(
        &mut self,
        asker: &Asker,
        bundle: Bundle,
        now: Now,
    ) -> Result<Admitted, Refusal> {
        let proposals: usize = bundle.proposals.iter().map(Bytes::len).sum();
        check_length(bundle.commit.len().saturating_add(proposals), self.config.max_commit)?;
        check_length(bundle.welcome.as_ref().map_or(0, Bytes::len), self.config.max_welcome)?;
        check_length(bundle.group_info.len(), self.config.max_group_info)?;
        if bundle.proposals.len() > self.config.max_epoch_proposals {
            let limit = u64::try_from(self.config.max_epoch_proposals).unwrap_or(u64::MAX);
            return Err(refusal(RefusalCode::TooLarge { limit }, "expected fewer proposals"));
        }
        let group = member_group(&self.group)?;
        let own = group.state.leaf_of(&asker.identity).ok_or_else(not_a_member)?;
        let handshake = group.state.read_handshake(&bundle.commit)?;
        let external = match handshake.message.content.sender {
            Sender::Member(leaf) if leaf.0 == own => false,
            Sender::Member(_) => return Err(wrong_identity()),
            Sender::NewMemberCommit if group.state.is_resync_of(&handshake, &asker.identity) => {
                true
            }
            Sender::NewMemberCommit => {
                let message =
                    "expected a resync: one Remove of one's own leaf, same credential and key";
                return Err(refusal(RefusalCode::ExternalCommitNotAllowed, message));
            }
            _ => return Err(not_a_member()),
        };
        if self.pending.removal_of(own).is_some() {
            let message = "the committer's own removal is pending";
            return Err(refusal(RefusalCode::RemovalPending, message));
        }
        let (ration, rate) = if external {
            (Ration::Resync, self.config.resyncs)
        } else {
            (Ration::Commit, self.config.commits)
        };
        self.ration(&asker.identity, ration, rate, now)?;
        self.check_bundled_proposals(asker, own, &bundle, now)?;
        let Some(group) = &mut self.group else { return Err(no_group()) };
        let staged = group.state.stage(&bundle, now.unix_time())?;
        let evicted = self.authorise(asker, &staged, now)?;
        let from = Submitter { identity: asker.identity.clone(), moderator: asker.moderator };
        let record = Record::Commit { from, bundle, evicted };
        Ok(Admitted { record, checked: Checked::Commit(staged) })
    }

    /// Proposals that come with a commit have to be such as could be logged on their own.
    fn check_bundled_proposals(
        &self,
        asker: &Asker,
        own: u32,
        bundle: &Bundle,
        now: Now,
    ) -> Result<(), Refusal> {
        let group = member_group(&self.group)?;
        for message in &bundle.proposals {
            group.state.read_handshake(message)?;
            let proposal = group.state.check_proposal(message, now.unix_time())?;
            self.check_proposer(asker, own, &proposal)?;
        }
        Ok(())
    }

    /// Whether a commit that is valid by itself may be made now by this member. Gives the leaves that it
    /// removes because a moderator wants it.
    fn authorise(
        &self,
        asker: &Asker,
        staged: &StagedBundle,
        now: Now,
    ) -> Result<Vec<u32>, Refusal> {
        let changed = &staged.changed;
        if changed.external {
            return Ok(Vec::new());
        }
        for joiner in &changed.joiners {
            let pending = self.pending.changes().any(|change| {
                matches!(change, Change::Add { identity, reference, .. }
                    if *identity == joiner.identity && *reference == joiner.reference)
            });
            if !pending {
                let message = "expected only key packages that are pending";
                return Err(refusal(RefusalCode::InvalidCommit, message));
            }
        }
        let mut evicted = Vec::new();
        for seat in &changed.removed {
            match self.pending.removal_of(seat.leaf) {
                Some(removal) if removal.reason == crate::protocol::RemovalReason::Moderator => {
                    evicted.push(seat.leaf);
                }
                Some(_) => {}
                None if asker.moderator => evicted.push(seat.leaf),
                None => {
                    let message = "expected only removals that are pending";
                    return Err(refusal(RefusalCode::NotModerator, message));
                }
            }
        }
        let slack = self.config.removal_slack();
        let omitted: Vec<u32> = self
            .pending
            .removals()
            .filter(|removal| removal.since + slack <= now)
            .map(|removal| removal.leaf)
            .filter(|leaf| changed.removed.iter().all(|seat| seat.leaf != *leaf))
            .collect();
        if omitted.is_empty() {
            Ok(evicted)
        } else {
            let code = RefusalCode::OmitsRemoval { leaves: omitted };
            Err(refusal(code, "expected the commit to contain the removals that are due"))
        }
    }

    fn admit_proposal(
        &mut self,
        asker: &Asker,
        message: Bytes,
        now: Now,
    ) -> Result<Admitted, Refusal> {
        check_length(message.len(), self.config.max_proposal)?;
        let group = member_group(&self.group)?;
        let own = group.state.leaf_of(&asker.identity).ok_or_else(not_a_member)?;
        let handshake = group.state.read_handshake(&message)?;
        match (&handshake.message.content.content, handshake.message.content.sender) {
            (Content::Proposal(_), Sender::Member(leaf)) if leaf.0 == own => {}
            (Content::Proposal(_), Sender::Member(_)) => return Err(wrong_identity()),
            _ => return Err(invalid_proposal("expected a proposal of the member's own")),
        }
        if group.epoch_proposals >= self.config.max_epoch_proposals {
            let code = RefusalCode::RateLimited { retry_after_ms: 100 };
            return Err(refusal(code, "expected fewer proposals in an epoch"));
        }
        self.ration(&asker.identity, Ration::Proposal, self.config.proposals, now)?;
        let group = member_group(&self.group)?;
        let proposal = group.state.check_proposal(&message, now.unix_time())?;
        self.check_proposer(asker, own, &proposal)?;
        let again = self.pending.changes().any(|change| match (change, proposal.proposal()) {
            (Change::Proposal { leaf, .. }, Proposal::Update(_)) => *leaf == own,
            (Change::Proposal { message: other, .. }, _) => *other == message,
            (Change::Remove { leaf, proposal: Some(_), .. }, Proposal::Remove(remove)) => {
                *leaf == remove.removed.0
            }
            _ => false,
        });
        if again {
            return Err(invalid_proposal("the like has been proposed in this epoch"));
        }
        let from = Submitter { identity: asker.identity.clone(), moderator: asker.moderator };
        let record = Record::Proposal { from, message };
        Ok(Admitted { record, checked: Checked::Proposal(proposal) })
    }

    /// Whether this member may make this proposal.
    fn check_proposer(
        &self,
        asker: &Asker,
        own: u32,
        proposal: &CheckedProposal,
    ) -> Result<(), Refusal> {
        if proposal.sender() != Some(own) {
            return Err(wrong_identity());
        }
        match proposal.proposal() {
            Proposal::Remove(remove) if remove.removed.0 == own || asker.moderator => Ok(()),
            Proposal::Remove(_) => {
                let message = "expected a moderator";
                Err(refusal(RefusalCode::NotModerator, message))
            }
            Proposal::Update(update) => {
                let credential = &update.leaf_node.credential;
                let same = matches!(credential, mls::wire::Credential::Basic(bytes)
                    if bytes.as_slice() == asker.identity.as_str().as_bytes());
                if same { Ok(()) } else { Err(wrong_identity()) }
            }
            Proposal::PreSharedKey(_) => Ok(()),
            _ => Err(invalid_proposal("expected a Remove, Update or PreSharedKey")),
        }
    }
}

pub(super) fn member_group(group: &Option<Box<ActiveGroup>>) -> Result<&ActiveGroup, Refusal> {
    group.as_deref().ok_or_else(no_group)
}

pub(super) fn check_length(length: usize, limit: usize) -> Result<(), Refusal> {
    if length <= limit {
        return Ok(());
    }
    let code = RefusalCode::TooLarge { limit: u64::try_from(limit).unwrap_or(u64::MAX) };
    Err(refusal(code, format!("expected at most {limit} bytes, found {length}")))
}

pub(super) fn no_group() -> Refusal {
    refusal(RefusalCode::NoGroup, "the call has no group")
}

pub(super) fn not_a_member() -> Refusal {
    refusal(RefusalCode::NotAMember, "expected a member of the group")
}

fn wrong_identity() -> Refusal {
    refusal(RefusalCode::WrongIdentity, "expected a message from the leaf of the token's identity")
}

fn invalid_proposal(message: &str) -> Refusal {
    refusal(RefusalCode::InvalidProposal, message)
}
