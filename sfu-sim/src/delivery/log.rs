use std::collections::VecDeque;

use crate::protocol::LogEntry;

/// The end of the log, for members that were away. Bounded by bytes; the last epoch always stays.
#[derive(Debug, Default)]
pub(super) struct LogTail {
    entries: VecDeque<LogEntry>,
    bytes: usize,
    /// The first epoch of which nothing has been dropped.
    complete_from: u64,
}

/// A part of the log.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) entries: Vec<LogEntry>,
    pub(super) more: bool,
}

impl LogTail {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Starts with a group that is in `epoch` already.
    pub(super) fn begin_at(&mut self, epoch: u64) {
        *self = Self { complete_from: epoch, ..Self::default() };
    }

    /// Takes in an entry from before the epoch in which the tail began, the oldest one first.
    pub(super) fn recall(&mut self, entry: LogEntry, limit: usize) {
        if self.entries.is_empty() && self.complete_from > 0 {
            // What its own epoch had before it may be gone.
            self.complete_from = entry.epoch + 1;
        }
        self.push(entry, limit);
    }

    pub(super) fn push(&mut self, entry: LogEntry, limit: usize) {
        self.bytes += entry.message.len();
        let last = entry.epoch;
        self.entries.push_back(entry);
        while self.bytes > limit && self.entries.front().is_some_and(|first| first.epoch < last) {
            if let Some(dropped) = self.entries.pop_front() {
                self.bytes -= dropped.message.len();
                self.complete_from = self.complete_from.max(dropped.epoch + 1);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first_seq(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.seq)
    }

    /// The entries sent in `epoch` or later, cut after about `page` bytes; or, if some of them are no longer
    /// here, the first one that is.
    ///
    /// A page holds the whole of its first epoch and something of the next, so that whoever asks on from
    /// the last entry's epoch always gets ahead.
    pub(super) fn since(&self, epoch: u64, page: usize) -> Result<Page, u64> {
        if epoch < self.complete_from {
            let first = self.entries.iter().find(|entry| entry.epoch >= self.complete_from);
            let after_last = self.entries.back().map_or(0, |last| last.seq + 1);
            return Err(first.map_or(after_last, |first| first.seq));
        }
        let start = self.entries.partition_point(|entry| entry.epoch < epoch);
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        for entry in self.entries.iter().skip(start) {
            let ahead = entries
                .first()
                .zip(entries.last())
                .is_some_and(|(first, last)| first.epoch < last.epoch);
            if bytes >= page && ahead {
                return Ok(Page { entries, more: true });
            }
            bytes += entry.message.len();
            entries.push(entry.clone());
        }
        Ok(Page { entries, more: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Blob, EntryKind};

    fn tail(entries: u64, limit: usize) -> LogTail {
        let mut tail = LogTail::default();
        for seq in 0..entries {
            tail.push(entry(seq, seq / 2), limit);
        }
        tail
    }

    /// Every epoch has a proposal and a commit of 100 bytes each.
    fn entry(seq: u64, epoch: u64) -> LogEntry {
        let kind = if seq.is_multiple_of(2) { EntryKind::Proposal } else { EntryKind::Commit };
        LogEntry { seq, epoch, kind, sender: None, message: Blob::from(vec![0; 100]) }
    }

    #[test]
    fn pages_lead_to_the_end_whatever_their_size() {
        let tail = tail(100, usize::MAX);
        for page in [0, 1, 150, 1000, 100_000] {
            let mut epoch = 0;
            let mut seen = Vec::new();
            loop {
                let part = tail.since(epoch, page).unwrap();
                seen.extend(part.entries.iter().map(|entry| entry.seq));
                if !part.more {
                    break;
                }
                let last = part.entries.last().unwrap().epoch;
                assert!(last > epoch || part.entries.first().unwrap().epoch > epoch);
                epoch = last;
            }
            seen.dedup();
            let mut all = seen.clone();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all, (0..100).collect::<Vec<_>>(), "page of {page} bytes");
        }
    }

    #[test]
    fn what_was_dropped_is_said_and_memory_stays_bounded() {
        let tail = tail(100, 1000);
        assert!(tail.bytes() <= 1000);
        assert!(tail.since(0, 1000).is_err());
        let first = tail.since(0, 1000).unwrap_err();
        let epoch = tail.entries.iter().find(|entry| entry.seq == first).unwrap().epoch;
        assert_eq!(tail.since(epoch, 100_000).unwrap().entries.first().unwrap().seq, first);
    }

    #[test]
    fn a_tail_that_began_late_says_so() {
        let mut tail = LogTail::default();
        tail.begin_at(5);
        assert_eq!(tail.since(4, 1000).unwrap_err(), 0);
        assert!(tail.since(5, 1000).unwrap().entries.is_empty());
        // Something of epoch 3 is recalled, perhaps not all of it.
        for seq in 7..10 {
            tail.recall(entry(seq, seq / 2), usize::MAX);
        }
        assert_eq!(tail.since(3, 1000).unwrap_err(), 8);
        assert_eq!(tail.since(4, 1000).unwrap().entries.len(), 2);
    }

    #[test]
    fn the_last_epoch_stays_though_it_is_too_long() {
        let mut tail = LogTail::default();
        for seq in 0..10 {
            let mut entry = entry(seq, 7);
            entry.kind = EntryKind::Proposal;
            tail.push(entry, 100);
        }
        assert_eq!(tail.len(), 10);
    }
}
