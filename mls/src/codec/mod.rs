//! The TLS presentation language as RFC 9420 section 2 uses it.
//!
//! Encoding appends to a byte vector and cannot fail. Decoding reads from a [`Reader`], which checks
//! every length against the input before anything is allocated, so memory stays bounded by
//! [`MEMORY_PER_BYTE`] times the input's size whatever a length field claims.

mod reader;
mod varint;

pub use reader::{DecodeError, Reader};
pub use varint::{MAX_VARINT, varint_len, write_varint};

/// At most so many bytes are held in memory, while a value of [`wire`](crate::wire) is decoded and afterwards, for each byte
/// of the input, beside a small constant.
///
/// What comes nearest is a list of the shortest items that there are, at the moment when the vector that holds them
/// doubles. A ratchet tree with its hashes and indices has a bound of its own, at
/// [`RatchetTree::from_bytes`](crate::tree::RatchetTree::from_bytes).
pub const MEMORY_PER_BYTE: usize = 128;

/// Most values of the protocol take no more bytes, so that encoding one of them takes a single allocation.
const USUAL_LENGTH: usize = 256;

/// A value with one canonical encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Appends the items of a vector one after another, without a length.
    ///
    /// Byte vectors override this, so that `Vec<u8>` is one copy.
    fn encode_items(items: &[Self], out: &mut Vec<u8>)
    where
        Self: Sized,
    {
        for item in items {
            item.encode(out);
        }
    }

    /// The encoding as a vector of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(USUAL_LENGTH);
        self.encode(&mut out);
        out
    }
}

/// A value that can be read from its canonical encoding.
pub trait Decode: Sized {
    /// Reads one value and advances the reader past it.
    ///
    /// # Errors
    /// [`DecodeError`] says which rule the input broke; the reader's position is then unspecified.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads items until the reader is empty.
    ///
    /// # Errors
    /// As [`Decode::decode`].
    fn decode_items(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut items = Vec::new();
        while !reader.is_empty() {
            items.push(Self::decode(reader)?);
        }
        Ok(items)
    }

    /// Reads a value that must fill `bytes` exactly.
    ///
    /// # Errors
    /// As [`Decode::decode`], and [`DecodeError::TrailingBytes`].
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Appends `bytes` as `opaque<V>`: a variable-length integer, then the bytes.
pub fn encode_opaque(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends what `body` writes, preceded by its length as a variable-length integer.
pub fn encode_prefixed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    body(out);
    let end = out.len();
    write_varint(end - start, out);
    let header = out.len() - end;
    if let Some(vector) = out.get_mut(start..) {
        vector.rotate_right(header);
    }
}

macro_rules! integer_codec {
    ($($type:ty),*) => {$(
        impl Encode for $type {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
        impl Decode for $type {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(<$type>::from_be_bytes)
            }
        }
    )*};
}
integer_codec!(u16, u32, u64);

impl Encode for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn encode_items(items: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(items);
    }
}

impl Decode for u8 {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(|[byte]: [u8; 1]| byte)
    }

    fn decode_items(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        Ok(reader.rest().to_vec())
    }
}

/// `T items<V>`.
impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_slice().encode(out);
    }
}

impl<T: Encode> Encode for [T] {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_prefixed(out, |out| T::encode_items(self, out));
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut inner = reader.prefixed()?;
        T::decode_items(&mut inner)
    }
}

/// `optional<T>`: a presence byte, then the value.
impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(None),
            1 => T::decode(reader).map(Some),
            other => Err(DecodeError::BadPresence(other)),
        }
    }
}

impl<T: Encode> Encode for &T {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl<T: Encode> Encode for Box<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(reader).map(Box::new)
    }
}

/// Implements [`Encode`] and [`Decode`] for a struct, field by field in the order given.
macro_rules! struct_codec {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Encode for $type {
            fn encode(&self, out: &mut Vec<u8>) {
                $( $crate::codec::Encode::encode(&self.$field, out); )*
            }
        }
        impl $crate::codec::Decode for $type {
            fn decode(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self { $( $field: $crate::codec::Decode::decode(reader)? ),* })
            }
        }
    };
}

/// Implements [`Encode`] and [`Decode`] for a tuple struct of one field.
macro_rules! newtype_codec {
    ($($type:ident),* $(,)?) => {$(
        impl $crate::codec::Encode for $type {
            fn encode(&self, out: &mut Vec<u8>) {
                $crate::codec::Encode::encode(&self.0, out);
            }
        }
        impl $crate::codec::Decode for $type {
            fn decode(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                $crate::codec::Decode::decode(reader).map(Self)
            }
        }
    )*};
}

pub(crate) use {newtype_codec, struct_codec};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_round_trip_at_every_header_size() {
        for len in [0usize, 1, 63, 64, 16383, 16384] {
            let bytes = vec![7u8; len];
            let encoded = bytes.to_bytes();
            assert_eq!(encoded.len(), len + varint_len(len));
            assert_eq!(Vec::<u8>::from_bytes(&encoded), Ok(bytes));
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_refused_before_allocation() {
        let claims_a_gigabyte = [0xbf, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(Vec::<u8>::from_bytes(&claims_a_gigabyte), Err(DecodeError::Truncated));
        assert_eq!(Vec::<u64>::from_bytes(&claims_a_gigabyte), Err(DecodeError::Truncated));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(u16::from_bytes(&[0, 1, 2]), Err(DecodeError::TrailingBytes(1)));
        assert_eq!(Vec::<u16>::from_bytes(&[3, 0, 1, 2]), Err(DecodeError::Truncated));
    }

    #[test]
    fn presence_is_zero_or_one() {
        assert_eq!(Option::<u8>::from_bytes(&[2, 0]), Err(DecodeError::BadPresence(2)));
        assert_eq!(Option::<u8>::from_bytes(&[1, 9]), Ok(Some(9)));
    }
}
