//! Diffie-Hellman and signatures.

use core::marker::PhantomData;

use aws_lc_rs::{
    agreement::{self, agree},
    encoding::{AsBigEndian as _, Curve25519SeedBin, EcPrivateKeyBin},
    rand::SystemRandom,
    signature::{
        self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING,
        ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, Ed25519KeyPair,
        KeyPair as _,
    },
};
use rand_core::CryptoRng;

use crate::crypto::{
    CryptoError, HpkePrivateKey, Kdf, Secret, SignaturePrivateKey, SignatureScheme, SigningKey,
    VerifyingKey, curve25519,
    dhkem::DhGroup,
    nist::{self, NistCurve, P256, P384, P521},
    sha2::{SHA256, SHA384, SHA512},
};

pub(super) struct X25519;

impl DhGroup for X25519 {
    type Private = agreement::PrivateKey;
    type Public = agreement::ParsedPublicKey;

    const KEM_ID: u16 = curve25519::KEM_ID;
    const PRIVATE_LENGTH: usize = curve25519::KEY_LENGTH;
    const PUBLIC_LENGTH: usize = curve25519::KEY_LENGTH;
    const CANDIDATE_MASK: Option<u8> = None;

    fn kdf() -> &'static dyn Kdf {
        &SHA256
    }

    fn private_key(bytes: &[u8]) -> Result<Self::Private, CryptoError> {
        import_private(&agreement::X25519, bytes)
    }

    fn private_bytes(private: &Self::Private) -> Result<HpkePrivateKey, CryptoError> {
        let bytes: Curve25519SeedBin<'_> =
            private.as_be_bytes().map_err(|_| CryptoError::Backend("a key export"))?;
        Ok(HpkePrivateKey::from_slice(bytes.as_ref()))
    }

    fn public_of(private: &Self::Private) -> Result<Vec<u8>, CryptoError> {
        compute_public(private)
    }

    fn public_key(bytes: &[u8]) -> Result<Self::Public, CryptoError> {
        import_public(&agreement::X25519, &curve25519::check_x25519_public(bytes)?)
    }

    fn check_public(bytes: &[u8]) -> Result<(), CryptoError> {
        curve25519::check_x25519_public(bytes).map(drop)
    }

    fn agree(private: &Self::Private, public: &Self::Public) -> Result<Secret, CryptoError> {
        // With a parsed key the library fails for an all-zero result only.
        agree(private, public.clone(), CryptoError::DegenerateSharedSecret, |shared| {
            Ok(Secret::from_slice(shared))
        })
    }
}

/// What AWS-LC calls a NIST curve and ECDSA on it.
pub(super) trait Curve: NistCurve {
    const AGREEMENT: &'static agreement::Algorithm;
    const SIGNING: &'static EcdsaSigningAlgorithm;
    const VERIFICATION: &'static EcdsaVerificationAlgorithm;

    /// The KDF of the DHKEM.
    fn kdf() -> &'static dyn Kdf;

    /// Accepts an uncompressed encoding if it is a point of the curve.
    fn check_point(bytes: &[u8]) -> Result<(), CryptoError> {
        import_public(Self::AGREEMENT, bytes).map(drop)
    }
}

impl Curve for P256 {
    const AGREEMENT: &'static agreement::Algorithm = &agreement::ECDH_P256;
    const SIGNING: &'static EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    const VERIFICATION: &'static EcdsaVerificationAlgorithm = &ECDSA_P256_SHA256_ASN1;

    fn kdf() -> &'static dyn Kdf {
        &SHA256
    }

    /// Without the six blocks of memory that a key object of AWS-LC takes, and in a third of the time.
    #[cfg(feature = "rust-crypto-suite-2")]
    fn check_point(bytes: &[u8]) -> Result<(), CryptoError> {
        p256::PublicKey::from_sec1_bytes(bytes).map(drop).map_err(|_| CryptoError::InvalidPublicKey)
    }
}

impl Curve for P384 {
    const AGREEMENT: &'static agreement::Algorithm = &agreement::ECDH_P384;
    const SIGNING: &'static EcdsaSigningAlgorithm = &ECDSA_P384_SHA384_ASN1_SIGNING;
    const VERIFICATION: &'static EcdsaVerificationAlgorithm = &ECDSA_P384_SHA384_ASN1;

    fn kdf() -> &'static dyn Kdf {
        &SHA384
    }
}

impl Curve for P521 {
    const AGREEMENT: &'static agreement::Algorithm = &agreement::ECDH_P521;
    const SIGNING: &'static EcdsaSigningAlgorithm = &ECDSA_P521_SHA512_ASN1_SIGNING;
    const VERIFICATION: &'static EcdsaVerificationAlgorithm = &ECDSA_P521_SHA512_ASN1;

    fn kdf() -> &'static dyn Kdf {
        &SHA512
    }
}

/// Diffie-Hellman on a NIST curve.
pub(super) struct NistDh<C>(PhantomData<fn() -> C>);

impl<C: Curve> DhGroup for NistDh<C> {
    type Private = agreement::PrivateKey;
    type Public = agreement::ParsedPublicKey;

    const KEM_ID: u16 = C::KEM_ID;
    const PRIVATE_LENGTH: usize = C::PRIVATE_LENGTH;
    const PUBLIC_LENGTH: usize = C::PUBLIC_LENGTH;
    const CANDIDATE_MASK: Option<u8> = Some(C::FIRST_BYTE);

