//! Epoch keys as the key types of the `sframe` crate, for applications whose frames already go
//! through it.
//!
//! Which cryptographic backend that crate uses is the application's choice, by a feature of its
//! own dependency on it; here the key types stay generic, and the type asked for decides:
//!
//! ```ignore
//! let key: sframe::key::EncryptionKey = keys.encryption_key()?;
//! ```
//!
//! Counting, the send switch, the replay window and the life of a key are then the application's.

use crate::epoch::Epoch;
use crate::error::{EpochError, ReceiveError, SendError};
use crate::installed_epoch::LeafSet;
use crate::key_derivation::BaseKey;
use crate::kid::{Kid, KidError, KidLayout};
use crate::suite::CipherSuite;
use core::fmt;
use sframe::crypto::{AeadDecrypt, AeadEncrypt, KeyDerivation};
use sframe::key::{GenericDecryptionKey, GenericEncryptionKey};
use thiserror::Error;

/// Why no key was handed out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyTypeError {
    /// The `sframe` crate has the suite with some of its backends only.
    #[error("expected an aes-gcm suite, found {0:?}")]
    Suite(CipherSuite),
    /// The epoch cannot be used.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// Nothing may be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Nothing may be received under the KID.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The `sframe` crate failed.
    #[error(transparent)]
    Derivation(#[from] sframe::error::SframeError),
}

/// The keys of one epoch, made when they are asked for.
///
/// It takes the place of [`CallKeys::install_epoch`](crate::CallKeys::install_epoch): an epoch is
/// consumed by one of the two, so that no key counts in both.
pub struct SframeEpochKeys {
    suite: sframe::CipherSuite,
    base_key: BaseKey,
    layout: KidLayout,
    number: u64,
    own_leaf: u32,
    live: LeafSet,
    may_send: bool,
    contexts: u32,
    next_context: u32,
}

impl SframeEpochKeys {
    /// The keys of `epoch` for a call with this suite and layout, in which a member may use
    /// `contexts` contexts.
    ///
    /// # Errors
    ///
    /// [`KeyTypeError::Suite`], [`KeyTypeError::Epoch`].
    pub fn new(
        epoch: Epoch,
        suite: CipherSuite,
        layout: KidLayout,
        contexts: u32,
    ) -> Result<Self, KeyTypeError> {
        let theirs = match suite {
            CipherSuite::Aes128GcmSha256_128 => sframe::CipherSuite::AesGcm128Sha256,
            CipherSuite::Aes256GcmSha512_128 => sframe::CipherSuite::AesGcm256Sha512,
            other => return Err(KeyTypeError::Suite(other)),
        };
        let live = epoch.check(suite, layout)?;
        let may_send = !epoch.receive_only;
        let Epoch { number, base_key, own_leaf, .. } = epoch;
        Ok(Self {
            suite: theirs,
            base_key,
            layout,
            number,
            own_leaf,
            live,
            may_send,
            contexts,
            next_context: 0,
        })
    }

    /// A key to send with, in a context that was never handed out before: its counter begins at
    /// zero, and nobody else has it.
    ///
    /// # Errors
    ///
    /// [`SendError::NoKey`] in an epoch that is for receiving only,
    /// [`SendError::ContextsExhausted`], [`KeyTypeError::Derivation`].
    pub fn encryption_key<A, D>(&mut self) -> Result<GenericEncryptionKey<A, D>, KeyTypeError>
    where
        A: AeadEncrypt<Secret = D::Secret>,
        D: KeyDerivation,
    {
        if !self.may_send {
            return Err(SendError::NoKey.into());
        }
        let exhausted = SendError::ContextsExhausted { limit: self.contexts };
        if self.next_context >= self.contexts {
            return Err(exhausted.into());
        }
        let context = u64::from(self.next_context);
        let kid = self.layout.compose(context, self.own_leaf, self.number);
        let kid = kid.map_err(|_: KidError| exhausted)?;
        self.next_context += 1;
        let material = self.base_key.expose_secret();
        Ok(GenericEncryptionKey::derive_from(self.suite, kid.0, material)?)
    }

    /// The key that opens frames under `kid`, if that is another live member's in this epoch.
    ///
    /// # Errors
    ///
    /// [`ReceiveError::ExpiredEpoch`] for the low bits of another epoch,
    /// [`ReceiveError::OwnKid`], [`ReceiveError::BlankLeaf`], [`ReceiveError::ContextNotAllowed`],
    /// [`KeyTypeError::Derivation`].
    pub fn decryption_key<A, D>(&self, kid: Kid) -> Result<GenericDecryptionKey<A, D>, KeyTypeError>
    where
        A: AeadDecrypt<Secret = D::Secret>,
        D: KeyDerivation,
    {
        let parts = self.layout.split(kid);
        let refused = if parts.epoch_low != self.layout.epoch_low(self.number) {
            Some(ReceiveError::ExpiredEpoch { epoch: parts.epoch_low })
        } else if parts.leaf == self.own_leaf {
            Some(ReceiveError::OwnKid)
        } else if !self.live.contains(parts.leaf) {
            Some(ReceiveError::BlankLeaf { leaf: parts.leaf })
        } else if parts.context >= u64::from(self.contexts) {
            let (context, limit) = (parts.context, self.contexts);
            Some(ReceiveError::ContextNotAllowed { context, limit })
        } else {
            None
        };
        match refused {
            Some(refused) => Err(refused.into()),
            None => {
                let material = self.base_key.expose_secret();
                Ok(GenericDecryptionKey::derive_from(self.suite, kid.0, material)?)
            }
        }
    }
}

impl fmt::Debug for SframeEpochKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SframeEpochKeys").field("epoch", &self.number).finish_non_exhaustive()
    }
}
