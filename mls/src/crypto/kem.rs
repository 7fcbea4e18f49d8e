//! Key encapsulation on kept key objects: nothing is parsed or recomputed when a key is used again.

use core::fmt;

use rand_core::CryptoRng;

use super::{CryptoError, HpkePrivateKey, Secret};

/// A key encapsulation mechanism of HPKE (RFC 9180 section 4).
pub trait Kem: Send + Sync {
    /// The identifier in the IANA registry of HPKE KEMs.
    fn id(&self) -> u16;

    /// The length of a public key in bytes, `Npk`.
    fn public_key_length(&self) -> usize;

    /// The length of a private key in bytes, `Nsk`.
    fn private_key_length(&self) -> usize;

    /// Makes a key pair from fresh randomness. The same randomness gives the same key with every backend.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Backend`] when the library fails.
    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn KemPrivateKey>, CryptoError>;

    /// Makes a key pair in the fastest way that the backend has: it may draw the key itself.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Backend`] when the library fails.
    fn fresh(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        self.generate(rng)
    }

    /// `DeriveKeyPair` (RFC 9180 section 7.1.3): the key pair that belongs to `ikm`.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Backend`] when the library fails.
    fn derive_key_pair(&self, ikm: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError>;

    /// Imports a private key and computes its public key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::WrongLength`] or [`CryptoError::InvalidPrivateKey`].
    fn private_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError>;

    /// Checks what can be said of a KEM output without the private key that it is for.
    ///
    /// # Errors
    ///
    /// [`CryptoError::InvalidKemOutput`].
    fn check_kem_output(&self, bytes: &[u8]) -> Result<(), CryptoError>;

    /// Validates a public key that is not going to be used.
    ///
    /// # Errors
    ///
    /// Those of [`Kem::public_key`].
    fn check_public_key(&self, bytes: &[u8]) -> Result<(), CryptoError> {
        self.public_key(bytes).map(drop)
    }

    /// Parses and validates a public key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::WrongLength`] or [`CryptoError::InvalidPublicKey`].
    fn public_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPublicKey>, CryptoError>;
}

/// A private key of a [`Kem`], with its public key at hand.
pub trait KemPrivateKey: Send + Sync {
    /// The bytes of the public key.
    fn public(&self) -> &[u8];

    /// The shared secret that `kem_output` carries.
    ///
    /// # Errors
    ///
    /// [`CryptoError::InvalidKemOutput`] or [`CryptoError::DegenerateSharedSecret`].
    fn decap(&self, kem_output: &[u8]) -> Result<Secret, CryptoError>;

    /// The bytes of the private key, for storage.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Backend`] when the library fails.
    fn export(&self) -> Result<HpkePrivateKey, CryptoError>;
}

impl fmt::Debug for dyn KemPrivateKey + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemPrivateKey(redacted)")
    }
}

/// A parsed and validated public key of a [`Kem`].
pub trait KemPublicKey: Send + Sync {
    /// The bytes of the key.
    fn as_bytes(&self) -> &[u8];

    /// Makes a shared secret and the message from which the owner of the private key recovers it.
    ///
    /// On a NIST curve the AWS-LC backend draws the ephemeral key from the library's own generator, which takes half the time: a
    /// run that must be repeatable byte for byte needs another suite, as it does for signatures.
    ///
    /// # Errors
    ///
    /// [`CryptoError::DegenerateSharedSecret`].
    fn encap(&self, rng: &mut dyn CryptoRng) -> Result<Encapsulation, CryptoError>;
}

impl fmt::Debug for dyn KemPublicKey + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KemPublicKey({:02x?})", self.as_bytes())
    }
}

/// What [`KemPublicKey::encap`] makes.
#[derive(Debug)]
pub struct Encapsulation {
    /// Goes to the owner of the private key; public.
    pub kem_output: Vec<u8>,
    /// Stays here.
    pub shared_secret: Secret,
}
