//! The path beside the stream: urgent messages as datagrams.
//!
//! A TCP connection that loses the last segment of a message waits for a retransmission time-out, and in a large
//! call somebody nearly always does. So commits, and the changes that wait for one, can also travel over an unordered
//! data channel without retransmission ([`CHANNEL_LABEL`]) on the participant's media connection:
//!
//! - The server's [`SessionEvent::Welcome`](crate::SessionEvent::Welcome) gives the connection a *tag*, the client
//!   offers the channel. Without either, everything goes over the stream.
//! - A message is cut into parts of one datagram each. Of one that is not on the stream too, a little later the sum (XOR) of
//!   its parts follows, from which any one of them can be computed; of a single part that is the part itself once more.
//! - Messages are numbered. One that also goes over the stream has its number there too (`parcel`), so that
//!   the receiver takes whichever comes first and drops the other.
//! - The receiver confirms over the stream: with another message that goes there just then (`received`), or a few
//!   milliseconds later by itself ([`SessionRequest::Datagrams`](crate::SessionRequest::Datagrams),
//!   [`SessionEvent::Datagrams`](crate::SessionEvent::Datagrams)). A message that is not confirmed in about a round
//!   trip goes over the stream, and as datagrams once more.
//! - SCTP waits a second for what was lost and then sends very little at a time, which would hold back the next
//!   message. Four tiny datagrams (nudges) after a loss make it notice at once and go on. The receiver says when it
//!   misses some (`lossy`).
//! - Each end first sends an empty message, a greeting; until it is confirmed, and again after several messages in a
//!   row were not, everything goes over the stream.
//!
//! [`urgency`](crate::ServerMessage::urgency) says which messages go this way. The order between the two ways is not kept.
//!
//! [`DatagramPath`] is one end: messages, datagrams and time in; datagrams, confirmations and what has to go over
//! the stream out. It has no socket and no clock: `now` is the time since any moment that the caller chose once.

mod arrivals;
mod assembly;
mod part;
mod round_trip;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use arrivals::Arrivals;
use assembly::Assembly;
use part::Datagram;
pub use part::{DatagramError, MAX_DATAGRAM, MAX_MESSAGE};
use round_trip::RoundTrip;

/// The label of the data channel that the client offers.
pub const CHANNEL_LABEL: &str = "framelock";

/// The protocol that the channel is opened for (RFC 8832 section 5.1), with its version.
pub const CHANNEL_PROTOCOL: &str = "framelock-datagrams-1";

/// How a message travels where there are datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Over the stream.
    Ordinary,
    /// Over the stream and as datagrams at once; what comes first counts.
    Both,
    /// As datagrams first; over the stream if it is not confirmed.
    First,
}

/// How much later than its parts a message's sum is sent, so that a short burst of losses does not take both.
const SPACING: Duration = Duration::from_millis(15);

/// How long a confirmation waits for another message to go with: a commit is acknowledged about that soon.
const CONFIRMATION: Duration = Duration::from_millis(15);

/// Nudges after a loss, and how far apart, so that each is acknowledged by itself: SCTP takes a datagram for lost when three
/// acknowledgements leave it out (RFC 9260 section 7.2.4), and one of them may be lost too.
const NUDGES: u32 = 4;
const NUDGE: Duration = Duration::from_millis(5);

/// Messages that may await confirmation at a time; more go over the stream.
const MAX_UNCONFIRMED: usize = 256;

/// Messages of which only some parts have come. The oldest makes room.
const MAX_UNFINISHED: usize = 8;

/// Numbers of messages that are remembered as received.
const MAX_REMEMBERED: usize = 1024;

/// After so many messages in a row that were not confirmed the path counts as broken.
const MAX_FAILURES: u32 = 3;

/// The first and the longest wait between two greetings.
const GREETING: Duration = Duration::from_secs(1);
const LONGEST_GREETING: Duration = Duration::from_secs(32);

/// What an end of the path wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOutput<M> {
    /// Send this through the channel.
    Datagram(Vec<u8>),
    /// Say this over the stream.
    Confirm {
        /// Numbers of messages that came.
        received: Vec<u32>,
        /// Whether datagrams were lost.
        lossy: bool,
    },
    /// Send this message over the stream, with its number.
    OverStream {
        /// The number, for `parcel`.
        number: u32,
        /// The message.
        message: M,
    },
}

/// What an end of the path has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// Messages sent as datagrams, greetings left out.
    pub sent: u64,
    /// Those of them that had to be confirmed and were.
    pub confirmed: u64,
    /// Those of them that went over the stream as they were not confirmed in time.
    pub fell_back: u64,
    /// Messages that came complete as datagrams before they came over the stream.
    pub received: u64,
    /// Messages that came over the stream and had come as datagrams before.
    pub repeated: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no channel.
    Closed,
    /// Greeted; if that is not confirmed, the next greeting waits for so long.
    Greeting { wait: Duration },
    /// The other end confirms.
    Ready,
}

