//! Validity of a key package (RFC 9420 section 10.1).

use crate::{
    codec::Encode,
    wire::{ExtensionType, KeyPackage, KeyPackageTbs, ProtocolVersion},
};

use super::leaf_node::{LeafCheck, LeafNodeViolation, SignedPlace, check_listed};

/// The rule of RFC 9420 section 10.1 that a key package breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyPackageViolation {
    /// The protocol version is not that of the group.
    #[error("the protocol version of the key package is not that of the group")]
    Version,
    /// The cipher suite is not that of the group.
    #[error("the cipher suite of the key package is not that of the group")]
    CipherSuite,
    /// The init key is not a key of the suite.
    #[error("the init key is not a key of the cipher suite")]
    InitKeyMalformed,
    /// The init key equals the leaf's encryption key.
    #[error("the init key equals the encryption key of the leaf")]
    InitKeyIsEncryptionKey,
    /// The key package carries an extension that the leaf's capabilities do not list (section 10).
    #[error("the key package carries extension {0:?}, which its capabilities do not list")]
    ExtensionUnlisted(ExtensionType),
    /// The leaf node is not valid.
    #[error("leaf node of the key package: {0}")]
    LeafNode(#[from] LeafNodeViolation),
    /// The signature does not verify.
    #[error("the signature of the key package does not verify")]
    Signature,
}

/// Everything that can be said of a key package without knowing the group beyond its suite.
pub(crate) fn check_key_package(
    key_package: &KeyPackage,
    check: &LeafCheck<'_>,
) -> Result<(), KeyPackageViolation> {
    if key_package.version != ProtocolVersion::MLS10 {
        return Err(KeyPackageViolation::Version);
    }
    if key_package.cipher_suite != check.suite.id {
        return Err(KeyPackageViolation::CipherSuite);
    }
    let leaf = &key_package.leaf_node;
    if key_package.init_key == leaf.encryption_key {
        return Err(KeyPackageViolation::InitKeyIsEncryptionKey);
    }
    check
        .suite
        .kem
        .public_key(key_package.init_key.as_bytes())
        .map_err(|_| KeyPackageViolation::InitKeyMalformed)?;
    if let Err(LeafNodeViolation::ExtensionUnlisted(unlisted)) =
        check_listed(&key_package.extensions, &leaf.capabilities)
    {
        return Err(KeyPackageViolation::ExtensionUnlisted(unlisted));
    }
    let signature_key = check.check(leaf, SignedPlace::KeyPackage)?;
    let signed = KeyPackageTbs(key_package).to_bytes();
    check
        .suite
        .verify_with_label(&*signature_key, "KeyPackageTBS", &signed, &key_package.signature)
        .map_err(|_| KeyPackageViolation::Signature)?;
    Ok(check.check_credential(leaf)?)
}
