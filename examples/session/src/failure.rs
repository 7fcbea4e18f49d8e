//! Signed reports that a commit failed for a member alone (RFC 9420, section 16.12). Who hears of one can believe it:
//! nobody else can say it in that member's name, for another commit, or twice.

use std::collections::{BTreeMap, BTreeSet};

use mls::Group;

use super::SessionError;
use super::signed;
use super::status::HistoryAlarm;

/// What a report is signed as.
const LABEL: &str = "Framelock failed commit";

/// The only format there is.
const VERSION: u8 = 1;

/// Bytes before the hash of the commit and the signature: version, leaf, epoch.
const FIXED: usize = 1 + 4 + 8;

/// Epochs whose commit is remembered, for reports that come late.
const KEPT_EPOCHS: u64 = 64;

/// What a report was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reported {
    /// The commit of this epoch failed for the member at the leaf.
    Failed { leaf: u32, epoch: u64 },
    /// What failed there is not the commit that the log had here.
    OtherHistory(HistoryAlarm),
    /// Nothing: one's own, repeated, of somebody unknown or an epoch unknown, not signed by whom it names.
    Nothing,
}

/// The reports of one membership.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// By the epoch that they ended, the hashes of the commits that were applied here.
    commits: BTreeMap<u64, Vec<u8>>,
    /// Which epochs' commits have been reported, and by whom.
    reported: BTreeSet<(u64, u32)>,
}

impl Failures {
    /// A commit has ended an epoch.
    pub(super) fn applied(&mut self, group: &Group, epoch: u64, commit: &[u8]) {
        self.commits.insert(epoch, hash(group, commit));
        let kept = epoch.saturating_sub(KEPT_EPOCHS);
        self.commits = self.commits.split_off(&kept);
        self.reported = self.reported.split_off(&(kept, 0));
    }

    /// The report of this member that a commit of an epoch failed here.
    pub(super) fn make(group: &Group, epoch: u64, commit: &[u8]) -> Result<Vec<u8>, SessionError> {
        let mut report = vec![VERSION];
        report.extend(group.own_leaf().0.to_be_bytes());
        report.extend(epoch.to_be_bytes());
        report.extend(hash(group, commit));
        signed::sign(group, LABEL, report)
    }

    /// Takes in a report as it came; `since` says from which epoch on a leaf is that of the other member who has it.
    pub(super) fn take(
        &mut self,
        group: &Group,
        bytes: &[u8],
        since: impl Fn(u32) -> Option<u64>,
    ) -> Reported {
        let length = FIXED + group.suite().hash.length();
        let Some((statement, signature)) = bytes.split_at_checked(length) else {
            return Reported::Nothing;
        };
        let Some((leaf, epoch, commit)) = read(statement) else { return Reported::Nothing };
        let known = since(leaf).is_some_and(|since| epoch >= since)
            && (epoch == group.epoch() || self.commits.contains_key(&epoch));
        if !known
            || self.reported.contains(&(epoch, leaf))
            || !signed::is_signed(group, LABEL, leaf, statement, signature)
        {
            return Reported::Nothing;
        }
        self.reported.insert((epoch, leaf));
        match self.commits.get(&epoch) {
            Some(own) if own != commit => {
                Reported::OtherHistory(HistoryAlarm::OtherHistory { leaf, epoch })
            }
            _ => Reported::Failed { leaf, epoch },
        }
    }
}

fn read(statement: &[u8]) -> Option<(u32, u64, &[u8])> {
    let (version, rest) = statement.split_first()?;
    let (leaf, rest) = rest.split_first_chunk()?;
    let (epoch, commit) = rest.split_first_chunk()?;
    let (leaf, epoch) = (u32::from_be_bytes(*leaf), u64::from_be_bytes(*epoch));
    (*version == VERSION).then_some((leaf, epoch, commit))
}

fn hash(group: &Group, commit: &[u8]) -> Vec<u8> {
    group.suite().hash.hash(&[commit]).as_bytes().to_vec()
}
