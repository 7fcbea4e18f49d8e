//! The SFrame header (RFC 9605 section 4.3): a config byte, then KID and CTR in as few bytes as
//! they need.

use crate::kid::Kid;
use thiserror::Error;

/// The longest header: config byte, 8 bytes of KID, 8 bytes of CTR.
pub const MAX_HEADER_LENGTH: usize = 17;

/// The longest field, in bytes.
const FIELD: usize = 8;
const EXTENDED: u8 = 0b1000;
const VALUE: u8 = 0b0111;

/// KID and CTR of a frame, as read from its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Names the key.
    pub kid: Kid,
    /// Makes the nonce; unique for each key.
    pub ctr: u64,
}

/// A header together with the bytes it takes at the front of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peeked {
    /// The header's values. Nothing has authenticated them.
    pub header: Header,
    /// Bytes of the header on the wire, 1 to [`MAX_HEADER_LENGTH`].
    pub length: usize,
}

/// An encoded header, held without allocation.
#[derive(Clone, Copy, Eq, Debug)]
pub struct EncodedHeader {
    // The header stands at the end.
    bytes: [u8; MAX_HEADER_LENGTH],
    length: usize,
}

/// Why bytes are not an SFrame header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum HeaderError {
    /// The input ends inside the header.
    #[error("expected a header of {expected} bytes, found {found}")]
    Truncated {
        /// Bytes that the header needs.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// KID or CTR takes more bytes than its value needs. RFC 9605 section 4.3 forbids that, and
    /// accepting it would give one frame several spellings.
    #[error("expected kid and ctr in the fewest bytes that hold them")]
    NotMinimal,
}

/// Reads the header at the front of a frame without touching any key (RFC 9605 section 4.3).
#[inline(always)]
pub fn peek(frame: &[u8]) -> Result<Peeked, HeaderError> {
    match frame.first_chunk() {
        Some(front) => read(front, frame.len()),
        // Too short for the longest header: what is missing is read as zeros, and not taken for a header.
        None => {
            let mut front = [0; MAX_HEADER_LENGTH];
            for (target, byte) in front.iter_mut().zip(frame) {
                *target = *byte;
            }
            read(&front, frame.len())
        }
    }
}

/// Reads the header of a frame that begins with `front` and has `found` bytes.
#[inline(always)]
fn read(front: &[u8; MAX_HEADER_LENGTH], found: usize) -> Result<Peeked, HeaderError> {
    let [config, rest @ ..] = front;
    let (kid_code, ctr_code) = (config >> 4, config & (EXTENDED | VALUE));
    let kid_length = field_length(kid_code);
    let length = 1 + kid_length + field_length(ctr_code);
    if found < length {
        return Err(HeaderError::Truncated { expected: length, found });
    }
    let kid = Kid(read_field(kid_code, rest)?);
    let ctr = read_field(ctr_code, rest.get(kid_length..).unwrap_or_default())?;
    Ok(Peeked { header: Header { kid, ctr }, length })
}

impl Header {
    /// The header's encoding in as few bytes as its values need.
    pub fn encode(&self) -> EncodedHeader {
        let mut bytes = [0; MAX_HEADER_LENGTH];
        let length = self.write_to_end(&mut bytes);
        EncodedHeader { bytes, length }
    }

    /// Writes the encoding so that it ends where `room` ends, and returns its length. What stands
    /// before it in `room` is unspecified afterwards.
    #[inline(always)]
    pub(crate) fn write_to_end(&self, room: &mut [u8; MAX_HEADER_LENGTH]) -> usize {
        // From the back, each field as a whole: the next one overwrites its leading zeros.
        let ctr = Field::new(self.ctr);
        let kid = Field::new(self.kid.0);
        let (_, ctr_place) = room.split_at_mut(MAX_HEADER_LENGTH - FIELD);
        ctr_place.copy_from_slice(&self.ctr.to_be_bytes());
        let end = MAX_HEADER_LENGTH - ctr.length;
        if kid.length != 0
            && let Some(place) = room.get_mut(end - FIELD..end)
        {
            place.copy_from_slice(&self.kid.0.to_be_bytes());
        }
        let length = 1 + kid.length + ctr.length;
        if let Some(config) = room.get_mut(MAX_HEADER_LENGTH - length) {
            *config = (kid.code << 4) | ctr.code;
        }
        length
    }
}

impl EncodedHeader {
    /// The header's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(MAX_HEADER_LENGTH - self.length..).unwrap_or_default()
    }
}

impl PartialEq for EncodedHeader {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

#[inline(always)]
fn field_length(code: u8) -> usize {
    if code & EXTENDED == 0 { 0 } else { usize::from(code & VALUE) + 1 }
}

/// Reads the field at the front of `rest`, which is long enough for the longest one.
#[inline(always)]
fn read_field(code: u8, rest: &[u8]) -> Result<u64, HeaderError> {
    if code & EXTENDED == 0 {
        return Ok(u64::from(code));
    }
    let bytes = rest.first_chunk::<FIELD>().copied().unwrap_or_default();
    let value = u64::from_be_bytes(bytes) >> (8 * (VALUE - (code & VALUE)));
    // What fits in the config byte belongs there, and a longer value has no leading zero byte.
    let minimal = bytes[0] != 0 && value > u64::from(VALUE);
    if minimal { Ok(value) } else { Err(HeaderError::NotMinimal) }
}

/// How a value is spelled: in the config byte, or in `length` bytes behind it.
struct Field {
    code: u8,
    length: usize,
}

impl Field {
    fn new(value: u64) -> Self {
        if value <= u64::from(VALUE) {
            return Self { code: value as u8, length: 0 };
        }
        let length = value_length(value);
        Self { code: EXTENDED | (length as u8 - 1), length }
    }
}

/// Bytes that a value other than zero needs.
const fn value_length(value: u64) -> usize {
    FIELD - value.leading_zeros() as usize / 8
}
