//! What the server has said that is not done yet. It may come before this participant is a member:
//! the server counts it as one from the commit that adds it, the participant from its Welcome on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mls::KeyPackage;
use mls::wire::KeyPackageRef;
use sframe_bridge::Now;
use sframe_bridge::committer::{ChangeKind, PendingChange};
use sfu_protocol::{ChangeId, LogEntry};

/// Entries that are held until those before them have come.
const MAX_HELD: usize = 4096;

/// Pending changes that are kept; a call has fewer leaves.
const MAX_WAITING: usize = 8192;

/// Epochs of which acknowledgements are kept.
const MAX_EPOCHS: usize = 64;

/// A removal is carried out long before it has waited for so long, unless commits are kept back.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(5);

struct Waiting {
    since: Now,
    kind: WaitingKind,
    /// The epoch that the server was in when it said so, as far as is known here.
    head: u64,
    /// It has been told that this waits for too long.
    told: bool,
}

enum WaitingKind {
    Add { key_package: Box<KeyPackage>, reference: KeyPackageRef },
    Remove { leaf: u32 },
    Proposal,
}

/// Pending changes, acknowledgements, and log entries whose turn has not come.
#[derive(Default)]
pub(super) struct Notices {
    head: u64,
    waiting: BTreeMap<ChangeId, Waiting>,
    /// Changes that were resolved before they were heard of: messages may overtake each other.
    resolved_before: BTreeSet<ChangeId>,
    acknowledged: BTreeMap<u64, BTreeSet<u32>>,
    held: VecDeque<LogEntry>,
}

impl Notices {
    /// A connection begins with an empty list of changes.
    pub(super) fn clear_changes(&mut self) {
        self.waiting.clear();
        self.resolved_before.clear();
    }

    /// The server is in this epoch: what it says from now on to be pending, is pending in it.
    pub(super) fn server_in(&mut self, epoch: u64) {
        self.head = epoch;
    }

    /// Takes in a pending change; for an add, `key_package` is the one in it, if it is valid.
    pub(super) fn add_change(
        &mut self,
        change: &sfu_protocol::PendingChange,
        key_package: Option<(KeyPackage, KeyPackageRef)>,
        now: Now,
    ) {
        let kind = match (&change.kind, key_package) {
            (sfu_protocol::ChangeKind::Add { .. }, Some((key_package, reference))) => {
                WaitingKind::Add { key_package: Box::new(key_package), reference }
            }
            // The server should have refused it, and nobody else can add it either.
            (sfu_protocol::ChangeKind::Add { .. }, None) => return,
            (sfu_protocol::ChangeKind::Remove { leaf, .. }, _) => {
                WaitingKind::Remove { leaf: *leaf }
            }
            (sfu_protocol::ChangeKind::Proposal { .. }, _) => WaitingKind::Proposal,
        };
        if self.resolved_before.remove(&change.id) {
            return;
        }
        if self.waiting.len() < MAX_WAITING {
            let age = Duration::from_millis(change.age_ms).as_micros();
            let age = u64::try_from(age).unwrap_or(u64::MAX);
            let since = Now::from_micros(now.as_micros().saturating_sub(age));
            self.waiting.insert(change.id, Waiting { since, kind, head: self.head, told: false });
        }
    }

    /// Forgets a pending change.
    pub(super) fn resolve(&mut self, change: ChangeId) {
        if self.waiting.remove(&change).is_none() {
            self.resolved_before.insert(change);
            while self.resolved_before.len() > MAX_EPOCHS {
                self.resolved_before.pop_first();
            }
        }
    }

    /// Forgets the adds: they cannot be committed.
    pub(super) fn drop_adds(&mut self) {
        self.waiting.retain(|_, waiting| !matches!(waiting.kind, WaitingKind::Add { .. }));
    }

    /// The key packages that wait to be added.
    pub(super) fn adds(&self) -> impl Iterator<Item = &KeyPackage> {
        self.waiting.values().filter_map(|waiting| match &waiting.kind {
            WaitingKind::Add { key_package, .. } => Some(&**key_package),
            _ => None,
        })
    }

