//! What a client tells those who watch it.

use std::time::Duration;

use sframe_bridge::{BaseKey, SenderInfo, SwitchCause};
use sfu_sim::protocol::{Identity, MediaKind};

use call_session::SessionEvent;

/// A frame that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Audio or video.
    pub kind: MediaKind,
    /// Under which key and counter.
    pub sender: SenderInfo,
    /// The frame in the clear.
    pub plaintext: &'a [u8],
    /// The SFrame ciphertext.
    pub ciphertext: &'a [u8],
}

/// A frame that was opened.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Audio or video.
    pub kind: MediaKind,
    /// Whose track it came on, as the server says.
    pub participant: &'a Identity,
    /// Under which key and counter, which says who sent it.
    pub sender: SenderInfo,
    /// The frame in the clear.
    pub plaintext: &'a [u8],
    /// How long it waited for its key; nothing if it did not have to.
    pub waited: Option<Duration>,
}

/// A frame that came and could not be opened.
#[derive(Clone, Copy, Debug)]
pub struct Unopened<'a> {
    /// Audio or video.
    pub kind: MediaKind,
    /// Whose track it came on, as the server says.
    pub participant: &'a Identity,
    /// Under which key and counter it claims to be, if its header can be read. The epoch is known
    /// by its low bits only.
    pub claims: Option<SenderInfo>,
    /// Why, in words.
    pub reason: &'static str,
}

/// Is told what a client does. The calls come from the client's own tasks and must not block.
pub trait Observer: Send + Sync + 'static {
    /// Something of the session.
    fn session(&self, event: &SessionEvent) {
        let _ = event;
    }

    /// The code of an epoch, to be compared with the other members over another channel.
    fn verification_code(&self, epoch: u64, code: &str) {
        let _ = (epoch, code);
    }

    /// The epoch's base key once more, for the audit of a run. Asked for only if
    /// [`Observer::audits_keys`] says so.
    fn base_key(&self, epoch: u64, key: BaseKey) {
        let _ = (epoch, key);
    }

    /// Whether [`Observer::base_key`] is to be called.
    fn audits_keys(&self) -> bool {
        false
    }

    /// Frames go out under this epoch from now on.
    fn switched(&self, epoch: u64, cause: SwitchCause) {
        let _ = (epoch, cause);
    }

    /// A frame is about to be sent.
    fn sending(&self, frame: Outgoing<'_>) {
        let _ = frame;
    }

    /// A frame was not sent because there is no key.
    fn withheld(&self, kind: MediaKind) {
        let _ = kind;
    }

    /// A frame was opened.
    fn opened(&self, frame: Incoming<'_>) {
        let _ = frame;
    }

    /// A frame could not be opened.
    fn unopened(&self, frame: Unopened<'_>) {
        let _ = frame;
    }

    /// Somebody's track comes in.
    fn track(&self, participant: &Identity, kind: MediaKind) {
        let _ = (participant, kind);
    }

    /// Something is wrong, in words.
    fn trouble(&self, words: &str) {
        let _ = words;
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
