//! This project's frame protection.

use std::{
    num::NonZeroU32,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, HEADROOM, Now, Sender, TrackId,
    crypto::FrameProvider,
};

use super::{BASE_KEY, BATCH, MOST, Subject, opened_in_batches, protected_warm, suite_name};
use crate::measure::thread_cpu_time;

/// Long enough after the epoch began that every counter of a run is plausible.
const NOW: Now = Now::from_millis(1_000_000_000);
/// The leaf that receives, and those that send: one for each share of a receiver split in two.
const RECEIVER: u32 = 0;
const SENDERS: [u32; 2] = [2, 3];
const THREADS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// The keys of the member at a leaf in a call of `members`, in epoch 1 since time 0.
///
/// # Errors
/// When the backend lacks the suite.
pub fn installed(
    provider: &FrameProvider,
    suite: CipherSuite,
    leaf: u32,
    members: u32,
) -> Result<CallKeys> {
    installed_in(1, provider, suite, leaf, members)
}

/// As [`installed`], in any epoch.
pub(super) fn installed_in(
    epoch: u64,
    provider: &FrameProvider,
    suite: CipherSuite,
    leaf: u32,
    members: u32,
) -> Result<CallKeys> {
    let crypto = provider.suite(suite).context("the backend lacks the suite")?;
    let key =
        BASE_KEY.get(..suite.key_length()).context("the base key is too short for the suite")?;
    let epoch = Epoch::new(epoch, BaseKey::new(key.to_vec()), leaf, (0..members).collect());
    let mut keys = CallKeys::new(CallKeysConfig::new(crypto));
    keys.install_epoch(epoch, Now::from_millis(0))?;
    Ok(keys)
}

/// A sender and a receiver over one backend.
pub struct Ours {
    provider: &'static FrameProvider,
    sender: Sender,
    receiver: CallKeys,
}

impl Ours {
    /// A sender and a receiver.
    ///
    /// # Errors
    /// When the backend lacks the suite.
    pub fn new(provider: &'static FrameProvider, suite: CipherSuite) -> Result<Self> {
        let mut sending = installed(provider, suite, SENDERS[0], 4)?;
        let sender = sending.sender(TrackId(0))?;
        let receiver = installed(provider, suite, RECEIVER, 4)?;
        Ok(Self { provider, sender, receiver })
    }
}

impl Subject for Ours {
    fn name(&self) -> String {
        format!("ours_{}", self.provider.name.replace(['-', '+'], "_"))
    }

    fn protect(&mut self, size: usize, frames: u32) -> Result<f64> {
        let mut buffer = vec![7; HEADROOM + size + self.sender.tag_length()];
        let plain = HEADROOM..HEADROOM + size;
        let each = || self.sender.protect_in_place(&mut buffer, plain.clone(), b"").map(drop);
        Ok(protected_warm(frames, each)?)
    }

    fn unprotect(&mut self, size: usize, frames: u32) -> Result<f64> {
        let plain = vec![7; size];
        let Self { sender, receiver, .. } = self;
        opened_in_batches(
            size,
            frames,
            || {
                let mut wire = Vec::with_capacity(size + HEADROOM + sender.tag_length());
                sender.protect_into(&plain, b"", &mut wire)?;
                Ok(wire)
            },
            |wire| Ok(receiver.receiver().unprotect_in_place(wire, b"", NOW).map(drop)?),
        )
    }
}

/// What a frame costs when several threads work at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Parallel {
    /// CPU nanoseconds of its thread for a frame, averaged over all threads.
    pub cpu: f64,
    /// Wall nanoseconds for a frame, all threads' frames counted.
    pub wall: f64,
}

/// Two senders of one member, or one member's receiver split in two, each on a thread of its own.
///
/// # Errors
/// When the backend lacks the suite.
pub fn in_parallel(
    provider: &'static FrameProvider,
    suite: CipherSuite,
    size: usize,
    frames: u32,
    protecting: bool,
) -> Result<Parallel> {
    let mut workers: Vec<Box<dyn FnMut() -> Result<Took> + Send>> = Vec::new();
    if protecting {
        let mut sending = installed(provider, suite, SENDERS[0], 4)?;
        for track in 0..THREADS.get() {
            let mut sender = sending.sender(TrackId(track))?;
            let mut buffer = vec![7; HEADROOM + size + sender.tag_length()];
            let plain = HEADROOM..HEADROOM + size;
            workers.push(Box::new(move || {
                let mut each = || sender.protect_in_place(&mut buffer, plain.clone(), b"");
                Took::of(frames, || (0..frames).try_for_each(|_| Ok(each().map(drop)?)))
            }));
        }
    } else {
        let receivers = installed(provider, suite, RECEIVER, 4)?.split_receiver(THREADS)?;
        for (mut receiver, leaf) in receivers.into_iter().zip(SENDERS) {
            let mut sender = installed(provider, suite, leaf, 4)?.sender(TrackId(0))?;
            let plain = vec![7; size];
            // Sealed in batches that fit into the cache, as for one thread. Sealing is not on the clock.
            let batch = u32::try_from((BATCH / size.max(1)).clamp(1, MOST))?;
            workers.push(Box::new(move || {
                let mut took = Took::default();
                while took.frames < frames {
                    let mut sealed = Vec::new();
                    for _ in 0..batch {
                        let mut wire = Vec::new();
                        sender.protect_into(&plain, b"", &mut wire)?;
                        sealed.push(wire);
                    }
                    let mut open = |wire: &mut Vec<u8>| receiver.unprotect_in_place(wire, b"", NOW);
                    took = took.and(&Took::of(batch, || {
                        sealed.iter_mut().try_for_each(|wire| Ok(open(wire).map(drop)?))
                    })?);
                }
                Ok(took)
            }));
        }
    }
    let barrier = Barrier::new(workers.len());
    let threads = f64::from(u32::try_from(workers.len())?);
    let costs = thread::scope(|scope| {
        let begin = |mut work: Box<dyn FnMut() -> Result<Took> + Send>| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                work()
            })
        };
        let started: Vec<_> = workers.into_iter().map(begin).collect();
        let joined = started
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("{} failed", suite_name(suite)))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let each = |took: &Took, time: Duration| time.as_secs_f64() * 1e9 / f64::from(took.frames);
    let cpu = costs.iter().map(|took| each(took, took.cpu)).sum::<f64>() / threads;
    let wall = costs.iter().map(|took| each(took, took.wall)).fold(0.0, f64::max) / threads;
    Ok(Parallel { cpu, wall })
}

/// What a thread took for its frames.
#[derive(Default)]
struct Took {
    cpu: Duration,
    wall: Duration,
    frames: u32,
}

impl Took {
    fn of(frames: u32, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let (start, cpu) = (Instant::now(), thread_cpu_time());
        work()?;
        Ok(Self { cpu: thread_cpu_time().saturating_sub(cpu), wall: start.elapsed(), frames })
    }

    fn and(&self, more: &Self) -> Self {
        Self {
            cpu: self.cpu + more.cpu,
            wall: self.wall + more.wall,
            frames: self.frames + more.frames,
        }
    }
}
