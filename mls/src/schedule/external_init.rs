//! The key pair and the init secret of external commits (RFC 9420 section 8.3).

use crate::{
    crypto::{CryptoRng, KemPrivateKey, Suite, secret_types},
    wire::HpkePublicKey,
};

use super::{InitSecret, ScheduleError};

secret_types! {
    /// `external_secret`: the source of the group's external key pair (RFC 9420 section 8).
    pub struct ExternalSecret;
}

impl ExternalSecret {
    /// Derives the key pair.
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when the library fails.
    pub fn key_pair(&self, suite: &'static Suite) -> Result<ExternalKeyPair, ScheduleError> {
        Ok(ExternalKeyPair { suite, private: suite.kem.derive_key_pair(self.as_bytes())? })
    }
}

/// The key pair that the whole group holds, for joins by external commit (RFC 9420 section 8).
#[derive(Debug)]
pub struct ExternalKeyPair {
    suite: &'static Suite,
    private: Box<dyn KemPrivateKey>,
}

impl ExternalKeyPair {
    /// `external_pub`, for the extension of that name in a GroupInfo (RFC 9420 section 12.4.3.2).
    #[must_use]
    pub fn public_key(&self) -> HpkePublicKey {
        HpkePublicKey::from(self.private.public())
    }

    /// Recovers the init secret of an external commit from its ExternalInit proposal.
    ///
    /// # Errors
    /// [`ScheduleError::BadExternalInit`].
    pub fn init_secret(&self, kem_output: &[u8]) -> Result<InitSecret, ScheduleError> {
        self.suite
            .open_external_init(&*self.private, kem_output)
            .map(InitSecret::from)
            .map_err(ScheduleError::BadExternalInit)
    }
}

/// What a client needs to join by external commit.
#[derive(Debug)]
pub struct ExternalInitOutput {
    /// Goes into the ExternalInit proposal; public.
    pub kem_output: Vec<u8>,
    /// What the epoch after the commit starts from.
    pub init_secret: InitSecret,
}

impl ExternalInitOutput {
    /// Makes a fresh init secret for the group that published `external_pub`.
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when `external_pub` is not a public key of the suite.
    pub fn create(
        suite: &Suite,
        external_pub: &HpkePublicKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ScheduleError> {
        let public = suite.kem.public_key(external_pub.as_bytes())?;
        let made = suite.setup_external_init(&*public, rng)?;
        Ok(Self { kem_output: made.kem_output, init_secret: made.init_secret.into() })
    }
}
