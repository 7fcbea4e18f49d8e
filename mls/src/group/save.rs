//! Saving a group and restoring it.
//!
//! A snapshot holds everything but the client: identity, options and PSK store are the application's to keep.

use std::{collections::BTreeMap, sync::Arc};

use zeroize::Zeroizing;

use crate::{
    client::Client,
    codec::{Decode, DecodeError, Encode, Reader, encode_opaque},
    crypto::{CryptoRng, HpkePrivateKey, Suite},
    error::SnapshotError,
    schedule::{EpochSecrets, ResumptionPsk, SecretTree, SenderDataSecret},
    tree::{NodeIndex, RatchetTree, SavedKey, TreePrivateKeys, TreeView},
    wire::{
        ConfirmationTag, Credential, GroupContext, HpkePublicKey, LeafIndex, ReInit,
        SignaturePublicKey,
    },
};

use super::{
    Group, HandshakeFormat, Member, PendingUpdate, ReceivedProposal, SnapshotKey,
    next_epoch::MemberSecrets,
    past::{PastEpoch, PastEpochs, PastMessages},
    proposal_cache::ProposalCache,
    state::PublicState,
};

const KIND: &str = "group";

impl Group {
    /// Encrypts the group's state for storage.
    ///
    /// To be called after every change, before what caused it leaves the machine: a state restored from before a
    /// message was sent would send another one under the same key.
    ///
    /// # Errors
    /// [`SnapshotError::Local`] when the library fails.
    pub fn save(
        &self,
        key: &SnapshotKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SnapshotError> {
        let content = self.encode_state()?;
        key.seal(self.state.suite, KIND, &content, rng)
    }

    /// The state in the clear; equal states give equal bytes.
    pub(super) fn encode_state(&self) -> Result<Zeroizing<Vec<u8>>, SnapshotError> {
        let tree = self.state.tree.encode_tree();
        // A vector that grows leaves copies of secrets behind.
        let capacity = tree.len().saturating_add(self.saved_length_bound());
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));
        encode_opaque(&self.state.context_bytes, &mut out);
        self.state.confirmation_tag.encode(&mut out);
        encode_opaque(&tree, &mut out);
        self.own_leaf.encode(&mut out);
        out.push(match self.handshake {
            HandshakeFormat::Public => 1,
            HandshakeFormat::Private => 2,
        });
        self.closed.encode(&mut out);
        match &self.secrets {
            None => out.push(0),
            Some(secrets) => {
                out.push(1);
                save_secrets(secrets, &mut out)?;
            }
        }
        count(self.past.0.len(), &mut out);
        for past in &self.past.0 {
            save_past(past, &mut out);
        }
        count(self.proposals.len(), &mut out);
        for proposal in self.proposals.iter() {
            proposal.reference.encode(&mut out);
            proposal.sender.encode(&mut out);
            proposal.proposal.encode(&mut out);
            encode_opaque(&proposal.authenticated_data, &mut out);
        }
        count(self.updates.len(), &mut out);
        for update in &self.updates {
            update.public.encode(&mut out);
            encode_opaque(update.key.export()?.as_bytes(), &mut out);
        }
        Ok(out)
    }

    fn saved_length_bound(&self) -> usize {
        let member = |member: &Member| {
            member.credential.to_bytes().len() + member.signature_key.as_bytes().len() + 16
        };
        let past = self.past.0.iter().map(|past| {
            let kept = past
                .messages
                .as_ref()
                .map_or(0, |messages| messages.secret_tree.saved_length() + messages.context.len());
            let replaced = past.replaced.values().map(|old| old.as_ref().map_or(8, member) + 8);
            kept + replaced.sum::<usize>() + 256
        });
        let proposals = self.proposals.iter().map(|proposal| {
            proposal.proposal.to_bytes().len() + proposal.authenticated_data.len() + 256
        });
        let closed = self.closed.to_bytes().len();
        let present = self.secrets.as_ref().map_or(0, |secrets| secrets.secret_tree.saved_length());
        let lengths = past.chain(proposals).chain([
            present,
            closed,
            self.state.context_bytes.len(),
            self.updates.len().saturating_mul(512),
            // Path keys, epoch secrets, numbers.
            64 * 1024,
        ]);
        lengths.fold(0, usize::saturating_add)
    }
}

