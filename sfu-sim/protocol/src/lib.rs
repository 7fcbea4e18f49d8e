//! The signalling protocol: JSON text frames over one WebSocket.
//!
//! A client connects to `/v1/ws?token=JWT`. Every frame is one JSON object. A client's message looks
//! like `{"id":7,"family":"media","type":"offer",...}`, the server's like
//! `{"re":7,"family":"media","type":"answer",...}`. `id` is chosen by the client; a message that has one
//! gets exactly one reply with the same number in `re`: the reply named in the message's documentation,
//! [`SessionEvent::Done`] where none is named, or [`SessionEvent::Refused`]. Messages without `re` are
//! events. A refusal never closes the connection by itself, except before [`SessionEvent::Welcome`].
//!
//! There are three families: *session* (who is here, refusals, farewells), *media* (SDP and which m-line
//! carries whose track) and *delivery* (MLS messages and their order). Bytes of MLS travel as base64
//! strings ([`Blob`]). Fields that a reader does not know are ignored, so that either side may be newer.
//!
//! Beside the stream there may be [`datagrams`] for what is urgent, in a binary form
//! ([`ServerMessage::to_binary`], [`ClientMessage::to_binary`]).

#![forbid(unsafe_code)]

mod binary;
mod blob;
pub mod datagrams;
mod delivery;
mod leaves;
mod media;
mod refusal;
mod session;

pub use binary::MalformedBinary;
pub use blob::Blob;
pub use delivery::{
    ChangeId, ChangeKind, DeliveryEvent, DeliveryRequest, EXTERNAL_PUB_HASH, EXTERNAL_PUB_LABEL,
    EntryKind, GroupSummary, LogEntry, PendingChange, RemovalReason,
};
pub use media::{ForwardedTrack, MediaEvent, MediaKind, MediaRequest, PublishedTrack, TrackCodec};
pub use refusal::{Refusal, RefusalCode};
pub use session::{
    ClientReport, CloseReason, Identity, Limits, Participant, RoomName, SessionEvent,
    SessionRequest, UndecryptableCause,
};

use datagrams::Urgency;
use serde::{Deserialize, Serialize};

/// The version of this protocol, told in [`SessionEvent::Welcome`].
pub const PROTOCOL_VERSION: u32 = 1;

/// One message from a client to the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientMessage {
    /// The client's number for this request; with it the client asks for a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The message's number if it also went as [`datagrams`]: the receiver takes the first that comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parcel: Option<u32>,
    /// Messages that have come as [`datagrams`], which this confirms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<u32>,
    /// What the client wants.
    #[serde(flatten)]
    pub body: ClientBody,
}

/// The families of a client's messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "snake_case")]
pub enum ClientBody {
    /// Presence and the connection itself.
    Session(SessionRequest),
    /// SDP and tracks.
    Media(MediaRequest),
    /// MLS messages.
    Delivery(DeliveryRequest),
}

/// One message from the server to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerMessage {
    /// The number of the request that this answers; absent on events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<u64>,
    /// The message's number if it also went as [`datagrams`]: the receiver takes the first that comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parcel: Option<u32>,
    /// Messages that have come as [`datagrams`], which this confirms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<u32>,
    /// What the server says.
    #[serde(flatten)]
    pub body: ServerBody,
}

/// The families of the server's messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "snake_case")]
pub enum ServerBody {
    /// Presence, refusals, farewells.
    Session(SessionEvent),
    /// SDP and tracks.
    Media(MediaEvent),
    /// MLS messages and their order.
    Delivery(DeliveryEvent),
}

/// Why a client's text frame is no message, and which request the refusal answers if that can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct MalformedMessage {
    /// The request's number, if the frame was JSON and had one.
    pub id: Option<u64>,
    /// The refusal to send.
    pub refusal: Refusal,
}

impl ClientMessage {
    /// A request that wants no reply.
    pub fn event(body: impl Into<ClientBody>) -> Self {
        Self { id: None, parcel: None, received: Vec::new(), body: body.into() }
    }

