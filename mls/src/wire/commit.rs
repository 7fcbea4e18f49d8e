//! Commits and update paths (RFC 9420 sections 7.6, 12.4).

use crate::codec::{Decode, DecodeError, Encode, Reader, struct_codec};

use super::{
    leaf_node::LeafNode,
    proposal::Proposal,
    types::{HpkePublicKey, ProposalRef},
};

/// A proposal in a commit: in full, or by the hash of the message that carried it
/// (RFC 9420 section 12.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalOrRef {
    /// By value; the committer is its sender.
    Proposal(Proposal),
    /// By reference to a message sent before.
    Reference(ProposalRef),
}

impl Encode for ProposalOrRef {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Proposal(proposal) => {
                out.push(1);
                proposal.encode(out);
            }
            Self::Reference(reference) => {
                out.push(2);
                reference.encode(out);
            }
        }
    }
}

impl Decode for ProposalOrRef {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Decode::decode(reader).map(Self::Proposal),
            2 => Decode::decode(reader).map(Self::Reference),
            other => {
                Err(DecodeError::UnknownValue { what: "proposal_or_ref", value: other.into() })
            }
        }
    }
}

/// Puts proposals into effect and starts the next epoch (RFC 9420 section 12.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The proposals covered.
    pub proposals: Vec<ProposalOrRef>,
    /// New keys on the committer's direct path, unless every proposal permits leaving them out.
    pub path: Option<UpdatePath>,
}

struct_codec!(Commit { proposals, path });

/// `HPKECiphertext` (RFC 9420 section 7.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpkeCiphertext {
    /// KEM output.
    pub kem_output: Vec<u8>,
    /// AEAD ciphertext with tag.
    pub ciphertext: Vec<u8>,
}

struct_codec!(HpkeCiphertext { kem_output, ciphertext });

/// A node of an update path (RFC 9420 section 7.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatePathNode {
    /// The node's new public key.
    pub encryption_key: HpkePublicKey,
    /// The path secret, once for each node in the resolution of the copath child.
    pub encrypted_path_secret: Vec<HpkeCiphertext>,
}

struct_codec!(UpdatePathNode { encryption_key, encrypted_path_secret });

/// New keys from a leaf to the root (RFC 9420 section 7.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatePath {
    /// The committer's new leaf, of source `commit`.
    pub leaf_node: LeafNode,
    /// The filtered direct path, from the leaf upwards.
    pub nodes: Vec<UpdatePathNode>,
}

struct_codec!(UpdatePath { leaf_node, nodes });
