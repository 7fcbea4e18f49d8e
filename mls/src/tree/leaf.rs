//! Leaf nodes as the tree keeps them: encoded, read on demand.

use super::support::Supported;
use crate::{
    codec::{Decode, DecodeError, Encode, Reader},
    wire::{
        Capabilities, Credential, Extensions, GroupId, LeafIndex, LeafNode, LeafNodeSource,
        Signature,
    },
};

/// The encoding of a leaf node, known to be well formed.
///
/// Encoded, a leaf takes about a third of the memory of its fields, and hashing and checking its signature
/// need the encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf(Box<[u8]>);

impl Leaf {
    pub(super) fn new(leaf: &LeafNode) -> Self {
        Self(leaf.to_bytes().into_boxed_slice())
    }

    /// Reads a leaf node and keeps the bytes that it came in: decoding accepts nothing but the canonical encoding.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.peek();
        LeafNode::decode(reader)?;
        let length = start.len() - reader.len();
        Ok(Self(start.get(..length).unwrap_or_default().into()))
    }

    pub(super) fn at(&self, index: LeafIndex) -> LeafRef<'_> {
        LeafRef { index, bytes: &self.0 }
    }
}

/// A leaf node of a tree. Fields are read from the encoding when asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafRef<'a> {
    index: LeafIndex,
    bytes: &'a [u8],
}

#[derive(Default)]
struct Fields<'a> {
    signature_key: &'a [u8],
    credential: &'a [u8],
    capabilities: &'a [u8],
    source: &'a [u8],
    extensions: &'a [u8],
    signature: &'a [u8],
}

impl<'a> LeafRef<'a> {
    /// The position of the leaf.
    #[must_use]
    pub fn index(self) -> LeafIndex {
        self.index
    }

    /// The encoded `LeafNode`.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The KEM public key.
    #[must_use]
    pub fn encryption_key(self) -> &'a [u8] {
        Reader::new(self.bytes).opaque().unwrap_or_default()
    }

    /// The signature public key.
    #[must_use]
    pub fn signature_key(self) -> &'a [u8] {
        self.fields().signature_key
    }

    /// Who the member is.
    #[must_use]
    pub fn credential(self) -> Credential {
        parse(self.fields().credential)
    }

    /// What the member supports.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        parse(self.fields().capabilities)
    }

    /// How the leaf came into the tree.
    #[must_use]
    pub fn source(self) -> LeafNodeSource {
        parse(self.fields().source)
    }

    /// The extensions of the leaf.
    #[must_use]
    pub fn extensions(self) -> Extensions {
        parse(self.fields().extensions)
    }

    /// The leaf node as a struct.
    #[must_use]
    pub fn to_leaf_node(self) -> LeafNode {
        parse(self.bytes)
    }

    /// What the leaf supports, for counting.
    pub(super) fn supported(self) -> Supported<'a> {
        let fields = self.fields();
        let credential_type = parse(fields.credential.get(..2).unwrap_or_default());
        Supported { capabilities: fields.capabilities, credential_type }
    }

    /// The parent hash, if the leaf came with a commit.
    pub(super) fn parent_hash(self) -> Option<&'a [u8]> {
        match self.fields().source.split_first() {
            Some((&COMMIT, rest)) => Reader::new(rest).opaque().ok(),
            _ => None,
        }
    }

    /// The signature.
    pub(super) fn signature(self) -> Signature {
        Signature(self.fields().signature.to_vec())
    }

    /// `LeafNodeTBS` (RFC 9420 section 7.2).
    pub(super) fn to_be_signed(self, group_id: &GroupId) -> Vec<u8> {
        let mut reader = Reader::new(self.bytes);
        let unsigned = match fields(&mut reader, false) {
            Ok(_) => self.bytes.len() - reader.len(),
            Err(_) => 0,
        };
        let position = group_id.0.len().saturating_add(8);
        let mut content = Vec::with_capacity(unsigned.saturating_add(position));
        content.extend_from_slice(self.bytes.get(..unsigned).unwrap_or_default());
        if self.fields().source.first() != Some(&KEY_PACKAGE) {
            group_id.encode(&mut content);
            self.index.encode(&mut content);
        }
        content
    }

    fn fields(self) -> Fields<'a> {
        fields(&mut Reader::new(self.bytes), true).unwrap_or_default()
    }
}

const KEY_PACKAGE: u8 = 1;
const COMMIT: u8 = 3;

/// Finds the fields of a leaf node (RFC 9420 section 7.2); without `all`, stops before the signature.
fn fields<'a>(reader: &mut Reader<'a>, all: bool) -> Result<Fields<'a>, DecodeError> {
    let _encryption_key = reader.opaque()?;
    Ok(Fields {
        signature_key: reader.opaque()?,
        credential: span(reader, |reader| {
            reader.take(2)?;
            reader.opaque().map(drop)
        })?,
        capabilities: span(reader, |reader| (0..5).try_for_each(|_| reader.opaque().map(drop)))?,
        source: span(reader, |reader| match reader.array()? {
            [KEY_PACKAGE] => reader.take(16).map(drop),
            [COMMIT] => reader.opaque().map(drop),
            _ => Ok(()),
        })?,
        extensions: span(reader, |reader| reader.opaque().map(drop))?,
        signature: if all { reader.opaque()? } else { &[] },
    })
}

/// The bytes that `read` passes over.
fn span<'a>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<&'a [u8], DecodeError> {
    let start = reader.peek();
    read(reader)?;
    Ok(start.get(..start.len() - reader.len()).unwrap_or_default())
}

#[allow(
    clippy::expect_used,
    reason = "a leaf is made only from a LeafNode or from bytes that decoded as one, so its fields decode"
)]
pub(super) fn parse<T: Decode>(bytes: &[u8]) -> T {
    T::from_bytes(bytes).expect("part of a well-formed leaf node")
}
