//! Protecting frames: each sender owns a context of its own and counts without a lock.

use crate::codec::EnvelopeRoom;
use crate::crypto::SuiteCrypto;
use crate::error::SendError;
use crate::header::{Header, MAX_HEADER_LENGTH};
use crate::key_derivation::FrameKey;
use crate::kid::Kid;
use crate::receiver::MAX_METADATA_LENGTH;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Room that [`Sender::protect_in_place`] may need before the plaintext: the longest header.
pub const HEADROOM: usize = MAX_HEADER_LENGTH;

/// How many frames one key may protect.
///
/// With AES-GCM the advantage of an attacker grows with the square of the number of blocks under
/// one key; the defaults stay far below that, and every commit starts anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterLimits {
    /// From this counter on a commit is asked for. Default 2^22 (a day of video at 48 frames a
    /// second).
    pub soft: u64,
    /// At this counter the sender refuses to go on. Default 2^32.
    pub hard: u64,
}

impl Default for CounterLimits {
    fn default() -> Self {
        Self { soft: 1 << 22, hard: 1 << 32 }
    }
}

/// A frame of a batch, and what became of it.
#[derive(Debug)]
pub struct OutgoingFrame<'a> {
    /// The plaintext with [`HEADROOM`] before it and the tag's length behind it.
    pub buffer: &'a mut [u8],
    /// Where the plaintext stands.
    pub plain: Range<usize>,
    /// What is authenticated but not sent.
    pub metadata: &'a [u8],
    /// Where the ciphertext stands, once the batch has been protected.
    pub sealed: Result<Range<usize>, SendError>,
}

impl<'a> OutgoingFrame<'a> {
    /// A frame that has not been protected yet.
    pub fn new(buffer: &'a mut [u8], plain: Range<usize>, metadata: &'a [u8]) -> Self {
        Self { buffer, plain, metadata, sealed: Err(SendError::NoKey) }
    }
}

/// A key to send with, on its way to a sender.
pub(crate) struct SendKey {
    pub(crate) key: FrameKey,
    pub(crate) kid: Kid,
    pub(crate) epoch: u64,
    pub(crate) keyframe: bool,
}

/// What a sender finds when its slot has changed.
enum Waiting {
    Key(Box<SendKey>),
    Nothing,
}

/// Where `CallKeys` leaves a sender's next key, and the sender its reports.
pub(crate) struct SendSlot {
    generation: AtomicU64,
    waiting: Mutex<Waiting>,
    low: AtomicBool,
}

