use std::collections::BTreeMap;

use bytes::Bytes;

use crate::protocol::{Blob, ChangeId, ChangeKind, Identity, PendingChange, RemovalReason};

use super::Now;

/// Something that a commit should take up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Add { identity: Identity, name: String, key_package: Bytes, reference: Bytes },
    Remove { leaf: u32, identity: Identity, reason: RemovalReason, proposal: Option<Bytes> },
    Proposal { leaf: u32, message: Bytes },
}

/// A pending removal.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingRemoval {
    pub(super) leaf: u32,
    pub(super) reason: RemovalReason,
    pub(super) since: Now,
}

/// The pending changes of a call, and which of them have not been told yet.
#[derive(Debug)]
pub(super) struct PendingChanges {
    next: u64,
    changes: BTreeMap<ChangeId, Entry>,
    added: Vec<ChangeId>,
    resolved: Vec<ChangeId>,
}

#[derive(Debug)]
struct Entry {
    since: Now,
    change: Change,
}

/// What is to be told of pending changes.
#[derive(Debug)]
pub(super) struct Delta {
    pub(super) added: Vec<PendingChange>,
    pub(super) resolved: Vec<ChangeId>,
}

impl PendingChanges {
    /// Names rise from the present moment on, so that none comes again after a restart.
    pub(super) fn new(now: Now) -> Self {
        Self {
            next: now.as_unix_micros(),
            changes: BTreeMap::new(),
            added: Vec::new(),
            resolved: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, change: Change, since: Now) {
        let id = ChangeId(self.next);
        self.next += 1;
        self.changes.insert(id, Entry { since, change });
        self.added.push(id);
    }

    /// Resolves what `which` selects.
    pub(super) fn resolve(&mut self, mut which: impl FnMut(&Change) -> bool) -> usize {
        let gone: Vec<ChangeId> = self
            .changes
            .iter()
            .filter(|(_, entry)| which(&entry.change))
            .map(|(id, _)| *id)
            .collect();
        for id in &gone {
            self.changes.remove(id);
            match self.added.iter().position(|untold| untold == id) {
                Some(at) => {
                    self.added.remove(at);
                }
                None => self.resolved.push(*id),
            }
        }
        gone.len()
    }

    /// Forgets everything, told or not.
    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.added.clear();
        self.resolved.clear();
    }

    /// Notes a removal. Of two for one leaf the weightier reason stays; it inherits the age.
    pub(super) fn remove_leaf(
        &mut self,
        leaf: u32,
        identity: Identity,
        reason: RemovalReason,
        proposal: Option<Bytes>,
        now: Now,
    ) {
        let mut since = now;
        if let Some(present) = self.removal_of(leaf) {
            if weight(present.reason) >= weight(reason) {
                return;
            }
            since = present.since;
            self.resolve(
                |change| matches!(change, Change::Remove { leaf: other, .. } if *other == leaf),
            );
        }
        self.insert(Change::Remove { leaf, identity, reason, proposal }, since);
    }

    /// Begins an epoch: logged proposals that the last commit did not take up are void. A removal that was
    /// proposed stays due, though without its proposal.
    pub(super) fn begin_epoch(&mut self) {
        self.resolve(|change| matches!(change, Change::Proposal { .. }));
        let mut again = Vec::new();
        for entry in self.changes.values() {
            if let Change::Remove { leaf, identity, reason, proposal: Some(_) } = &entry.change {
                again.push((entry.since, *leaf, identity.clone(), *reason));
            }
        }
        self.resolve(|change| matches!(change, Change::Remove { proposal: Some(_), .. }));
        for (since, leaf, identity, reason) in again {
            self.insert(Change::Remove { leaf, identity, reason, proposal: None }, since);
        }
    }

    pub(super) fn removal_of(&self, leaf: u32) -> Option<PendingRemoval> {
        self.removals().find(|removal| removal.leaf == leaf)
    }

