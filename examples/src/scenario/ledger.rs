//! Every frame of a call: what was sent, for whom it was meant, and what became of it there.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sfu_sim::protocol::MediaKind;
use sha2::{Digest, Sha256};

/// What was sent this long before the sender or the receiver was cut off, and did not arrive, was
/// on its way; it counts neither as sent nor as lost. Loopback and a busy machine need less.
pub const IN_FLIGHT: Duration = Duration::from_millis(300);

/// From the first frame that is meant for it a receiver has this long to see something of a stream.
/// After that every frame counts, even if none has come: a stream that stays dark is lost.
pub const SETTLE: Duration = Duration::from_secs(3);

/// Ciphertexts are kept for the attempts to open them with the wrong keys, up to this many bytes.
pub const KEPT_CIPHERTEXT: usize = 256 << 20;

/// One participation: from joining to leaving. Somebody who joins again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub usize);

/// Names a frame in the whole call: no two frames may have the same (key, counter).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId {
    /// The epoch.
    pub epoch: u64,
    /// The sender's leaf.
    pub leaf: u32,
    /// The sender's context.
    pub context: u32,
    /// The counter.
    pub counter: u64,
}

/// The hash by which frames are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHash([u8; 32]);

impl FrameHash {
    /// SHA-256 of the plaintext.
    pub fn of(plaintext: &[u8]) -> Self {
        Self(Sha256::digest(plaintext).into())
    }
}

/// What became of a frame at one receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum Receipt {
    /// Opened, and bit-identical if the hash says so. With the time it waited for its key.
    Opened {
        /// Hash of what was opened.
        hash: FrameHash,
        /// How long it waited for its key; nothing if it did not have to.
        waited: Option<Duration>,
    },
    /// Came and could not be opened.
    Undecryptable {
        /// Why, in words.
        reason: &'static str,
    },
}

/// Why a frame could not be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the counter {} was used twice under one key", .0.counter)]
pub struct ReusedCounter(pub FrameId);

/// A frame that was sent.
#[derive(Clone, Debug)]
pub struct SentFrame {
    /// Its name.
    pub id: FrameId,
    /// When, from the start of the scenario.
    pub at: Duration,
    /// The plaintext's hash.
    pub hash: FrameHash,
    /// The ciphertext; nothing beyond [`KEPT_CIPHERTEXT`].
    pub ciphertext: Option<Bytes>,
}

#[derive(Debug)]
struct Member {
    name: String,
    first_epoch: Option<u64>,
    /// When it was cut off: left, crashed, was removed, or the scenario ended.
    end: Option<Duration>,
}

#[derive(Debug)]
struct Stream {
    sender: MemberId,
    kind: MediaKind,
    frames: Vec<SentFrame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    stream: usize,
    index: usize,
}

/// The book of all frames.
#[derive(Debug, Default)]
pub struct Ledger {
    members: Vec<Member>,
    streams: Vec<Stream>,
    places: HashMap<FrameId, Place>,
    /// By receiver and stream, what became of the frames by their place in the stream.
    receipts: BTreeMap<(MemberId, usize), BTreeMap<usize, Receipt>>,
    /// What came and was opened though nobody in the book had sent it.
    forged: u64,
    /// What came and was too damaged to tell which frame it was, by reason.
    unidentified: BTreeMap<&'static str, u64>,
    reused: u64,
    ciphertext: usize,
}

impl Ledger {
    /// Enters somebody who joins.
    pub fn join(&mut self, name: &str) -> MemberId {
        self.members.push(Member { name: name.to_owned(), first_epoch: None, end: None });
        MemberId(self.members.len() - 1)
    }

    /// The member's name.
    pub fn name(&self, member: MemberId) -> &str {
        self.members.get(member.0).map_or("", |member| member.name.as_str())
    }

