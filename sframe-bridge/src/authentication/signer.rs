//! The sender's side: digests of what was sent, batch by batch.

use super::EpochBinding;
use super::batch::{FrameDigest, Listed, MAX_FRAMES, UnsignedBatch};
use crate::header::{self, HeaderError};
use crate::kid::{Kid, KidLayout};
use crate::time::Now;
use core::time::Duration;
use mls::crypto::Suite;
use std::collections::{BTreeMap, VecDeque};

/// When a batch is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    /// At the latest this long after its first frame. Default 200 ms.
    pub interval: Duration,
    /// At the latest when it has so many frames, at most 256. Default 64.
    pub frames: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { interval: Duration::from_millis(200), frames: 64 }
    }
}

#[derive(Debug)]
struct OpenBatch {
    due: Now,
    frames: Vec<Listed>,
}

// Old epochs are sent under only until the send switch.
const KEPT_BINDINGS: usize = 16;

/// Collects what a member sends, over all of its tracks, and makes batches of it.
///
/// After [`add`](Self::add), drain [`poll`](Self::poll) and set a timer for
/// [`next_deadline`](Self::next_deadline).
#[derive(Debug)]
pub struct FrameSigner {
    suite: &'static Suite,
    layout: KidLayout,
    limits: BatchLimits,
    bindings: VecDeque<EpochBinding>,
    open: BTreeMap<Kid, OpenBatch>,
}

impl FrameSigner {
    /// A signer for a call with this KID layout, in a group of this MLS suite.
    pub fn new(suite: &'static Suite, layout: KidLayout, limits: BatchLimits) -> Self {
        let frames = limits.frames.clamp(1, MAX_FRAMES);
        let limits = BatchLimits { frames, ..limits };
        Self { suite, layout, limits, bindings: VecDeque::new(), open: BTreeMap::new() }
    }

    /// Takes in an epoch, before anything is sent under it.
    pub fn install_epoch(&mut self, binding: EpochBinding) {
        self.bindings.push_back(binding);
        if self.bindings.len() > KEPT_BINDINGS {
            self.bindings.pop_front();
        }
    }

    /// Takes in a protected frame, as it is sent, and its metadata. A keyframe makes its batch due
    /// at once, so that a picture does not wait for its proof.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] if the frame is no SFrame ciphertext.
    pub fn add(
        &mut self,
        frame: &[u8],
        metadata: &[u8],
        keyframe: bool,
        now: Now,
    ) -> Result<(), HeaderError> {
        let header = header::peek(frame)?.header;
        let digest = FrameDigest::compute(self.suite, frame, metadata);
        let due = now + self.limits.interval;
        let batch =
            self.open.entry(header.kid).or_insert_with(|| OpenBatch { due, frames: Vec::new() });
        batch.frames.push(Listed { ctr: header.ctr, digest });
        if keyframe || batch.frames.len() >= self.limits.frames {
            batch.due = now;
        }
        Ok(())
    }

    /// The next batch that is due. It is to be signed and sent.
    pub fn poll(&mut self, now: Now) -> Option<UnsignedBatch> {
        loop {
            let (&kid, _) = self.open.iter().find(|(_, batch)| batch.due <= now)?;
            let mut batch = self.open.remove(&kid)?;
            batch.frames.sort_unstable_by_key(|frame| frame.ctr);
            batch.frames.dedup_by_key(|frame| frame.ctr);
            // More frames than fit, if nobody has polled for long, make several batches.
            let fit = batch.frames.len().min(MAX_FRAMES);
            let rest = batch.frames.split_off(fit);
            if !rest.is_empty() {
                self.open.insert(kid, OpenBatch { due: now, frames: rest });
            }
            let epoch_low = self.layout.split(kid).epoch_low;
            let binding = self
                .bindings
                .iter()
                .rev()
                .find(|binding| self.layout.epoch_low(binding.epoch) == epoch_low);
            // Without its epoch a batch proves nothing.
            if let Some(unsigned) =
                binding.and_then(|binding| UnsignedBatch::new(binding, kid, &batch.frames))
            {
                return Some(unsigned);
            }
        }
    }

    /// When [`poll`](Self::poll) has the next batch.
    pub fn next_deadline(&self) -> Option<Now> {
        self.open.values().map(|batch| batch.due).min()
    }
}
