//! How a message gets to the other end: over TCP, over two TCP connections, or over TCP and as datagrams.
//!
//! Datagrams: a commit goes as datagrams first: its parts, and a little later some that any lost part can be computed from
//! (their sum for one; a single part goes twice); over TCP only if it has not been confirmed (which an acknowledgement of its epoch does) a little after a round trip. A pending
//! change goes both ways at once. Everything else goes over TCP. Bytes of MLS travel as they are, not in base64.
//!
//! TCP is modelled as what it does to messages that are small and rare: a lost segment comes again after the
//! retransmission time-out, which doubles, or sooner if three segments behind it arrive (RFC 5681, with SACK); what
//! is behind it waits (head of line). Large messages need several round trips, as the window grows from ten
//! segments (RFC 6928). There is no tail loss probe, which for a single segment is no quicker.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sframe_bridge::Now;

use super::{
    network::{DATAGRAM_HEADERS, Link, RECORD, SEGMENT, TCP_HEADERS, Way},
    scenario::{SignallingPath, SignallingSpec},
};

/// The initial congestion window, in segments.
const INITIAL_WINDOW: usize = 10;

/// Segments that have to arrive behind a lost one before it is sent again at once.
const DUPLICATES: usize = 3;

/// The longest retransmission time-out.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How a message may travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// In order, over the stream.
    Ordinary,
    /// Over the stream, and as datagrams where there are such; it may come before its turn.
    Redundant,
    /// As datagrams first, where there are such; over the stream if it is not confirmed.
    First,
}

/// The longest time that a datagram may be confirmed later than a round trip.
const CONFIRMATION: Duration = Duration::from_millis(30);

/// Longer messages do not go as datagrams.
const LONGEST_DATAGRAMS: usize = 16 << 10;

/// Something that happens to a message on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    /// It is complete at the other end of a stream.
    Arrived { stream: usize, number: u64 },
    /// It came as datagrams.
    Datagrams { parcel: u64 },
    /// A segment of it has to be sent again, unless a later attempt is under way.
    Again { stream: usize, number: u64, attempt: u32 },
    /// It goes over the stream now, unless it has been confirmed.
    Unconfirmed { parcel: u64, bytes: usize },
}

/// When that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Now,
    pub(super) signal: Signal,
}

struct Lost {
    attempt: u32,
    /// Segments that arrived behind it.
    behind: usize,
}

/// How long a message is as JSON, and how much of that is base64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) bytes: usize,
    pub(super) base64: usize,
}

impl Size {
    fn binary(self) -> usize {
        self.bytes - self.base64 / 4
    }
}

/// A message, or the segment of it that was lost, on its way for the `attempt`th time from 0.
struct Attempt {
    number: u64,
    bytes: usize,
    attempt: u32,
}

/// One TCP connection's direction.
#[derive(Default)]
struct Stream {
    next: u64,
    /// What each number carries.
    parcels: BTreeMap<u64, u64>,
    /// All messages below have arrived.
    complete: u64,
    arrived: BTreeSet<u64>,
    lost: BTreeMap<u64, Lost>,
}

/// One direction between a member and the server.
pub(super) struct Pipe<M> {
    way: Way,
    streams: Vec<Stream>,
    /// `None`: no datagrams.
    parity: Option<usize>,
    spacing: Duration,
    next: u64,
    /// What has not been handed over yet.
    cargo: BTreeMap<u64, M>,
    /// What was handed over and may not be confirmed yet, and when.
    confirmable: BTreeMap<u64, Now>,
}

impl<M> Pipe<M> {
    pub(super) fn new(way: Way, spec: &SignallingSpec) -> Self {
        let streams = if spec.path == SignallingPath::TwoStreams { 2 } else { 1 };
        Self {
            way,
            streams: (0..streams).map(|_| Stream::default()).collect(),
            parity: (spec.path == SignallingPath::Datagrams).then_some(spec.parity as usize),
            spacing: Duration::from_millis(spec.spacing_ms),
            next: 0,
            cargo: BTreeMap::new(),
            confirmable: BTreeMap::new(),
        }
    }

    /// Sends a message; what follows from it is appended to `due`.
    pub(super) fn send(
        &mut self,
        message: M,
        size: Size,
        urgency: Urgency,
        link: &mut Link,
        now: Now,
        due: &mut Vec<Due>,
    ) {
        let parcel = self.next;
        self.next += 1;
        self.cargo.insert(parcel, message);
        let datagrams = urgency != Urgency::Ordinary
            && self.parity.is_some()
            && size.bytes <= LONGEST_DATAGRAMS;
        if datagrams {
            self.send_datagrams(parcel, size.binary(), urgency, link, now, due);
        }
        if datagrams && urgency == Urgency::First {
            let at = now + link.round_trip() + CONFIRMATION;
            let signal = Signal::Unconfirmed { parcel, bytes: size.bytes };
            due.push(Due { at, signal });
        } else {
            self.send_over_streams(parcel, size.bytes, link, now, due);
        }
    }

    fn send_over_streams(
        &mut self,
        parcel: u64,
        bytes: usize,
        link: &mut Link,
        now: Now,
        due: &mut Vec<Due>,
    ) {
        for index in 0..self.streams.len() {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            let number = stream.next;
            stream.next += 1;
            stream.parcels.insert(number, parcel);
            let first = Attempt { number, bytes: bytes + RECORD, attempt: 0 };
            self.transmit(index, first, link, now, due);
        }
    }

