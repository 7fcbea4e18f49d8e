//! What fails on this machine, the same in every family of operations.

use crate::{
    crypto::CryptoError,
    framing::FramingError,
    group::psk::PskFailure,
    schedule::{ScheduleError, SecretTreeError},
    tree::UpdatePathError,
};

use super::{
    Action, ClientError, CommitError, ExportError, Fault, JoinError, ProcessError, SnapshotError,
};

/// Something failed on this machine: the cryptographic library refused to work, a key of one's own is not valid, or a counter
/// has come to its end. What others send does not lead here: that has been judged before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The key schedule failed.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The secret tree gives no key: one's own ratchet has come to its end.
    #[error(transparent)]
    SecretTree(#[from] SecretTreeError),
    /// A message could not be framed.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The path of a commit of one's own could not be made.
    #[error(transparent)]
    Path(#[from] UpdatePathError),
}

impl LocalError {
    /// Always [`Fault::Local`].
    #[must_use]
    pub fn fault(&self) -> Fault {
        Fault::Local
    }

    /// Always [`Action::Stop`]; a family of operations may know better.
    #[must_use]
    pub fn action(&self) -> Action {
        Action::Stop
    }
}

/// Lets `?` turn a failure of a part into the error of the operation.
macro_rules! local {
    ($($part:ty => $($family:ty),+;)*) => {$($(
        impl From<$part> for $family {
            fn from(error: $part) -> Self {
                Self::Local(error.into())
            }
        }
    )+)*};
}

local! {
    CryptoError => ClientError, JoinError, CommitError, ProcessError, ExportError, SnapshotError;
    ScheduleError => ClientError, JoinError, CommitError, ProcessError;
    SecretTreeError => ClientError, JoinError, CommitError, ProcessError;
    FramingError => JoinError, CommitError;
    UpdatePathError => CommitError;
}

impl From<ScheduleError> for ExportError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::ExportTooLong { asked, limit } => Self::SecretTooLong { asked, limit },
            other => Self::Local(other.into()),
        }
    }
}

impl From<FramingError> for ExportError {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::TooLong(length) => Self::MessageTooLong(length),
            other => Self::Local(other.into()),
        }
    }
}

/// Of what can be wrong with a received path, a failure of the library is not the sender's fault.
macro_rules! received_path {
    ($($family:ty, $variant:ident;)*) => {$(
        impl From<UpdatePathError> for $family {
            fn from(error: UpdatePathError) -> Self {
                match error {
                    UpdatePathError::Crypto(_) => Self::Local(error.into()),
                    other => Self::$variant(other),
                }
            }
        }
    )*};
}

received_path! {
    ProcessError, PathSecret;
    JoinError, Path;
}

macro_rules! psk_failure {
    ($($family:ty),*) => {$(
        impl From<PskFailure> for $family {
            fn from(failure: PskFailure) -> Self {
                match failure {
                    PskFailure::Schedule(error) => error.into(),
                    PskFailure::Unknown(source) => Self::PskUnknown(source),
                }
            }
        }
    )*};
}

psk_failure!(JoinError, CommitError, ProcessError);
