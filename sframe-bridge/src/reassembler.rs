//! Putting SFrame ciphertexts together from RTP packets that come late, twice or never.

use crate::rtp_payload::{Fragment, PayloadError, RtpDescriptor, parse_payload};
use crate::time::Now;
use core::time::Duration;
use std::collections::BTreeMap;

/// Bounds of a [`Reassembler`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReassemblyLimits {
    /// Most packets held. Default 1,024.
    pub packets: usize,
    /// Most bytes held. Default 4 MiB.
    pub bytes: usize,
    /// How long a gap may wait for its packet, by reordering or retransmission, before it counts
    /// as lost. Default 250 ms.
    pub gap: Duration,
}

impl Default for ReassemblyLimits {
    fn default() -> Self {
        Self { packets: 1_024, bytes: 4 << 20, gap: Duration::from_millis(250) }
    }
}

/// An RTP packet, as far as reassembly needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpPacket<'a> {
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp; all fragments of a frame have the same.
    pub timestamp: u32,
    /// The payload, descriptor included.
    pub payload: &'a [u8],
}

/// What comes out, in the order of sequence numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reassembled {
    /// A whole SFrame ciphertext.
    Frame(ReassembledFrame),
    /// Packets are missing for good, or did not fit together.
    Lost(Loss),
}

/// A whole SFrame ciphertext.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReassembledFrame {
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// The RTP timestamp of its packets.
    pub timestamp: u32,
    /// The sequence number of its first packet.
    pub first_sequence: u16,
    /// How many packets it took.
    pub packets: u32,
    /// Whether each packet was encrypted by itself (T).
    pub per_packet: bool,
}

/// A stretch of packets from which nothing comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// Packets that never came.
    pub missing: u64,
    /// Packets that came but belonged to an incomplete frame.
    pub dropped: u64,
}

/// How many packets came, and what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ReassemblyStats {
    /// Packets that came a second time.
    pub duplicates: u64,
    /// Packets that came after they had been handed out or given up.
    pub late: u64,
    /// Packets that are no SFrame payloads.
    pub malformed: u64,
    /// Packets missing for good.
    pub missing: u64,
    /// Whole frames.
    pub frames: u64,
}

struct Held {
    descriptor: RtpDescriptor,
    timestamp: u32,
    part: Vec<u8>,
    arrived: Now,
}

/// Puts the frames of one RTP stream together.
///
/// Packets may come in any order inside the bounds. Frames come out in order; a gap holds back
/// what follows until its packet comes, its time is over, or the bounds are reached.
pub struct Reassembler {
    limits: ReassemblyLimits,
    held: BTreeMap<u64, Held>,
    bytes: usize,
    /// The extended sequence number of the next packet to hand out.
    next: Option<u64>,
    highest: u64,
    late_in_a_row: u32,
    unreported: Option<Loss>,
    stats: ReassemblyStats,
}

// Room below the first sequence number for packets that overtook each other at the start.
const FIRST_CYCLE: u64 = 1 << 32;

// So many late packets without one that is not: the sender has begun a new sequence.
const LATE_MEANS_RESTART: u32 = 64;

impl Reassembler {
    /// A reassembler that has seen nothing.
    pub fn new(limits: ReassemblyLimits) -> Self {
        Self {
            limits,
            held: BTreeMap::new(),
            bytes: 0,
            next: None,
            highest: 0,
            late_in_a_row: 0,
            unreported: None,
            stats: ReassemblyStats::default(),
        }
    }

    /// Takes in a packet. Drain [`poll`](Self::poll) afterwards.
    ///
    /// # Errors
    ///
    /// [`PayloadError`]; such a packet is as good as lost.
    pub fn push(&mut self, packet: RtpPacket<'_>, now: Now) -> Result<(), PayloadError> {
        let Fragment { descriptor, part } = match self.parse(packet.payload) {
            Ok(fragment) => fragment,
            Err(error) => {
                self.stats.malformed += 1;
                return Err(error);
            }
        };
        let sequence = self.extend(packet.sequence);
        if self.next.is_some_and(|next| sequence < next) {
            self.stats.late += 1;
            self.late_in_a_row += 1;
            if self.late_in_a_row >= LATE_MEANS_RESTART {
                self.restart();
            }
            return Ok(());
        }
        self.late_in_a_row = 0;
        if self.held.contains_key(&sequence) {
            self.stats.duplicates += 1;
            return Ok(());
        }
        self.make_room(part.len());
        let next = *self.next.get_or_insert(sequence);
        if sequence < next {
            self.stats.late += 1;
            return Ok(());
        }
        self.highest = self.highest.max(sequence);
        self.bytes += part.len();
        let timestamp = packet.timestamp;
        self.held
            .insert(sequence, Held { descriptor, timestamp, part: part.to_vec(), arrived: now });
        Ok(())
    }

    /// The next frame or loss. `now` decides which gaps have waited long enough.
    pub fn poll(&mut self, now: Now) -> Option<Reassembled> {
        if let Some(loss) = self.unreported.take() {
            return Some(Reassembled::Lost(loss));
        }
        let next = self.next?;
        match self.frame_at(next) {
            Run::Complete(end) => self.take_frame(next, end),
            Run::Broken(end) => Some(Reassembled::Lost(self.give_up(end))),
            Run::Gap(gap) => {
                let (&resume, held) = self.held.range(gap..).next()?;
                let overdue = held.arrived + self.limits.gap <= now;
                let jumped = self.highest - next > 2 * self.limits.packets as u64;
                if !(overdue || jumped) {
                    return None;
                }
                let start = self.next_start(resume);
                Some(Reassembled::Lost(self.give_up(start)))
            }
        }
    }

