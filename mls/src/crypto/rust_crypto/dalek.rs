//! X25519 and Ed25519.

use ed25519_dalek::{Signer, Verifier};
use rand_core::CryptoRng;
use x25519_dalek::StaticSecret;
use zeroize::Zeroize;

use crate::crypto::{
    CryptoError, HpkePrivateKey, Kdf, Secret, SignaturePrivateKey, SignatureScheme, SigningKey,
    VerifyingKey, curve25519, dhkem::DhGroup, sha2::SHA256,
};

pub(super) struct X25519;

impl DhGroup for X25519 {
    type Private = StaticSecret;
    type Public = x25519_dalek::PublicKey;

    const KEM_ID: u16 = curve25519::KEM_ID;
    const PRIVATE_LENGTH: usize = curve25519::KEY_LENGTH;
    const PUBLIC_LENGTH: usize = curve25519::KEY_LENGTH;
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
        Ok(curve25519::check_x25519_public(bytes)?.into())
    }

    fn agree(private: &StaticSecret, public: &Self::Public) -> Result<Secret, CryptoError> {
        let shared = private.diffie_hellman(public);
        if !shared.was_contributory() {
            return Err(CryptoError::DegenerateSharedSecret);
        }
        Ok(Secret::from_slice(shared.as_bytes()))
    }
}

/// Ed25519.
pub(super) struct Ed25519;

impl SignatureScheme for Ed25519 {
    fn id(&self) -> u16 {
        curve25519::SCHEME
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError> {
        self.signing_key(Secret::random(curve25519::KEY_LENGTH, rng).as_bytes())
    }

    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let seed = curve25519::check_ed25519_private(bytes)?;
        Ok(Box::new(Ed25519Private(ed25519_dalek::SigningKey::from_bytes(seed))))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        let bytes = *curve25519::check_ed25519_public(bytes)?;
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

/// Without a point no signature verifies: bytes that are not one are found out where AWS-LC does.
struct Ed25519Public {
    point: Option<ed25519_dalek::VerifyingKey>,
    bytes: [u8; curve25519::KEY_LENGTH],
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
