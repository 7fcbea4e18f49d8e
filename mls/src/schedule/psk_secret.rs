//! The secret that pre-shared keys contribute to an epoch (RFC 9420 section 8.4).

use crate::{
    codec::Encode,
    crypto::{Secret, Suite, secret_types},
    wire::{PreSharedKeyId, PskLabel},
};

use super::{ResumptionPsk, ScheduleError};

secret_types! {
    /// The value of a pre-shared key, of any length.
    pub struct Psk;

    /// `psk_secret`: all pre-shared keys of a commit, chained.
    pub struct PskSecret;
}

impl ResumptionPsk {
    /// A copy for use as a pre-shared key.
    #[must_use]
    pub fn to_psk(&self) -> Psk {
        self.as_secret().duplicate().into()
    }
}

/// A pre-shared key as a commit or a Welcome lists it.
#[derive(Clone, Copy, Debug)]
pub struct PskInput<'a> {
    /// Its name and the nonce for this use of it.
    pub id: &'a PreSharedKeyId,
    /// Its value.
    pub psk: &'a Psk,
}

impl PskSecret {
    /// Chains the keys in the order of the commit, or of `GroupSecrets.psks`. No keys give `Nh` zero bytes.
    ///
    /// # Errors
    /// [`ScheduleError::TooManyPsks`].
    pub fn compute(suite: &Suite, psks: &[PskInput<'_>]) -> Result<Self, ScheduleError> {
        let count =
            u16::try_from(psks.len()).map_err(|_| ScheduleError::TooManyPsks(psks.len()))?;
        let zero = Secret::zeroed(suite.hash_length());
        let mut chained = Secret::zeroed(suite.hash_length());
        for (index, PskInput { id, psk }) in (0..count).zip(psks) {
            let extracted = suite.extract(&zero, psk.as_secret());
            let label = PskLabel { id, index, count }.to_bytes();
            let input =
                suite.expand_with_label(&extracted, "derived psk", &label, suite.hash_length())?;
            chained = suite.extract(&input, &chained);
        }
        Ok(chained.into())
    }
}
