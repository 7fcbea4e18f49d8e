//! The media keys of one member of a call: what is received, what is sent, and when it switches.

use crate::admission::ReceiveLimits;
use crate::call_parameters::CallParameters;
use crate::crypto::{FrameProvider, SuiteCrypto};
use crate::epoch::Epoch;
use crate::epoch_window::{EpochWindow, Retention};
use crate::error::{EpochError, SendError};
use crate::kid::KidLayout;
use crate::open_epochs::OpenEpochs;
use crate::receiver::Receiver;
use crate::send_switch::{Arrival, SendSwitch, Switch, SwitchCause, SwitchTiming};
use crate::sender::{CounterLimits, SendKey, SendSlot, Sender};
use crate::time::Now;
use core::fmt;
use core::num::NonZeroU32;
use std::collections::VecDeque;
use std::sync::Arc;

// An application that never polls must not make the queue grow without end.
const MAX_EVENTS: usize = 4096;

/// The application's name for a track or simulcast layer. It stays on this machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackId(pub u32);

/// Everything that [`CallKeys`] can be set to.
#[derive(Clone, Copy, Debug)]
pub struct CallKeysConfig {
    /// The suite and its backend.
    pub crypto: &'static SuiteCrypto,
    /// How KIDs are laid out. The same for all members.
    pub layout: KidLayout,
    /// When to switch.
    pub timing: SwitchTiming,
    /// How long old keys live.
    pub retention: Retention,
    /// How many frames one key protects.
    pub counters: CounterLimits,
    /// What is accepted. `contexts` also limits how many contexts one issues oneself.
    pub receive: ReceiveLimits,
}

impl CallKeysConfig {
    /// The defaults with the given suite.
    pub fn new(crypto: &'static SuiteCrypto) -> Self {
        Self {
            crypto,
            layout: KidLayout::DEFAULT,
            timing: SwitchTiming::default(),
            retention: Retention::default(),
            counters: CounterLimits::default(),
            receive: ReceiveLimits::default(),
        }
    }

    /// What a call's parameters say, with defaults for the rest. `None` if the backend lacks the
    /// call's suite.
    pub fn from_parameters(provider: &FrameProvider, parameters: &CallParameters) -> Option<Self> {
        let mut config = Self::new(provider.suite(parameters.suite)?);
        config.layout = parameters.layout;
        config.receive.contexts = parameters.media.contexts.into();
        config.receive.frame_rate = parameters.media.frame_rate.into();
        Some(config)
    }
}

/// Something that the application has to know or do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Sending has switched: the next frame of every [`Sender`] goes under this epoch.
    SwitchSend {
        /// The epoch.
        epoch: u64,
        /// Why now.
        cause: SwitchCause,
    },
    /// Somebody joined with the epoch that sending switched to: the track's next frame should be
    /// a keyframe.
    RequestKeyframe {
        /// The track.
        track: TrackId,
        /// The epoch.
        epoch: u64,
    },
    /// The keys of an old epoch are gone.
    EpochExpired {
        /// The epoch.
        epoch: u64,
    },
    /// Frames of an epoch have come in that is not installed: its commit is late. Reported once
    /// for each epoch.
    MissingKey {
        /// The epoch. Nothing has authenticated it.
        epoch: u64,
    },
    /// A track's counter has passed its soft limit, or its contexts have run out: a commit should
    /// bring a new epoch.
    CounterLow {
        /// The track.
        track: TrackId,
    },
}

struct Track {
    id: TrackId,
    slot: Arc<SendSlot>,
}

impl Track {
    /// The sender holds the other reference as long as it lives.
    fn is_live(&self) -> bool {
        Arc::strong_count(&self.slot) > 1
    }
}

/// The media keys of one member of a call, sans-IO.
///
/// After any call that takes `now`, drain [`poll`](Self::poll) and set a timer for
/// [`next_deadline`](Self::next_deadline), at which [`handle_timeout`](Self::handle_timeout) is
/// due.
///
/// It owns all contexts of its member: each is issued once for an (epoch, leaf) and never again.
/// An epoch is never sent under again once sending has switched away from it.
pub struct CallKeys {
    config: CallKeysConfig,
    window: EpochWindow,
    receiver: Receiver,
    switch: SendSwitch,
    tracks: Vec<Track>,
    next_context: u32,
    stopped: bool,
    closed: bool,
    /// Restored, and no epoch has come yet that surely began afterwards.
    awaits_own_epoch: bool,
    reported_missing: Option<u64>,
    events: VecDeque<Event>,
}

