//! One sender's key and the counters that have been seen under it.

use crate::error::ReceiveError;
use crate::key_derivation::FrameKey;
use crate::replay::{Freshness, ReplayWindow};

/// A key to open with and its replay window, which lives as long as the key.
pub(crate) struct Stream {
    pub(crate) key: FrameKey,
    pub(crate) replay: ReplayWindow,
}

impl Stream {
    pub(crate) const fn new(key: FrameKey) -> Self {
        Self { key, replay: ReplayWindow::new() }
    }

    /// Decrypts `sealed` in place and returns the plaintext's length. The counter is recorded once
    /// the tag has been verified, and not before.
    #[inline]
    pub(crate) fn open(
        &mut self,
        ctr: u64,
        aad: &[u8],
        sealed: &mut [u8],
    ) -> Result<usize, ReceiveError> {
        let length = self.key.open(ctr, aad, sealed).map_err(|_| ReceiveError::Unauthentic)?;
        match self.replay.record(ctr) {
            Freshness::Fresh => Ok(length),
            Freshness::Duplicate => Err(ReceiveError::Duplicate { ctr }),
            Freshness::TooOld => Err(ReceiveError::Replayed { ctr }),
        }
    }
}
