//! The secrets that last as long as an epoch (RFC 9420 section 8, table "Epoch-Derived Secrets").

use std::sync::OnceLock;

use crate::{
    codec::{DecodeError, Reader},
    crypto::{CryptoError, Secret, Suite, secret_types},
    wire::ConfirmationTag,
};

use super::{EpochSecret, ExternalKeyPair, ExternalSecret, InitSecret, MessageKey, ScheduleError};

secret_types! {
    /// `sender_data_secret`: encrypts who sent a private message (RFC 9420 section 6.3.2).
    pub struct SenderDataSecret;

    /// `exporter_secret`: the source of the secrets that applications export (RFC 9420 section 8.5).
    pub struct ExporterSecret;

    /// `confirmation_key`: confirms the transcript of an epoch (RFC 9420 section 6.1).
    pub struct ConfirmationKey;

    /// `membership_key`: shows membership on a public message (RFC 9420 section 6.2).
    pub struct MembershipKey;

    /// `resumption_psk`: proves membership in this epoch to a later one (RFC 9420 section 8.6).
    pub struct ResumptionPsk;

    /// `epoch_authenticator`: equal for all who share the epoch's state (RFC 9420 section 8.7).
    pub struct EpochAuthenticator;
}

impl SenderDataSecret {
    /// The key and nonce for the sender data of a message, from a sample of the message's
    /// ciphertext (RFC 9420 section 6.3.2).
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when the secret does not have the suite's length.
    pub fn keys(&self, suite: &Suite, ciphertext: &[u8]) -> Result<MessageKey, ScheduleError> {
        let sample = ciphertext.get(..suite.hash_length()).unwrap_or(ciphertext);
        Ok(MessageKey::derive(suite, self.as_secret(), sample)?)
    }
}

impl ExporterSecret {
    /// `MLS-Exporter` (RFC 9420 section 8.5): a secret of `length` bytes for the use that `label` names.
    ///
    /// # Errors
    /// [`ScheduleError::ExportTooLong`] beyond 255 times `Nh` bytes.
    pub fn export(
        &self,
        suite: &Suite,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Result<Secret, ScheduleError> {
        let limit = suite.hash_length().saturating_mul(255).min(usize::from(u16::MAX));
        if length > limit {
            return Err(ScheduleError::ExportTooLong { asked: length, limit });
        }
        let derived = suite.derive_secret(self.as_secret(), label)?;
        let hash = suite.hash(&[context]);
        Ok(suite.expand_with_label(&derived, "exported", hash.as_bytes(), length)?)
    }
}

impl ConfirmationKey {
    /// The tag that confirms a transcript (RFC 9420 section 6.1).
    #[must_use]
    pub fn tag(&self, suite: &Suite, confirmed_transcript_hash: &[u8]) -> ConfirmationTag {
        ConfirmationTag(suite.mac(self.as_secret(), &[confirmed_transcript_hash]))
    }

    /// Checks a confirmation tag in constant time.
    ///
    /// # Errors
    /// [`ScheduleError::ConfirmationTagMismatch`].
    pub fn check(
        &self,
        suite: &Suite,
        confirmed_transcript_hash: &[u8],
        tag: &ConfirmationTag,
    ) -> Result<(), ScheduleError> {
        suite
            .verify_mac(self.as_secret(), &[confirmed_transcript_hash], tag.as_bytes())
            .map_err(|_| ScheduleError::ConfirmationTagMismatch)
    }
}

/// The secrets of one epoch, apart from the secret tree.
#[derive(Debug)]
pub struct EpochSecrets {
    suite: &'static Suite,
    sender_data: SenderDataSecret,
    exporter: ExporterSecret,
    external: ExternalSecret,
    confirmation_key: ConfirmationKey,
    membership_key: MembershipKey,
    resumption_psk: ResumptionPsk,
    epoch_authenticator: EpochAuthenticator,
    init: InitSecret,
    external_key_pair: OnceLock<ExternalKeyPair>,
}

/// What a member may keep of an epoch that has ended.
#[derive(Debug)]
pub struct RetiredEpoch {
    /// Opens the sender data of messages that come late.
    pub sender_data: SenderDataSecret,
    /// Serves as a pre-shared key later on.
    pub resumption_psk: ResumptionPsk,
}

impl EpochSecrets {
    pub(super) fn derive(suite: &'static Suite, epoch: &EpochSecret) -> Result<Self, CryptoError> {
        let secret = |label| suite.derive_secret(epoch.as_secret(), label);
        Ok(Self {
            suite,
            sender_data: secret("sender data")?.into(),
            exporter: secret("exporter")?.into(),
            external: secret("external")?.into(),
            confirmation_key: secret("confirm")?.into(),
            membership_key: secret("membership")?.into(),
            resumption_psk: secret("resumption")?.into(),
            epoch_authenticator: secret("authentication")?.into(),
            init: secret("init")?.into(),
            external_key_pair: OnceLock::new(),
        })
    }

