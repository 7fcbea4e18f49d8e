//! HPKE base mode (RFC 9180 section 5 and 6) over a shared secret of a [`Kem`](super::Kem): the key schedule and the
//! encryption context are those of `hpke-rs`, over the KDF and AEAD of the backend.

use core::{fmt, marker::PhantomData};

use hpke_rs::{Context, Hpke as Schedule, HpkeError, Mode};
use hpke_rs_crypto::{
    HpkeCrypto, TryCryptoRng, TryRng,
    error::Error,
    types::{
        AeadAlgorithm, KdfAlgorithm, KemAlgorithm, SingleStageKdfAlgorithm, TwoStageKdfAlgorithm,
    },
};

use super::{Aead, CryptoError, Secret, sha2::hkdf};

/// What HPKE does with a shared secret, for one combination of KEM, KDF and AEAD.
pub trait Hpke: Send + Sync {
    /// Encrypts the first (and here only) message of a context.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Backend`] when the library fails.
    fn seal(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CryptoError>;

    /// Decrypts the first message of a context.
    ///
    /// # Errors
    ///
    /// [`CryptoError::DecryptionFailed`].
    fn open(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Secret, CryptoError>;

    /// Exports `length` bytes from a context.
    ///
    /// # Errors
    ///
    /// [`CryptoError::OutputTooLong`].
    fn export(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        exporter_context: &[u8],
        length: usize,
    ) -> Result<Secret, CryptoError>;
}

/// The AEADs of a backend, by HPKE identifier.
pub(crate) trait HpkeParts: fmt::Debug + Send + Sync + 'static {
    /// Name of the backend.
    const NAME: &'static str;
    /// The AEAD, if the backend has it.
    fn aead(id: AeadAlgorithm) -> Option<&'static dyn Aead>;
}

/// HPKE for one suite over the parts of one backend.
pub(crate) struct HpkeSuite<P> {
    kem: KemAlgorithm,
    kdf: KdfAlgorithm,
    aead: AeadAlgorithm,
    parts: PhantomData<fn() -> P>,
}

impl<P: HpkeParts> HpkeSuite<P> {
    pub(crate) const fn new(kem: KemAlgorithm, kdf: KdfAlgorithm, aead: AeadAlgorithm) -> Self {
        Self { kem, kdf, aead, parts: PhantomData }
    }

    fn context(
        &self,
        shared_secret: &Secret,
        info: &[u8],
    ) -> Result<Context<Parts<P>>, CryptoError> {
        Schedule::<Parts<P>>::new_with_rng(Mode::Base, self.kem, self.kdf, self.aead, NoRandomness)
            .key_schedule(shared_secret.as_bytes(), info, &[], &[])
            .map_err(|_| CryptoError::Backend("the hpke key schedule"))
    }
}

impl<P: HpkeParts> Hpke for HpkeSuite<P> {
    fn seal(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut context = self.context(shared_secret, info)?;
        context.seal(aad, plaintext).map_err(|_| CryptoError::Backend("hpke encryption"))
    }

    fn open(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Secret, CryptoError> {
        let mut context = self.context(shared_secret, info)?;
        match context.open(aad, ciphertext) {
            Ok(plaintext) => Ok(plaintext.into()),
            Err(HpkeError::InvalidInput) => Err(CryptoError::CiphertextTooShort),
            Err(_) => Err(CryptoError::DecryptionFailed),
        }
    }

    fn export(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        exporter_context: &[u8],
        length: usize,
    ) -> Result<Secret, CryptoError> {
        let context = self.context(shared_secret, info)?;
        let secret =
            context.export(exporter_context, length).map_err(|_| CryptoError::OutputTooLong)?;
        Ok(secret.into())
    }
}

/// `hpke-rs` asks for a generator, but its key schedule draws nothing.
#[derive(Debug)]
struct NoRandomness;

impl TryRng for NoRandomness {
    type Error = Error;

    fn try_next_u32(&mut self) -> Result<u32, Error> {
        Err(Error::InsufficientRandomness)
    }

    fn try_next_u64(&mut self) -> Result<u64, Error> {
        Err(Error::InsufficientRandomness)
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::InsufficientRandomness)
    }
}

impl TryCryptoRng for NoRandomness {}

/// The face that `hpke-rs` sees. It is asked for KDF and AEAD only: keys and shared secrets are ours.
#[derive(Debug)]
struct Parts<P>(PhantomData<fn() -> P>);

impl<P: HpkeParts> HpkeCrypto for Parts<P> {
    type HpkePrng = NoRandomness;

    fn name() -> String {
        P::NAME.into()
    }

    fn supports_kdf(id: KdfAlgorithm) -> Result<(), Error> {
        TwoStageKdfAlgorithm::try_from(id).map(drop).map_err(|_| Error::UnknownKdfAlgorithm)
    }

    fn supports_kem(_: KemAlgorithm) -> Result<(), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn supports_aead(id: AeadAlgorithm) -> Result<(), Error> {
        P::aead(id).map(|_| ()).ok_or(Error::UnknownAeadAlgorithm)
    }

    fn kdf_extract(id: TwoStageKdfAlgorithm, salt: &[u8], ikm: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(hkdf(id).ok_or(Error::UnknownKdfAlgorithm)?.extract(salt, &[ikm]).as_bytes().to_vec())
    }

    fn kdf_expand(
        id: TwoStageKdfAlgorithm,
        prk: &[u8],
        info: &[u8],
        length: usize,
    ) -> Result<Vec<u8>, Error> {
        let kdf = hkdf(id).ok_or(Error::UnknownKdfAlgorithm)?;
        if length > kdf.length().saturating_mul(255) {
            return Err(Error::HpkeInvalidOutputLength);
        }
        let mut output = vec![0; length];
        kdf.expand(prk, &[info], &mut output).map_err(|_| Error::HpkeInvalidOutputLength)?;
        Ok(output)
    }

    fn kdf_derive(_: SingleStageKdfAlgorithm, _: &[u8], _: usize) -> Result<Vec<u8>, Error> {
        Err(Error::UnknownKdfAlgorithm)
    }

    fn dh(_: KemAlgorithm, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn secret_to_public(_: KemAlgorithm, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_key_gen(_: KemAlgorithm, _: &mut NoRandomness) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_key_gen_derand(_: KemAlgorithm, _: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_encaps(
        _: KemAlgorithm,
        _: &[u8],
        _: &mut NoRandomness,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_encaps_derand(_: KemAlgorithm, _: &[u8], _: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn kem_decaps(_: KemAlgorithm, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn dh_validate_sk(_: KemAlgorithm, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnsupportedKemOperation)
    }

    fn aead_seal(
        id: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let aead = P::aead(id).ok_or(Error::UnknownAeadAlgorithm)?;
        aead.seal(key, nonce, aad, plaintext).map_err(|_| Error::AeadInvalidNonce)
    }

    fn aead_open(
        id: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let aead = P::aead(id).ok_or(Error::UnknownAeadAlgorithm)?;
        aead.open(key, nonce, aad, ciphertext).map_err(|error| match error {
            CryptoError::CiphertextTooShort => Error::AeadInvalidCiphertext,
            _ => Error::AeadOpenError,
        })
    }
}