#[derive(Debug)]
struct Unconfirmed<M> {
    /// `None`: a greeting.
    message: Option<M>,
    /// The datagrams that carry it, for once more beside the stream, which may lose it too.
    parts: Vec<Vec<u8>>,
    sent: Duration,
    due: Duration,
}

/// One end of the path of one signalling connection. `M` is a message in the form in which the caller wants it
/// back for the stream.
///
/// After every call that may have changed something, [`poll_output`](Self::poll_output) wants to be drained.
#[derive(Debug)]
pub struct DatagramPath<M> {
    tag: u32,
    state: State,
    next_number: u32,
    unconfirmed: BTreeMap<u32, Unconfirmed<M>>,
    failures: u32,
    round_trip: RoundTrip,
    /// Sums by their time and their message's number.
    later: BTreeMap<(Duration, u32), Vec<u8>>,
    unfinished: BTreeMap<u32, Assembly>,
    /// What is to be confirmed, and when at the latest.
    unsaid: Vec<u32>,
    unsaid_until: Duration,
    arrivals: Arrivals,
    seen: BTreeSet<u32>,
    /// Lower numbers are forgotten.
    seen_from: u32,
    outputs: VecDeque<PathOutput<M>>,
    counts: PathCounts,
}

impl<M> DatagramPath<M> {
    /// An end of the path of the signalling connection with this tag. It has no channel yet.
    pub fn new(tag: u32) -> Self {
        Self {
            tag,
            state: State::Closed,
            next_number: 1,
            unconfirmed: BTreeMap::new(),
            failures: 0,
            round_trip: RoundTrip::default(),
            later: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            unsaid: Vec::new(),
            unsaid_until: Duration::ZERO,
            arrivals: Arrivals::default(),
            seen: BTreeSet::new(),
            seen_from: 0,
            outputs: VecDeque::new(),
            counts: PathCounts::default(),
        }
    }

    /// The channel is open.
    pub fn open(&mut self, now: Duration) {
        if self.state == State::Closed {
            self.greet(GREETING, now);
        }
    }

