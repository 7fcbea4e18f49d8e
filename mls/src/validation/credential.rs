//! The application's Authentication Service, as a hook (RFC 9420 section 5.3.1).

use crate::wire::{Credential, SignaturePublicKey, UnixTime};

/// The application does not accept a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("credential rejected: {reason}")]
pub struct CredentialRejected {
    /// Why, for logs. It must hold no secret.
    pub reason: String,
}

impl CredentialRejected {
    /// A rejection with its reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Decides which credentials an application accepts (RFC 9420 section 5.3.1).
///
/// All members of a group, and a delivery service that validates for them, must come to the same verdict on the
/// credentials in a commit: a member who rejects what the others accept is left behind. What depends on the
/// clock (expired certificates, say) is therefore judged by [`validate_current`](Self::validate_current), which only those ask who bring
/// a credential into a group.
pub trait CredentialValidator: Send + Sync {
    /// Checks that `credential` belongs to the owner of `signature_key`.
    ///
    /// Called for every key package, leaf and external sender that enters a group, and for every member
    /// of a group that is being joined. `now` is what the caller of the library passed in; receivers of one commit pass in
    /// different times.
    ///
    /// # Errors
    /// [`CredentialRejected`]; the leaf, and with it the message that carries it, is then invalid.
    fn validate(
        &self,
        credential: &Credential,
        signature_key: &SignaturePublicKey,
        now: UnixTime,
    ) -> Result<(), CredentialRejected>;

    /// Checks that `credential` has not expired. Called for key packages that this client reads, proposes to add or adds, and when a
    /// delivery service looks at a key package; never for what others commit.
    ///
    /// The default accepts all.
    ///
    /// # Errors
    /// [`CredentialRejected`]; the key package is then not used.
    fn validate_current(
        &self,
        credential: &Credential,
        now: UnixTime,
    ) -> Result<(), CredentialRejected> {
        let _ = (credential, now);
        Ok(())
    }

    /// Checks that a member may go on under `new` after having been `old`: when its leaf is replaced, and when the members of a
    /// group are compared with those of the one that it continues (sections 11.2, 11.3).
    ///
    /// The default accepts the same credential only.
    ///
    /// # Errors
    /// [`CredentialRejected`].
    fn validate_successor(
        &self,
        old: &Credential,
        new: &Credential,
    ) -> Result<(), CredentialRejected> {
        if old == new {
            Ok(())
        } else {
            Err(CredentialRejected::new("the credential differs from the one it replaces"))
        }
    }
}

/// Accepts every credential, and every change of one.
///
/// Authenticates nobody: whoever relies on it must compare keys by other means, for example by a verification
/// code over the epoch authenticator. It is for tests and for applications that do just that.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAnyCredential;

impl CredentialValidator for AcceptAnyCredential {
    fn validate(
        &self,
        _: &Credential,
        _: &SignaturePublicKey,
        _: UnixTime,
    ) -> Result<(), CredentialRejected> {
        Ok(())
    }

    fn validate_successor(&self, _: &Credential, _: &Credential) -> Result<(), CredentialRejected> {
        Ok(())
    }
}
