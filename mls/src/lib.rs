//! Messaging Layer Security (RFC 9420): continuous group key agreement, sans-IO.
//!
//! Members of a group share secrets that change with every commit: whoever leaves cannot follow, whoever joins cannot look
//! back. The library takes bytes, randomness and the time as arguments and gives bytes back; sockets, storage
//! and clocks are the application's.
//!
//! ```
//! use mls::{
//!     AcceptAnyCredential, CipherSuite, Client, ClientOptions, GroupId, GroupOptions, Identity, Processed, UnixTime, crypto,
//! };
//!
//! let suite = crypto::default_provider()
//!     .suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519)
//!     .ok_or("the backend lacks the suite")?;
//! let rng = &mut crypto::os_rng();
//! let now = UnixTime(1_800_000_000);
//!
//! // Two clients. An application brings a validator of its own, which knows whom to trust.
//! let alice = Identity::basic("alice", suite, rng)?;
//! let alice = Client::new(suite, alice, ClientOptions::new(AcceptAnyCredential));
//! let bob = Identity::basic("bob", suite, rng)?;
//! let bob = Client::new(suite, bob, ClientOptions::new(AcceptAnyCredential));
//!
//! // Bob publishes a key package. Alice creates a group and adds him.
//! let bundle = bob.key_package(rng, now)?;
//! let published = bundle.message();
//! let group_id = GroupId(b"a call".to_vec());
//! let mut alices = alice.create_group(group_id, GroupOptions::default(), rng, now)?;
//! let pending = alices.commit().add(alice.read_key_package(&published, now)?).build(rng, now)?;
//! let welcome = pending.welcome().ok_or("somebody was added")?.to_vec();
//! // The delivery service has accepted the commit: it takes effect, and the Welcome may go out.
//! alices.confirm(pending)?;
//!
//! // Bob looks at the group before he joins it.
//! let staged = bob.join(&welcome, [&bundle], None, now)?;
//! assert_eq!(staged.roster().count(), 2);
//! let mut bobs = staged.accept();
//!
//! // Bob renews his keys; Alice processes his commit.
//! let pending = bobs.commit().build(rng, now)?;
//! match alices.process(pending.commit(), now)? {
//!     Processed::Commit(staged) => alices.merge(*staged)?,
//!     other => return Err(format!("not a commit: {other:?}").into()),
//! };
//! bobs.confirm(pending)?;
//!
//! // Both derive the same secret for whatever the application protects.
//! assert_eq!(alices.export("example", b"", 32)?, bobs.export("example", b"", 32)?);
//!
//! // And they can send each other data.
//! let message = alices.protect(b"hello", b"", rng)?;
//! match bobs.process(&message, now)? {
//!     Processed::Application(received) => assert_eq!(received.data, b"hello"),
//!     other => return Err(format!("not application data: {other:?}").into()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In a few words
//!
//! The members of a group are the leaves of a *ratchet tree* of keys. A member changes the group by a *commit*, which covers
//! *proposals* (add, remove, update, ...) and starts the next *epoch* with fresh secrets; a *path* in it renews the
//! committer's keys up to the root. Whoever is added joins by a *Welcome*, made from the *key package* that it published; a
//! *GroupInfo* lets somebody join, or a lost member come back, by an *external commit*. One commit wins each epoch: the
//! delivery service puts them in order, and is not trusted with more. Whom a *credential* belongs to is for the application to
//! decide.
//!
//! # Where things are
//!
//! - [`Client`] makes key packages, creates, joins and restores groups. [`Group`] is a member's state. [`PublicGroup`] follows a group
//!   without its secrets, as a delivery service does.
//! - Commits are values before they take effect: [`PendingCommit`] of one's own, [`StagedCommit`] of others. The application decides,
//!   with its delivery service, which commit wins an epoch.
//! - Errors say who is at fault ([`Fault`]) and what to do next ([`Action`]). Whatever fails leaves the group as it was.
//! - [`CredentialValidator`], [`GroupRules`] and [`PskStore`] are what an application may supply.
//! - The way of a commit: [`framing`] (who signed it), [`validation`] (is it allowed), [`tree`] (the new keys), [`schedule`]
//!   (the new secrets), put together in [`group`]. `VALIDATION.md` beside the sources says for every rule of the RFC where it
//!   is enforced and which test holds it there.
//! - [`guide`] is for those who build a delivery service.
//! - [`crypto`] holds the suites and backends, [`wire`] every struct of the RFC as plain data, [`codec`] its encoding.

#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as mls;

pub mod client;
pub mod codec;
pub mod crypto;
pub mod error;
pub mod framing;
pub mod group;
pub mod guide;
mod parallel;
pub mod public_group;
pub mod schedule;
pub mod tree;
pub mod validation;
pub mod wire;
#[cfg(feature = "x509")]
pub mod x509;

pub use client::{
    Client, ClientOptions, ExternalJoinOptions, ExternalProposer, GroupOptions, Identity,
    KeyPackageBundle, PendingExternalJoin, SignatureKeyPair, StagedJoin,
};
pub use error::{
    Action, ClientError, CommitError, ExportError, Fault, JoinError, LocalError, MergeError,
    ProcessError, SnapshotError,
};
pub use group::{
    Changes, CheckedGroupInfo, CommitBuilder, EpochChange, Group, GroupInfoOptions,
    HandshakeFormat, HandshakePolicy, Member, MemoryPskStore, NewGroup, NewGroupBuilder, NoPsks,
    PendingCommit, Processed, ProposalMessage, PskStore, ReceivedMessage, ReceivedProposal,
    Reclaimed, SnapshotKey, StagedCommit,
};
pub use public_group::{
    PublicGroup, PublicGroupOptions, PublicProcessed, StagedPublicCommit, WelcomeMismatch,
};
pub use validation::{
    AcceptAnyCredential, CredentialRejected, CredentialValidator, CustomProposalType, GroupRules,
    RuleContext, RuleViolation,
};
pub use wire::{CipherSuite, Envelope, GroupId, KeyPackage, LeafIndex, MessageKind, UnixTime};