    /// All participations in the order of joining.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + use<> {
        (0..self.members.len()).map(MemberId)
    }

    /// Notes an epoch that the member has; the first one bounds what is meant for it.
    pub fn epoch(&mut self, member: MemberId, epoch: u64) {
        if let Some(member) = self.members.get_mut(member.0) {
            member.first_epoch.get_or_insert(epoch);
        }
    }

    /// The first epoch that the member had.
    pub fn first_epoch(&self, member: MemberId) -> Option<u64> {
        self.members.get(member.0)?.first_epoch
    }

    /// Notes that the member was cut off; the earliest time counts.
    pub fn end(&mut self, member: MemberId, at: Duration) {
        if let Some(member) = self.members.get_mut(member.0) {
            member.end = Some(member.end.map_or(at, |before| before.min(at)));
        }
    }

    /// Enters a frame before it is sent.
    ///
    /// # Errors
    ///
    /// [`ReusedCounter`] if a frame of this name was sent before. It is counted, and the frame is
    /// not entered.
    pub fn sent(
        &mut self,
        sender: MemberId,
        kind: MediaKind,
        frame: SentFrame,
    ) -> Result<(), ReusedCounter> {
        if self.places.contains_key(&frame.id) {
            self.reused += 1;
            return Err(ReusedCounter(frame.id));
        }
        let known = self.streams.iter().position(|s| s.sender == sender && s.kind == kind);
        let stream = known.unwrap_or(self.streams.len());
        if known.is_none() {
            self.streams.push(Stream { sender, kind, frames: Vec::new() });
        }
        let Some(entry) = self.streams.get_mut(stream) else {
            return Ok(());
        };
        let mut frame = frame;
        self.ciphertext += frame.ciphertext.as_ref().map_or(0, Bytes::len);
        if self.ciphertext > KEPT_CIPHERTEXT {
            frame.ciphertext = None;
        }
        self.places.insert(frame.id, Place { stream, index: entry.frames.len() });
        entry.frames.push(frame);
        Ok(())
    }

    /// Enters what became of a frame. The first receipt of a frame that could be opened counts.
    pub fn received(&mut self, receiver: MemberId, id: FrameId, receipt: Receipt) {
        let Some(place) = self.places.get(&id) else {
            match receipt {
                Receipt::Opened { .. } => self.forged += 1,
                Receipt::Undecryptable { reason } => {
                    *self.unidentified.entry(reason).or_default() += 1;
                }
            }
            return;
        };
        let receipts = self.receipts.entry((receiver, place.stream)).or_default();
        match receipts.get(&place.index) {
            Some(Receipt::Opened { .. }) => {}
            _ => {
                receipts.insert(place.index, receipt);
            }
        }
    }

    /// Enters something that came and was too damaged to tell which frame it was.
    pub fn unidentified(&mut self, reason: &'static str) {
        *self.unidentified.entry(reason).or_default() += 1;
    }

    /// The frames that were sent, with who sent them.
    pub fn frames(&self) -> impl Iterator<Item = (MemberId, &SentFrame)> {
        self.streams
            .iter()
            .flat_map(|stream| stream.frames.iter().map(|frame| (stream.sender, frame)))
    }

    /// Adds everything up.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            reused_counters: self.reused,
            mismatched_forged: self.forged,
            ..Tally::default()
        };
        let mut waits = Vec::new();
        let nothing = BTreeMap::new();
        for (number, stream) in self.streams.iter().enumerate() {
            for receiver in self.members().filter(|receiver| *receiver != stream.sender) {
                let receipts = self.receipts.get(&(receiver, number)).unwrap_or(&nothing);
                let counts = self.tally_stream(receiver, stream, receipts, &mut waits);
                if counts != FrameCounts::default() {
                    let names = (self.name(stream.sender), self.name(receiver));
                    let pair = (names.0.to_owned(), names.1.to_owned());
                    tally.pairs.entry(pair).or_default().add(&counts);
                }
            }
        }
        for counts in tally.pairs.values() {
            tally.frames.add(counts);
        }
        tally.frames.mismatched += self.forged;
        for (reason, count) in &self.unidentified {
            tally.frames.undecryptable += count;
            *tally.frames.undecryptable_by_reason.entry((*reason).to_owned()).or_default() += count;
        }
        waits.sort_unstable();
        tally.waits = waits;
        tally
    }

    fn tally_stream(
        &self,
        receiver: MemberId,
        stream: &Stream,
        receipts: &BTreeMap<usize, Receipt>,
        waits: &mut Vec<Duration>,
    ) -> FrameCounts {
        let mut counts = FrameCounts::default();
        let Some(joined) = self.first_epoch(receiver) else {
            return counts;
        };
        let end = |member: MemberId| {
            let end = self.members.get(member.0).and_then(|member| member.end);
            end.unwrap_or(Duration::MAX)
        };
        let over = end(receiver).min(end(stream.sender));
        let certain = over.saturating_sub(IN_FLIGHT);
        let meant = stream.frames.iter().find(|frame| frame.id.epoch >= joined);
        let settled = meant.map_or(Duration::MAX, |frame| frame.at + SETTLE);
        let settled = stream.frames.partition_point(|frame| frame.at <= settled);
        let first = receipts.keys().next().map_or(settled, |first| settled.min(*first));
        for (index, frame) in stream.frames.iter().enumerate().skip(first) {
            // What was sent before the receiver joined is not for its eyes, though it may pass by.
            if frame.id.epoch < joined {
                counts.before_join += u64::from(receipts.contains_key(&index));
                continue;
            }
            match receipts.get(&index) {
                None if frame.at > over => {}
                None if frame.at > certain => counts.in_flight_at_end += 1,
                None => {
                    counts.sent += 1;
                    counts.lost_in_transport += 1;
                    tracing::info!(
                        from = self.name(stream.sender),
                        to = self.name(receiver),
                        kind = ?stream.kind,
                        at = ?frame.at,
                        since_first = index - first,
                        until_end = ?certain.saturating_sub(frame.at),
                        "a frame was lost in transport"
                    );
                }
                Some(Receipt::Opened { hash, waited }) => {
                    counts.sent += 1;
                    if *hash == frame.hash {
                        counts.received += 1;
                    } else {
                        counts.mismatched += 1;
                    }
                    if let Some(waited) = waited {
                        counts.waited += 1;
                        waits.push(*waited);
                    }
                }
                // Whoever is on the way out may lack the key of an epoch that excludes it.
                Some(Receipt::Undecryptable { .. }) if frame.at > certain => {
                    counts.in_flight_at_end += 1;
                }
                Some(Receipt::Undecryptable { reason }) => {
                    counts.sent += 1;
                    counts.undecryptable += 1;
                    *counts.undecryptable_by_reason.entry((*reason).to_owned()).or_default() += 1;
                }
            }
        }
        counts
    }
}

