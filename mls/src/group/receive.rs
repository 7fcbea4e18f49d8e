//! Verifying who sent a handshake message (RFC 9420 sections 6.1, 12.1), shared by members and delivery services.

use crate::{
    crypto::VerifyingKey,
    error::ProcessError,
    framing::{FramingError, VerifiedContent},
    tree::TreeView,
    validation::{
        CommittedProposal, ListedProposal, ProposalListViolation, SignedPlace, check_key_package,
        check_sender_may_propose,
    },
    wire::{Content, FramedContent, GroupId, Proposal, Sender, UnixTime, WireFormat},
};

use super::{
    changes::Member,
    proposal_cache::ReceivedProposal,
    state::{Policy, PublicState},
};

impl PublicState {
    /// A message of this group and epoch, or the error that says which it is of.
    pub(crate) fn check_addressed(
        &self,
        group_id: &GroupId,
        epoch: u64,
    ) -> Result<(), ProcessError> {
        let current = self.context.epoch;
        if *group_id != self.context.group_id {
            Err(ProcessError::OtherGroup)
        } else if epoch < current {
            Err(ProcessError::StaleEpoch { message: epoch, current })
        } else if epoch > current {
            Err(ProcessError::FutureEpoch { message: epoch, current })
        } else {
            Ok(())
        }
    }

    /// The key that the content must be signed with (section 6.1).
    pub(crate) fn signature_key_of(
        &self,
        content: &FramedContent,
    ) -> Result<Box<dyn VerifyingKey>, ProcessError> {
        let key = match (content.sender, &content.content) {
            (Sender::Member(leaf), _) => {
                let leaf = self.tree.leaf(leaf).ok_or(ProcessError::UnknownSender)?;
                return self.parse_key(leaf.signature_key());
            }
            (Sender::External(index), _) => {
                let senders = self.external_senders().ok_or(ProcessError::UnknownSender)?;
                let index = usize::try_from(index).map_err(|_| ProcessError::UnknownSender)?;
                let sender = senders.0.into_iter().nth(index);
                sender.ok_or(ProcessError::UnknownSender)?.signature_key
            }
            (Sender::NewMemberProposal, Content::Proposal(Proposal::Add(add))) => {
                add.key_package.leaf_node.signature_key.clone()
            }
            (Sender::NewMemberCommit, Content::Commit(commit)) => match &commit.path {
                Some(path) => path.leaf_node.signature_key.clone(),
                None => return Err(ProposalListViolation::PathMissing.into()),
            },
            (sender, _) => return Err(FramingError::ContentNotAllowed(sender).into()),
        };
        self.parse_key(key.as_bytes())
    }

    fn parse_key(&self, key: &[u8]) -> Result<Box<dyn VerifyingKey>, ProcessError> {
        let key = self.suite.signature.verifying_key(key);
        key.map_err(|_| FramingError::InvalidSignature.into())
    }

    /// What can be said of a proposal by itself, when it is received (section 12.1). What depends on the other proposals
    /// of a commit is checked with the commit.
    pub(crate) fn check_proposal(
        &self,
        verified: &VerifiedContent,
        proposal: &Proposal,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<ReceivedProposal, ProcessError> {
        let content = verified.content();
        self.check_proposal_content(content.sender, proposal, policy, now)
            .and_then(|()| match (proposal, verified.wire_format()) {
                (_, WireFormat::PublicMessage) => Ok(()),
                (Proposal::SelfRemove, _) => Err(ProposalListViolation::SelfRemoveNotPublic),
                _ => Ok(()),
            })
            .and_then(|()| self.check_rules_on(content.sender, proposal, policy))
            .map_err(ProcessError::InvalidProposal)?;
        Ok(ReceivedProposal {
            reference: verified.proposal_ref()?,
            sender: content.sender,
            proposal: proposal.clone(),
            authenticated_data: content.authenticated_data.clone(),
        })
    }

    /// The rules of the application on a proposal in a message of its own.
    pub(crate) fn check_rules_on(
        &self,
        sender: Sender,
        proposal: &Proposal,
        policy: &Policy,
    ) -> Result<(), ProposalListViolation> {
        let proposed = self.proposed_by(&ListedProposal { proposal, sender, by_reference: true });
        Ok(policy.rules.check_proposal(&proposed, &self.context)?)
    }

    /// A proposal as the rules of the application see it.
    pub(crate) fn proposed_by<'p>(&self, listed: &ListedProposal<'p>) -> CommittedProposal<'p> {
        CommittedProposal {
            proposal: listed.proposal,
            sender: listed.sender,
            member: match listed.sender {
                Sender::Member(leaf) => self.tree.leaf(leaf).map(Member::from),
                _ => None,
            },
            by_reference: listed.by_reference,
        }
    }

    /// What a proposal says by itself, apart from the rules of the application.
    pub(crate) fn check_proposal_content(
        &self,
        sender: Sender,
        proposal: &Proposal,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<(), ProposalListViolation> {
        check_sender_may_propose(sender, proposal, &policy.custom)?;
        let check = policy.leaf_check(self.suite, now);
        match (proposal, sender) {
            (Proposal::Add(add), _) => Ok(check_key_package(&add.key_package, &check)?),
            (Proposal::Update(update), Sender::Member(leaf)) => {
                let old = self.tree.leaf(leaf).ok_or(ProposalListViolation::UpdateByNonMember)?;
                let place = SignedPlace::Update(&self.context.group_id, leaf);
                check
                    .check(&update.leaf_node, place)
                    .and_then(|_| check.check_replacement(old, &update.leaf_node))
                    .map_err(ProposalListViolation::Update)
            }
            _ => Ok(()),
        }
    }
}