    fn kdf() -> &'static dyn Kdf {
        C::kdf()
    }

    fn private_key(bytes: &[u8]) -> Result<Self::Private, CryptoError> {
        nist::check_private_length::<C>(bytes)?;
        import_private(C::AGREEMENT, bytes)
    }

    fn private_bytes(private: &Self::Private) -> Result<HpkePrivateKey, CryptoError> {
        let bytes: EcPrivateKeyBin<'_> =
            private.as_be_bytes().map_err(|_| CryptoError::Backend("a key export"))?;
        Ok(HpkePrivateKey::from_slice(bytes.as_ref()))
    }

    fn public_of(private: &Self::Private) -> Result<Vec<u8>, CryptoError> {
        compute_public(private)
    }

    fn public_key(bytes: &[u8]) -> Result<Self::Public, CryptoError> {
        nist::check_encoding::<C>(bytes)?;
        import_public(C::AGREEMENT, bytes)
    }

    fn check_public(bytes: &[u8]) -> Result<(), CryptoError> {
        nist::check_encoding::<C>(bytes)?;
        C::check_point(bytes)
    }

    /// Drawn by the library: a key that comes from outside is multiplied with the base point twice, once to check it.
    fn fresh(_: &mut dyn CryptoRng) -> Result<Self::Private, CryptoError> {
        agreement::PrivateKey::generate(C::AGREEMENT)
            .map_err(|_| CryptoError::Backend("a key generation"))
    }

    fn agree(private: &Self::Private, public: &Self::Public) -> Result<Secret, CryptoError> {
        agree(private, public.clone(), CryptoError::Backend("a key agreement"), |shared| {
            Ok(Secret::from_slice(shared))
        })
    }
}

fn import_private(
    algorithm: &'static agreement::Algorithm,
    bytes: &[u8],
) -> Result<agreement::PrivateKey, CryptoError> {
    agreement::PrivateKey::from_private_key(algorithm, bytes)
        .map_err(|_| CryptoError::InvalidPrivateKey)
}

fn compute_public(private: &agreement::PrivateKey) -> Result<Vec<u8>, CryptoError> {
    let public = private.compute_public_key().map_err(|_| CryptoError::Backend("a public key"))?;
    Ok(public.as_ref().to_vec())
}

fn import_public(
    algorithm: &'static agreement::Algorithm,
    bytes: &[u8],
) -> Result<agreement::ParsedPublicKey, CryptoError> {
    agreement::UnparsedPublicKey::new(algorithm, bytes)
        .try_into()
        .map_err(|_| CryptoError::InvalidPublicKey)
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
        let key = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(Ed25519Private(key)))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        curve25519::check_ed25519_public(bytes)?;
        Ok(Box::new(Public::new(&ED25519, bytes)?))
    }
}

struct Ed25519Private(Ed25519KeyPair);

impl SigningKey for Ed25519Private {
    fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature = self.0.try_sign(message).map_err(|_| CryptoError::Backend("signing"))?;
        Ok(signature.as_ref().to_vec())
    }

    fn export(&self) -> Result<SignaturePrivateKey, CryptoError> {
        let seed = self.0.seed().map_err(|_| CryptoError::Backend("a key export"))?;
        let bytes: Curve25519SeedBin<'_> =
            seed.as_be_bytes().map_err(|_| CryptoError::Backend("a key export"))?;
        Ok(SignaturePrivateKey::from_slice(bytes.as_ref()))
    }
}

/// ECDSA on a NIST curve.
pub(super) struct Ecdsa<C>(PhantomData<fn() -> C>);

impl<C> Ecdsa<C> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: Curve> SignatureScheme for Ecdsa<C> {
    fn id(&self) -> u16 {
        C::SCHEME
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError> {
        nist::generate::<C>(self, rng)
    }

    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        nist::check_private_length::<C>(bytes)?;
        let public = compute_public(&import_private(C::AGREEMENT, bytes)?)?;
        let key = EcdsaKeyPair::from_private_key_and_public_key(C::SIGNING, bytes, &public)
            .map_err(|_| CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(EcdsaPrivate(key)))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        nist::check_encoding::<C>(bytes)?;
        Ok(Box::new(Public::new(C::VERIFICATION, bytes)?))
    }
}

struct EcdsaPrivate(EcdsaKeyPair);

impl SigningKey for EcdsaPrivate {
    fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|_| CryptoError::Backend("signing"))?;
        Ok(signature.as_ref().to_vec())
    }

    fn export(&self) -> Result<SignaturePrivateKey, CryptoError> {
        let bytes: EcPrivateKeyBin<'_> =
            self.0.private_key().as_be_bytes().map_err(|_| CryptoError::Backend("a key export"))?;
        Ok(SignaturePrivateKey::from_slice(bytes.as_ref()))
    }
}

struct Public(signature::ParsedPublicKey);

impl Public {
    fn new(
        algorithm: &'static dyn signature::VerificationAlgorithm,
        bytes: &[u8],
    ) -> Result<Self, CryptoError> {
        let key = signature::ParsedPublicKey::new(algorithm, bytes)
            .map_err(|_| CryptoError::InvalidPublicKey)?;
        Ok(Self(key))
    }
}

impl VerifyingKey for Public {
    fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.0.verify_sig(message, signature).map_err(|_| CryptoError::InvalidSignature)
    }
}
