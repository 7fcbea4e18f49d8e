//! Parts that the snapshots of groups, pending commits and pending joins share.

use crate::{
    client::{Client, Identity, SignatureKeyPair},
    codec::{Decode, DecodeError, Encode, Reader, encode_opaque},
    crypto::{HpkePrivateKey, SignaturePrivateKey, Suite},
    error::SnapshotError,
    schedule::{EpochSecrets, RatchetLimits, SecretTree},
    tree::{NodeIndex, SavedKey, TreePrivateKeys},
    wire::{Credential, LeafIndex, SignaturePublicKey},
};

use super::{Member, ReceivedProposal, next_epoch::MemberSecrets};

pub(crate) fn count(number: usize, out: &mut Vec<u8>) {
    u32::try_from(number).unwrap_or(u32::MAX).encode(out);
}

/// Who a member is; its leaf is for the caller to keep.
pub(crate) fn save_member(member: &Member, out: &mut Vec<u8>) {
    member.credential.encode(out);
    member.signature_key.encode(out);
}

pub(crate) fn restore_member(
    leaf: LeafIndex,
    reader: &mut Reader<'_>,
) -> Result<Member, DecodeError> {
    let credential = Credential::decode(reader)?;
    let signature_key = SignaturePublicKey::decode(reader)?;
    Ok(Member { leaf, credential, signature_key })
}

/// A private key, its length and its place, at most. The longest key is that of P-521, of 66 bytes.
pub(super) const KEY: usize = 128;

pub(super) fn secrets_length(secrets: &MemberSecrets) -> usize {
    let keys = secrets.private.count().saturating_mul(KEY);
    let rest = secrets.epoch.saved_length().saturating_add(secrets.secret_tree.saved_length());
    keys.saturating_add(rest).saturating_add(8)
}

pub(super) fn save_secrets(
    secrets: &MemberSecrets,
    out: &mut Vec<u8>,
) -> Result<(), SnapshotError> {
    let keys = secrets.private.export()?;
    count(keys.len(), out);
    for saved in &keys {
        saved.node.0.encode(out);
        encode_opaque(saved.key.as_bytes(), out);
    }
    secrets.epoch.save(out);
    secrets.secret_tree.save(out);
    Ok(())
}

/// Whether the private keys belong to a tree is for the caller to check.
pub(super) fn restore_secrets(
    suite: &'static Suite,
    own_leaf: LeafIndex,
    limits: RatchetLimits,
    reader: &mut Reader<'_>,
) -> Result<MemberSecrets, SnapshotError> {
    let mut saved = Vec::new();
    for _ in 0..u32::decode(reader)? {
        let node = NodeIndex(u32::decode(reader)?);
        saved.push(SavedKey { node, key: HpkePrivateKey::from_slice(reader.opaque()?) });
    }
    let private = TreePrivateKeys::import(suite, own_leaf, saved)?;
    let epoch = EpochSecrets::restore(suite, reader)?;
    let secret_tree = SecretTree::restore(suite, limits, reader)?;
    Ok(MemberSecrets { private, epoch, secret_tree })
}

pub(super) fn proposals_length<'p>(proposals: impl Iterator<Item = &'p ReceivedProposal>) -> usize {
    let length = |received: &ReceivedProposal| {
        let content = received.proposal.to_bytes().len();
        content.saturating_add(received.authenticated_data.len()).saturating_add(256)
    };
    proposals.map(length).fold(8, usize::saturating_add)
}

pub(super) fn save_proposals<'p>(
    proposals: impl ExactSizeIterator<Item = &'p ReceivedProposal>,
    out: &mut Vec<u8>,
) {
    count(proposals.len(), out);
    for proposal in proposals {
        proposal.reference.encode(out);
        proposal.sender.encode(out);
        proposal.proposal.encode(out);
        encode_opaque(&proposal.authenticated_data, out);
    }
}

pub(super) fn restore_proposals(
    reader: &mut Reader<'_>,
) -> Result<Vec<ReceivedProposal>, DecodeError> {
    let mut proposals = Vec::new();
    for _ in 0..u32::decode(reader)? {
        proposals.push(ReceivedProposal {
            reference: Decode::decode(reader)?,
            sender: Decode::decode(reader)?,
            proposal: Decode::decode(reader)?,
            authenticated_data: Decode::decode(reader)?,
        });
    }
    Ok(proposals)
}

pub(super) fn identity_length(client: Option<&Client>) -> usize {
    client.map_or(1, |client| {
        let identity = client.identity();
        let public = identity.public().as_bytes().len();
        identity.credential().to_bytes().len().saturating_add(public).saturating_add(KEY)
    })
}

/// An identity that is to come: the application does not know it yet by a snapshot of the group.
pub(super) fn save_identity(
    client: Option<&Client>,
    out: &mut Vec<u8>,
) -> Result<(), SnapshotError> {
    let Some(client) = client else {
        out.push(0);
        return Ok(());
    };
    out.push(1);
    let identity = client.identity();
    identity.credential().encode(out);
    identity.public().encode(out);
    encode_opaque(identity.signer().export()?.as_bytes(), out);
    Ok(())
}

pub(super) fn restore_identity(
    client: &Client,
    reader: &mut Reader<'_>,
) -> Result<Option<Client>, SnapshotError> {
    if u8::decode(reader)? == 0 {
        return Ok(None);
    }
    let credential = Credential::decode(reader)?;
    let public = SignaturePublicKey::decode(reader)?;
    let private = SignaturePrivateKey::from_slice(reader.opaque()?);
    let inconsistent = || SnapshotError::Inconsistent("the identity to come");
    let keys = SignatureKeyPair::import(client.suite(), &private, &public);
    let identity = Identity::new(credential, keys.map_err(|_| inconsistent())?);
    Ok(Some(client.renamed(identity).map_err(|_| inconsistent())?))
}
