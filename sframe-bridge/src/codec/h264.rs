//! H.264 access units in byte-stream format (ITU-T H.264 Annex B).
//!
//! A protected access unit: each SPS and PPS as a NAL unit of its own, then one slice NAL unit:
//!
//! ```text
//! start code | NAL header, slice header up to the PPS identifier | escaped SFrame ciphertext | stop byte
//! ```
//!
//! Escaping is the codec's own emulation prevention (section 7.4.1), so that no start code appears inside. The stop byte
//! keeps a ciphertext that ends in zeros from losing them (Annex B lets zeros trail a NAL unit).

use super::{CodecError, check_clear};
use core::ops::Range;
use memchr::memmem;

const START_CODE: [u8; 4] = [0, 0, 0, 1];
const ESCAPE: u8 = 3;
const STOP: u8 = 0x80;

/// nal_unit_type (table 7-1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum NalType {
    Slice,
    IdrSlice,
    ParameterSet,
    Other,
}

fn nal_type(nal: &[u8]) -> NalType {
    match nal.first().map(|header| header & 0x1f) {
        Some(1) => NalType::Slice,
        Some(5) => NalType::IdrSlice,
        Some(7 | 8) => NalType::ParameterSet,
        _ => NalType::Other,
    }
}

/// The NAL units of a byte stream, without start codes and the zeros around them.
struct Nals<'a> {
    stream: &'a [u8],
    /// Where the next NAL unit begins; `None` at the end.
    next: Option<usize>,
}

impl<'a> Nals<'a> {
    fn new(stream: &'a [u8]) -> Result<Self, CodecError> {
        let code = memmem::find(stream, &START_CODE[1..]).ok_or(CodecError::NoStartCode)?;
        let leading = stream.get(..code).unwrap_or_default();
        if leading.iter().any(|&byte| byte != 0) {
            return Err(CodecError::NoStartCode);
        }
        Ok(Self { stream, next: Some(code + 3) })
    }
}

impl<'a> Iterator for Nals<'a> {
    type Item = (Range<usize>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next?;
        let rest = self.stream.get(start..)?;
        let code = memmem::find(rest, &START_CODE[1..]);
        self.next = code.map(|code| start + code + 3);
        let nal = rest.get(..code.unwrap_or(rest.len()))?;
        let zeros = nal.iter().rev().take_while(|&&byte| byte == 0).count();
        let nal = nal.get(..nal.len() - zeros)?;
        Some((start..start + nal.len(), nal))
    }
}

/// Bytes of a slice NAL unit from its header to the end of pic_parameter_set_id (section 7.3.3): the
/// first three Exp-Golomb codes, read past emulation prevention.
fn slice_prefix(nal: &[u8]) -> Result<usize, CodecError> {
    /// More than three codes of 32 bits can take, with escapes.
    const LONGEST: usize = 40;
    let mut zeros_in_code = 0_u32;
    let mut bits_to_skip = 0_u32;
    let mut codes = 0;
    let mut zero_bytes = 0;
    for (index, &byte) in nal.iter().enumerate().skip(1).take(LONGEST) {
        if zero_bytes >= 2 && byte == ESCAPE {
            zero_bytes = 0;
            continue;
        }
        zero_bytes = if byte == 0 { zero_bytes + 1 } else { 0 };
        for shift in (0..8).rev() {
            if bits_to_skip > 0 {
                bits_to_skip -= 1;
            } else if byte >> shift & 1 == 0 {
                zeros_in_code += 1;
                continue;
            } else {
                bits_to_skip = core::mem::take(&mut zeros_in_code);
            }
            if bits_to_skip == 0 {
                codes += 1;
                if codes == 3 {
                    return Ok(index + 1);
                }
            }
        }
    }
    Err(CodecError::SliceHeader)
}

fn append_nal(clear: &mut Vec<u8>, nal: &[u8]) -> Result<(), CodecError> {
    check_clear(clear.len() + START_CODE.len() + nal.len())?;
    clear.extend_from_slice(&START_CODE);
    clear.extend_from_slice(nal);
    Ok(())
}

/// Appends what of an access unit stays clear.
pub(super) fn append_clear(frame: &[u8], clear: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut slice = None;
    for (_, nal) in Nals::new(frame)? {
        match nal_type(nal) {
            NalType::ParameterSet => append_nal(clear, nal)?,
            NalType::Slice | NalType::IdrSlice if slice.is_none() => slice = Some(nal),
            _ => {}
        }
    }
    let slice = slice.ok_or(CodecError::NoPicture)?;
    append_nal(clear, slice.get(..slice_prefix(slice)?).unwrap_or_default())
}

/// Appends a ciphertext to the clear bytes, which end in the slice NAL unit that carries it.
pub(super) fn append_carried(sealed: &[u8], out: &mut Vec<u8>) {
    escape(sealed, out);
    out.push(STOP);
}

