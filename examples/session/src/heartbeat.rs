//! Signed heartbeats: members tell one another in which epoch they are and that it is the same one. Who shows two
//! histories to two halves of a call, or keeps a commit from some, has to keep heartbeats from them too, and that shows.

use std::collections::BTreeMap;
use std::time::Duration;

use mls::{Changes, Group, LeafIndex};
use sframe_bridge::Now;

use super::signed;
use super::status::HistoryAlarm;
use super::{Moment, SessionError};

/// What a heartbeat is signed as.
const LABEL: &str = "Framelock heartbeat";

/// The only format there is.
const VERSION: u8 = 1;

/// Bytes before the signature: version, leaf, epoch, number, hash of the epoch authenticator.
const FIXED: usize = 1 + 4 + 8 + 8;

/// A heartbeat is due at the latest so long after the one before it.
const INTERVAL: Duration = Duration::from_secs(30);

/// After a change of the epoch one is due at once, unless the last one is not as old as this.
const SPACING: Duration = Duration::from_secs(1);

/// In large calls intervals grow by so much for each member, so that what a member receives stays below 6 kbit/s.
const PER_MEMBER: Duration = Duration::from_millis(300);

/// What may come late of two heartbeats before their sender counts as silent.
const SLACK: Duration = Duration::from_secs(5);

/// A heartbeat of an epoch that has not come here for so long means that its commit is kept back.
const PATIENCE: Duration = Duration::from_secs(3);

/// Epochs of which the hash is kept, for heartbeats that come late.
const KEPT_EPOCHS: usize = 64;

/// What a heartbeat was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Its sender is in the same epoch, or was.
    Confirmed,
    /// It is from an epoch that has not come here.
    Ahead,
    /// Its sender has another epoch of the same number.
    OtherHistory(HistoryAlarm),
    /// Nothing: one's own, repeated, of somebody unknown, not signed by whom it names.
    Nothing,
}

/// How many of those who should be heard are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) confirmed: usize,
    pub(super) of: usize,
}

impl Share {
    /// Less than half say that they are here too: for whom would one send?
    pub(super) fn is_too_small(self) -> bool {
        self.confirmed * 2 < self.of
    }
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    since_epoch: u64,
    joined: Now,
    heard: Option<Now>,
    number: u64,
}

/// An epoch that others have.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    epoch: u64,
    since: Now,
    told: bool,
}

/// The heartbeats of one membership.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    hashes: BTreeMap<u64, Vec<u8>>,
    peers: BTreeMap<u32, Peer>,
    ahead: Option<Ahead>,
    sent: Option<Now>,
    changed: bool,
    number: u64,
}

impl Heartbeats {
    /// The group is in another epoch, which this commit began.
    pub(super) fn begin_epoch(&mut self, group: &Group, changes: Option<&Changes>, now: Now) {
        let epoch = group.epoch();
        if let Ok(authenticator) = group.epoch_authenticator() {
            let hash = group.suite().hash.hash(&[authenticator.as_bytes()]);
            self.hashes.insert(epoch, hash.as_bytes().to_vec());
            while self.hashes.len() > KEPT_EPOCHS {
                self.hashes.pop_first();
            }
        }
        // A leaf that changes hands has said nothing yet.
        for member in
            changes.iter().flat_map(|changes| changes.added.iter().chain(&changes.removed))
        {
            self.peers.remove(&member.leaf.0);
        }
        let own = group.own_leaf();
        let roster: Vec<_> = group.roster().map(|member| member.leaf).collect();
        self.peers.retain(|leaf, _| roster.binary_search(&LeafIndex(*leaf)).is_ok());
        for leaf in roster.into_iter().filter(|leaf| *leaf != own) {
            let peer = Peer { since_epoch: epoch, joined: now, heard: None, number: 0 };
            self.peers.entry(leaf.0).or_insert(peer);
        }
        self.ahead = self.ahead.filter(|ahead| ahead.epoch > epoch);
        self.changed = true;
    }

    /// Between two heartbeats without a change.
    fn interval(&self) -> Duration {
        INTERVAL.max(self.per_members())
    }

    fn per_members(&self) -> Duration {
        PER_MEMBER * u32::try_from(self.peers.len()).unwrap_or(u32::MAX)
    }

    /// When the next one is to be sent. Alone in a call one has nobody to tell.
    pub(super) fn due(&self) -> Option<Now> {
        if self.peers.is_empty() {
            return None;
        }
        let Some(sent) = self.sent else { return Some(Now::from_micros(0)) };
        let wait = if self.changed { SPACING.max(self.per_members()) } else { self.interval() };
        Some(sent + wait.min(self.interval()))
    }

