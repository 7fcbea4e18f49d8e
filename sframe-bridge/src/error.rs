//! Errors, split by who is at fault, and what the caller does next.

use crate::codec::CodecError;
use crate::crypto::BackendError;
use crate::header::HeaderError;
use crate::kid::KidError;
use thiserror::Error;

/// What the caller does after an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Drop the input and go on.
    Drop,
    /// Keep the frame in a [`WaitBuffer`](crate::WaitBuffer) until its epoch is installed.
    WaitForKey,
    /// Ask the group for a new epoch (a commit), then go on.
    Commit,
    /// The application asked for something that is not allowed; fix the call.
    FixCall,
    /// Stop using the object: something is broken beyond repair.
    Stop,
}

/// Who caused an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are not what the format says.
    MalformedInput,
    /// Well-formed, but a sender or the network does what it must not: forged, replayed, or under
    /// a key that it has no right to.
    MisbehavingPeer,
    /// Nobody's: early, late or repeated by the transport.
    Timing,
    /// The application misused the API.
    Misuse,
    /// A limit was reached as it should be.
    Limit,
    /// The cryptographic backend is broken.
    Backend,
}

/// Why a frame was not opened. Nothing was changed but the counters of [`ReceiveStats`].
///
/// [`ReceiveStats`]: crate::ReceiveStats
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The frame's header is not an SFrame header.
    #[error("malformed sframe header: {0}")]
    Header(#[from] HeaderError),
    /// The frame is not what its codec's packetizer makes of a protected one.
    #[error("malformed protected frame: {0}")]
    Codec(#[from] CodecError),
    /// The frame is too short to hold a tag.
    #[error("expected at least {expected} bytes after the header, found {found}")]
    TooShort {
        /// Bytes of a tag.
        expected: usize,
        /// Bytes found after the header.
        found: usize,
    },
    /// The frame is longer than the configured maximum.
    #[error("expected a frame of at most {limit} bytes, found {found}")]
    TooLong {
        /// The maximum.
        limit: usize,
        /// The frame's length.
        found: usize,
    },
    /// The metadata is longer than [`MAX_METADATA_LENGTH`](crate::MAX_METADATA_LENGTH).
    #[error("expected metadata of at most {limit} bytes, found {found}")]
    MetadataTooLong {
        /// The maximum.
        limit: usize,
        /// The metadata's length.
        found: usize,
    },
    /// The frame belongs to an epoch that is not installed yet.
    #[error("expected an installed epoch, found epoch {epoch}, which is ahead")]
    FutureEpoch {
        /// The epoch's full number.
        epoch: u64,
    },
    /// The frame belongs to an epoch whose keys are gone.
    #[error("expected a kept epoch, found epoch {epoch}, which has expired")]
    ExpiredEpoch {
        /// The epoch's full number, as far as its low bits tell.
        epoch: u64,
    },
    /// The frame belongs to an epoch before this member joined.
    #[error("expected an epoch since the join, found epoch {epoch}")]
    BeforeJoin {
        /// The epoch's full number, as far as its low bits tell.
        epoch: u64,
    },
    /// No epoch is installed at all.
    #[error("expected an installed epoch, found none")]
    NoEpoch,
    /// The frame claims to come from this member itself.
    #[error("expected a frame of another member, found one's own kid")]
    OwnKid,
    /// Nobody sits at the leaf that the frame names.
    #[error("expected a live leaf, found blank leaf {leaf}")]
    BlankLeaf {
        /// The leaf.
        leaf: u32,
    },
    /// The frame names another leaf than that of the member whose track it came on.
    #[error("expected a frame of the track's own sender, found one of leaf {leaf}")]
    OtherSender {
        /// The leaf that the frame names.
        leaf: u32,
    },
    /// The receivers have been split, and another one of them opens this leaf's frames.
    #[error("expected a frame for this receiver, found leaf {leaf} of another one")]
    OtherReceiver {
        /// The leaf.
        leaf: u32,
    },
    /// The call's parameters do not allow the context that the frame names.
    #[error("expected a context below {limit}, found {context}")]
    ContextNotAllowed {
        /// The context.
        context: u64,
        /// The number of contexts allowed.
        limit: u32,
    },
    /// The counter is higher than the epoch's age allows.
    #[error("expected a counter of at most {limit} at this age of the epoch, found {ctr}")]
    CounterTooFarAhead {
        /// The counter.
        ctr: u64,
        /// The highest one allowed.
        limit: u64,
    },
    /// No key of the sender goes with the KID (sender keys, RFC 9605 section 5.1).
    #[error("expected a kid of the sender's key generation, found {kid:#x}")]
    UnknownKid {
        /// The KID.
        kid: u64,
    },
    /// The tag does not match.
    #[error("expected an authentic frame")]
    Unauthentic,
    /// Authentic, but seen before: the transport repeated it.
    #[error("expected a frame not seen before, found counter {ctr} again")]
    Duplicate {
        /// The counter.
        ctr: u64,
    },
    /// Authentic, but so old that nobody knows whether it was seen before.
    #[error("expected a counter inside the replay window, found {ctr}")]
    Replayed {
        /// The counter.
        ctr: u64,
    },
    /// The cryptographic backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl ReceiveError {
    /// What to do with the frame.
    pub const fn action(&self) -> Action {
        match self {
            Self::FutureEpoch { .. } | Self::NoEpoch => Action::WaitForKey,
            Self::MetadataTooLong { .. } | Self::OtherReceiver { .. } => Action::FixCall,
            Self::Backend(_) => Action::Stop,
            _ => Action::Drop,
        }
    }

    /// Who caused it.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Header(_) | Self::Codec(_) | Self::TooShort { .. } | Self::TooLong { .. } => {
                Fault::MalformedInput
            }
            Self::MetadataTooLong { .. } | Self::OtherReceiver { .. } => Fault::Misuse,
            Self::FutureEpoch { .. }
            | Self::ExpiredEpoch { .. }
            | Self::BeforeJoin { .. }
            | Self::NoEpoch
            | Self::UnknownKid { .. }
            | Self::Duplicate { .. } => Fault::Timing,
            Self::Backend(_) => Fault::Backend,
            _ => Fault::MisbehavingPeer,
        }
    }

    /// A short, stable name of the reason, for reports and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Header(_) => "malformed-header",
            Self::Codec(_) => "malformed-frame",
            Self::TooShort { .. } => "too-short",
            Self::TooLong { .. } => "too-long",
            Self::MetadataTooLong { .. } => "metadata-too-long",
            Self::FutureEpoch { .. } => "future-epoch",
            Self::ExpiredEpoch { .. } => "expired-epoch",
            Self::BeforeJoin { .. } => "before-join",
            Self::NoEpoch => "no-epoch",
            Self::OwnKid => "own-kid",
            Self::BlankLeaf { .. } => "blank-leaf",
            Self::OtherSender { .. } => "other-sender",
            Self::OtherReceiver { .. } => "other-receiver",
            Self::ContextNotAllowed { .. } => "context-not-allowed",
            Self::CounterTooFarAhead { .. } => "counter-too-far-ahead",
            Self::UnknownKid { .. } => "unknown-kid",
            Self::Unauthentic => "unauthentic",
            Self::Duplicate { .. } => "duplicate",
            Self::Replayed { .. } => "replayed",
            Self::Backend(_) => "backend",
        }
    }
}

