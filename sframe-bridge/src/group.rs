//! The bridge to MLS: epochs of a group, and the rules of a call for its commits.

use crate::call_parameters::{CallParameters, ChangeRight, ParametersError};
use crate::epoch::Epoch;
use crate::error::EpochError;
use crate::key_derivation::{BASE_KEY_LABEL, BaseKey};
use crate::suite::CipherSuite;
use mls::validation::{CommittedProposal, GroupRules, RuleContext, RuleViolation};
use mls::wire::{Credential, ExtensionType, GroupContext, Proposal, Sender};
use mls::{Changes, Group};

/// The type of the GroupContext extension that holds the call parameters.
pub const CALL_PARAMETERS: ExtensionType = ExtensionType(CallParameters::EXTENSION_TYPE);

impl Epoch {
    /// The epoch that a group is in, numbered through the groups that a call has had
    /// ([`CallParameters::epochs_before`]). `changes` are those of the commit that began it; `None` for a
    /// group that was just created, joined or restored.
    ///
    /// A restored group's epoch is [`receive_only`](Self::receive_only); one that this member's
    /// own commit with a path began, made in this life of the group, is marked
    /// [`began_after_restore`](Self::began_after_restore).
    ///
    /// # Errors
    ///
    /// [`EpochError::Export`] if this member has been removed.
    pub fn from_group(
        group: &Group,
        suite: CipherSuite,
        changes: Option<&Changes>,
    ) -> Result<Self, EpochError> {
        let secret = group
            .export(BASE_KEY_LABEL, b"", suite.key_length())
            .map_err(|_| EpochError::Export)?;
        let base_key = BaseKey::new(secret.as_bytes().to_vec());
        let live_leaves = group.roster().map(|member| member.leaf.0).collect();
        let before = CallParameters::of_group(group.context()).map_or(0, |call| call.epochs_before);
        let number = before.saturating_add(group.epoch());
        let mut epoch = Self::new(number, base_key, group.own_leaf().0, live_leaves);
        if let Some(changes) = changes {
            epoch.joined = changes.added.iter().map(|member| member.leaf.0).collect();
            epoch.removed = changes.removed.iter().map(|member| member.leaf.0).collect();
            let own = changes.path && changes.committer.leaf == group.own_leaf();
            // One's own commit may come from storage, and its epoch have been entered before a crash.
            epoch.began_after_restore = own && !group.is_restored();
        }
        epoch.receive_only = group.is_restored();
        Ok(epoch)
    }
}

impl CallParameters {
    /// The parameters of the call that a group carries.
    ///
    /// # Errors
    ///
    /// [`ParametersError::Missing`] if it carries none, others if they are malformed.
    pub fn of_group(context: &GroupContext) -> Result<Self, ParametersError> {
        let extension = context.extensions.find(CALL_PARAMETERS).ok_or(ParametersError::Missing)?;
        Self::decode(extension)
    }

    /// The parameters of the call in the group that takes the place of `group`, when a commit of its present epoch covers the
    /// ReInit (RFC 9420 section 11.2). They belong into the extensions of the ReInit.
    ///
    /// Media keys continue: the members install the epoch that the ReInit begins and then, once they have joined it, the
    /// successor's first epoch, both by [`Epoch::from_group`] into the same [`CallKeys`](crate::CallKeys).
    ///
    /// # Errors
    ///
    /// Those of [`CallParameters::of_group`].
    pub fn of_successor(group: &Group) -> Result<Self, ParametersError> {
        Ok(Self::of_group(group.context())?.continued(group.epoch().saturating_add(1)))
    }

    /// The parameters of the successor of a group whose last epoch is `last`.
    fn continued(mut self, last: u64) -> Self {
        self.epochs_before = self.epochs_before.saturating_add(last);
        self
    }
}

/// The rules of a call, which every member and the delivery service set for its group:
///
/// - A commit leaves the call parameters as they are. (A GroupContextExtensions proposal replaces
///   all extensions, RFC 9420 section 12.1.7, so it has to repeat them byte for byte.)
/// - A ReInit carries the same parameters, with the call's epochs counted on: everything else would let media epochs of two groups
///   have one number, or change the layout of KIDs under frames that are on their way.
/// - Nobody is added at a leaf that does not fit in a KID.
/// - Nobody outside the call proposes anything to it: neither newcomers their own addition, which the others would commit unasked, nor
///   external senders.
/// - Only those add and remove whom the parameters allow to, by the credential that they have before the commit. Whoever is
///   allowed may propose and leave the commit to another member; everybody may propose the removal of themselves.
/// - An external commit is a resync: it removes one's own leaf, and credential and signature key
///   stay the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallRules;

impl GroupRules for CallRules {
    fn check_proposal(
        &self,
        proposed: &CommittedProposal<'_>,
        _: &GroupContext,
    ) -> Result<(), RuleViolation> {
        match proposed.sender {
            Sender::Member(_) | Sender::NewMemberCommit => Ok(()),
            Sender::External(_) | Sender::NewMemberProposal => refuse("proposer-is-no-member"),
        }
    }

    fn check(&self, context: &RuleContext<'_>) -> Result<(), RuleViolation> {
        let before = context.old.extensions.find(CALL_PARAMETERS);
        let after = context.new.extensions.find(CALL_PARAMETERS);
        if before != after {
            return refuse("call-parameters-changed");
        }
        let Ok(parameters) = CallParameters::of_group(context.new) else {
            return refuse("call-parameters-missing-or-malformed");
        };
        if let Some(reinit) = &context.changes.reinit {
            let continued = parameters.clone().continued(context.new.epoch);
            if reinit.extensions.find(CALL_PARAMETERS) != Some(&continued.encode()) {
                return refuse("reinit-does-not-continue-the-call");
            }
        }
        let fits = |leaf: u32| leaf < parameters.layout.leaf_count();
        if !context.changes.added.iter().all(|member| fits(member.leaf.0)) {
            return refuse("leaf-too-large-for-kid");
        }
        if context.changes.external {
            return check_resync(context.changes);
        }
        let policy = &parameters.membership;
        for committed in context.proposals {
            let right = match committed.proposal {
                Proposal::Add(_) => policy.add,
                Proposal::Remove(remove) if committed.sender == Sender::Member(remove.removed) => {
                    ChangeRight::AnyMember
                }
                Proposal::Remove(_) => policy.remove,
                _ => ChangeRight::AnyMember,
            };
            let allowed = right == ChangeRight::AnyMember
                || committed.member.as_ref().is_some_and(|proposer| {
                    matches!(&proposer.credential, Credential::Basic(identity)
                        if policy.moderators.contains(identity))
                });
            if !allowed {
                return refuse("proposer-is-no-moderator");
            }
        }
        Ok(())
    }
}

fn refuse(rule: &'static str) -> Result<(), RuleViolation> {
    Err(RuleViolation { rule })
}

fn check_resync(changes: &Changes) -> Result<(), RuleViolation> {
    let [former] = changes.removed.as_slice() else {
        return refuse("external-commit-is-no-resync");
    };
    let same = former.credential == changes.committer.credential
        && former.signature_key == changes.committer.signature_key;
    if same { Ok(()) } else { refuse("resync-changes-identity") }
}
