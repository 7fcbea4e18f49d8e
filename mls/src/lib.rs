//! Messaging Layer Security (RFC 9420): continuous group key agreement, sans-IO.

#![forbid(unsafe_code)]

pub mod client;
pub mod codec;
pub mod crypto;
pub mod error;
pub mod framing;
pub mod group;
pub mod public_group;
pub mod schedule;
pub mod tree;
pub mod validation;
pub mod wire;

pub use client::{
    Client, ClientOptions, ExternalJoinOptions, GroupOptions, Identity, KeyPackageBundle,
    PendingExternalJoin, SignatureKeyPair, StagedJoin,
};
pub use error::{
    Action, ClientError, CommitError, ExportError, Fault, JoinError, MergeError, ProcessError,
    SnapshotError,
};
pub use group::{
    Changes, CommitBuilder, EpochChange, Group, GroupInfoOptions, HandshakeFormat, HandshakePolicy,
    Member, MemoryPskStore, NoPsks, PendingCommit, Processed, ProposalMessage, PskStore,
    ReceivedMessage, ReceivedProposal, SnapshotKey, StagedCommit,
};
pub use public_group::{
    CheckedGroupInfo, PublicGroup, PublicGroupOptions, PublicProcessed, StagedPublicCommit,
    WelcomeMismatch,
};
pub use validation::{
    AcceptAnyCredential, CredentialRejected, CredentialValidator, GroupRules, RuleContext,
    RuleViolation,
};
pub use wire::{CipherSuite, Envelope, GroupId, KeyPackage, LeafIndex, MessageKind, UnixTime};
