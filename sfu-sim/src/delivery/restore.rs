//! Opening a room from what the storage has, and the snapshots that keep this short.

use std::collections::{BTreeSet, VecDeque};

use crate::protocol::{EntryKind, Identity, RemovalReason};

use super::acks::{Acknowledgements, Heartbeats};
use super::apply::entry;
use super::effects::StorageEffect;
use super::group::GroupState;
use super::log::LogTail;
use super::nodes::Nodes;
use super::pending::{PendingChanges, PendingRemoval};
use super::people::People;
use super::record::{GroupSnapshot, Record, Snapshot};
use super::service::ActiveGroup;
use super::storage::{CallId, Storage, StorageError, StoredRecord, StoredSnapshot};
use super::{DeliveryConfig, DeliveryMetrics, DeliveryService, Now};

/// How many records one read asks for.
const READ_RECORDS: usize = 1024;

/// What the storage has of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    snapshot: Option<StoredSnapshot>,
    records: Vec<StoredRecord>,
}

impl Loaded {
    /// Reads everything that is kept of a room. Of a room that never was it is empty.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn read(storage: &dyn Storage, call: &CallId) -> Result<Self, StorageError> {
        let snapshot = storage.snapshot(call).await?;
        let mut records: Vec<StoredRecord> = Vec::new();
        loop {
            let seq = records.last().map_or(0, |last| last.seq + 1);
            let part = storage.read(call, seq, READ_RECORDS).await?;
            if part.is_empty() {
                return Ok(Self { snapshot, records });
            }
            records.extend(part);
        }
    }
}

impl DeliveryService {
    /// Opens a room in the state that the storage has. `boot` is a random number, the same for all rooms of a
    /// process and another one after its restart.
    ///
    /// Members are without a connection at first; their grace period begins now. Acknowledgements, Welcomes
    /// that were not fetched, key packages that wait and announced leaves are not kept: clients that connect again
    /// repeat what still matters, and who does not come back is removed. A log that cannot be replayed ends the
    /// group. There may be outputs at once.
    pub fn open(config: DeliveryConfig, call: CallId, boot: u64, loaded: Loaded, now: Now) -> Self {
        let mut service = Self {
            config,
            call,
            boot,
            appends: 0,
            turn: 0,
            next_seq: 0,
            people: People::default(),
            pending: PendingChanges::new(now),
            acks: Acknowledgements::default(),
            heartbeats: Heartbeats::default(),
            log: LogTail::default(),
            banned: BTreeSet::new(),
            group: None,
            creator: None,
            closing: None,
            in_flight: None,
            reading: false,
            read_again: None,
            log_length: 0,
            nodes: Nodes::default(),
            kept_up_to: 0,
            queue: VecDeque::new(),
            outputs: VecDeque::new(),
            metrics: DeliveryMetrics::default(),
        };
        service.replay(loaded, now);
        service.settle(now);
        service
    }

    fn replay(&mut self, loaded: Loaded, now: Now) {
        let mut damaged = false;
        if let Some(stored) = &loaded.snapshot {
            self.next_seq = stored.next_seq;
            self.turn = stored.turn;
            damaged = self.resume(stored, now).is_none();
        }
        let start = self.next_seq;
        for record in loaded.records {
            if record.seq < start {
                self.recall(&record);
            } else {
                self.apply_stored(record, now);
            }
        }
        // Nobody is connected yet who could be told, and what the storage has need not be stored again.
        self.outputs.clear();
        self.metrics = DeliveryMetrics {
            invalid_records: self.metrics.invalid_records,
            epochs_with_two_winners: self.metrics.epochs_with_two_winners,
            ..DeliveryMetrics::default()
        };
        let Some(group) = &mut self.group else {
            if damaged {
                *self.metrics.groups_closed.entry("damaged").or_default() += 1;
            }
            return;
        };
        group.welcomes.clear();
        let members: Vec<Identity> =
            group.state.members().map(|seat| seat.identity.clone()).collect();
        for identity in &members {
            self.people.know(identity, now);
        }
        // Whose removal is logged stays cut off, and the driver has to hear of it again.
        let removals: Vec<PendingRemoval> = self.pending.removals().collect();
        for removal in removals {
            let group = self.group.as_ref();
            let identity = group.and_then(|group| group.state.identity_of(removal.leaf)).cloned();
            if let Some(identity) = identity {
                if let Some(person) = self.people.person_mut(&identity) {
                    person.cut_off = false;
                }
                self.cut_off_media(&identity, removal.reason);
            }
        }
    }

