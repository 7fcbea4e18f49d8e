//! The key schedule (RFC 9420 section 8) and the secret tree (section 9).
//!
//! Each stage of the schedule is a type of its own, so that secrets cannot be mixed up:
//!
//! ```text
//! InitSecret + CommitSecret -> JoinerSecret + PskSecret -> MemberSecret -> WelcomeKeys
//!                                                                       -> EpochSecret -> EpochSecrets
//!                                                                                      -> EncryptionSecret -> SecretTree
//! ```
//!
//! A step that ends a stage takes `self`, and the secret is overwritten.

mod epoch_secrets;
mod error;
mod external_init;
mod key_schedule;
mod message_key;
mod psk_secret;
mod secret_tree;
mod transcript_hash;

pub use epoch_secrets::{
    ConfirmationKey, EpochAuthenticator, EpochSecrets, ExporterSecret, MembershipKey,
    ResumptionPsk, RetiredEpoch, SenderDataSecret,
};
pub use error::{ScheduleError, SecretTreeError};
pub use external_init::{ExternalInitOutput, ExternalKeyPair, ExternalSecret};
pub use key_schedule::{
    CommitSecret, EncryptionSecret, EpochSecret, InitSecret, JoinerSecret, MemberSecret, NewEpoch,
    WelcomeKeys, WelcomeSecret,
};
pub use message_key::MessageKey;
pub use psk_secret::{Psk, PskInput, PskSecret};
pub(crate) use secret_tree::{Derived, TreeChange};
pub use secret_tree::{RatchetKind, RatchetLimits, SecretTree, SendKey};
pub use transcript_hash::InterimTranscriptHash;