impl SendSlot {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            generation: AtomicU64::new(0),
            waiting: Mutex::new(Waiting::Nothing),
            low: AtomicBool::new(false),
        })
    }

    /// The sender takes `key` before its next frame; a key that it has not taken yet is dropped.
    pub(crate) fn replace(&self, key: Option<SendKey>) {
        let waiting = key.map_or(Waiting::Nothing, |key| Waiting::Key(Box::new(key)));
        let mut place = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *place = waiting;
        self.low.store(false, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether the sender has passed its soft limit since the last time this was asked.
    pub(crate) fn take_low(&self) -> bool {
        self.low.swap(false, Ordering::Relaxed)
    }
}

/// The key in use and its counter.
struct Active {
    key: FrameKey,
    kid: Kid,
    epoch: u64,
    next: u64,
    asked_for_commit: bool,
}

/// Protects the frames of one track or simulcast layer.
///
/// It follows the send switch by itself: [`CallKeys`](crate::CallKeys) leaves the key of the next
/// epoch for it, and the next frame goes under that key, in a context that nobody else has. It can
/// move to the thread of its encoder. Not `Clone`: two copies would count alike. Dropping it ends
/// the track.
pub struct Sender {
    slot: Arc<SendSlot>,
    seen: u64,
    active: Option<Active>,
    keyframe_due: bool,
    limits: CounterLimits,
    tag_length: usize,
    aad: Vec<u8>,
    pub(crate) room: EnvelopeRoom,
}

impl Sender {
    pub(crate) fn new(
        slot: Arc<SendSlot>,
        crypto: &'static SuiteCrypto,
        limits: CounterLimits,
    ) -> Self {
        Self {
            slot,
            seen: 0,
            active: None,
            keyframe_due: true,
            limits,
            tag_length: crypto.suite.tag_length(),
            aad: Vec::with_capacity(MAX_HEADER_LENGTH + MAX_METADATA_LENGTH),
            room: EnvelopeRoom::default(),
        }
    }

    /// Protects a frame in place (RFC 9605 section 4.4.3) and returns where the SFrame ciphertext
    /// stands.
    ///
    /// The plaintext stands at `plain` in `buffer`, with [`HEADROOM`] bytes before it and
    /// [`tag_length`](Self::tag_length) after it. `metadata` is authenticated but not sent (at
    /// most [`MAX_METADATA_LENGTH`] bytes). Allocates nothing.
    ///
    /// # Errors
    ///
    /// [`SendError`]; the caller then sends nothing of this frame.
    pub fn protect_in_place(
        &mut self,
        buffer: &mut [u8],
        plain: Range<usize>,
        metadata: &[u8],
    ) -> Result<Range<usize>, SendError> {
        self.follow();
        self.protect_followed(buffer, plain, metadata)
    }

    #[inline(always)]
    fn protect_followed(
        &mut self,
        buffer: &mut [u8],
        plain: Range<usize>,
        metadata: &[u8],
    ) -> Result<Range<usize>, SendError> {
        let length = buffer.len();
        if plain.start > plain.end || plain.end > length {
            return Err(SendError::RangeOutside { length });
        }
        if plain.start < HEADROOM {
            return Err(SendError::NoHeadroom { expected: HEADROOM, found: plain.start });
        }
        let tailroom = length - plain.end;
        if tailroom < self.tag_length {
            return Err(SendError::NoTailroom { expected: self.tag_length, found: tailroom });
        }
        let outside = SendError::RangeOutside { length };
        let header = self.reserve(metadata)?;
        let (before, rest) = buffer.split_at_mut_checked(plain.start).ok_or(outside)?;
        let sealed = rest.get_mut(..plain.len() + self.tag_length).ok_or(outside)?;
        let room = before.last_chunk_mut::<HEADROOM>().ok_or(outside)?;
        let length = header.write_to_end(room);
        let start = plain.start - length;
        let head = room.get(HEADROOM - length..).ok_or(outside)?;
        self.seal(header.ctr, head, metadata, sealed)?;
        Ok(start..plain.end + self.tag_length)
    }

    /// Protects many frames, each as [`protect_in_place`](Self::protect_in_place) does, all under
    /// one key, and leaves in each where its ciphertext stands. Returns how many were protected.
    pub fn protect_batch(&mut self, frames: &mut [OutgoingFrame<'_>]) -> usize {
        self.follow();
        let mut protected = 0;
        for outgoing in frames {
            let OutgoingFrame { buffer, plain, metadata, sealed } = outgoing;
            *sealed = self.protect_followed(buffer, plain.clone(), metadata);
            protected += usize::from(sealed.is_ok());
        }
        protected
    }

    /// Protects a frame and appends the SFrame ciphertext to `out`. Returns where it stands.
    /// Allocates only what `out` needs to grow.
    ///
    /// # Errors
    ///
    /// [`SendError`]; `out` is then as it was.
    pub fn protect_into(
        &mut self,
        plain: &[u8],
        metadata: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Range<usize>, SendError> {
        self.follow();
        let header = self.reserve(metadata)?;
        let tag_length = self.tag_length;
        append_sealed(header, plain, tag_length, out, |head, sealed| {
            self.seal(header.ctr, head, metadata, sealed)
        })
    }

    /// Whether the next frame should be a keyframe: it is the track's first one, or the first one
    /// under an epoch in which somebody joined who has seen none before. Takes a waiting key.
    pub fn keyframe_due(&mut self) -> bool {
        self.follow();
        self.keyframe_due
    }

    /// Says that a keyframe has been sent.
    pub fn keyframe_sent(&mut self) {
        self.keyframe_due = false;
    }

    /// Takes the key that waits, and lets go of the old one. Every protecting call does so by
    /// itself; a sender that is silent for long calls this at each
    /// [`Event::SwitchSend`](crate::Event::SwitchSend), so that no old key stays in memory.
    #[inline]
    pub fn follow(&mut self) {
        if self.slot.generation.load(Ordering::Acquire) != self.seen {
            self.take_waiting();
        }
    }

    #[cold]
    fn take_waiting(&mut self) {
        let mut place = self.slot.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.seen = self.slot.generation.load(Ordering::Acquire);
        self.active = match core::mem::replace(&mut *place, Waiting::Nothing) {
            Waiting::Key(waiting) => {
                let SendKey { key, kid, epoch, keyframe } = *waiting;
                self.keyframe_due |= keyframe;
                Some(Active { key, kid, epoch, next: 0, asked_for_commit: false })
            }
            Waiting::Nothing => None,
        };
    }

    /// The epoch under which the last frame was protected, or `None` without a key.
    pub fn epoch(&self) -> Option<u64> {
        self.active.as_ref().map(|active| active.epoch)
    }

    /// The KID of the last frame, or `None` without a key.
    pub fn kid(&self) -> Option<Kid> {
        self.active.as_ref().map(|active| active.kid)
    }

    /// The counter that the next frame under the same key gets, or `None` without a key.
    pub fn next_counter(&self) -> Option<u64> {
        self.active.as_ref().map(|active| active.next)
    }

    /// Bytes that protection adds after the plaintext.
    pub fn tag_length(&self) -> usize {
        self.tag_length
    }

    /// Takes the next counter out of circulation, before any cipher runs: whatever happens then,
    /// it is never used again.
    #[inline(always)]
    fn reserve(&mut self, metadata: &[u8]) -> Result<Header, SendError> {
        check_metadata(metadata)?;
        let active = self.active.as_mut().ok_or(SendError::NoKey)?;
        let ctr = active.next;
        if ctr >= self.limits.hard {
            return Err(SendError::CounterExhausted { limit: self.limits.hard });
        }
        active.next += 1;
        if active.next > self.limits.soft && !active.asked_for_commit {
            active.asked_for_commit = true;
            self.slot.low.store(true, Ordering::Relaxed);
        }
        Ok(Header { kid: active.kid, ctr })
    }

    /// Seals under a reserved counter; `head` is the frame's encoded header.
    #[inline(always)]
    fn seal(
        &mut self,
        ctr: u64,
        head: &[u8],
        metadata: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), SendError> {
        let active = self.active.as_ref().ok_or(SendError::NoKey)?;
        let aad = join_aad(&mut self.aad, head, metadata);
        active.key.seal_with_counter_of_callers_choice(ctr, aad, in_out)?;
        Ok(())
    }
}

/// Refuses metadata that is too long.
#[inline]
pub(crate) fn check_metadata(metadata: &[u8]) -> Result<(), SendError> {
    let (limit, found) = (MAX_METADATA_LENGTH, metadata.len());
    if found > limit { Err(SendError::MetadataTooLong { limit, found }) } else { Ok(()) }
}

/// Appends header, plaintext and room for the tag to `out`, and lets `seal` encrypt what stands
/// behind the header's bytes. Returns where the result stands; after an error `out` is as it was.
pub(crate) fn append_sealed(
    header: Header,
    plain: &[u8],
    tag_length: usize,
    out: &mut Vec<u8>,
    seal: impl FnOnce(&[u8], &mut [u8]) -> Result<(), SendError>,
) -> Result<Range<usize>, SendError> {
    let encoded = header.encode();
    let head = encoded.as_bytes();
    let start = out.len();
    out.reserve(head.len() + plain.len() + tag_length);
    out.extend_from_slice(head);
    let body = out.len();
    out.extend_from_slice(plain);
    out.resize(out.len() + tag_length, 0);
    match seal(head, out.get_mut(body..).unwrap_or_default()) {
        Ok(()) => Ok(start..out.len()),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// `head || metadata` (RFC 9605 section 4.4.3), in `room` unless the header stands alone.
#[inline(always)]
pub(crate) fn join_aad<'a>(room: &'a mut Vec<u8>, head: &'a [u8], metadata: &[u8]) -> &'a [u8] {
    if metadata.is_empty() {
        return head;
    }
    room.clear();
    room.extend_from_slice(head);
    room.extend_from_slice(metadata);
    room
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("kid", &self.kid())
            .field("next_counter", &self.next_counter())
            .finish_non_exhaustive()
    }
}
