//! How long each change of the roster takes until everybody has followed it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sframe_bridge::Now;
use sfu_sim::protocol::{ChangeId, ChangeKind, DeliveryEvent, EntryKind};

use super::report::Durations;

/// An epoch that not everybody has followed yet.
struct Open {
    /// The changes that its commit carried out, with the time that each was pending since.
    changes: Vec<Change>,
    /// Who has not switched its sending to it, or to a later one.
    senders: BTreeSet<usize>,
    /// Who has not the receive keys of it, or of a later one.
    receivers: BTreeSet<usize>,
    switched: bool,
    ready: bool,
}

#[derive(Clone, Copy)]
struct Change {
    since: Now,
    removes: bool,
}

/// A removal after which nobody sends under keys that the removed member has.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    /// The epoch that the removal began: all below may be known to the member.
    epoch: u64,
    members: u64,
}

/// Follows changes from the moment when the delivery service knows of them.
#[derive(Default)]
pub(super) struct Tracker {
    pending: BTreeMap<ChangeId, Change>,
    open: BTreeMap<u64, Open>,
    /// The epoch that the commit began which was told last.
    began: Option<u64>,
    sealed: Vec<Sealed>,
    /// Measured: from the change to the last sender's switch, and to the last receiver's keys.
    pub(super) rotation: Durations,
    pub(super) addition: Durations,
    pub(super) removal: Durations,
    pub(super) ready: Durations,
    pub(super) changes: u64,
    pub(super) epochs: u64,
}

/// Who has to follow an epoch.
pub(super) struct Followers {
    pub(super) senders: BTreeSet<usize>,
    pub(super) receivers: BTreeSet<usize>,
}

impl Tracker {
    /// Forgets what has been measured so far.
    pub(super) fn begin_measuring(&mut self) {
        self.rotation = Durations::default();
        self.addition = Durations::default();
        self.removal = Durations::default();
        self.ready = Durations::default();
        self.changes = 0;
        self.epochs = 0;
        self.open.clear();
    }

    /// What the delivery service tells the members; with a commit, who has to follow it.
    pub(super) fn told(&mut self, event: &DeliveryEvent, followers: Option<Followers>, now: Now) {
        match event {
            DeliveryEvent::Entry { entry } if entry.kind == EntryKind::Commit => {
                let Some(Followers { senders, receivers }) = followers else { return };
                let open =
                    Open { changes: Vec::new(), senders, receivers, switched: false, ready: false };
                self.open.insert(entry.epoch + 1, open);
                self.began = Some(entry.epoch + 1);
                self.epochs += 1;
            }
            DeliveryEvent::PendingChanged { added, resolved } => {
                for change in added {
                    let age = Duration::from_millis(change.age_ms).as_micros();
                    let age = u64::try_from(age).unwrap_or(u64::MAX);
                    let since = Now::from_micros(now.as_micros().saturating_sub(age));
                    let removes = matches!(change.kind, ChangeKind::Remove { .. });
                    self.pending.entry(change.id).or_insert(Change { since, removes });
                }
                let done: Vec<_> =
                    resolved.iter().filter_map(|id| self.pending.remove(id)).collect();
                if let Some(open) = self.began.and_then(|epoch| self.open.get_mut(&epoch)) {
                    self.changes += done.len() as u64;
                    open.changes.extend(done);
                }
            }
            _ => {}
        }
    }

    /// All that belongs to one moment at the delivery service has been told.
    pub(super) fn end_of_turn(&mut self, now: Now) {
        self.began = None;
        self.close(now);
    }

    /// A member sends for the first time, and may have later epochs to follow.
    pub(super) fn begins(&mut self, member: usize, epoch: u64) {
        let later = self.open.range_mut(epoch + 1..).map(|(_, open)| open);
        for open in later.filter(|open| !open.switched) {
            open.senders.insert(member);
        }
    }

    /// A member sends under this epoch.
    pub(super) fn switched(&mut self, member: usize, epoch: u64, now: Now) {
        for open in self.open.range_mut(..=epoch).map(|(_, open)| open) {
            open.senders.remove(&member);
        }
        self.close(now);
    }

    /// A member has the receive keys of this epoch.
    pub(super) fn installed(&mut self, member: usize, epoch: u64, now: Now) {
        for open in self.open.range_mut(..=epoch).map(|(_, open)| open) {
            open.receivers.remove(&member);
        }
        self.close(now);
    }

    /// A member cannot be reached any more: it sends nothing that anybody gets.
    pub(super) fn dropped(&mut self, member: usize, now: Now) {
        for open in self.open.values_mut() {
            open.senders.remove(&member);
            open.receivers.remove(&member);
        }
        self.close(now);
    }

    /// How many were removed by a later epoch than this one, since which the last sender has switched.
    pub(super) fn removed_since(&self, epoch: u64) -> u64 {
        let later = self.sealed.iter().rev().take_while(|sealed| sealed.epoch > epoch);
        later.map(|sealed| sealed.members).sum()
    }

    fn close(&mut self, now: Now) {
        // What the commit carried out is told right after it.
        let known = self.began.unwrap_or(u64::MAX);
        for (epoch, open) in self.open.range_mut(..known) {
            if open.receivers.is_empty() && !std::mem::replace(&mut open.ready, true) {
                for change in &open.changes {
                    self.ready.add(now.saturating_since(change.since));
                }
            }
            if open.senders.is_empty() && !std::mem::replace(&mut open.switched, true) {
                for change in &open.changes {
                    let took = now.saturating_since(change.since);
                    self.rotation.add(took);
                    let kind = if change.removes { &mut self.removal } else { &mut self.addition };
                    kind.add(took);
                }
                let members = open.changes.iter().filter(|change| change.removes).count() as u64;
                if members > 0 {
                    let at = self.sealed.partition_point(|sealed| sealed.epoch < *epoch);
                    self.sealed.insert(at, Sealed { epoch: *epoch, members });
                }
            }
        }
        self.open.retain(|_, open| !(open.ready && open.switched));
    }
}