    /// When [`poll`](Self::poll) gives up the next gap.
    pub fn next_deadline(&self) -> Option<Now> {
        let Run::Gap(gap) = self.frame_at(self.next?) else { return None };
        self.held.range(gap..).next().map(|(_, held)| held.arrived + self.limits.gap)
    }

    /// What has come in so far.
    pub fn stats(&self) -> &ReassemblyStats {
        &self.stats
    }

    /// Packets held.
    pub fn held_packets(&self) -> usize {
        self.held.len()
    }

    /// Bytes of the packets held.
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    fn parse<'a>(&self, payload: &'a [u8]) -> Result<Fragment<'a>, PayloadError> {
        if payload.len() > self.limits.bytes {
            return Err(PayloadError::TooLong { limit: self.limits.bytes, found: payload.len() });
        }
        parse_payload(payload)
    }

    /// The full sequence number nearest to the highest one seen (RFC 3711 section 3.3.1).
    fn extend(&mut self, sequence: u16) -> u64 {
        if self.next.is_none() {
            self.highest = FIRST_CYCLE + u64::from(sequence);
            return self.highest;
        }
        let distance = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest.saturating_add_signed(distance.into())
    }

    /// What stands at `start`, where a frame should begin.
    fn frame_at(&self, start: u64) -> Run {
        let mut expected = start;
        let mut timestamp = None;
        for (&sequence, held) in self.held.range(start..) {
            if sequence != expected {
                return Run::Gap(expected);
            }
            let begins = sequence == start;
            let foreign = timestamp.is_some_and(|timestamp| timestamp != held.timestamp);
            if begins != held.descriptor.first || foreign {
                // The frame that began at `start` has no end, or never began.
                return Run::Broken(if begins { self.next_start(sequence + 1) } else { sequence });
            }
            if held.descriptor.last {
                return Run::Complete(sequence);
            }
            timestamp = Some(held.timestamp);
            expected = sequence + 1;
        }
        Run::Gap(expected)
    }

    /// The first packet from `from` on that begins a frame; past the highest one if none does.
    fn next_start(&self, from: u64) -> u64 {
        let start = self.held.range(from..).find(|(_, held)| held.descriptor.first);
        start.map_or(self.highest + 1, |(&sequence, _)| sequence)
    }

    fn take_frame(&mut self, start: u64, end: u64) -> Option<Reassembled> {
        let rest = self.held.split_off(&(end + 1));
        let parts = core::mem::replace(&mut self.held, rest);
        let first = parts.first_key_value()?.1;
        let (timestamp, per_packet) = (first.timestamp, first.descriptor.per_packet);
        let mut ciphertext = Vec::with_capacity(parts.values().map(|held| held.part.len()).sum());
        for held in parts.values() {
            ciphertext.extend_from_slice(&held.part);
        }
        self.bytes -= ciphertext.len();
        self.next = Some(end + 1);
        self.stats.frames += 1;
        Some(Reassembled::Frame(ReassembledFrame {
            ciphertext,
            timestamp,
            first_sequence: start as u16,
            packets: parts.len() as u32,
            per_packet,
        }))
    }

    /// Gives up everything before `until`.
    fn give_up(&mut self, until: u64) -> Loss {
        let rest = self.held.split_off(&until);
        let dropped = core::mem::replace(&mut self.held, rest);
        self.bytes -= dropped.values().map(|held| held.part.len()).sum::<usize>();
        let length = until - self.next.unwrap_or(until);
        let dropped = dropped.len() as u64;
        let missing = length.saturating_sub(dropped);
        self.stats.missing += missing;
        self.next = Some(until);
        Loss { missing, dropped }
    }

    /// Gives up the oldest frames until a packet of `length` bytes fits the bounds.
    fn make_room(&mut self, length: usize) {
        while let Some((&oldest, _)) = self.held.first_key_value() {
            let fits = self.held.len() < self.limits.packets.max(1)
                && self.bytes + length <= self.limits.bytes;
            if fits {
                return;
            }
            let loss = self.give_up(self.next_start(oldest + 1));
            self.note(loss);
        }
    }

    /// The stream goes on somewhere else in the sequence numbers.
    fn restart(&mut self) {
        let loss = Loss { missing: 0, dropped: self.held.len() as u64 };
        self.note(loss);
        self.held.clear();
        self.bytes = 0;
        self.next = None;
        self.late_in_a_row = 0;
    }

    fn note(&mut self, loss: Loss) {
        let noted = self.unreported.get_or_insert(Loss { missing: 0, dropped: 0 });
        noted.missing += loss.missing;
        noted.dropped += loss.dropped;
    }
}

/// What stands where a frame should begin.
enum Run {
    /// A frame up to and including this packet.
    Complete(u64),
    /// Nothing that can become a frame before this packet.
    Broken(u64),
    /// This packet is missing.
    Gap(u64),
}
