//! Leaf nodes (RFC 9420 section 7.2).

use crate::codec::{Decode, DecodeError, Encode, Reader, struct_codec};

use super::{
    credential::Credential,
    extension::Extensions,
    registry::{CipherSuite, CredentialType, ExtensionType, ProposalType, ProtocolVersion},
    types::{
        GroupId, HpkePublicKey, LeafIndex, ParentHash, Signature, SignaturePublicKey, UnixTime,
    },
};

/// What a client supports (RFC 9420 section 7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Protocol versions.
    pub versions: Vec<ProtocolVersion>,
    /// Cipher suites.
    pub cipher_suites: Vec<CipherSuite>,
    /// Extension types beyond the default ones.
    pub extensions: Vec<ExtensionType>,
    /// Proposal types beyond the default ones.
    pub proposals: Vec<ProposalType>,
    /// Credential types.
    pub credentials: Vec<CredentialType>,
}

struct_codec!(Capabilities { versions, cipher_suites, extensions, proposals, credentials });

/// When a key package may be used (RFC 9420 section 7.2), in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// First second of validity.
    pub not_before: UnixTime,
    /// Last second of validity.
    pub not_after: UnixTime,
}

struct_codec!(Lifetime { not_before, not_after });

impl Lifetime {
    /// True when `now` lies within.
    #[must_use]
    pub fn contains(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// How a leaf node came into the tree (RFC 9420 section 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafNodeSource {
    /// In a key package.
    KeyPackage(Lifetime),
    /// In an Update proposal.
    Update,
    /// In the UpdatePath of a commit.
    Commit(ParentHash),
}

impl Encode for LeafNodeSource {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeyPackage(lifetime) => {
                out.push(1);
                lifetime.encode(out);
            }
            Self::Update => out.push(2),
            Self::Commit(parent_hash) => {
                out.push(3);
                parent_hash.encode(out);
            }
        }
    }
}

impl Decode for LeafNodeSource {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Decode::decode(reader).map(Self::KeyPackage),
            2 => Ok(Self::Update),
            3 => Decode::decode(reader).map(Self::Commit),
            other => {
                Err(DecodeError::UnknownValue { what: "leaf_node_source", value: other.into() })
            }
        }
    }
}

/// A member's place in the ratchet tree (RFC 9420 section 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafNode {
    /// KEM key to which path secrets for this leaf are encrypted.
    pub encryption_key: HpkePublicKey,
    /// Key that verifies what this member signs.
    pub signature_key: SignaturePublicKey,
    /// Who the member is.
    pub credential: Credential,
    /// What the member supports.
    pub capabilities: Capabilities,
    /// How the leaf came into the tree.
    pub source: LeafNodeSource,
    /// Extensions of the leaf.
    pub extensions: Extensions,
    /// Signature by `signature_key` over [`LeafNodeTbs`].
    pub signature: Signature,
}

struct_codec!(LeafNode {
    encryption_key,
    signature_key,
    credential,
    capabilities,
    source,
    extensions,
    signature,
});

/// Where a leaf node stands: part of what is signed unless it comes in a key package
/// (RFC 9420 section 7.2).
#[derive(Clone, Copy, Debug)]
pub struct TreePosition<'a> {
    /// The group.
    pub group_id: &'a GroupId,
    /// The leaf.
    pub leaf_index: LeafIndex,
}

/// `LeafNodeTBS`: what the signature of a leaf node covers (RFC 9420 section 7.2).
#[derive(Clone, Copy, Debug)]
pub struct LeafNodeTbs<'a> {
    /// The leaf node, whose signature is left out.
    pub leaf_node: &'a LeafNode,
    /// Its place; encoded only for sources `update` and `commit`.
    pub position: TreePosition<'a>,
}

impl Encode for LeafNodeTbs<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        let leaf = self.leaf_node;
        leaf.encryption_key.encode(out);
        leaf.signature_key.encode(out);
        leaf.credential.encode(out);
        leaf.capabilities.encode(out);
        leaf.source.encode(out);
        leaf.extensions.encode(out);
        if !matches!(leaf.source, LeafNodeSource::KeyPackage(_)) {
            self.position.group_id.encode(out);
            self.position.leaf_index.encode(out);
        }
    }
}
