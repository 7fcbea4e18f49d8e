//! Frames that arrived before the commit that begins their epoch.

use crate::time::Now;
use core::time::Duration;
use std::collections::VecDeque;

/// Bounds of a [`WaitBuffer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitLimits {
    /// Most frames. Default 128.
    pub frames: usize,
    /// Most bytes of frames in total. Default 4 MiB.
    pub bytes: usize,
    /// Longest wait. Default 2 s.
    pub time: Duration,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self { frames: 128, bytes: 4 << 20, time: Duration::from_secs(2) }
    }
}

/// A frame that waits, with what the application keeps beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting<T> {
    /// The epoch that it waits for.
    pub epoch: u64,
    /// Since when it waits.
    pub since: Now,
    /// The frame as received.
    pub frame: Vec<u8>,
    /// The application's own.
    pub note: T,
}

/// The waiting frames of one transport track, oldest out first.
///
/// One for each transport track, so that a flood on one never pushes out the frames of another.
#[derive(Debug)]
pub struct WaitBuffer<T> {
    limits: WaitLimits,
    bytes: usize,
    waiting: VecDeque<Waiting<T>>,
}

impl<T> WaitBuffer<T> {
    /// An empty buffer.
    pub fn new(limits: WaitLimits) -> Self {
        Self { limits, bytes: 0, waiting: VecDeque::new() }
    }

    /// Lets a frame wait for `epoch`, the one that
    /// [`ReceiveError::FutureEpoch`](crate::ReceiveError::FutureEpoch) named. Returns the frames
    /// that had to go for it, oldest first; that is the frame itself if it alone is too big.
    #[must_use = "what is pushed out is lost and should be counted"]
    pub fn push(&mut self, epoch: u64, frame: Vec<u8>, note: T, now: Now) -> Vec<Waiting<T>> {
        let arrived = Waiting { epoch, since: now, frame, note };
        if arrived.frame.len() > self.limits.bytes || self.limits.frames == 0 {
            return vec![arrived];
        }
        let mut pushed_out = Vec::new();
        while self.waiting.len() >= self.limits.frames
            || self.bytes + arrived.frame.len() > self.limits.bytes
        {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.bytes -= oldest.frame.len();
            pushed_out.push(oldest);
        }
        self.bytes += arrived.frame.len();
        self.waiting.push_back(arrived);
        pushed_out
    }

    /// Takes out the frames whose epoch is not above `newest_epoch`, in the order of arrival.
    /// Called after each installed epoch.
    pub fn take_ready(&mut self, newest_epoch: u64) -> Vec<Waiting<T>> {
        self.take(|waiting| waiting.epoch <= newest_epoch)
    }

    /// Takes out the frames that have waited too long.
    pub fn expire(&mut self, now: Now) -> Vec<Waiting<T>> {
        let longest = self.limits.time;
        self.take(|waiting| waiting.since + longest <= now)
    }

    /// When [`expire`](Self::expire) finds something next.
    pub fn next_deadline(&self) -> Option<Now> {
        self.waiting.front().map(|oldest| oldest.since + self.limits.time)
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes of the frames that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn take(&mut self, which: impl Fn(&Waiting<T>) -> bool) -> Vec<Waiting<T>> {
        if !self.waiting.iter().any(&which) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for waiting in core::mem::take(&mut self.waiting) {
            if which(&waiting) {
                self.bytes -= waiting.frame.len();
                taken.push(waiting);
            } else {
                self.waiting.push_back(waiting);
            }
        }
        taken
    }
}
