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
}

impl Padding {
    /// The length of a padded plaintext; `None` when it exceeds the address space.
    pub(super) fn padded(self, length: usize) -> Option<usize> {
        match self {
            Self::None => Some(length),
            Self::MultipleOf(step) => length.checked_next_multiple_of(usize::from(step.get())),
            Self::PowerOfTwo => length.max(SHORTEST).checked_next_power_of_two(),
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
        assert_eq!(power.padded(usize::MAX), None);
        assert_eq!(step.padded(usize::MAX), None);
        assert_eq!(Padding::None.padded(usize::MAX), Some(usize::MAX));
    }
}
