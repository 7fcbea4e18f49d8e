//! Signatures on kept key objects.

use core::fmt;

use rand_core::CryptoRng;

use super::{CryptoError, SignaturePrivateKey};

/// A signature scheme (RFC 9420 section 5.1.1; the numbers are those of the TLS SignatureScheme registry).
pub trait SignatureScheme: Send + Sync {
    /// The identifier in the TLS SignatureScheme registry.
    fn id(&self) -> u16;

    /// Makes a key pair from fresh randomness. The same randomness gives the same key with every backend.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Backend`] when the library fails.
    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError>;

    /// Imports a private key and computes its public key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::WrongLength`] or [`CryptoError::InvalidPrivateKey`].
    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError>;

    /// Parses and validates a public key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::WrongLength`] or [`CryptoError::InvalidPublicKey`].
    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError>;
}

/// A private key of a [`SignatureScheme`], with its public key at hand.
pub trait SigningKey: Send + Sync {
    /// The bytes of the public key.
    fn public(&self) -> &[u8];

    /// Signs `message`.
    ///
    /// Ed25519 is deterministic, and so is ECDSA in the RustCrypto backend (RFC 6979). ECDSA in the AWS-LC backend draws
    /// its nonce from the library's own generator: a run that must be repeatable byte for byte needs another suite.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Backend`] when the library fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// The bytes of the private key, for storage.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Backend`] when the library fails.
    fn export(&self) -> Result<SignaturePrivateKey, CryptoError>;
}

impl fmt::Debug for dyn SigningKey + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// A parsed and validated public key of a [`SignatureScheme`].
pub trait VerifyingKey: Send + Sync {
    /// The bytes of the key.
    fn as_bytes(&self) -> &[u8];

    /// Checks that `signature` was made over `message` by the owner of this key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::InvalidSignature`], also for a malformed signature.
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError>;
}

impl fmt::Debug for dyn VerifyingKey + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({:02x?})", self.as_bytes())
    }
}