    pub(super) fn removals(&self) -> impl Iterator<Item = PendingRemoval> {
        self.changes.values().filter_map(|entry| match entry.change {
            Change::Remove { leaf, reason, .. } => {
                Some(PendingRemoval { leaf, reason, since: entry.since })
            }
            _ => None,
        })
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.values().map(|entry| &entry.change)
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Everything pending, as it is told to a member that knows nothing yet.
    pub(super) fn all(&self, now: Now) -> Vec<PendingChange> {
        self.changes.iter().map(|(id, entry)| entry.tell(*id, now)).collect()
    }

    /// What has changed since it was last told.
    pub(super) fn take_delta(&mut self, now: Now) -> Option<Delta> {
        if self.added.is_empty() && self.resolved.is_empty() {
            return None;
        }
        let added = std::mem::take(&mut self.added)
            .into_iter()
            .filter_map(|id| self.changes.get(&id).map(|entry| entry.tell(id, now)))
            .collect();
        Some(Delta { added, resolved: std::mem::take(&mut self.resolved) })
    }
}

impl Entry {
    fn tell(&self, id: ChangeId, now: Now) -> PendingChange {
        let kind = match self.change.clone() {
            Change::Add { identity, name, key_package, .. } => {
                ChangeKind::Add { identity, name, key_package: key_package.into() }
            }
            Change::Remove { leaf, identity, reason, proposal } => {
                ChangeKind::Remove { leaf, identity, reason, proposal: proposal.map(Blob::from) }
            }
            Change::Proposal { message, .. } => ChangeKind::Proposal { proposal: message.into() },
        };
        let age = now.since(self.since).as_millis();
        PendingChange { id, age_ms: u64::try_from(age).unwrap_or(u64::MAX), kind }
    }
}

/// Which reason stays when a leaf has two: one that may be withdrawn yields to one that may not.
fn weight(reason: RemovalReason) -> u8 {
    match reason {
        RemovalReason::Gone => 0,
        RemovalReason::Rejoins => 1,
        RemovalReason::Left => 2,
        RemovalReason::Moderator => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: Now = Now::from_unix_micros(1_000_000);

    fn remove(pending: &mut PendingChanges, reason: RemovalReason, proposal: bool, now: Now) {
        let proposal = proposal.then(|| Bytes::from_static(b"proposal"));
        pending.remove_leaf(3, Identity::new("carol"), reason, proposal, now);
    }

    #[test]
    fn a_change_that_comes_and_goes_untold_is_never_told() {
        let mut pending = PendingChanges::new(START);
        remove(&mut pending, RemovalReason::Gone, false, START);
        assert_eq!(pending.resolve(|_| true), 1);
        assert!(pending.take_delta(START).is_none());
    }

    #[test]
    fn the_weightier_reason_stays_and_inherits_the_age() {
        let mut pending = PendingChanges::new(START);
        remove(&mut pending, RemovalReason::Gone, false, START);
        let first = pending.take_delta(START).unwrap().added.remove(0);
        let later = START + Duration::from_millis(400);
        remove(&mut pending, RemovalReason::Moderator, true, later);
        remove(&mut pending, RemovalReason::Left, false, later);
        let delta = pending.take_delta(later).unwrap();
        assert_eq!(delta.resolved, [first.id]);
        assert_eq!(delta.added.len(), 1);
        assert_eq!(delta.added[0].age_ms, 400);
        assert!(delta.added[0].id > first.id);
        assert_eq!(pending.removal_of(3).unwrap().reason, RemovalReason::Moderator);
    }

    #[test]
    fn a_proposed_removal_outlives_its_proposal() {
        let mut pending = PendingChanges::new(START);
        remove(&mut pending, RemovalReason::Moderator, true, START);
        pending.insert(Change::Proposal { leaf: 1, message: Bytes::from_static(b"update") }, START);
        pending.take_delta(START);
        pending.begin_epoch();
        let delta = pending.take_delta(START).unwrap();
        assert_eq!(delta.resolved.len(), 2);
        assert!(matches!(
            delta.added.as_slice(),
            [PendingChange { kind: ChangeKind::Remove { proposal: None, .. }, .. }]
        ));
    }
}
