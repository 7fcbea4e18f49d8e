//! Authenticated encryption.

use super::CryptoError;

/// The longest AEAD nonce in use, in bytes.
pub const MAX_NONCE_LENGTH: usize = 12;

/// The length in bytes of the authentication tag of every AEAD in use.
pub const TAG_LENGTH: usize = 16;

/// An AEAD. Keys are given as bytes: in MLS nearly every one is used once.
pub trait Aead: Send + Sync {
    /// The length of a key in bytes, `Nk`.
    fn key_length(&self) -> usize;

    /// The length of a nonce in bytes, `Nn`.
    fn nonce_length(&self) -> usize {
        MAX_NONCE_LENGTH
    }

    /// Encrypts `data` in place and returns the authentication tag that goes behind it.
    ///
    /// A nonce must never be used twice with one key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::WrongLength`] for a key or nonce of the wrong length.
    fn seal_in_place(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoError>;

    /// Decrypts `data` in place, after checking `tag`. When that fails, the content of `data` is unspecified and must
    /// not be used.
    ///
    /// # Errors
    ///
    /// [`CryptoError::DecryptionFailed`] when the tag does not match, [`CryptoError::WrongLength`] for a key or nonce
    /// of the wrong length.
    fn open_in_place(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoError>;

    /// Encrypts `plaintext` into a vector of its own: ciphertext, then tag.
    ///
    /// # Errors
    ///
    /// Those of [`Aead::seal_in_place`].
    fn seal(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut sealed = Vec::with_capacity(plaintext.len().saturating_add(TAG_LENGTH));
        sealed.extend_from_slice(plaintext);
        let tag = self.seal_in_place(key, nonce, aad, &mut sealed)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Decrypts `ciphertext` (ciphertext, then tag) into a vector of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Aead::open_in_place`], and [`CryptoError::CiphertextTooShort`].
    fn open(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (data, tag) = ciphertext.split_last_chunk().ok_or(CryptoError::CiphertextTooShort)?;
        let mut data = data.to_vec();
        self.open_in_place(key, nonce, aad, &mut data, tag)?;
        Ok(data)
    }
}
