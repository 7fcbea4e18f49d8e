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

/// HKDF (RFC 5869) over the HMAC of a [`Hash`].
///
/// For backends whose own HKDF bounds the length of `info`: a GroupContext is part of it and may be long.
#[cfg(feature = "aws-lc-rs")]
pub(crate) struct HkdfOverHmac(pub(crate) &'static dyn super::Hash);

#[cfg(feature = "aws-lc-rs")]
impl Kdf for HkdfOverHmac {
    fn length(&self) -> usize {
        self.0.length()
    }

    fn extract(&self, salt: &[u8], ikm: &[&[u8]]) -> Secret {
        self.0.hmac(salt, ikm)
    }

    fn expand(&self, prk: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        check_expand(self, prk, out)?;
        let mut previous = Secret::zeroed(0);
        for (block, counter) in out.chunks_mut(self.length()).zip(1u8..=255) {
            let counter = [counter];
            let mut parts: Vec<&[u8]> = Vec::with_capacity(info.len().saturating_add(2));
            parts.push(previous.as_bytes());
            parts.extend_from_slice(info);
            parts.push(&counter);
            let output = self.0.hmac(prk, &parts);
            for (to, from) in block.iter_mut().zip(output.as_bytes()) {
                *to = *from;
            }
            previous = output;
        }
        Ok(())
    }
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
