//! Byte strings and numbers that must not be mixed up.

use crate::codec::newtype_codec;

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub Vec<u8>);

        newtype_codec!($name);

        impl $name {
            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                for byte in &self.0 {
                    write!(f, "{byte:02x}")?;
                }
                f.write_str(")")
            }
        }

        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                Self(bytes)
            }
        }

        impl From<&[u8]> for $name {
            fn from(bytes: &[u8]) -> Self {
                Self(bytes.to_vec())
            }
        }
    )*};
}

opaque! {
    /// The identifier of a group: any bytes, unique among a client's groups (RFC 9420 section 8.1).
    GroupId,
    /// A KEM public key in the suite's serialisation (RFC 9420 section 5.1.1).
    HpkePublicKey,
    /// A signature public key in the suite's serialisation (RFC 9420 section 5.1.1).
    SignaturePublicKey,
    /// A signature made by `SignWithLabel` (RFC 9420 section 5.1.2).
    Signature,
    /// Hash of a key package, `Nh` bytes (RFC 9420 section 5.2).
    KeyPackageRef,
    /// Hash of the `AuthenticatedContent` that carried a proposal, `Nh` bytes (RFC 9420 section 5.2).
    ProposalRef,
    /// MAC over the confirmed transcript hash, `Nh` bytes (RFC 9420 section 6.1).
    ConfirmationTag,
    /// MAC that shows membership on a `PublicMessage`, `Nh` bytes (RFC 9420 section 6.2).
    MembershipTag,
    /// Hash of a subtree (RFC 9420 section 7.8).
    TreeHash,
    /// Hash that binds a node to its ancestors (RFC 9420 section 7.9).
    ParentHash,
}

/// The position of a leaf, counted from the left, starting at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafIndex(pub u32);

newtype_codec!(LeafIndex);

impl std::fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Seconds since the Unix epoch, as the caller's clock gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

newtype_codec!(UnixTime);
