//! The encoding of a batch.

use super::{BatchError, EpochBinding};
use crate::kid::Kid;
use mls::crypto::Suite;
use mls::wire::Signature;
use subtle::ConstantTimeEq as _;

const VERSION: u8 = 1;
const DIGEST_LENGTH: usize = 16;

/// The most frames in one batch.
pub(super) const MAX_FRAMES: usize = 256;

/// The digest of a protected frame and its metadata, which a batch lists.
#[derive(Clone, Copy, Debug)]
pub struct FrameDigest([u8; DIGEST_LENGTH]);

impl FrameDigest {
    /// The digest of an SFrame ciphertext, header included, and the metadata authenticated with
    /// it. To be computed before the frame is opened in place. `suite` is that of the MLS group.
    pub fn compute(suite: &Suite, frame: &[u8], metadata: &[u8]) -> Self {
        let length = (metadata.len() as u64).to_be_bytes();
        let hash = suite.hash(&[&length, metadata, frame]);
        Self(hash.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}

impl PartialEq for FrameDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for FrameDigest {}

/// A frame as a batch lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) ctr: u64,
    pub(super) digest: FrameDigest,
}

/// A batch that waits for its signature.
#[derive(Clone, Debug)]
pub struct UnsignedBatch {
    encoded: Vec<u8>,
    content: Vec<u8>,
}

impl UnsignedBatch {
    /// `None` if a counter is lower than the first one or further ahead than an offset reaches.
    pub(super) fn new(binding: &EpochBinding, kid: Kid, frames: &[Listed]) -> Option<Self> {
        let first = frames.first()?.ctr;
        let mut encoded = vec![VERSION];
        encoded.extend(kid.0.to_be_bytes());
        encoded.extend(binding.epoch.to_be_bytes());
        encoded.extend(first.to_be_bytes());
        encoded.extend(u16::try_from(frames.len()).ok()?.to_be_bytes());
        for frame in frames {
            let offset = u16::try_from(frame.ctr.checked_sub(first)?).ok()?;
            encoded.extend(offset.to_be_bytes());
            encoded.extend(frame.digest.0);
        }
        let content = to_be_signed(binding, &encoded)?;
        Some(Self { encoded, content })
    }

    /// What is signed: [`Group::sign_for_application`](mls::Group::sign_for_application) with
    /// [`BATCH_LABEL`](super::BATCH_LABEL).
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// The batch with its signature, as it is sent.
    pub fn signed(self, signature: &Signature) -> Vec<u8> {
        let mut out = self.encoded;
        let signature = signature.as_bytes();
        // No signature scheme comes near 2^16 bytes; one that did would not verify.
        out.extend((signature.len() as u16).to_be_bytes());
        out.extend_from_slice(signature);
        out
    }
}

/// A batch as received.
#[derive(Debug)]
pub(super) struct ReceivedBatch<'a> {
    pub(super) kid: Kid,
    pub(super) epoch: u64,
    pub(super) frames: Vec<Listed>,
    pub(super) signature: &'a [u8],
    encoded: &'a [u8],
}

impl<'a> ReceivedBatch<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        Self::read(bytes).ok_or(BatchError::Malformed)
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        if take::<1>(&mut rest)? != [VERSION] {
            return None;
        }
        let kid = Kid(u64::from_be_bytes(take(&mut rest)?));
        let epoch = u64::from_be_bytes(take(&mut rest)?);
        let first = u64::from_be_bytes(take(&mut rest)?);
        let count = usize::from(u16::from_be_bytes(take(&mut rest)?));
        if count == 0 || count > MAX_FRAMES || rest.len() < count * (2 + DIGEST_LENGTH) {
            return None;
        }
        let mut frames: Vec<Listed> = Vec::with_capacity(count);
        for _ in 0..count {
            let offset = u16::from_be_bytes(take(&mut rest)?);
            let ctr = first.checked_add(offset.into())?;
            if frames.last().is_some_and(|last| last.ctr >= ctr) {
                return None;
            }
            frames.push(Listed { ctr, digest: FrameDigest(take(&mut rest)?) });
        }
        let encoded = bytes.get(..bytes.len() - rest.len())?;
        let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
        if rest.len() != length {
            return None;
        }
        Some(Self { kid, epoch, frames, signature: rest, encoded })
    }

    pub(super) fn content(&self, binding: &EpochBinding) -> Option<Vec<u8>> {
        to_be_signed(binding, self.encoded)
    }
}

fn to_be_signed(binding: &EpochBinding, encoded: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    for part in [&binding.group_id, &binding.confirmed_transcript_hash] {
        content.extend(u16::try_from(part.len()).ok()?.to_be_bytes());
        content.extend_from_slice(part);
    }
    content.extend_from_slice(encoded);
    Some(content)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}
