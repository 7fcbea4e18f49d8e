//! Saving a group and restoring it.
//!
//! A snapshot holds everything but the client: identity, options and PSK store are the application's to keep.

use std::{collections::BTreeMap, sync::Arc};

use zeroize::Zeroizing;

use crate::{
    client::Client,
    codec::{Decode, DecodeError, Encode, Reader, encode_opaque},
    crypto::{CryptoRng, Suite},
    error::SnapshotError,
    schedule::{ResumptionPsk, SecretTree, SenderDataSecret},
    tree::{RatchetTree, TreeView},
    wire::{ConfirmationTag, GroupContext, HpkePublicKey, LeafIndex, ReInit},
};

use super::{
    Group, HandshakeFormat, Member, PendingUpdate, SnapshotKey,
    past::{PastEpoch, PastEpochs, PastMessages},
    proposal_cache::ProposalCache,
    saved_parts::{
        KEY, count, identity_length, proposals_length, restore_identity, restore_member,
        restore_proposals, restore_secrets, save_identity, save_member, save_proposals,
        save_secrets, secrets_length,
    },
    state::PublicState,
};

const KIND: &str = "group";

impl Group {
    /// Encrypts the group's state for storage.
    ///
    /// To be called after every change, before what caused it leaves the machine: a state restored from before a
    /// message was sent would send another one under the same key. Not between processing and merging a commit that came encrypted:
    /// its key is spent, and the restored group could not process it again.
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
    pub(crate) fn encode_state(&self) -> Result<Zeroizing<Vec<u8>>, SnapshotError> {
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
        save_proposals(self.proposals.iter(), &mut out);
        count(self.updates.len(), &mut out);
        for update in &self.updates {
            update.public.encode(&mut out);
            encode_opaque(update.key.export()?.as_bytes(), &mut out);
            save_identity(update.identity.as_ref(), &mut out)?;
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
        let updates = self.updates.iter().map(|update| {
            let key = update.public.as_bytes().len().saturating_add(KEY);
            identity_length(update.identity.as_ref()).saturating_add(key)
        });
        let closed = self.closed.to_bytes().len();
        let lengths = past.chain(updates).chain([
            proposals_length(self.proposals.iter()),
            self.secrets.as_ref().map_or(0, secrets_length),
            closed,
            self.state.context_bytes.len(),
            // Numbers and the confirmation tag.
            1024,
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
        let content = key.open(self.suite(), KIND, bytes)?;
        self.decode_group(content.as_bytes())
    }

    /// Reads what [`Group::encode_state`] gave.
    pub(crate) fn decode_group(&self, content: &[u8]) -> Result<Group, SnapshotError> {
        let suite = self.suite();
        let mut reader = Reader::new(content);
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
            _ => {
                let own = tree.leaf(own_leaf);
                if own.map(|leaf| leaf.signature_key().into()) != Some(self.identity().public()) {
                    return Err(SnapshotError::OtherClient);
                }
                let limits = self.options().ratchets;
                let secrets = restore_secrets(suite, own_leaf, limits, &mut reader)?;
                let fits = secrets.private.check(&tree);
                fits.map_err(|_| SnapshotError::Inconsistent("the private keys"))?;
                Some(secrets)
            }
        };
        let mut past = PastEpochs::default();
        for _ in 0..u32::decode(&mut reader)? {
            past.0.push_back(self.restore_past(&mut reader)?);
        }
        let mut proposals = ProposalCache::default();
        for proposal in restore_proposals(&mut reader)? {
            proposals.insert(proposal);
        }
        let mut updates = Vec::new();
        for _ in 0..u32::decode(&mut reader)? {
            let public = HpkePublicKey::decode(&mut reader)?;
            let key = suite.kem_key_pair(reader.opaque()?, public.as_bytes())?;
            let identity = restore_identity(self, &mut reader)?;
            updates.push(PendingUpdate { public, key: Arc::from(key), identity, restored: true });
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

    fn restore_past(&self, reader: &mut Reader<'_>) -> Result<PastEpoch, SnapshotError> {
        let epoch = u64::decode(reader)?;
        let mut replaced = BTreeMap::new();
        for _ in 0..u32::decode(reader)? {
            let leaf = LeafIndex::decode(reader)?;
            let member = match u8::decode(reader)? {
                0 => None,
                _ => Some(restore_member(leaf, reader)?),
            };
            replaced.insert(leaf, member);
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

fn save_past(past: &PastEpoch, out: &mut Vec<u8>) {
    past.epoch.encode(out);
    count(past.replaced.len(), out);
    for (leaf, member) in &past.replaced {
        leaf.encode(out);
        match member {
            None => out.push(0),
            Some(member) => {
                out.push(1);
                save_member(member, out);
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
