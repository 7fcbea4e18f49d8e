//! The SFrame cipher suites (RFC 9605 section 4.5 and the IANA registry of section 8.1).

use thiserror::Error;

/// An SFrame cipher suite by its registered number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
#[repr(u16)]
pub enum CipherSuite {
    /// AES-128 in counter mode with HMAC-SHA256, tag of 10 bytes.
    Aes128CtrHmacSha256_80 = 1,
    /// AES-128 in counter mode with HMAC-SHA256, tag of 8 bytes.
    Aes128CtrHmacSha256_64 = 2,
    /// AES-128 in counter mode with HMAC-SHA256, tag of 4 bytes.
    Aes128CtrHmacSha256_32 = 3,
    /// AES-128-GCM with HKDF-SHA256, tag of 16 bytes.
    Aes128GcmSha256_128 = 4,
    /// AES-256-GCM with HKDF-SHA512, tag of 16 bytes.
    Aes256GcmSha512_128 = 5,
    /// AES-256 in counter mode with HMAC-SHA512, tag of 10 bytes.
    Aes256CtrHmacSha512_80 = 6,
    /// AES-256 in counter mode with HMAC-SHA512, tag of 8 bytes.
    Aes256CtrHmacSha512_64 = 7,
    /// AES-256 in counter mode with HMAC-SHA512, tag of 4 bytes.
    Aes256CtrHmacSha512_32 = 8,
}

/// The number names no cipher suite known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("expected a known sframe cipher suite, found {0}")]
pub struct UnknownSuite(pub u16);

impl CipherSuite {
    /// Every suite, in the order of the registry.
    pub const ALL: [Self; 8] = [
        Self::Aes128CtrHmacSha256_80,
        Self::Aes128CtrHmacSha256_64,
        Self::Aes128CtrHmacSha256_32,
        Self::Aes128GcmSha256_128,
        Self::Aes256GcmSha512_128,
        Self::Aes256CtrHmacSha512_80,
        Self::Aes256CtrHmacSha512_64,
        Self::Aes256CtrHmacSha512_32,
    ];

    /// The registered number.
    pub const fn id(self) -> u16 {
        self as u16
    }

    /// `AEAD.Nk`: bytes of the AEAD key, which is also the length of a base key.
    pub const fn key_length(self) -> usize {
        match self {
            Self::Aes128GcmSha256_128 => 16,
            Self::Aes256GcmSha512_128 => 32,
            _ => self.encryption_key_length() + self.hash_length(),
        }
    }

    /// `AEAD.Nka`: bytes of the AES key inside the AEAD key.
    pub const fn encryption_key_length(self) -> usize {
        match self {
            Self::Aes128CtrHmacSha256_80
            | Self::Aes128CtrHmacSha256_64
            | Self::Aes128CtrHmacSha256_32
            | Self::Aes128GcmSha256_128 => 16,
            _ => 32,
        }
    }

    /// `AEAD.Nt`: bytes that encryption adds after the plaintext.
    pub const fn tag_length(self) -> usize {
        match self {
            Self::Aes128GcmSha256_128 | Self::Aes256GcmSha512_128 => 16,
            Self::Aes128CtrHmacSha256_80 | Self::Aes256CtrHmacSha512_80 => 10,
            Self::Aes128CtrHmacSha256_64 | Self::Aes256CtrHmacSha512_64 => 8,
            Self::Aes128CtrHmacSha256_32 | Self::Aes256CtrHmacSha512_32 => 4,
        }
    }

    /// `Hash.Nh`: bytes of the hash function's output.
    pub const fn hash_length(self) -> usize {
        match self {
            Self::Aes128CtrHmacSha256_80
            | Self::Aes128CtrHmacSha256_64
            | Self::Aes128CtrHmacSha256_32
            | Self::Aes128GcmSha256_128 => 32,
            _ => 64,
        }
    }
}

impl TryFrom<u16> for CipherSuite {
    type Error = UnknownSuite;

    fn try_from(id: u16) -> Result<Self, UnknownSuite> {
        Self::ALL.into_iter().find(|suite| suite.id() == id).ok_or(UnknownSuite(id))
    }
}
