//! Making key packages (RFC 9420 section 10).

use crate::{
    codec::{Decode, Encode, Reader, encode_opaque},
    crypto::{CryptoRng, HpkePrivateKey, KemPrivateKey, Suite},
    error::{ClientError, SnapshotError},
    group::SnapshotKey,
    validation::{KeyPackageViolation, check_key_package},
    wire::{
        GroupId, HpkePublicKey, KeyPackage, KeyPackageRef, KeyPackageTbs, LeafIndex, LeafNode,
        LeafNodeSource, Lifetime, MlsMessage, MlsMessageBody, ProtocolVersion, Signature, UnixTime,
    },
};

use super::Client;

const SNAPSHOT_KIND: &str = "key package";

/// A key package with the private keys that belong to it.
///
/// It is good for one Welcome: publish the [message](Self::message), keep the bundle until the Welcome comes, then
/// drop it.
pub struct KeyPackageBundle {
    key_package: KeyPackage,
    reference: KeyPackageRef,
    pub(super) init_key: Box<dyn KemPrivateKey>,
    pub(super) leaf_key: Box<dyn KemPrivateKey>,
}

impl KeyPackageBundle {
    /// Puts a bundle together from a key package made elsewhere and its private keys.
    ///
    /// Dangerous: private keys that others know, or that serve twice, undo what the protocol promises. It is for
    /// test vectors and for moving to this library from another one.
    ///
    /// # Errors
    /// [`ClientError::KeyMismatch`] when the private keys do not belong to the key package.
    pub fn from_parts(
        suite: &'static Suite,
        key_package: KeyPackage,
        init_key: &HpkePrivateKey,
        leaf_key: &HpkePrivateKey,
    ) -> Result<Self, ClientError> {
        let leaf_public = &key_package.leaf_node.encryption_key;
        let init_key = suite
            .kem_key_pair(init_key.as_bytes(), key_package.init_key.as_bytes())
            .map_err(|_| ClientError::KeyMismatch)?;
        let leaf_key = suite
            .kem_key_pair(leaf_key.as_bytes(), leaf_public.as_bytes())
            .map_err(|_| ClientError::KeyMismatch)?;
        let reference = suite.key_package_ref(&key_package.to_bytes())?;
        Ok(Self { key_package, reference, init_key, leaf_key })
    }

    /// The public part.
    #[must_use]
    pub fn key_package(&self) -> &KeyPackage {
        &self.key_package
    }

    /// The public part as a message, to be published.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let key_package = Box::new(self.key_package.clone());
        MlsMessage(MlsMessageBody::KeyPackage(key_package)).to_bytes()
    }

    /// How a Welcome names the key package (RFC 9420 section 5.2).
    #[must_use]
    pub fn reference(&self) -> &KeyPackageRef {
        &self.reference
    }

    /// Encrypts the bundle for storage.
    ///
    /// # Errors
    /// [`SnapshotError::Local`] when the library fails.
    pub fn save(
        &self,
        key: &SnapshotKey,
        suite: &'static Suite,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SnapshotError> {
        let key_package = self.key_package.to_bytes();
        // A vector that grows leaves copies of secrets behind. No private key is longer than 66 bytes.
        let capacity = key_package.len().saturating_add(256);
        let mut content = zeroize::Zeroizing::new(Vec::with_capacity(capacity));
        encode_opaque(&key_package, &mut content);
        encode_opaque(self.init_key.export()?.as_bytes(), &mut content);
        encode_opaque(self.leaf_key.export()?.as_bytes(), &mut content);
        key.seal(suite, SNAPSHOT_KIND, &content, rng)
    }

    /// Reads what [`KeyPackageBundle::save`] wrote.
    ///
    /// # Errors
    /// [`SnapshotError::Key`] when the key is another one or the bytes were altered.
    pub fn restore(
        bytes: &[u8],
        key: &SnapshotKey,
        suite: &'static Suite,
    ) -> Result<Self, SnapshotError> {
        let content = key.open(suite, SNAPSHOT_KIND, bytes)?;
        let mut reader = Reader::new(content.as_bytes());
        let key_package = KeyPackage::from_bytes(reader.opaque()?)?;
        let init_key = HpkePrivateKey::from_slice(reader.opaque()?);
        let leaf_key = HpkePrivateKey::from_slice(reader.opaque()?);
        reader.finish()?;
        Self::from_parts(suite, key_package, &init_key, &leaf_key)
            .map_err(|_| SnapshotError::Inconsistent("keys of a key package"))
    }
}

