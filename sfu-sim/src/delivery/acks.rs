use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::Blob;

use super::Now;

/// Collects who has an epoch's receive keys, and says it in batches.
#[derive(Debug, Default)]
pub(super) struct Acknowledgements {
    epoch: u64,
    leaves: BTreeSet<u32>,
    untold: Vec<u32>,
    due: Option<Now>,
}

impl Acknowledgements {
    /// Starts with an epoch that nobody has acknowledged.
    pub(super) fn begin(&mut self, epoch: u64) {
        *self = Self { epoch, ..Self::default() };
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn insert(&mut self, leaf: u32, batch: Duration, now: Now) {
        if self.leaves.insert(leaf) {
            self.untold.push(leaf);
            self.due.get_or_insert(now + batch);
        }
    }

    /// Tells what is untold without waiting for more.
    pub(super) fn tell_at_once(&mut self, now: Now) {
        self.due = self.due.map(|_| now);
    }

    pub(super) fn leaves(&self) -> &BTreeSet<u32> {
        &self.leaves
    }

    pub(super) fn due(&self) -> Option<Now> {
        self.due
    }

    /// What is to be told, if it is time.
    pub(super) fn take_due(&mut self, now: Now) -> Option<Vec<u32>> {
        self.due.filter(|due| *due <= now)?;
        self.due = None;
        Some(std::mem::take(&mut self.untold))
    }
}

/// Collects heartbeats: the latest one of each leaf, told in batches.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    waiting: BTreeMap<u32, Blob>,
    due: Option<Now>,
}

impl Heartbeats {
    pub(super) fn insert(&mut self, leaf: u32, heartbeat: Blob, batch: Duration, now: Now) {
        self.waiting.insert(leaf, heartbeat);
        self.due.get_or_insert(now + batch);
    }

    pub(super) fn due(&self) -> Option<Now> {
        self.due
    }

    /// What is to be told, if it is time, in parts of about `page` bytes.
    pub(super) fn take_due(&mut self, page: usize, now: Now) -> Vec<Vec<Blob>> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        let mut parts: Vec<Vec<Blob>> = Vec::new();
        let mut bytes = page;
        for heartbeat in std::mem::take(&mut self.waiting).into_values() {
            bytes += heartbeat.len();
            match parts.last_mut() {
                Some(part) if bytes < page => part.push(heartbeat),
                _ => {
                    bytes = heartbeat.len();
                    parts.push(vec![heartbeat]);
                }
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_told_once_and_together() {
        let start = Now::from_unix_micros(5);
        let batch = Duration::from_millis(10);
        let mut acks = Acknowledgements::default();
        acks.begin(4);
        acks.insert(1, batch, start);
        acks.insert(2, batch, start + Duration::from_millis(9));
        acks.insert(1, batch, start + Duration::from_millis(9));
        assert_eq!(acks.take_due(start + Duration::from_millis(9)), None);
        assert_eq!(acks.take_due(start + batch), Some(vec![1, 2]));
        assert_eq!(acks.due(), None);
        acks.insert(3, batch, start + batch);
        assert_eq!(acks.take_due(start + batch + batch), Some(vec![3]));
        acks.begin(5);
        assert!(acks.leaves().is_empty());
    }

    #[test]
    fn only_the_latest_heartbeat_of_a_leaf_is_told() {
        let start = Now::from_unix_micros(5);
        let mut heartbeats = Heartbeats::default();
        for byte in 0..3 {
            heartbeats.insert(1, Blob::from(vec![byte; 100]), Duration::ZERO, start);
        }
        heartbeats.insert(2, Blob::from(vec![9; 100]), Duration::ZERO, start);
        heartbeats.insert(3, Blob::from(vec![8; 100]), Duration::ZERO, start);
        let parts = heartbeats.take_due(250, start);
        let bytes: Vec<Vec<u8>> =
            parts.iter().map(|part| part.iter().map(|blob| blob[0]).collect()).collect();
        assert_eq!(bytes, [vec![2, 9], vec![8]]);
        assert!(heartbeats.take_due(250, start).is_empty());
    }
}