    /// Encrypts who sent a private message.
    #[must_use]
    pub fn sender_data(&self) -> &SenderDataSecret {
        &self.sender_data
    }

    /// The source of exported secrets. [`EpochSecrets::export`] is what applications need.
    #[must_use]
    pub fn exporter(&self) -> &ExporterSecret {
        &self.exporter
    }

    /// The source of the external key pair.
    #[must_use]
    pub fn external_secret(&self) -> &ExternalSecret {
        &self.external
    }

    /// Confirms the epoch's transcript.
    #[must_use]
    pub fn confirmation_key(&self) -> &ConfirmationKey {
        &self.confirmation_key
    }

    /// Shows membership on public messages.
    #[must_use]
    pub fn membership_key(&self) -> &MembershipKey {
        &self.membership_key
    }

    /// Proves membership in this epoch to a later one.
    #[must_use]
    pub fn resumption_psk(&self) -> &ResumptionPsk {
        &self.resumption_psk
    }

    /// Equal for all who share the epoch's state.
    #[must_use]
    pub fn epoch_authenticator(&self) -> &EpochAuthenticator {
        &self.epoch_authenticator
    }

    /// What the next epoch starts from.
    #[must_use]
    pub fn init(&self) -> &InitSecret {
        &self.init
    }

    /// `MLS-Exporter` (RFC 9420 section 8.5): a secret of `length` bytes, bound to this epoch.
    ///
    /// # Errors
    /// [`ScheduleError::ExportTooLong`] beyond 255 times `Nh` bytes.
    pub fn export(
        &self,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Result<Secret, ScheduleError> {
        self.exporter.export(self.suite, label, context, length)
    }

    /// The tag that confirms a transcript in this epoch.
    #[must_use]
    pub fn confirmation_tag(&self, confirmed_transcript_hash: &[u8]) -> ConfirmationTag {
        self.confirmation_key.tag(self.suite, confirmed_transcript_hash)
    }

    /// Checks a confirmation tag of this epoch in constant time.
    ///
    /// # Errors
    /// [`ScheduleError::ConfirmationTagMismatch`].
    pub fn check_confirmation_tag(
        &self,
        confirmed_transcript_hash: &[u8],
        tag: &ConfirmationTag,
    ) -> Result<(), ScheduleError> {
        self.confirmation_key.check(self.suite, confirmed_transcript_hash, tag)
    }

    /// The key pair for external commits; derived when it is first asked for, then kept.
    ///
    /// # Errors
    /// [`ScheduleError::Crypto`] when the library fails.
    pub fn external(&self) -> Result<&ExternalKeyPair, ScheduleError> {
        if let Some(pair) = self.external_key_pair.get() {
            return Ok(pair);
        }
        let pair = self.external.key_pair(self.suite)?;
        Ok(self.external_key_pair.get_or_init(|| pair))
    }

    /// Ends the epoch: everything but the two secrets that may be wanted later is overwritten.
    #[must_use]
    pub fn retire(self) -> RetiredEpoch {
        RetiredEpoch { sender_data: self.sender_data, resumption_psk: self.resumption_psk }
    }

    fn parts(&self) -> [&Secret; 8] {
        [
            self.sender_data.as_secret(),
            self.exporter.as_secret(),
            self.external.as_secret(),
            self.confirmation_key.as_secret(),
            self.membership_key.as_secret(),
            self.resumption_psk.as_secret(),
            self.epoch_authenticator.as_secret(),
            self.init.as_secret(),
        ]
    }

    /// How many bytes [`EpochSecrets::save`] appends.
    #[must_use]
    pub fn saved_length(&self) -> usize {
        self.parts().iter().map(|secret| secret.length()).sum()
    }

    /// Appends the secrets in the clear.
    ///
    /// The caller encrypts and then overwrites `out`. To leave no copy behind in memory that a growing vector
    /// gave up, reserve [`EpochSecrets::saved_length`] bytes beforehand.
    pub fn save(&self, out: &mut Vec<u8>) {
        for secret in self.parts() {
            out.extend_from_slice(secret.as_bytes());
        }
    }

    /// Reads what [`EpochSecrets::save`] wrote for a group of the same suite.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn restore(suite: &'static Suite, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut secret = || reader.take(suite.hash_length()).map(Secret::from_slice);
        Ok(Self {
            suite,
            sender_data: secret()?.into(),
            exporter: secret()?.into(),
            external: secret()?.into(),
            confirmation_key: secret()?.into(),
            membership_key: secret()?.into(),
            resumption_psk: secret()?.into(),
            epoch_authenticator: secret()?.into(),
            init: secret()?.into(),
            external_key_pair: OnceLock::new(),
        })
    }
}