/// What became of frames. `sent` is the sum of `received`, `lost_in_transport`, `undecryptable` and
/// `mismatched`; each frame counts once for each receiver it was meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FrameCounts {
    /// Frames sent, once for each receiver.
    pub sent: u64,
    /// Opened and bit-identical.
    pub received: u64,
    /// Never came.
    pub lost_in_transport: u64,
    /// Of those received, how many waited for their key.
    pub waited: u64,
    /// Came and could not be opened.
    pub undecryptable: u64,
    /// Opened and not what was sent.
    pub mismatched: u64,
    /// Why they could not be opened.
    pub undecryptable_by_reason: BTreeMap<String, u64>,
    /// On its way when the sender or the receiver was cut off. Not in `sent`.
    pub in_flight_at_end: u64,
    /// Of epochs before the receiver joined, which it must not be able to open. Not in `sent`.
    pub before_join: u64,
}

impl FrameCounts {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost_in_transport += other.lost_in_transport;
        self.waited += other.waited;
        self.undecryptable += other.undecryptable;
        self.mismatched += other.mismatched;
        self.in_flight_at_end += other.in_flight_at_end;
        self.before_join += other.before_join;
        for (reason, count) in &other.undecryptable_by_reason {
            *self.undecryptable_by_reason.entry(reason.clone()).or_default() += count;
        }
    }
}

