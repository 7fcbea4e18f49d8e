//! Validity of a leaf node (RFC 9420 section 7.3).

use crate::{
    codec::{DecodeError, Encode},
    crypto::{Suite, VerifyingKey},
    tree::LeafRef,
    wire::{
        Capabilities, CredentialType, ExtensionType, Extensions, GroupId, LeafIndex, LeafNode,
        LeafNodeSource, LeafNodeTbs, Lifetime, ProposalType, ProtocolVersion, RequiredCapabilities,
        TreePosition, UnixTime,
    },
};

use super::credential::{CredentialRejected, CredentialValidator};

/// The rule of RFC 9420 section 7.3 (or of a section it refers to) that a leaf node breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafNodeViolation {
    /// The application does not accept the credential (section 5.3.1).
    #[error(transparent)]
    Credential(#[from] CredentialRejected),
    /// The signature key is not a key of the suite.
    #[error("the signature key is not a key of the cipher suite")]
    SignatureKeyMalformed,
    /// The encryption key is not a key of the suite.
    #[error("the encryption key is not a key of the cipher suite")]
    EncryptionKeyMalformed,
    /// The signature does not verify at this place in this group.
    #[error("the signature of the leaf node does not verify")]
    Signature,
    /// The capabilities do not list the protocol version of the group.
    #[error("the leaf does not support the protocol version of the group")]
    VersionUnsupported,
    /// The capabilities do not list the cipher suite of the group.
    #[error("the leaf does not support the cipher suite of the group")]
    CipherSuiteUnsupported,
    /// The capabilities do not list the leaf's own credential type (section 7.2).
    #[error("the leaf does not list its own credential type {0:?} in its capabilities")]
    OwnCredentialTypeUnlisted(CredentialType),
    /// The leaf carries an extension that its capabilities do not list.
    #[error("the leaf carries extension {0:?}, which its capabilities do not list")]
    ExtensionUnlisted(ExtensionType),
    /// An extension type in `required_capabilities` is not supported (section 11.1).
    #[error("the group requires support of extension {0:?}")]
    RequiredExtension(ExtensionType),
    /// A proposal type in `required_capabilities` is not supported (section 11.1).
    #[error("the group requires support of proposal {0:?}")]
    RequiredProposal(ProposalType),
    /// A credential type in `required_capabilities` is not supported (section 11.1).
    #[error("the group requires support of credential type {0:?}")]
    RequiredCredential(CredentialType),
    /// An extension of the GroupContext is not supported (section 13.4).
    #[error("extension {0:?} of the group is not supported")]
    GroupExtension(ExtensionType),
    /// The credential type is not supported by all members, or the leaf does not support one that is in use.
    #[error("credential type {0:?} is in use and not supported by every member")]
    CredentialTypeNotShared(CredentialType),
    /// The current time lies outside the lifetime.
    #[error("the current time is outside the lifetime of the leaf")]
    OutsideLifetime,
    /// The lifetime is longer than the application permits (section 7.2).
    #[error("the lifetime is longer than the application permits")]
    LifetimeTooLong,
    /// The leaf node source is not the one that its place demands.
    #[error("the leaf node source must be {expected}")]
    Source {
        /// What the place demands.
        expected: &'static str,
    },
    /// Another member has this signature key.
    #[error("the signature key is in use at leaf {0}")]
    SignatureKeyInUse(LeafIndex),
    /// The encryption key is that of the leaf to be replaced (sections 7.3, 12.4.2).
    #[error("the encryption key is the one to be replaced")]
    EncryptionKeyUnchanged,
}

