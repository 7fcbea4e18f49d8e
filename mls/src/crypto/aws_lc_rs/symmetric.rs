//! AEADs.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::crypto::{Aead, CryptoError, MAX_NONCE_LENGTH, TAG_LENGTH};

pub(super) struct Cipher(pub(super) &'static aead::Algorithm);

impl Cipher {
    fn key(&self, key: &[u8]) -> Result<LessSafeKey, CryptoError> {
        let unbound = UnboundKey::new(self.0, key).map_err(|_| CryptoError::WrongLength {
            what: "an aead key",
            expected: self.0.key_len(),
            actual: key.len(),
        })?;
        Ok(LessSafeKey::new(unbound))
    }
}

impl Aead for Cipher {
    fn key_length(&self) -> usize {
        self.0.key_len()
    }

    fn seal_in_place(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoError> {
        let nonce = parse_nonce(nonce)?;
        let tag = self
            .key(key)?
            .seal_in_place_separate_tag(nonce, Aad::from(aad), data)
            .map_err(|_| CryptoError::Backend("encryption"))?;
        tag.as_ref().try_into().map_err(|_| CryptoError::Backend("encryption"))
    }

    fn open_in_place(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoError> {
        let nonce = parse_nonce(nonce)?;
        self.key(key)?
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, data)
            .map(|_| ())
            .map_err(|_| CryptoError::DecryptionFailed)
    }
}

fn parse_nonce(nonce: &[u8]) -> Result<Nonce, CryptoError> {
    Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::WrongLength {
        what: "an aead nonce",
        expected: MAX_NONCE_LENGTH,
        actual: nonce.len(),
    })
}
