//! Parent nodes, and the node type of the `ratchet_tree` extension (RFC 9420 sections 7.1, 12.4.3.3).

use crate::codec::{Decode, DecodeError, Encode, Reader, struct_codec};

use super::{
    leaf_node::LeafNode,
    types::{HpkePublicKey, LeafIndex, ParentHash},
};

/// An inner node of the ratchet tree (RFC 9420 section 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentNode {
    /// KEM key known to all non-unmerged leaves below.
    pub encryption_key: HpkePublicKey,
    /// Binds the node to its ancestors (section 7.9).
    pub parent_hash: ParentHash,
    /// Leaves below that do not know the private key, ascending.
    pub unmerged_leaves: Vec<LeafIndex>,
}

struct_codec!(ParentNode { encryption_key, parent_hash, unmerged_leaves });

/// A node as the `ratchet_tree` extension carries it (RFC 9420 section 12.4.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A leaf.
    Leaf(Box<LeafNode>),
    /// An inner node.
    Parent(Box<ParentNode>),
}

impl Encode for Node {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Leaf(leaf) => {
                out.push(1);
                leaf.encode(out);
            }
            Self::Parent(parent) => {
                out.push(2);
                parent.encode(out);
            }
        }
    }
}

impl Decode for Node {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Decode::decode(reader).map(Self::Leaf),
            2 => Decode::decode(reader).map(Self::Parent),
            other => Err(DecodeError::UnknownValue { what: "node_type", value: other.into() }),
        }
    }
}
