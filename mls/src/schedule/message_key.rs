//! A key and a nonce for one AEAD operation.

use zeroize::Zeroize;

use crate::crypto::{CryptoError, MAX_NONCE_LENGTH, Secret, Suite};

/// The longest AEAD key in use, in bytes.
const MAX_KEY_LENGTH: usize = 32;

/// A key and the nonce that goes with it, for one AEAD operation; zeroized on drop.
///
/// Stored without an allocation, as a ratchet may keep hundreds of them.
pub struct MessageKey {
    key: [u8; MAX_KEY_LENGTH],
    nonce: [u8; MAX_NONCE_LENGTH],
    key_length: u8,
    nonce_length: u8,
}

impl MessageKey {
    /// A key of the suite's lengths, all zero, to be filled in place.
    fn zeroed(suite: &Suite) -> Result<Self, CryptoError> {
        let (key_length, nonce_length) = (suite.aead.key_length(), suite.aead.nonce_length());
        let fitting = |what, length: usize, limit: usize| match u8::try_from(length) {
            Ok(fits) if length <= limit => Ok(fits),
            _ => Err(CryptoError::WrongLength { what, expected: limit, actual: length }),
        };
        Ok(Self {
            key: [0; MAX_KEY_LENGTH],
            nonce: [0; MAX_NONCE_LENGTH],
            key_length: fitting("an aead key", key_length, MAX_KEY_LENGTH)?,
            nonce_length: fitting("an aead nonce", nonce_length, MAX_NONCE_LENGTH)?,
        })
    }

    /// `ExpandWithLabel` twice, with the labels "key" and "nonce" and the same context.
    pub(super) fn derive(
        suite: &Suite,
        secret: &Secret,
        context: &[u8],
    ) -> Result<Self, CryptoError> {
        let mut derived = Self::zeroed(suite)?;
        suite.expand_with_label_into(secret, "key", context, derived.key_mut())?;
        suite.expand_with_label_into(secret, "nonce", context, derived.nonce_mut())?;
        Ok(derived)
    }

    /// Takes a saved key; `None` when the lengths are not the suite's.
    pub(super) fn from_parts(suite: &Suite, key: &[u8], nonce: &[u8]) -> Option<Self> {
        let mut restored = Self::zeroed(suite).ok()?;
        if key.len() != restored.key().len() || nonce.len() != restored.nonce().len() {
            return None;
        }
        restored.key_mut().copy_from_slice(key);
        restored.nonce_mut().copy_from_slice(nonce);
        Some(restored)
    }

    /// The key, `AEAD.Nk` bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.key.get(..usize::from(self.key_length)).unwrap_or_default()
    }

    /// The nonce, `AEAD.Nn` bytes.
    #[must_use]
    pub fn nonce(&self) -> &[u8] {
        self.nonce.get(..usize::from(self.nonce_length)).unwrap_or_default()
    }

    fn key_mut(&mut self) -> &mut [u8] {
        self.key.get_mut(..usize::from(self.key_length)).unwrap_or_default()
    }

    fn nonce_mut(&mut self) -> &mut [u8] {
        self.nonce.get_mut(..usize::from(self.nonce_length)).unwrap_or_default()
    }

    /// Masks the first four bytes of the nonce (RFC 9420 section 6.3.1).
    pub(crate) fn guard(&mut self, reuse_guard: [u8; 4]) {
        for (byte, mask) in self.nonce.iter_mut().zip(reuse_guard) {
            *byte ^= mask;
        }
    }

    /// A second copy, so that a key can be tried before it is taken out of its ratchet.
    pub(super) fn duplicate(&self) -> Self {
        Self { ..*self }
    }
}

impl Drop for MessageKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.nonce.zeroize();
    }
}

impl std::fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageKey(redacted)")
    }
}
