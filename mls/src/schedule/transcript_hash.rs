//! The running hashes over a group's commits (RFC 9420 section 8.2).

use crate::{
    codec::Encode,
    crypto::Suite,
    wire::{ConfirmationTag, ContentType, FramedContent, Signature, WireFormat},
};

use super::ScheduleError;

/// Most commits without newcomers are not longer, in bytes.
const USUAL_COMMIT: usize = 4096;

/// `interim_transcript_hash`: the history up to and including a commit's confirmation tag.
///
/// The other hash, over the history up to a commit's signature, is `confirmed_transcript_hash` in the GroupContext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterimTranscriptHash(Vec<u8>);

impl InterimTranscriptHash {
    /// Takes a hash that was computed before, for example from a snapshot.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The hash, `Nh` bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The interim hash of an epoch, from what its GroupContext or GroupInfo holds.
    ///
    /// In epoch 0 the confirmed hash is empty and the tag is over the empty string (RFC 9420 section 11).
    #[must_use]
    pub fn compute(
        suite: &Suite,
        confirmed_transcript_hash: &[u8],
        confirmation_tag: &ConfirmationTag,
    ) -> Self {
        let input = confirmation_tag.to_bytes();
        Self(suite.hash(&[confirmed_transcript_hash, &input]).to_vec())
    }

    /// `confirmed_transcript_hash` of the epoch that a commit starts, for its GroupContext; `self` belongs to the
    /// epoch in which the commit was sent.
    ///
    /// # Errors
    /// [`ScheduleError::NotACommit`].
    pub fn confirm(
        &self,
        suite: &Suite,
        wire_format: WireFormat,
        content: &FramedContent,
        signature: &Signature,
    ) -> Result<Vec<u8>, ScheduleError> {
        if content.content.content_type() != ContentType::Commit {
            return Err(ScheduleError::NotACommit);
        }
        let mut input = Vec::with_capacity(USUAL_COMMIT);
        wire_format.encode(&mut input);
        content.encode(&mut input);
        signature.encode(&mut input);
        Ok(suite.hash(&[&self.0, &input]).to_vec())
    }
}
