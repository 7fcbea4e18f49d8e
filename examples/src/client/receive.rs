//! Receiving a track: packets are put together, opened, checked against the roster and recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sframe_bridge::{
    KidLayout, Now, Reassembled, Reassembler, ReassemblyLimits, ReceiveError, SenderInfo,
    WaitBuffer, WaitLimits, Waiting, peek,
};
use sfu_sim::protocol::{Identity, MediaKind, TrackCodec};
use tokio::time::sleep_until;

use super::keys::{KeysGuard, MediaKeys};
use super::observer::{Incoming, Observer, Unopened};
use super::packets::TrackFormat;
use super::tracks::RemoteTrack;
use crate::media::recorder::{AudioRecorder, Recorded, VideoRecorder};
use crate::media::{MediaError, vp8, vp9};

/// How long the tasks sleep at most while nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// A file that a track is written to.
pub(super) enum Recording {
    Nowhere,
    Video(VideoRecorder),
    Audio(AudioRecorder),
}

/// What a receiving task needs.
pub(super) struct Receiving {
    pub(super) keys: Arc<MediaKeys>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) track: RemoteTrack,
    pub(super) format: TrackFormat,
    /// Whose track it is, as the server says.
    pub(super) participant: Identity,
    pub(super) recording: Recording,
}

/// What is known of a frame beside its bytes.
#[derive(Clone, Copy)]
struct Note {
    timestamp: u32,
    /// Something before it is missing.
    after_gap: bool,
}

struct State {
    reassembler: Reassembler,
    waiting: WaitBuffer<Note>,
    /// What comes next follows a gap.
    gap: bool,
    /// Nothing can be decoded before a keyframe.
    needs_keyframe: bool,
}

impl Receiving {
    /// Receives until the track ends; then the recording is completed.
    pub(super) async fn run(mut self) {
        self.observer.track(&self.participant, self.track.kind());
        let mut stand = self.keys.watch();
        let mut state = State {
            reassembler: Reassembler::new(ReassemblyLimits::default()),
            waiting: WaitBuffer::new(WaitLimits::default()),
            gap: true,
            needs_keyframe: self.track.kind() == MediaKind::Video,
        };
        loop {
            let now = self.keys.now();
            let due = [state.reassembler.next_deadline(), state.waiting.next_deadline()];
            let due = due.into_iter().flatten().min().unwrap_or(now + IDLE);
            tokio::select! {
                packet = self.track.next() => {
                    let Some(packet) = packet else { break };
                    let now = self.keys.now();
                    if let Err(error) = self.format.push(&packet, &mut state.reassembler, now) {
                        tracing::debug!(%error, "a packet is not in the track's payload format");
                    }
                }
                changed = stand.changed() => {
                    if changed.is_err() { break }
                    let newest = stand.borrow_and_update().newest;
                    for waiting in state.waiting.take_ready(newest.unwrap_or_default()) {
                        self.retry(waiting, &mut state);
                    }
                }
                () = sleep_until(self.keys.instant(due)) => {}
            }
            self.drain(&mut state);
            if state.needs_keyframe {
                self.track.request_keyframe(Instant::now()).await;
            }
        }
        let finished = match self.recording {
            Recording::Nowhere => Ok(None),
            Recording::Video(recorder) => recorder.finish(),
            Recording::Audio(recorder) => recorder.finish(),
        };
        if let Err(error) = finished {
            self.observer.trouble(&format!("a recording could not be completed: {error}"));
        }
    }

    fn drain(&mut self, state: &mut State) {
        let now = self.keys.now();
        while let Some(output) = state.reassembler.poll(now) {
            match output {
                Reassembled::Lost(_) => self.gap(state),
                Reassembled::Frame(frame) => {
                    let note = Note {
                        timestamp: frame.timestamp,
                        after_gap: std::mem::take(&mut state.gap),
                    };
                    self.open(frame.ciphertext, note, None, state);
                }
            }
        }
        for waiting in state.waiting.expire(now) {
            self.unopened(&waiting.frame, "its key never came");
            self.gap(state);
        }
    }

    fn retry(&mut self, waiting: Waiting<Note>, state: &mut State) {
        self.open(waiting.frame, waiting.note, Some(waiting.since), state);
    }

