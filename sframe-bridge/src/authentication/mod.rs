//! Optional sender authentication: signatures by the leaf's key over batches of whole frames.
//!
//! SFrame proves that a frame comes from the group, not from whom in it: every member holds every
//! sender's key (RFC 9605 section 7.2). Where that matters, each sender also signs what it sent:
//! [`FrameSigner`] collects a digest of each frame and makes a batch of them each 200 ms, or at a
//! keyframe; [`FrameVerifier`] holds opened frames against the batches and says which of them are
//! authenticated. Nothing of it is on unless the application uses it.
//!
//! A batch lists its digests one by one, so that whatever subset of the frames an SFU lets through
//! stays verifiable:
//!
//! ```text
//! struct {
//!     uint8  version = 1;
//!     uint64 kid;                      // context | leaf | epoch, as in the frames
//!     uint64 epoch;                    // the whole number
//!     uint64 first;                    // the lowest counter in the batch
//!     uint16 count;                    // 1 to 256
//!     struct {
//!         uint16 offset;               // counter - first
//!         opaque digest[16];
//!     } frames[count];
//!     opaque signature<0..2^16-1>;     // 16-bit length
//! } FrameBatch;
//! ```
//!
//! `digest` is the beginning of `Hash(uint64 length of metadata || metadata || frame)`, where the
//! frame is the whole SFrame ciphertext with its header, and the hash that of the MLS suite.
//! 128 bits suffice: another member who wants a signed digest for a frame of its own needs a
//! second preimage. (A sender can make two frames of its own with one digest, at 2^64 hashes; that
//! they are its own stays true.) The signature is `SignWithLabel` of RFC 9420 section 5.1.2 with
//! the label "Application " and [`BATCH_LABEL`] over
//!
//! ```text
//! struct {
//!     opaque group_id<0..2^16-1>;                     // 16-bit length
//!     opaque confirmed_transcript_hash<0..2^16-1>;    // 16-bit length
//!     FrameBatch without its signature;
//! } FrameBatchTBS;
//! ```
//!
//! A batch holds no secret and may travel by any way that reaches the receivers: a data channel,
//! or SFrame in a context of its own. With Ed25519 and 10 frames it has 273 bytes, about
//! 11 kbit/s for a track of audio.

mod batch;
mod signer;
mod verifier;

pub use batch::{FrameDigest, UnsignedBatch};
pub use signer::{BatchLimits, FrameSigner};
pub use verifier::{AuthenticationEvent, FrameVerifier, VerifierLimits};

use mls::Group;
use thiserror::Error;

/// The label of a batch's signature, behind "Application ".
pub const BATCH_LABEL: &str = "Framelock 1.0 frame batch";

/// What binds signatures to one epoch of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochBinding {
    /// The group's id.
    pub group_id: Vec<u8>,
    /// The epoch's number.
    pub epoch: u64,
    /// The confirmed transcript hash of the epoch (RFC 9420 section 8.2).
    pub confirmed_transcript_hash: Vec<u8>,
}

impl EpochBinding {
    /// The binding of the epoch that a group is in.
    pub fn of_group(group: &Group) -> Self {
        let context = group.context();
        Self {
            group_id: context.group_id.as_bytes().to_vec(),
            epoch: context.epoch,
            confirmed_transcript_hash: context.confirmed_transcript_hash.clone(),
        }
    }
}

/// Why a batch authenticates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes are no batch.
    #[error("expected a frame batch of version 1")]
    Malformed,
    /// The epoch is not known, or is gone.
    #[error("expected a batch of a kept epoch, found epoch {epoch}")]
    UnknownEpoch {
        /// The epoch.
        epoch: u64,
    },
    /// Nobody sits at the leaf in the KID.
    #[error("expected a batch of a live leaf, found leaf {leaf}")]
    BlankLeaf {
        /// The leaf.
        leaf: u32,
    },
    /// The leaf's key did not make the signature.
    #[error("expected a signature by leaf {leaf}")]
    BadSignature {
        /// The leaf.
        leaf: u32,
    },
}
