//! The RTP payload format for SFrame (draft-ietf-avtcore-rtp-sframe-02): one descriptor byte, then
//! a fragment of the SFrame ciphertext.

use thiserror::Error;

/// The RTP payload descriptor: `S E T r r r r r`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RtpDescriptor {
    /// S: the first fragment of an SFrame ciphertext.
    pub first: bool,
    /// E: the last fragment of an SFrame ciphertext.
    pub last: bool,
    /// T: each packet is encrypted by itself, instead of each frame.
    pub per_packet: bool,
}

const FIRST: u8 = 0x80;
const LAST: u8 = 0x40;
const PER_PACKET: u8 = 0x20;

impl RtpDescriptor {
    /// Bytes that the descriptor takes.
    pub const LENGTH: usize = 1;

    /// The descriptor's byte; the reserved bits are zero.
    pub const fn encode(self) -> u8 {
        (if self.first { FIRST } else { 0 })
            | (if self.last { LAST } else { 0 })
            | (if self.per_packet { PER_PACKET } else { 0 })
    }

    /// Reads a descriptor. The reserved bits are ignored, so that a later version may use them.
    pub const fn decode(byte: u8) -> Self {
        Self {
            first: byte & FIRST != 0,
            last: byte & LAST != 0,
            per_packet: byte & PER_PACKET != 0,
        }
    }
}

/// Why an RTP payload is not one of SFrame, or a setting is not possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// No byte of ciphertext follows the descriptor.
    #[error("expected a descriptor and at least one byte, found {0} bytes")]
    Empty(usize),
    /// With T = 1 a packet is a whole SFrame ciphertext.
    #[error("expected the first and last fragment in one packet when each packet is encrypted")]
    FragmentedPacket,
    /// The packet is larger than the bounds of the reassembler allow.
    #[error("expected a payload of at most {limit} bytes, found {found}")]
    TooLong {
        /// The bound.
        limit: usize,
        /// The payload's length.
        found: usize,
    },
    /// A packet must hold the descriptor and something after it.
    #[error("expected a packet size of at least 2 bytes, found {0}")]
    PacketSize(usize),
}

/// Cuts SFrame ciphertexts into RTP payloads.
#[derive(Clone, Copy, Debug)]
pub struct Fragmenter {
    capacity: usize,
}

/// One RTP payload: a descriptor and a part of the ciphertext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment<'a> {
    /// The descriptor.
    pub descriptor: RtpDescriptor,
    /// The part of the ciphertext, at least one byte.
    pub part: &'a [u8],
}

impl Fragment<'_> {
    /// Appends the payload to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.push(self.descriptor.encode());
        out.extend_from_slice(self.part);
    }

    /// Bytes of the payload.
    pub fn length(&self) -> usize {
        RtpDescriptor::LENGTH + self.part.len()
    }
}

impl Fragmenter {
    /// Makes payloads of at most `max_payload` bytes, descriptor included.
    ///
    /// # Errors
    ///
    /// [`PayloadError::PacketSize`] below 2 bytes.
    pub const fn new(max_payload: usize) -> Result<Self, PayloadError> {
        if max_payload < 2 {
            return Err(PayloadError::PacketSize(max_payload));
        }
        Ok(Self { capacity: max_payload - RtpDescriptor::LENGTH })
    }

    /// The payloads of one SFrame ciphertext (T = 0), in order and of about equal length. The last
    /// one carries the RTP marker bit.
    pub fn fragments<'a>(
        &self,
        ciphertext: &'a [u8],
    ) -> impl Iterator<Item = Fragment<'a>> + use<'a> {
        let count = ciphertext.len().div_ceil(self.capacity).max(1);
        let size = ciphertext.len().div_ceil(count).max(1);
        let mut parts = ciphertext.chunks(size).enumerate().peekable();
        core::iter::from_fn(move || {
            let (index, part) = parts.next()?;
            let descriptor = RtpDescriptor {
                first: index == 0,
                last: parts.peek().is_none(),
                per_packet: false,
            };
            Some(Fragment { descriptor, part })
        })
    }

    /// The payload of a ciphertext that was made of one packet (T = 1).
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if it is empty or does not fit.
    pub const fn whole_packet<'a>(
        &self,
        ciphertext: &'a [u8],
    ) -> Result<Fragment<'a>, PayloadError> {
        if ciphertext.is_empty() {
            return Err(PayloadError::Empty(0));
        }
        if ciphertext.len() > self.capacity {
            return Err(PayloadError::TooLong { limit: self.capacity, found: ciphertext.len() });
        }
        let descriptor = RtpDescriptor { first: true, last: true, per_packet: true };
        Ok(Fragment { descriptor, part: ciphertext })
    }
}

/// Splits an RTP payload into descriptor and fragment.
///
/// # Errors
///
/// [`PayloadError`].
pub fn parse_payload(payload: &[u8]) -> Result<Fragment<'_>, PayloadError> {
    let empty = PayloadError::Empty(payload.len());
    let (&descriptor, part) = payload.split_first().ok_or(empty)?;
    if part.is_empty() {
        return Err(empty);
    }
    let descriptor = RtpDescriptor::decode(descriptor);
    if descriptor.per_packet && !(descriptor.first && descriptor.last) {
        return Err(PayloadError::FragmentedPacket);
    }
    Ok(Fragment { descriptor, part })
}
