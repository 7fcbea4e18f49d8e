//! What a client tells the server for its operator: numbers, never names, keys or content.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use call_session::SessionEvent;
use sframe_bridge::{BaseKey, SwitchCause};
use sfu_sim::protocol::{ClientReport, Identity, MediaKind, UndecryptableCause};

use super::observer::{Incoming, Observer, Outgoing, Unopened};

/// How often a client reports.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// Rotations that wait for their switch, or for the next report.
const KEPT: usize = 64;

/// Passes everything on to the application's observer, and counts.
pub(super) struct Reporting {
    inner: Arc<dyn Observer>,
    state: Mutex<State>,
}

struct State {
    started: Option<Instant>,
    /// Epochs with another roster under which nothing has been sent yet, and since when they are here.
    waiting: BTreeMap<u64, Instant>,
    report: ClientReport,
}

impl Reporting {
    pub(super) fn new(inner: Arc<dyn Observer>) -> Arc<Self> {
        let state = State {
            started: Some(Instant::now()),
            waiting: BTreeMap::new(),
            report: ClientReport::default(),
        };
        Arc::new(Self { inner, state: Mutex::new(state) })
    }

    /// What has happened since the last report, if anything has.
    pub(super) fn take(&self) -> Option<ClientReport> {
        let report = std::mem::take(&mut self.lock().report);
        (report != ClientReport::default()).then_some(report)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Observer for Reporting {
    fn session(&self, event: &SessionEvent) {
        match event {
            SessionEvent::EpochBegan { epoch, added, removed, .. }
                if !added.is_empty() || !removed.is_empty() =>
            {
                let waiting = &mut self.lock().waiting;
                waiting.insert(*epoch, Instant::now());
                if waiting.len() > KEPT {
                    waiting.pop_first();
                }
            }
            SessionEvent::StatusChanged(call_session::Status::Resyncing) => {
                self.lock().report.resyncs += 1;
            }
            _ => {}
        }
        self.inner.session(event);
    }

    fn verification_code(&self, epoch: u64, code: &str) {
        self.inner.verification_code(epoch, code);
    }

    fn base_key(&self, epoch: u64, key: BaseKey) {
        self.inner.base_key(epoch, key);
    }

    fn audits_keys(&self) -> bool {
        self.inner.audits_keys()
    }

    fn switched(&self, epoch: u64, cause: SwitchCause) {
        {
            let mut state = self.lock();
            let later = state.waiting.split_off(&epoch.saturating_add(1));
            let done = std::mem::replace(&mut state.waiting, later);
            let rotations = &mut state.report.rotations_ms;
            rotations.extend(done.into_values().map(millis));
            rotations.truncate(KEPT);
        }
        self.inner.switched(epoch, cause);
    }

    fn sending(&self, frame: Outgoing<'_>) {
        self.inner.sending(frame);
    }

    fn withheld(&self, kind: MediaKind) {
        self.inner.withheld(kind);
    }

    fn opened(&self, frame: Incoming<'_>) {
        {
            let mut state = self.lock();
            if let Some(started) = state.started.take() {
                state.report.join_to_first_frame_ms = Some(millis(started));
            }
        }
        self.inner.opened(frame);
    }

    fn unopened(&self, frame: Unopened<'_>) {
        let cause = match frame.reason {
            // A newcomer is not meant to open what was sent before.
            "before-join" => None,
            "its key never came" | "too many frames waited for their key" | "expired-epoch" => {
                Some(UndecryptableCause::NoKey)
            }
            "it came on another participant's track" => Some(UndecryptableCause::WrongSender),
            _ => Some(UndecryptableCause::Refused),
        };
        if let Some(cause) = cause {
            *self.lock().report.undecryptable.entry(cause).or_default() += 1;
        }
        self.inner.unopened(frame);
    }

    fn track(&self, participant: &Identity, kind: MediaKind) {
        self.inner.track(participant, kind);
    }

    fn trouble(&self, words: &str) {
        self.inner.trouble(words);
    }
}
