use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Refusal;

/// The name of a room, from the token's `room` claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomName(String);

/// Who a participant is, from the token's `sub` claim: unique in a room, and the identity of the
/// participant's MLS credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(String);

macro_rules! name {
    ($type:ident) => {
        impl $type {
            /// Takes the text as it is; the server limits its length when it reads a token.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(RoomName);
name!(Identity);

/// One participant of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Who it is.
    pub identity: Identity,
    /// The name to show. Chosen by whoever issued the token; never a proof of identity.
    pub name: String,
    /// Whether it may remove others.
    pub moderator: bool,
    /// Whether its signalling is connected; a participant that lost it may come back for a while.
    pub connected: bool,
}

/// The limits that the server holds a client to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The longest text frame that is read, in bytes. A longer one is refused.
    pub message_bytes: u64,
    /// The longest text frame that can be refused; a longer one closes the connection.
    pub hard_message_bytes: u64,
    /// Messages a second, averaged; bursts of twice as many are taken.
    pub messages_per_second: u32,
    /// The least time between two reports ([`SessionRequest::Report`]), in milliseconds.
    #[serde(default)]
    pub report_interval_ms: u64,
}

/// What only a client can measure, since its last report. It holds numbers only: nothing about who, what or
/// under which key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientReport {
    /// How long it took from the start until the first frame of somebody else was opened, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_to_first_frame_ms: Option<u64>,
    /// For each epoch with another roster: how long from its commit's arrival until it was sent under, in
    /// milliseconds. The first 64 count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations_ms: Vec<u64>,
    /// Frames that came and could not be opened, by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undecryptable: BTreeMap<UndecryptableCause, u64>,
    /// How often it lost step with the group and came back by an external commit.
    #[serde(default)]
    pub resyncs: u64,
}

/// Why a frame could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndecryptableCause {
    /// Its key did not come in time.
    NoKey,
    /// Its tag, its counter or its header was refused.
    Refused,
    /// It was sent by somebody else than the track's owner.
    WrongSender,
}

impl UndecryptableCause {
    /// All causes.
    pub const ALL: [Self; 3] = [Self::NoKey, Self::Refused, Self::WrongSender];

    /// Its name in JSON and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::Refused => "refused",
            Self::WrongSender => "wrong_sender",
        }
    }
}

/// What a client asks of its session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionRequest {
    /// Does nothing; the reply shows that the server is there.
    Ping,
    /// Numbers for the operator's metrics. Sent at most every `report_interval_ms` of [`Limits`]; a server
    /// counts them and keeps nothing else.
    Report {
        /// The numbers.
        report: ClientReport,
    },
    /// Says nothing but what `received` confirms, and perhaps that [`datagrams`](crate::datagrams) were lost. There
    /// is no reply.
    Datagrams {
        /// Whether some were lost.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lossy: bool,
    },
    /// Ends the connection in order. The server closes; the participant counts as disconnected, not as
    /// having left the call ([`DeliveryRequest::Leave`](super::DeliveryRequest::Leave) says that).
    Bye,
}

/// What the server says about sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionEvent {
    /// The first message on a connection whose token is good.
    /// [`DeliveryEvent::State`](super::DeliveryEvent::State) follows at once.
    Welcome {
        /// The server's [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION).
        protocol: u32,
        /// The room that the token names.
        room: RoomName,
        /// Who the client is.
        you: Participant,
        /// Everybody else in the room.
        participants: Vec<Participant>,
        /// Whether the server still has this participant's place in the room from an earlier connection
        /// (which this one replaces).
        resumed: bool,
        /// Whether the media connection of the earlier signalling connection is alive, so that a client
        /// that still has its end needs no fresh offer.
        media: bool,
        /// The limits on this connection.
        limits: Limits,
        /// The tag of this connection for [`datagrams`](crate::datagrams); absent if there are none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        datagrams: Option<u32>,
    },
    /// Says nothing but what `received` confirms, and perhaps that [`datagrams`](crate::datagrams) were lost.
    Datagrams {
        /// Whether some were lost.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lossy: bool,
    },
    /// Somebody has come into the room, or is connected again, or has lost the connection.
    ParticipantChanged {
        /// Its state from here on.
        participant: Participant,
    },
    /// Somebody is no longer in the room: left, was removed or did not come back in time. Presence only:
    /// membership is what the MLS group says.
    ParticipantLeft {
        /// Who.
        identity: Identity,
    },
    /// The request that this answers was carried out.
    Done,
    /// The request that this answers (or the connection, before [`SessionEvent::Welcome`]) was refused.
    Refused(Refusal),
    /// The last message on a connection.
    Closing {
        /// Why the server closes it.
        reason: CloseReason,
        /// When the client may connect again, in milliseconds; absent if it should not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The client asked for it.
    Bye,
    /// The server stops.
    ShuttingDown,
    /// The same participant has connected anew.
    Replaced,
    /// The participant was removed from the call.
    Removed,
    /// The client reads too slowly.
    SlowConsumer,
    /// The client was silent too long.
    Idle,
    /// The client kept sending refused messages.
    Misbehaving,
}
