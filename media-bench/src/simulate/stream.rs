//! How a message gets to the other end over TCP, or over two TCP connections.
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
    network::{Link, RECORD, SEGMENT, TCP_HEADERS, Way},
    scenario::{SignallingPath, SignallingSpec},
};

/// The initial congestion window, in segments.
const INITIAL_WINDOW: usize = 10;

/// Segments that have to arrive behind a lost one before it is sent again at once.
const DUPLICATES: usize = 3;

/// The longest retransmission time-out.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Something that happens to a message on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    /// It is complete at the other end of a stream.
    Arrived { stream: usize, number: u64 },
    /// A segment of it has to be sent again, unless a later attempt is under way.
    Again { stream: usize, number: u64, attempt: u32 },
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
    next: u64,
    /// What has not been handed over yet.
    cargo: BTreeMap<u64, M>,
}

impl<M> Pipe<M> {
    pub(super) fn new(way: Way, spec: &SignallingSpec) -> Self {
        let streams = if spec.path == SignallingPath::TwoStreams { 2 } else { 1 };
        Self {
            way,
            streams: (0..streams).map(|_| Stream::default()).collect(),
            next: 0,
            cargo: BTreeMap::new(),
        }
    }

    /// Sends a message of so many bytes; what follows from it is appended to `due`.
    pub(super) fn send(
        &mut self,
        message: M,
        bytes: usize,
        link: &mut Link,
        now: Now,
        due: &mut Vec<Due>,
    ) {
        let parcel = self.next;
        self.next += 1;
        self.cargo.insert(parcel, message);
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
            Signal::Again { stream, number, attempt } => {
                let entry = self.streams.get(stream).and_then(|stream| stream.lost.get(&number));
                if entry.is_some_and(|lost| lost.attempt == attempt) {
                    let again = Attempt { number, bytes: SEGMENT, attempt: attempt + 1 };
                    self.transmit(stream, again, link, now, due);
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
}
