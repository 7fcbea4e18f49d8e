//! The receiver's side: opened frames held against signed batches.

use super::batch::{FrameDigest, ReceivedBatch};
use super::{BATCH_LABEL, BatchError, EpochBinding};
use crate::kid::KidLayout;
use crate::receiver::SenderInfo;
use crate::time::Now;
use core::time::Duration;
use mls::Group;
use mls::crypto::{Suite, VerifyingKey};
use mls::wire::Signature;
use std::collections::{BTreeMap, VecDeque};

/// Bounds of a [`FrameVerifier`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifierLimits {
    /// How long a frame waits for its batch, or a batch's entry for its frame. Default 2 s.
    pub wait: Duration,
    /// The most frames and entries that wait for each sender, oldest out first. Default 2,048.
    pub waiting: usize,
    /// How many epochs are kept. Default 8.
    pub epochs: usize,
}

impl Default for VerifierLimits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(2), waiting: 2_048, epochs: 8 }
    }
}

/// What is known of a frame that was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AuthenticationEvent {
    /// The leaf's owner signed exactly this frame.
    Authenticated(SenderInfo),
    /// The leaf's owner signed another frame under this counter: somebody in the group has forged
    /// the one that was opened.
    Forged(SenderInfo),
    /// No signature came in time. The frame stays unauthenticated.
    Unsigned(SenderInfo),
}

struct VerifierEpoch {
    binding: EpochBinding,
    keys: BTreeMap<u32, Vec<u8>>,
}

/// One half of a match, until the other comes.
struct Half {
    digest: FrameDigest,
    signed: bool,
    until: Now,
}

#[derive(Default)]
struct Waiting {
    halves: BTreeMap<(u64, u32, u64), Half>,
    order: VecDeque<SenderInfo>,
}

/// Says which opened frames their senders have signed. A frame counts as authenticated after its
/// [`AuthenticationEvent::Authenticated`], and not before.
pub struct FrameVerifier {
    suite: &'static Suite,
    layout: KidLayout,
    limits: VerifierLimits,
    epochs: VecDeque<VerifierEpoch>,
    waiting: BTreeMap<u32, Waiting>,
    events: VecDeque<AuthenticationEvent>,
}

impl FrameVerifier {
    /// A verifier for a call with this KID layout, in a group of this MLS suite.
    pub fn new(suite: &'static Suite, layout: KidLayout, limits: VerifierLimits) -> Self {
        Self {
            suite,
            layout,
            limits,
            epochs: VecDeque::new(),
            waiting: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes in the epoch that a group is in, with the signature keys of its members.
    pub fn install_group(&mut self, group: &Group) {
        let keys = group
            .roster()
            .map(|member| (member.leaf.0, member.signature_key.as_bytes().to_vec()))
            .collect();
        self.install_epoch(EpochBinding::of_group(group), keys);
    }

    /// Takes in an epoch and its members' signature keys by leaf.
    pub fn install_epoch(&mut self, binding: EpochBinding, keys: BTreeMap<u32, Vec<u8>>) {
        self.epochs.push_back(VerifierEpoch { binding, keys });
        if self.epochs.len() > self.limits.epochs.max(1) {
            self.epochs.pop_front();
        }
    }

    /// Takes in a frame that was opened: its sender as [`Opened`](crate::Opened) tells it, and the
    /// digest computed before. Drain [`poll`](Self::poll) afterwards.
    pub fn frame(&mut self, sender: SenderInfo, digest: FrameDigest, now: Now) {
        self.meet(sender, digest, false, now);
    }

    /// Takes in a signed batch. Drain [`poll`](Self::poll) afterwards. Returns how many frames it
    /// lists.
    ///
    /// # Errors
    ///
    /// [`BatchError`]; nothing has changed.
    pub fn batch(&mut self, bytes: &[u8], now: Now) -> Result<usize, BatchError> {
        let batch = ReceivedBatch::parse(bytes)?;
        let parts = self.layout.split(batch.kid);
        let unknown = BatchError::UnknownEpoch { epoch: batch.epoch };
        let context = u32::try_from(parts.context).map_err(|_| BatchError::Malformed)?;
        if self.layout.epoch_low(batch.epoch) != parts.epoch_low {
            return Err(BatchError::Malformed);
        }
        let epoch = self.epochs.iter().find(|epoch| epoch.binding.epoch == batch.epoch);
        let epoch = epoch.ok_or(unknown)?;
        let leaf = parts.leaf;
        let key = epoch.keys.get(&leaf).ok_or(BatchError::BlankLeaf { leaf })?;
        let key: Result<Box<dyn VerifyingKey>, _> = self.suite.signature.verifying_key(key);
        let content = batch.content(&epoch.binding).ok_or(BatchError::Malformed)?;
        let signature = Signature(batch.signature.to_vec());
        key.and_then(|key| {
            self.suite.verify_for_application(&*key, BATCH_LABEL, &content, &signature)
        })
        .map_err(|_| BatchError::BadSignature { leaf })?;
        for listed in &batch.frames {
            let sender = SenderInfo { leaf, epoch: batch.epoch, context, ctr: listed.ctr };
            self.meet(sender, listed.digest, true, now);
        }
        Ok(batch.frames.len())
    }

    /// What has become known, also by the time that has passed.
    pub fn poll(&mut self, now: Now) -> Option<AuthenticationEvent> {
        if self.events.is_empty() {
            for waiting in self.waiting.values_mut() {
                while waiting.oldest().is_some_and(|half| half.until <= now) {
                    self.events.extend(waiting.give_up_oldest());
                }
            }
            self.waiting.retain(|_, waiting| !waiting.order.is_empty());
        }
        self.events.pop_front()
    }

    /// Brings together a frame and what was signed under its counter, whichever comes first.
    fn meet(&mut self, sender: SenderInfo, digest: FrameDigest, signed: bool, now: Now) {
        let waiting = self.waiting.entry(sender.leaf).or_default();
        let key = place(sender);
        if let Some(half) = waiting.halves.get(&key).filter(|half| half.signed != signed) {
            self.events.push_back(if half.digest == digest {
                AuthenticationEvent::Authenticated(sender)
            } else {
                AuthenticationEvent::Forged(sender)
            });
            waiting.halves.remove(&key);
            return;
        }
        if waiting.halves.contains_key(&key) {
            return;
        }
        let until = now + self.limits.wait;
        waiting.halves.insert(key, Half { digest, signed, until });
        waiting.order.push_back(sender);
        while waiting.order.len() > self.limits.waiting.max(1) {
            self.events.extend(waiting.give_up_oldest());
        }
    }
}

impl Waiting {
    /// The oldest half that still waits; what has met its other half is forgotten on the way.
    fn oldest(&mut self) -> Option<&Half> {
        while let Some(&sender) = self.order.front() {
            if self.halves.contains_key(&place(sender)) {
                return self.halves.get(&place(sender));
            }
            self.order.pop_front();
        }
        None
    }

    fn give_up_oldest(&mut self) -> Option<AuthenticationEvent> {
        let sender = self.order.pop_front()?;
        let half = self.halves.remove(&place(sender))?;
        (!half.signed).then_some(AuthenticationEvent::Unsigned(sender))
    }
}

const fn place(sender: SenderInfo) -> (u64, u32, u64) {
    (sender.epoch, sender.context, sender.ctr)
}

impl core::fmt::Debug for FrameVerifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FrameVerifier").field("epochs", &self.epochs.len()).finish_non_exhaustive()
    }
}
