//! Whether a group continues another one as it claims (RFC 9420 sections 11.2, 11.3, 12.4.3.1).

use std::collections::HashMap;

use crate::{
    group::Member,
    wire::{Credential, GroupContext, ReInit},
};

use super::CredentialValidator;

/// The rule of RFC 9420 sections 11.2, 11.3 or 12.4.3.1 that a successor or a branch of a group breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuccessionViolation {
    /// Without exactly one resumption PSK of usage `reinit` or `branch` a group continues no other one (section 12.4.3.1).
    #[error("expected exactly one resumption psk of usage reinit or branch")]
    LinkCount,
    /// The PSK names another group, or another epoch than the one that the ReInit began (section 11.2).
    #[error("the resumption psk is of another group or epoch than the one at hand")]
    OtherPredecessor,
    /// The PSK is of an epoch that the group at hand has not reached here; its commits have to be processed first.
    #[error("the resumption psk is of epoch {epoch}, the group at hand is in epoch {current}")]
    Early {
        /// The epoch of the PSK.
        epoch: u64,
        /// The epoch of the group at hand.
        current: u64,
    },
    /// The last commit of the group holds no ReInit (section 12.4.3.1).
    #[error("the last commit of the group holds no reinit")]
    NotReinitialized,
    /// The group is not in its epoch 1.
    #[error("the epoch is {0}, not 1")]
    Epoch(u64),
    /// The protocol version is not that of the ReInit, or of the parent group.
    #[error("the protocol version is not the one agreed on")]
    Version,
    /// The suite is not that of the ReInit, or of the parent group.
    #[error("the cipher suite is not the one agreed on")]
    CipherSuite,
    /// The identifier is not that of the ReInit.
    #[error("the group id is not that of the reinit")]
    GroupId,
    /// A branch has the identifier of its parent, which goes on under it (section 12.4.3).
    #[error("the group id is in use by the parent group")]
    GroupIdInUse,
    /// The extensions are not those of the ReInit.
    #[error("the extensions of the group are not those of the reinit")]
    Extensions,
    /// Somebody of the old group is not in its successor.
    #[error("member at leaf {} of the old group is missing", .0.leaf)]
    MemberMissing(Box<Member>),
    /// Somebody is in the new group who was not in the old one.
    #[error("member at leaf {} of the new group was not in the old one", .0.leaf)]
    Stranger(Box<Member>),
}

/// A successor is what the ReInit asked for (sections 11.2, 12.4.3.1): its parameters, and its membership.
pub(crate) fn check_reinit_parameters(
    reinit: &ReInit,
    context: &GroupContext,
) -> Result<(), SuccessionViolation> {
    if context.epoch != 1 {
        return Err(SuccessionViolation::Epoch(context.epoch));
    }
    if context.version != reinit.version {
        return Err(SuccessionViolation::Version);
    }
    if context.cipher_suite != reinit.cipher_suite {
        return Err(SuccessionViolation::CipherSuite);
    }
    if context.group_id != reinit.group_id {
        return Err(SuccessionViolation::GroupId);
    }
    if context.extensions != reinit.extensions {
        return Err(SuccessionViolation::Extensions);
    }
    Ok(())
}

/// A branch has the parameters that section 11.3 ties to its parent's.
pub(crate) fn check_branch_parameters(
    parent: &GroupContext,
    context: &GroupContext,
) -> Result<(), SuccessionViolation> {
    if context.epoch != 1 {
        return Err(SuccessionViolation::Epoch(context.epoch));
    }
    if context.version != parent.version {
        return Err(SuccessionViolation::Version);
    }
    if context.cipher_suite != parent.cipher_suite {
        return Err(SuccessionViolation::CipherSuite);
    }
    if context.group_id == parent.group_id {
        return Err(SuccessionViolation::GroupIdInUse);
    }
    Ok(())
}

/// Old and new group have the same members, one to one, as the application tells them by their credentials
/// (section 11.2).
pub(crate) fn check_same_members(
    old: impl IntoIterator<Item = Member>,
    new: impl IntoIterator<Item = Member>,
    validator: &dyn CredentialValidator,
) -> Result<(), SuccessionViolation> {
    let mut waiting: HashMap<Credential, Vec<Member>> = HashMap::new();
    for member in new {
        waiting.entry(member.credential.clone()).or_default().push(member);
    }
    let identical = |member: &Member| {
        waiting.get_mut(&member.credential).is_some_and(|same| same.pop().is_some())
    };
    // Whoever kept its credential comes first, so that nobody else takes its place.
    let (_, changed): (Vec<_>, Vec<_>) = old.into_iter().partition(identical);
    let mut left: Vec<Member> = waiting.into_values().flatten().collect();
    left.sort_by_key(|member| member.leaf);
    for member in changed {
        let place = left.iter().position(|new| continues(validator, &member, new));
        match place {
            Some(place) => drop(left.remove(place)),
            None => return Err(SuccessionViolation::MemberMissing(Box::new(member))),
        }
    }
    match left.into_iter().next() {
        Some(stranger) => Err(SuccessionViolation::Stranger(Box::new(stranger))),
        None => Ok(()),
    }
}

/// Every member of a branch is a member of its parent (section 11.3).
pub(crate) fn check_subset(
    parent: impl IntoIterator<Item = Member>,
    branch: impl IntoIterator<Item = Member>,
    validator: &dyn CredentialValidator,
) -> Result<(), SuccessionViolation> {
    let parent: HashMap<Credential, Member> =
        parent.into_iter().map(|member| (member.credential.clone(), member)).collect();
    for member in branch {
        let known = parent.contains_key(&member.credential)
            || parent.values().any(|old| continues(validator, old, &member));
        if !known {
            return Err(SuccessionViolation::Stranger(Box::new(member)));
        }
    }
    Ok(())
}

fn continues(validator: &dyn CredentialValidator, old: &Member, new: &Member) -> bool {
    validator.validate_successor(&old.credential, &new.credential).is_ok()
}
