//! Variable-length integers (RFC 9420 section 2.1.2), which carry the length of every vector.

/// The largest length that a variable-length integer can carry: 2^30 - 1.
pub const MAX_VARINT: usize = (1 << 30) - 1;

/// How many bytes the encoding of `value` takes: 1, 2 or 4.
#[must_use]
pub fn varint_len(value: usize) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        _ => 4,
    }
}

/// Appends `value` in its shortest form.
///
/// Vectors longer than [`MAX_VARINT`] bytes cannot be represented in MLS; the library's limits on
/// message and tree sizes keep every vector far below. A longer one is written with its length
/// saturated, which no decoder accepts.
pub fn write_varint(value: usize, out: &mut Vec<u8>) {
    let value = u32::try_from(value.min(MAX_VARINT)).unwrap_or(u32::MAX >> 2);
    match varint_len(value as usize) {
        1 => out.push(value.to_be_bytes()[3]),
        2 => out.extend_from_slice(&((value as u16) | 0x4000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0x8000_0000).to_be_bytes()),
    }
}
