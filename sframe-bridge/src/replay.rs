//! The replay window: which counters of a KID have been seen (RFC 9605 section 9.3).

/// How many counters behind the highest one a window remembers.
pub const REPLAY_WINDOW: u64 = 1024;

// Twice the window, so that a word that is being reused never holds a counter still in the window.
const WORDS: usize = 32;
const WORD_BITS: u64 = 64;

/// What a window says about a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Not seen, and close enough to the highest one to know it.
    Fresh,
    /// Seen before.
    Duplicate,
    /// So far behind the highest one that nothing is known about it.
    TooOld,
}

/// A sliding window over the counters of one KID.
///
/// Only counters of frames whose tag has been verified may be recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayWindow {
    highest: Option<u64>,
    words: [u64; WORDS],
}

impl ReplayWindow {
    /// A window that has seen nothing.
    pub const fn new() -> Self {
        Self { highest: None, words: [0; WORDS] }
    }

    /// The highest counter recorded.
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// What is known about `ctr`.
    pub fn check(&self, ctr: u64) -> Freshness {
        let Some(highest) = self.highest else { return Freshness::Fresh };
        if ctr > highest {
            return Freshness::Fresh;
        }
        if highest - ctr >= REPLAY_WINDOW {
            return Freshness::TooOld;
        }
        let seen = self.words.get(word_index(ctr)).is_some_and(|word| word & bit(ctr) != 0);
        if seen { Freshness::Duplicate } else { Freshness::Fresh }
    }

    /// Records `ctr` as seen and says what was known about it before; what was not fresh changes
    /// nothing.
    pub fn record(&mut self, ctr: u64) -> Freshness {
        let freshness = self.check(ctr);
        if freshness != Freshness::Fresh {
            return freshness;
        }
        if let Some(highest) = self.highest {
            let from = highest / WORD_BITS;
            let words = (ctr / WORD_BITS).saturating_sub(from).min(WORDS as u64);
            for step in 1..=words {
                self.clear((from + step) * WORD_BITS);
            }
        }
        if self.highest.is_none_or(|highest| ctr > highest) {
            self.highest = Some(ctr);
        }
        if let Some(word) = self.words.get_mut(word_index(ctr)) {
            *word |= bit(ctr);
        }
        Freshness::Fresh
    }

    fn clear(&mut self, ctr: u64) {
        if let Some(word) = self.words.get_mut(word_index(ctr)) {
            *word = 0;
        }
    }
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

const fn word_index(ctr: u64) -> usize {
    (ctr / WORD_BITS) as usize % WORDS
}

const fn bit(ctr: u64) -> u64 {
    1 << (ctr % WORD_BITS)
}