/// Appends the clear bytes of a protected access unit, and returns where the ciphertext stands in its carried form. Units
/// that packetizers may add (delimiters, filler) are passed over: the decoder never sees them.
pub(super) fn read_clear(frame: &[u8], clear: &mut Vec<u8>) -> Result<Range<usize>, CodecError> {
    let mut carried = None;
    for (place, nal) in Nals::new(frame)? {
        match nal_type(nal) {
            NalType::Other => continue,
            _ if carried.is_some() => return Err(CodecError::NotLast),
            NalType::ParameterSet => append_nal(clear, nal)?,
            NalType::Slice | NalType::IdrSlice => {
                let prefix = slice_prefix(nal)?;
                append_nal(clear, nal.get(..prefix).unwrap_or_default())?;
                carried = Some(place.start + prefix..place.end);
            }
        }
    }
    carried.ok_or(CodecError::NoPicture)
}

pub(super) fn is_keyframe(frame: &[u8]) -> Option<bool> {
    let mut types = Nals::new(frame).ok()?.map(|(_, nal)| nal_type(nal));
    types
        .find(|found| matches!(found, NalType::Slice | NalType::IdrSlice))
        .map(|found| found == NalType::IdrSlice)
}

/// Appends `data` to a NAL unit that ends `out`, with emulation prevention.
fn escape(mut data: &[u8], out: &mut Vec<u8>) {
    while let Some(&first) = data.first() {
        if out.ends_with(&[0, 0]) && first <= ESCAPE {
            out.push(ESCAPE);
        }
        // Up to and with the next pair of zeros, wherever it begins.
        let length = if first == 0 && out.last() == Some(&0) {
            1
        } else {
            memmem::find(data, &[0, 0]).map_or(data.len(), |pair| pair + 2)
        };
        let (copied, rest) = data.split_at_checked(length).unwrap_or((data, &[]));
        out.extend_from_slice(copied);
        data = rest;
    }
}

/// Appends what `carried` in `frame` stands for to `out`: without emulation prevention and stop byte.
pub(super) fn unescape(
    frame: &[u8],
    carried: Range<usize>,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    // An escape right at the front belongs to zeros that stand before it, in the clear prefix.
    let look_behind = 2;
    let mut data = frame.get(carried.start - look_behind..carried.end).unwrap_or_default();
    data = data.strip_suffix(&[STOP]).ok_or(CodecError::NoStopByte)?;
    let mut copied = look_behind;
    for found in memmem::find_iter(data, &[0, 0, ESCAPE]) {
        let escape = found + 2;
        out.extend_from_slice(data.get(copied..escape).unwrap_or_default());
        copied = escape + 1;
    }
    out.extend_from_slice(data.get(copied..).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes in which zeros and small values are as likely as all others together.
    fn zeros_and_more() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![2 => Just(0_u8), 1 => 0_u8..5, 1 => any::<u8>()];
        proptest::collection::vec(byte, 0..200)
    }

    proptest! {
        #[test]
        fn escaping_hides_start_codes_and_is_undone(data in zeros_and_more(), tail in zeros_and_more()) {
            // A prefix as it stands before a ciphertext: itself free of start codes.
            let mut nal = vec![0x65];
            escape(&tail, &mut nal);
            nal.push(0x80);
            nal.extend_from_slice([&[][..], &[0][..], &[0, 0][..]][tail.len() % 3]);
            let prefix = nal.len();
            escape(&data, &mut nal);
            nal.push(STOP);
            for code in 0..3 {
                prop_assert!(memmem::find(&nal, &[0, 0, code]).is_none());
            }
            let mut back = Vec::new();
            unescape(&nal, prefix..nal.len(), &mut back).unwrap();
            prop_assert_eq!(back, data);
        }
    }

    #[test]
    fn the_prefix_of_a_slice_ends_with_its_pps_identifier() {
        // first_mb_in_slice 0 (1), slice_type 7 (0001000), pps_id 0 (1): nine bits.
        assert_eq!(slice_prefix(&[0x65, 0b1000_1000, 0b1000_0000, 9]), Ok(3));
        // All three codes in one byte: 1, 011 (slice_type 2), 1.
        assert_eq!(slice_prefix(&[0x65, 0b1011_1000, 9]), Ok(2));
        // first_mb_in_slice 2^17 - 1 takes 17 zeros: an escape stands inside.
        assert_eq!(slice_prefix(&[0x41, 0, 0, 3, 0x40, 0, 0b0001_1000]), Ok(7));
        for bad in [&[0x65][..], &[0x65, 0x80], &[0x65, 0, 0, 0], &[0x65; 0], &[0; 60]] {
            assert_eq!(slice_prefix(bad), Err(CodecError::SliceHeader));
        }
    }
}
