//! Cipher suites (RFC 9420 section 5.1).

use core::fmt;

use subtle::ConstantTimeEq;

use super::{
    Aead, CryptoError, CryptoRng, Hash, HashOutput, Hpke, Kdf, Kem, KemPrivateKey, KemPublicKey,
    Secret, SignatureScheme, SigningKey,
};
use crate::wire::{CipherSuite, HpkeCiphertext};

/// A cipher suite: the parts of one backend that carry it out.
#[derive(Clone, Copy)]
pub struct Suite {
    /// The identifier of the suite.
    pub id: CipherSuite,
    /// Hash and MAC.
    pub hash: &'static dyn Hash,
    /// Key derivation.
    pub kdf: &'static dyn Kdf,
    /// Authenticated encryption.
    pub aead: &'static dyn Aead,
    /// Key encapsulation.
    pub kem: &'static dyn Kem,
    /// What HPKE does with a shared secret of [`Self::kem`].
    pub hpke: &'static dyn Hpke,
    /// Signatures.
    pub signature: &'static dyn SignatureScheme,
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suite({:?})", self.id)
    }
}

/// What [`Suite::setup_external_init`] makes (RFC 9420 section 8.3).
#[derive(Debug)]
pub struct ExternalInitSecret {
    /// Goes into the ExternalInit proposal; public.
    pub kem_output: Vec<u8>,
    /// The init secret of the epoch that the external commit starts from, `Nh` bytes.
    pub init_secret: Secret,
}

/// Defines the suites of a backend as a table: the identifier; KEM, hash, KDF and AEAD, each with the identifier that
/// HPKE knows it by (a hash has none); the signature scheme.
macro_rules! suites {
    ($parts:ty; $($(#[$meta:meta])* $id:ident:
        $kem:expr => $hpke_kem:ident, $hash:ident, $kdf:ident => $hpke_kdf:ident, $aead:ident => $hpke_aead:ident,
        $signature:expr;)+) => {
        &[$($(#[$meta])* $crate::crypto::Suite {
            id: $crate::wire::CipherSuite::$id,
            hash: &$hash,
            kdf: &$kdf,
            aead: &$aead,
            kem: &$kem,
            hpke: &$crate::crypto::hpke::HpkeSuite::<$parts>::new(
                ::hpke_rs_crypto::types::KemAlgorithm::$hpke_kem,
                ::hpke_rs_crypto::types::KdfAlgorithm::$hpke_kdf,
                ::hpke_rs_crypto::types::AeadAlgorithm::$hpke_aead,
            ),
            signature: &$signature,
        },)+]
    };
}
pub(crate) use suites;

const EXTERNAL_INIT: &[u8] = b"MLS 1.0 external init secret";

impl Suite {
    /// `KDF.Nh`: the length in bytes of hashes, MACs and the secrets of the key schedule.
    pub fn hash_length(&self) -> usize {
        self.hash.length()
    }

    /// Hashes the concatenation of `parts`.
    pub fn hash(&self, parts: &[&[u8]]) -> HashOutput {
        self.hash.hash(parts)
    }

    /// MAC under `key` over the concatenation of `parts`.
    pub fn mac(&self, key: &Secret, parts: &[&[u8]]) -> Vec<u8> {
        self.hash.hmac(key.as_bytes(), parts).as_bytes().to_vec()
    }

    /// Checks a MAC in constant time.
    ///
    /// # Errors
    ///
    /// [`CryptoError::InvalidMac`], also for a tag of another length.
    pub fn verify_mac(&self, key: &Secret, parts: &[&[u8]], tag: &[u8]) -> Result<(), CryptoError> {
        let expected = self.hash.hmac(key.as_bytes(), parts);
        if expected.as_bytes().ct_eq(tag).into() { Ok(()) } else { Err(CryptoError::InvalidMac) }
    }

    /// `KDF.Extract`.
    pub fn extract(&self, salt: &Secret, ikm: &Secret) -> Secret {
        self.kdf.extract(salt.as_bytes(), &[ikm.as_bytes()])
    }

    /// Imports a KEM private key and checks that `public` belongs to it.
    ///
    /// # Errors
    ///
    /// [`CryptoError::KeyPairMismatch`], and those of [`Kem::private_key`].
    pub fn kem_key_pair(
        &self,
        private: &[u8],
        public: &[u8],
    ) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        let key = self.kem.private_key(private)?;
        if key.public() == public { Ok(key) } else { Err(CryptoError::KeyPairMismatch) }
    }

    /// Imports a signature private key and checks that `public` belongs to it.
    ///
    /// # Errors
    ///
    /// [`CryptoError::KeyPairMismatch`], and those of [`SignatureScheme::signing_key`].
    pub fn signature_key_pair(
        &self,
        private: &[u8],
        public: &[u8],
    ) -> Result<Box<dyn SigningKey>, CryptoError> {
        let key = self.signature.signing_key(private)?;
        if key.public() == public { Ok(key) } else { Err(CryptoError::KeyPairMismatch) }
    }

    /// `SealBase` of HPKE (RFC 9180 section 6.1).
    ///
    /// # Errors
    ///
    /// Those of [`KemPublicKey::encap`].
    pub fn hpke_seal(
        &self,
        public: &dyn KemPublicKey,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<HpkeCiphertext, CryptoError> {
        let encapsulation = public.encap(rng)?;
        let ciphertext = self.hpke.seal(&encapsulation.shared_secret, info, aad, plaintext)?;
        Ok(HpkeCiphertext { kem_output: encapsulation.kem_output, ciphertext })
    }

    /// `OpenBase` of HPKE (RFC 9180 section 6.1).
    ///
    /// # Errors
    ///
    /// Those of [`KemPrivateKey::decap`] and [`Hpke::open`].
    pub fn hpke_open(
        &self,
        private: &dyn KemPrivateKey,
        info: &[u8],
        aad: &[u8],
        sealed: &HpkeCiphertext,
    ) -> Result<Secret, CryptoError> {
        let shared_secret = private.decap(&sealed.kem_output)?;
        self.hpke.open(&shared_secret, info, aad, &sealed.ciphertext)
    }

    /// Makes the init secret of an external commit from the group's external public key (RFC 9420 section 8.3).
    ///
    /// # Errors
    ///
    /// Those of [`KemPublicKey::encap`].
    pub fn setup_external_init(
        &self,
        external_pub: &dyn KemPublicKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<ExternalInitSecret, CryptoError> {
        let encapsulation = external_pub.encap(rng)?;
        let init_secret = self.hpke.export(
            &encapsulation.shared_secret,
            &[],
            EXTERNAL_INIT,
            self.hash_length(),
        )?;
        Ok(ExternalInitSecret { kem_output: encapsulation.kem_output, init_secret })
    }

    /// Recovers the init secret of an external commit with the group's external private key (RFC 9420 section 8.3).
    ///
    /// # Errors
    ///
    /// Those of [`KemPrivateKey::decap`].
    pub fn open_external_init(
        &self,
        external: &dyn KemPrivateKey,
        kem_output: &[u8],
    ) -> Result<Secret, CryptoError> {
        let shared_secret = external.decap(kem_output)?;
        self.hpke.export(&shared_secret, &[], EXTERNAL_INIT, self.hash_length())
    }
}