/// Why a frame was not protected. Nothing of the frame may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no key: no epoch that allows sending yet, or sending was stopped.
    #[error("expected a sending key, found none")]
    NoKey,
    /// The counter has reached its hard limit.
    #[error("expected a counter below {limit}; a new epoch is needed")]
    CounterExhausted {
        /// The limit.
        limit: u64,
    },
    /// All contexts of this epoch have been issued.
    #[error("expected a context below {limit}; a new epoch is needed")]
    ContextsExhausted {
        /// The number of contexts allowed.
        limit: u32,
    },
    /// The range of the plaintext lies outside the buffer.
    #[error("expected a range inside a buffer of {length} bytes")]
    RangeOutside {
        /// The buffer's length.
        length: usize,
    },
    /// Not enough room before the plaintext for the header.
    #[error("expected {expected} bytes before the plaintext, found {found}")]
    NoHeadroom {
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// Not enough room after the plaintext for the tag.
    #[error("expected {expected} bytes after the plaintext, found {found}")]
    NoTailroom {
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// The metadata is longer than [`MAX_METADATA_LENGTH`](crate::MAX_METADATA_LENGTH).
    #[error("expected metadata of at most {limit} bytes, found {found}")]
    MetadataTooLong {
        /// The maximum.
        limit: usize,
        /// The metadata's length.
        found: usize,
    },
    /// A frame of this codec cannot be empty.
    #[error("expected a frame with at least one byte")]
    EmptyFrame,
    /// The frame is not one of the track's codec.
    #[error("malformed frame: {0}")]
    Codec(#[from] CodecError),
    /// The cryptographic backend failed. The counter that was reserved is spent.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl SendError {
    /// What to do next.
    pub const fn action(&self) -> Action {
        match self {
            Self::NoKey | Self::Codec(_) => Action::Drop,
            Self::CounterExhausted { .. } | Self::ContextsExhausted { .. } => Action::Commit,
            Self::Backend(_) => Action::Stop,
            _ => Action::FixCall,
        }
    }

    /// Who caused it.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoKey => Fault::Timing,
            Self::CounterExhausted { .. } | Self::ContextsExhausted { .. } => Fault::Limit,
            Self::Backend(_) => Fault::Backend,
            Self::Codec(_) => Fault::MalformedInput,
            _ => Fault::Misuse,
        }
    }
}

/// Why an epoch was not installed. The keys in use stay as they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum EpochError {
    /// The epoch is not newer than the newest one installed.
    #[error("expected an epoch above {newest}, found {found}")]
    NotNewer {
        /// The newest epoch installed.
        newest: u64,
        /// The epoch offered.
        found: u64,
    },
    /// The base key has the wrong length for the suite.
    #[error("expected a base key of {expected} bytes, found {found}")]
    BaseKeyLength {
        /// The suite's key length.
        expected: usize,
        /// The key's length.
        found: usize,
    },
    /// A leaf does not fit in the call's KID layout. Every member refuses such an epoch.
    #[error(transparent)]
    Leaf(#[from] KidError),
    /// One's own leaf is not among the live ones.
    #[error("expected own leaf {leaf} among the live ones")]
    OwnLeafNotLive {
        /// The own leaf.
        leaf: u32,
    },
    /// [`CallKeys::close`](crate::CallKeys::close) was called.
    #[error("expected an open call, found a closed one")]
    Closed,
    /// [`CallKeys::split_receiver`](crate::CallKeys::split_receiver) was called before.
    #[error("expected a receiver that was not split")]
    AlreadySplit,
    /// The group could not export the base key.
    #[error("expected the group to export the base key")]
    Export,
    /// The cryptographic backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl EpochError {
    /// What to do next.
    pub const fn action(&self) -> Action {
        match self {
            Self::NotNewer { .. } | Self::Closed | Self::AlreadySplit => Action::FixCall,
            _ => Action::Stop,
        }
    }

    /// Who caused it.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Leaf(_) => Fault::MisbehavingPeer,
            Self::Backend(_) | Self::Export => Fault::Backend,
            _ => Fault::Misuse,
        }
    }
}
