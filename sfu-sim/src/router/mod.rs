//! Who gets what: the SFU's decisions for one room, without a socket, a clock or a codec.
//!
//! The core knows peers, the tracks they publish and *lines*: the outgoing m-lines on which a subscriber
//! receives one track each. It says which lines a subscriber's next offer has to open or close
//! ([`Router::plan`]), where an arriving packet goes and under which sequence number ([`Router::arrive`]), and
//! which publisher has to be asked for a keyframe ([`Router::poll_keyframe`]). Payloads never pass through it.

mod keyframes;
mod rebase;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use self::keyframes::Throttle;
use self::rebase::{Rebase, SeenWindow};
use crate::protocol::MediaKind;

/// Names a peer, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// Names a published track, unique in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u64);

/// Names a subscriber's line, unique in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineId(pub u64);

/// How the router behaves.
#[derive(Clone, Copy, Debug)]
pub struct RouterOptions {
    /// A publisher is asked for a keyframe at most this often for each track; requests in between are
    /// answered together when the time is over.
    pub keyframe_interval: Duration,
    /// Tracks that one peer may publish at a time.
    pub tracks_per_peer: usize,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self { keyframe_interval: Duration::from_millis(200), tracks_per_peer: 8 }
    }
}

/// The header fields of an arriving packet that routing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The SSRC.
    pub source: u32,
    /// The extended sequence number.
    pub seq: u64,
    /// The RTP timestamp.
    pub timestamp: u32,
}

/// Where a packet goes, with the header fields that it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The line.
    pub line: LineId,
    /// Whose line it is.
    pub subscriber: PeerId,
    /// The extended sequence number on that line; the first one of a line is below 65536, as a receiver
    /// starts with SRTP roll-over counter 0 (RFC 3711 section 3.3.1).
    pub seq: u64,
    /// The RTP timestamp on that line.
    pub timestamp: u32,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the lines listed (which may be none).
    Forwarded,
    /// It was here before.
    Duplicate,
    /// It is too old to tell whether it was here before.
    TooLate,
    /// No such track.
    UnknownTrack,
}

/// What a subscriber's next offer has to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Tracks that need a line.
    pub open: Vec<TrackId>,
    /// Live lines whose track is gone.
    pub close: Vec<LineId>,
}

impl Plan {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.close.is_empty()
    }
}

/// Why a track cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The peer is not in the room.
    #[error("expected a peer of this room")]
    UnknownPeer,
    /// The peer publishes as many tracks as it may.
    #[error("expected at most {limit} tracks")]
    TooManyTracks {
        /// The greatest number.
        limit: usize,
    },
}

#[derive(Debug)]
struct Track {
    publisher: PeerId,
    kind: MediaKind,
    source: Option<u32>,
    seen: SeenWindow,
    lines: BTreeSet<LineId>,
    keyframes: Throttle,
}

#[derive(Debug)]
struct Line {
    subscriber: PeerId,
    track: TrackId,
    live: bool,
    rebase: Rebase,
}

/// The router of one room. See the module's documentation.
#[derive(Debug)]
pub struct Router {
    options: RouterOptions,
    peers: BTreeSet<PeerId>,
    tracks: BTreeMap<TrackId, Track>,
    lines: BTreeMap<LineId, Line>,
    next_id: u64,
}