    /// When somebody has to be told that an epoch does not come.
    pub(super) fn patience_ends(&self) -> Option<Now> {
        self.ahead.filter(|ahead| !ahead.told).map(|ahead| ahead.since + PATIENCE)
    }

    /// The epoch that others have and that has not come for too long, told once.
    pub(super) fn take_withheld(&mut self, now: Now) -> Option<HistoryAlarm> {
        self.patience_ends().filter(|end| *end <= now)?;
        let ahead = self.ahead.as_mut()?;
        ahead.told = true;
        Some(HistoryAlarm::Withheld { epoch: ahead.epoch })
    }

    /// The next heartbeat of this member.
    pub(super) fn make(&mut self, group: &Group, moment: Moment) -> Result<Vec<u8>, SessionError> {
        // Rises over memberships too, as long as the clock does.
        self.number = moment.unix.0.max(self.number.saturating_add(1));
        let epoch = group.epoch();
        let hash = self.hashes.get(&epoch).map(Vec::as_slice).unwrap_or_default();
        let mut bytes = vec![VERSION];
        bytes.extend(group.own_leaf().0.to_be_bytes());
        bytes.extend(epoch.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(hash);
        let heartbeat = signed::sign(group, LABEL, bytes)?;
        self.sent = Some(moment.now);
        self.changed = false;
        Ok(heartbeat)
    }

    /// Takes in a heartbeat as it came.
    pub(super) fn take(&mut self, group: &Group, bytes: &[u8], now: Now) -> Heard {
        let length = FIXED + group.suite().hash.length();
        let Some((statement, signature)) = bytes.split_at_checked(length) else {
            return Heard::Nothing;
        };
        let Some(said) = Said::read(statement) else { return Heard::Nothing };
        let Some(peer) = self.peers.get_mut(&said.leaf) else { return Heard::Nothing };
        if said.number <= peer.number
            || said.epoch < peer.since_epoch
            || !signed::is_signed(group, LABEL, said.leaf, statement, signature)
        {
            return Heard::Nothing;
        }
        peer.number = said.number;
        if said.epoch > group.epoch() {
            let ahead = Ahead { epoch: said.epoch, since: now, told: false };
            let known = self.ahead.get_or_insert(ahead);
            known.epoch = known.epoch.max(said.epoch);
            // It is there, wherever it is.
            peer.heard = Some(now);
            return Heard::Ahead;
        }
        match self.hashes.get(&said.epoch) {
            Some(own) if own == said.hash => {
                peer.heard = Some(now);
                Heard::Confirmed
            }
            Some(_) => {
                let (leaf, epoch) = (said.leaf, said.epoch);
                Heard::OtherHistory(HistoryAlarm::OtherHistory { leaf, epoch })
            }
            None => Heard::Nothing,
        }
    }

    /// Who of those that should have been heard was. Whoever came a short time ago need not have been.
    pub(super) fn share(&self, now: Now) -> Share {
        let window = self.interval() * 2 + SLACK;
        let lately = |at: Now| now.saturating_since(at) <= window;
        let settled = self.peers.values().filter(|peer| !lately(peer.joined));
        let confirmed = settled.clone().filter(|peer| peer.heard.is_some_and(lately)).count();
        Share { confirmed, of: settled.count() }
    }

    /// From which epoch on another member is known at a leaf.
    pub(super) fn since(&self, leaf: u32) -> Option<u64> {
        self.peers.get(&leaf).map(|peer| peer.since_epoch)
    }

    /// Members that have not been heard for as long as two heartbeats take.
    pub(super) fn silent(&self, now: Now) -> Vec<u32> {
        let window = self.interval() * 2 + SLACK;
        let silent = |peer: &Peer| {
            now.saturating_since(peer.heard.unwrap_or(peer.joined).max(peer.joined)) > window
        };
        self.peers.iter().filter(|(_, peer)| silent(peer)).map(|(leaf, _)| *leaf).collect()
    }
}

/// What a heartbeat says.
struct Said<'a> {
    leaf: u32,
    epoch: u64,
    number: u64,
    hash: &'a [u8],
}

impl<'a> Said<'a> {
    fn read(statement: &'a [u8]) -> Option<Self> {
        let (version, rest) = statement.split_first()?;
        let (leaf, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (number, hash) = rest.split_first_chunk()?;
        (*version == VERSION).then_some(Self {
            leaf: u32::from_be_bytes(*leaf),
            epoch: u64::from_be_bytes(*epoch),
            number: u64::from_be_bytes(*number),
            hash,
        })
    }
}
