//! The fuzzer's bytes as a sequence of choices. Where they end, every further choice is the first one.

use mls::codec::{Decode, Encode};

pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `bound`, which is at most 256.
    pub fn pick(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn one_in(&mut self, bound: u8) -> bool {
        self.byte() % bound == bound - 1
    }

    pub fn choose<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.pick(from.len())]
    }

    /// Up to `most` bytes.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = usize::from(self.word()) % (most + 1);
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    /// Alters a few places of an encoding.
    pub fn alter(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.pick(3) {
            let place = usize::from(self.word()) % (bytes.len() + 1);
            match self.pick(5) {
                0 if place < bytes.len() => bytes[place] ^= 1 << self.pick(8),
                1 if place < bytes.len() => bytes[place] = self.byte(),
                2 if place < bytes.len() => {
                    let end = bytes.len().min(place + 1 + self.pick(64));
                    bytes.drain(place..end);
                }
                3 => {
                    let inserted = self.bytes(64);
                    bytes.splice(place..place, inserted);
                }
                _ => {
                    let end = bytes.len().min(place + 1 + self.pick(128));
                    let repeated = bytes[place..end].to_vec();
                    bytes.splice(place..place, repeated);
                }
            }
        }
    }

    /// The value with its encoding altered, where what comes out still decodes.
    pub fn altered<T: Decode + Encode>(&mut self, value: T) -> T {
        let mut bytes = value.to_bytes();
        self.alter(&mut bytes);
        T::from_bytes(&bytes).unwrap_or(value)
    }
}
