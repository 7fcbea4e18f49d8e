//! The SFrame header (RFC 9605 section 4.3): a config byte, then KID and CTR in as few bytes as
//! they need.

use crate::kid::Kid;
use thiserror::Error;

/// The longest header: config byte, 8 bytes of KID, 8 bytes of CTR.
pub const MAX_HEADER_LENGTH: usize = 17;

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodedHeader {
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
pub fn peek(frame: &[u8]) -> Result<Peeked, HeaderError> {
    let truncated = |expected| HeaderError::Truncated { expected, found: frame.len() };
    let (&config, rest) = frame.split_first().ok_or(truncated(1))?;
    let kid_length = field_length(config >> 4);
    let ctr_length = field_length(config);
    let length = 1 + kid_length + ctr_length;
    let (kid_bytes, rest) = rest.split_at_checked(kid_length).ok_or(truncated(length))?;
    let (ctr_bytes, _) = rest.split_at_checked(ctr_length).ok_or(truncated(length))?;
    let kid = Kid(read_field(config >> 4, kid_bytes)?);
    let ctr = read_field(config, ctr_bytes)?;
    Ok(Peeked { header: Header { kid, ctr }, length })
}

impl Header {
    /// The header's encoding in as few bytes as its values need.
    pub fn encode(&self) -> EncodedHeader {
        let kid = self.kid.0.to_be_bytes();
        let ctr = self.ctr.to_be_bytes();
        let (kid_code, kid_bytes) = write_field(self.kid.0, &kid);
        let (ctr_code, ctr_bytes) = write_field(self.ctr, &ctr);
        let mut bytes = [0; MAX_HEADER_LENGTH];
        let source = [(kid_code << 4) | ctr_code]
            .into_iter()
            .chain(kid_bytes.iter().copied())
            .chain(ctr_bytes.iter().copied());
        for (target, byte) in bytes.iter_mut().zip(source) {
            *target = byte;
        }
        EncodedHeader { bytes, length: 1 + kid_bytes.len() + ctr_bytes.len() }
    }
}

impl EncodedHeader {
    /// The header's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn field_length(code: u8) -> usize {
    if code & EXTENDED == 0 { 0 } else { usize::from(code & VALUE) + 1 }
}

fn read_field(code: u8, bytes: &[u8]) -> Result<u64, HeaderError> {
    if bytes.is_empty() {
        return Ok(u64::from(code & VALUE));
    }
    let value = bytes.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte));
    let minimal = bytes.first() != Some(&0) && value > u64::from(VALUE);
    if minimal { Ok(value) } else { Err(HeaderError::NotMinimal) }
}

fn write_field(value: u64, bytes: &[u8; 8]) -> (u8, &[u8]) {
    if value <= u64::from(VALUE) {
        return (value as u8, &[]);
    }
    let skip = value.leading_zeros() / 8;
    let code = EXTENDED | (7 - skip as u8);
    (code, bytes.get(skip as usize..).unwrap_or_default())
}
