//! Keys and salts from a base key (RFC 9605 section 4.4.2).

use crate::crypto::{BackendError, FrameCipher, NONCE_LENGTH, Prk, SuiteCrypto, Unauthentic};
use crate::kid::Kid;
use core::fmt;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// The label under which an MLS group exports a base key (RFC 9605 section 5.2). The exporter's
/// context is empty, the length is [`CipherSuite::key_length`](crate::CipherSuite::key_length).
pub const BASE_KEY_LABEL: &str = "SFrame 1.0 Base Key";

const RATCHET_LABEL: &[u8] = b"SFrame 1.0 Ratchet";
const RTP_STREAM_LABEL: &[u8] = b"SFrame 1.0 RTP Stream";
const KEY_LABEL: &[u8; 22] = b"SFrame 1.0 Secret key ";
const SALT_LABEL: &[u8; 23] = b"SFrame 1.0 Secret salt ";
const MAX_KEY_LENGTH: usize = 96;

/// A base key: the secret that an epoch of the group gives to SFrame.
#[derive(ZeroizeOnDrop)]
pub struct BaseKey(Vec<u8>);

impl BaseKey {
    /// Takes over the exported bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The key of the next ratchet step (RFC 9605 section 5.1), `Hash.Nh` bytes long. What it was
    /// made from is gone.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the backend fails.
    pub fn ratchet(self, crypto: &SuiteCrypto) -> Result<Self, BackendError> {
        self.expanded(crypto, b"", RATCHET_LABEL)
    }

    /// The key of one RTP stream (draft-ietf-avtcore-rtp-sframe-02), `Hash.Nh` bytes long: streams
    /// that share a base key each count from zero under a key of their own. `ssrc` is the one that
    /// the sender uses, which is of no use behind an SFU that rewrites it; calls separate streams
    /// by the KID's context instead.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the backend fails.
    pub fn for_rtp_stream(&self, crypto: &SuiteCrypto, ssrc: u32) -> Result<Self, BackendError> {
        self.expanded(crypto, &ssrc.to_be_bytes(), RTP_STREAM_LABEL)
    }

    fn expanded(
        &self,
        crypto: &SuiteCrypto,
        salt: &[u8],
        label: &[u8],
    ) -> Result<Self, BackendError> {
        let prk = crypto.kdf.extract(salt, &self.0);
        let mut next = Self(vec![0; crypto.suite.hash_length()]);
        crypto.kdf.expand(&prk, label, &mut next.0)?;
        Ok(next)
    }

    /// Bytes of the key.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// The secret bytes.
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for BaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BaseKey(redacted)")
    }
}

/// `sframe_secret` of a base key: what the keys of all its KIDs are expanded from.
pub struct SframeSecret {
    prk: Prk,
    crypto: &'static SuiteCrypto,
}

impl SframeSecret {
    /// Extracts the secret from a base key.
    pub fn extract(crypto: &'static SuiteCrypto, base_key: &BaseKey) -> Self {
        Self { prk: crypto.kdf.extract(b"", base_key.expose_secret()), crypto }
    }

    /// The key and salt of one KID.
    pub fn frame_key(&self, kid: Kid) -> Result<FrameKey, BackendError> {
        let mut key = Zeroizing::new([0; MAX_KEY_LENGTH]);
        let key = key.get_mut(..self.crypto.suite.key_length()).ok_or(BackendError)?;
        self.crypto.kdf.expand(&self.prk, &self.label::<32>(KEY_LABEL, kid), key)?;
        let mut salt = Zeroizing::new([0; 16]);
        let place = salt.last_chunk_mut::<NONCE_LENGTH>().ok_or(BackendError)?;
        self.crypto.kdf.expand(&self.prk, &self.label::<33>(SALT_LABEL, kid), place)?;
        let cipher = self.crypto.aead.cipher(key)?;
        Ok(FrameKey { cipher, salt: u128::from_be_bytes(*salt) })
    }

    /// `label || KID || cipher_suite`.
    fn label<const N: usize>(&self, label: &[u8], kid: Kid) -> [u8; N] {
        let source = label
            .iter()
            .copied()
            .chain(kid.0.to_be_bytes())
            .chain(self.crypto.suite.id().to_be_bytes());
        let mut bytes = [0; N];
        for (target, byte) in bytes.iter_mut().zip(source) {
            *target = byte;
        }
        bytes
    }
}

impl fmt::Debug for SframeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SframeSecret(redacted)")
    }
}

/// `sframe_key`, expanded once, and `sframe_salt`.
pub struct FrameKey {
    cipher: Box<dyn FrameCipher>,
    /// A big-endian integer of 12 bytes.
    salt: u128,
}

impl FrameKey {
    /// Encrypts in place (RFC 9605 section 4.4.3); the tag goes to the end of `in_out`.
    ///
    /// Reusing a counter under one key breaks the cipher. [`Sender`](crate::Sender) is the door
    /// that cannot.
    pub fn seal_with_counter_of_callers_choice(
        &self,
        ctr: u64,
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), BackendError> {
        self.cipher.seal_in_place(&self.nonce(ctr), aad, in_out)
    }

    /// Decrypts in place (RFC 9605 section 4.4.4). Returns the plaintext's length.
    pub fn open(&self, ctr: u64, aad: &[u8], in_out: &mut [u8]) -> Result<usize, Unauthentic> {
        self.cipher.open_in_place(&self.nonce(ctr), aad, in_out)
    }

    /// The salt XORed with the counter, both as big-endian integers of 12 bytes.
    #[inline]
    fn nonce(&self, ctr: u64) -> [u8; NONCE_LENGTH] {
        let nonce = (self.salt ^ u128::from(ctr)).to_be_bytes();
        nonce.last_chunk().copied().unwrap_or_default()
    }
}

impl Drop for FrameKey {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

impl fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameKey(redacted)")
    }
}
