//! Making a GroupInfo (RFC 9420 section 12.4.3). It is made on demand, never as part of a commit that nobody joins by.

use crate::{
    client::Identity,
    codec::Encode,
    crypto::{CryptoError, Suite},
    error::ExportError,
    wire::{
        ConfirmationTag, Extension, ExtensionType, Extensions, ExternalPub, GroupContext,
        GroupInfo, GroupInfoTbs, HpkePublicKey, LeafIndex, MlsMessage, MlsMessageBody, Signature,
    },
};

use super::{
    next_epoch::{MemberSecrets, NextPublic},
    state::PublicState,
};

/// What a GroupInfo carries beside the group's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupInfoOptions {
    /// The ratchet tree inside. Without it whoever joins has to get the tree elsewhere.
    pub tree: bool,
    /// The external public key, without which nobody can join by external commit.
    pub external_pub: bool,
}

impl Default for GroupInfoOptions {
    /// Everything that an external joiner needs.
    fn default() -> Self {
        Self { tree: true, external_pub: true }
    }
}

/// What a GroupInfo is made of.
pub(crate) struct GroupInfoParts {
    pub(crate) context: GroupContext,
    pub(crate) confirmation_tag: ConfirmationTag,
    pub(crate) signer: LeafIndex,
    pub(crate) tree: Option<Vec<u8>>,
    pub(crate) external_pub: Option<HpkePublicKey>,
}

/// Assembles and signs a GroupInfo.
pub(crate) fn sign_group_info(
    suite: &'static Suite,
    identity: &Identity,
    parts: GroupInfoParts,
) -> Result<GroupInfo, CryptoError> {
    let mut extensions = Extensions::new();
    if let Some(tree) = parts.tree {
        extensions.set(Extension { extension_type: ExtensionType::RATCHET_TREE, data: tree });
    }
    if let Some(external_pub) = parts.external_pub {
        let content = ExternalPub { external_pub };
        extensions.set(Extension::new(ExtensionType::EXTERNAL_PUB, &content));
    }
    let mut info = GroupInfo {
        group_context: parts.context,
        extensions,
        confirmation_tag: parts.confirmation_tag,
        signer: parts.signer,
        signature: Signature::default(),
    };
    info.signature = suite.sign_with_label(
        identity.signer(),
        "GroupInfoTBS",
        &GroupInfoTbs(&info).to_bytes(),
    )?;
    Ok(info)
}

/// An epoch of which a GroupInfo is wanted: the present one, or the one that a pending commit starts.
pub(crate) enum Described<'a> {
    Present(&'a PublicState),
    Next(&'a PublicState, &'a NextPublic),
}

/// A GroupInfo as a message.
pub(crate) fn describe(
    described: Described<'_>,
    identity: &Identity,
    secrets: &MemberSecrets,
    options: GroupInfoOptions,
) -> Result<Vec<u8>, ExportError> {
    use crate::tree::TreeView;

    let (suite, context, tag, tree) = match described {
        Described::Present(state) => (
            state.suite,
            &state.context,
            &state.confirmation_tag,
            options.tree.then(|| state.tree.encode_tree()),
        ),
        Described::Next(state, next) => (
            state.suite,
            &next.context,
            &next.confirmation_tag,
            options.tree.then(|| next.tree.view(&state.tree).encode_tree()),
        ),
    };
    let external_pub = match options.external_pub {
        true => Some(secrets.epoch.external()?.public_key()),
        false => None,
    };
    let parts = GroupInfoParts {
        context: context.clone(),
        confirmation_tag: tag.clone(),
        signer: secrets.private.own_leaf(),
        tree,
        external_pub,
    };
    let info = sign_group_info(suite, identity, parts)?;
    Ok(MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes())
}
