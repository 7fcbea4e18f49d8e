//! The parameters of a call, agreed in a GroupContext extension (RFC 9420 sections 8.1, 13.4).

use crate::kid::{KidError, KidLayout};
use crate::suite::{CipherSuite, UnknownSuite};
use thiserror::Error;

const VERSION: u8 = 2;

/// What the media of a call may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaPolicy {
    /// How many contexts (tracks and simulcast layers) a member may use in one epoch, 1 to 4096.
    pub contexts: u16,
    /// How many frames a second one context may send. It bounds the counters of an epoch.
    pub frame_rate: u16,
    /// How frames are cut into RTP packets.
    pub packetization: Packetization,
}

/// What an SFrame ciphertext is made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Packetization {
    /// Each frame is one SFrame ciphertext (T = 0).
    PerFrame,
    /// Each RTP packet is one SFrame ciphertext (T = 1).
    PerPacket,
}

/// Whose proposals may change who is in the call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeRight {
    /// Any member's.
    AnyMember,
    /// Only those of the moderators.
    Moderators,
}

/// Who may add and remove members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembershipPolicy {
    /// Who may add.
    pub add: ChangeRight,
    /// Who may remove others. Everybody may commit what somebody entitled has proposed.
    pub remove: ChangeRight,
    /// The moderators' identities, as in their basic credentials; at most 64 of at most 255 bytes.
    pub moderators: Vec<Vec<u8>>,
}

/// The parameters of a call. Set at epoch 0; a commit that alters or drops them is invalid for
/// every member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallParameters {
    /// The SFrame cipher suite.
    pub suite: CipherSuite,
    /// How KIDs are laid out. A leaf of `2^S` or more may not be added.
    pub layout: KidLayout,
    /// What the media may be.
    pub media: MediaPolicy,
    /// Who may change the membership.
    pub membership: MembershipPolicy,
    /// How many epochs the call has had in groups before this one, 0 in its first: by as many its media epochs run ahead of the
    /// group's, so that the epochs of a group and of its successor (RFC 9420 section 11.2) have different numbers in KIDs.
    pub epochs_before: u64,
}

impl Default for CallParameters {
    fn default() -> Self {
        Self {
            suite: CipherSuite::Aes128GcmSha256_128,
            layout: KidLayout::DEFAULT,
            media: MediaPolicy {
                contexts: 64,
                frame_rate: 1_000,
                packetization: Packetization::PerFrame,
            },
            membership: MembershipPolicy {
                add: ChangeRight::AnyMember,
                remove: ChangeRight::AnyMember,
                moderators: Vec::new(),
            },
            epochs_before: 0,
        }
    }
}

/// The least that a joiner accepts, whatever the group says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParameterFloor {
    /// The shortest acceptable tag, in bytes. Default 16.
    pub tag_length: usize,
    /// The most contexts of one member that one is ready to hold keys for. Default 256.
    pub contexts: u16,
}

impl Default for ParameterFloor {
    fn default() -> Self {
        Self { tag_length: 16, contexts: 256 }
    }
}

