//! Opening frames: the KID selects the key, and nothing changes before the tag is verified.

use crate::crypto::SuiteCrypto;
use crate::epoch_window::{EpochWindow, KeptEpoch, Selected, Stream};
use crate::error::ReceiveError;
use crate::header::{self, MAX_HEADER_LENGTH};
use crate::kid::KidParts;
use crate::replay::{Freshness, ReplayWindow};
use crate::time::Now;
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

/// How many frames were opened, and how many were not, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ReceiveStats {
    /// Opened.
    pub opened: u64,
    /// Authentic repetitions, as RTX makes them. Not attacks.
    pub duplicates: u64,
    /// Authentic, but behind the replay window.
    pub replayed: u64,
    /// Of epochs not installed yet.
    pub future: u64,
    /// Of epochs that have expired or that began before this member joined.
    pub expired: u64,
    /// Not SFrame, too short or too long.
    pub malformed: u64,
    /// With a KID that may not be used: one's own, of a blank leaf, of a context not allowed.
    pub forbidden_kid: u64,
    /// With a counter above what the epoch's age allows.
    pub too_far_ahead: u64,
    /// With a tag that does not match.
    pub unauthentic: u64,
}

impl ReceiveStats {
    fn count(&mut self, error: &ReceiveError) {
        let counter = match error {
            ReceiveError::Duplicate { .. } => &mut self.duplicates,
            ReceiveError::Replayed { .. } => &mut self.replayed,
            ReceiveError::FutureEpoch { .. } | ReceiveError::NoEpoch => &mut self.future,
            ReceiveError::ExpiredEpoch { .. } | ReceiveError::BeforeJoin { .. } => {
                &mut self.expired
            }
            ReceiveError::OwnKid
            | ReceiveError::BlankLeaf { .. }
            | ReceiveError::ContextNotAllowed { .. } => &mut self.forbidden_kid,
            ReceiveError::CounterTooFarAhead { .. } => &mut self.too_far_ahead,
            ReceiveError::Unauthentic | ReceiveError::Backend(_) => &mut self.unauthentic,
            ReceiveError::Header(_)
            | ReceiveError::Codec(_)
            | ReceiveError::TooShort { .. }
            | ReceiveError::TooLong { .. }
            | ReceiveError::MetadataTooLong { .. } => &mut self.malformed,
        };
        *counter += 1;
    }
}

/// What a receiver holds for one sender's context, without secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamState {
    /// The epoch.
    pub epoch: u64,
    /// The sender's leaf.
    pub leaf: u32,
    /// The sender's context.
    pub context: u32,
    /// The counters seen.
    pub replay: ReplayWindow,
}

/// Opens the frames of all other members, for all epochs that are kept.
///
/// There is one for each call, inside [`CallKeys`](crate::CallKeys): a frame replayed on another
/// transport track meets the same replay window.
pub struct Receiver {
    crypto: &'static SuiteCrypto,
    limits: ReceiveLimits,
    pub(crate) window: EpochWindow,
    stats: ReceiveStats,
    aad: Vec<u8>,
    /// The newest epoch that a frame has asked for in vain.
    pub(crate) missing: Option<u64>,
}

/// What the checks before any cryptography found.
struct Located<'a> {
    epoch: &'a mut KeptEpoch,
    parts: KidParts,
    header: header::Header,
    body: Range<usize>,
}

impl Receiver {
    pub(crate) fn new(
        crypto: &'static SuiteCrypto,
        limits: ReceiveLimits,
        window: EpochWindow,
    ) -> Self {
        let aad = Vec::with_capacity(MAX_HEADER_LENGTH + MAX_METADATA_LENGTH);
        Self { crypto, limits, window, stats: ReceiveStats::default(), aad, missing: None }
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
        let result = self.open(frame, metadata, now);
        match &result {
            Ok(_) => self.stats.opened += 1,
            Err(error) => self.stats.count(error),
        }
        if let Err(ReceiveError::FutureEpoch { epoch }) = result {
            self.missing = self.missing.max(Some(epoch));
        }
        result
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
        plain.clear();
        if frame.len() <= self.limits.frame_length {
            plain.extend_from_slice(frame);
        }
        match self.unprotect_in_place(plain, metadata, now) {
            Ok(opened) => {
                plain.truncate(opened.plain.end);
                plain.drain(..opened.plain.start);
                Ok(opened.sender)
            }
            Err(error) => {
                plain.clear();
                Err(error)
            }
        }
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
        self.window.iter().map(|epoch| epoch.number)
    }

