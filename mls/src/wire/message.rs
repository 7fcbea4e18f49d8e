//! The outermost struct of everything that travels (RFC 9420 section 6).

use crate::codec::{Decode, DecodeError, Encode, Reader};

use super::{
    framing::{ContentType, PrivateMessage, PublicMessage, Sender},
    key_package::KeyPackage,
    registry::ProtocolVersion,
    types::GroupId,
    welcome::{GroupInfo, Welcome},
};

/// What an [`MlsMessage`] holds (RFC 9420 section 17.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireFormat {
    /// `mls_public_message`.
    PublicMessage,
    /// `mls_private_message`.
    PrivateMessage,
    /// `mls_welcome`.
    Welcome,
    /// `mls_group_info`.
    GroupInfo,
    /// `mls_key_package`.
    KeyPackage,
}

impl Encode for WireFormat {
    fn encode(&self, out: &mut Vec<u8>) {
        let value: u16 = match self {
            Self::PublicMessage => 1,
            Self::PrivateMessage => 2,
            Self::Welcome => 3,
            Self::GroupInfo => 4,
            Self::KeyPackage => 5,
        };
        value.encode(out);
    }
}

impl Decode for WireFormat {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u16::decode(reader)? {
            1 => Ok(Self::PublicMessage),
            2 => Ok(Self::PrivateMessage),
            3 => Ok(Self::Welcome),
            4 => Ok(Self::GroupInfo),
            5 => Ok(Self::KeyPackage),
            other => Err(DecodeError::UnknownValue { what: "wire_format", value: other.into() }),
        }
    }
}

/// The body of an [`MlsMessage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MlsMessageBody {
    /// A signed message of the group.
    PublicMessage(PublicMessage),
    /// A signed and encrypted message of the group.
    PrivateMessage(PrivateMessage),
    /// An invitation for those whom a commit added.
    Welcome(Welcome),
    /// A group's state, for joiners.
    GroupInfo(GroupInfo),
    /// A client's offer to be added.
    KeyPackage(Box<KeyPackage>),
}

/// `MLSMessage`: everything that travels (RFC 9420 section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlsMessage(pub MlsMessageBody);

impl MlsMessage {
    /// What it holds.
    #[must_use]
    pub fn wire_format(&self) -> WireFormat {
        match self.0 {
            MlsMessageBody::PublicMessage(_) => WireFormat::PublicMessage,
            MlsMessageBody::PrivateMessage(_) => WireFormat::PrivateMessage,
            MlsMessageBody::Welcome(_) => WireFormat::Welcome,
            MlsMessageBody::GroupInfo(_) => WireFormat::GroupInfo,
            MlsMessageBody::KeyPackage(_) => WireFormat::KeyPackage,
        }
    }
}

impl Encode for MlsMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        ProtocolVersion::MLS10.encode(out);
        self.wire_format().encode(out);
        match &self.0 {
            MlsMessageBody::PublicMessage(message) => message.encode(out),
            MlsMessageBody::PrivateMessage(message) => message.encode(out),
            MlsMessageBody::Welcome(welcome) => welcome.encode(out),
            MlsMessageBody::GroupInfo(info) => info.encode(out),
            MlsMessageBody::KeyPackage(key_package) => key_package.encode(out),
        }
    }
}

impl Decode for MlsMessage {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = ProtocolVersion::decode(reader)?;
        if version != ProtocolVersion::MLS10 {
            return Err(DecodeError::UnknownValue {
                what: "protocol version",
                value: version.0.into(),
            });
        }
        Ok(Self(match WireFormat::decode(reader)? {
            WireFormat::PublicMessage => MlsMessageBody::PublicMessage(Decode::decode(reader)?),
            WireFormat::PrivateMessage => MlsMessageBody::PrivateMessage(Decode::decode(reader)?),
            WireFormat::Welcome => MlsMessageBody::Welcome(Decode::decode(reader)?),
            WireFormat::GroupInfo => MlsMessageBody::GroupInfo(Decode::decode(reader)?),
            WireFormat::KeyPackage => MlsMessageBody::KeyPackage(Decode::decode(reader)?),
        }))
    }
}

/// What kind of message an [`Envelope`] announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Handshake or application content in a public message.
    Public(ContentType),
    /// Handshake or application content in a private message.
    Private(ContentType),
    /// A Welcome.
    Welcome,
    /// A GroupInfo.
    GroupInfo,
    /// A key package.
    KeyPackage,
}

/// Where a message belongs, read from its first fields without decoding the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The kind of message.
    pub kind: MessageKind,
    /// The group, where the message names it in the clear.
    pub group_id: Option<GroupId>,
    /// The epoch, where the message names it in the clear.
    pub epoch: Option<u64>,
}

impl Envelope {
    /// Reads the addressing of an encoded [`MlsMessage`]; nothing else is checked.
    ///
    /// # Errors
    /// [`DecodeError`] when even these fields are not well formed.
    pub fn peek(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = ProtocolVersion::decode(&mut reader)?;
        if version != ProtocolVersion::MLS10 {
            return Err(DecodeError::UnknownValue {
                what: "protocol version",
                value: version.0.into(),
            });
        }
        let nowhere = |kind| Self { kind, group_id: None, epoch: None };
        Ok(match WireFormat::decode(&mut reader)? {
            WireFormat::Welcome => nowhere(MessageKind::Welcome),
            WireFormat::KeyPackage => nowhere(MessageKind::KeyPackage),
            WireFormat::GroupInfo => {
                ProtocolVersion::decode(&mut reader)?;
                u16::decode(&mut reader)?;
                let group_id = GroupId(reader.opaque()?.to_vec());
                let epoch = u64::decode(&mut reader)?;
                Self { kind: MessageKind::GroupInfo, group_id: Some(group_id), epoch: Some(epoch) }
            }
            WireFormat::PublicMessage => {
                let group_id = GroupId(reader.opaque()?.to_vec());
                let epoch = u64::decode(&mut reader)?;
                Sender::decode(&mut reader)?;
                reader.opaque()?;
                let kind = MessageKind::Public(ContentType::decode(&mut reader)?);
                Self { kind, group_id: Some(group_id), epoch: Some(epoch) }
            }
            WireFormat::PrivateMessage => {
                let group_id = GroupId(reader.opaque()?.to_vec());
                let epoch = u64::decode(&mut reader)?;
                let kind = MessageKind::Private(ContentType::decode(&mut reader)?);
                Self { kind, group_id: Some(group_id), epoch: Some(epoch) }
            }
        })
    }
}
