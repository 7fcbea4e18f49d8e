//! X-Wing: the KEM that stays secret as long as ML-KEM-768 or X25519 does (draft-connolly-cfrg-xwing-kem). HPKE knows it as
//! MLKEM768-X25519 (draft-ietf-hpke-pq), which says how a key pair is derived.
//!
//! In every backend the KEM is the one in pure Rust: a private key is a seed of 32 bytes, and AWS-LC makes no ML-KEM key
//! from a given seed.

use rand_core::CryptoRng;
use shake::{ExtendableOutput as _, Shake256, Update as _, XofReader as _};
use x_wing::{
    CIPHERTEXT_SIZE, Ciphertext, DECAPSULATION_KEY_SIZE, Decapsulate as _, DecapsulationKey,
    Decapsulator as _, ENCAPSULATION_KEY_SIZE, Encapsulate as _, EncapsulationKey, KeyExport as _,
    SharedKey,
};
use zeroize::Zeroize as _;

use super::{
    CryptoError, Encapsulation, HpkePrivateKey, Kem, KemPrivateKey, KemPublicKey, Secret,
    curve25519::check_x25519_public,
    error::{check_length, exactly},
};

/// The identifier in the IANA registry of HPKE KEMs.
const KEM_ID: u16 = 0x647a;

pub(crate) struct XWing;

impl Kem for XWing {
    fn id(&self) -> u16 {
        KEM_ID
    }

    fn public_key_length(&self) -> usize {
        ENCAPSULATION_KEY_SIZE
    }

    fn private_key_length(&self) -> usize {
        DECAPSULATION_KEY_SIZE
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        self.private_key(Secret::random(DECAPSULATION_KEY_SIZE, rng).as_bytes())
    }

    /// `SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", 32)` (draft-ietf-hpke-pq section 4).
    fn derive_key_pair(&self, ikm: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        const LABEL: &[u8] = b"\x00\x0dDeriveKeyPair";
        const LENGTH: &[u8] = b"\x00\x20";
        let mut shake = Shake256::default();
        for part in [ikm, b"HPKE-v1", b"KEM", &KEM_ID.to_be_bytes(), LABEL, LENGTH] {
            shake.update(part);
        }
        let mut seed = Secret::zeroed(DECAPSULATION_KEY_SIZE);
        shake.finalize_xof().read(seed.as_mut_bytes());
        self.private_key(seed.as_bytes())
    }

    fn private_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        let mut seed: [u8; DECAPSULATION_KEY_SIZE] = *exactly("a kem private key", bytes)?;
        let key = DecapsulationKey::from(seed);
        seed.zeroize();
        let public = key.encapsulation_key().to_bytes().to_vec();
        Ok(Box::new(Private { key: Box::new(key), public }))
    }

    fn check_kem_output(&self, bytes: &[u8]) -> Result<(), CryptoError> {
        parse_kem_output(bytes).map(drop)
    }

    fn public_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPublicKey>, CryptoError> {
        check_length("a kem public key", ENCAPSULATION_KEY_SIZE, bytes)?;
        check_x25519_part(bytes)?;
        let key = EncapsulationKey::try_from(bytes).map_err(|_| CryptoError::InvalidPublicKey)?;
        Ok(Box::new(Public { key, bytes: bytes.into() }))
    }
}

/// The X25519 half stands at the end of public keys and of KEM outputs. As the library maps it to a point without a
/// check, it is held to the rule for X25519 keys, under which the Diffie-Hellman result is never zero.
fn check_x25519_part(bytes: &[u8]) -> Result<(), CryptoError> {
    let (_, half) = bytes.split_last_chunk::<32>().ok_or(CryptoError::InvalidPublicKey)?;
    check_x25519_public(half).map(drop)
}

fn parse_kem_output(bytes: &[u8]) -> Result<Ciphertext, CryptoError> {
    let parsed: &[u8; CIPHERTEXT_SIZE] =
        bytes.try_into().map_err(|_| CryptoError::InvalidKemOutput)?;
    check_x25519_part(bytes).map_err(|_| CryptoError::InvalidKemOutput)?;
    Ok((*parsed).into())
}

fn secret(mut shared: SharedKey) -> Secret {
    let secret = Secret::from_slice(&shared);
    shared.as_mut_slice().zeroize();
    secret
}

struct Private {
    /// In a block of its own: whoever moves this key into another container leaves no copy behind.
    key: Box<DecapsulationKey>,
    public: Vec<u8>,
}

impl KemPrivateKey for Private {
    fn public(&self) -> &[u8] {
        &self.public
    }

    /// An altered ML-KEM half gives another secret, not an error (FIPS 203 section 6.3).
    fn decap(&self, kem_output: &[u8]) -> Result<Secret, CryptoError> {
        Ok(secret(self.key.decapsulate(&parse_kem_output(kem_output)?)))
    }

    fn export(&self) -> Result<HpkePrivateKey, CryptoError> {
        Ok(HpkePrivateKey::from_slice(self.key.as_bytes()))
    }
}

struct Public {
    key: EncapsulationKey,
    bytes: Box<[u8]>,
}

impl KemPublicKey for Public {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn encap(&self, rng: &mut dyn CryptoRng) -> Result<Encapsulation, CryptoError> {
        let (kem_output, shared) = self.key.encapsulate_with_rng(rng);
        Ok(Encapsulation { kem_output: kem_output.to_vec(), shared_secret: secret(shared) })
    }
}
