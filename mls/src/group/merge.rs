//! Entering the epoch that a commit starts.

use crate::{
    error::MergeError,
    wire::{GroupId, LeafIndex},
};

use super::{
    EpochChange, Group, StagedCommit,
    next_epoch::{MemberSecrets, NextPublic},
};

impl Group {
    /// Puts a commit of another member into effect.
    ///
    /// # Errors
    /// [`MergeError`] when the group has moved on since the commit was staged, or another member staged it; the group is
    /// as before.
    pub fn merge(&mut self, staged: StagedCommit) -> Result<EpochChange, MergeError> {
        self.check_follows(&staged.group_id, staged.own_leaf, &staged.next)?;
        if let Some(client) = staged.identity {
            self.client = client;
        }
        Ok(self.enter(staged.next, staged.secrets, staged.fresh))
    }

    pub(super) fn check_follows(
        &self,
        group_id: &GroupId,
        own_leaf: LeafIndex,
        next: &NextPublic,
    ) -> Result<(), MergeError> {
        if *group_id != self.state.context.group_id {
            Err(MergeError::OtherGroup)
        } else if own_leaf != self.own_leaf {
            Err(MergeError::OtherMember)
        } else if next.follows(&self.state) {
            Ok(())
        } else {
            Err(MergeError::Superseded)
        }
    }

    /// `fresh` tells that keys of this member are part of the epoch which it has made in this life of the group.
    pub(super) fn enter(
        &mut self,
        next: NextPublic,
        secrets: Option<MemberSecrets>,
        fresh: bool,
    ) -> EpochChange {
        let left = std::mem::replace(&mut self.secrets, secrets);
        if let Some(left) = left {
            self.past.push(&self.state, &next, left, self.client.options());
        }
        if self.secrets.is_none() {
            self.past.clear();
        }
        self.closed = next.changes.reinit.clone();
        let changes = next.apply(&mut self.state);
        self.proposals.clear();
        self.updates.clear();
        self.restored &= !fresh;
        EpochChange { epoch: self.state.context.epoch, changes }
    }
}
