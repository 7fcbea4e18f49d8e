//! Requests that await their reply.

use std::collections::BTreeMap;

use sfu_protocol::{ClientBody, ClientMessage};

/// More than this await no reply at a time: the oldest is forgotten, as its reply never came.
const MAX_OUTSTANDING: usize = 256;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Create,
    Join,
    Submit,
    Propose,
    Leave,
    Log,
    GroupInfo,
    Tree,
    Note,
}

/// Numbers requests and remembers what they were for.
#[derive(Debug, Default)]
pub(super) struct Requests {
    next: u64,
    outstanding: BTreeMap<u64, Purpose>,
}

impl Requests {
    /// A message that asks for a reply. Numbers are even; the media side takes the odd ones.
    pub(super) fn ask(&mut self, purpose: Purpose, body: impl Into<ClientBody>) -> ClientMessage {
        let id = self.next;
        self.next += 2;
        self.outstanding.insert(id, purpose);
        while self.outstanding.len() > MAX_OUTSTANDING {
            self.outstanding.pop_first();
        }
        ClientMessage::request(id, body)
    }

    /// What the reply with this number answers.
    pub(super) fn answered(&mut self, id: u64) -> Option<Purpose> {
        self.outstanding.remove(&id)
    }

    /// Whether a request of this kind awaits its reply.
    pub(super) fn awaits(&self, purpose: Purpose) -> bool {
        self.outstanding.values().any(|known| *known == purpose)
    }

    /// The connection is gone, and with it every reply.
    pub(super) fn forget_all(&mut self) {
        self.outstanding.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_protocol::SessionRequest;

    #[test]
    fn numbers_are_even_and_bounded() {
        let mut requests = Requests::default();
        for expected in 0..300 {
            let message = requests.ask(Purpose::Note, SessionRequest::Ping);
            assert_eq!(message.id, Some(expected * 2));
        }
        assert_eq!(requests.outstanding.len(), MAX_OUTSTANDING);
        assert_eq!(requests.answered(0), None);
        assert_eq!(requests.answered(598), Some(Purpose::Note));
        assert_eq!(requests.answered(598), None);
        assert!(requests.awaits(Purpose::Note) && !requests.awaits(Purpose::Log));
        requests.forget_all();
        assert!(!requests.awaits(Purpose::Note));
    }
}
