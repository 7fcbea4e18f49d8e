//! A message of which parts have come.

use super::part::{self, DatagramError, Part};

/// What has come of one message; at most its own length and the sum's.
#[derive(Debug)]
pub(super) struct Assembly {
    length: usize,
    confirm: bool,
    parts: Vec<Option<Box<[u8]>>>,
    sum: Option<Box<[u8]>>,
}

impl Assembly {
    /// Nothing yet of the message that `part` belongs to.
    pub(super) fn new(part: &Part<'_>) -> Self {
        Self {
            length: part.length,
            confirm: part.confirm,
            parts: vec![None; part::count(part.length)],
            sum: None,
        }
    }

    /// Adds a part; returns the message if that makes it complete.
    pub(super) fn add(&mut self, part: &Part<'_>) -> Result<Option<Vec<u8>>, DatagramError> {
        if part.length != self.length || part.confirm != self.confirm {
            return Err(DatagramError::Inconsistent);
        }
        let place = self.parts.get_mut(part.index).unwrap_or(&mut self.sum);
        if place.as_deref().is_some_and(|known| known != part.bytes) {
            return Err(DatagramError::Inconsistent);
        }
        *place = Some(part.bytes.into());
        Ok(self.complete())
    }

    fn complete(&self) -> Option<Vec<u8>> {
        let missing = self.parts.iter().filter(|part| part.is_none()).count();
        if missing > usize::from(self.sum.is_some()) {
            return None;
        }
        let mut lost = self.sum.as_deref().unwrap_or_default().to_vec();
        for known in self.parts.iter().flatten() {
            part::add(&mut lost, known);
        }
        let mut body = Vec::with_capacity(self.length);
        for (index, part) in self.parts.iter().enumerate() {
            let length = part::range(self.length, index).len();
            body.extend_from_slice(part.as_deref().or(lost.get(..length))?);
        }
        Some(body)
    }
}
