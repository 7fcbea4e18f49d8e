//! X448 and Ed448, over crates that are pre-releases.
//!
//! Which keys and signatures are accepted follows the rule for the smaller curve (`crypto::curve25519`): canonical
//! encodings only, no key of small order. The library leaves open what is checked here. Beyond that it refuses an Ed448 key
//! or R outside the subgroup of prime order, and signatures whose R is the neutral element or whose S is zero, none of which
//! a signer makes.

use ed448_goldilocks::{SigningKey as Ed448Key, VerifyingKey as Ed448Point};
use rand_core::CryptoRng;
use x448::StaticSecret;
use zeroize::Zeroize;

use crate::crypto::{
    CryptoError, HpkePrivateKey, Kdf, Secret, SignaturePrivateKey, SignatureScheme, SigningKey,
    VerifyingKey, curve25519::is_below, dhkem::DhGroup, error::exactly, sha2::SHA512,
};

/// Length in bytes of a coordinate and of an X448 key.
const COORDINATE: usize = 56;
/// Length in bytes of an Ed448 private or public key, and of each half of a signature.
const ED448_LENGTH: usize = 57;
/// The code point of `ed448` in the TLS SignatureScheme registry.
const SCHEME: u16 = 0x0808;

/// 2^448 - 2^224 - 1, little-endian.
const PRIME: [u8; COORDINATE] = {
    let mut bytes = [0xff; COORDINATE];
    bytes[COORDINATE / 2] = 0xfe;
    bytes
};

/// Checks a u or y coordinate: reduced, and not 0, 1 or -1, which are the coordinates of small order on both curves.
fn check_coordinate(bytes: &[u8; COORDINATE]) -> Result<(), CryptoError> {
    let [first, rest @ ..] = bytes;
    let [_, of_prime @ ..] = &PRIME;
    let low = *first <= 1 && rest.iter().all(|byte| *byte == 0);
    let minus_one = *first == 0xfe && rest == of_prime;
    if is_below(bytes, &PRIME) && !low && !minus_one {
        Ok(())
    } else {
        Err(CryptoError::InvalidPublicKey)
    }
}

/// Checks the encoding of a point: y, then one byte with the sign of x in its highest bit.
fn check_point(bytes: &[u8; ED448_LENGTH]) -> Result<(), CryptoError> {
    match bytes.split_last_chunk::<1>() {
        Some((y, [0x00 | 0x80])) => check_coordinate(exactly("an ed448 coordinate", y)?),
        _ => Err(CryptoError::InvalidPublicKey),
    }
}

pub(super) struct X448;

impl DhGroup for X448 {
    type Private = StaticSecret;
    type Public = x448::PublicKey;

    const KEM_ID: u16 = 0x0021;
    const PRIVATE_LENGTH: usize = COORDINATE;
    const PUBLIC_LENGTH: usize = COORDINATE;
    const CANDIDATE_MASK: Option<u8> = None;

    fn kdf() -> &'static dyn Kdf {
        &SHA512
    }

    fn private_key(bytes: &[u8]) -> Result<StaticSecret, CryptoError> {
        let mut array: [u8; COORDINATE] = *exactly("an x448 private key", bytes)?;
        let key = StaticSecret::from(array);
        array.zeroize();
        Ok(key)
    }

    fn private_bytes(private: &StaticSecret) -> Result<HpkePrivateKey, CryptoError> {
        Ok(HpkePrivateKey::from_slice(private.as_bytes()))
    }

    fn public_of(private: &StaticSecret) -> Result<Vec<u8>, CryptoError> {
        Ok(x448::PublicKey::from(private).as_bytes().to_vec())
    }

    fn public_key(bytes: &[u8]) -> Result<x448::PublicKey, CryptoError> {
        check_coordinate(exactly("an x448 public key", bytes)?)?;
        x448::PublicKey::from_bytes(bytes).ok_or(CryptoError::InvalidPublicKey)
    }

    fn agree(private: &StaticSecret, public: &x448::PublicKey) -> Result<Secret, CryptoError> {
        let shared = Secret::from_slice(private.diffie_hellman(public).as_bytes());
        if shared == Secret::zeroed(COORDINATE) {
            return Err(CryptoError::DegenerateSharedSecret);
        }
        Ok(shared)
    }
}

pub(super) struct Ed448;

impl SignatureScheme for Ed448 {
    fn id(&self) -> u16 {
        SCHEME
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError> {
        self.signing_key(Secret::random(ED448_LENGTH, rng).as_bytes())
    }

    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let seed: &[u8; ED448_LENGTH] = exactly("an ed448 private key", bytes)?;
        let key = Ed448Key::try_from(&seed[..]).map_err(|_| CryptoError::InvalidPrivateKey)?;
        let public = key.verifying_key().to_bytes();
        Ok(Box::new(Private { key, public }))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        let point = exactly("an ed448 public key", bytes)?;
        check_point(point)?;
        let point = Ed448Point::from_bytes(point).map_err(|_| CryptoError::InvalidPublicKey)?;
        Ok(Box::new(Public(point)))
    }
}

struct Private {
    key: Ed448Key,
    public: [u8; ED448_LENGTH],
}

impl SigningKey for Private {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(self.key.sign_raw(message).to_bytes().to_vec())
    }

    fn export(&self) -> Result<SignaturePrivateKey, CryptoError> {
        Ok(SignaturePrivateKey::from_slice(self.key.as_bytes()))
    }
}

struct Public(Ed448Point);

impl VerifyingKey for Public {
    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let refused = |_| CryptoError::InvalidSignature;
        let signature = ed448_goldilocks::Signature::from_slice(signature)
            .map_err(|_| CryptoError::InvalidSignature)?;
        check_point(signature.r_bytes()).map_err(refused)?;
        self.0.verify_raw(&signature, message).map_err(|_| CryptoError::InvalidSignature)
    }
}