impl Router {
    /// An empty room.
    pub fn new(options: RouterOptions) -> Self {
        Self {
            options,
            peers: BTreeSet::new(),
            tracks: BTreeMap::new(),
            lines: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Lets a peer in; it receives everybody else's tracks.
    pub fn add_peer(&mut self, peer: PeerId) {
        self.peers.insert(peer);
    }

    /// Cuts a peer off in both directions, at once: its tracks and its lines are gone when this returns.
    pub fn remove_peer(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
        self.tracks.retain(|_, track| track.publisher != peer);
        self.lines.retain(|_, line| line.subscriber != peer);
        let lines = &self.lines;
        for track in self.tracks.values_mut() {
            track.lines.retain(|line| lines.contains_key(line));
        }
    }

    /// The peers in the room.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.iter().copied()
    }

    /// Adds a track.
    ///
    /// # Errors
    /// [`PublishError`] if the peer is not in the room or has its greatest number of tracks.
    pub fn publish(&mut self, peer: PeerId, kind: MediaKind) -> Result<TrackId, PublishError> {
        if !self.peers.contains(&peer) {
            return Err(PublishError::UnknownPeer);
        }
        let limit = self.options.tracks_per_peer;
        if self.tracks.values().filter(|track| track.publisher == peer).count() >= limit {
            return Err(PublishError::TooManyTracks { limit });
        }
        let id = TrackId(self.fresh_id());
        let track = Track {
            publisher: peer,
            kind,
            source: None,
            seen: SeenWindow::default(),
            lines: BTreeSet::new(),
            keyframes: Throttle::default(),
        };
        self.tracks.insert(id, track);
        Ok(id)
    }

    /// Removes a track; packets of it go nowhere from here on.
    pub fn unpublish(&mut self, track: TrackId) {
        self.tracks.remove(&track);
    }

    /// What the subscriber's next offer has to change.
    pub fn plan(&self, subscriber: PeerId) -> Plan {
        if !self.peers.contains(&subscriber) {
            return Plan::default();
        }
        let mut plan = Plan::default();
        let mut served = BTreeSet::new();
        for (id, line) in &self.lines {
            if line.subscriber == subscriber {
                served.insert(line.track);
                if line.live && !self.tracks.contains_key(&line.track) {
                    plan.close.push(*id);
                }
            }
        }
        for (id, track) in &self.tracks {
            if track.publisher != subscriber && !served.contains(id) {
                plan.open.push(*id);
            }
        }
        plan
    }

    /// Records that a line for `track` stands in an offer to `subscriber`. Nothing is forwarded on it before
    /// [`Router::line_live`]. None if either of them is gone.
    pub fn open_line(&mut self, subscriber: PeerId, track: TrackId) -> Option<LineId> {
        if !self.peers.contains(&subscriber) || !self.tracks.contains_key(&track) {
            return None;
        }
        let id = LineId(self.fresh_id());
        self.lines.insert(id, Line { subscriber, track, live: false, rebase: Rebase::default() });
        Some(id)
    }

    /// Records that the subscriber has answered. Asks the publisher of a video track for a keyframe.
    pub fn line_live(&mut self, line: LineId, now: Instant) {
        let Some(entry) = self.lines.get_mut(&line) else { return };
        entry.live = true;
        if let Some(track) = self.tracks.get_mut(&entry.track) {
            track.lines.insert(line);
            if track.kind == MediaKind::Video {
                track.keyframes.request(now, self.options.keyframe_interval);
            }
        }
    }

    /// Forgets a line: it was closed, or its offer came to nothing.
    pub fn forget_line(&mut self, line: LineId) {
        if let Some(entry) = self.lines.remove(&line)
            && let Some(track) = self.tracks.get_mut(&entry.track)
        {
            track.lines.remove(&line);
        }
    }

    /// The track that a line carries, if both are still there.
    pub fn track_of(&self, line: LineId) -> Option<TrackId> {
        self.lines.get(&line).map(|line| line.track).filter(|track| self.tracks.contains_key(track))
    }

    /// Who publishes a track.
    pub fn publisher_of(&self, track: TrackId) -> Option<PeerId> {
        self.tracks.get(&track).map(|track| track.publisher)
    }

    /// Routes a packet: appends to `out` where it goes.
    ///
    /// Duplicates (of RTX, or sent by the network twice) go nowhere, as a receiver's replay check would have to
    /// tell them from attacks. When a publisher changes its SSRC, the lines go on without a gap.
    pub fn arrive(
        &mut self,
        track: TrackId,
        arrival: Arrival,
        out: &mut Vec<Departure>,
    ) -> Verdict {
        let Some(entry) = self.tracks.get_mut(&track) else { return Verdict::UnknownTrack };
        if entry.source != Some(arrival.source) {
            entry.source = Some(arrival.source);
            entry.seen = SeenWindow::default();
        }
        match entry.seen.admit(arrival.seq) {
            Verdict::Forwarded => {}
            refused => return refused,
        }
        for id in &entry.lines {
            let Some(line) = self.lines.get_mut(id) else { continue };
            if let Some(place) = line.rebase.place(arrival, entry.kind) {
                out.push(Departure {
                    line: *id,
                    subscriber: line.subscriber,
                    seq: place.seq,
                    timestamp: place.timestamp,
                });
            }
        }
        Verdict::Forwarded
    }

    /// A subscriber wants a keyframe on a line.
    pub fn request_keyframe(&mut self, line: LineId, now: Instant) {
        if let Some(line) = self.lines.get(&line)
            && let Some(track) = self.tracks.get_mut(&line.track)
        {
            track.keyframes.request(now, self.options.keyframe_interval);
        }
    }

    /// Somebody beyond this room's lines wants a keyframe of a track.
    pub fn request_keyframe_of(&mut self, track: TrackId, now: Instant) {
        if let Some(track) = self.tracks.get_mut(&track) {
            track.keyframes.request(now, self.options.keyframe_interval);
        }
    }

    /// A track whose publisher is to be asked for a keyframe at `now`. Call until it says none.
    pub fn poll_keyframe(&mut self, now: Instant) -> Option<TrackId> {
        let interval = self.options.keyframe_interval;
        self.tracks
            .iter_mut()
            .find_map(|(id, track)| track.keyframes.take_due(now, interval).then_some(*id))
    }

    /// When [`Router::poll_keyframe`] has something to say, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.tracks.values().filter_map(|track| track.keyframes.due()).min()
    }

    fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

#[cfg(test)]
mod tests;
