//! Hash and MAC.

use core::{cmp::Ordering, fmt};

use super::Secret;

/// The longest hash output in use (SHA-512), in bytes.
pub const MAX_HASH_LENGTH: usize = 64;

/// A hash function and the HMAC over it.
pub trait Hash: Send + Sync {
    /// The length of the output in bytes, `Nh`.
    fn length(&self) -> usize;

    /// Hashes the concatenation of `parts`.
    fn hash(&self, parts: &[&[u8]]) -> HashOutput;

    /// HMAC under `key` over the concatenation of `parts`. As it also serves to derive keys, the result counts as secret.
    fn hmac(&self, key: &[u8], parts: &[&[u8]]) -> Secret;
}

/// The output of a hash function; public data, kept without an allocation.
#[derive(Clone, Copy)]
pub struct HashOutput {
    bytes: [u8; MAX_HASH_LENGTH],
    length: u8,
}

impl HashOutput {
    /// Takes the output of a hash function. Nothing is lost: none is longer than [`MAX_HASH_LENGTH`].
    pub(crate) fn from_digest(digest: &[u8]) -> Self {
        let mut bytes = [0; MAX_HASH_LENGTH];
        let mut length = 0;
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = *from;
            length += 1;
        }
        Self { bytes, length }
    }

    /// The bytes of the output.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The bytes of the output, as a vector.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl AsRef<[u8]> for HashOutput {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for HashOutput {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for HashOutput {}

impl PartialOrd for HashOutput {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HashOutput {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl core::hash::Hash for HashOutput {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for HashOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashOutput(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}
