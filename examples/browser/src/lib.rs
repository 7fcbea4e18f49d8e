//! The keys of one participant of a call, in a browser's worker.
//!
//! JavaScript holds the WebSocket and the encoded frames; everything that knows a secret is behind [`Call`]. Times are
//! milliseconds: `now` since any origin, `unix` since 1970.

#![forbid(unsafe_code)]

mod events;
mod handover;
mod keys;
mod tracks;

use call_session::{Invite, Moment, Output, Session, SessionConfig, SessionEvent, Status};
use mls::UnixTime;
use sframe_bridge::{EpochError, Now};
use sfu_protocol::Identity;
use std::collections::VecDeque;
use wasm_bindgen::prelude::*;

use events::Told;
use handover::{Handover, Task};
use keys::MediaKeys;

/// What became of a frame that had waited for its key.
#[wasm_bindgen]
pub struct Late {
    frame: u32,
    plain: Option<Vec<u8>>,
}

#[wasm_bindgen]
impl Late {
    /// The number that the frame was given.
    #[wasm_bindgen(getter)]
    pub fn frame(&self) -> u32 {
        self.frame
    }

    /// The frame in the clear; nothing if it is lost.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.plain.take()
    }
}

/// One participant: its MLS group and its media keys.
#[wasm_bindgen]
pub struct Call {
    session: Session,
    handover: &'static Handover,
    keys: MediaKeys,
    events: VecDeque<String>,
}

#[wasm_bindgen]
impl Call {
    /// A participant of this name, with a fresh signature key. `invite` is the secret of the invite link; the
    /// empty text is none. Frames of at least `large` bytes are left to WebCrypto.
    #[wasm_bindgen(constructor)]
    pub fn new(identity: &str, invite: &str, large: u32) -> Result<Call, JsError> {
        let mut config = SessionConfig::new(Identity::new(identity));
        if !invite.is_empty() {
            config.invite = Some(Invite::new(invite.as_bytes()));
        }
        let (handover, provider) = Handover::new(usize::try_from(large).unwrap_or(usize::MAX));
        Ok(Self {
            session: Session::new(config, Box::new(mls::crypto::os_rng()))?,
            handover,
            keys: MediaKeys::new(identity, handover, provider),
            events: VecDeque::new(),
        })
    }

    /// Takes in a text frame of the server. Those about media are not for this object and do nothing.
    pub fn message(&mut self, text: &str, now: f64, unix: f64) {
        if let Some(message) = events::heard(text) {
            self.session.handle_message(message, moment(now, unix));
            self.settle(now, unix);
        }
    }

    /// The connection to the server is gone.
    pub fn disconnected(&mut self, now: f64, unix: f64) {
        self.session.disconnected();
        self.settle(now, unix);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: f64, unix: f64) {
        self.session.handle_timeout(moment(now, unix));
        self.settle(now, unix);
    }

    /// When [`Call::tick`] is due.
    pub fn next_deadline(&self, now: f64) -> Option<f64> {
        let due = [self.session.next_deadline(instant(now)), self.keys.next_deadline()];
        due.into_iter().flatten().min().map(|due| due.as_micros() as f64 / 1000.0)
    }

    /// The next thing to send or to tell, as JSON. To be drained after every call.
    pub fn poll(&mut self) -> Option<String> {
        self.events.pop_front()
    }

    /// Says goodbye.
    pub fn leave(&mut self, now: f64, unix: f64) {
        self.session.leave();
        self.settle(now, unix);
    }

    /// Removes somebody; the server lets moderators do so.
    pub fn remove(&mut self, identity: &str, now: f64, unix: f64) -> Result<(), JsError> {
        self.session.remove(&Identity::new(identity))?;
        self.settle(now, unix);
        Ok(())
    }

    /// The code has been compared with this member and matched. Returns false if it is not in the call.
    pub fn verify(&mut self, identity: &str) -> bool {
        let verified = self.keys.verify(&Identity::new(identity));
        if verified && let Some(epoch) = self.session.epoch() {
            self.tell_epoch(epoch, &[], &[]);
        }
        verified
    }

    /// Begins to send a track of this codec (`opus`, `vp8` or `vp9`).
    pub fn send_track(&mut self, track: u32, codec: &str) -> Result<(), JsError> {
        self.keys.send_track(track, tracks::codec(codec).ok_or_else(unknown_codec)?);
        Ok(())
    }

    /// The track is over.
    pub fn stop_track(&mut self, track: u32) {
        self.keys.stop_track(track);
    }

    /// Encrypts a frame. Nothing comes out without a key: such a frame must not be sent. If [`Call::task`] then has one,
    /// the end of the frame is to be overwritten by what WebCrypto makes of it.
    pub fn protect(
        &mut self,
        track: u32,
        frame: &[u8],
        keyframe: bool,
        now: f64,
    ) -> Option<Vec<u8>> {
        self.keys.protect(track, frame, keyframe, instant(now))
    }

    /// Whether the track's encoder is to be asked for a keyframe; says so once.
    pub fn keyframe_wanted(&mut self, track: u32) -> bool {
        self.keys.keyframe_wanted(track)
    }

