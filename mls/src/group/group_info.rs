//! Making and comparing GroupInfo (RFC 9420 section 12.4.3). It is made on demand, never as part of a commit that nobody
//! joins by.

use crate::{
    client::Identity,
    codec::{Decode, Encode},
    crypto::{CryptoError, Suite},
    error::ExportError,
    tree::TreeView,
    validation::{GroupInfoViolation, check_group_info_signature},
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
    /// Those of the application.
    pub(crate) extensions: Extensions,
}

/// Assembles and signs a GroupInfo.
pub(crate) fn sign_group_info(
    suite: &'static Suite,
    identity: &Identity,
    parts: GroupInfoParts,
) -> Result<GroupInfo, CryptoError> {
    let mut extensions = parts.extensions;
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
    extensions: Extensions,
) -> Result<Vec<u8>, ExportError> {
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
        extensions,
    };
    let info = sign_group_info(suite, identity, parts)?;
    Ok(MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes())
}

/// A GroupInfo that describes the state that it was compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedGroupInfo {
    /// The member who signed it.
    pub signer: LeafIndex,
    /// True when it carries the ratchet tree.
    pub has_tree: bool,
    /// True when it carries an external public key. Only a member can tell whether the key is the group's, and
    /// [`Group::check_group_info`](crate::Group::check_group_info) does.
    pub has_external_pub: bool,
}

/// What a GroupInfo must say.
pub(crate) struct ExpectedGroupInfo<'a> {
    pub(crate) suite: &'static Suite,
    pub(crate) context: &'a GroupContext,
    pub(crate) confirmation_tag: &'a ConfirmationTag,
    /// Known to members only.
    pub(crate) external_pub: Option<HpkePublicKey>,
    pub(crate) tree: &'a dyn TreeView,
}

impl ExpectedGroupInfo<'_> {
    pub(crate) fn check(&self, message: &[u8]) -> Result<CheckedGroupInfo, GroupInfoViolation> {
        let Ok(MlsMessage(MlsMessageBody::GroupInfo(info))) = MlsMessage::from_bytes(message)
        else {
            return Err(GroupInfoViolation::NotAGroupInfo);
        };
        if info.group_context != *self.context || info.confirmation_tag != *self.confirmation_tag {
            return Err(GroupInfoViolation::OtherState);
        }
        let signer = self.tree.leaf(info.signer).map(|leaf| leaf.signature_key().into());
        check_group_info_signature(self.suite, &info, signer.as_ref())?;
        let tree = info.extensions.find(ExtensionType::RATCHET_TREE);
        if tree.is_some_and(|tree| tree != self.tree.encode_tree()) {
            return Err(GroupInfoViolation::OtherState);
        }
        let found: Option<ExternalPub> = info
            .extensions
            .parse(ExtensionType::EXTERNAL_PUB)
            .map_err(|_| GroupInfoViolation::ExtensionMalformed)?;
        if let Some(ExternalPub { external_pub }) = &found {
            let parsed = self.suite.kem.public_key(external_pub.as_bytes());
            if parsed.is_err() || self.external_pub.as_ref().is_some_and(|own| own != external_pub)
            {
                return Err(GroupInfoViolation::ExternalPub);
            }
        }
        Ok(CheckedGroupInfo {
            signer: info.signer,
            has_tree: tree.is_some(),
            has_external_pub: found.is_some(),
        })
    }
}
