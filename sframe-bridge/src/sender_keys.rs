//! Sender keys (RFC 9605 section 5.1): each sender has a base key of its own, which it hands to
//! the others over a secure channel and ratchets forward by itself.
//!
//! Calls take their keys from an MLS group ([`CallKeys`](crate::CallKeys)). This is for those who
//! talk to endpoints that distribute sender keys. Who a sender is, is known outside SFrame here.

use crate::admission::{ReceiveLimits, check_length};
use crate::crypto::{BackendError, SuiteCrypto};
use crate::error::{ReceiveError, SendError};
use crate::header::{Header, Peeked};
use crate::key_derivation::{BaseKey, FrameKey, SframeSecret};
use crate::kid::{Kid, KidError};
use crate::receiver::check_lengths;
use crate::sender::{append_sealed, check_metadata, join_aad};
use crate::stream::Stream;
use crate::time::Now;
use core::fmt;
use core::ops::Range;
use core::time::Duration;

/// How a sender's KIDs are laid out: the ratchet step's low `R` bits, the key generation above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RatchetLayout {
    step_bits: u8,
}

impl RatchetLayout {
    /// A layout with `R` = `step_bits`, 1 to 16.
    ///
    /// # Errors
    ///
    /// [`KidError::RatchetBits`] otherwise.
    pub const fn new(step_bits: u8) -> Result<Self, KidError> {
        if step_bits < 1 || step_bits > 16 {
            return Err(KidError::RatchetBits { found: step_bits });
        }
        Ok(Self { step_bits })
    }

    /// The KID of a key. `None` if the generation does not fit in `64 - R` bits.
    pub const fn compose(self, generation: u64, step: u64) -> Option<Kid> {
        if generation >> (64 - self.step_bits) != 0 {
            return None;
        }
        Some(Kid((generation << self.step_bits) | self.step_low(step)))
    }

    const fn step_low(self, step: u64) -> u64 {
        step & ((1 << self.step_bits) - 1)
    }

    const fn generation(self, kid: Kid) -> u64 {
        kid.0 >> self.step_bits
    }
}

/// A sender's key at one ratchet step, as it is handed to the others.
#[derive(Debug)]
pub struct SenderKey {
    /// The key generation, which counts the keys handed out.
    pub generation: u64,
    /// How often the key was ratcheted since.
    pub step: u64,
    /// The base key at this step.
    pub base_key: BaseKey,
}

impl SenderKey {
    fn frame_key(&self, layout: RatchetLayout, crypto: &'static SuiteCrypto) -> Keyed {
        let kid = layout.compose(self.generation, self.step).ok_or(BackendError)?;
        let key = SframeSecret::extract(crypto, &self.base_key).frame_key(kid)?;
        Ok((kid, key))
    }

    fn ratcheted(&self, crypto: &'static SuiteCrypto) -> Result<Self, BackendError> {
        let base_key = BaseKey::new(self.base_key.expose_secret().to_vec()).ratchet(crypto)?;
        Ok(Self { generation: self.generation, step: self.step + 1, base_key })
    }
}

type Keyed = Result<(Kid, FrameKey), BackendError>;

/// Protects frames under a sender key.
pub struct SenderKeySender {
    crypto: &'static SuiteCrypto,
    layout: RatchetLayout,
    key: SenderKey,
    kid: Kid,
    frame_key: FrameKey,
    next: u64,
    aad: Vec<u8>,
}

impl SenderKeySender {
    /// A sender that begins with a fresh `key`, which nobody has sent under.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the generation does not fit in a KID or the backend fails.
    pub fn new(
        crypto: &'static SuiteCrypto,
        layout: RatchetLayout,
        key: SenderKey,
    ) -> Result<Self, BackendError> {
        let (kid, frame_key) = key.frame_key(layout, crypto)?;
        Ok(Self { crypto, layout, key, kid, frame_key, next: 0, aad: Vec::new() })
    }

