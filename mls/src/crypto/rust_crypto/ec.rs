//! Diffie-Hellman and signatures.
//!
//! P-256 is the slow part of this backend: one Diffie-Hellman of `p256` costs several times what AWS-LC needs.

use core::fmt;

use p256::{
    ecdsa::{
        DerSignature,
        signature::{Signer as _, Verifier as _},
    },
    elliptic_curve::{ecdh::diffie_hellman, sec1::ToSec1Point as _},
};
use rand_core::CryptoRng;
use x25519_dalek::StaticSecret;
use zeroize::Zeroize;

use super::symmetric::SHA256;
use crate::crypto::{
    CryptoError, HpkePrivateKey, Kdf, Secret, SignaturePrivateKey, SignatureScheme, SigningKey,
    VerifyingKey, dhkem::DhGroup, ed25519, p256 as curve, x25519,
};

pub(super) struct X25519;

impl DhGroup for X25519 {
    type Private = StaticSecret;
    type Public = x25519_dalek::PublicKey;

    const KEM_ID: u16 = 0x0020;
    const PRIVATE_LENGTH: usize = 32;
    const PUBLIC_LENGTH: usize = x25519::PUBLIC_KEY_LENGTH;
    const CANDIDATE_MASK: Option<u8> = None;

    fn kdf() -> &'static dyn Kdf {
        &SHA256
    }

    fn private_key(bytes: &[u8]) -> Result<StaticSecret, CryptoError> {
        let mut array: [u8; 32] = bytes.try_into().map_err(|_| CryptoError::InvalidPrivateKey)?;
        let key = StaticSecret::from(array);
        array.zeroize();
        Ok(key)
    }

    fn private_bytes(private: &StaticSecret) -> Result<HpkePrivateKey, CryptoError> {
        Ok(HpkePrivateKey::from_slice(private.as_bytes()))
    }

    fn public_of(private: &StaticSecret) -> Result<Vec<u8>, CryptoError> {
        Ok(x25519_dalek::PublicKey::from(private).as_bytes().to_vec())
    }

    fn public_key(bytes: &[u8]) -> Result<Self::Public, CryptoError> {
        Ok(x25519::check_public_key(bytes)?.into())
    }

    fn agree(private: &StaticSecret, public: &Self::Public) -> Result<Secret, CryptoError> {
        let shared = private.diffie_hellman(public);
        if !shared.was_contributory() {
            return Err(CryptoError::DegenerateSharedSecret);
        }
        Ok(Secret::from_slice(shared.as_bytes()))
    }
}

pub(super) struct P256Dh;

impl DhGroup for P256Dh {
    type Private = p256::SecretKey;
    type Public = p256::PublicKey;

    const KEM_ID: u16 = 0x0010;
    const PRIVATE_LENGTH: usize = curve::PRIVATE_KEY_LENGTH;
    const PUBLIC_LENGTH: usize = curve::PUBLIC_KEY_LENGTH;
    const CANDIDATE_MASK: Option<u8> = Some(0xff);

    fn kdf() -> &'static dyn Kdf {
        &SHA256
    }

    fn private_key(bytes: &[u8]) -> Result<p256::SecretKey, CryptoError> {
        curve::check_private_length(bytes)?;
        p256::SecretKey::from_slice(bytes).map_err(|_| CryptoError::InvalidPrivateKey)
    }

    fn private_bytes(private: &p256::SecretKey) -> Result<HpkePrivateKey, CryptoError> {
        let mut bytes = private.to_bytes();
        let key = HpkePrivateKey::from_slice(&bytes);
        bytes.as_mut_slice().zeroize();
        Ok(key)
    }

    fn public_of(private: &p256::SecretKey) -> Result<Vec<u8>, CryptoError> {
        Ok(private.public_key().to_sec1_point(false).as_bytes().to_vec())
    }

    fn public_key(bytes: &[u8]) -> Result<p256::PublicKey, CryptoError> {
        curve::check_encoding(bytes)?;
        p256::PublicKey::from_sec1_bytes(bytes).map_err(|_| CryptoError::InvalidPublicKey)
    }

    fn agree(private: &p256::SecretKey, public: &p256::PublicKey) -> Result<Secret, CryptoError> {
        let shared = diffie_hellman(private.to_nonzero_scalar(), public.as_affine());
        Ok(Secret::from_slice(shared.raw_secret_bytes()))
    }
}

