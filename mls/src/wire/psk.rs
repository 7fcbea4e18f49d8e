//! Identifiers of pre-shared keys (RFC 9420 section 8.4).

use crate::codec::{Decode, DecodeError, Encode, Reader, struct_codec};

use super::types::GroupId;

/// What a resumption PSK is for (RFC 9420 section 8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResumptionPskUsage {
    /// Chosen by the application.
    Application,
    /// Ties a group to the one it replaces (section 11.2).
    ReInit,
    /// Ties a subgroup to its parent group (section 11.3).
    Branch,
}

impl Encode for ResumptionPskUsage {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Application => 1,
            Self::ReInit => 2,
            Self::Branch => 3,
        });
    }
}

impl Decode for ResumptionPskUsage {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::Application),
            2 => Ok(Self::ReInit),
            3 => Ok(Self::Branch),
            other => Err(DecodeError::UnknownValue { what: "psk usage", value: other.into() }),
        }
    }
}

/// Which pre-shared key is meant (RFC 9420 section 8.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PskSource {
    /// A key from outside MLS.
    External {
        /// Its name.
        psk_id: Vec<u8>,
    },
    /// The resumption key of a past epoch.
    Resumption {
        /// What it is used for.
        usage: ResumptionPskUsage,
        /// The group it comes from.
        psk_group_id: GroupId,
        /// The epoch it comes from.
        psk_epoch: u64,
    },
}

impl Encode for PskSource {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::External { psk_id } => {
                out.push(1);
                psk_id.encode(out);
            }
            Self::Resumption { usage, psk_group_id, psk_epoch } => {
                out.push(2);
                usage.encode(out);
                psk_group_id.encode(out);
                psk_epoch.encode(out);
            }
        }
    }
}

impl Decode for PskSource {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::External { psk_id: Decode::decode(reader)? }),
            2 => Ok(Self::Resumption {
                usage: Decode::decode(reader)?,
                psk_group_id: Decode::decode(reader)?,
                psk_epoch: Decode::decode(reader)?,
            }),
            other => Err(DecodeError::UnknownValue { what: "psktype", value: other.into() }),
        }
    }
}

/// A pre-shared key's name and a nonce for this use of it (RFC 9420 section 8.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreSharedKeyId {
    /// Which key.
    pub source: PskSource,
    /// Fresh random bytes, `Nh` long.
    pub psk_nonce: Vec<u8>,
}

struct_codec!(PreSharedKeyId { source, psk_nonce });

/// `PSKLabel`: binds a key to its place in the list (RFC 9420 section 8.4).
#[derive(Clone, Copy, Debug)]
pub struct PskLabel<'a> {
    /// The key.
    pub id: &'a PreSharedKeyId,
    /// Its place in the list, from 0.
    pub index: u16,
    /// Length of the list.
    pub count: u16,
}

impl Encode for PskLabel<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        self.index.encode(out);
        self.count.encode(out);
    }
}