    /// Ratchets the key forward, so that who joins now cannot open what was sent before. The key
    /// before is gone.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the backend fails; the key in use stays.
    pub fn ratchet(&mut self) -> Result<(), BackendError> {
        let next = self.key.ratcheted(self.crypto)?;
        *self = Self::new(self.crypto, self.layout, next)?;
        Ok(())
    }

    /// The key in use, for those who join.
    pub fn key(&self) -> &SenderKey {
        &self.key
    }

    /// Protects a frame and appends the SFrame ciphertext to `out`.
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
        check_metadata(metadata)?;
        let ctr = self.next;
        let next = ctr.checked_add(1).ok_or(SendError::CounterExhausted { limit: u64::MAX })?;
        self.next = next;
        let header = Header { kid: self.kid, ctr };
        append_sealed(header, plain, self.crypto.suite.tag_length(), out, |head, sealed| {
            let aad = join_aad(&mut self.aad, head, metadata);
            Ok(self.frame_key.seal_with_counter_of_callers_choice(ctr, aad, sealed)?)
        })
    }
}

/// Bounds of a [`SenderKeyReceiver`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RatchetLimits {
    /// The most steps that one frame may be ahead. Each costs a derivation before the frame's tag
    /// can be checked. Default 8; also bounded by `2^R - 1`.
    pub steps_ahead: u64,
    /// How long the key of an earlier step or generation lives on, for frames that come late.
    /// Default 2 s.
    pub retention: Duration,
    /// The most keys held at one time. Default 32.
    pub keys: usize,
    /// The longest frame, header and tag included. Default 4 MiB.
    pub frame_length: usize,
}

impl Default for RatchetLimits {
    fn default() -> Self {
        let ReceiveLimits { frame_length, .. } = ReceiveLimits::default();
        Self { steps_ahead: 8, retention: Duration::from_secs(2), keys: 32, frame_length }
    }
}

struct Held {
    kid: Kid,
    stream: Stream,
    /// `None` for the newest key.
    expires_at: Option<Now>,
}

/// Opens the frames of one sender. It ratchets when an authentic frame shows that the sender has.
pub struct SenderKeyReceiver {
    crypto: &'static SuiteCrypto,
    layout: RatchetLayout,
    limits: RatchetLimits,
    newest: SenderKey,
    held: Vec<Held>,
    aad: Vec<u8>,
}

impl SenderKeyReceiver {
    /// A receiver of the sender who handed out `key`.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the generation does not fit in a KID or the backend fails.
    pub fn new(
        crypto: &'static SuiteCrypto,
        layout: RatchetLayout,
        limits: RatchetLimits,
        key: SenderKey,
    ) -> Result<Self, BackendError> {
        let (kid, frame_key) = key.frame_key(layout, crypto)?;
        let held = vec![Held::new(kid, frame_key)];
        Ok(Self { crypto, layout, limits, newest: key, held, aad: Vec::new() })
    }

