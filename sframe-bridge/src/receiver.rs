//! Opening frames: the KID selects the key, and nothing changes before the tag is verified.

use crate::admission::{Admission, ReceiveLimits, Share, check_length};
use crate::codec::EnvelopeRoom;
use crate::crypto::SuiteCrypto;
use crate::error::ReceiveError;
use crate::header::{self, Header, HeaderError, MAX_HEADER_LENGTH, Peeked};
use crate::kid::{KidLayout, KidParts};
use crate::open_epochs::{OpenEpoch, OpenEpochs};
use crate::receive_stats::{ReceiveStats, StreamState};
use crate::sender::join_aad;
use crate::stream::Stream;
use crate::time::Now;
use core::num::NonZeroU32;
use core::ops::Range;

/// The longest metadata that can be authenticated with a frame, in bytes.
pub const MAX_METADATA_LENGTH: usize = 1024;

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
    tag_length: usize,
    rules: Admission,
    epochs: OpenEpochs,
    stats: ReceiveStats,
    aad: Vec<u8>,
    pub(crate) room: EnvelopeRoom,
}

/// A frame taken apart.
struct Incoming<'a> {
    header: Header,
    parts: KidParts,
    aad: &'a [u8],
    sealed: &'a mut [u8],
}

impl Receiver {
    pub(crate) fn new(
        crypto: &'static SuiteCrypto,
        limits: ReceiveLimits,
        epochs: OpenEpochs,
    ) -> Self {
        let rules = Admission { limits, share: Share::ALL };
        Self::with_rules(crypto.suite.tag_length(), rules, epochs)
    }

    fn with_rules(tag_length: usize, rules: Admission, epochs: OpenEpochs) -> Self {
        let aad = Vec::with_capacity(MAX_HEADER_LENGTH + MAX_METADATA_LENGTH);
        let (stats, room) = (ReceiveStats::default(), EnvelopeRoom::default());
        Self { tag_length, rules, epochs, stats, aad, room }
    }

