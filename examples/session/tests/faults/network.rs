//! What happens to messages and frames on their way.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};

/// How bad the ways are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The part that is lost.
    pub drop: f64,
    /// The part that comes twice.
    pub duplicate: f64,
    /// Messages may be overtaken by so many after them.
    pub reorder: u64,
    /// The longest delay beyond the usual one, in milliseconds.
    pub delay: u64,
    /// The part in which a bit is flipped.
    pub flip: f64,
}

impl Faults {
    /// Those of every family at once, drawn.
    pub fn drawn(rng: &mut StdRng) -> Self {
        Self {
            drop: rng.random_range(0.0..0.3),
            duplicate: 0.1,
            reorder: rng.random_range(0..64),
            delay: rng.random_range(0..5_000),
            flip: rng.random_range(0.0..0.05),
        }
    }
}

/// Things under way, each with the time at which it comes, in milliseconds.
pub struct Network<T> {
    pub faults: Faults,
    /// The way takes so long without faults.
    latency: u64,
    under_way: BTreeMap<(u64, u64), T>,
    next: u64,
    pub dropped: u64,
}

impl<T: Clone> Network<T> {
    pub fn new(latency: u64) -> Self {
        let (faults, under_way) = (Faults::default(), BTreeMap::new());
        Self { faults, latency, under_way, next: 0, dropped: 0 }
    }

    /// Sends something; `flip` flips a bit of it.
    pub fn send(&mut self, item: T, now: u64, rng: &mut StdRng, flip: impl FnOnce(&mut T, u64)) {
        let faults = self.faults;
        if rng.random_bool(faults.drop) {
            self.dropped += 1;
            return;
        }
        let mut item = item;
        if rng.random_bool(faults.flip) {
            flip(&mut item, rng.next_u64());
        }
        let copies = if rng.random_bool(faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = rng.random_range(0..=faults.delay);
            // One message a millisecond: whoever waits for so long is overtaken by as many.
            let overtaken = rng.random_range(0..=faults.reorder);
            let at = now + self.latency + delay + overtaken;
            self.under_way.insert((at, self.next), item.clone());
            self.next += 1;
        }
    }

    /// What has come.
    pub fn arrived(&mut self, now: u64) -> Vec<T> {
        let later = self.under_way.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.under_way, later).into_values().collect()
    }

    /// Forgets what is under way and should be.
    pub fn forget(&mut self, which: impl Fn(&T) -> bool) {
        self.under_way.retain(|_, item| !which(item));
    }
}

/// Flips a bit; what is no text any more is nothing to whoever gets it.
pub fn flip_text(text: &mut String, bit: u64) {
    let mut bytes = std::mem::take(text).into_bytes();
    let bit = bit as usize % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    *text = String::from_utf8(bytes).unwrap_or_default();
}
