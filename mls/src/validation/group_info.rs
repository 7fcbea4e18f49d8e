//! Validity of a GroupInfo (RFC 9420 section 12.4.3).

use crate::{
    codec::Encode,
    crypto::Suite,
    tree::TreeError,
    wire::{GroupInfo, GroupInfoTbs, LeafIndex, SignaturePublicKey},
};

use super::leaf_node::LeafNodeViolation;

/// The rule of RFC 9420 section 12.4.3 that a GroupInfo breaks, alone or with the tree that came with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupInfoViolation {
    /// The bytes are not a GroupInfo.
    #[error("not a group info")]
    NotAGroupInfo,
    /// The protocol version or cipher suite is not the one asked for.
    #[error("the protocol version or cipher suite of the group info is not the expected one")]
    Parameters,
    /// No tree came with it, neither inside nor beside it.
    #[error("the group info came without a ratchet tree")]
    TreeMissing,
    /// The tree's hash is not the one in the GroupContext.
    #[error("the tree hash is not that of the ratchet tree")]
    TreeHash,
    /// The tree breaks a rule of section 7 or 12.4.3.
    #[error("the ratchet tree is not valid: {0}")]
    Tree(TreeError),
    /// A leaf of the tree breaks a rule of section 7.3.
    #[error("leaf {leaf}: {violation}")]
    Leaf {
        /// Which leaf.
        leaf: LeafIndex,
        /// Which rule.
        violation: LeafNodeViolation,
    },
    /// An entry of `external_senders` has a credential that the application rejects (section 5.3.1).
    #[error("an external sender is not accepted by the application")]
    ExternalSenderRejected,
    /// The leaf of the signer is blank.
    #[error("the signer's leaf is blank")]
    SignerBlank,
    /// The signature does not verify.
    #[error("the signature of the group info does not verify")]
    Signature,
    /// An extension that this library reads is not well formed.
    #[error("an extension of the group info is not well formed")]
    ExtensionMalformed,
    /// The `external_pub` extension is missing, so that nobody can join by external commit.
    #[error("the group info has no external public key")]
    ExternalPubMissing,
    /// The external public key is not that of the epoch: an external commit made with it would fail.
    #[error("the external public key is not that of the epoch")]
    ExternalPub,
    /// It speaks of another group, epoch or state than the one at hand.
    #[error("the group info does not describe the state of the group")]
    OtherState,
}

/// Verifies the signature with the key in the signer's leaf.
pub(crate) fn check_group_info_signature(
    suite: &Suite,
    info: &GroupInfo,
    signer: Option<&SignaturePublicKey>,
) -> Result<(), GroupInfoViolation> {
    let signer = signer.ok_or(GroupInfoViolation::SignerBlank)?;
    let key = suite
        .signature
        .verifying_key(signer.as_bytes())
        .map_err(|_| GroupInfoViolation::Signature)?;
    suite
        .verify_with_label(&*key, "GroupInfoTBS", &GroupInfoTbs(info).to_bytes(), &info.signature)
        .map_err(|_| GroupInfoViolation::Signature)
}
