//! Every struct of RFC 9420 as plain data, with its encoding.
//!
//! Nothing here checks a signature, a MAC or a rule between fields: a value of these types is merely
//! well formed. What makes it valid is decided in the modules that use it.

mod commit;
mod credential;
mod extension;
mod framing;
mod group_context;
mod key_package;
mod leaf_node;
mod message;
mod parent_node;
mod proposal;
mod psk;
mod registry;
mod types;
mod welcome;

pub use commit::{Commit, HpkeCiphertext, ProposalOrRef, UpdatePath, UpdatePathNode};
pub use credential::Credential;
pub use extension::{
    ApplicationId, Extension, Extensions, ExternalPub, ExternalSender, ExternalSenders,
    RequiredCapabilities,
};
pub use framing::{
    AuthenticatedContent, Content, ContentType, FramedContent, FramedContentAuthData,
    FramedContentTbs, PrivateMessage, PrivateMessageContent, PublicMessage, Sender, SenderData,
};
pub use group_context::GroupContext;
pub use key_package::{KeyPackage, KeyPackageTbs};
pub use leaf_node::{Capabilities, LeafNode, LeafNodeSource, LeafNodeTbs, Lifetime, TreePosition};
pub use message::{Envelope, MessageKind, MlsMessage, MlsMessageBody, WireFormat};
pub use parent_node::{Node, ParentNode};
pub use proposal::{
    Add, ExternalInit, GroupContextExtensions, PreSharedKey, Proposal, ReInit, Remove, Update,
};
pub use psk::{PreSharedKeyId, PskLabel, PskSource, ResumptionPskUsage};
pub use registry::{CipherSuite, CredentialType, ExtensionType, ProposalType, ProtocolVersion};
pub use types::{
    ConfirmationTag, GroupId, HpkePublicKey, KeyPackageRef, LeafIndex, MembershipTag, ParentHash,
    ProposalRef, Signature, SignaturePublicKey, TreeHash, UnixTime,
};
pub use welcome::{
    EncryptedGroupSecrets, GroupInfo, GroupInfoTbs, GroupSecrets, PathSecretBytes, Welcome,
};
