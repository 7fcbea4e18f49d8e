//! What a member can do who follows the protocol where it must and nothing else: sign, tag and encrypt anything.

use mls::{
    codec::Encode,
    crypto::SigningKey,
    framing::{protect_public, sign},
    wire::{
        ConfirmationTag, Content, FramedContent, GroupId, KeyPackage, KeyPackageTbs, LeafIndex,
        LeafNode, LeafNodeTbs, MlsMessage, MlsMessageBody, Sender, TreePosition, WireFormat,
    },
};

use super::{
    input::Input,
    world::{World, suite},
};

/// Signs a leaf node for its place in the group.
pub fn sign_leaf(
    leaf: &mut LeafNode,
    signer: &dyn SigningKey,
    group_id: &GroupId,
    place: LeafIndex,
) {
    let position = TreePosition { group_id, leaf_index: place };
    let tbs = LeafNodeTbs { leaf_node: leaf, position }.to_bytes();
    leaf.signature = suite().sign_with_label(signer, "LeafNodeTBS", &tbs).unwrap();
}

/// Signs a key package and its leaf node.
pub fn sign_key_package(package: &mut KeyPackage, signer: &dyn SigningKey) {
    sign_leaf(&mut package.leaf_node, signer, &GroupId::default(), LeafIndex(0));
    let tbs = KeyPackageTbs(package).to_bytes();
    package.signature = suite().sign_with_label(signer, "KeyPackageTBS", &tbs).unwrap();
}

/// Alters a leaf node and signs it again, unless the choice falls on a broken signature.
pub fn alter_leaf(
    input: &mut Input<'_>,
    leaf: &mut LeafNode,
    signer: &dyn SigningKey,
    group_id: &GroupId,
    place: LeafIndex,
) {
    if input.one_in(2) {
        *leaf = input.altered(leaf.clone());
    }
    if input.one_in(2) {
        leaf.signature_key = signer.public().into();
    }
    if !input.one_in(8) {
        sign_leaf(leaf, signer, group_id, place);
    }
}

/// A public message with this content, signed by the key given and tagged as a member does. Content that the framing
/// refuses to sign gives nothing.
pub fn public_message(
    world: &World,
    sender: Sender,
    signer: &dyn SigningKey,
    content: Content,
    tag: Option<ConfirmationTag>,
) -> Option<Vec<u8>> {
    let context = world.service.context();
    let content = FramedContent {
        group_id: context.group_id.clone(),
        epoch: context.epoch,
        sender,
        authenticated_data: Vec::new(),
        content,
    };
    let context = context.to_bytes();
    let signed = sign(suite(), WireFormat::PublicMessage, content, &context, signer).ok()?;
    let authenticated = match tag {
        Some(tag) => signed.confirmed(tag).ok()?,
        None => signed.finish().ok()?,
    };
    let key = Some(&world.membership_key);
    let message = protect_public(suite(), authenticated, key, &context).ok()?;
    Some(MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes())
}
