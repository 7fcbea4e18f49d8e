//! What is told to JavaScript, as JSON.

use call_session::SessionEvent;
use serde_json::json;
use sframe_bridge::verification::LongCode;
use sfu_protocol::{ClientMessage, Identity};

use crate::keys::Member;

/// A text frame for the server.
pub(crate) fn send(message: &ClientMessage) -> String {
    json!({ "type": "send", "text": message.to_text() }).to_string()
}

/// Frames go out under this epoch from now on.
pub(crate) fn sending(epoch: u64) -> String {
    json!({ "type": "sending", "epoch": epoch }).to_string()
}

/// An epoch has begun, or what is known of its members has changed.
pub(crate) fn epoch(
    epoch: u64,
    roster: &[Member],
    added: &[Identity],
    removed: &[Identity],
    code: Option<&LongCode>,
) -> String {
    let members: Vec<_> = roster
        .iter()
        .map(|member| {
            json!({
                "leaf": member.leaf,
                "identity": member.identity.as_str(),
                "verification": member.verification,
            })
        })
        .collect();
    let code = code
        .map(|code| json!({ "digits": code.to_string(), "qr": hex::encode(code.qr_payload()) }));
    json!({
        "type": "epoch", "epoch": epoch, "roster": members, "added": added, "removed": removed, "code": code,
    })
    .to_string()
}

/// The other events of the session.
pub(crate) fn session(event: &SessionEvent) -> Option<String> {
    let told = match event {
        SessionEvent::StatusChanged(status) => {
            json!({ "type": "status", "phase": crate::phase(status), "words": status.to_string() })
        }
        SessionEvent::RemovalPending { identity, .. } => {
            json!({ "type": "going", "identity": identity.as_str() })
        }
        SessionEvent::Alarm(alarm) => {
            let words = format!("the server let a wrong commit through: {alarm:?}");
            json!({ "type": "alarm", "words": words })
        }
        SessionEvent::Refused(refusal) => {
            json!({ "type": "trouble", "words": format!("the server refused: {}", refusal.message) })
        }
        SessionEvent::Ignored { reason } => {
            json!({ "type": "trouble", "words": format!("ignored {reason}") })
        }
        _ => return None,
    };
    Some(told.to_string())
}