    /// A request whose reply carries `id`.
    pub fn request(id: u64, body: impl Into<ClientBody>) -> Self {
        Self { id: Some(id), parcel: None, received: Vec::new(), body: body.into() }
    }

    /// How it travels where there are [`datagrams`].
    pub fn urgency(&self) -> Urgency {
        match &self.body {
            ClientBody::Delivery(DeliveryRequest::Submit { .. }) => Urgency::First,
            ClientBody::Delivery(DeliveryRequest::Leave) => Urgency::Both,
            _ => Urgency::Ordinary,
        }
    }

    /// Reads a text frame.
    ///
    /// # Errors
    /// A frame that is not JSON, or not a known message, yields a refusal with [`RefusalCode::Malformed`].
    pub fn parse(text: &str) -> Result<Self, MalformedMessage> {
        #[derive(Deserialize)]
        struct Number {
            #[serde(default)]
            id: Option<u64>,
        }
        serde_json::from_str(text).map_err(|error| MalformedMessage {
            id: serde_json::from_str::<Number>(text).ok().and_then(|number| number.id),
            refusal: Refusal::new(RefusalCode::Malformed, parse_fault(&error)),
        })
    }

    /// The text frame of this message.
    pub fn to_text(&self) -> String {
        to_json(self)
    }
}

impl ServerMessage {
    /// A message that answers no request.
    pub fn event(body: impl Into<ServerBody>) -> Self {
        Self { re: None, parcel: None, received: Vec::new(), body: body.into() }
    }

    /// The answer to request `re` (none if the client asked for no reply).
    pub fn reply(re: Option<u64>, body: impl Into<ServerBody>) -> Self {
        Self { re, parcel: None, received: Vec::new(), body: body.into() }
    }

    /// The refusal of request `re`.
    pub fn refusal(re: Option<u64>, refusal: Refusal) -> Self {
        Self::reply(re, SessionEvent::Refused(refusal))
    }

    /// How it travels where there are [`datagrams`].
    pub fn urgency(&self) -> Urgency {
        match &self.body {
            ServerBody::Delivery(DeliveryEvent::Entry { .. }) => Urgency::First,
            // That something is done can be seen in the commit too.
            ServerBody::Delivery(DeliveryEvent::PendingChanged { added, .. })
                if !added.is_empty() =>
            {
                Urgency::Both
            }
            _ => Urgency::Ordinary,
        }
    }

    /// Reads a text frame.
    ///
    /// # Errors
    /// What serde says when the frame is not a known message; a client ignores such a frame or stops.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The text frame of this message.
    pub fn to_text(&self) -> String {
        to_json(self)
    }
}

#[allow(
    clippy::expect_used,
    reason = "every map key in the protocol is a string and writing to a String cannot fail"
)]
fn to_json(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("protocol messages are representable in JSON")
}

/// Says where a frame went wrong without quoting its content, which may be large or hold bytes of MLS.
fn parse_fault(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Data => "expected a known message with the fields of its type".to_owned(),
        Category::Eof => "expected a complete JSON object, found the end of the frame".to_owned(),
        Category::Syntax | Category::Io => format!(
            "expected one JSON object, found a fault at line {} column {}",
            error.line(),
            error.column()
        ),
    }
}

macro_rules! family {
    ($($from:ty => $into:ident::$variant:ident),* $(,)?) => {$(
        impl From<$from> for $into {
            fn from(body: $from) -> Self {
                Self::$variant(body)
            }
        }
    )*};
}

