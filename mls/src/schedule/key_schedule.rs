//! The stages from one epoch's init secret to the next epoch's secrets (RFC 9420 section 8).

use crate::crypto::{CryptoRng, Secret, Suite, secret_types};

use super::{EpochSecrets, MessageKey, PskSecret, ScheduleError};

secret_types! {
    /// `init_secret`: what an epoch passes on to the next one.
    pub struct InitSecret;

    /// `commit_secret`: what a commit's UpdatePath contributes (RFC 9420 section 7.4).
    pub struct CommitSecret;

    /// `joiner_secret`: what a Welcome gives to those whom a commit adds.
    pub struct JoinerSecret;

    /// The joiner secret with the pre-shared keys mixed in; RFC 9420 has no name for it.
    pub struct MemberSecret;

    /// `welcome_secret`: the source of the key that encrypts the GroupInfo in a Welcome.
    pub struct WelcomeSecret;

    /// `epoch_secret`: the source of everything else in an epoch.
    pub struct EpochSecret;

    /// `encryption_secret`: the root of the secret tree.
    pub struct EncryptionSecret;
}

impl InitSecret {
    /// The joiner secret of the epoch whose encoded GroupContext is given.
    ///
    /// The init secret is borrowed, as a staged commit may be dropped instead of merged; it is overwritten with the
    /// epoch that owns it.
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when a secret does not have the suite's length.
    pub fn joiner(
        &self,
        suite: &Suite,
        commit_secret: &CommitSecret,
        group_context: &[u8],
    ) -> Result<JoinerSecret, ScheduleError> {
        let extracted = suite.extract(self.as_secret(), commit_secret.as_secret());
        let joiner =
            suite.expand_with_label(&extracted, "joiner", group_context, suite.hash_length())?;
        Ok(joiner.into())
    }
}

impl CommitSecret {
    /// The commit secret of a commit without a path: `Nh` zero bytes (RFC 9420 section 12.4.2).
    #[must_use]
    pub fn zero(suite: &Suite) -> Self {
        Secret::zeroed(suite.hash_length()).into()
    }
}

impl JoinerSecret {
    /// Mixes the pre-shared keys in.
    #[must_use]
    pub fn member(self, suite: &Suite, psk_secret: &PskSecret) -> MemberSecret {
        suite.extract(self.as_secret(), psk_secret.as_secret()).into()
    }
}

impl MemberSecret {
    /// The welcome secret.
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when the secret does not have the suite's length.
    pub fn welcome(&self, suite: &Suite) -> Result<WelcomeSecret, ScheduleError> {
        Ok(suite.derive_secret(self.as_secret(), "welcome")?.into())
    }

    /// The epoch secret of the epoch whose encoded GroupContext is given.
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when the secret does not have the suite's length.
    pub fn epoch(self, suite: &Suite, group_context: &[u8]) -> Result<EpochSecret, ScheduleError> {
        let length = suite.hash_length();
        Ok(suite.expand_with_label(self.as_secret(), "epoch", group_context, length)?.into())
    }
}

impl WelcomeSecret {
    /// The key and nonce that encrypt the GroupInfo in a Welcome (RFC 9420 section 12.4.3.1).
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when the secret does not have the suite's length.
    pub fn keys(self, suite: &'static Suite) -> Result<WelcomeKeys, ScheduleError> {
        let key = MessageKey::derive(suite, self.as_secret(), &[])?;
        Ok(WelcomeKeys { suite, key })
    }
}

/// The key and nonce that encrypt the GroupInfo in a Welcome (RFC 9420 section 12.4.3.1); good for one use.
#[derive(Debug)]
pub struct WelcomeKeys {
    suite: &'static Suite,
    key: MessageKey,
}

impl WelcomeKeys {
    /// Encrypts an encoded GroupInfo.
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when the library fails.
    pub fn seal(self, group_info: &[u8]) -> Result<Vec<u8>, ScheduleError> {
        Ok(self.suite.aead.seal(self.key.key(), self.key.nonce(), &[], group_info)?)
    }

    /// Decrypts an encoded GroupInfo.
    ///
    /// # Errors
    /// [`ScheduleError::GroupInfoUndecryptable`].
    pub fn open(self, encrypted_group_info: &[u8]) -> Result<Vec<u8>, ScheduleError> {
        self.suite
            .aead
            .open(self.key.key(), self.key.nonce(), &[], encrypted_group_info)
            .map_err(|_| ScheduleError::GroupInfoUndecryptable)
    }
}

/// What an epoch starts with.
#[derive(Debug)]
pub struct NewEpoch {
    /// The secrets that last as long as the epoch.
    pub secrets: EpochSecrets,
    /// Goes into the secret tree.
    pub encryption: EncryptionSecret,
}

impl EpochSecret {
    /// The epoch secret of a group that is being created (RFC 9420 section 11).
    #[must_use]
    pub fn random(suite: &Suite, rng: &mut dyn CryptoRng) -> Self {
        Secret::random(suite.hash_length(), rng).into()
    }

    /// Derives the epoch's secrets.
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when the secret does not have the suite's length.
    pub fn derive(self, suite: &'static Suite) -> Result<NewEpoch, ScheduleError> {
        let secrets = EpochSecrets::derive(suite, &self)?;
        let encryption = suite.derive_secret(self.as_secret(), "encryption")?.into();
        Ok(NewEpoch { secrets, encryption })
    }
}
