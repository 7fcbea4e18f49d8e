//! The form of a datagram: kind (1 byte), tag (4); then, unless it is a nudge, number (4), length of the message (2), place
//! of the part (1), and the part; big-endian.

/// The longest message that travels as datagrams, in bytes.
pub const MAX_MESSAGE: usize = 16 << 10;

/// The longest datagram, in bytes: it fits into one packet beside the headers of IP, UDP, DTLS and SCTP.
pub const MAX_DATAGRAM: usize = HEADER + MAX_PART;

const HEADER: usize = 12;
const MAX_PART: usize = 1_100;

/// A part of a message that is to be confirmed, and of one that is not.
const CONFIRM: u8 = 1;
const NO_CONFIRM: u8 = 2;
const NUDGE: u8 = 3;

/// Why a datagram is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// It is not of this protocol.
    #[error("expected a part of a message, found {0} other bytes")]
    Malformed(usize),
    /// It belongs to an earlier signalling connection, or to none.
    #[error("expected the tag of this connection")]
    OtherConnection,
    /// It says something else about its message than an earlier one.
    #[error("expected a part of the same message as before")]
    Inconsistent,
}

impl DatagramError {
    /// A name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::OtherConnection => "other_connection",
            Self::Inconsistent => "inconsistent",
        }
    }
}

/// Into how many parts a message of this length is cut.
pub(super) fn count(length: usize) -> usize {
    length.div_ceil(MAX_PART).max(1)
}

/// How long its parts are; the last one may be shorter.
pub(super) fn size(length: usize) -> usize {
    length.div_ceil(count(length))
}

/// Where part `index` of such a message lies.
pub(super) fn range(length: usize, index: usize) -> std::ops::Range<usize> {
    let start = (size(length) * index).min(length);
    start..(start + size(length)).min(length)
}

/// Adds `bytes` to `sum`, which is at least as long.
pub(super) fn add(sum: &mut [u8], bytes: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(bytes) {
        *sum ^= byte;
    }
}

/// What a datagram is, beside its tag.
#[derive(Clone, Copy, Debug)]
pub(super) enum Datagram<'a> {
    Part(Part<'a>),
    /// It only makes SCTP acknowledge.
    Nudge,
}

/// Reads a datagram: its tag, and what it is.
pub(super) fn parse(datagram: &[u8]) -> Result<(u32, Datagram<'_>), DatagramError> {
    let read = || {
        let (kind, rest) = datagram.split_first()?;
        let (tag, rest) = rest.split_first_chunk()?;
        let content = match *kind {
            CONFIRM => Datagram::Part(Part::read(true, rest)?),
            NO_CONFIRM => Datagram::Part(Part::read(false, rest)?),
            NUDGE if rest.is_empty() => Datagram::Nudge,
            _ => return None,
        };
        Some((u32::from_be_bytes(*tag), content))
    };
    read().ok_or(DatagramError::Malformed(datagram.len()))
}

/// The datagram of a nudge.
pub(super) fn nudge(tag: u32) -> Vec<u8> {
    [&[NUDGE][..], &tag.to_be_bytes()].concat()
}

/// A part of a message, or the sum of its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) number: u32,
    /// Whether the message is to be confirmed.
    pub(super) confirm: bool,
    /// The length of the whole message.
    pub(super) length: usize,
    /// Which part; the sum comes after the last one.
    pub(super) index: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Part<'a> {
    /// How many datagrams its message has.
    pub(super) fn datagrams(&self) -> usize {
        count(self.length) + usize::from(self.confirm)
    }

    fn read(confirm: bool, rest: &'a [u8]) -> Option<Self> {
        let (number, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (index, bytes) = rest.split_first()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let index = usize::from(*index);
        let expected = match count(length) {
            sum if sum == index => size(length),
            parts if index < parts => range(length, index).len(),
            _ => return None,
        };
        let part = Self { number: u32::from_be_bytes(*number), confirm, length, index, bytes };
        (length <= MAX_MESSAGE && bytes.len() == expected).then_some(part)
    }
}

/// A message as datagrams.
pub(super) struct Datagrams {
    pub(super) parts: Vec<Vec<u8>>,
    pub(super) sum: Vec<u8>,
}

/// Cuts up a message of at most [`MAX_MESSAGE`] bytes.
pub(super) fn split(tag: u32, number: u32, confirm: bool, body: &[u8]) -> Datagrams {
    let length = body.len();
    let datagram = |index: usize, bytes: &[u8]| {
        let mut out = Vec::with_capacity(HEADER + bytes.len());
        out.push(if confirm { CONFIRM } else { NO_CONFIRM });
        out.extend_from_slice(&tag.to_be_bytes());
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        out.push(u8::try_from(index).unwrap_or(u8::MAX));
        out.extend_from_slice(bytes);
        out
    };
    let mut sum = vec![0; size(length)];
    let mut parts = Vec::with_capacity(count(length));
    for index in 0..count(length) {
        let bytes = body.get(range(length, index)).unwrap_or_default();
        add(&mut sum, bytes);
        parts.push(datagram(index, bytes));
    }
    Datagrams { parts, sum: datagram(count(length), &sum) }
}