family! {
    SessionRequest => ClientBody::Session,
    MediaRequest => ClientBody::Media,
    DeliveryRequest => ClientBody::Delivery,
    SessionEvent => ServerBody::Session,
    MediaEvent => ServerBody::Media,
    DeliveryEvent => ServerBody::Delivery,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_flat_object() {
        let message =
            ClientMessage::request(7, DeliveryRequest::Ack { epoch: 3, external_pub: None });
        let text = message.to_text();
        assert_eq!(text, r#"{"id":7,"family":"delivery","type":"ack","epoch":3}"#);
        assert_eq!(ClientMessage::parse(&text).unwrap(), message);
    }

    #[test]
    fn a_refusal_carries_its_code_and_data() {
        let refusal = Refusal::new(RefusalCode::StaleEpoch { head: 12 }, "epoch 11 is taken");
        let message = ServerMessage::refusal(Some(4), refusal);
        let text = message.to_text();
        assert_eq!(
            text,
            r#"{"re":4,"family":"session","type":"refused","code":"stale_epoch","head":12,"message":"epoch 11 is taken"}"#
        );
        assert_eq!(ServerMessage::parse(&text).unwrap(), message);
    }

    #[test]
    fn malformed_frames_are_refused_with_their_number() {
        for (text, id) in [
            ("", None),
            ("[]", None),
            ("{\"id\":", None),
            (r#"{"id":5,"family":"media","type":"sing"}"#, Some(5)),
            (r#"{"id":5,"family":"delivery","type":"ack","epoch":-1}"#, Some(5)),
            (r#"{"id":6,"family":"delivery","type":"join","key_package":"***"}"#, Some(6)),
        ] {
            let fault = ClientMessage::parse(text).unwrap_err();
            assert_eq!(fault.id, id, "{text}");
            assert_eq!(fault.refusal.code, RefusalCode::Malformed);
        }
    }

    #[test]
    fn a_number_of_the_other_way_stands_beside_the_message() {
        let message =
            ClientMessage { parcel: Some(9), ..ClientMessage::request(7, DeliveryRequest::Leave) };
        let text = message.to_text();
        assert_eq!(text, r#"{"id":7,"parcel":9,"family":"delivery","type":"leave"}"#);
        assert_eq!(ClientMessage::parse(&text).unwrap(), message);
    }

    #[test]
    fn confirmations_stand_beside_any_message() {
        for (lossy, text) in [
            (false, r#"{"received":[7,8],"family":"session","type":"datagrams"}"#),
            (true, r#"{"received":[7,8],"family":"session","type":"datagrams","lossy":true}"#),
        ] {
            let received = vec![7, 8];
            let request = ClientMessage::event(SessionRequest::Datagrams { lossy });
            let request = ClientMessage { received: received.clone(), ..request };
            assert_eq!(request.to_text(), text);
            assert_eq!(ClientMessage::parse(text).unwrap(), request);
            let event = ServerMessage::event(SessionEvent::Datagrams { lossy });
            let event = ServerMessage { received, ..event };
            assert_eq!(event.to_text(), text);
            assert_eq!(ServerMessage::parse(text).unwrap(), event);
        }
    }

    #[test]
    fn fields_from_a_newer_version_are_ignored() {
        let text = r#"{"family":"delivery","type":"ack","epoch":3,"colour":"blue"}"#;
        assert_eq!(
            ClientMessage::parse(text).unwrap(),
            ClientMessage::event(DeliveryRequest::Ack { epoch: 3, external_pub: None })
        );
    }

    #[test]
    fn entries_and_changes_survive_the_way_there_and_back() {
        let events = [
            DeliveryEvent::Entry {
                entry: LogEntry {
                    seq: 9,
                    epoch: 4,
                    kind: EntryKind::Commit,
                    sender: Some(Identity::new("alice")),
                    message: Blob::from(vec![0, 1, 255]),
                },
            },
            DeliveryEvent::PendingChanged {
                added: vec![
                    PendingChange {
                        id: ChangeId(1),
                        age_ms: 20,
                        kind: ChangeKind::Add {
                            identity: Identity::new("bob"),
                            name: "Bob".to_owned(),
                            key_package: Blob::from(vec![1; 40]),
                        },
                    },
                    PendingChange {
                        id: ChangeId(2),
                        age_ms: 0,
                        kind: ChangeKind::Remove {
                            leaf: 3,
                            identity: Identity::new("carol"),
                            reason: RemovalReason::Moderator,
                            proposal: Some(Blob::from(vec![7])),
                        },
                    },
                ],
                resolved: vec![ChangeId(0)],
            },
        ];
        for event in events {
            let message = ServerMessage::event(event);
            assert_eq!(ServerMessage::parse(&message.to_text()).unwrap(), message);
        }
    }
}
