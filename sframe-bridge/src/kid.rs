//! Key identifiers for MLS senders (RFC 9605 section 5.2): `context | leaf index | epoch`.

use thiserror::Error;

/// An SFrame key identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kid(pub u64);

/// How a call divides the 64 bits of a KID: `E` bits of epoch at the bottom, `S` bits of leaf
/// index above them, the rest is the context. Fixed for the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KidLayout {
    epoch_bits: u8,
    leaf_bits: u8,
}

/// The three parts of a KID. Only the low `E` bits of the epoch are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KidParts {
    /// Separates the tracks and simulcast layers of one sender.
    pub context: u64,
    /// The sender's leaf in the ratchet tree.
    pub leaf: u32,
    /// The epoch's low `E` bits.
    pub epoch_low: u64,
}

/// Why a KID cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum KidError {
    /// The layout leaves no room or is too tight for the epoch window.
    #[error(
        "expected 4 to 16 epoch bits and 1 to 24 leaf bits, found {epoch_bits} and {leaf_bits}"
    )]
    Layout {
        /// The epoch bits asked for.
        epoch_bits: u8,
        /// The leaf bits asked for.
        leaf_bits: u8,
    },
    /// Sender keys leave 1 to 16 bits to the ratchet step.
    #[error("expected 1 to 16 bits of ratchet step, found {found}")]
    RatchetBits {
        /// The bits asked for.
        found: u8,
    },
    /// The leaf index does not fit. Masking it would give two members one keystream.
    #[error("expected a leaf index of at most {leaf_bits} bits, found {leaf}")]
    LeafTooLarge {
        /// The leaf index.
        leaf: u32,
        /// The layout's `S`.
        leaf_bits: u8,
    },
    /// The context does not fit in the bits that remain.
    #[error("expected a context of at most {bits} bits, found {context}")]
    ContextTooLarge {
        /// The context.
        context: u64,
        /// Bits that remain for it.
        bits: u8,
    },
}

impl KidLayout {
    /// `E` = 8 and `S` = 12: calls of up to 4,096 leaves.
    pub const DEFAULT: Self = Self { epoch_bits: 8, leaf_bits: 12 };

    /// A layout of `epoch_bits` (4 to 16) and `leaf_bits` (1 to 24).
    pub const fn new(epoch_bits: u8, leaf_bits: u8) -> Result<Self, KidError> {
        if epoch_bits < 4 || epoch_bits > 16 || leaf_bits < 1 || leaf_bits > 24 {
            return Err(KidError::Layout { epoch_bits, leaf_bits });
        }
        Ok(Self { epoch_bits, leaf_bits })
    }

    /// `E`.
    pub const fn epoch_bits(self) -> u8 {
        self.epoch_bits
    }

    /// `S`.
    pub const fn leaf_bits(self) -> u8 {
        self.leaf_bits
    }

    /// Bits that remain for the context.
    pub const fn context_bits(self) -> u8 {
        64 - self.epoch_bits - self.leaf_bits
    }

    /// How many epochs the low bits can tell apart: `2^E`.
    pub const fn epoch_count(self) -> u64 {
        1 << self.epoch_bits
    }

    /// How many leaves fit: `2^S`.
    pub const fn leaf_count(self) -> u32 {
        1 << self.leaf_bits
    }

    /// The low `E` bits of an epoch number.
    pub const fn epoch_low(self, epoch: u64) -> u64 {
        epoch & (self.epoch_count() - 1)
    }

    /// The KID of a sender's context in an epoch.
    pub const fn compose(self, context: u64, leaf: u32, epoch: u64) -> Result<Kid, KidError> {
        if leaf >= self.leaf_count() {
            return Err(KidError::LeafTooLarge { leaf, leaf_bits: self.leaf_bits });
        }
        let bits = self.context_bits();
        if context >> bits != 0 {
            return Err(KidError::ContextTooLarge { context, bits });
        }
        let high = context << (self.leaf_bits + self.epoch_bits);
        Ok(Kid(high | ((leaf as u64) << self.epoch_bits) | self.epoch_low(epoch)))
    }

    /// The parts of a KID.
    pub const fn split(self, kid: Kid) -> KidParts {
        KidParts {
            context: kid.0 >> (self.leaf_bits + self.epoch_bits),
            leaf: ((kid.0 >> self.epoch_bits) & (self.leaf_count() as u64 - 1)) as u32,
            epoch_low: self.epoch_low(kid.0),
        }
    }
}

impl Default for KidLayout {
    fn default() -> Self {
        Self::DEFAULT
    }
}
