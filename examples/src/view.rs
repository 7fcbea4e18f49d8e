//! What the program `client` shows: participants, epoch, verification code, frames, and troubles in
//! words.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sframe_bridge::SwitchCause;
use sfu_sim::protocol::{Identity, MediaKind};

use crate::client::observer::{Incoming, Observer, Outgoing, Unopened};
use call_session::{SessionEvent, Status};

/// The identity that a token names. The signature is the server's to check.
pub fn claims_of(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Claims>(&bytes).ok().map(|claims| claims.sub)
}

#[derive(Debug, Default)]
struct State {
    status: Option<Status>,
    roster: Vec<String>,
    frames: BTreeMap<String, Frames>,
    sent: u64,
    withheld: u64,
    shown: String,
}

#[derive(Debug, Default)]
struct Frames {
    video: u64,
    audio: u64,
    waited: u64,
    unopened: BTreeMap<&'static str, u64>,
}

/// Shows a client on standard output, a line whenever something changes.
#[derive(Debug)]
pub struct View {
    own: String,
    state: Mutex<State>,
}

impl View {
    /// For the participant of this name.
    pub fn new(own: &str) -> Self {
        Self { own: own.to_owned(), state: Mutex::new(State::default()) }
    }

    /// Shows how many frames went out and came in, if that has changed since the last time.
    pub fn show(&self) {
        let mut state = self.lock();
        let line = state.counts();
        if line != state.shown && !line.is_empty() {
            say(&line);
            state.shown = line;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn counts(&self) -> String {
        if self.sent == 0 && self.withheld == 0 && self.frames.is_empty() {
            return String::new();
        }
        let mut line = format!("  sent {}", self.sent);
        if self.withheld > 0 {
            line.push_str(&format!(" ({} withheld, as there was no key)", self.withheld));
        }
        for (name, frames) in &self.frames {
            line.push_str(&format!("; {name}: {} video, {} audio", frames.video, frames.audio));
            if frames.waited > 0 {
                line.push_str(&format!(", {} waited for their key", frames.waited));
            }
            for (reason, count) in &frames.unopened {
                line.push_str(&format!(", {count} not opened ({reason})"));
            }
        }
        line
    }
}

fn say(words: &str) {
    // With standard output closed nobody is watching, and the call goes on all the same.
    let _ = writeln!(std::io::stdout(), "{words}");
}

impl Observer for View {
    fn session(&self, event: &SessionEvent) {
        match event {
            SessionEvent::StatusChanged(status) => {
                let joined = matches!(status, Status::Member { .. });
                let was = matches!(self.lock().status, Some(Status::Member { .. }));
                if !(joined && was) {
                    say(&status.to_string());
                }
                self.lock().status = Some(status.clone());
            }
            SessionEvent::EpochBegan { epoch, roster, added, removed } => {
                for name in added {
                    say(&format!("+ {name}"));
                }
                for name in removed {
                    say(&format!("- {name}"));
                }
                let names: Vec<_> = roster
                    .iter()
                    .map(|member| member.identity.to_string())
                    .map(|name| if name == self.own { format!("{name} (you)") } else { name })
                    .collect();
                say(&format!("epoch {epoch}: {}", names.join(", ")));
                self.lock().roster = names;
            }
            SessionEvent::RemovalPending { identity, .. } => {
                say(&format!("{identity} is going, fresh keys are on their way"));
            }
            SessionEvent::Alarm(alarm) => {
                say(&format!("WARNING: the server let a wrong commit through: {alarm:?}"));
            }
            SessionEvent::History(alarm) => say(&format!("warning: {alarm}")),
            SessionEvent::CommitFailed { leaf, epoch } => {
                say(&format!(
                    "the member at leaf {leaf} could not follow the commit of epoch {epoch}"
                ));
            }
            SessionEvent::Refused(refusal) => say(&format!("refused: {}", refusal.message)),
            SessionEvent::Ignored { reason } => say(&format!("ignored: {reason}")),
            SessionEvent::ChangeResolved { .. } => {}
        }
    }

    fn verification_code(&self, epoch: u64, code: &str) {
        say(&format!("verification code of epoch {epoch}: {code}"));
    }

    fn switched(&self, epoch: u64, _: SwitchCause) {
        say(&format!("sending under epoch {epoch}"));
    }

    fn sending(&self, _: Outgoing<'_>) {
        self.lock().sent += 1;
    }

    fn withheld(&self, _: MediaKind) {
        self.lock().withheld += 1;
    }

    fn opened(&self, frame: Incoming<'_>) {
        let mut state = self.lock();
        let frames = state.frames.entry(frame.participant.to_string()).or_default();
        match frame.kind {
            MediaKind::Video => frames.video += 1,
            MediaKind::Audio => frames.audio += 1,
        }
        frames.waited += u64::from(frame.waited.is_some());
    }

    fn unopened(&self, frame: Unopened<'_>) {
        let mut state = self.lock();
        let frames = state.frames.entry(frame.participant.to_string()).or_default();
        *frames.unopened.entry(frame.reason).or_default() += 1;
    }

    fn track(&self, participant: &Identity, kind: MediaKind) {
        let what = match kind {
            MediaKind::Video => "picture",
            MediaKind::Audio => "sound",
        };
        say(&format!("{participant}'s {what} comes in"));
    }

    fn trouble(&self, words: &str) {
        say(&format!("trouble: {words}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_name_out_of_a_token() {
        let payload = URL_SAFE_NO_PAD.encode(br#"{"room":"r","sub":"alice","exp":1}"#);
        assert_eq!(claims_of(&format!("x.{payload}.y")).as_deref(), Some("alice"));
        for bad in ["", "a.b.c", "no dots", "x.eyJhIjoxfQ.y"] {
            assert_eq!(claims_of(bad), None, "{bad}");
        }
    }
}