/// The sum of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All pairs together.
    pub frames: FrameCounts,
    /// By sender and receiver. Somebody who joined twice counts as one here.
    pub pairs: BTreeMap<(String, String), FrameCounts>,
    /// How long frames waited for their keys, shortest first.
    pub waits: Vec<Duration>,
    /// Frames under a (key, counter) that was used before. Always a failure.
    pub reused_counters: u64,
    /// Of the mismatched frames, those that nobody had sent.
    pub mismatched_forged: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(epoch: u64, counter: u64) -> FrameId {
        FrameId { epoch, leaf: 0, context: 0, counter }
    }

    fn frame(id: FrameId, at: Duration) -> SentFrame {
        let hash = FrameHash::of(&id.counter.to_be_bytes());
        SentFrame { id, at, hash, ciphertext: Some(Bytes::from_static(b"sealed")) }
    }

    fn opened(counter: u64) -> Receipt {
        Receipt::Opened { hash: FrameHash::of(&counter.to_be_bytes()), waited: None }
    }

    fn pair() -> (Ledger, MemberId, MemberId) {
        let mut ledger = Ledger::default();
        let alice = ledger.join("alice");
        let bob = ledger.join("bob");
        ledger.epoch(alice, 0);
        ledger.epoch(bob, 1);
        (ledger, alice, bob)
    }

    #[test]
    fn counts_what_became_of_every_frame() {
        let (mut ledger, alice, bob) = pair();
        for counter in 0..10 {
            let epoch = u64::from(counter >= 2);
            let at = SECOND * counter as u32;
            ledger.sent(alice, MediaKind::Video, frame(id(epoch, counter), at)).unwrap();
        }
        // 0 never reached bob's subscription; 1 is of an epoch before bob joined.
        let reason = "before join";
        ledger.received(bob, id(0, 1), Receipt::Undecryptable { reason });
        ledger.received(bob, id(1, 2), opened(2));
        // 3 waited, 4 was lost, 5 was altered, 6 could not be opened.
        let hash = FrameHash::of(&3_u64.to_be_bytes());
        let waited = Some(Duration::from_millis(20));
        ledger.received(bob, id(1, 3), Receipt::Opened { hash, waited });
        ledger.received(bob, id(1, 5), opened(77));
        ledger.received(bob, id(1, 6), Receipt::Undecryptable { reason: "unauthentic" });
        // 7 came twice: first not to be opened, then opened.
        ledger.received(bob, id(1, 7), Receipt::Undecryptable { reason: "unauthentic" });
        ledger.received(bob, id(1, 7), opened(7));
        ledger.received(bob, id(1, 7), Receipt::Undecryptable { reason: "duplicate" });
        ledger.received(bob, id(1, 8), opened(8));
        // Bob hung up just after 9 was sent.
        ledger.end(bob, SECOND * 9 + Duration::from_millis(1));
        ledger.end(bob, SECOND * 20);

        let tally = ledger.tally();
        let counts = &tally.frames;
        assert_eq!(counts.sent, 7);
        assert_eq!(counts.received, 4);
        assert_eq!(counts.waited, 1);
        assert_eq!(counts.lost_in_transport, 1);
        assert_eq!(counts.mismatched, 1);
        assert_eq!(counts.undecryptable, 1);
        assert_eq!(counts.undecryptable_by_reason["unauthentic"], 1);
        assert_eq!(counts.in_flight_at_end, 1);
        assert_eq!(counts.before_join, 1);
        let sum = counts.received + counts.lost_in_transport + counts.undecryptable;
        assert_eq!(counts.sent, sum + counts.mismatched);
        assert_eq!(tally.waits, [Duration::from_millis(20)]);
        assert_eq!(tally.pairs.len(), 1);
        assert_eq!(&tally.pairs[&("alice".to_owned(), "bob".to_owned())], counts);
    }

    #[test]
    fn a_stream_that_stays_dark_is_lost() {
        let (mut ledger, alice, bob) = pair();
        for counter in 0..10 {
            let at = SECOND * counter as u32;
            ledger.sent(alice, MediaKind::Video, frame(id(1, counter), at)).unwrap();
        }
        ledger.end(bob, SECOND * 7 + SECOND / 2);
        let counts = ledger.tally().frames;
        // Frames 4 to 7: those before had time to settle, those after were sent without bob.
        assert_eq!((counts.sent, counts.lost_in_transport), (4, 4));
        assert_eq!(counts.in_flight_at_end, 0);
    }

    #[test]
    fn a_counter_is_used_once() {
        let (mut ledger, alice, bob) = pair();
        ledger.sent(alice, MediaKind::Video, frame(id(1, 0), SECOND)).unwrap();
        let again = ledger.sent(bob, MediaKind::Audio, frame(id(1, 0), SECOND));
        assert_eq!(again, Err(ReusedCounter(id(1, 0))));
        assert_eq!(ledger.tally().reused_counters, 1);
        assert_eq!(ledger.frames().count(), 1);
    }

    #[test]
    fn what_nobody_sent_is_a_mismatch_and_damage_has_its_reason() {
        let (mut ledger, _, bob) = pair();
        ledger.received(bob, id(1, 5), opened(5));
        ledger.unidentified("malformed header");
        let tally = ledger.tally();
        assert_eq!(tally.frames.mismatched, 1);
        assert_eq!(tally.mismatched_forged, 1);
        assert_eq!(tally.frames.undecryptable_by_reason["malformed header"], 1);
    }
}
