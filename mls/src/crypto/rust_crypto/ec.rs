//! Diffie-Hellman and signatures.
//!
//! The NIST curves are the slow part of this backend: one Diffie-Hellman of `p256` costs several times what AWS-LC needs.

use core::marker::PhantomData;

use p256::{
    NistP256,
    ecdsa::signature::{Signer, Verifier},
    elliptic_curve::{
        self, CurveArithmetic, PublicKey, SecretKey,
        ecdh::diffie_hellman,
        sec1::{FromSec1Point, ModulusSize, ToSec1Point},
    },
};
use p384::NistP384;
use p521::NistP521;
use rand_core::CryptoRng;
use x25519_dalek::StaticSecret;
use zeroize::Zeroize;

use crate::crypto::{
    CryptoError, HpkePrivateKey, Kdf, Secret, SignaturePrivateKey, SignatureScheme, SigningKey,
    VerifyingKey, curve25519,
    dhkem::DhGroup,
    nist::{self, NistCurve},
    sha2::{SHA256, SHA384, SHA512},
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

/// What RustCrypto calls a NIST curve and ECDSA on it.
pub(super) trait Curve:
    CurveArithmetic<AffinePoint: FromSec1Point<Self> + ToSec1Point<Self>>
    + elliptic_curve::Curve<FieldBytesSize: ModulusSize>
{
    type Parameters: NistCurve;
    type Signing: From<SecretKey<Self>> + Signer<Self::Signature> + Send + Sync + 'static;
    type Verifying: From<PublicKey<Self>> + Verifier<Self::Signature> + Send + Sync + 'static;
    /// A signature in DER.
    type Signature: for<'a> TryFrom<&'a [u8]> + AsRef<[u8]>;

    /// The KDF of the DHKEM.
    fn kdf() -> &'static dyn Kdf;
}

impl Curve for NistP256 {
    type Parameters = nist::P256;
    type Signing = p256::ecdsa::SigningKey;
    type Verifying = p256::ecdsa::VerifyingKey;
    type Signature = p256::ecdsa::DerSignature;

    fn kdf() -> &'static dyn Kdf {
        &SHA256
    }
}

impl Curve for NistP384 {
    type Parameters = nist::P384;
    type Signing = p384::ecdsa::SigningKey;
    type Verifying = p384::ecdsa::VerifyingKey;
    type Signature = p384::ecdsa::DerSignature;

    fn kdf() -> &'static dyn Kdf {
        &SHA384
    }
}

impl Curve for NistP521 {
    type Parameters = nist::P521;
    type Signing = p521::ecdsa::SigningKey;
    type Verifying = p521::ecdsa::VerifyingKey;
    type Signature = p521::ecdsa::DerSignature;

    fn kdf() -> &'static dyn Kdf {
        &SHA512
    }
}

fn private_key<C: Curve>(bytes: &[u8]) -> Result<SecretKey<C>, CryptoError> {
    nist::check_private_length::<C::Parameters>(bytes)?;
    SecretKey::from_slice(bytes).map_err(|_| CryptoError::InvalidPrivateKey)
}

fn private_bytes<C: Curve>(key: &SecretKey<C>) -> Secret {
    let mut bytes = key.to_bytes();
    let secret = Secret::from_slice(&bytes);
    bytes.as_mut_slice().zeroize();
    secret
}

fn public_of<C: Curve>(key: &SecretKey<C>) -> Vec<u8> {
    key.public_key().to_sec1_point(false).as_bytes().to_vec()
}

fn public_key<C: Curve>(bytes: &[u8]) -> Result<PublicKey<C>, CryptoError> {
    nist::check_encoding::<C::Parameters>(bytes)?;
    PublicKey::from_sec1_bytes(bytes).map_err(|_| CryptoError::InvalidPublicKey)
}

/// Diffie-Hellman on a NIST curve.
pub(super) struct NistDh<C>(PhantomData<fn() -> C>);

impl<C: Curve> DhGroup for NistDh<C> {
    type Private = SecretKey<C>;
    type Public = PublicKey<C>;

    const KEM_ID: u16 = C::Parameters::KEM_ID;
    const PRIVATE_LENGTH: usize = C::Parameters::PRIVATE_LENGTH;
    const PUBLIC_LENGTH: usize = C::Parameters::PUBLIC_LENGTH;
    const CANDIDATE_MASK: Option<u8> = Some(C::Parameters::FIRST_BYTE);

    fn kdf() -> &'static dyn Kdf {
        C::kdf()
    }

    fn private_key(bytes: &[u8]) -> Result<SecretKey<C>, CryptoError> {
        private_key(bytes)
    }

    fn private_bytes(private: &SecretKey<C>) -> Result<HpkePrivateKey, CryptoError> {
        Ok(private_bytes(private).into())
    }

    fn public_of(private: &SecretKey<C>) -> Result<Vec<u8>, CryptoError> {
        Ok(public_of(private))
    }

    fn public_key(bytes: &[u8]) -> Result<PublicKey<C>, CryptoError> {
        public_key(bytes)
    }

    fn agree(private: &SecretKey<C>, public: &PublicKey<C>) -> Result<Secret, CryptoError> {
        let shared = diffie_hellman::<C>(private.to_nonzero_scalar(), *public.as_affine());
        Ok(Secret::from_slice(shared.raw_secret_bytes()))
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

/// ECDSA on a NIST curve.
pub(super) struct Ecdsa<C>(PhantomData<fn() -> C>);

impl<C> Ecdsa<C> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: Curve> SignatureScheme for Ecdsa<C> {
    fn id(&self) -> u16 {
        C::Parameters::SCHEME
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError> {
        nist::generate::<C::Parameters>(self, rng)
    }

    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let secret = private_key::<C>(bytes)?;
        let public = public_of(&secret);
        Ok(Box::new(EcdsaPrivate::<C> { signing: secret.clone().into(), secret, public }))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        let key = public_key::<C>(bytes)?.into();
        Ok(Box::new(EcdsaPublic::<C> { key, bytes: bytes.into() }))
    }
}

/// The library's signing key does not give its scalar back in a way that serves every curve.
struct EcdsaPrivate<C: Curve> {
    signing: C::Signing,
    secret: SecretKey<C>,
    public: Vec<u8>,
}

impl<C: Curve> SigningKey for EcdsaPrivate<C> {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature =
            self.signing.try_sign(message).map_err(|_| CryptoError::Backend("signing"))?;
        Ok(signature.as_ref().to_vec())
    }

    fn export(&self) -> Result<SignaturePrivateKey, CryptoError> {
        Ok(private_bytes(&self.secret).into())
    }
}

struct EcdsaPublic<C: Curve> {
    key: C::Verifying,
    bytes: Box<[u8]>,
}

impl<C: Curve> VerifyingKey for EcdsaPublic<C> {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature =
            C::Signature::try_from(signature).map_err(|_| CryptoError::InvalidSignature)?;
        self.key.verify(message, &signature).map_err(|_| CryptoError::InvalidSignature)
    }
}
