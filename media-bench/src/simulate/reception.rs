//! What becomes of the frames that reach a member.

use std::{collections::BTreeMap, rc::Rc};

use sframe_bridge::{CallKeys, Now, ReceiveError, WaitBuffer, WaitLimits, Waiting};

/// A frame on its way, one for all receivers.
#[derive(Debug)]
pub(super) struct Frame {
    /// The stream that it belongs to: transport tracks stay for as long.
    pub(super) stream: u64,
    pub(super) epoch: u64,
    /// Whether it is counted.
    pub(super) measured: bool,
    pub(super) ciphertext: Vec<u8>,
}

/// What became of a frame at a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Opened, or the key is there; since when it waited for it.
    Opened { since: Option<Now> },
    /// Sent before measuring began.
    Unmeasured { opened: bool },
    /// It waits for its key.
    Waits,
    /// Of an epoch before the receiver joined.
    BeforeJoin,
    /// No key, for this reason.
    NoKey(&'static str),
    /// The key was there and it could not be opened, for this reason.
    Failed(&'static str),
}

/// A receiver's side of the media.
pub(super) struct Reception {
    /// Whether it opens frames with the real cryptography.
    pub(super) samples: bool,
    /// The epoch that this membership began with.
    first: Option<u64>,
    /// The epochs whose keys are held: from the first to the second, without a gap.
    held: Option<(u64, u64)>,
    waiting: BTreeMap<u64, WaitBuffer<Rc<Frame>>>,
    /// Epochs of frames that could not wait until the first epoch was here.
    undecided: Vec<u64>,
    /// Whether a frame has been opened.
    pub(super) sees: bool,
    /// Frames opened by the real cryptography.
    pub(super) really_opened: u64,
}

impl Reception {
    pub(super) fn new(samples: bool) -> Self {
        Self {
            samples,
            first: None,
            held: None,
            waiting: BTreeMap::new(),
            undecided: Vec::new(),
            sees: false,
            really_opened: 0,
        }
    }

    /// A membership begins: keys of one before are gone.
    pub(super) fn begin(&mut self) {
        self.first = None;
        self.held = None;
    }

    /// Takes in which keys are held, from the keys themselves.
    pub(super) fn follow(&mut self, keys: &mut CallKeys) {
        let receiver = keys.receiver();
        receiver.follow();
        let oldest = receiver.epochs().min();
        self.held = oldest.zip(keys.newest_epoch());
        self.first = self.first.or(self.held.map(|(_, newest)| newest));
    }

    /// Whether the key of a frame that arrives about now is held for sure.
    pub(super) fn holds(&self, epoch: u64) -> bool {
        self.held.is_some_and(|(oldest, newest)| (oldest..=newest).contains(&epoch))
    }

    /// Whether a frame of this epoch was sent before the member joined.
    pub(super) fn is_before_join(&self, epoch: u64) -> bool {
        self.first.is_some_and(|first| epoch < first)
    }

    /// A frame arrives, or is tried again.
    pub(super) fn take(
        &mut self,
        frame: &Rc<Frame>,
        keys: Option<&mut CallKeys>,
        since: Option<Now>,
        now: Now,
    ) -> Vec<Fate> {
        let mut fates = self.try_to_open(frame, keys, since, now);
        if !frame.measured
            && let Some(own) = fates.last_mut()
        {
            *own = Fate::Unmeasured { opened: matches!(own, Fate::Opened { .. }) };
        }
        fates
    }

    /// The frame's own fate comes last.
    fn try_to_open(
        &mut self,
        frame: &Rc<Frame>,
        keys: Option<&mut CallKeys>,
        since: Option<Now>,
        now: Now,
    ) -> Vec<Fate> {
        if self.is_before_join(frame.epoch) {
            return vec![Fate::BeforeJoin];
        }
        match self.held {
            Some((oldest, _)) if frame.epoch < oldest => vec![Fate::NoKey("expired")],
            Some((_, newest)) if frame.epoch <= newest => {
                let opened = match keys.filter(|_| self.samples) {
                    Some(keys) => self.open(frame, keys, now),
                    None => Ok(()),
                };
                vec![opened.map_or_else(Fate::Failed, |()| Fate::Opened { since })]
            }
            held => {
                // As a client does that cannot know: epoch 0 stands for whatever it joins with.
                let epoch = if held.is_some() { frame.epoch } else { 0 };
                self.wait(epoch, frame, now)
            }
        }
    }

    fn open(&mut self, frame: &Frame, keys: &mut CallKeys, now: Now) -> Result<(), &'static str> {
        let mut plain = Vec::new();
        match keys.receiver().unprotect_into(&frame.ciphertext, &[], &mut plain, now) {
            Ok(sender) if sender.epoch == frame.epoch => {
                self.really_opened += 1;
                Ok(())
            }
            Ok(_) => Err("of another epoch"),
            Err(ReceiveError::Duplicate { .. }) => Ok(()),
            Err(error) => Err(error.reason()),
        }
    }

    fn wait(&mut self, epoch: u64, frame: &Rc<Frame>, now: Now) -> Vec<Fate> {
        let buffer = self
            .waiting
            .entry(frame.stream)
            .or_insert_with(|| WaitBuffer::new(WaitLimits::default()));
        let bytes = frame.ciphertext.clone();
        let lost = buffer.push(epoch, bytes, Rc::clone(frame), now);
        let mut fates = self.unopened(lost, "pushed out while waiting");
        fates.push(Fate::Waits);
        fates
    }

    /// An epoch was installed: what waited for it is tried again.
    pub(super) fn retry(&mut self, keys: &mut CallKeys, now: Now) -> Vec<Fate> {
        self.follow(keys);
        self.retry_with(Some(keys), now)
    }

    /// The same for a stand-in, which holds the keys of these epochs.
    pub(super) fn stand_in_for(&mut self, held: Option<(u64, u64)>, now: Now) -> Vec<Fate> {
        self.held = held;
        self.first = self.first.or(held.map(|(_, newest)| newest));
        self.retry_with(None, now)
    }

    fn retry_with(&mut self, mut keys: Option<&mut CallKeys>, now: Now) -> Vec<Fate> {
        let mut fates = Vec::new();
        for epoch in std::mem::take(&mut self.undecided) {
            fates.push(if self.is_before_join(epoch) {
                Fate::BeforeJoin
            } else {
                Fate::NoKey("gave up waiting before it joined")
            });
        }
        let newest = self.held.map_or(0, |(_, newest)| newest);
        let buffers = self.waiting.values_mut();
        let ready: Vec<_> = buffers.flat_map(|buffer| buffer.take_ready(newest)).collect();
        self.waiting.retain(|_, buffer| !buffer.is_empty());
        for waiting in ready {
            let keys = keys.as_deref_mut();
            fates.extend(self.take(&waiting.note, keys, Some(waiting.since), now));
        }
        fates
    }

    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self, now: Now) -> Vec<Fate> {
        let lost: Vec<_> =
            self.waiting.values_mut().flat_map(|buffer| buffer.expire(now)).collect();
        self.waiting.retain(|_, buffer| !buffer.is_empty());
        self.unopened(lost, "waited too long")
    }

    /// When [`expire`](Self::expire) is due.
    pub(super) fn next_deadline(&self) -> Option<Now> {
        self.waiting.values().filter_map(WaitBuffer::next_deadline).min()
    }

    /// Bytes that wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.values().map(WaitBuffer::bytes).sum()
    }

    /// The member is gone: how many frames waited that are counted.
    pub(super) fn abandon(&mut self) -> u64 {
        let waiting = std::mem::take(&mut self.waiting).into_values();
        let frames = waiting.flat_map(|mut buffer| buffer.take_ready(u64::MAX));
        let counted = frames.filter(|waiting| waiting.note.measured).count();
        (counted + std::mem::take(&mut self.undecided).len()) as u64
    }

    fn unopened(&mut self, lost: Vec<Waiting<Rc<Frame>>>, why: &'static str) -> Vec<Fate> {
        let mut fates = Vec::new();
        for waiting in lost.into_iter().filter(|waiting| waiting.note.measured) {
            if self.first.is_none() {
                self.undecided.push(waiting.note.epoch);
            } else {
                fates.push(Fate::NoKey(why));
            }
        }
        fates
    }
}
