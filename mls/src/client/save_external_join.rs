//! Saving an external commit that has been sent and not been confirmed.

use zeroize::Zeroizing;

use crate::{
    codec::{Decode, Encode, Reader, encode_opaque},
    crypto::CryptoRng,
    error::SnapshotError,
    group::{
        Changes, SnapshotKey,
        saved_parts::{count, restore_member, save_member},
    },
    wire::LeafIndex,
};

use super::{Client, PendingExternalJoin};

const KIND: &str = "external join";

impl PendingExternalJoin {
    /// Encrypts the commit, and the group that it leads into, for storage: to be called before the commit is sent.
    ///
    /// After a crash [`Client::restore_external_join`] gives the same commit, bit by bit, to be sent again or found in the log.
    /// What is saved holds the secrets of the epoch to come: it is deleted in the transaction that saves the
    /// [confirmed](Self::confirm) group, or when another commit has won.
    ///
    /// # Errors
    /// [`SnapshotError::Local`] when the library fails.
    pub fn save(
        &self,
        key: &SnapshotKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SnapshotError> {
        let mut public = Vec::new();
        encode_opaque(&self.commit, &mut public);
        count(self.changes.psks, &mut public);
        count(self.changes.removed.len(), &mut public);
        for member in &self.changes.removed {
            member.leaf.encode(&mut public);
            save_member(member, &mut public);
        }
        let group = self.group.encode_state()?;
        // A vector that grows leaves copies of secrets behind.
        let capacity = public.len().saturating_add(group.len());
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));
        out.extend_from_slice(&public);
        out.extend_from_slice(&group);
        key.seal(self.group.suite(), KIND, &out, rng)
    }
}

impl Client {
    /// Reads what [`PendingExternalJoin::save`] wrote for this client.
    ///
    /// Whether the group was entered before the crash is not known: it is flagged as [restored](crate::Group::is_restored) until its
    /// next epoch begins.
    ///
    /// # Errors
    /// Those of [`Client::restore`].
    pub fn restore_external_join(
        &self,
        bytes: &[u8],
        key: &SnapshotKey,
    ) -> Result<PendingExternalJoin, SnapshotError> {
        let content = key.open(self.suite(), KIND, bytes)?;
        let mut reader = Reader::new(content.as_bytes());
        let commit = reader.opaque()?.to_vec();
        let psks = u32::decode(&mut reader)?;
        let mut removed = Vec::new();
        for _ in 0..u32::decode(&mut reader)? {
            let leaf = LeafIndex::decode(&mut reader)?;
            removed.push(restore_member(leaf, &mut reader)?);
        }
        let group = self.decode_group(reader.rest())?;
        let inconsistent = || SnapshotError::Inconsistent("the external join");
        let committer = group.member(group.own_leaf()).ok_or_else(inconsistent)?;
        let changes = Changes {
            epoch: group.epoch(),
            added: vec![committer.clone()],
            committer,
            external: true,
            welcomed: Vec::new(),
            removed,
            updated: Vec::new(),
            extensions_changed: false,
            path: true,
            psks: usize::try_from(psks).map_err(|_| inconsistent())?,
            self_removed: false,
            reinit: None,
            custom: Vec::new(),
        };
        Ok(PendingExternalJoin { commit, changes, group })
    }
}
