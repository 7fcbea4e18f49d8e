//! A cursor over input that checks before it trusts.

use super::varint::varint_len;

/// Which rule of the encoding the input broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ended before the value did, or a length points past its end.
    #[error("input ends before the value does")]
    Truncated,
    /// Bytes are left after the value; the number says how many.
    #[error("{0} bytes left over after the value")]
    TrailingBytes(usize),
    /// A variable-length integer is not in its shortest form or uses the reserved prefix
    /// (RFC 9420 section 2.1.2).
    #[error("variable-length integer is not in its shortest form")]
    BadVarint,
    /// The presence byte of an optional value is neither 0 nor 1.
    #[error("presence byte {0} is neither 0 nor 1")]
    BadPresence(u8),
    /// A discriminant has no meaning where it stands.
    #[error("value {value} has no meaning as {what}")]
    UnknownValue {
        /// The field that was read.
        what: &'static str,
        /// What it held.
        value: u32,
    },
    /// A structural rule of the named type is broken.
    #[error("{0}")]
    Malformed(&'static str),
}

/// A cursor over a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// True when everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// How many bytes are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// The unread bytes, without consuming them.
    #[must_use]
    pub fn peek(&self) -> &'a [u8] {
        self.left
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// Takes exactly `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.left = left;
        Ok(taken)
    }

    /// Takes a fixed number of bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, left) = self.left.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.left = left;
        Ok(*taken)
    }

    /// Reads a variable-length integer (RFC 9420 section 2.1.2).
    ///
    /// # Errors
    /// [`DecodeError::BadVarint`] where a shorter form exists or the prefix is `0b11`.
    pub fn varint(&mut self) -> Result<usize, DecodeError> {
        let first = *self.left.first().ok_or(DecodeError::Truncated)?;
        let (value, size) = match first >> 6 {
            0 => (u32::from(self.array::<1>()?[0]), 1),
            1 => (u32::from(u16::from_be_bytes(self.array()?) & 0x3fff), 2),
            2 => (u32::from_be_bytes(self.array()?) & 0x3fff_ffff, 4),
            _ => return Err(DecodeError::BadVarint),
        };
        let value = value as usize;
        if varint_len(value) == size { Ok(value) } else { Err(DecodeError::BadVarint) }
    }

    /// Reads a length and gives a reader over just that many bytes.
    ///
    /// # Errors
    /// As [`Reader::varint`] and [`Reader::take`].
    pub fn prefixed(&mut self) -> Result<Reader<'a>, DecodeError> {
        let len = self.varint()?;
        self.take(len).map(Reader::new)
    }

    /// Reads `opaque<V>` without copying it.
    ///
    /// # Errors
    /// As [`Reader::prefixed`].
    pub fn opaque(&mut self) -> Result<&'a [u8], DecodeError> {
        self.prefixed().map(|mut inner| inner.rest())
    }

    /// Checks that everything has been read.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`].
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.left.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes(self.left.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_in_longer_form_than_needed_are_refused() {
        for bytes in [&[0x40, 0x3f][..], &[0x80, 0, 0x3f, 0xff], &[0x80, 0, 0, 1], &[0xc0], &[0xff]]
        {
            assert_eq!(Reader::new(bytes).varint(), Err(DecodeError::BadVarint), "{bytes:02x?}");
        }
        assert_eq!(Reader::new(&[0x9d, 0x7f, 0x3e, 0x7d]).varint(), Ok(494_878_333));
        assert_eq!(Reader::new(&[0x7b, 0xbd]).varint(), Ok(15_293));
        assert_eq!(Reader::new(&[0x25]).varint(), Ok(37));
    }
}