/// Ed25519.
pub(super) struct Ed25519;

impl SignatureScheme for Ed25519 {
    fn id(&self) -> u16 {
        ed25519::SCHEME
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError> {
        self.signing_key(Secret::random(ed25519::PRIVATE_KEY_LENGTH, rng).as_bytes())
    }

    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let seed = ed25519::check_private_key(bytes)?;
        Ok(Box::new(Ed25519Private(ed25519_dalek::SigningKey::from_bytes(seed))))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        let bytes = *ed25519::check_public_key(bytes)?;
        let point = ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok();
        Ok(Box::new(Ed25519Public { point, bytes }))
    }
}

struct Ed25519Private(ed25519_dalek::SigningKey);

impl SigningKey for Ed25519Private {
    fn public(&self) -> &[u8] {
        self.0.as_ref().as_bytes()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature = self.0.try_sign(message).map_err(|_| CryptoError::Backend("signing"))?;
        Ok(signature.to_bytes().to_vec())
    }

    fn export(&self) -> Result<SignaturePrivateKey, CryptoError> {
        Ok(SignaturePrivateKey::from_slice(self.0.as_bytes()))
    }
}

impl fmt::Debug for Ed25519Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// Without a point no signature verifies: bytes that are not one are found out where AWS-LC does.
struct Ed25519Public {
    point: Option<ed25519_dalek::VerifyingKey>,
    bytes: [u8; ed25519::PUBLIC_KEY_LENGTH],
}

impl VerifyingKey for Ed25519Public {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let point = self.point.as_ref().ok_or(CryptoError::InvalidSignature)?;
        let signature = ed25519_dalek::Signature::from_slice(signature)
            .map_err(|_| CryptoError::InvalidSignature)?;
        // Not `verify_strict`: it also refuses a small-order R, which AWS-LC accepts.
        point.verify(message, &signature).map_err(|_| CryptoError::InvalidSignature)
    }
}

impl fmt::Debug for Ed25519Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({:02x?})", self.bytes)
    }
}

/// ECDSA on P-256 with SHA-256.
pub(super) struct P256;

impl SignatureScheme for P256 {
    fn id(&self) -> u16 {
        curve::SCHEME
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError> {
        curve::generate(self, rng)
    }

    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        curve::check_private_length(bytes)?;
        let key = p256::ecdsa::SigningKey::from_slice(bytes)
            .map_err(|_| CryptoError::InvalidPrivateKey)?;
        let public = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        Ok(Box::new(P256Private { key, public }))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        curve::check_encoding(bytes)?;
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes)
            .map_err(|_| CryptoError::InvalidPublicKey)?;
        Ok(Box::new(P256Public { key, bytes: bytes.into() }))
    }
}

struct P256Private {
    key: p256::ecdsa::SigningKey,
    public: Vec<u8>,
}

impl SigningKey for P256Private {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature: DerSignature =
            self.key.try_sign(message).map_err(|_| CryptoError::Backend("signing"))?;
        Ok(signature.as_bytes().to_vec())
    }

    fn export(&self) -> Result<SignaturePrivateKey, CryptoError> {
        let mut bytes = self.key.to_bytes();
        let key = SignaturePrivateKey::from_slice(&bytes);
        bytes.as_mut_slice().zeroize();
        Ok(key)
    }
}

impl fmt::Debug for P256Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

struct P256Public {
    key: p256::ecdsa::VerifyingKey,
    bytes: Box<[u8]>,
}

impl VerifyingKey for P256Public {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature =
            DerSignature::try_from(signature).map_err(|_| CryptoError::InvalidSignature)?;
        self.key.verify(message, &signature).map_err(|_| CryptoError::InvalidSignature)
    }
}

impl fmt::Debug for P256Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({:02x?})", self.bytes)
    }
}