    fn open(&mut self, mut frame: Vec<u8>, note: Note, since: Option<Now>, state: &mut State) {
        let now = self.keys.now();
        let mut guard = self.keys.lock_keys();
        let rightful = guard.check_sender(self.format.ciphertext(&frame), &self.participant);
        let Some(receiver) = guard.receiver() else {
            // Not a member yet, or no longer: the first epoch may still be on its way.
            drop(guard);
            self.wait(0, frame, note, now, state);
            return;
        };
        let opened = rightful.and_then(|()| self.format.unprotect(receiver, &mut frame, now));
        let opened = match opened {
            Ok(opened) => opened,
            Err(ReceiveError::FutureEpoch { epoch }) => {
                drop(guard);
                self.wait(epoch, frame, note, now, state);
                return;
            }
            Err(ReceiveError::NoEpoch) => {
                drop(guard);
                self.wait(0, frame, note, now, state);
                return;
            }
            // What the transport repeated has been counted when it came first.
            Err(ReceiveError::Duplicate { .. }) => return,
            Err(error) => {
                let claims = claims(&guard, self.format.ciphertext(&frame));
                drop(guard);
                self.report(claims, error.reason());
                self.gap(state);
                return;
            }
        };
        drop(guard);
        let plaintext = frame.get(opened.plain).unwrap_or_default();
        self.observer.opened(Incoming {
            kind: self.track.kind(),
            participant: &self.participant,
            sender: opened.sender,
            plaintext,
            waited: since.map(|since| now.saturating_since(since)),
        });
        let keyframe = match self.format.codec {
            TrackCodec::Opus => false,
            TrackCodec::Vp8 => vp8::is_keyframe(plaintext),
            TrackCodec::Vp9 => vp9::is_keyframe(plaintext),
        };
        if keyframe {
            state.needs_keyframe = false;
        }
        let continuous = !note.after_gap && !state.gap;
        match self.record(plaintext, note.timestamp, continuous || keyframe) {
            Ok(Recorded::Written) => {}
            Ok(Recorded::NeedsKeyframe) => state.needs_keyframe = true,
            Err(error) => self.observer.trouble(&format!("a frame could not be recorded: {error}")),
        }
        state.gap = false;
    }

    fn wait(&mut self, epoch: u64, frame: Vec<u8>, note: Note, now: Now, state: &mut State) {
        for pushed_out in state.waiting.push(epoch, frame, note, now) {
            self.unopened(&pushed_out.frame, "too many frames waited for their key");
            self.gap(state);
        }
    }

    fn record(
        &mut self,
        frame: &[u8],
        timestamp: u32,
        continuous: bool,
    ) -> Result<Recorded, MediaError> {
        match &mut self.recording {
            Recording::Nowhere => Ok(Recorded::Written),
            Recording::Video(recorder) => recorder.write(frame, timestamp, continuous),
            Recording::Audio(recorder) => {
                recorder.write(frame, timestamp).map(|()| Recorded::Written)
            }
        }
    }

    fn gap(&self, state: &mut State) {
        state.gap = true;
        state.needs_keyframe = self.track.kind() == MediaKind::Video;
    }

    fn unopened(&self, frame: &[u8], reason: &'static str) {
        let claims = claims(&self.keys.lock_keys(), self.format.ciphertext(frame));
        self.report(claims, reason);
    }

    fn report(&self, claims: Option<SenderInfo>, reason: &'static str) {
        let kind = self.track.kind();
        let participant = &self.participant;
        self.observer.unopened(Unopened { kind, participant, claims, reason });
    }
}

/// Which frame it claims to be. Nothing has authenticated it.
fn claims(guard: &KeysGuard<'_>, frame: &[u8]) -> Option<SenderInfo> {
    let layout: KidLayout = guard.layout()?;
    let header = peek(frame).ok()?.header;
    let parts = layout.split(header.kid);
    Some(SenderInfo {
        leaf: parts.leaf,
        epoch: guard.epoch_of(parts.epoch_low, layout.epoch_bits().into())?,
        context: u32::try_from(parts.context).ok()?,
        ctr: header.ctr,
    })
}
