//! What can go wrong in the key schedule and in the secret tree.

use thiserror::Error;

use crate::{crypto::CryptoError, wire::LeafIndex};

/// A step of the key schedule that did not give a result. No variant carries key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The confirmation tag was made in another state of the group (RFC 9420 section 6.1): the
    /// peer misbehaves, or this member's state has diverged and needs a resync.
    #[error("the confirmation tag does not belong to this state of the group")]
    ConfirmationTagMismatch,
    /// The encrypted GroupInfo of a Welcome does not open with the keys that follow from its
    /// secrets (RFC 9420 section 12.4.3.1): the Welcome was altered, or a pre-shared key is wrong.
    #[error("the encrypted group info does not open under this joiner secret and these psks")]
    GroupInfoUndecryptable,
    /// The KEM output of an ExternalInit proposal is not one (RFC 9420 section 8.3).
    #[error("the kem output of the external init is not acceptable: {0}")]
    BadExternalInit(CryptoError),
    /// More pre-shared keys than their `uint16` index can number (RFC 9420 section 8.4).
    #[error("{0} pre-shared keys in one commit, at most 65535 can be numbered")]
    TooManyPsks(usize),
    /// The exporter cannot give that much (RFC 9420 section 8.5): misuse of the API.
    #[error("an exported secret of {asked} bytes was asked for, at most {limit} are possible")]
    ExportTooLong {
        /// The length asked for, in bytes.
        asked: usize,
        /// The longest possible, in bytes.
        limit: usize,
    },
    /// Only commits enter the transcript (RFC 9420 section 8.2): misuse of the API.
    #[error("only a commit enters the transcript hash")]
    NotACommit,
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Why the secret tree gives no key. The tree is unchanged by every one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretTreeError {
    /// The tree has no such leaf.
    #[error("leaf {leaf} lies outside a tree of {leaves} leaves")]
    NoSuchLeaf {
        /// The leaf asked for.
        leaf: LeafIndex,
        /// How many leaves the tree has.
        leaves: u64,
    },
    /// A tree of more than 2^31 leaves is not possible: misuse of the API.
    #[error("a secret tree of {0} leaves is not possible")]
    BadSize(u32),
    /// The own ratchets serve sending only: what comes in under one's own leaf is an echo or a
    /// forgery.
    #[error("the message claims to come from this member itself")]
    OwnLeaf,
    /// The key was used, so the message is a replay (RFC 9420 section 9.2).
    #[error("the key of generation {generation} has been used")]
    KeyConsumed {
        /// The generation asked for.
        generation: u32,
    },
    /// The key was skipped so long ago that it is no longer kept.
    #[error("generation {generation} is too old, keys are kept from generation {oldest} on")]
    GenerationTooOld {
        /// The generation asked for.
        generation: u32,
        /// The oldest generation whose key may still be at hand.
        oldest: u32,
    },
    /// The generation lies further ahead than this member is willing to go (RFC 9420 section 15.3).
    #[error("generation {generation} is more than {limit} beyond generation {next}")]
    GenerationTooFarAhead {
        /// The generation asked for.
        generation: u32,
        /// The next generation in order.
        next: u32,
        /// How far ahead of it a generation may lie.
        limit: u32,
    },
    /// The ratchet has come to the end of its generations.
    #[error("the ratchet has no generations left in this epoch")]
    RatchetExhausted,
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}
