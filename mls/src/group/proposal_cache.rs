//! Proposals received in the present epoch, by the hash of the message that carried them (RFC 9420 section 12.1).

use std::collections::HashMap;

use crate::{
    validation::{ListedProposal, ProposalListViolation},
    wire::{LeafIndex, Proposal, ProposalOrRef, ProposalRef, Sender},
};

/// A proposal that was received and verified, not yet committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedProposal {
    /// How a commit refers to it.
    pub reference: ProposalRef,
    /// Who sent it.
    pub sender: Sender,
    /// What it proposes.
    pub proposal: Proposal,
    /// Data of the application that was authenticated with it.
    pub authenticated_data: Vec<u8>,
}

/// The proposals of one epoch in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProposalCache {
    list: Vec<ReceivedProposal>,
    places: HashMap<ProposalRef, usize>,
}

impl ProposalCache {
    /// Puts a proposal in; the same message twice is one proposal.
    pub(crate) fn insert(&mut self, proposal: ReceivedProposal) {
        if !self.places.contains_key(&proposal.reference) {
            self.places.insert(proposal.reference.clone(), self.list.len());
            self.list.push(proposal);
        }
    }

    pub(crate) fn get(&self, reference: &ProposalRef) -> Option<&ReceivedProposal> {
        self.places.get(reference).and_then(|place| self.list.get(*place))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &ReceivedProposal> {
        self.list.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn remove(&mut self, reference: &ProposalRef) {
        self.list.retain(|proposal| proposal.reference != *reference);
        let places = self.list.iter().enumerate();
        self.places = places.map(|(place, p)| (p.reference.clone(), place)).collect();
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.places.clear();
    }

    /// The proposals of a commit, each reference resolved.
    pub(crate) fn resolve<'p>(
        &'p self,
        proposals: &'p [ProposalOrRef],
        committer: Sender,
    ) -> Result<Vec<ListedProposal<'p>>, ProposalListViolation> {
        let mut seen = std::collections::HashSet::new();
        let mut list = Vec::with_capacity(proposals.len());
        for entry in proposals {
            list.push(match entry {
                ProposalOrRef::Proposal(proposal) => {
                    ListedProposal { proposal, sender: committer, by_reference: false }
                }
                ProposalOrRef::Reference(reference) => {
                    if !seen.insert(reference) {
                        return Err(ProposalListViolation::RepeatedReference(reference.clone()));
                    }
                    let cached = self.get(reference).ok_or_else(|| {
                        ProposalListViolation::UnknownReference(reference.clone())
                    })?;
                    ListedProposal {
                        proposal: &cached.proposal,
                        sender: cached.sender,
                        by_reference: true,
                    }
                }
            });
        }
        Ok(list)
    }

    /// References of the proposals that `committer` can commit together with `by_value`, leaving out what would make the
    /// list invalid: conflicts are resolved as section 12.2 recommends (a Remove before an Update, the last Update), and a
    /// SelfRemove comes before a Remove. A ReInit is left out.
    pub(crate) fn select(&self, committer: LeafIndex, by_value: &[Proposal]) -> Vec<ProposalRef> {
        let mut chosen = Selection::default();
        for proposal in by_value {
            chosen.take(proposal, Sender::Member(committer));
        }
        let of_rank = |rank| self.list.iter().filter(move |p| precedence(&p.proposal) == rank);
        let mut selected: Vec<&ReceivedProposal> = Vec::new();
        let removals = of_rank(Precedence::SelfRemove).chain(of_rank(Precedence::Remove));
        let updates = of_rank(Precedence::Update).rev();
        for candidate in removals.chain(updates).chain(of_rank(Precedence::Other)) {
            if chosen.admits(candidate, committer) {
                chosen.take(&candidate.proposal, candidate.sender);
                selected.push(candidate);
            }
        }
        selected.sort_by_key(|p| self.places.get(&p.reference).copied());
        selected.into_iter().map(|p| p.reference.clone()).collect()
    }
}

/// Which of several proposals for one leaf is chosen.
#[derive(PartialEq, Eq)]
enum Precedence {
    SelfRemove,
    Remove,
    Update,
    Other,
}

fn precedence(proposal: &Proposal) -> Precedence {
    match proposal {
        Proposal::SelfRemove => Precedence::SelfRemove,
        Proposal::Remove(_) => Precedence::Remove,
        Proposal::Update(_) => Precedence::Update,
        _ => Precedence::Other,
    }
}

/// What has been chosen for a commit so far.
#[derive(Default)]
struct Selection {
    leaves: std::collections::HashSet<LeafIndex>,
    clients: std::collections::HashSet<Vec<u8>>,
    psks: Vec<crate::wire::PreSharedKeyId>,
    extensions: bool,
}

impl Selection {
    fn admits(&self, candidate: &ReceivedProposal, committer: LeafIndex) -> bool {
        match &candidate.proposal {
            Proposal::Add(add) => {
                !self.clients.contains(add.key_package.leaf_node.signature_key.as_bytes())
            }
            Proposal::Update(_) | Proposal::SelfRemove => match candidate.sender {
                Sender::Member(leaf) => leaf != committer && !self.leaves.contains(&leaf),
                _ => false,
            },
            Proposal::Remove(remove) => {
                remove.removed != committer && !self.leaves.contains(&remove.removed)
            }
            Proposal::PreSharedKey(psk) => !self.psks.contains(&psk.psk),
            Proposal::GroupContextExtensions(_) => !self.extensions,
            // Closing the group is for the application to decide, by naming the proposal.
            Proposal::ReInit(_) => false,
            Proposal::ExternalInit(_) => false,
            Proposal::Other(..) => true,
        }
    }

    fn take(&mut self, proposal: &Proposal, sender: Sender) {
        match proposal {
            Proposal::Add(add) => {
                self.clients.insert(add.key_package.leaf_node.signature_key.0.clone());
            }
            Proposal::Update(_) | Proposal::SelfRemove => {
                if let Sender::Member(leaf) = sender {
                    self.leaves.insert(leaf);
                }
            }
            Proposal::Remove(remove) => {
                self.leaves.insert(remove.removed);
            }
            Proposal::PreSharedKey(psk) => self.psks.push(psk.psk.clone()),
            Proposal::GroupContextExtensions(_) => self.extensions = true,
            Proposal::ReInit(_) | Proposal::ExternalInit(_) | Proposal::Other(..) => {}
        }
    }
}
