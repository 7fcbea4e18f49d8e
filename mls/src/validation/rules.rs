//! Rules of the application on commits, as a hook (RFC 9420 section 12.2).

use crate::{
    group::{Changes, Member},
    wire::{GroupContext, Proposal, Sender},
};

/// A commit breaks a rule of the application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rule of the application forbids it: {rule}")]
pub struct RuleViolation {
    /// A stable name of the rule, for logs and tests.
    pub rule: &'static str,
}

/// A proposal, with the one who proposed it.
#[derive(Clone, Debug)]
pub struct CommittedProposal<'a> {
    /// The proposal.
    pub proposal: &'a Proposal,
    /// Who proposed it; for a proposal by value the committer.
    pub sender: Sender,
    /// That member, as it was before the commit; absent for senders outside the group.
    pub member: Option<Member>,
    /// True when it came in a message of its own, and the commit names it by reference.
    pub by_reference: bool,
}

/// What the application's rules see of a commit.
#[derive(Debug)]
pub struct RuleContext<'a> {
    /// Who commits: a member, or a new member by external commit.
    pub committer: Sender,
    /// The proposals, in the order of the commit.
    pub proposals: &'a [CommittedProposal<'a>],
    /// The group before the commit.
    pub old: &'a GroupContext,
    /// Extensions, group id, suite and epoch after the commit. Tree hash and transcript hash are still the old ones.
    pub new: &'a GroupContext,
    /// Who joins, leaves and changes keys.
    pub changes: &'a Changes,
    /// Number of members after the commit.
    pub members: u32,
    /// Number of leaves of the tree after the commit, blank ones included: every leaf index lies below it.
    pub tree_width: u32,
}

/// Rules of the application on what a commit may do, beyond those of RFC 9420 (section 12.2, last paragraphs).
///
/// Every member runs them when it builds or processes a commit, and a delivery service when it validates one. They must
/// depend on nothing but their argument: a member that comes to another verdict than the others is left behind.
pub trait GroupRules: Send + Sync {
    /// Checks a proposal by itself, in the epoch described by `group`: before this member sends it, when one arrives, and when
    /// a commit brings it by value. Whether those outside the group may add themselves is decided here, or with the commit
    /// (section 12.1.8): `proposed.sender` tells who asks.
    ///
    /// A proposal that is refused is not kept. The default accepts all.
    ///
    /// # Errors
    /// [`RuleViolation`]; the proposal is then invalid.
    fn check_proposal(
        &self,
        proposed: &CommittedProposal<'_>,
        group: &GroupContext,
    ) -> Result<(), RuleViolation> {
        let _ = (proposed, group);
        Ok(())
    }

    /// Checks a commit that is valid by the rules of RFC 9420.
    ///
    /// # Errors
    /// [`RuleViolation`]; the commit is then invalid.
    fn check(&self, context: &RuleContext<'_>) -> Result<(), RuleViolation>;
}

/// No rules beyond those of RFC 9420.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFurtherRules;

impl GroupRules for NoFurtherRules {
    fn check(&self, _: &RuleContext<'_>) -> Result<(), RuleViolation> {
        Ok(())
    }
}
