//! Saving a pending commit beside its group.

use zeroize::Zeroizing;

use crate::{
    codec::{Decode, Encode, Reader, encode_opaque},
    crypto::CryptoRng,
    error::SnapshotError,
    wire::{AuthenticatedContent, Content, UnixTime},
};

use super::{
    Group, PendingCommit, SnapshotKey,
    next_epoch::NextPublic,
    pending::{Choice, RestoredParts, public_content},
    proposal_cache::ProposalCache,
    receive_commit::check_commit,
    saved_parts::{
        identity_length, proposals_length, restore_identity, restore_proposals, restore_secrets,
        save_identity, save_proposals, save_secrets, secrets_length,
    },
};

const KIND: &str = "pending commit";

impl PendingCommit {
    /// Encrypts the commit for storage, beside a snapshot of `group`, in which it was built.
    ///
    /// Both belong into one transaction, before the commit is sent: building a commit that is encrypted spends a key of
    /// the group, and a snapshot from before would spend it again.
    ///
    /// # Errors
    /// [`SnapshotError::OtherState`] when the group has moved on, [`SnapshotError::Local`] when the library fails.
    pub fn save(
        &self,
        group: &Group,
        key: &SnapshotKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SnapshotError> {
        if self.group_id != *group.id() || !self.next.follows(&group.state) {
            return Err(SnapshotError::OtherState);
        }
        key.seal(group.state.suite, KIND, &self.encode_state(group)?, rng)
    }

    /// What is saved, in the clear.
    pub(super) fn encode_state(&self, group: &Group) -> Result<Zeroizing<Vec<u8>>, SnapshotError> {
        let content = self.content.as_ref().map(|content| content.to_bytes()).unwrap_or_default();
        // A vector that grows leaves copies of secrets behind.
        let capacity = self.saved_length_bound(group).saturating_add(content.len());
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));
        self.group_id.encode(&mut out);
        encode_opaque(group.state.interim.as_bytes(), &mut out);
        save_secrets(&self.secrets, &mut out)?;
        save_identity(self.choice.identity.as_ref(), &mut out)?;
        self.choice.now.0.encode(&mut out);
        encode_opaque(&self.commit, &mut out);
        self.welcome.encode(&mut out);
        encode_opaque(&content, &mut out);
        save_proposals(self.referenced.iter(), &mut out);
        Ok(out)
    }

    /// How long it is at most, the content of an encrypted commit apart.
    pub(super) fn saved_length_bound(&self, group: &Group) -> usize {
        let lengths = [
            self.group_id.as_bytes().len(),
            self.commit.len(),
            self.welcome.as_ref().map_or(0, Vec::len),
            secrets_length(&self.secrets),
            proposals_length(self.referenced.iter()),
            identity_length(self.choice.identity.as_ref()),
            group.state.interim.as_bytes().len(),
            // The time, and the lengths of all these.
            64,
        ];
        lengths.into_iter().fold(0, usize::saturating_add)
    }
}

impl Group {
    /// Reads what [`PendingCommit::save`] wrote. The group has been restored from the snapshot beside it.
    ///
    /// The commit is the same, bit by bit, and can be sent again. Whether the epoch that it starts was entered before the
    /// crash is not known: the group stays [restored](Group::is_restored) when it is confirmed.
    ///
    /// # Errors
    /// [`SnapshotError::OtherState`] when the group has moved on since, or is another one; otherwise as for
    /// [`Client::restore`](crate::Client::restore).
    pub fn restore_pending(
        &self,
        bytes: &[u8],
        key: &SnapshotKey,
    ) -> Result<PendingCommit, SnapshotError> {
        let (state, suite) = (&self.state, self.state.suite);
        let saved = key.open(suite, KIND, bytes)?;
        let mut reader = Reader::new(saved.as_bytes());
        let group_id = crate::GroupId::decode(&mut reader)?;
        let base = reader.opaque()?;
        if group_id != state.context.group_id || base != state.interim.as_bytes() {
            return Err(SnapshotError::OtherState);
        }
        let limits = self.client.options().ratchets;
        let secrets = restore_secrets(suite, self.own_leaf, limits, &mut reader)?;
        let identity = restore_identity(&self.client, &mut reader)?;
        let now = UnixTime(u64::decode(&mut reader)?);
        let commit: Vec<u8> = Decode::decode(&mut reader)?;
        let welcome = Decode::decode(&mut reader)?;
        let content = match reader.opaque()? {
            [] => None,
            bytes => Some(Box::new(AuthenticatedContent::from_bytes(bytes)?)),
        };
        let referenced = restore_proposals(&mut reader)?;
        reader.finish()?;

        let inconsistent = || SnapshotError::Inconsistent("the pending commit");
        let public = match &content {
            Some(_) => None,
            None => public_content(&commit),
        };
        let authenticated = content.as_deref().or(public.as_ref()).ok_or_else(inconsistent)?;
        let Content::Commit(committed) = &authenticated.content.content else {
            return Err(inconsistent());
        };
        let tag = authenticated.auth.confirmation_tag.clone().ok_or_else(inconsistent)?;
        let mut cache = ProposalCache::default();
        for proposal in &referenced {
            cache.insert(proposal.clone());
        }
        let policy = self.client.policy();
        let checked = check_commit(state, &cache, authenticated, committed, None, policy, now)
            .map_err(|_| inconsistent())?;
        let applied = checked.applied;
        secrets.private.check(&applied.overlay).map_err(|_| inconsistent())?;
        secrets
            .epoch
            .check_confirmation_tag(&applied.context.confirmed_transcript_hash, &tag)
            .map_err(|_| inconsistent())?;
        let tree = applied.overlay.finish();
        let next = NextPublic::new(state, tree, applied.context, tag, checked.changes);
        let choice = Choice { entries: committed.proposals.clone(), identity, now };
        let parts = RestoredParts { next, secrets, commit, welcome, content, choice, referenced };
        Ok(PendingCommit::restored(self, parts))
    }
}
