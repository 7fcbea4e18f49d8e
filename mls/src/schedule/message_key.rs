//! A key and a nonce for one AEAD operation.

use crate::crypto::{CryptoError, Secret, Suite};

/// A key and the nonce that goes with it, for one AEAD operation; zeroized on drop.
pub struct MessageKey {
    /// The key, then the nonce: a ratchet may keep hundreds of them.
    bytes: Secret,
    key_length: usize,
}

impl MessageKey {
    /// A key of the suite's lengths, all zero, to be filled in place.
    fn zeroed(suite: &Suite) -> Self {
        let key_length = suite.aead.key_length();
        let length = key_length.saturating_add(suite.aead.nonce_length());
        Self { bytes: Secret::zeroed(length), key_length }
    }

    /// `ExpandWithLabel` twice, with the labels "key" and "nonce" and the same context.
    pub(super) fn derive(
        suite: &Suite,
        secret: &Secret,
        context: &[u8],
    ) -> Result<Self, CryptoError> {
        let mut derived = Self::zeroed(suite);
        suite.expand_with_label_into(secret, "key", context, derived.key_mut())?;
        suite.expand_with_label_into(secret, "nonce", context, derived.nonce_mut())?;
        Ok(derived)
    }

    /// Takes a saved key; `None` when the lengths are not the suite's.
    pub(super) fn from_parts(suite: &Suite, key: &[u8], nonce: &[u8]) -> Option<Self> {
        let mut restored = Self::zeroed(suite);
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
        self.bytes.as_bytes().get(..self.key_length).unwrap_or_default()
    }

    /// The nonce, `AEAD.Nn` bytes.
    #[must_use]
    pub fn nonce(&self) -> &[u8] {
        self.bytes.as_bytes().get(self.key_length..).unwrap_or_default()
    }

    fn key_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut_bytes().get_mut(..self.key_length).unwrap_or_default()
    }

    fn nonce_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut_bytes().get_mut(self.key_length..).unwrap_or_default()
    }

    /// Masks the first four bytes of the nonce (RFC 9420 section 6.3.1).
    pub(crate) fn guard(&mut self, reuse_guard: [u8; 4]) {
        for (byte, mask) in self.nonce_mut().iter_mut().zip(reuse_guard) {
            *byte ^= mask;
        }
    }

    /// A second copy, so that a key can be tried before it is taken out of its ratchet.
    pub(super) fn duplicate(&self) -> Self {
        Self { bytes: self.bytes.duplicate(), key_length: self.key_length }
    }
}

impl std::fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageKey(redacted)")
    }
}
