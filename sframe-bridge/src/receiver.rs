//! Opening frames: the KID selects the key, and nothing changes before the tag is verified.

use crate::crypto::SuiteCrypto;
use crate::error::ReceiveError;
use crate::header::{self, Header, HeaderError, MAX_HEADER_LENGTH, Peeked};
use crate::key_derivation::FrameKey;
use crate::kid::{KidLayout, KidParts};
use crate::open_epochs::{OpenEpoch, OpenEpochs, Stream};
use crate::receive_stats::{ReceiveStats, StreamState};
use crate::replay::{Freshness, ReplayWindow};
use crate::sender::join_aad;
use crate::time::Now;
use core::num::NonZeroU32;
use core::ops::Range;
use core::time::Duration;

/// The longest metadata that can be authenticated with a frame, in bytes.
pub const MAX_METADATA_LENGTH: usize = 1024;

/// Bounds on what is received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceiveLimits {
    /// The longest frame, header and tag included. Default 4 MiB.
    pub frame_length: usize,
    /// Contexts each member may use in an epoch: those below this number. Default 64.
    pub contexts: u32,
    /// Frames (or packets, if each is encrypted) that one context may send in a second.
    /// Default 1,000. A counter above what the epoch's age allows at this rate is refused.
    pub frame_rate: u32,
    /// How much older than known here an epoch may be, because the sender saw it begin earlier.
    /// Default 10 s.
    pub age_slack: Duration,
}

impl Default for ReceiveLimits {
    fn default() -> Self {
        Self {
            frame_length: 4 << 20,
            contexts: 64,
            frame_rate: 1_000,
            age_slack: Duration::from_secs(10),
        }
    }
}

impl ReceiveLimits {
    fn highest_counter(&self, age: Duration) -> u64 {
        let millis = age.saturating_add(self.age_slack).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).saturating_mul(self.frame_rate.into()) / 1_000
    }
}

/// Who sent a frame, by its authenticated KID.
///
/// A leaf is reused after its member left: `(epoch, leaf)` together name a member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SenderInfo {
    /// The sender's leaf in the ratchet tree of that epoch.
    pub leaf: u32,
    /// The epoch's full number.
    pub epoch: u64,
    /// The sender's context, which separates its tracks.
    pub context: u32,
    /// The frame's counter.
    pub ctr: u64,
}

/// An opened frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Where the plaintext stands.
    pub plain: Range<usize>,
    /// Who sent it.
    pub sender: SenderInfo,
}

/// A frame of a batch, and what became of it.
#[derive(Debug)]
pub struct IncomingFrame<'a> {
    /// The whole SFrame ciphertext, opened in place.
    pub frame: &'a mut [u8],
    /// What the sender authenticated beside it.
    pub metadata: &'a [u8],
    /// The outcome, once the batch has been opened.
    pub opened: Result<Opened, ReceiveError>,
}

impl<'a> IncomingFrame<'a> {
    /// A frame that has not been opened yet.
    pub fn new(frame: &'a mut [u8], metadata: &'a [u8]) -> Self {
        Self { frame, metadata, opened: Err(ReceiveError::NoEpoch) }
    }
}

/// Which leaves a receiver takes: those with `leaf % count == index`. None at all if `count` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Share {
    index: u32,
    count: u32,
}

impl Share {
    const ALL: Self = Self { index: 0, count: 1 };
    const NOTHING: Self = Self { index: 0, count: 0 };

    fn takes(self, leaf: u32) -> bool {
        self.count == 1 || leaf.checked_rem(self.count) == Some(self.index)
    }
}

/// Which of `count` receivers made by [`CallKeys::split_receiver`] opens a frame, by the leaf in
/// its KID.
///
/// # Errors
///
/// [`HeaderError`] if the frame has no SFrame header; no receiver opens it.
///
/// [`CallKeys::split_receiver`]: crate::CallKeys::split_receiver
pub fn receiver_index(
    layout: KidLayout,
    count: NonZeroU32,
    frame: &[u8],
) -> Result<usize, HeaderError> {
    let peeked = header::peek(frame)?;
    Ok((layout.split(peeked.header.kid).leaf % count) as usize)
}

/// Opens the frames of all other members, for all epochs that are kept.
///
/// There is one for each call, inside [`CallKeys`](crate::CallKeys): a frame replayed on another
/// transport track meets the same replay window. For several threads
/// [`CallKeys::split_receiver`](crate::CallKeys::split_receiver) makes it several, each for leaves
/// of its own, which still holds that. They follow the epochs by themselves, and the way of a
/// frame takes no lock.
pub struct Receiver {
    crypto: &'static SuiteCrypto,
    limits: ReceiveLimits,
    epochs: OpenEpochs,
    share: Share,
    stats: ReceiveStats,
    aad: Vec<u8>,
}

/// What the checks before any cryptography found.
struct Located<'a> {
    open: &'a mut OpenEpoch,
    parts: KidParts,
    header: Header,
}

