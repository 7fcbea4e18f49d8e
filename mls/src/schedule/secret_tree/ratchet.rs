//! A sender's ratchet (RFC 9420 section 9.1).

use std::collections::VecDeque;

use crate::{
    codec::{Decode, DecodeError, Encode, Reader},
    crypto::{CryptoError, Secret, Suite},
};

use super::{MessageKey, RatchetLimits, SecretTreeError};

/// One ratchet: the secret of the next generation, and the keys of generations that were skipped.
pub(super) struct Ratchet {
    secret: Secret,
    next: u32,
    /// Keys below this generation have been given up, used or not.
    floor: u32,
    /// In ascending order; all lie in `floor..next`.
    kept: VecDeque<Kept>,
}

struct Kept {
    generation: u32,
    key: MessageKey,
}

/// A key, and what its use does to the ratchet: move it forward, or take the key out of those kept.
pub(super) struct Step {
    pub(super) key: MessageKey,
    pub(super) advance: Option<Advance>,
}

/// The ratchet behind a generation that lies ahead.
pub(super) struct Advance {
    secret: Secret,
    skipped: Vec<Kept>,
}

impl RatchetLimits {
    /// Whether a generation is within reach of a ratchet whose next one is `next`.
    pub(super) fn check(self, next: u32, generation: u32) -> Result<(), SecretTreeError> {
        let limit = self.max_forward;
        if generation.saturating_sub(next) > limit {
            return Err(SecretTreeError::GenerationTooFarAhead { generation, next, limit });
        }
        // The one after it could not be numbered.
        if generation == u32::MAX { Err(SecretTreeError::RatchetExhausted) } else { Ok(()) }
    }

    fn kept(self) -> usize {
        usize::try_from(self.max_kept).unwrap_or(usize::MAX)
    }
}

impl Ratchet {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, next: 0, floor: 0, kept: VecDeque::new() }
    }

    /// The lowest generation whose key has not been derived.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Derives a key without changing the ratchet.
    pub(super) fn derive(
        &self,
        suite: &Suite,
        limits: RatchetLimits,
        generation: u32,
    ) -> Result<Step, SecretTreeError> {
        limits.check(self.next, generation)?;
        if generation < self.next {
            return self.find(generation).map(|key| Step { key, advance: None });
        }
        let mut secret = self.secret.duplicate();
        let mut skipped = Vec::new();
        for skip in self.next..generation {
            if generation - skip <= limits.max_kept {
                skipped.push(Kept { generation: skip, key: message_key(suite, &secret, skip)? });
            }
            secret = following(suite, &secret, skip)?;
        }
        let key = message_key(suite, &secret, generation)?;
        let secret = following(suite, &secret, generation)?;
        Ok(Step { key, advance: Some(Advance { secret, skipped }) })
    }

    fn find(&self, generation: u32) -> Result<MessageKey, SecretTreeError> {
        if let Ok(place) = self.kept.binary_search_by_key(&generation, |kept| kept.generation)
            && let Some(kept) = self.kept.get(place)
        {
            return Ok(kept.key.duplicate());
        }
        Err(if generation < self.floor {
            SecretTreeError::GenerationTooOld { generation, oldest: self.floor }
        } else {
            SecretTreeError::KeyConsumed { generation }
        })
    }

    /// Consumes the key of a generation.
    pub(super) fn apply(
        &mut self,
        limits: RatchetLimits,
        generation: u32,
        advance: Option<Advance>,
    ) {
        let Some(advance) = advance else {
            if let Ok(place) = self.kept.binary_search_by_key(&generation, |kept| kept.generation) {
                self.kept.remove(place);
            }
            return;
        };
        let skipped = (generation - self.next) as usize;
        if skipped > advance.skipped.len() {
            self.kept.clear();
            self.floor = generation - advance.skipped.len() as u32;
        }
        self.secret = advance.secret;
        self.next = generation.saturating_add(1);
        self.kept.extend(advance.skipped);
        while self.kept.len() > limits.kept() {
            if let Some(oldest) = self.kept.pop_front() {
                self.floor = oldest.generation.saturating_add(1);
            }
        }
    }

    /// How many bytes [`Ratchet::save`] appends.
    pub(super) fn saved_length(&self) -> usize {
        let kept: usize =
            self.kept.iter().map(|kept| 4 + kept.key.key().len() + kept.key.nonce().len()).sum();
        self.secret.length() + 12 + kept
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.secret.as_bytes());
        self.next.encode(out);
        self.floor.encode(out);
        (self.kept.len() as u32).encode(out);
        for Kept { generation, key } in &self.kept {
            generation.encode(out);
            out.extend_from_slice(key.key());
            out.extend_from_slice(key.nonce());
        }
    }

    pub(super) fn restore(suite: &Suite, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const BAD: DecodeError = DecodeError::Malformed("a saved ratchet contradicts itself");
        let secret = Secret::from_slice(reader.take(suite.hash_length())?);
        let next = u32::decode(reader)?;
        let floor = u32::decode(reader)?;
        let mut kept = VecDeque::new();
        let mut lowest = floor;
        for _ in 0..u32::decode(reader)? {
            let generation = u32::decode(reader)?;
            let key = reader.take(suite.aead.key_length())?;
            let nonce = reader.take(suite.aead.nonce_length())?;
            let key = MessageKey::from_parts(suite, key, nonce).ok_or(BAD)?;
            if generation < lowest || generation >= next {
                return Err(BAD);
            }
            lowest = generation.saturating_add(1);
            kept.push_back(Kept { generation, key });
        }
        if floor > next { Err(BAD) } else { Ok(Self { secret, next, floor, kept }) }
    }
}

fn message_key(suite: &Suite, secret: &Secret, generation: u32) -> Result<MessageKey, CryptoError> {
    MessageKey::derive(suite, secret, &generation.to_be_bytes())
}

fn following(suite: &Suite, secret: &Secret, generation: u32) -> Result<Secret, CryptoError> {
    suite.derive_tree_secret(secret, "secret", generation, suite.hash_length())
}
