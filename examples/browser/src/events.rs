//! What is told to JavaScript, as JSON.

use call_session::SessionEvent;
use serde::Serialize;
use sframe_bridge::verification::LongCode;
use sfu_protocol::{ClientMessage, Identity};

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
    /// A message for the server.
    pub(crate) fn send(message: &ClientMessage) -> Self {
        Self::Send { text: message.to_text() }
    }

    pub(crate) fn to_json(&self) -> String {
        to_json(self)
    }
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
