//! The media keys of one participation, shared by the tasks that send and receive.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sframe_bridge::{
    CallKeys, CallKeysConfig, CallParameters, Epoch, EpochError, Event, KidLayout, Now,
    ReceiveError, SendError, Sender, TrackId, crypto,
};
use sfu_sim::protocol::Identity;
use tokio::sync::watch;

use call_session::CallMember;

/// Rosters are kept for as many epochs as keys can be: KIDs name an epoch by 8 bits.
const KEPT_ROSTERS: usize = 256;

/// Where the keys stand. Every change wakes the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// Counts memberships: senders of an earlier one are worth nothing.
    pub(super) generation: u64,
    /// The newest epoch installed.
    pub(super) newest: Option<u64>,
}

/// The keys, the rosters that give names to leaves, and the clock.
pub(super) struct MediaKeys {
    origin: Instant,
    state: Mutex<State>,
    stand: watch::Sender<Stand>,
}

#[derive(Default)]
struct State {
    keys: Option<CallKeys>,
    layout: Option<KidLayout>,
    rosters: BTreeMap<u64, HashMap<u32, Identity>>,
}

impl MediaKeys {
    pub(super) fn new(origin: Instant) -> Arc<Self> {
        Arc::new(Self {
            origin,
            state: Mutex::new(State::default()),
            stand: watch::Sender::new(Stand::default()),
        })
    }

    pub(super) fn now(&self) -> Now {
        let micros = self.origin.elapsed().as_micros();
        Now::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The moment of `now` on the clock that tokio sleeps by.
    pub(super) fn instant(&self, now: Now) -> tokio::time::Instant {
        let micros = std::time::Duration::from_micros(now.as_micros());
        tokio::time::Instant::from_std(self.origin + micros)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Stand> {
        self.stand.subscribe()
    }

    /// A membership begins. Returns false if its suite is not supported here.
    pub(super) fn begin(&self, parameters: &CallParameters) -> bool {
        let provider = crypto::default_provider();
        let Some(config) = CallKeysConfig::from_parameters(provider, parameters) else {
            return false;
        };
        self.end();
        let mut state = self.lock();
        state.keys = Some(CallKeys::new(config));
        state.layout = Some(parameters.layout);
        drop(state);
        self.stand.send_modify(|stand| stand.generation += 1);
        true
    }

    /// The membership is over: nothing can be sent or opened.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if let Some(mut keys) = state.keys.take() {
            keys.close();
        }
        state.layout = None;
        state.rosters.clear();
        drop(state);
        self.stand.send_modify(|stand| {
            stand.generation += 1;
            stand.newest = None;
        });
    }

    pub(super) fn install(&self, epoch: Epoch, now: Now) -> Result<(), EpochError> {
        let mut state = self.lock();
        let keys = state.keys.as_mut().ok_or(EpochError::Closed)?;
        keys.install_epoch(epoch, now)?;
        let newest = keys.newest_epoch();
        drop(state);
        self.stand.send_modify(|stand| stand.newest = newest);
        Ok(())
    }

    /// Notes who sits where in an epoch.
    pub(super) fn roster(&self, epoch: u64, roster: &[CallMember]) {
        let mut state = self.lock();
        let names = roster.iter().map(|member| (member.leaf, member.identity.clone())).collect();
        state.rosters.insert(epoch, names);
        while state.rosters.len() > KEPT_ROSTERS {
            state.rosters.pop_first();
        }
    }

    pub(super) fn peer_ready(&self, leaf: u32, epoch: u64, now: Now) {
        if let Some(keys) = &mut self.lock().keys {
            keys.peer_ready(leaf, epoch, now);
        }
    }

    /// Stops sending, or goes on.
    pub(super) fn allow_sending(&self, allowed: bool) {
        let mut state = self.lock();
        match &mut state.keys {
            Some(keys) if allowed => keys.resume_sending(),
            Some(keys) => keys.stop_sending(),
            None => {}
        }
    }

    /// Does what is due and returns what there is to know, and when it is due again.
    pub(super) fn drive(&self, now: Now) -> Driven {
        let mut state = self.lock();
        let Some(keys) = &mut state.keys else {
            return Driven { events: Vec::new(), deadline: None };
        };
        keys.handle_timeout(now);
        let events = std::iter::from_fn(|| keys.poll()).collect();
        Driven { events, deadline: keys.next_deadline() }
    }

    /// A sender for a track, in a context of its own.
    pub(super) fn sender(&self, track: TrackId) -> Result<Sender, SendError> {
        self.lock().keys.as_mut().ok_or(SendError::NoKey)?.sender(track)
    }

    pub(super) fn lock_keys(&self) -> KeysGuard<'_> {
        KeysGuard(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the keys whole: their methods change state in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What driving the keys brought.
pub(super) struct Driven {
    pub(super) events: Vec<Event>,
    pub(super) deadline: Option<Now>,
}

/// The keys while frames are opened.
pub(super) struct KeysGuard<'a>(MutexGuard<'a, State>);

impl KeysGuard<'_> {
    pub(super) fn receiver(&mut self) -> Option<&mut sframe_bridge::Receiver> {
        self.0.keys.as_mut().map(CallKeys::receiver)
    }

    /// Whether a frame names the member at whose track it came, as far as its epoch is known here.
    pub(super) fn check_sender(
        &mut self,
        frame: &[u8],
        participant: &Identity,
    ) -> Result<(), ReceiveError> {
        let State { keys: Some(keys), rosters, .. } = &mut *self.0 else { return Ok(()) };
        keys.receiver().check_sender(frame, |epoch, leaf| {
            rosters.get(&epoch).and_then(|roster| roster.get(&leaf)) == Some(participant)
        })
    }

    pub(super) fn layout(&self) -> Option<KidLayout> {
        self.0.layout
    }

    /// The epoch of which a KID shows the low bits: the nearest one that is known here.
    pub(super) fn epoch_of(&self, low: u64, bits: u32) -> Option<u64> {
        let newest = *self.0.rosters.keys().next_back()?;
        let modulus = 1_u64.checked_shl(bits)?;
        // Up to 8 epochs ahead count as future, everything else lies behind.
        let ahead = low.wrapping_sub(newest) & (modulus - 1);
        if ahead <= 8 { Some(newest + ahead) } else { (newest + ahead).checked_sub(modulus) }
    }
}