    /// Begins to receive the track of a participant on this m-line.
    pub fn receive_track(
        &mut self,
        mid: &str,
        participant: &str,
        codec: &str,
    ) -> Result<(), JsError> {
        let codec = tracks::codec(codec).ok_or_else(unknown_codec)?;
        self.keys.receive_track(mid, Identity::new(participant), codec);
        Ok(())
    }

    /// The m-line carries nothing any more.
    pub fn end_track(&mut self, mid: &str) {
        self.keys.end_track(mid);
    }

    /// Opens a frame, to which the caller has given a number. Nothing comes out if it cannot be opened;
    /// [`Call::waits`] says whether it comes out of [`Call::late`] later. If [`Call::task`] then has one, the frame is to be
    /// given to [`Call::opened`] with what WebCrypto makes of it.
    pub fn open(&mut self, mid: &str, frame: u32, sealed: &[u8], now: f64) -> Option<Vec<u8>> {
        self.keys.open(mid, frame, sealed, instant(now))
    }

    /// What the last frame has left for WebCrypto.
    pub fn task(&self) -> Option<Task> {
        self.handover.take_task()
    }

    /// Opens a frame with what WebCrypto has made of its task: the plaintext, or nothing if it is not authentic. As
    /// [`Call::open`] otherwise.
    pub fn opened(
        &mut self,
        mid: &str,
        frame: u32,
        sealed: &[u8],
        task: Task,
        plain: Option<Vec<u8>>,
        now: f64,
    ) -> Option<Vec<u8>> {
        let Self { handover, keys, .. } = self;
        handover.with_done(task, plain, || keys.open(mid, frame, sealed, instant(now)))
    }

    /// Ciphers of tasks whose keys nobody uses any more.
    pub fn dropped(&self) -> Vec<u32> {
        self.handover.take_dropped()
    }

    /// Whether the last frame that [`Call::open`] did not open waits for its key.
    pub fn waits(&self) -> bool {
        self.keys.waits()
    }

    /// The next frame that has waited long enough: it is open, or lost.
    pub fn late(&mut self, mid: &str, now: f64) -> Option<Late> {
        self.keys.late(mid, instant(now)).map(|(frame, plain)| Late { frame, plain })
    }

    /// What the tracks have seen, as JSON.
    pub fn statistics(&self) -> String {
        self.keys.statistics()
    }
}

impl Call {
    /// Does everything that the session wants done, in its order, and lets the keys do theirs.
    fn settle(&mut self, now: f64, unix: f64) {
        loop {
            while let Some(output) = self.session.poll_output() {
                self.carry_out(output, instant(now));
            }
            for event in self.keys.drive(instant(now)) {
                match event {
                    sframe_bridge::Event::SwitchSend { epoch, .. } => {
                        self.events.push_back(Told::Sending { epoch }.to_json());
                    }
                    sframe_bridge::Event::CounterLow { .. } => {
                        self.session.want_new_epoch(instant(now));
                    }
                    _ => {}
                }
            }
            // Driving the keys may have asked the session for an epoch.
            self.session.handle_timeout(moment(now, unix));
            match self.session.poll_output() {
                Some(output) => self.carry_out(output, instant(now)),
                None => return,
            }
        }
    }

    fn carry_out(&mut self, output: Output, now: Now) {
        match output {
            Output::Send(message) => {
                self.events.extend(Told::send(&message).map(|told| told.to_json()));
            }
            Output::Begin(parameters) => {
                if !self.keys.begin(&parameters) {
                    self.session.install_failed(EpochError::Closed);
                }
            }
            Output::Install(epoch) => {
                if let Err(error) = self.keys.install(*epoch, now) {
                    self.session.install_failed(error);
                }
            }
            Output::PeerReady { leaf, epoch } => self.keys.peer_ready(leaf, epoch, now),
            Output::Sending { allowed } => self.keys.allow_sending(allowed),
            Output::End => self.keys.end(),
            Output::Event(SessionEvent::EpochBegan { epoch, roster, added, removed }) => {
                self.keys.roster(epoch, roster);
                self.tell_epoch(epoch, &added, &removed);
            }
            Output::Event(event) => {
                self.events.extend(events::session(&event).map(|told| told.to_json()))
            }
        }
    }

    fn tell_epoch(&mut self, epoch: u64, added: &[Identity], removed: &[Identity]) {
        // While several epochs are caught up with, only the last one has a code.
        let code = self.session.verification_code().filter(|_| self.session.epoch() == Some(epoch));
        let roster = &self.keys.members(epoch)[..];
        let told = Told::Epoch { epoch, roster, added, removed, code: code.map(Into::into) };
        self.events.push_back(told.to_json());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.keys.end();
    }
}

fn unknown_codec() -> JsError {
    JsError::new("expected the codec opus, vp8 or vp9")
}

fn instant(now: f64) -> Now {
    // Negative and odd values become 0; the greatest is centuries away.
    Now::from_micros((now * 1000.0) as u64)
}

fn moment(now: f64, unix: f64) -> Moment {
    Moment { now: instant(now), unix: UnixTime((unix / 1000.0) as u64) }
}

/// Whether the session is over for good, or a member.
fn phase(status: &Status) -> &'static str {
    match status {
        Status::Member { .. } | Status::CatchingUp { .. } => "member",
        Status::Left => "left",
        Status::Removed => "removed",
        Status::Failed { .. } => "failed",
        Status::Offline => "offline",
        _ => "joining",
    }
}
