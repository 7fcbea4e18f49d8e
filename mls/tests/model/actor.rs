//! Somebody with a client, in the group or not, and what it has stored.

use std::collections::HashSet;

use mls::{Client, Group, SnapshotKey, wire::SignaturePublicKey};
use rand::{SeedableRng, rngs::StdRng};

use crate::glass;

/// Where a member stands: all of it is stored together, and restored together.
#[derive(Clone, Default)]
pub(crate) struct Position {
    /// The next entry of the log to read.
    pub(crate) next: usize,
    /// The epoch in which this state of the group began, by Welcome or external commit.
    pub(crate) joined: u64,
    /// Entries of the log that were processed.
    pub(crate) processed: HashSet<usize>,
    /// Application data that were read.
    pub(crate) read: HashSet<usize>,
}

pub(crate) struct Snapshot {
    bytes: Vec<u8>,
    position: Position,
}

pub(crate) struct Actor {
    pub(crate) name: usize,
    pub(crate) client: Client,
    /// Absent before joining, and when the state is of no use any more.
    pub(crate) group: Option<Group>,
    pub(crate) position: Position,
    pub(crate) snapshots: Vec<Snapshot>,
    /// After a crash: what it sent up to this epoch may be forgotten.
    pub(crate) forgets: Option<u64>,
}

/// States kept by somebody who has been removed since.
pub(crate) struct Ghost {
    pub(crate) group: Group,
    /// The last epoch that it was a member of.
    pub(crate) last: u64,
}

pub(crate) fn snapshot_key() -> SnapshotKey {
    SnapshotKey::new(&[3; SnapshotKey::LENGTH])
}

/// The state of a group, comparable: the randomness of the encryption is fixed.
pub(crate) fn state(group: &Group) -> Vec<u8> {
    glass::unwatched(|| group.save(&snapshot_key(), &mut StdRng::seed_from_u64(0)).unwrap())
}

pub(crate) fn copy(group: &Group) -> Group {
    group.client().restore(&state(group), &snapshot_key()).unwrap()
}

impl Actor {
    pub(crate) fn new(name: usize, client: Client) -> Self {
        Self {
            name,
            client,
            group: None,
            position: Position::default(),
            snapshots: Vec::new(),
            forgets: None,
        }
    }

    pub(crate) fn key(&self) -> SignaturePublicKey {
        self.client.identity().public()
    }

    /// Takes its place in the group.
    pub(crate) fn enter(&mut self, group: Group, next: usize) {
        self.leave();
        self.position = Position { next, joined: group.epoch(), ..Position::default() };
        self.group = Some(group);
    }

    /// The group is of no use to it any more, and what it saved neither.
    pub(crate) fn leave(&mut self) {
        self.group = None;
        self.position = Position::default();
        self.snapshots.clear();
        self.forgets = None;
    }

    /// The group, while this member may act in it.
    pub(crate) fn active(&self) -> Option<&Group> {
        self.group.as_ref().filter(|group| group.is_active())
    }

    pub(crate) fn epoch(&self) -> Option<u64> {
        self.active().map(Group::epoch)
    }

    /// True when it may have sent something in this epoch that it does not remember.
    pub(crate) fn is_forgetful(&self, epoch: u64) -> bool {
        self.forgets.is_some_and(|last| epoch <= last)
    }

    /// Saves, having checked that the state survives it.
    pub(crate) fn save(&mut self, rng: &mut StdRng) {
        let Some(group) = &self.group else { return };
        let restored = copy(group);
        assert!(state(&restored) == state(group), "{}: restoring changed the state", self.name);
        let bytes = group.save(&snapshot_key(), rng).unwrap();
        self.snapshots.push(Snapshot { bytes, position: self.position.clone() });
        if self.snapshots.len() > 6 {
            self.snapshots.remove(0);
        }
    }

    /// Loses what is in memory, and comes back from the snapshot that many before the last. True when there was one.
    pub(crate) fn crash(&mut self, back: usize) -> bool {
        let keep = self.snapshots.len().saturating_sub(back);
        let Some(snapshot) = keep.checked_sub(1).and_then(|last| self.snapshots.get(last)) else {
            return false;
        };
        let group = self.client.restore(&snapshot.bytes, &snapshot_key()).unwrap();
        assert!(group.is_restored());
        self.position = snapshot.position.clone();
        self.forgets = self.forgets.max(self.epoch());
        self.group = Some(group);
        self.snapshots.truncate(keep);
        true
    }
}
