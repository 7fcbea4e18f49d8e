//! Hash, HMAC, HKDF and AEADs.

use core::marker::PhantomData;

use aes_gcm::{
    Aes128Gcm, Aes256Gcm,
    aead::{AeadInOut, Key, KeyInit, KeySizeUser, Nonce, Tag, inout::InOutBuf},
};
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::{Hkdf, HkdfExtract, hmac::EagerHash};
use sha2::{Digest, Sha256, Sha384, Sha512};
use zeroize::Zeroize;

use crate::crypto::{
    Aead, CryptoError, Hash, HashOutput, Kdf, Secret, TAG_LENGTH, kdf::check_expand,
};

pub(super) static SHA256: HashSuite<Sha256> = HashSuite(PhantomData);
pub(super) static SHA384: HashSuite<Sha384> = HashSuite(PhantomData);
pub(super) static SHA512: HashSuite<Sha512> = HashSuite(PhantomData);
pub(super) static AES_128_GCM: Cipher<Aes128Gcm> = Cipher(PhantomData);
pub(super) static AES_256_GCM: Cipher<Aes256Gcm> = Cipher(PhantomData);
pub(super) static CHACHA20_POLY1305: Cipher<ChaCha20Poly1305> = Cipher(PhantomData);

/// A hash with HMAC and HKDF over it.
pub(super) struct HashSuite<D>(PhantomData<fn() -> D>);

impl<D: EagerHash> Hash for HashSuite<D> {
    fn length(&self) -> usize {
        <D as Digest>::output_size()
    }

    fn hash(&self, parts: &[&[u8]]) -> HashOutput {
        let mut hash = D::new();
        for part in parts {
            Digest::update(&mut hash, part);
        }
        HashOutput::from_digest(&hash.finalize())
    }

    fn hmac(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
        // HKDF-Extract is HMAC (RFC 5869 section 2.2), without a failure that cannot happen.
        self.extract(key, parts)
    }
}

impl<D: EagerHash> Kdf for HashSuite<D> {
    fn length(&self) -> usize {
        <D as Digest>::output_size()
    }

    fn extract(&self, salt: &[u8], ikm: &[&[u8]]) -> Secret {
        let mut extract = HkdfExtract::<D>::new(Some(salt));
        for part in ikm {
            extract.input_ikm(part);
        }
        let (mut prk, _) = extract.finalize();
        let secret = Secret::from_slice(&prk);
        prk.as_mut_slice().zeroize();
        secret
    }

    fn expand(&self, prk: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        check_expand(self, prk, out)?;
        let hkdf = Hkdf::<D>::from_prk(prk).map_err(|_| CryptoError::Backend("a kdf secret"))?;
        hkdf.expand_multi_info(info, out).map_err(|_| CryptoError::OutputTooLong)
    }
}

pub(super) struct Cipher<C>(PhantomData<fn() -> C>);

impl<C: AeadInOut + KeyInit> Aead for Cipher<C> {
    fn key_length(&self) -> usize {
        <C as KeySizeUser>::key_size()
    }

    fn seal_in_place(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoError> {
        let nonce = parse_nonce::<C>(nonce)?;
        let tag = cipher::<C>(key)?
            .encrypt_inout_detached(nonce, aad, InOutBuf::from(data))
            .map_err(|_| CryptoError::Backend("encryption"))?;
        tag.as_slice().try_into().map_err(|_| CryptoError::Backend("encryption"))
    }

    fn open_in_place(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoError> {
        let nonce = parse_nonce::<C>(nonce)?;
        let tag: &Tag<C> =
            tag.as_slice().try_into().map_err(|_| CryptoError::CiphertextTooShort)?;
        cipher::<C>(key)?
            .decrypt_inout_detached(nonce, aad, InOutBuf::from(data), tag)
            .map_err(|_| CryptoError::DecryptionFailed)
    }
}

fn cipher<C: AeadInOut + KeyInit>(key: &[u8]) -> Result<C, CryptoError> {
    let parsed: &Key<C> = key.try_into().map_err(|_| CryptoError::WrongLength {
        what: "an aead key",
        expected: C::key_size(),
        actual: key.len(),
    })?;
    Ok(C::new(parsed))
}

fn parse_nonce<C: AeadInOut>(nonce: &[u8]) -> Result<&Nonce<C>, CryptoError> {
    nonce.try_into().map_err(|_| CryptoError::WrongLength {
        what: "an aead nonce",
        expected: Nonce::<C>::default().len(),
        actual: nonce.len(),
    })
}