    /// The channel is gone: what is not confirmed goes over the stream. What has been received stays known.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.failures = 0;
        self.later.clear();
        self.unfinished.clear();
        for (number, unconfirmed) in std::mem::take(&mut self.unconfirmed) {
            self.fall_back(number, unconfirmed.message);
        }
    }

    /// Whether messages go this way.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// What has been counted.
    pub fn counts(&self) -> PathCounts {
        self.counts
    }

    /// Sends `body`, the binary form of `message`, as datagrams. If it is not confirmed in time,
    /// [`PathOutput::OverStream`] gives `message` back.
    ///
    /// # Errors
    /// `message`, if it has to go over the stream right away: the path is not ready, or the message too long.
    pub fn send_first(&mut self, body: &[u8], message: M, now: Duration) -> Result<(), M> {
        let takes = self.is_ready()
            && body.len() <= MAX_MESSAGE
            && self.unconfirmed.len() < MAX_UNCONFIRMED;
        let Some(number) = takes.then(|| self.take_number()).flatten() else { return Err(message) };
        self.counts.sent += 1;
        let parts = self.transmit(number, true, body, now);
        let due = now.saturating_add(self.round_trip.patience());
        let unconfirmed = Unconfirmed { message: Some(message), parts, sent: now, due };
        self.unconfirmed.insert(number, unconfirmed);
        Ok(())
    }

    /// Sends `body` as datagrams and returns the number with which the same message has to go over the stream
    /// now. `None`: it goes over the stream only.
    pub fn send_also(&mut self, body: &[u8], now: Duration) -> Option<u32> {
        if !self.is_ready() || body.len() > MAX_MESSAGE {
            return None;
        }
        let number = self.take_number()?;
        self.counts.sent += 1;
        self.transmit(number, false, body, now);
        Some(number)
    }

    /// Takes in a datagram. Returns the body of the message that it completes, if it does; each message is
    /// returned once.
    ///
    /// # Errors
    /// [`DatagramError`]; nothing has changed then.
    pub fn receive(
        &mut self,
        datagram: &[u8],
        now: Duration,
    ) -> Result<Option<Vec<u8>>, DatagramError> {
        let (tag, datagram) = part::parse(datagram)?;
        if tag != self.tag {
            return Err(DatagramError::OtherConnection);
        }
        let Datagram::Part(part) = datagram else { return Ok(None) };
        let number = part.number;
        if number < self.seen_from || self.seen.contains(&number) {
            self.arrivals.more(&part);
            return Ok(None);
        }
        let body = match self.unfinished.get_mut(&number) {
            Some(assembly) => assembly.add(&part)?,
            None => {
                let mut assembly = Assembly::new(&part);
                let body = assembly.add(&part)?;
                self.unfinished.insert(number, assembly);
                body
            }
        };
        self.arrivals.first(&part, now);
        let Some(body) = body else {
            if self.unfinished.len() > MAX_UNFINISHED {
                self.unfinished.pop_first();
            }
            return Ok(None);
        };
        self.remember(number);
        if part.confirm {
            if self.unsaid.is_empty() {
                self.unsaid_until = now.saturating_add(CONFIRMATION);
            }
            self.unsaid.push(number);
        }
        if body.is_empty() {
            return Ok(None);
        }
        self.counts.received += 1;
        Ok(Some(body))
    }

    /// Whether a message that came over the stream with this number has not come as datagrams before.
    pub fn is_first(&mut self, number: u32, now: Duration) -> bool {
        if self.seen.contains(&number) {
            self.counts.repeated += 1;
            return false;
        }
        if number >= self.seen_from {
            self.arrivals.watch(number, now);
            self.remember(number);
        }
        true
    }

    /// What is to be confirmed, for a message that goes over the stream now.
    pub fn take_confirmations(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.unsaid)
    }

    /// The other end has confirmed the messages with these numbers.
    pub fn confirmed(&mut self, numbers: &[u32], now: Duration) {
        for number in numbers {
            let Some(unconfirmed) = self.unconfirmed.remove(number) else { continue };
            let took = now.saturating_sub(unconfirmed.sent);
            if unconfirmed.message.is_some() {
                self.counts.confirmed += 1;
                self.round_trip.measured(took);
            } else {
                self.round_trip.begin(took);
            }
            self.failures = 0;
            self.state = State::Ready;
        }
    }

    /// The other end misses datagrams.
    pub fn losses_reported(&mut self, now: Duration) {
        if self.state != State::Closed {
            self.nudge(now);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<PathOutput<M>> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn next_deadline(&self) -> Option<Duration> {
        let later = self.later.keys().next().map(|(due, _)| *due);
        let unsaid = (!self.unsaid.is_empty()).then_some(self.unsaid_until);
        let unconfirmed = self.unconfirmed.values().map(|unconfirmed| unconfirmed.due);
        unconfirmed.chain(later).chain(unsaid).chain(self.arrivals.next_deadline()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        let lossy = self.arrivals.take_losses(now);
        if lossy || (!self.unsaid.is_empty() && self.unsaid_until <= now) {
            let received = self.take_confirmations();
            self.outputs.push_back(PathOutput::Confirm { received, lossy });
        }
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            self.outputs.push_back(PathOutput::Datagram(entry.remove()));
        }
        let due = self.unconfirmed.iter().filter(|(_, unconfirmed)| unconfirmed.due <= now);
        for number in due.map(|(number, _)| *number).collect::<Vec<_>>() {
            let Some(unconfirmed) = self.unconfirmed.remove(&number) else { continue };
            let greeted = unconfirmed.message.is_none();
            if !greeted {
                self.outputs.extend(unconfirmed.parts.into_iter().map(PathOutput::Datagram));
            }
            self.fall_back(number, unconfirmed.message);
            self.failures = self.failures.saturating_add(1);
            match self.state {
                State::Greeting { wait } if greeted => {
                    self.greet(wait.saturating_mul(2).min(LONGEST_GREETING), now);
                }
                State::Ready if self.failures >= MAX_FAILURES => self.greet(GREETING, now),
                State::Ready => self.nudge(now),
                _ => {}
            }
        }
    }

    fn greet(&mut self, wait: Duration, now: Duration) {
        // Four billion messages ago the path began: what follows goes over the stream.
        let Some(number) = self.take_number() else { return };
        self.state = State::Greeting { wait };
        self.transmit(number, true, &[], now);
        let due = now.saturating_add(wait);
        let greeting = Unconfirmed { message: None, parts: Vec::new(), sent: now, due };
        self.unconfirmed.insert(number, greeting);
    }

    fn nudge(&mut self, now: Duration) {
        for place in 1..=NUDGES {
            // Numbers that no message has.
            let key = (now.saturating_add(NUDGE * place), u32::MAX - NUDGES + place);
            self.later.insert(key, part::nudge(self.tag));
        }
    }

    fn take_number(&mut self) -> Option<u32> {
        let number = self.next_number;
        self.next_number = number.checked_add(1).filter(|next| *next < u32::MAX - NUDGES)?;
        Some(number)
    }

    /// Sends the parts, which are returned, and later their sum.
    fn transmit(&mut self, number: u32, confirm: bool, body: &[u8], now: Duration) -> Vec<Vec<u8>> {
        let datagrams = part::split(self.tag, number, confirm, body);
        self.outputs.extend(datagrams.parts.iter().cloned().map(PathOutput::Datagram));
        if confirm {
            self.later.insert((now.saturating_add(SPACING), number), datagrams.sum);
        }
        datagrams.parts
    }

    fn fall_back(&mut self, number: u32, message: Option<M>) {
        self.later.retain(|(_, later), _| *later != number);
        if let Some(message) = message {
            self.counts.fell_back += 1;
            self.outputs.push_back(PathOutput::OverStream { number, message });
        }
    }

    fn remember(&mut self, number: u32) {
        self.unfinished.remove(&number);
        self.seen.insert(number);
        while self.seen.len() > MAX_REMEMBERED {
            if let Some(oldest) = self.seen.pop_first() {
                self.seen_from = oldest.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
