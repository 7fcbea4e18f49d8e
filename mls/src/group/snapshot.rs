//! Saving and restoring, encrypted and authenticated.

use crate::{
    codec::{DecodeError, Encode, Reader},
    crypto::{CryptoError, CryptoRng, Secret, Suite},
    error::SnapshotError,
};

const MAGIC: [u8; 4] = *b"MLSs";
const VERSION: u16 = 2;
const SALT: usize = 32;

/// The key that snapshots are encrypted under: 32 secret bytes that the application keeps in a safe place.
pub struct SnapshotKey(Secret);

impl SnapshotKey {
    /// The length of a key in bytes.
    pub const LENGTH: usize = 32;

    /// Takes a key that the application keeps.
    #[must_use]
    pub fn new(bytes: &[u8; Self::LENGTH]) -> Self {
        Self(Secret::from_slice(bytes))
    }

    /// Makes a key.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(Self::LENGTH, rng))
    }

    /// The bytes of the key, for storage.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Encrypts `content`. Key and nonce follow from fresh random bytes for each snapshot, so that one key serves for
    /// any number of them.
    pub(crate) fn seal(
        &self,
        suite: &'static Suite,
        kind: &str,
        content: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SnapshotError> {
        let mut out = Vec::with_capacity(content.len().saturating_add(64));
        out.extend_from_slice(&MAGIC);
        VERSION.encode(&mut out);
        suite.id.encode(&mut out);
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        out.extend_from_slice(&salt);
        let keys = self.keys(suite, kind, &salt)?;
        let sealed = suite.aead.seal(keys.key.as_bytes(), keys.nonce.as_bytes(), &out, content)?;
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Decrypts what [`SnapshotKey::seal`] wrote for the same kind of content.
    pub(crate) fn open(
        &self,
        suite: &'static Suite,
        kind: &str,
        bytes: &[u8],
    ) -> Result<Secret, SnapshotError> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(DecodeError::Malformed("a snapshot starts with other bytes").into());
        }
        let version = u16::from_be_bytes(reader.array()?);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        if u16::from_be_bytes(reader.array()?) != suite.id.0 {
            return Err(SnapshotError::OtherClient);
        }
        let salt: [u8; SALT] = reader.array()?;
        let sealed = reader.rest();
        let header = bytes.strip_suffix(sealed).unwrap_or_default();
        let keys = self.keys(suite, kind, &salt)?;
        let content = suite
            .aead
            .open(keys.key.as_bytes(), keys.nonce.as_bytes(), header, sealed)
            .map_err(|_| SnapshotError::Key)?;
        Ok(Secret::from(content))
    }

    fn keys(
        &self,
        suite: &'static Suite,
        kind: &str,
        salt: &[u8; SALT],
    ) -> Result<Keys, CryptoError> {
        let secret = suite.extract(&Secret::from_slice(salt), &self.0);
        let secret =
            suite.expand_with_label(&secret, "snapshot", kind.as_bytes(), suite.hash_length())?;
        Ok(Keys {
            key: suite.expand_with_label(&secret, "key", &[], suite.aead.key_length())?,
            nonce: suite.expand_with_label(&secret, "nonce", &[], suite.aead.nonce_length())?,
        })
    }
}

struct Keys {
    key: Secret,
    nonce: Secret,
}

impl std::fmt::Debug for SnapshotKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SnapshotKey(redacted)")
    }
}