impl Receiver {
    pub(crate) fn new(
        crypto: &'static SuiteCrypto,
        limits: ReceiveLimits,
        epochs: OpenEpochs,
    ) -> Self {
        Self::with_share(crypto, limits, epochs, Share::ALL)
    }

    fn with_share(
        crypto: &'static SuiteCrypto,
        limits: ReceiveLimits,
        epochs: OpenEpochs,
        share: Share,
    ) -> Self {
        let aad = Vec::with_capacity(MAX_HEADER_LENGTH + MAX_METADATA_LENGTH);
        Self { crypto, limits, epochs, share, stats: ReceiveStats::default(), aad }
    }

    /// Splits into `count` receivers by leaf; this one opens nothing afterwards. `None` if it was
    /// split before.
    pub(crate) fn split(&mut self, count: NonZeroU32) -> Option<Vec<Self>> {
        if self.share != Share::ALL {
            return None;
        }
        self.share = Share::NOTHING;
        let count = count.get();
        let receivers = (0..count).map(|index| {
            let share = Share { index, count };
            let epochs = self.epochs.split_off(|leaf| share.takes(leaf));
            Self::with_share(self.crypto, self.limits, epochs, share)
        });
        Some(receivers.collect())
    }

    /// Opens a frame in place (RFC 9605 section 4.4.4).
    ///
    /// `frame` is a whole SFrame ciphertext from its header to its tag, `metadata` what the sender
    /// authenticated beside it (at most [`MAX_METADATA_LENGTH`] bytes). Allocates nothing, except
    /// for the first verified frame of a sender's context in an epoch.
    ///
    /// # Errors
    ///
    /// After [`ReceiveError::FutureEpoch`] and every other error that comes before the cipher, the
    /// frame is untouched. After [`ReceiveError::Unauthentic`], [`ReceiveError::Duplicate`] and
    /// [`ReceiveError::Replayed`] its content is unspecified. The receiver's state changes in no
    /// case, apart from the statistics.
    pub fn unprotect_in_place(
        &mut self,
        frame: &mut [u8],
        metadata: &[u8],
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        self.epochs.follow();
        self.open_counted(frame, metadata, now)
    }

    /// Opens many frames, each as [`unprotect_in_place`](Self::unprotect_in_place) does, and
    /// leaves in each what became of it. Returns how many were opened.
    pub fn unprotect_batch(&mut self, frames: &mut [IncomingFrame<'_>], now: Now) -> usize {
        self.epochs.follow();
        let mut opened = 0;
        for incoming in frames {
            incoming.opened = self.open_counted(incoming.frame, incoming.metadata, now);
            opened += usize::from(incoming.opened.is_ok());
        }
        opened
    }

    /// Opens a frame into `plain`, whose content is replaced. See
    /// [`unprotect_in_place`](Self::unprotect_in_place).
    ///
    /// # Errors
    ///
    /// As there; `plain` is empty after an error.
    pub fn unprotect_into(
        &mut self,
        frame: &[u8],
        metadata: &[u8],
        plain: &mut Vec<u8>,
        now: Now,
    ) -> Result<SenderInfo, ReceiveError> {
        self.epochs.follow();
        plain.clear();
        let result = self.check_lengths(frame, metadata).and_then(|peeked| {
            let (head, sealed) = frame.split_at_checked(peeked.length).unwrap_or((frame, &[]));
            plain.extend_from_slice(sealed);
            self.unseal(peeked.header, head, plain, metadata, now)
        });
        plain.truncate(result.as_ref().map_or(0, |opened| opened.plain.len()));
        self.count(&result);
        result.map(|opened| opened.sender)
    }

    /// Takes in which epochs are kept, and lets go of the keys of all others. Every opening call
    /// does so by itself; a receiver made by
    /// [`CallKeys::split_receiver`](crate::CallKeys::split_receiver) that hears nothing for long
    /// calls this at each [`Event::EpochExpired`](crate::Event::EpochExpired), so that no old key
    /// stays in memory.
    pub fn follow(&mut self) {
        self.epochs.follow();
    }

    /// Counts a frame that was refused before it came here.
    pub(crate) fn refuse(&mut self, error: ReceiveError) -> ReceiveError {
        self.stats.count(&error);
        error
    }

    /// Refuses a frame that is too long to be worth a copy.
    pub(crate) fn check_length(&mut self, frame: &[u8]) -> Result<(), ReceiveError> {
        let (limit, found) = (self.limits.frame_length, frame.len());
        if found > limit {
            return Err(self.refuse(ReceiveError::TooLong { limit, found }));
        }
        Ok(())
    }

    /// What has been received so far.
    pub fn stats(&self) -> &ReceiveStats {
        &self.stats
    }

    /// The numbers of the epochs that are kept, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = u64> {
        self.epochs.iter().map(|open| open.epoch.number)
    }

