//! Message framing (RFC 9420 section 6).

use zeroize::Zeroize;

use crate::codec::{Decode, DecodeError, Encode, Reader, struct_codec};

use super::{
    commit::Commit,
    message::WireFormat,
    proposal::Proposal,
    registry::ProtocolVersion,
    types::{ConfirmationTag, GroupId, LeafIndex, MembershipTag, Signature},
};

/// What kind of content a message carries (RFC 9420 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// Data of the application.
    Application,
    /// A proposal.
    Proposal,
    /// A commit.
    Commit,
}

impl Encode for ContentType {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Application => 1,
            Self::Proposal => 2,
            Self::Commit => 3,
        });
    }
}

impl Decode for ContentType {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::Application),
            2 => Ok(Self::Proposal),
            3 => Ok(Self::Commit),
            other => Err(DecodeError::UnknownValue { what: "content_type", value: other.into() }),
        }
    }
}

/// Who sent a message (RFC 9420 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The member at a leaf.
    Member(LeafIndex),
    /// An entry of the `external_senders` extension.
    External(u32),
    /// A client that proposes to add itself.
    NewMemberProposal,
    /// A client that joins by external commit.
    NewMemberCommit,
}

impl Encode for Sender {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Member(leaf) => {
                out.push(1);
                leaf.encode(out);
            }
            Self::External(index) => {
                out.push(2);
                index.encode(out);
            }
            Self::NewMemberProposal => out.push(3),
            Self::NewMemberCommit => out.push(4),
        }
    }
}

impl Decode for Sender {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Decode::decode(reader).map(Self::Member),
            2 => Decode::decode(reader).map(Self::External),
            3 => Ok(Self::NewMemberProposal),
            4 => Ok(Self::NewMemberCommit),
            other => Err(DecodeError::UnknownValue { what: "sender_type", value: other.into() }),
        }
    }
}

/// The content itself (RFC 9420 section 6).
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Data of the application.
    Application(Vec<u8>),
    /// A proposal.
    Proposal(Proposal),
    /// A commit.
    Commit(Box<Commit>),
}

impl Content {
    /// Its type.
    #[must_use]
    pub fn content_type(&self) -> ContentType {
        match self {
            Self::Application(_) => ContentType::Application,
            Self::Proposal(_) => ContentType::Proposal,
            Self::Commit(_) => ContentType::Commit,
        }
    }

    /// Appends the content without its type, as `PrivateMessageContent` starts.
    pub fn encode_untagged(&self, out: &mut Vec<u8>) {
        match self {
            Self::Application(data) => data.encode(out),
            Self::Proposal(proposal) => proposal.encode(out),
            Self::Commit(commit) => commit.encode(out),
        }
    }

    /// Reads content whose type is known from elsewhere.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_untagged(
        content_type: ContentType,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        Ok(match content_type {
            ContentType::Application => Self::Application(Decode::decode(reader)?),
            ContentType::Proposal => Self::Proposal(Decode::decode(reader)?),
            ContentType::Commit => Self::Commit(Decode::decode(reader)?),
        })
    }
}

/// Application data is never printed.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Application(data) => write!(f, "Application({} bytes)", data.len()),
            Self::Proposal(proposal) => f.debug_tuple("Proposal").field(proposal).finish(),
            Self::Commit(commit) => f.debug_tuple("Commit").field(commit).finish(),
        }
    }
}

impl Encode for Content {
    fn encode(&self, out: &mut Vec<u8>) {
        self.content_type().encode(out);
        self.encode_untagged(out);
    }
}

impl Decode for Content {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let content_type = Decode::decode(reader)?;
        Self::decode_untagged(content_type, reader)
    }
}

/// Content with its place in the group's history (RFC 9420 section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramedContent {
    /// The group.
    pub group_id: GroupId,
    /// The epoch in which it was sent.
    pub epoch: u64,
    /// Who sent it.
    pub sender: Sender,
    /// Data of the application that is authenticated, not encrypted.
    pub authenticated_data: Vec<u8>,
    /// The content.
    pub content: Content,
}

struct_codec!(FramedContent { group_id, epoch, sender, authenticated_data, content });

/// `FramedContentTBS`: what a message's signature covers (RFC 9420 section 6.1).
#[derive(Clone, Copy, Debug)]
pub struct FramedContentTbs<'a> {
    /// How the message travels.
    pub wire_format: WireFormat,
    /// The content.
    pub content: &'a FramedContent,
    /// The encoded GroupContext; it enters for members and for external commits only.
    pub group_context: &'a [u8],
}

impl Encode for FramedContentTbs<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        ProtocolVersion::MLS10.encode(out);
        self.wire_format.encode(out);
        self.content.encode(out);
        if matches!(self.content.sender, Sender::Member(_) | Sender::NewMemberCommit) {
            out.extend_from_slice(self.group_context);
        }
    }
}

/// Signature, and for commits the confirmation tag (RFC 9420 section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramedContentAuthData {
    /// Signature over [`FramedContentTbs`].
    pub signature: Signature,
    /// Present exactly for commits.
    pub confirmation_tag: Option<ConfirmationTag>,
}

impl Encode for FramedContentAuthData {
    fn encode(&self, out: &mut Vec<u8>) {
        self.signature.encode(out);
        if let Some(tag) = &self.confirmation_tag {
            tag.encode(out);
        }
    }
}

