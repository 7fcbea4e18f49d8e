//! What is told to JavaScript, as JSON.

use call_session::SessionEvent;
use serde::{Deserialize, Serialize};
use sframe_bridge::verification::LongCode;
use sfu_protocol::{
    ClientBody, ClientMessage, DeliveryEvent, DeliveryRequest, Identity, ServerMessage,
    SessionEvent as ServerSession, SessionRequest,
};

use crate::keys::Member;

/// Something to do or to know.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Told<'a> {
    /// A text frame for the server.
    Send { text: String },
    /// Frames go out under this epoch from now on.
    Sending { epoch: u64 },
    /// An epoch has begun, or what is known of its members has changed.
    Epoch {
        epoch: u64,
        roster: &'a [Member],
        added: &'a [Identity],
        removed: &'a [Identity],
        code: Option<Code>,
    },
    /// What the session does is something else than before.
    Status { phase: &'static str, words: String },
    /// Somebody is to be removed.
    Going { identity: &'a Identity },
    /// The server did what it must not do.
    Alarm { words: String },
    /// Something went wrong.
    Trouble { words: String },
}

/// A verification code.
#[derive(Serialize)]
pub(crate) struct Code {
    digits: String,
    qr: String,
}

impl From<LongCode> for Code {
    fn from(code: LongCode) -> Self {
        Self { digits: code.to_string(), qr: hex::encode(code.qr_payload()) }
    }
}

impl Told<'_> {
    /// A message for the server; nothing if it is about media, which is the page's.
    pub(crate) fn send(message: &ClientMessage) -> Option<Self> {
        let body = match &message.body {
            ClientBody::Session(request) => Said::Session(request),
            ClientBody::Delivery(request) => Said::Delivery(request),
            ClientBody::Media(_) => return None,
        };
        Some(Self::Send { text: to_json(&Saying { id: message.id, body }) })
    }

    pub(crate) fn to_json(&self) -> String {
        to_json(self)
    }
}

// Messages without the family that does not come here: what reads and writes SDP need not be downloaded.

#[derive(Serialize)]
struct Saying<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(flatten)]
    body: Said<'a>,
}

#[derive(Serialize)]
#[serde(tag = "family", rename_all = "snake_case")]
enum Said<'a> {
    Session(&'a SessionRequest),
    Delivery(&'a DeliveryRequest),
}

#[derive(Deserialize)]
struct Hearing {
    #[serde(default)]
    re: Option<u64>,
    #[serde(flatten)]
    body: Heard,
}

#[derive(Deserialize)]
#[serde(tag = "family", rename_all = "snake_case")]
enum Heard {
    Session(ServerSession),
    Delivery(DeliveryEvent),
}

/// Reads a text frame of the server. One about media, or of a newer server, means nothing here.
pub(crate) fn heard(text: &str) -> Option<ServerMessage> {
    let Hearing { re, body } = serde_json::from_str(text).ok()?;
    Some(match body {
        Heard::Session(event) => ServerMessage::reply(re, event),
        Heard::Delivery(event) => ServerMessage::reply(re, event),
    })
}

/// JSON of what is always representable in it: names of fields are strings.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The events of the session but the beginning of epochs.
pub(crate) fn session(event: &SessionEvent) -> Option<Told<'_>> {
    Some(match event {
        SessionEvent::StatusChanged(status) => {
            Told::Status { phase: crate::phase(status), words: status.to_string() }
        }
        SessionEvent::RemovalPending { identity, .. } => Told::Going { identity },
        SessionEvent::Alarm(alarm) => {
            Told::Alarm { words: format!("the server let a wrong commit through: {alarm:?}") }
        }
        SessionEvent::History(alarm) => Told::Alarm { words: alarm.to_string() },
        SessionEvent::Refused(refusal) => {
            Told::Trouble { words: format!("the server refused: {}", refusal.message) }
        }
        SessionEvent::Ignored { reason } => Told::Trouble { words: format!("ignored {reason}") },
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use sfu_protocol::{MediaEvent, ServerBody};

    #[test]
    fn messages_are_those_of_the_protocol_but_media() {
        let asked = [
            ClientMessage::request(4, SessionRequest::Ping),
            ClientMessage::event(DeliveryRequest::FetchTree { epoch: 7 }),
        ];
        for message in asked {
            let Some(Told::Send { text }) = Told::send(&message) else { panic!("it is sent") };
            assert_eq!(text, message.to_text());
        }
        let told = [
            ServerMessage::reply(Some(4), ServerSession::Done),
            ServerMessage::event(DeliveryEvent::Acknowledged { epoch: 7, leaves: vec![1, 2] }),
        ];
        for message in told {
            assert_eq!(heard(&message.to_text()), Some(message));
        }
        let answer = MediaEvent::Answer { sdp: String::new() };
        let media = ServerMessage::event(ServerBody::from(answer));
        assert_eq!(heard(&media.to_text()), None);
        assert_eq!(heard("{}"), None);
    }
}