/// Where a leaf node was found, which decides its source and what its signature covers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SignedPlace<'a> {
    /// In a key package.
    KeyPackage,
    /// In an Update proposal of the member at the leaf.
    Update(&'a GroupId, LeafIndex),
    /// In the path of a commit.
    Commit(&'a GroupId, LeafIndex),
    /// In the tree of a group that is being joined, where every source may stand.
    Tree(&'a GroupId, LeafIndex),
}

/// What the checks on a single leaf depend on.
#[derive(Clone, Copy)]
pub(crate) struct LeafCheck<'a> {
    pub(crate) suite: &'static Suite,
    pub(crate) validator: &'a dyn CredentialValidator,
    pub(crate) max_lifetime: Option<u64>,
    pub(crate) now: UnixTime,
}

impl LeafCheck<'_> {
    /// Everything that can be said of a leaf by itself, its credential apart. Gives its parsed signature key.
    pub(crate) fn check(
        &self,
        leaf: &LeafNode,
        place: SignedPlace<'_>,
    ) -> Result<Box<dyn VerifyingKey>, LeafNodeViolation> {
        self.check_but_signature(leaf, place)?;
        let key = self
            .suite
            .signature
            .verifying_key(leaf.signature_key.as_bytes())
            .map_err(|_| LeafNodeViolation::SignatureKeyMalformed)?;
        let nowhere = GroupId::default();
        let position = match place {
            SignedPlace::KeyPackage => {
                TreePosition { group_id: &nowhere, leaf_index: LeafIndex(0) }
            }
            SignedPlace::Update(group_id, leaf_index)
            | SignedPlace::Commit(group_id, leaf_index)
            | SignedPlace::Tree(group_id, leaf_index) => TreePosition { group_id, leaf_index },
        };
        let signed = LeafNodeTbs { leaf_node: leaf, position }.to_bytes();
        self.suite
            .verify_with_label(&*key, "LeafNodeTBS", &signed, &leaf.signature)
            .map_err(|_| LeafNodeViolation::Signature)?;
        Ok(key)
    }

    /// The part of [`LeafCheck::check`] that needs no signature check.
    pub(crate) fn check_but_signature(
        &self,
        leaf: &LeafNode,
        place: SignedPlace<'_>,
    ) -> Result<(), LeafNodeViolation> {
        check_source(leaf, place)?;
        check_own_capabilities(leaf, self.suite)?;
        if let (LeafNodeSource::KeyPackage(lifetime), Some(most)) =
            (&leaf.source, self.max_lifetime)
            && lifetime.not_after.0.saturating_sub(lifetime.not_before.0) > most
        {
            return Err(LeafNodeViolation::LifetimeTooLong);
        }
        self.suite
            .kem
            .check_public_key(leaf.encryption_key.as_bytes())
            .map_err(|_| LeafNodeViolation::EncryptionKeyMalformed)?;
        Ok(())
    }

    /// The application accepts the credential.
    pub(crate) fn check_credential(&self, leaf: &LeafNode) -> Result<(), LeafNodeViolation> {
        Ok(self.validator.validate(&leaf.credential, &leaf.signature_key, self.now)?)
    }

    /// A leaf that is about to be sent must be within its lifetime, and its credential must not have expired. The receivers of a
    /// commit do not check this: they would disagree, as they see it at different times.
    pub(crate) fn check_current(&self, leaf: &LeafNode) -> Result<(), LeafNodeViolation> {
        match &leaf.source {
            LeafNodeSource::KeyPackage(lifetime) if !Lifetime::contains(lifetime, self.now) => {
                Err(LeafNodeViolation::OutsideLifetime)
            }
            _ => Ok(self.validator.validate_current(&leaf.credential, self.now)?),
        }
    }

    /// The rules on a leaf that takes the place of another one of the same member (sections 5.3.1, 7.3).
    pub(crate) fn check_replacement(
        &self,
        old: LeafRef<'_>,
        new: &LeafNode,
    ) -> Result<(), LeafNodeViolation> {
        if old.encryption_key() == new.encryption_key.as_bytes() {
            return Err(LeafNodeViolation::EncryptionKeyUnchanged);
        }
        let old_credential = old.credential();
        if old_credential != new.credential || old.signature_key() != new.signature_key.as_bytes() {
            self.check_credential(new)?;
            self.validator.validate_successor(&old_credential, &new.credential)?;
        }
        Ok(())
    }
}

