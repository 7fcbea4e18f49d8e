//! AV1 in low-overhead bitstream format (AV1 specification, section 5).
//!
//! A protected frame: each sequence header OBU, then one OBU whose header is that of the first
//! frame (or frame header) OBU, and whose payload is the SFrame ciphertext. Every OBU states its length.

use super::{CodecError, check_clear};
use core::ops::Range;

const HAS_EXTENSION: u8 = 0b100;
const HAS_SIZE: u8 = 0b10;
const FORBIDDEN: u8 = 0x80;

#[derive(Clone, Copy, PartialEq, Eq)]
enum ObuType {
    SequenceHeader,
    /// Frame header, tile group, or both in a frame.
    Picture,
    Other,
}

/// One OBU: its header with the length flag set, its extension byte, and where its payload stands.
struct Obu {
    header: u8,
    extension: Option<u8>,
    payload: Range<usize>,
}

impl Obu {
    /// obu_type (section 6.2.2).
    fn obu_type(&self) -> ObuType {
        match self.header >> 3 & 0xf {
            1 => ObuType::SequenceHeader,
            3 | 4 | 6 => ObuType::Picture,
            _ => ObuType::Other,
        }
    }

    fn append_header(&self, clear: &mut Vec<u8>) -> Result<(), CodecError> {
        clear.push(self.header);
        clear.extend(self.extension);
        check_clear(clear.len())
    }

    /// The OBU in its one canonical spelling.
    fn append(&self, frame: &[u8], clear: &mut Vec<u8>) -> Result<(), CodecError> {
        self.append_header(clear)?;
        append_leb128(clear, self.payload.len());
        check_clear(clear.len() + self.payload.len())?;
        clear.extend_from_slice(frame.get(self.payload.clone()).unwrap_or_default());
        Ok(())
    }
}

/// The OBUs of a frame. Only the last one may leave out its length.
struct Obus<'a> {
    frame: &'a [u8],
    next: usize,
}

impl Iterator for Obus<'_> {
    type Item = Result<Obu, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.frame.get(self.next..).filter(|rest| !rest.is_empty())?;
        let obu = read_obu(rest, self.next);
        self.next = obu.as_ref().map_or(self.frame.len(), |obu| obu.payload.end);
        Some(obu)
    }
}

/// Reads the OBU at the front of `rest`, which stands at `start` in the frame.
fn read_obu(rest: &[u8], start: usize) -> Result<Obu, CodecError> {
    let (&header, mut body) = rest.split_first().ok_or(CodecError::Obu)?;
    if header & FORBIDDEN != 0 {
        return Err(CodecError::Obu);
    }
    let mut extension = None;
    if header & HAS_EXTENSION != 0 {
        let (&byte, after) = body.split_first().ok_or(CodecError::Obu)?;
        extension = Some(byte);
        body = after;
    }
    let mut length = body.len();
    if header & HAS_SIZE != 0 {
        (length, body) = read_leb128(body).ok_or(CodecError::Obu)?;
    }
    let payload = start + (rest.len() - body.len());
    if length > body.len() {
        return Err(CodecError::Obu);
    }
    Ok(Obu { header: header | HAS_SIZE, extension, payload: payload..payload + length })
}

/// leb128() (section 4.10.5): at most eight bytes, at most 2^32 - 1.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

fn append_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends what of a frame stays clear.
pub(super) fn append_clear(frame: &[u8], clear: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut picture = None;
    for obu in (Obus { frame, next: 0 }) {
        let obu = obu?;
        match obu.obu_type() {
            ObuType::SequenceHeader => obu.append(frame, clear)?,
            ObuType::Picture if picture.is_none() => picture = Some(obu),
            _ => {}
        }
    }
    picture.ok_or(CodecError::NoPicture)?.append_header(clear)
}

/// Appends a ciphertext to the clear bytes, which end in the header of the OBU that carries it.
pub(super) fn append_carried(sealed: &[u8], out: &mut Vec<u8>) {
    append_leb128(out, sealed.len());
    out.extend_from_slice(sealed);
}

/// Appends the clear bytes of a protected frame, and returns where the ciphertext stands. OBUs that carry no picture may
/// come and go on the way (packetizers drop temporal delimiters): the decoder never sees those in the clear.
pub(super) fn read_clear(frame: &[u8], clear: &mut Vec<u8>) -> Result<Range<usize>, CodecError> {
    let mut carried = None;
    for obu in (Obus { frame, next: 0 }) {
        let obu = obu?;
        match obu.obu_type() {
            ObuType::Other => continue,
            _ if carried.is_some() => return Err(CodecError::NotLast),
            ObuType::SequenceHeader => obu.append(frame, clear)?,
            ObuType::Picture => {
                obu.append_header(clear)?;
                carried = Some(obu.payload);
            }
        }
    }
    carried.ok_or(CodecError::NoPicture)
}

/// A frame with a sequence header begins a coded video sequence (section 7.5): a keyframe, as WebRTC's
/// encoders repeat the header with each of them and nowhere else.
pub(super) fn is_keyframe(frame: &[u8]) -> Option<bool> {
    let mut sequence = false;
    for obu in (Obus { frame, next: 0 }) {
        match obu.ok()?.obu_type() {
            ObuType::SequenceHeader => sequence = true,
            ObuType::Picture => return Some(sequence),
            ObuType::Other => {}
        }
    }
    None
}