impl std::fmt::Debug for KeyPackageBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPackageBundle")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a key package, valid from an hour before `now` for the lifetime in the client's options.
    ///
    /// # Errors
    /// [`ClientError::Local`] when the library fails.
    pub fn key_package(
        &self,
        rng: &mut dyn CryptoRng,
        now: UnixTime,
    ) -> Result<KeyPackageBundle, ClientError> {
        let suite = self.suite();
        let init_key = suite.kem.generate(rng)?;
        let leaf_key = suite.kem.generate(rng)?;
        let leaf_node = self.leaf_node(leaf_key.public(), now)?;
        let mut key_package = KeyPackage {
            version: ProtocolVersion::MLS10,
            cipher_suite: suite.id,
            init_key: HpkePublicKey::from(init_key.public()),
            leaf_node,
            extensions: self.options().key_package_extensions.clone(),
            signature: Signature::default(),
        };
        key_package.signature = suite.sign_with_label(
            self.identity().signer(),
            "KeyPackageTBS",
            &KeyPackageTbs(&key_package).to_bytes(),
        )?;
        let reference = suite.key_package_ref(&key_package.to_bytes())?;
        Ok(KeyPackageBundle { key_package, reference, init_key, leaf_key })
    }

    /// A leaf node of source `key_package`.
    pub(super) fn leaf_node(
        &self,
        encryption_key: &[u8],
        now: UnixTime,
    ) -> Result<LeafNode, ClientError> {
        let options = self.options();
        let lifetime = Lifetime {
            not_before: UnixTime(now.0.saturating_sub(CLOCK_SKEW)),
            not_after: UnixTime(now.0.saturating_add(options.lifetime)),
        };
        let identity = self.identity();
        let mut leaf_node = LeafNode {
            encryption_key: encryption_key.into(),
            signature_key: identity.public(),
            credential: identity.credential().clone(),
            capabilities: self.capabilities(),
            source: LeafNodeSource::KeyPackage(lifetime),
            extensions: options.leaf_extensions.clone(),
            signature: Signature::default(),
        };
        let nowhere = GroupId::default();
        identity.sign_leaf(self.suite(), &mut leaf_node, &nowhere, LeafIndex(0))?;
        Ok(leaf_node)
    }

    /// Reads and validates a key package that somebody published (RFC 9420 section 10.1), its lifetime included.
    ///
    /// # Errors
    /// [`ClientError::KeyPackage`] names the rule that it breaks.
    pub fn read_key_package(
        &self,
        message: &[u8],
        now: UnixTime,
    ) -> Result<KeyPackage, ClientError> {
        let MlsMessage(MlsMessageBody::KeyPackage(key_package)) = MlsMessage::from_bytes(message)?
        else {
            return Err(ClientError::WrongKind);
        };
        let check = self.policy().leaf_check(self.suite(), now);
        check_key_package(&key_package, &check)?;
        check.check_current(&key_package.leaf_node).map_err(KeyPackageViolation::LeafNode)?;
        Ok(*key_package)
    }
}

/// How far the clocks of two clients may be apart, in seconds.
const CLOCK_SKEW: u64 = 3600;

#[cfg(test)]
impl KeyPackageBundle {
    /// The init key and the key of the leaf.
    pub(crate) fn private_keys(&self) -> (HpkePrivateKey, HpkePrivateKey) {
        let export = |key: &dyn KemPrivateKey| key.export().unwrap();
        (export(&*self.init_key), export(&*self.leaf_key))
    }
}
