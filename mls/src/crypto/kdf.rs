//! Key derivation.

use zeroize::Zeroize;

use super::{CryptoError, Secret};

/// An extract-then-expand key derivation function.
pub trait Kdf: Send + Sync {
    /// The length in bytes of an extracted key, `Nh`.
    fn length(&self) -> usize;

    /// Extracts a key from the concatenation of `ikm`.
    fn extract(&self, salt: &[u8], ikm: &[&[u8]]) -> Secret;

    /// Fills `out` from `prk` and the concatenation of `info`.
    ///
    /// # Errors
    ///
    /// [`CryptoError::WrongLength`] when `prk` is shorter than `Nh`, [`CryptoError::OutputTooLong`] when more than
    /// 255 `Nh` bytes are asked for.
    fn expand(&self, prk: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError>;
}

/// The conditions under which HKDF-Expand is defined; on failure `out` is cleared, so that nobody uses what stood there.
pub(crate) fn check_expand(kdf: &dyn Kdf, prk: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
    let error = if prk.len() < kdf.length() {
        CryptoError::WrongLength { what: "a kdf secret", expected: kdf.length(), actual: prk.len() }
    } else if out.len() > kdf.length().saturating_mul(255) {
        CryptoError::OutputTooLong
    } else {
        return Ok(());
    };
    out.zeroize();
    Err(error)
}