    /// Takes up a snapshot. `None` if it is damaged: the call then has no group.
    fn resume(&mut self, stored: &StoredSnapshot, now: Now) -> Option<()> {
        let Snapshot { banned, group } = Snapshot::parse(&stored.bytes).ok()?;
        self.banned = banned.into_iter().collect();
        let Some(kept) = group else { return Some(()) };
        // Whether the group may begin was decided when it began, whatever the configuration says today.
        let suites: Vec<u16> = (1..=7).collect();
        let time = now.unix_time();
        let state = GroupState::open(&suites, &kept.group_info, &kept.ratchet_tree, time).ok()?;
        self.acks.begin(state.epoch());
        let mut group = ActiveGroup::new(state, kept.group_info);
        group.tree = Some(kept.ratchet_tree);
        group.used_key_packages = kept.used_key_packages.into();
        for leaf in kept.condemned {
            if let Some(identity) = group.state.identity_of(leaf) {
                let reason = RemovalReason::Moderator;
                self.pending.remove_leaf(leaf, identity.clone(), reason, None, now);
            }
        }
        self.log.begin_at(group.state.epoch());
        self.group = Some(Box::new(group));
        Some(())
    }

    /// Takes a record that the snapshot contains into the log for members that were away.
    fn recall(&mut self, stored: &StoredRecord) {
        let limit = self.config.log_bytes;
        match Record::parse(&stored.bytes) {
            Ok(Record::Created { .. } | Record::Closed { .. }) => self.log.clear(),
            Ok(Record::Proposal { from, message }) => {
                if let Some(epoch) = epoch_of(&message) {
                    let kind = EntryKind::Proposal;
                    self.log.recall(entry(stored.seq, epoch, kind, &from, message), limit);
                }
            }
            Ok(Record::Commit { from, bundle, .. }) => {
                let commit = std::iter::once((EntryKind::Commit, bundle.commit));
                let proposals =
                    bundle.proposals.into_iter().map(|message| (EntryKind::Proposal, message));
                for (kind, message) in proposals.chain(commit) {
                    if let Some(epoch) = epoch_of(&message) {
                        self.log.recall(entry(stored.seq, epoch, kind, &from, message), limit);
                    }
                }
            }
            Err(_) => self.metrics.invalid_records += 1,
        }
    }

    fn condemned(&self) -> impl Iterator<Item = u32> {
        self.pending
            .removals()
            .filter(|removal| removal.reason == RemovalReason::Moderator)
            .map(|removal| removal.leaf)
    }

    pub(super) fn snapshot_if_due(&mut self) {
        let every = self.config.snapshot_every;
        if self.group.as_ref().is_some_and(|group| group.commits_since_snapshot >= every) {
            self.snapshot();
        }
    }

    /// Has the present state kept. Called between two epochs only, so that no logged proposal is lost.
    pub(super) fn snapshot(&mut self) {
        let condemned: Vec<u32> = self.condemned().collect();
        let group = self.group.as_mut().map(|group| {
            group.commits_since_snapshot = 0;
            GroupSnapshot {
                group_info: group.group_info.clone(),
                ratchet_tree: group.tree(),
                condemned,
                used_key_packages: group.used_key_packages.iter().cloned().collect(),
            }
        });
        let banned = self.banned.iter().cloned().collect();
        let snapshot = StoredSnapshot {
            next_seq: self.next_seq,
            turn: self.turn,
            bytes: Snapshot { banned, group }.to_bytes(),
        };
        self.kept_up_to = self.next_seq;
        self.storage(StorageEffect::PutSnapshot { call: self.call.clone(), snapshot });
    }

    /// Has the records forgotten that neither a restart nor a member that was away needs.
    pub(super) fn purge_log(&mut self) {
        let seq = self.log.first_seq().map_or(self.kept_up_to, |first| first.min(self.kept_up_to));
        self.storage(StorageEffect::Purge { call: self.call.clone(), seq });
    }
}

fn epoch_of(message: &[u8]) -> Option<u64> {
    mls::wire::Envelope::peek(message).ok()?.epoch
}
