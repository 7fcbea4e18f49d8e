//! Proposals (RFC 9420 section 12.1).

use crate::codec::{Decode, DecodeError, Encode, Reader, struct_codec};

use super::{
    extension::Extensions,
    key_package::KeyPackage,
    leaf_node::LeafNode,
    psk::PreSharedKeyId,
    registry::{CipherSuite, ProposalType, ProtocolVersion},
    types::{GroupId, LeafIndex},
};

/// Adds a member (RFC 9420 section 12.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// The key package of the client to add.
    pub key_package: KeyPackage,
}

struct_codec!(Add { key_package });

/// Replaces the sender's leaf (RFC 9420 section 12.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The replacement, of source `update`.
    pub leaf_node: LeafNode,
}

struct_codec!(Update { leaf_node });

/// Removes a member (RFC 9420 section 12.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remove {
    /// The leaf to blank.
    pub removed: LeafIndex,
}

struct_codec!(Remove { removed });

/// Mixes a pre-shared key into the next epoch (RFC 9420 section 12.1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreSharedKey {
    /// Which key.
    pub psk: PreSharedKeyId,
}

struct_codec!(PreSharedKey { psk });

/// Closes the group in favour of another one (RFC 9420 section 12.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReInit {
    /// Identifier of the group to be made.
    pub group_id: GroupId,
    /// Its version, not lower than the present one.
    pub version: ProtocolVersion,
    /// Its suite.
    pub cipher_suite: CipherSuite,
    /// Its extensions.
    pub extensions: Extensions,
}

struct_codec!(ReInit { group_id, version, cipher_suite, extensions });

/// Carries the KEM output of an external commit (RFC 9420 section 12.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalInit {
    /// Encapsulation to the group's external public key.
    pub kem_output: Vec<u8>,
}

struct_codec!(ExternalInit { kem_output });

/// Replaces the extensions of the GroupContext (RFC 9420 section 12.1.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupContextExtensions {
    /// The complete list for the next epoch.
    pub extensions: Extensions,
}

struct_codec!(GroupContextExtensions { extensions });

/// A change to the group that takes effect when a commit covers it (RFC 9420 section 12.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Add a member.
    Add(Box<Add>),
    /// Replace the sender's leaf.
    Update(Box<Update>),
    /// Remove a member.
    Remove(Remove),
    /// Mix in a pre-shared key.
    PreSharedKey(PreSharedKey),
    /// Close the group in favour of another.
    ReInit(ReInit),
    /// Join by external commit.
    ExternalInit(ExternalInit),
    /// Replace the group's extensions.
    GroupContextExtensions(GroupContextExtensions),
    /// The sender leaves: the Remove of its own leaf, which an external commit may cover as well
    /// (draft-ietf-mls-extensions-09, section "SelfRemove Proposal").
    SelfRemove,
    /// A type that the application defines, or that nobody here knows. Its content is taken to be one `opaque<V>`. One
    /// that carries the type of another variant is not valid.
    Other(ProposalType, Vec<u8>),
}

impl Proposal {
    /// The type.
    #[must_use]
    pub fn proposal_type(&self) -> ProposalType {
        match self {
            Self::Add(_) => ProposalType::ADD,
            Self::Update(_) => ProposalType::UPDATE,
            Self::Remove(_) => ProposalType::REMOVE,
            Self::PreSharedKey(_) => ProposalType::PSK,
            Self::ReInit(_) => ProposalType::REINIT,
            Self::ExternalInit(_) => ProposalType::EXTERNAL_INIT,
            Self::GroupContextExtensions(_) => ProposalType::GROUP_CONTEXT_EXTENSIONS,
            Self::SelfRemove => ProposalType::SELF_REMOVE,
            Self::Other(proposal_type, _) => *proposal_type,
        }
    }
}

impl Encode for Proposal {
    fn encode(&self, out: &mut Vec<u8>) {
        self.proposal_type().encode(out);
        match self {
            Self::Add(add) => add.encode(out),
            Self::Update(update) => update.encode(out),
            Self::Remove(remove) => remove.encode(out),
            Self::PreSharedKey(psk) => psk.encode(out),
            Self::ReInit(reinit) => reinit.encode(out),
            Self::ExternalInit(init) => init.encode(out),
            Self::GroupContextExtensions(extensions) => extensions.encode(out),
            Self::SelfRemove => {}
            Self::Other(_, data) => data.encode(out),
        }
    }
}

impl Decode for Proposal {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match ProposalType::decode(reader)? {
            ProposalType::ADD => Self::Add(Decode::decode(reader)?),
            ProposalType::UPDATE => Self::Update(Decode::decode(reader)?),
            ProposalType::REMOVE => Self::Remove(Decode::decode(reader)?),
            ProposalType::PSK => Self::PreSharedKey(Decode::decode(reader)?),
            ProposalType::REINIT => Self::ReInit(Decode::decode(reader)?),
            ProposalType::EXTERNAL_INIT => Self::ExternalInit(Decode::decode(reader)?),
            ProposalType::GROUP_CONTEXT_EXTENSIONS => {
                Self::GroupContextExtensions(Decode::decode(reader)?)
            }
            ProposalType::SELF_REMOVE => Self::SelfRemove,
            other => Self::Other(other, Decode::decode(reader)?),
        })
    }
}