impl CallKeys {
    /// Keys without any epoch: nothing can be sent or opened.
    pub fn new(config: CallKeysConfig) -> Self {
        let longest = config.timing.longest();
        let window = EpochWindow::new(config.layout, config.retention, longest);
        let epochs = OpenEpochs::new(config.layout, Arc::clone(window.board()));
        Self {
            config,
            window,
            receiver: Receiver::new(config.crypto, config.receive, epochs),
            switch: SendSwitch::new(config.timing),
            tracks: Vec::new(),
            next_context: 0,
            stopped: false,
            closed: false,
            awaits_own_epoch: false,
            reported_missing: None,
            events: VecDeque::new(),
        }
    }

    /// Keys of a member that was restored from storage: it receives under every epoch that is
    /// installed, but sends under none before one that is marked
    /// [`began_after_restore`](Epoch::began_after_restore). Whoever ran before the crash may have
    /// sent under all others, with counters that nobody knows any more.
    pub fn restored(config: CallKeysConfig) -> Self {
        Self { awaits_own_epoch: true, ..Self::new(config) }
    }

    /// Takes in an epoch of the group. On return its receive keys are live, and the member should
    /// acknowledge the epoch to the others. Sending switches later, by acknowledgements or at the
    /// deadline; at once if there was no epoch to send under.
    ///
    /// # Errors
    ///
    /// [`EpochError`]; the keys in use stay as they were.
    pub fn install_epoch(&mut self, epoch: Epoch, now: Now) -> Result<(), EpochError> {
        if self.closed {
            return Err(EpochError::Closed);
        }
        let pushed_out = self.window.install(&epoch, self.config.crypto, now)?;
        self.expired(pushed_out);
        self.awaits_own_epoch &= !epoch.began_after_restore;
        self.switch.arrive(
            &Arrival {
                epoch: epoch.number,
                own_leaf: epoch.own_leaf,
                live: &epoch.live_leaves,
                joined: &epoch.joined,
                removed: &epoch.removed,
                receive_only: epoch.receive_only || self.awaits_own_epoch,
            },
            now,
        );
        if self.switch.everybody_is_ready() {
            self.window.everybody_is_ready(now);
        }
        self.handle_timeout(now);
        Ok(())
    }

    /// Takes in that the member at `leaf` has the receive keys of `epoch`, as it acknowledged to
    /// the delivery service. May switch sending.
    pub fn peer_ready(&mut self, leaf: u32, epoch: u64, now: Now) {
        if self.switch.acknowledge(leaf, epoch) {
            self.window.everybody_is_ready(now);
        }
        self.handle_timeout(now);
    }