    /// The leaves that wait to be removed, each once.
    pub(super) fn removes(&self) -> Vec<u32> {
        let leaf = |waiting: &Waiting| match waiting.kind {
            WaitingKind::Remove { leaf } => Some(leaf),
            _ => None,
        };
        let mut leaves: Vec<_> = self.waiting.values().filter_map(leaf).collect();
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }

    fn overdue(&self) -> impl Iterator<Item = Now> {
        let untold = |waiting: &&Waiting| {
            !waiting.told && matches!(waiting.kind, WaitingKind::Remove { .. })
        };
        self.waiting.values().filter(untold).map(|waiting| waiting.since + REMOVAL_PATIENCE)
    }

    /// When a removal will have waited for too long.
    pub(super) fn patience_ends(&self) -> Option<Now> {
        self.overdue().min()
    }

    /// Leaves whose removal has waited for too long, each told once.
    pub(super) fn take_overdue(&mut self, now: Now) -> Vec<u32> {
        if self.patience_ends().is_none_or(|end| end > now) {
            return Vec::new();
        }
        let mut leaves = Vec::new();
        for waiting in self.waiting.values_mut().filter(|waiting| !waiting.told) {
            if let WaitingKind::Remove { leaf } = waiting.kind
                && waiting.since + REMOVAL_PATIENCE <= now
            {
                waiting.told = true;
                leaves.push(leaf);
            }
        }
        leaves
    }

    /// All pending changes for the committer.
    pub(super) fn changes(&self) -> Vec<PendingChange> {
        self.waiting
            .values()
            .map(|waiting| PendingChange {
                since: waiting.since,
                kind: match waiting.kind {
                    WaitingKind::Add { .. } => ChangeKind::Add,
                    WaitingKind::Remove { leaf } => ChangeKind::Remove { leaf },
                    WaitingKind::Proposal => ChangeKind::NewEpoch,
                },
            })
            .collect()
    }

    /// The group is in `epoch`, whose commit welcomed these and removed these leaves. What the commit carried out no
    /// longer waits: the server says so too, but a moment later. What the server said to be pending in that epoch
    /// or a later one is of leaves that were taken anew; that happens while the log is replayed.
    pub(super) fn advanced(&mut self, epoch: u64, welcomed: &[KeyPackageRef], removed: &[u32]) {
        self.waiting.retain(|_, waiting| match &waiting.kind {
            WaitingKind::Add { reference, .. } => !welcomed.contains(reference),
            _ if waiting.head >= epoch => true,
            WaitingKind::Remove { leaf } => !removed.contains(leaf),
            WaitingKind::Proposal => false,
        });
        self.acknowledged = self.acknowledged.split_off(&epoch);
    }

    pub(super) fn acknowledge(&mut self, epoch: u64, leaves: &[u32]) {
        self.acknowledged.entry(epoch).or_default().extend(leaves);
        while self.acknowledged.len() > MAX_EPOCHS {
            self.acknowledged.pop_first();
        }
    }

    /// Everybody who is known to have acknowledged an epoch, by ascending leaf.
    pub(super) fn acknowledgements(&self, epoch: u64) -> impl Iterator<Item = u32> {
        self.acknowledged.get(&epoch).into_iter().flatten().copied()
    }

    /// Keeps an entry until those before it have come. Returns false if there are too many.
    pub(super) fn hold(&mut self, entry: LogEntry) -> bool {
        if self.held.len() >= MAX_HELD {
            return false;
        }
        let order = |entry: &LogEntry| (entry.epoch, entry.seq);
        let place = self.held.partition_point(|held| order(held) < order(&entry));
        if self.held.get(place).is_none_or(|held| order(held) != order(&entry)) {
            self.held.insert(place, entry);
        }
        true
    }

    /// The next entry held that belongs to this epoch; older ones are thrown away.
    pub(super) fn next_held(&mut self, epoch: u64) -> Option<LogEntry> {
        while self.held.front().is_some_and(|entry| entry.epoch < epoch) {
            self.held.pop_front();
        }
        let is_next = self.held.front().is_some_and(|entry| entry.epoch == epoch);
        if is_next { self.held.pop_front() } else { None }
    }

