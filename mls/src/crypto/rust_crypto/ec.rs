//! Diffie-Hellman and ECDSA on the NIST curves.
//!
//! They are the slow part of this backend: one Diffie-Hellman of `p256` costs several times what AWS-LC needs.

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
use rand_core::CryptoRng;
use zeroize::Zeroize;

use crate::crypto::{
    CryptoError, HpkePrivateKey, Kdf, Secret, SignaturePrivateKey, SignatureScheme, SigningKey,
    VerifyingKey,
    dhkem::DhGroup,
    nist::{self, NistCurve},
    sha2::SHA256,
};

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