impl FramedContentAuthData {
    /// Reads the data; whether a confirmation tag follows depends on the content's type.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_for(
        content_type: ContentType,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let signature = Decode::decode(reader)?;
        let confirmation_tag = match content_type {
            ContentType::Commit => Some(Decode::decode(reader)?),
            ContentType::Application | ContentType::Proposal => None,
        };
        Ok(Self { signature, confirmation_tag })
    }
}

/// Content with its authentication, however it travelled (RFC 9420 section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticatedContent {
    /// How it travelled.
    pub wire_format: WireFormat,
    /// The content.
    pub content: FramedContent,
    /// Its authentication.
    pub auth: FramedContentAuthData,
}

impl Encode for AuthenticatedContent {
    fn encode(&self, out: &mut Vec<u8>) {
        self.wire_format.encode(out);
        self.content.encode(out);
        self.auth.encode(out);
    }
}

impl Decode for AuthenticatedContent {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let wire_format = Decode::decode(reader)?;
        let content: FramedContent = Decode::decode(reader)?;
        let auth = FramedContentAuthData::decode_for(content.content.content_type(), reader)?;
        Ok(Self { wire_format, content, auth })
    }
}

/// A message that is authenticated, not encrypted (RFC 9420 section 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicMessage {
    /// The content.
    pub content: FramedContent,
    /// Its authentication.
    pub auth: FramedContentAuthData,
    /// Present exactly when a member sent it.
    pub membership_tag: Option<MembershipTag>,
}

impl Encode for PublicMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        self.content.encode(out);
        self.auth.encode(out);
        if let Some(tag) = &self.membership_tag {
            tag.encode(out);
        }
    }
}

impl Decode for PublicMessage {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let content: FramedContent = Decode::decode(reader)?;
        let auth = FramedContentAuthData::decode_for(content.content.content_type(), reader)?;
        let membership_tag = match content.sender {
            Sender::Member(_) => Some(Decode::decode(reader)?),
            _ => None,
        };
        Ok(Self { content, auth, membership_tag })
    }
}

/// A message that is authenticated and encrypted (RFC 9420 section 6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateMessage {
    /// The group.
    pub group_id: GroupId,
    /// The epoch in which it was sent.
    pub epoch: u64,
    /// What kind of content is encrypted.
    pub content_type: ContentType,
    /// Data of the application that is authenticated, not encrypted.
    pub authenticated_data: Vec<u8>,
    /// Encrypted [`SenderData`].
    pub encrypted_sender_data: Vec<u8>,
    /// Encrypted [`PrivateMessageContent`].
    pub ciphertext: Vec<u8>,
}

struct_codec!(PrivateMessage {
    group_id,
    epoch,
    content_type,
    authenticated_data,
    encrypted_sender_data,
    ciphertext,
});

impl PrivateMessage {
    /// `PrivateContentAAD` (RFC 9420 section 6.3.1).
    #[must_use]
    pub fn content_aad(&self) -> Vec<u8> {
        let mut out = self.sender_data_aad();
        self.authenticated_data.encode(&mut out);
        out
    }

    /// `SenderDataAAD` (RFC 9420 section 6.3.2).
    #[must_use]
    pub fn sender_data_aad(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.group_id.encode(&mut out);
        self.epoch.encode(&mut out);
        self.content_type.encode(&mut out);
        out
    }
}

/// Which key of the secret tree a private message used (RFC 9420 section 6.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderData {
    /// The sender's leaf.
    pub leaf_index: LeafIndex,
    /// The generation of its ratchet.
    pub generation: u32,
    /// Random bytes that the nonce was masked with.
    pub reuse_guard: [u8; 4],
}

impl Encode for SenderData {
    fn encode(&self, out: &mut Vec<u8>) {
        self.leaf_index.encode(out);
        self.generation.encode(out);
        out.extend_from_slice(&self.reuse_guard);
    }
}

impl Decode for SenderData {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            leaf_index: Decode::decode(reader)?,
            generation: Decode::decode(reader)?,
            reuse_guard: reader.array()?,
        })
    }
}

/// The plaintext of a private message (RFC 9420 section 6.3.1).
pub struct PrivateMessageContent {
    /// The content.
    pub content: Content,
    /// Its authentication.
    pub auth: FramedContentAuthData,
    /// How many zero bytes follow.
    pub padding: usize,
}

impl PrivateMessageContent {
    /// Reads a decrypted plaintext of known content type.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeError::Malformed`] when the padding holds anything but zeros.
    pub fn decode_for(content_type: ContentType, plaintext: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(plaintext);
        let content = Content::decode_untagged(content_type, &mut reader)?;
        let auth = FramedContentAuthData::decode_for(content_type, &mut reader)?;
        let padding = reader.rest();
        if padding.iter().any(|&byte| byte != 0) {
            return Err(DecodeError::Malformed("padding of a private message is not all zero"));
        }
        Ok(Self { content, auth, padding: padding.len() })
    }
}

impl Encode for PrivateMessageContent {
    fn encode(&self, out: &mut Vec<u8>) {
        self.content.encode_untagged(out);
        self.auth.encode(out);
        out.resize(out.len() + self.padding, 0);
    }
}

impl Drop for PrivateMessageContent {
    fn drop(&mut self) {
        if let Content::Application(data) = &mut self.content {
            data.zeroize();
        }
    }
}

impl std::fmt::Debug for PrivateMessageContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateMessageContent")
            .field("content_type", &self.content.content_type())
            .finish_non_exhaustive()
    }
}