    /// Takes in a new key that the sender handed out; a `generation` that is not newer changes
    /// nothing. The keys before live on for a while.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn install(&mut self, key: SenderKey, now: Now) -> Result<(), BackendError> {
        if key.generation <= self.newest.generation {
            return Ok(());
        }
        let (kid, frame_key) = key.frame_key(self.layout, self.crypto)?;
        self.newest = key;
        self.supersede(vec![Held::new(kid, frame_key)], now);
        Ok(())
    }

    /// Opens a frame into `plain`, whose content is replaced. Returns the frame's counter.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]; `plain` is then empty and nothing has changed.
    /// [`ReceiveError::UnknownKid`] is a frame of another generation or too far ahead.
    pub fn unprotect_into(
        &mut self,
        frame: &[u8],
        metadata: &[u8],
        plain: &mut Vec<u8>,
        now: Now,
    ) -> Result<u64, ReceiveError> {
        let result = self.open(frame, metadata, plain, now);
        if result.is_err() {
            plain.clear();
        }
        result
    }

    /// Drops the keys whose time is over. Opening does so too.
    pub fn purge(&mut self, now: Now) {
        self.held.retain(|held| held.expires_at.is_none_or(|at| at > now));
    }

    /// How many keys are held.
    pub fn held_keys(&self) -> usize {
        self.held.len()
    }

    fn open(
        &mut self,
        frame: &[u8],
        metadata: &[u8],
        plain: &mut Vec<u8>,
        now: Now,
    ) -> Result<u64, ReceiveError> {
        self.purge(now);
        plain.clear();
        check_length(self.limits.frame_length, frame)?;
        let Peeked { header, length } =
            check_lengths(frame, metadata, self.crypto.suite.tag_length())?;
        let (head, sealed) = frame.split_at_checked(length).unwrap_or((frame, &[]));
        plain.extend_from_slice(sealed);
        let length = if let Some(held) = self.held.iter_mut().find(|held| held.kid == header.kid) {
            let aad = join_aad(&mut self.aad, head, metadata);
            held.stream.open(header.ctr, aad, plain)?
        } else {
            let (newest, mut ahead) = self.look_ahead(header.kid)?;
            let current = ahead.last_mut().ok_or(BackendError)?;
            let aad = join_aad(&mut self.aad, head, metadata);
            let length = current.stream.open(header.ctr, aad, plain)?;
            self.newest = newest;
            self.supersede(ahead, now);
            length
        };
        plain.truncate(length);
        Ok(header.ctr)
    }

    /// The keys of the steps up to that of `kid`, and the base key there.
    fn look_ahead(&self, kid: Kid) -> Result<(SenderKey, Vec<Held>), ReceiveError> {
        let unknown = ReceiveError::UnknownKid { kid: kid.0 };
        let layout = self.layout;
        let steps = layout.step_low(kid.0.wrapping_sub(self.newest.step));
        let same_generation = layout.generation(kid) == self.newest.generation;
        if !same_generation || steps == 0 || steps > self.steps_ahead() {
            return Err(unknown);
        }
        let mut ahead = Vec::new();
        let mut newest = self.newest.ratcheted(self.crypto)?;
        for step in 1..=steps {
            if step > 1 {
                newest = newest.ratcheted(self.crypto)?;
            }
            let (kid, key) = newest.frame_key(layout, self.crypto)?;
            ahead.push(Held::new(kid, key));
        }
        Ok((newest, ahead))
    }

    /// Half of what the low bits can tell apart is for steps ahead, the rest for late frames.
    fn steps_ahead(&self) -> u64 {
        self.limits.steps_ahead.min(1 << (self.layout.step_bits - 1))
    }

    /// Adds keys, the last of which is the newest one, and lets all others expire.
    fn supersede(&mut self, newer: Vec<Held>, now: Now) {
        self.held.extend(newer);
        let SenderKey { generation, step, .. } = self.newest;
        let reach = (1 << self.layout.step_bits) - self.steps_ahead();
        let layout = self.layout;
        self.held.retain(|held| {
            layout.generation(held.kid) != generation
                || layout.step_low(step.wrapping_sub(held.kid.0)) < reach
        });
        let expires_at = now + self.limits.retention;
        let excess = self.held.len().saturating_sub(self.limits.keys.max(1));
        self.held.drain(..excess);
        if let Some((_, older)) = self.held.split_last_mut() {
            for held in older {
                held.expires_at.get_or_insert(expires_at);
            }
        }
    }
}

impl Held {
    fn new(kid: Kid, key: FrameKey) -> Self {
        Self { kid, stream: Stream::new(key), expires_at: None }
    }
}

impl fmt::Debug for SenderKeySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderKeySender").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl fmt::Debug for SenderKeyReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderKeyReceiver").field("held", &self.held.len()).finish_non_exhaustive()
    }
}
