//! What a receiver tells of itself.

use crate::error::ReceiveError;
use crate::replay::ReplayWindow;

/// How many frames were opened, and how many were not, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ReceiveStats {
    /// Opened.
    pub opened: u64,
    /// Authentic repetitions, as RTX makes them. Not attacks.
    pub duplicates: u64,
    /// Authentic, but behind the replay window.
    pub replayed: u64,
    /// Of epochs not installed yet.
    pub future: u64,
    /// Of epochs that have expired or that began before this member joined.
    pub expired: u64,
    /// Not SFrame, too short or too long.
    pub malformed: u64,
    /// With a KID that may not be used: one's own, of a blank leaf, of another member than the
    /// track's, of a context not allowed.
    pub forbidden_kid: u64,
    /// With a counter above what the epoch's age allows.
    pub too_far_ahead: u64,
    /// With a tag that does not match.
    pub unauthentic: u64,
}

impl ReceiveStats {
    pub(crate) fn count(&mut self, error: &ReceiveError) {
        let counter = match error {
            ReceiveError::Duplicate { .. } => &mut self.duplicates,
            ReceiveError::Replayed { .. } => &mut self.replayed,
            ReceiveError::FutureEpoch { .. } | ReceiveError::NoEpoch => &mut self.future,
            ReceiveError::ExpiredEpoch { .. } | ReceiveError::BeforeJoin { .. } => {
                &mut self.expired
            }
            ReceiveError::OwnKid
            | ReceiveError::BlankLeaf { .. }
            | ReceiveError::OtherSender { .. }
            | ReceiveError::OtherReceiver { .. }
            | ReceiveError::UnknownKid { .. }
            | ReceiveError::ContextNotAllowed { .. } => &mut self.forbidden_kid,
            ReceiveError::CounterTooFarAhead { .. } => &mut self.too_far_ahead,
            ReceiveError::Unauthentic | ReceiveError::Backend(_) => &mut self.unauthentic,
            ReceiveError::Header(_)
            | ReceiveError::Codec(_)
            | ReceiveError::TooShort { .. }
            | ReceiveError::TooLong { .. }
            | ReceiveError::MetadataTooLong { .. } => &mut self.malformed,
        };
        *counter += 1;
    }
}

/// What a receiver holds for one sender's context, without secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamState {
    /// The epoch.
    pub epoch: u64,
    /// The sender's leaf.
    pub leaf: u32,
    /// The sender's context.
    pub context: u32,
    /// The counters seen.
    pub replay: ReplayWindow,
}