    /// Every stream for which a key is held, by epoch, leaf and context.
    pub fn streams(&self) -> Vec<StreamState> {
        let mut states = Vec::new();
        for epoch in self.window.iter() {
            for (leaf, streams) in (0..).zip(&epoch.leaves) {
                for (context, stream) in (0..).zip(streams.iter().flatten()) {
                    if let Some(stream) = stream {
                        let replay = stream.replay.clone();
                        states.push(StreamState { epoch: epoch.number, leaf, context, replay });
                    }
                }
            }
        }
        states
    }

    fn open(
        &mut self,
        frame: &mut [u8],
        metadata: &[u8],
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        if metadata.len() > MAX_METADATA_LENGTH {
            let found = metadata.len();
            return Err(ReceiveError::MetadataTooLong { limit: MAX_METADATA_LENGTH, found });
        }
        let tag_length = self.crypto.suite.tag_length();
        let Located { epoch, parts, header, body } =
            locate(&mut self.window, &self.limits, tag_length, frame, now)?;
        let context = parts.context as usize;
        let Some((head, sealed)) = frame.split_at_mut_checked(body.start) else {
            return Err(ReceiveError::TooShort { expected: tag_length, found: 0 });
        };
        self.aad.clear();
        self.aad.extend_from_slice(head);
        self.aad.extend_from_slice(metadata);

        let streams = epoch.leaves.get_mut(parts.leaf as usize).and_then(Option::as_mut);
        let Some(streams) = streams else {
            return Err(ReceiveError::BlankLeaf { leaf: parts.leaf });
        };
        let length = if let Some(Some(stream)) = streams.get_mut(context) {
            let length = open_sealed(&stream.key, header.ctr, &self.aad, sealed)?;
            match stream.replay.record(header.ctr) {
                Freshness::Fresh => length,
                Freshness::Duplicate => return Err(ReceiveError::Duplicate { ctr: header.ctr }),
                Freshness::TooOld => return Err(ReceiveError::Replayed { ctr: header.ctr }),
            }
        } else {
            let key = epoch.secret.frame_key(header.kid)?;
            let length = open_sealed(&key, header.ctr, &self.aad, sealed)?;
            let mut replay = ReplayWindow::new();
            replay.record(header.ctr);
            if streams.len() <= context {
                streams.resize_with(context + 1, || None);
            }
            if let Some(slot) = streams.get_mut(context) {
                *slot = Some(Box::new(Stream { key, replay }));
            }
            length
        };
        Ok(Opened {
            plain: body.start..body.start + length,
            sender: SenderInfo {
                leaf: parts.leaf,
                epoch: epoch.number,
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
    window: &'a mut EpochWindow,
    limits: &ReceiveLimits,
    tag_length: usize,
    frame: &[u8],
    now: Now,
) -> Result<Located<'a>, ReceiveError> {
    if frame.len() > limits.frame_length {
        return Err(ReceiveError::TooLong { limit: limits.frame_length, found: frame.len() });
    }
    let peeked = header::peek(frame)?;
    let found = frame.len().saturating_sub(peeked.length);
    if found < tag_length {
        return Err(ReceiveError::TooShort { expected: tag_length, found });
    }
    let parts = window.layout.split(peeked.header.kid);
    let epoch = match window.select(parts.epoch_low) {
        Selected::Kept(epoch) => epoch,
        Selected::Future { epoch } => return Err(ReceiveError::FutureEpoch { epoch }),
        Selected::Expired { epoch } => return Err(ReceiveError::ExpiredEpoch { epoch }),
        Selected::BeforeJoin { epoch } => return Err(ReceiveError::BeforeJoin { epoch }),
        Selected::Nothing => return Err(ReceiveError::NoEpoch),
    };
    if parts.leaf == epoch.own_leaf {
        return Err(ReceiveError::OwnKid);
    }
    if !matches!(epoch.leaves.get(parts.leaf as usize), Some(Some(_))) {
        return Err(ReceiveError::BlankLeaf { leaf: parts.leaf });
    }
    if parts.context >= u64::from(limits.contexts) {
        let (context, limit) = (parts.context, limits.contexts);
        return Err(ReceiveError::ContextNotAllowed { context, limit });
    }
    let limit = limits.highest_counter(epoch.age(now));
    if peeked.header.ctr > limit {
        return Err(ReceiveError::CounterTooFarAhead { ctr: peeked.header.ctr, limit });
    }
    Ok(Located { epoch, parts, header: peeked.header, body: peeked.length..frame.len() })
}

fn open_sealed(
    key: &crate::key_derivation::FrameKey,
    ctr: u64,
    aad: &[u8],
    sealed: &mut [u8],
) -> Result<usize, ReceiveError> {
    key.open(ctr, aad, sealed).map_err(|_| ReceiveError::Unauthentic)
}