    /// Takes in what has happened; messages that came by it are appended to `out`.
    pub(super) fn happened(
        &mut self,
        signal: Signal,
        link: &mut Link,
        now: Now,
        due: &mut Vec<Due>,
        out: &mut Vec<M>,
    ) {
        match signal {
            Signal::Arrived { stream, number } => self.arrived(stream, number, out),
            Signal::Datagrams { parcel } => {
                if let Some(message) = self.cargo.remove(&parcel) {
                    self.confirmable.insert(parcel, now);
                    out.push(message);
                }
            }
            Signal::Again { stream, number, attempt } => {
                let entry = self.streams.get(stream).and_then(|stream| stream.lost.get(&number));
                if entry.is_some_and(|lost| lost.attempt == attempt) {
                    let again = Attempt { number, bytes: SEGMENT, attempt: attempt + 1 };
                    self.transmit(stream, again, link, now, due);
                }
            }
            Signal::Unconfirmed { parcel, bytes } => {
                let confirmed = self
                    .confirmable
                    .remove(&parcel)
                    .is_some_and(|handed_over| handed_over + link.round_trip() / 2 <= now);
                if !confirmed {
                    self.send_over_streams(parcel, bytes, link, now, due);
                }
            }
        }
    }

    fn arrived(&mut self, stream: usize, number: u64, out: &mut Vec<M>) {
        let Some(stream) = self.streams.get_mut(stream) else { return };
        stream.lost.remove(&number);
        stream.arrived.insert(number);
        while stream.arrived.remove(&stream.complete) {
            let parcel = stream.parcels.remove(&stream.complete);
            out.extend(parcel.and_then(|parcel| self.cargo.remove(&parcel)));
            stream.complete += 1;
        }
    }

    fn transmit(
        &mut self,
        stream: usize,
        Attempt { number, bytes, attempt }: Attempt,
        link: &mut Link,
        now: Now,
        due: &mut Vec<Due>,
    ) {
        let round_trip = link.round_trip();
        let timeout =
            link.retransmission_timeout().saturating_mul(1 << attempt.min(8)).min(LONGEST_TIMEOUT);
        let segments = bytes.div_ceil(SEGMENT).max(1);
        // Rounds in which the window grows before the last segment can go.
        let rounds = (segments.div_ceil(INITIAL_WINDOW) + 1).next_power_of_two().ilog2() - 1;
        let mut departed = now;
        let mut arrives = None;
        let mut last_lost = None;
        for segment in 0..segments {
            let part = (bytes - segment * SEGMENT).min(SEGMENT) + TCP_HEADERS;
            let passage = link.packet(self.way, part, now);
            departed = passage.departs;
            match passage.arrives {
                Some(at) => arrives = arrives.max(Some(at)),
                None => last_lost = Some(segment),
            }
        }
        link.count_acknowledgement(self.way);
        let complete = match (arrives, last_lost) {
            (Some(at), None) => Some(at),
            // Repaired by what is behind it in the same message.
            (Some(at), Some(lost)) if segments - lost > DUPLICATES => {
                let again = link.packet_at(self.way, SEGMENT + TCP_HEADERS, at + round_trip / 2);
                again.arrives
            }
            _ => None,
        };
        let Some(known) = self.streams.get_mut(stream) else { return };
        match complete {
            Some(at) => {
                let at = at + round_trip * rounds;
                due.push(Due { at, signal: Signal::Arrived { stream, number } });
                let signals = known.lost.range_mut(..number).filter_map(|(number, lost)| {
                    let before = lost.behind;
                    lost.behind += segments;
                    let repeats =
                        before < DUPLICATES && lost.behind >= DUPLICATES && lost.attempt == 0;
                    let signal = Signal::Again { stream, number: *number, attempt: 0 };
                    repeats.then_some(Due { at: at + round_trip / 2, signal })
                });
                due.extend(signals);
                if let Some(lost) = known.lost.get_mut(&number) {
                    // Under way again: an older plan to repeat it is void.
                    lost.attempt = attempt.max(lost.attempt);
                }
            }
            None => {
                known.lost.insert(number, Lost { attempt, behind: 0 });
                let signal = Signal::Again { stream, number, attempt };
                due.push(Due { at: departed + timeout, signal });
            }
        }
    }

    /// Sends the parts; as many of all of them as there are of the message make it complete.
    fn send_datagrams(
        &mut self,
        parcel: u64,
        bytes: usize,
        urgency: Urgency,
        link: &mut Link,
        now: Now,
        due: &mut Vec<Due>,
    ) {
        let parts = bytes.div_ceil(SEGMENT).max(1);
        let part = bytes.div_ceil(parts) + DATAGRAM_HEADERS;
        let parity = self.parity.filter(|_| urgency == Urgency::First).unwrap_or_default();
        let mut arrivals = Vec::new();
        for index in 0..parts + parity {
            let late = u32::try_from((index + 1).saturating_sub(parts)).unwrap_or(u32::MAX);
            let at = now + self.spacing * late;
            arrivals.extend(link.packet_at(self.way, part, at).arrives);
        }
        link.count_confirmation(self.way);
        arrivals.sort_unstable();
        if let Some(at) = arrivals.get(parts - 1).copied() {
            due.push(Due { at, signal: Signal::Datagrams { parcel } });
            if link.duplicates() {
                due.push(Due { at, signal: Signal::Datagrams { parcel } });
            }
        }
    }
}