    /// Splits into `count` receivers by leaf; this one opens nothing afterwards. `None` if it was
    /// split before.
    pub(crate) fn split(&mut self, count: NonZeroU32) -> Option<Vec<Self>> {
        if self.rules.share != Share::ALL {
            return None;
        }
        self.rules.share = Share::NOTHING;
        let count = count.get();
        let receivers = (0..count).map(|index| {
            let rules = Admission { share: Share { index, count }, ..self.rules };
            let epochs = self.epochs.split_off(|leaf| rules.share.takes(leaf));
            Self::with_rules(self.tag_length, rules, epochs)
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

    /// Whether a frame names, in an epoch that is kept, the member whose track it came on: `rightful` answers for an
    /// epoch and a leaf. To be asked before the frame is opened, or a member that forges as another on a track of its
    /// own would move the other's replay window. What no kept epoch answers for passes; opening it says why.
    ///
    /// # Errors
    ///
    /// [`ReceiveError::OtherSender`] if it names another one.
    pub fn check_sender(
        &mut self,
        frame: &[u8],
        rightful: impl FnOnce(u64, u32) -> bool,
    ) -> Result<(), ReceiveError> {
        self.epochs.follow();
        let Ok(peeked) = header::peek(frame) else { return Ok(()) };
        let parts = self.epochs.layout().split(peeked.header.kid);
        let open = self.epochs.select(parts.epoch_low);
        if open.is_ok_and(|open| !rightful(open.epoch.number, parts.leaf)) {
            return Err(self.refuse(ReceiveError::OtherSender { leaf: parts.leaf }));
        }
        Ok(())
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
        self.counted(result).map(|opened| opened.sender)
    }

    /// Takes in which epochs are kept, and lets go of the keys of all others. Every opening call
    /// does so by itself; a receiver made by
    /// [`CallKeys::split_receiver`](crate::CallKeys::split_receiver) that hears nothing for long
    /// calls this at each [`Event::EpochExpired`](crate::Event::EpochExpired), so that no old key
    /// stays in memory.
    pub fn follow(&mut self) {
        self.epochs.follow();
    }

    /// Counts a frame that was refused.
    #[cold]
    pub(crate) fn refuse(&mut self, error: ReceiveError) -> ReceiveError {
        self.stats.count(&error);
        if let ReceiveError::FutureEpoch { epoch } = error {
            self.epochs.board().report_missing(epoch);
        }
        error
    }

    /// Refuses a frame that is too long to be worth a copy.
    pub(crate) fn check_length(&mut self, frame: &[u8]) -> Result<(), ReceiveError> {
        check_length(self.rules.limits.frame_length, frame).map_err(|error| self.refuse(error))
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
            open.streams.iter().map(state).collect::<Vec<_>>()
        };
        self.epochs.iter().flat_map(of_epoch).collect()
    }

    // From here on everything is one function in each of its few callers: calls and results passed
    // through memory cost more than what they do.
    #[inline(always)]
    fn open_counted(
        &mut self,
        frame: &mut [u8],
        metadata: &[u8],
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        let result = self.open(frame, metadata, now);
        self.counted(result)
    }

    #[inline(always)]
    fn open(
        &mut self,
        frame: &mut [u8],
        metadata: &[u8],
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        let Peeked { header, length } = self.check_lengths(frame, metadata)?;
        let (head, sealed) = frame.split_at_mut_checked(length).unwrap_or_default();
        self.unseal(header, head, sealed, metadata, now)
    }

    #[inline(always)]
    fn counted(&mut self, result: Result<Opened, ReceiveError>) -> Result<Opened, ReceiveError> {
        match result {
            Ok(opened) => {
                self.stats.opened += 1;
                Ok(opened)
            }
            Err(error) => Err(self.refuse(error)),
        }
    }

    #[inline(always)]
    fn check_lengths(&self, frame: &[u8], metadata: &[u8]) -> Result<Peeked, ReceiveError> {
        check_length(self.rules.limits.frame_length, frame)?;
        check_lengths(frame, metadata, self.tag_length)
    }

    /// Opens `sealed`, which stood behind the header's bytes `head`.
    #[inline(always)]
    fn unseal(
        &mut self,
        header: Header,
        head: &[u8],
        sealed: &mut [u8],
        metadata: &[u8],
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        let aad = join_aad(&mut self.aad, head, metadata);
        let parts = self.epochs.layout().split(header.kid);
        let KidParts { context, leaf, epoch_low } = parts;
        let open = self.epochs.select(epoch_low)?;
        let length = match open.streams.get_mut(leaf, context) {
            // Its first frame has passed the checks of its KID.
            Some(stream) => {
                self.rules.check_counter(header.ctr, &mut open.allowed_ctr, &open.epoch, now)?;
                stream.open(header.ctr, aad, sealed)?
            }
            None => open_first(&self.rules, open, Incoming { header, parts, aad, sealed }, now)?,
        };
        Ok(Opened {
            plain: head.len()..head.len() + length,
            sender: SenderInfo {
                leaf,
                epoch: open.epoch.number,
                context: context as u32,
                ctr: header.ctr,
            },
        })
    }
}

/// Opens the first frame of a stream, which is kept if the frame is authentic.
#[cold]
fn open_first(
    rules: &Admission,
    open: &mut OpenEpoch,
    incoming: Incoming<'_>,
    now: Now,
) -> Result<usize, ReceiveError> {
    let Incoming { header, parts, aad, sealed } = incoming;
    rules.check_kid(parts, &open.epoch)?;
    rules.check_counter(header.ctr, &mut open.allowed_ctr, &open.epoch, now)?;
    let mut stream = Stream::new(open.epoch.secret.frame_key(header.kid)?);
    let length = stream.open(header.ctr, aad, sealed)?;
    open.streams.keep(parts.leaf, parts.context, stream);
    Ok(length)
}

/// Checks the lengths of a frame and its metadata, and reads the header.
#[inline(always)]
pub(crate) fn check_lengths(
    frame: &[u8],
    metadata: &[u8],
    tag_length: usize,
) -> Result<Peeked, ReceiveError> {
    let (limit, found) = (MAX_METADATA_LENGTH, metadata.len());
    if found > limit {
        return Err(ReceiveError::MetadataTooLong { limit, found });
    }
    let peeked = header::peek(frame)?;
    let (expected, found) = (tag_length, frame.len().saturating_sub(peeked.length));
    if found < expected {
        return Err(ReceiveError::TooShort { expected, found });
    }
    Ok(peeked)
}

impl core::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Receiver").field("stats", &self.stats).finish_non_exhaustive()
    }
}