fn check_source(leaf: &LeafNode, place: SignedPlace<'_>) -> Result<(), LeafNodeViolation> {
    match (place, &leaf.source) {
        (SignedPlace::KeyPackage, LeafNodeSource::KeyPackage(_))
        | (SignedPlace::Update(..), LeafNodeSource::Update)
        | (SignedPlace::Commit(..), LeafNodeSource::Commit(_))
        | (SignedPlace::Tree(..), _) => Ok(()),
        (SignedPlace::KeyPackage, _) => Err(LeafNodeViolation::Source { expected: "key_package" }),
        (SignedPlace::Update(..), _) => Err(LeafNodeViolation::Source { expected: "update" }),
        (SignedPlace::Commit(..), _) => Err(LeafNodeViolation::Source { expected: "commit" }),
    }
}

fn check_own_capabilities(leaf: &LeafNode, suite: &Suite) -> Result<(), LeafNodeViolation> {
    let capabilities = &leaf.capabilities;
    if !capabilities.versions.contains(&ProtocolVersion::MLS10) {
        return Err(LeafNodeViolation::VersionUnsupported);
    }
    if !capabilities.cipher_suites.contains(&suite.id) {
        return Err(LeafNodeViolation::CipherSuiteUnsupported);
    }
    let credential_type = leaf.credential.credential_type();
    if !capabilities.credentials.contains(&credential_type) {
        return Err(LeafNodeViolation::OwnCredentialTypeUnlisted(credential_type));
    }
    check_listed(&leaf.extensions, capabilities)
}

/// Every extension must be a default one or be listed in the capabilities.
pub(super) fn check_listed(
    extensions: &Extensions,
    capabilities: &Capabilities,
) -> Result<(), LeafNodeViolation> {
    let unlisted = extensions
        .iter()
        .map(|extension| extension.extension_type)
        .find(|found| !supports_extension(capabilities, *found));
    unlisted.map_or(Ok(()), |found| Err(LeafNodeViolation::ExtensionUnlisted(found)))
}

fn supports_extension(capabilities: &Capabilities, extension_type: ExtensionType) -> bool {
    extension_type.is_default() || capabilities.extensions.contains(&extension_type)
}

fn supports_proposal(capabilities: &Capabilities, proposal_type: ProposalType) -> bool {
    proposal_type.is_default() || capabilities.proposals.contains(&proposal_type)
}

/// The leaf supports what the GroupContext demands: the required capabilities (section 11.1) and every extension
/// (section 13.4). `required` is the decoded extension of that context.
pub(crate) fn check_requirements(
    capabilities: &Capabilities,
    required: &RequiredCapabilities,
    extensions: &Extensions,
) -> Result<(), LeafNodeViolation> {
    if let Some(missing) =
        required.extension_types.iter().find(|&&t| !supports_extension(capabilities, t))
    {
        return Err(LeafNodeViolation::RequiredExtension(*missing));
    }
    if let Some(missing) =
        required.proposal_types.iter().find(|&&t| !supports_proposal(capabilities, t))
    {
        return Err(LeafNodeViolation::RequiredProposal(*missing));
    }
    if let Some(missing) =
        required.credential_types.iter().find(|t| !capabilities.credentials.contains(t))
    {
        return Err(LeafNodeViolation::RequiredCredential(*missing));
    }
    let unsupported = extensions
        .iter()
        .map(|extension| extension.extension_type)
        .find(|found| !supports_extension(capabilities, *found));
    unsupported.map_or(Ok(()), |found| Err(LeafNodeViolation::GroupExtension(found)))
}

/// The decoded `required_capabilities` of a GroupContext; empty when absent.
pub(crate) fn required_capabilities(
    extensions: &Extensions,
) -> Result<RequiredCapabilities, DecodeError> {
    let required = extensions.parse(ExtensionType::REQUIRED_CAPABILITIES)?;
    Ok(required.unwrap_or_default())
}
