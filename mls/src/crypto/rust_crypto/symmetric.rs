//! AEADs.

use core::marker::PhantomData;

#[cfg(feature = "rust-crypto")]
use aes_gcm::Aes256Gcm;
use aes_gcm::{
    Aes128Gcm,
    aead::{AeadInOut, Key, KeyInit, KeySizeUser, Nonce, Tag, inout::InOutBuf},
};
#[cfg(feature = "rust-crypto")]
use chacha20poly1305::ChaCha20Poly1305;

use crate::crypto::{Aead, CryptoError, TAG_LENGTH};

pub(super) static AES_128_GCM: Cipher<Aes128Gcm> = Cipher(PhantomData);
#[cfg(feature = "rust-crypto")]
pub(super) static AES_256_GCM: Cipher<Aes256Gcm> = Cipher(PhantomData);
#[cfg(feature = "rust-crypto")]
pub(super) static CHACHA20_POLY1305: Cipher<ChaCha20Poly1305> = Cipher(PhantomData);

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
