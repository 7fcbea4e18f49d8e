//! Where everything that the participants of a run see is written down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sframe_bridge::{BaseKey, SenderInfo, SwitchCause};
use sfu_sim::protocol::MediaKind;

use super::audit::KeyAudit;
use super::ledger::{FrameHash, FrameId, Ledger, MemberId, Receipt, SentFrame};
use super::timeline::{RosterChange, Timeline};
use crate::client::observer::{Incoming, Observer, Outgoing, Unopened};
use call_session::{SessionEvent, Status};

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Pages {
    /// The frames.
    pub ledger: Ledger,
    /// The times.
    pub timeline: Timeline,
    /// The keys that everybody had.
    pub audit: KeyAudit,
    /// What did not go as written, in words.
    pub mishaps: Vec<String>,
    /// What happened, in words, for whoever watches.
    pub news: Vec<String>,
    /// Frames opened so far, and not.
    pub opened: u64,
    /// Frames that could not be opened so far.
    pub unopened: u64,
    /// The newest epoch that anybody has.
    pub epoch: u64,
    /// The scenario is over; what comes now is the cleaning up.
    closed: bool,
}

/// The book of a run, shared by all participants.
#[derive(Clone, Debug)]
pub struct Book {
    origin: Instant,
    pages: Arc<Mutex<Pages>>,
}

impl Book {
    /// An empty book whose times count from here.
    pub fn new(origin: Instant) -> Self {
        Self { origin, pages: Arc::new(Mutex::new(Pages::default())) }
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Opens the book.
    pub fn pages(&self) -> MutexGuard<'_, Pages> {
        // Entries are whole before the next call that could panic.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes nothing down from here on.
    pub fn close(&self) {
        self.pages().closed = true;
    }

    /// Somebody joins; what it sees goes to the watcher.
    pub fn join(&self, name: &str, sends: bool, somebody_sent: bool) -> Watcher {
        let now = self.now();
        let mut pages = self.pages();
        let member = pages.ledger.join(name);
        pages.timeline.asked_to_join(member, name, now, sends, somebody_sent);
        Watcher { book: self.clone(), member, name: name.to_owned() }
    }

    fn open(&self) -> Option<MutexGuard<'_, Pages>> {
        let pages = self.pages();
        (!pages.closed).then_some(pages)
    }
}

/// Writes down what one participant sees.
#[derive(Clone, Debug)]
pub struct Watcher {
    book: Book,
    member: MemberId,
    name: String,
}

impl Watcher {
    /// The participation that it watches.
    pub fn member(&self) -> MemberId {
        self.member
    }
}

fn frame_id(sender: SenderInfo) -> FrameId {
    FrameId { epoch: sender.epoch, leaf: sender.leaf, context: sender.context, counter: sender.ctr }
}

impl Observer for Watcher {
    fn session(&self, event: &SessionEvent) {
        let now = self.book.now();
        let Some(mut pages) = self.book.open() else {
            return;
        };
        match event {
            SessionEvent::EpochBegan { epoch, added, removed, .. } => {
                let added = added.iter().map(|who| RosterChange::Added(who.to_string()));
                let removed = removed.iter().map(|who| RosterChange::Removed(who.to_string()));
                pages.ledger.epoch(self.member, *epoch);
                pages.timeline.epoch_began(self.member, *epoch, added.chain(removed), now);
                pages.epoch = pages.epoch.max(*epoch);
            }
            SessionEvent::RemovalPending { change, identity, reason, age } => {
                let at = now.saturating_sub(*age);
                let epoch = pages.epoch;
                pages.timeline.removal_pending(change.0, identity.as_str(), *reason, at, epoch);
            }
            SessionEvent::ChangeResolved { change } => {
                pages.timeline.removal_resolved(change.0, now);
            }
            SessionEvent::Alarm(alarm) => {
                pages.mishaps.push(format!("{}: a commit raised an alarm: {alarm:?}", self.name));
            }
            SessionEvent::History(alarm) => {
                pages.mishaps.push(format!("{}: {alarm}", self.name));
            }
            SessionEvent::CommitFailed { leaf, epoch } => {
                let what = format!("the commit of epoch {epoch} failed for leaf {leaf}");
                pages.news.push(format!("{}: {what}", self.name));
            }
            SessionEvent::StatusChanged(Status::Failed { reason }) => {
                pages.mishaps.push(format!("{} could not go on: {reason}", self.name));
            }
            SessionEvent::StatusChanged(status @ Status::Resyncing) => {
                pages.news.push(format!("{}: {status}", self.name));
            }
            SessionEvent::Refused(refusal) => {
                tracing::debug!(who = self.name, code = ?refusal.code, "refused");
            }
            SessionEvent::Ignored { reason } => {
                tracing::debug!(who = self.name, reason, "ignored");
            }
            SessionEvent::StatusChanged(_) => {}
        }
    }

    fn base_key(&self, epoch: u64, key: BaseKey) {
        if let Some(mut pages) = self.book.open() {
            pages.audit.keep(self.member, epoch, key);
        }
    }

    fn audits_keys(&self) -> bool {
        true
    }

    fn switched(&self, epoch: u64, _: SwitchCause) {
        let now = self.book.now();
        if let Some(mut pages) = self.book.open() {
            pages.timeline.switched(self.member, epoch, now);
        }
    }

    fn sending(&self, frame: Outgoing<'_>) {
        let sent = SentFrame {
            id: frame_id(frame.sender),
            at: self.book.now(),
            hash: FrameHash::of(frame.plaintext),
            ciphertext: Some(Bytes::copy_from_slice(frame.ciphertext)),
        };
        if let Some(mut pages) = self.book.open()
            && let Err(error) = pages.ledger.sent(self.member, frame.kind, sent)
        {
            pages.news.push(format!("{}: {error}", self.name));
        }
    }

    fn opened(&self, frame: Incoming<'_>) {
        let receipt =
            Receipt::Opened { hash: FrameHash::of(frame.plaintext), waited: frame.waited };
        let now = self.book.now();
        if let Some(mut pages) = self.book.open() {
            pages.opened += 1;
            pages.ledger.received(self.member, frame_id(frame.sender), receipt);
            if frame.kind == MediaKind::Video {
                pages.timeline.video_opened(self.member, now);
            }
        }
    }

    fn unopened(&self, frame: Unopened<'_>) {
        let Some(mut pages) = self.book.open() else {
            return;
        };
        // Whoever has no epoch yet is meant for nothing: such frames belong to those before it.
        let Some(first) = pages.ledger.first_epoch(self.member) else {
            return;
        };
        let reason = frame.reason;
        match frame.claims {
            Some(claims) => {
                pages.unopened += u64::from(claims.epoch >= first);
                let receipt = Receipt::Undecryptable { reason };
                pages.ledger.received(self.member, frame_id(claims), receipt);
            }
            None => {
                pages.unopened += 1;
                pages.ledger.unidentified(reason);
            }
        }
    }

    fn trouble(&self, words: &str) {
        if let Some(mut pages) = self.book.open() {
            pages.news.push(format!("{}: {words}", self.name));
        }
    }
}
