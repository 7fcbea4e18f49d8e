//! How much a private message is padded (RFC 9420 section 15.1).

use std::num::NonZeroU16;

/// The shortest plaintext under [`Padding::PowerOfTwo`], in bytes.
const SHORTEST: usize = 128;

/// How the length of a plaintext is hidden. The length counts content, signature and confirmation tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Not at all.
    #[default]
    None,
    /// Up to the next multiple of so many bytes.
    MultipleOf(NonZeroU16),
    /// Up to the next power of two, at least 128 bytes.
    PowerOfTwo,
    /// Up to the next length whose binary floating-point form has a mantissa no longer than its exponent (the Padmé function of
    /// Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019), at least 128 bytes: at most 12 %
    /// more, and `O(log log n)` bits of the length are told, as with powers of two.
    Padme,
}

impl Padding {
    /// The length of a padded plaintext; `None` when it exceeds the address space.
    pub(super) fn padded(self, length: usize) -> Option<usize> {
        match self {
            Self::None => Some(length),
            Self::MultipleOf(step) => length.checked_next_multiple_of(usize::from(step.get())),
            Self::PowerOfTwo => length.max(SHORTEST).checked_next_power_of_two(),
            Self::Padme => {
                let length = length.max(SHORTEST);
                // At least 7, so that both logarithms exist.
                let exponent = length.ilog2();
                let cleared = exponent.saturating_sub(exponent.ilog2().saturating_add(1));
                length.checked_next_multiple_of(1 << cleared)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_up() {
        let step = Padding::MultipleOf(NonZeroU16::new(32).unwrap());
        assert_eq!([0, 1, 32, 33].map(|length| step.padded(length)), [0, 32, 32, 64].map(Some));
        let power = Padding::PowerOfTwo;
        assert_eq!(
            [0, 128, 129, 1000].map(|length| power.padded(length)),
            [128, 128, 256, 1024].map(Some)
        );
        let padme = Padding::Padme;
        assert_eq!(
            [0, 128, 129, 145, 1000, 1025, 100_000].map(|length| padme.padded(length)),
            [128, 128, 144, 160, 1024, 1088, 100_352].map(Some)
        );
        let mut lengths = std::collections::BTreeSet::new();
        for length in SHORTEST..70_000 {
            let padded = padme.padded(length).unwrap();
            assert!(padded >= length && (padded - length) * 100 <= length * 12, "{length}");
            assert_eq!(padme.padded(padded), Some(padded));
            lengths.insert(padded);
        }
        assert!(lengths.len() < 150, "{} lengths can be told apart", lengths.len());
        assert_eq!(padme.padded(usize::MAX), None);
        assert_eq!(power.padded(usize::MAX), None);
        assert_eq!(step.padded(usize::MAX), None);
        assert_eq!(Padding::None.padded(usize::MAX), Some(usize::MAX));
    }
}