    /// The log ends at this epoch: entries of later ones are not from it.
    pub(super) fn forget_beyond(&mut self, head: u64) {
        self.held.retain(|entry| entry.epoch <= head);
    }

    /// Whether entries of later epochs are held.
    pub(super) fn holds_entries(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_protocol::{Blob, EntryKind, Identity, RemovalReason};

    fn entry(seq: u64, epoch: u64) -> LogEntry {
        let kind = EntryKind::Commit;
        LogEntry { seq, epoch, kind, sender: None, message: Blob::default() }
    }

    #[test]
    fn entries_come_out_in_order_and_once() {
        let mut notices = Notices::default();
        for (seq, epoch) in [(5, 3), (4, 2), (3, 1), (4, 2)] {
            assert!(notices.hold(entry(seq, epoch)));
        }
        assert_eq!(notices.next_held(2).map(|entry| entry.seq), Some(4));
        assert_eq!(notices.next_held(2), None);
        assert!(notices.holds_entries());
        assert_eq!(notices.next_held(3).map(|entry| entry.seq), Some(5));
        assert!(!notices.holds_entries());
        // One that claims another epoch does not keep the true one of its place out.
        assert!(notices.hold(entry(8, 900)) && notices.hold(entry(8, 4)));
        assert_eq!(notices.next_held(4).map(|entry| entry.epoch), Some(4));
        assert!(notices.holds_entries());
        notices.forget_beyond(5);
        assert!(!notices.holds_entries());
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut notices = Notices::default();
        for seq in 0..MAX_HELD as u64 {
            assert!(notices.hold(entry(seq, seq)));
        }
        assert!(!notices.hold(entry(u64::MAX, 1)));
        for epoch in 0..1000 {
            notices.acknowledge(epoch, &[1]);
        }
        assert_eq!(notices.acknowledged.len(), MAX_EPOCHS);
        assert!(
            notices.acknowledgements(999).eq([1]) && notices.acknowledgements(1).next().is_none()
        );
    }

    #[test]
    fn a_change_that_is_resolved_before_it_is_heard_of_does_not_wait() {
        let change = |id| sfu_protocol::PendingChange {
            id: ChangeId(id),
            age_ms: 0,
            kind: sfu_protocol::ChangeKind::Proposal { proposal: Blob::default() },
        };
        let mut notices = Notices::default();
        notices.resolve(ChangeId(2));
        for id in [1, 2] {
            notices.add_change(&change(id), None, Now::from_millis(5));
        }
        assert_eq!(notices.changes().len(), 1);
        notices.resolve(ChangeId(1));
        assert!(notices.changes().is_empty());
    }

    fn removal(id: u64, leaf: u32) -> sfu_protocol::PendingChange {
        sfu_protocol::PendingChange {
            id: ChangeId(id),
            age_ms: 10,
            kind: sfu_protocol::ChangeKind::Remove {
                leaf,
                identity: Identity::new("bob"),
                reason: RemovalReason::Left,
                proposal: None,
            },
        }
    }

    #[test]
    fn a_removal_waits_until_a_commit_carries_it_out() {
        let mut notices = Notices::default();
        for (id, leaf) in [(1, 4), (2, 4), (3, 5)] {
            notices.add_change(&removal(id, leaf), None, Now::from_millis(100));
        }
        assert_eq!(notices.removes(), [4, 5]);
        assert_eq!(notices.changes()[0].since, Now::from_millis(90));
        // In the epoch that this commit began somebody else sits there, who is to go too.
        let mut later = Notices::default();
        later.server_in(1);
        later.add_change(&removal(1, 4), None, Now::from_millis(100));
        later.advanced(1, &[], &[4]);
        assert_eq!(later.removes(), [4]);
        notices.advanced(1, &[], &[4]);
        assert_eq!(notices.removes(), [5]);
        notices.resolve(ChangeId(3));
        assert!(notices.changes().is_empty());
    }
}
