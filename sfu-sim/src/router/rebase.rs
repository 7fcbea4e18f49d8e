use super::{Arrival, Verdict};
use crate::protocol::MediaKind;

/// How many sequence numbers below the highest one are remembered.
const WINDOW: u64 = 1024;

/// The first sequence number of a line. Low enough for SRTP's roll-over counter to start at 0, high enough for
/// packets that the network brought out of order to have a place below it.
const FIRST_SEQ: u64 = 1024;

/// Which of the last packets were here.
#[derive(Debug)]
pub(super) struct SeenWindow {
    highest: Option<u64>,
    bits: [u64; (WINDOW / 64) as usize],
}

impl Default for SeenWindow {
    fn default() -> Self {
        Self { highest: None, bits: [0; (WINDOW / 64) as usize] }
    }
}

impl SeenWindow {
    pub(super) fn admit(&mut self, seq: u64) -> Verdict {
        match self.highest {
            None => self.highest = Some(seq),
            Some(highest) if seq > highest => {
                let steps = (seq - highest).min(WINDOW);
                for step in 1..=steps {
                    self.set(highest.wrapping_add(step), false);
                }
                self.highest = Some(seq);
            }
            Some(highest) if highest - seq >= WINDOW => return Verdict::TooLate,
            Some(_) if self.is_set(seq) => return Verdict::Duplicate,
            Some(_) => {}
        }
        self.set(seq, true);
        Verdict::Forwarded
    }

    fn is_set(&self, seq: u64) -> bool {
        let bit = seq % WINDOW;
        self.bits.get((bit / 64) as usize).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    fn set(&mut self, seq: u64, value: bool) {
        let bit = seq % WINDOW;
        if let Some(word) = self.bits.get_mut((bit / 64) as usize) {
            let mask = 1 << (bit % 64);
            *word = if value { *word | mask } else { *word & !mask };
        }
    }
}

/// Where a packet stands on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) timestamp: u32,
}

/// Moves a publisher's sequence numbers and timestamps to those of a line.
#[derive(Debug, Default)]
pub(super) struct Rebase {
    anchor: Option<Anchor>,
}

#[derive(Debug)]
struct Anchor {
    source: u32,
    /// The publisher's number that stands at `first`.
    origin: u64,
    first: u64,
    /// Nothing below this is sent under this anchor: it belongs to a former source.
    floor: u64,
    timestamp_shift: u32,
    highest: Place,
}

impl Rebase {
    /// None if the packet is older than the line.
    pub(super) fn place(&mut self, arrival: Arrival, kind: MediaKind) -> Option<Place> {
        if self.anchor.as_ref().is_none_or(|anchor| anchor.source != arrival.source) {
            self.anchor = Some(Anchor::new(arrival, kind, self.anchor.as_ref()));
        }
        let anchor = self.anchor.as_mut()?;
        let seq = (anchor.first + arrival.seq).checked_sub(anchor.origin)?;
        if seq < anchor.floor {
            return None;
        }
        let timestamp = arrival.timestamp.wrapping_add(anchor.timestamp_shift);
        let place = Place { seq, timestamp };
        if seq > anchor.highest.seq {
            anchor.highest = place;
        }
        Some(place)
    }
}

impl Anchor {
    fn new(arrival: Arrival, kind: MediaKind, former: Option<&Self>) -> Self {
        let (first, floor, timestamp_shift) = match former {
            None => (FIRST_SEQ, 0, 0),
            Some(former) => {
                let next = former.highest.seq + 1;
                // One frame later than the former source's last packet: 20 ms of Opus, 1/30 s of video.
                let step = match kind {
                    MediaKind::Audio => 960,
                    MediaKind::Video => 3000,
                };
                let timestamp = former.highest.timestamp.wrapping_add(step);
                (next, next, timestamp.wrapping_sub(arrival.timestamp))
            }
        };
        let timestamp = arrival.timestamp.wrapping_add(timestamp_shift);
        Self {
            source: arrival.source,
            origin: arrival.seq,
            first,
            floor,
            timestamp_shift,
            highest: Place { seq: first, timestamp },
        }
    }
}