/// Why call parameters are not acceptable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// The group carries no call parameters.
    #[error("expected call parameters in the group context")]
    Missing,
    /// The bytes end early.
    #[error("expected more bytes of call parameters")]
    Truncated,
    /// Bytes follow the end.
    #[error("expected the end of the call parameters, found {0} more bytes")]
    TrailingBytes(usize),
    /// Another format.
    #[error("expected version 2 of the call parameters, found {0}")]
    Version(u8),
    /// A suite that is not known here.
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
    /// A KID layout that cannot be.
    #[error(transparent)]
    Layout(#[from] KidError),
    /// A field has a value that it cannot have.
    #[error("expected a valid {0}")]
    Field(&'static str),
    /// The call offers less than this member accepts.
    #[error("expected at least the floor of this member: {0}")]
    BelowFloor(&'static str),
}

impl CallParameters {
    /// The extension's type, from the range for private use (RFC 9420 section 17.3). It stands in
    /// the GroupContext, in required_capabilities and in every leaf's capabilities.
    pub const EXTENSION_TYPE: u16 = 0xF5FA;

    /// The extension's contents:
    ///
    /// ```text
    /// uint8 version; uint16 suite; uint8 E; uint8 S;
    /// uint16 contexts; uint16 frame_rate; uint8 packetization; uint64 epochs_before;
    /// uint8 add; uint8 remove; uint8 moderator_count; opaque moderator<1..255> ...
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(self.suite.id().to_be_bytes());
        out.extend([self.layout.epoch_bits(), self.layout.leaf_bits()]);
        out.extend(self.media.contexts.to_be_bytes());
        out.extend(self.media.frame_rate.to_be_bytes());
        out.push(match self.media.packetization {
            Packetization::PerFrame => 0,
            Packetization::PerPacket => 1,
        });
        out.extend(self.epochs_before.to_be_bytes());
        out.extend([right_code(self.membership.add), right_code(self.membership.remove)]);
        let moderators = self.membership.moderators.iter().take(MAX_MODERATORS);
        out.push(moderators.len() as u8);
        for moderator in moderators {
            let identity = moderator.get(..255).unwrap_or(moderator);
            out.push(identity.len() as u8);
            out.extend(identity);
        }
        out
    }

    /// Parses the extension's contents. One value has one encoding, so equal bytes mean equal
    /// parameters and the other way round.
    ///
    /// # Errors
    ///
    /// [`ParametersError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ParametersError> {
        let mut rest = bytes;
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return Err(ParametersError::Version(version));
        }
        let suite = CipherSuite::try_from(u16::from_be_bytes(take(&mut rest)?))?;
        let [epoch_bits, leaf_bits] = take(&mut rest)?;
        let layout = KidLayout::new(epoch_bits, leaf_bits)?;
        let contexts = u16::from_be_bytes(take(&mut rest)?);
        let frame_rate = u16::from_be_bytes(take(&mut rest)?);
        let packetization = match take(&mut rest)? {
            [0] => Packetization::PerFrame,
            [1] => Packetization::PerPacket,
            [_] => return Err(ParametersError::Field("packetization")),
        };
        let epochs_before = u64::from_be_bytes(take(&mut rest)?);
        let add = read_right(&mut rest, "right to add")?;
        let remove = read_right(&mut rest, "right to remove")?;
        let [count] = take(&mut rest)?;
        if usize::from(count) > MAX_MODERATORS {
            return Err(ParametersError::Field("number of moderators"));
        }
        let mut moderators = Vec::new();
        for _ in 0..count {
            let [length] = take(&mut rest)?;
            let (identity, after) =
                rest.split_at_checked(length.into()).ok_or(ParametersError::Truncated)?;
            moderators.push(identity.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            return Err(ParametersError::TrailingBytes(rest.len()));
        }
        let parameters = Self {
            suite,
            layout,
            media: MediaPolicy { contexts, frame_rate, packetization },
            membership: MembershipPolicy { add, remove, moderators },
            epochs_before,
        };
        parameters.check()?;
        Ok(parameters)
    }

    /// Whether the values can be agreed on at all. Whoever creates a call checks this first.
    ///
    /// # Errors
    ///
    /// [`ParametersError::Field`] names the first field that cannot be.
    pub fn check(&self) -> Result<(), ParametersError> {
        if self.media.contexts == 0 || self.media.contexts > 4096 {
            return Err(ParametersError::Field("number of contexts (1 to 4096)"));
        }
        if self.media.frame_rate == 0 {
            return Err(ParametersError::Field("frame rate (at least 1)"));
        }
        if self.membership.moderators.len() > MAX_MODERATORS {
            return Err(ParametersError::Field("number of moderators"));
        }
        if self.membership.moderators.iter().any(|name| name.is_empty() || name.len() > 255) {
            return Err(ParametersError::Field("moderator (1 to 255 bytes)"));
        }
        Ok(())
    }

    /// Whether a joiner accepts the call.
    ///
    /// # Errors
    ///
    /// [`ParametersError::BelowFloor`].
    pub fn check_floor(&self, floor: &ParameterFloor) -> Result<(), ParametersError> {
        if self.suite.tag_length() < floor.tag_length {
            return Err(ParametersError::BelowFloor("tag length"));
        }
        if self.media.contexts > floor.contexts {
            return Err(ParametersError::BelowFloor("number of contexts"));
        }
        Ok(())
    }
}

const MAX_MODERATORS: usize = 64;

fn right_code(right: ChangeRight) -> u8 {
    match right {
        ChangeRight::AnyMember => 0,
        ChangeRight::Moderators => 1,
    }
}

fn read_right(rest: &mut &[u8], name: &'static str) -> Result<ChangeRight, ParametersError> {
    match take(rest)? {
        [0] => Ok(ChangeRight::AnyMember),
        [1] => Ok(ChangeRight::Moderators),
        [_] => Err(ParametersError::Field(name)),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ParametersError> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(ParametersError::Truncated)?;
    *rest = after;
    Ok(*taken)
}