impl Client {
    /// Reads what [`Group::save`] wrote for this client.
    ///
    /// The group is flagged as [restored](Group::is_restored) until the next epoch begins.
    ///
    /// # Errors
    /// [`SnapshotError::Key`] when the key is another one or the bytes were altered, [`SnapshotError::Version`] for a format
    /// that this library does not read, [`SnapshotError::OtherClient`] for a group of another identity.
    pub fn restore(&self, bytes: &[u8], key: &SnapshotKey) -> Result<Group, SnapshotError> {
        let suite = self.suite();
        let content = key.open(suite, KIND, bytes)?;
        let mut reader = Reader::new(content.as_bytes());
        let context = GroupContext::from_bytes(reader.opaque()?)?;
        let confirmation_tag = ConfirmationTag::decode(&mut reader)?;
        let tree = RatchetTree::from_bytes(suite, reader.opaque()?)
            .map_err(|_| SnapshotError::Inconsistent("the ratchet tree"))?;
        if tree.tree_hash() != context.tree_hash {
            return Err(SnapshotError::Inconsistent("the tree hash"));
        }
        let own_leaf = LeafIndex::decode(&mut reader)?;
        let handshake = match u8::decode(&mut reader)? {
            1 => HandshakeFormat::Public,
            2 => HandshakeFormat::Private,
            other => {
                return Err(
                    DecodeError::UnknownValue { what: "handshake", value: other.into() }.into()
                );
            }
        };
        let closed: Option<ReInit> = Decode::decode(&mut reader)?;
        let secrets = match u8::decode(&mut reader)? {
            0 => None,
            _ => Some(self.restore_secrets(own_leaf, &tree, &mut reader)?),
        };
        let mut past = PastEpochs::default();
        for _ in 0..u32::decode(&mut reader)? {
            past.0.push_back(self.restore_past(&mut reader)?);
        }
        let mut proposals = ProposalCache::default();
        for _ in 0..u32::decode(&mut reader)? {
            proposals.insert(ReceivedProposal {
                reference: Decode::decode(&mut reader)?,
                sender: Decode::decode(&mut reader)?,
                proposal: Decode::decode(&mut reader)?,
                authenticated_data: Decode::decode(&mut reader)?,
            });
        }
        let mut updates = Vec::new();
        for _ in 0..u32::decode(&mut reader)? {
            let public = HpkePublicKey::decode(&mut reader)?;
            let key = suite.kem_key_pair(reader.opaque()?, public.as_bytes())?;
            updates.push(PendingUpdate { public, key: Arc::from(key) });
        }
        reader.finish()?;
        let state = PublicState::new(suite, context, tree, confirmation_tag);
        Ok(Group {
            client: self.clone(),
            state,
            secrets,
            own_leaf,
            handshake,
            proposals,
            updates,
            past,
            closed,
            restored: true,
        })
    }

    fn restore_secrets(
        &self,
        own_leaf: LeafIndex,
        tree: &RatchetTree,
        reader: &mut Reader<'_>,
    ) -> Result<MemberSecrets, SnapshotError> {
        let suite = self.suite();
        let own = tree.leaf(own_leaf).map(|leaf| SignaturePublicKey::from(leaf.signature_key()));
        if own != Some(self.identity().public()) {
            return Err(SnapshotError::OtherClient);
        }
        let mut saved = Vec::new();
        for _ in 0..u32::decode(reader)? {
            let node = NodeIndex(u32::decode(reader)?);
            saved.push(SavedKey { node, key: HpkePrivateKey::from_slice(reader.opaque()?) });
        }
        let private = TreePrivateKeys::import(suite, own_leaf, saved)?;
        private.check(tree).map_err(|_| SnapshotError::Inconsistent("the private keys"))?;
        let epoch = EpochSecrets::restore(suite, reader)?;
        let secret_tree = SecretTree::restore(suite, self.options().ratchets, reader)?;
        Ok(MemberSecrets { private, epoch, secret_tree })
    }

    fn restore_past(&self, reader: &mut Reader<'_>) -> Result<PastEpoch, SnapshotError> {
        let epoch = u64::decode(reader)?;
        let mut replaced = BTreeMap::new();
        for _ in 0..u32::decode(reader)? {
            let leaf = LeafIndex::decode(reader)?;
            replaced.insert(leaf, restore_member(leaf, reader)?);
        }
        let resumption = ResumptionPsk::from_slice(reader.opaque()?);
        let messages = match u8::decode(reader)? {
            0 => None,
            _ => Some(self.restore_messages(self.suite(), reader)?),
        };
        Ok(PastEpoch { epoch, replaced, resumption, messages })
    }

    fn restore_messages(
        &self,
        suite: &'static Suite,
        reader: &mut Reader<'_>,
    ) -> Result<PastMessages, SnapshotError> {
        Ok(PastMessages {
            context: reader.opaque()?.to_vec(),
            sender_data: SenderDataSecret::from_slice(reader.opaque()?),
            secret_tree: SecretTree::restore(suite, self.options().ratchets, reader)?,
        })
    }
}

fn count(number: usize, out: &mut Vec<u8>) {
    u32::try_from(number).unwrap_or(u32::MAX).encode(out);
}

fn save_secrets(secrets: &MemberSecrets, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
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

fn save_past(past: &PastEpoch, out: &mut Vec<u8>) {
    past.epoch.encode(out);
    count(past.replaced.len(), out);
    for (leaf, member) in &past.replaced {
        leaf.encode(out);
        match member {
            None => out.push(0),
            Some(member) => {
                out.push(1);
                member.credential.encode(out);
                member.signature_key.encode(out);
            }
        }
    }
    encode_opaque(past.resumption.as_bytes(), out);
    match &past.messages {
        None => out.push(0),
        Some(messages) => {
            out.push(1);
            encode_opaque(&messages.context, out);
            encode_opaque(messages.sender_data.as_bytes(), out);
            messages.secret_tree.save(out);
        }
    }
}

fn restore_member(leaf: LeafIndex, reader: &mut Reader<'_>) -> Result<Option<Member>, DecodeError> {
    if u8::decode(reader)? == 0 {
        return Ok(None);
    }
    let credential = Credential::decode(reader)?;
    let signature_key = SignaturePublicKey::decode(reader)?;
    Ok(Some(Member { leaf, credential, signature_key }))
}
