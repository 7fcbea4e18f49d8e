//! Every decoder, on the same bytes.

use mls::{
    codec::{Decode, Encode, MEMORY_PER_BYTE},
    wire::{
        Add, ApplicationId, AuthenticatedContent, Capabilities, CipherSuite, Commit,
        ConfirmationTag, Content, ContentType, Credential, CredentialType, EncryptedGroupSecrets,
        Envelope, Extension, ExtensionType, Extensions, ExternalInit, ExternalPub, ExternalSender,
        ExternalSenders, FramedContent, GroupContext, GroupContextExtensions, GroupId, GroupInfo,
        GroupSecrets, HpkeCiphertext, KeyPackage, LeafIndex, LeafNode, LeafNodeSource, Lifetime,
        MlsMessage, Node, ParentNode, PathSecretBytes, PreSharedKey, PreSharedKeyId,
        PrivateMessage, PrivateMessageContent, Proposal, ProposalOrRef, ProposalType,
        ProtocolVersion, PskSource, PublicMessage, ReInit, Remove, RequiredCapabilities,
        ResumptionPskUsage, Sender, SenderData, UnixTime, Update, UpdatePath, UpdatePathNode,
        Welcome, WireFormat,
    },
};

use super::memory;

/// What decodes stands in its only encoding, and held no more memory than the codec promises.
fn decode<T: Decode + Encode>(bytes: &[u8]) {
    let start = memory::mark();
    if let Ok(value) = T::from_bytes(bytes) {
        memory::check(start, bytes.len(), MEMORY_PER_BYTE);
        assert_eq!(value.to_bytes(), bytes, "{} has two encodings", std::any::type_name::<T>());
    } else {
        memory::check(start, bytes.len(), MEMORY_PER_BYTE);
    }
}

macro_rules! decoders {
    ($($type:ty),* $(,)?) => {
        /// The types that are decoded.
        pub const TYPES: &[&str] = &[$(stringify!($type)),*];

        fn decode_all(bytes: &[u8]) {
            $( decode::<$type>(bytes); )*
        }
    };
}

decoders! {
    MlsMessage, PublicMessage, PrivateMessage, Welcome, GroupInfo, KeyPackage, FramedContent,
    AuthenticatedContent, Content, Commit, ProposalOrRef, Proposal, Add, Update, Remove,
    PreSharedKey, ReInit, ExternalInit, GroupContextExtensions, UpdatePath, UpdatePathNode,
    HpkeCiphertext, LeafNode, LeafNodeSource, Lifetime, Capabilities, Credential, Extension,
    Extensions, RequiredCapabilities, ExternalPub, ExternalSender, ExternalSenders, ApplicationId,
    GroupContext, GroupSecrets, EncryptedGroupSecrets, PathSecretBytes, PreSharedKeyId, PskSource,
    ResumptionPskUsage, Sender, SenderData, ContentType, WireFormat, Node, Vec<Option<Node>>,
    ParentNode, ConfirmationTag, GroupId, LeafIndex, UnixTime, CipherSuite, CredentialType,
    ExtensionType, ProposalType, ProtocolVersion,
}

/// Feeds the bytes to every decoder there is.
pub fn wire(data: &[u8]) {
    decode_all(data);
    private_content(data);
    envelope(data);
}

fn private_content(data: &[u8]) {
    for kind in [ContentType::Application, ContentType::Proposal, ContentType::Commit] {
        if let Ok(content) = PrivateMessageContent::decode_for(kind, data) {
            assert_eq!(content.to_bytes(), data);
        }
    }
}

/// What the delivery service reads from the front of a message is what the whole message says.
fn envelope(data: &[u8]) {
    use mls::wire::{MessageKind as Kind, MlsMessageBody as Body};
    let (peeked, message) = (Envelope::peek(data), MlsMessage::from_bytes(data));
    let Ok(MlsMessage(body)) = message else { return };
    let peeked = peeked.expect("a message that decodes can be peeked at");
    let (kind, group, epoch) = match &body {
        Body::PublicMessage(m) => (
            Kind::Public(m.content.content.content_type()),
            Some(&m.content.group_id),
            Some(m.content.epoch),
        ),
        Body::PrivateMessage(m) => {
            (Kind::Private(m.content_type), Some(&m.group_id), Some(m.epoch))
        }
        Body::Welcome(_) => (Kind::Welcome, None, None),
        Body::GroupInfo(m) => {
            (Kind::GroupInfo, Some(&m.group_context.group_id), Some(m.group_context.epoch))
        }
        Body::KeyPackage(_) => (Kind::KeyPackage, None, None),
    };
    assert_eq!((peeked.kind, peeked.group_id.as_ref(), peeked.epoch), (kind, group, epoch));
}