    /// Does what is due at `now`: switches sending and drops expired keys.
    pub fn handle_timeout(&mut self, now: Now) {
        if !self.closed
            && let Some(switch) = self.switch.take_due(now)
        {
            self.switch_send(switch);
        }
        let expired = self.window.purge(now);
        self.expired(expired);
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn next_deadline(&self) -> Option<Now> {
        let switch = self.switch.deadline().filter(|_| !self.closed);
        [switch, self.window.next_expiry()].into_iter().flatten().min()
    }

    /// The next thing to know or do.
    pub fn poll(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let missing = self.window.board().take_missing();
        let newest = self.newest_epoch();
        if let Some(epoch) = missing
            && missing > self.reported_missing
            && missing > newest
        {
            self.reported_missing = missing;
            return Some(Event::MissingKey { epoch });
        }
        let low = self.tracks.iter().find(|track| track.slot.take_low())?;
        Some(Event::CounterLow { track: low.id })
    }

    /// A sender for a track or simulcast layer, with a context of its own. While there is no
    /// epoch to send under, it refuses every frame, and starts by itself when there is one.
    ///
    /// A track that stops and starts again drops its sender and asks for another.
    ///
    /// # Errors
    ///
    /// [`SendError::ContextsExhausted`] when the epoch's contexts have all been issued.
    pub fn sender(&mut self, track: TrackId) -> Result<Sender, SendError> {
        self.tracks.retain(Track::is_live);
        let limit = self.config.receive.contexts;
        if self.tracks.len() >= limit as usize || self.next_context >= limit {
            return Err(SendError::ContextsExhausted { limit });
        }
        let slot = SendSlot::new();
        if let Some(epoch) = self.switch.current().filter(|_| self.may_send()) {
            slot.replace(Some(self.issue(epoch, true)?));
        }
        self.tracks.push(Track { id: track, slot: Arc::clone(&slot) });
        Ok(Sender::new(slot, self.config.crypto, self.config.counters))
    }

    /// Opens what the others send.
    pub fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// Splits [`receiver`](Self::receiver) into `count` receivers that can move to threads of
    /// their own. Each opens the frames of its own share of the leaves, which
    /// [`receiver_index`](crate::receiver_index) tells; what has been seen goes with them. They
    /// take in epochs by themselves. [`receiver`](Self::receiver) opens nothing afterwards.
    ///
    /// # Errors
    ///
    /// [`EpochError::AlreadySplit`] the second time: two replay windows for one sender would each
    /// let a replayed frame through.
    pub fn split_receiver(&mut self, count: NonZeroU32) -> Result<Vec<Receiver>, EpochError> {
        self.receiver.split(count).ok_or(EpochError::AlreadySplit)
    }

    /// The epoch that is sent under.
    pub fn send_epoch(&self) -> Option<u64> {
        self.switch.current().filter(|_| self.may_send())
    }

    /// The newest epoch installed.
    pub fn newest_epoch(&self) -> Option<u64> {
        self.window.newest()
    }

    /// Whether the member at `leaf` has acknowledged `epoch` or a later one.
    pub fn has_acknowledged(&self, leaf: u32, epoch: u64) -> bool {
        self.switch.has_acknowledged(leaf, epoch)
    }

    /// Takes the keys away from all senders, for example because too few members confirm the
    /// epoch. Receiving goes on.
    pub fn stop_sending(&mut self) {
        self.stopped = true;
        for track in &self.tracks {
            track.slot.replace(None);
        }
    }

    /// Gives the senders keys again, in contexts not used before.
    pub fn resume_sending(&mut self) {
        if !self.stopped || self.closed {
            return;
        }
        self.stopped = false;
        if let Some(epoch) = self.switch.current() {
            let cause = SwitchCause::Resumed;
            self.rekey_tracks(Switch { epoch, cause, joined: true });
        }
    }

    /// Ends the call: all keys are dropped, nothing can be sent, opened or installed again.
    pub fn close(&mut self) {
        self.stop_sending();
        self.closed = true;
        let expired = self.window.clear();
        self.expired(expired);
    }

    fn may_send(&self) -> bool {
        !self.stopped && !self.closed
    }

    fn switch_send(&mut self, switch: Switch) {
        self.next_context = 0;
        if self.may_send() {
            self.rekey_tracks(switch);
        }
    }

    fn rekey_tracks(&mut self, switch: Switch) {
        let Switch { epoch, cause, joined } = switch;
        self.push(Event::SwitchSend { epoch, cause });
        self.tracks.retain(Track::is_live);
        for index in 0..self.tracks.len() {
            let key = self.issue(epoch, joined);
            let Some(track) = self.tracks.get(index) else { break };
            let id = track.id;
            let issued = key.is_ok();
            track.slot.replace(key.ok());
            if !issued {
                self.push(Event::CounterLow { track: id });
            } else if joined {
                self.push(Event::RequestKeyframe { track: id, epoch });
            }
        }
    }

    /// A key in a context that has never been issued in this epoch.
    fn issue(&mut self, epoch: u64, keyframe: bool) -> Result<SendKey, SendError> {
        let limit = self.config.receive.contexts;
        let context = self.next_context;
        if context >= limit {
            return Err(SendError::ContextsExhausted { limit });
        }
        let kept = self.window.find(epoch).ok_or(SendError::NoKey)?;
        let kid = self
            .config
            .layout
            .compose(context.into(), kept.own_leaf, epoch)
            .map_err(|_| SendError::ContextsExhausted { limit })?;
        self.next_context += 1;
        Ok(SendKey { key: kept.secret.frame_key(kid)?, kid, epoch, keyframe })
    }

    /// Reports epochs whose keys are gone, from the receiver too.
    fn expired(&mut self, epochs: Vec<u64>) {
        self.receiver.follow();
        for epoch in epochs {
            self.push(Event::EpochExpired { epoch });
        }
    }

    fn push(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }
}

impl fmt::Debug for CallKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallKeys")
            .field("send_epoch", &self.send_epoch())
            .field("newest_epoch", &self.newest_epoch())
            .field("tracks", &self.tracks.len())
            .finish_non_exhaustive()
    }
}