    /// Every stream for which a key is held, by epoch, leaf and context.
    pub fn streams(&self) -> Vec<StreamState> {
        let of_epoch = |open: &OpenEpoch| {
            let epoch = open.epoch.number;
            let state = |(leaf, context, stream): (u32, u32, &Stream)| StreamState {
                epoch,
                leaf,
                context,
                replay: stream.replay.clone(),
            };
            open.streams().map(state).collect::<Vec<_>>()
        };
        self.epochs.iter().flat_map(of_epoch).collect()
    }

    fn open_counted(
        &mut self,
        frame: &mut [u8],
        metadata: &[u8],
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        let result = self.check_lengths(frame, metadata).and_then(|peeked| {
            let (head, sealed) = frame.split_at_mut_checked(peeked.length).unwrap_or_default();
            self.unseal(peeked.header, head, sealed, metadata, now)
        });
        self.count(&result);
        result
    }

    fn count(&mut self, result: &Result<Opened, ReceiveError>) {
        match result {
            Ok(_) => self.stats.opened += 1,
            Err(error) => {
                self.stats.count(error);
                if let ReceiveError::FutureEpoch { epoch } = error {
                    self.epochs.board().report_missing(*epoch);
                }
            }
        }
    }

    fn check_lengths(&self, frame: &[u8], metadata: &[u8]) -> Result<Peeked, ReceiveError> {
        if metadata.len() > MAX_METADATA_LENGTH {
            let found = metadata.len();
            return Err(ReceiveError::MetadataTooLong { limit: MAX_METADATA_LENGTH, found });
        }
        if frame.len() > self.limits.frame_length {
            let limit = self.limits.frame_length;
            return Err(ReceiveError::TooLong { limit, found: frame.len() });
        }
        let peeked = header::peek(frame)?;
        let found = frame.len().saturating_sub(peeked.length);
        let expected = self.crypto.suite.tag_length();
        if found < expected {
            return Err(ReceiveError::TooShort { expected, found });
        }
        Ok(peeked)
    }

    /// Opens `sealed`, which stood behind the header's bytes `head`.
    fn unseal(
        &mut self,
        header: Header,
        head: &[u8],
        sealed: &mut [u8],
        metadata: &[u8],
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        let aad = join_aad(&mut self.aad, head, metadata);
        let Located { open, parts, header } =
            locate(&mut self.epochs, &self.limits, self.share, header, now)?;
        let length = match open.stream(parts.leaf, parts.context) {
            Some(stream) => {
                let length = open_sealed(&stream.key, header.ctr, aad, sealed)?;
                match stream.replay.record(header.ctr) {
                    Freshness::Fresh => length,
                    Freshness::Duplicate => {
                        return Err(ReceiveError::Duplicate { ctr: header.ctr });
                    }
                    Freshness::TooOld => return Err(ReceiveError::Replayed { ctr: header.ctr }),
                }
            }
            None => {
                let key = open.epoch.secret.frame_key(header.kid)?;
                let length = open_sealed(&key, header.ctr, aad, sealed)?;
                let mut replay = ReplayWindow::new();
                replay.record(header.ctr);
                open.keep(parts.leaf, parts.context, Stream { key, replay });
                length
            }
        };
        Ok(Opened {
            plain: head.len()..head.len() + length,
            sender: SenderInfo {
                leaf: parts.leaf,
                epoch: open.epoch.number,
                context: parts.context as u32,
                ctr: header.ctr,
            },
        })
    }
}

impl core::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Receiver").field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// All the checks that need no key.
fn locate<'a>(
    epochs: &'a mut OpenEpochs,
    limits: &ReceiveLimits,
    share: Share,
    header: Header,
    now: Now,
) -> Result<Located<'a>, ReceiveError> {
    let parts = epochs.layout().split(header.kid);
    let open = epochs.select(parts.epoch_low)?;
    if parts.leaf == open.epoch.own_leaf {
        return Err(ReceiveError::OwnKid);
    }
    if !open.epoch.live.contains(parts.leaf) {
        return Err(ReceiveError::BlankLeaf { leaf: parts.leaf });
    }
    if parts.context >= u64::from(limits.contexts) {
        let (context, limit) = (parts.context, limits.contexts);
        return Err(ReceiveError::ContextNotAllowed { context, limit });
    }
    if !share.takes(parts.leaf) {
        return Err(ReceiveError::OtherReceiver { leaf: parts.leaf });
    }
    if header.ctr > open.allowed_ctr {
        open.allowed_ctr = limits.highest_counter(open.epoch.age(now));
        if header.ctr > open.allowed_ctr {
            let limit = open.allowed_ctr;
            return Err(ReceiveError::CounterTooFarAhead { ctr: header.ctr, limit });
        }
    }
    Ok(Located { open, parts, header })
}

fn open_sealed(
    key: &FrameKey,
    ctr: u64,
    aad: &[u8],
    sealed: &mut [u8],
) -> Result<usize, ReceiveError> {
    key.open(ctr, aad, sealed).map_err(|_| ReceiveError::Unauthentic)
}
