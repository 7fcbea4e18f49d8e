//! Encoded frames of one track, on their way out or in.

use std::collections::VecDeque;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use sframe_bridge::codec::Codec;
use sframe_bridge::{CallKeys, Now, ReceiveError, Sender, WaitBuffer, WaitLimits, Waiting, vp8};
use sfu_protocol::Identity;

use crate::handover::Handover;
use crate::keys::Roster;

type Rosters = VecDeque<Roster>;

/// The codec of this name.
pub(crate) fn codec(name: &str) -> Option<Codec> {
    match name {
        "opus" => Some(Codec::Opus),
        "vp8" => Some(Codec::Vp8),
        "vp9" => Some(Codec::Vp9),
        _ => None,
    }
}

/// A track that is sent.
pub(crate) struct Outgoing {
    id: u32,
    codec: Codec,
    sender: Option<Sender>,
    /// The encoder made a frame that was not sent: what follows builds on it, up to the next keyframe.
    broken: bool,
    keyframe_wanted: bool,
    sent: u64,
    withheld: u64,
}

impl Outgoing {
    pub(crate) fn new(id: u32, codec: Codec) -> Self {
        Self {
            id,
            codec,
            sender: None,
            broken: false,
            keyframe_wanted: false,
            sent: 0,
            withheld: 0,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn want_sender(&mut self, make: impl FnOnce() -> Option<Sender>) {
        if self.sender.is_none() {
            self.sender = make();
        }
    }

    pub(crate) fn lose_sender(&mut self) {
        self.sender = None;
    }

    pub(crate) fn protect(&mut self, frame: &[u8], keyframe: bool) -> Option<Vec<u8>> {
        let video = self.codec != Codec::Opus;
        let sealed = self.seal(frame, keyframe, video);
        match &sealed {
            Some(_) => self.sent += 1,
            None => {
                self.withheld += 1;
                self.broken = video;
            }
        }
        sealed
    }

    fn seal(&mut self, frame: &[u8], keyframe: bool, video: bool) -> Option<Vec<u8>> {
        let sender = self.sender.as_mut()?;
        if video && !keyframe && (self.broken || sender.keyframe_due()) {
            self.keyframe_wanted = true;
            if self.broken {
                return None;
            }
        }
        let mut sealed = Vec::with_capacity(frame.len() + 48);
        self.codec.protect_into(sender, frame, &mut sealed).ok()?;
        if keyframe {
            sender.keyframe_sent();
            self.broken = false;
        }
        Some(sealed)
    }

    pub(crate) fn keyframe_wanted(&mut self) -> bool {
        std::mem::take(&mut self.keyframe_wanted)
    }

    pub(crate) fn statistics(&self) -> Sent {
        Sent {
            track: self.id,
            epoch: self.sender.as_ref().and_then(Sender::epoch),
            sent: self.sent,
            withheld: self.withheld,
        }
    }
}

/// What a track that is sent has seen.
#[derive(Serialize)]
pub(crate) struct Sent {
    track: u32,
    epoch: Option<u64>,
    sent: u64,
    withheld: u64,
}

/// What a track that is received has seen.
#[derive(Serialize)]
pub(crate) struct Received<'a> {
    mid: &'a str,
    participant: &'a Identity,
    epoch: Option<u64>,
    opened: u64,
    waited: u64,
    waiting: usize,
    #[serde(serialize_with = "as_map")]
    refused: &'a [(&'static str, u64)],
}

fn as_map<S: Serializer>(counts: &[(&'static str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(counts.len()))?;
    for (reason, count) in counts {
        map.serialize_entry(reason, count)?;
    }
    map.end()
}

/// A track that is received.
pub(crate) struct Incoming {
    mid: String,
    /// Whose it is, as the server says.
    participant: Identity,
    codec: Codec,
    handover: &'static Handover,
    waiting: WaitBuffer<u32>,
    /// Frames that wait no longer, oldest first; nothing in the place of a frame that is lost.
    due: VecDeque<(u32, Option<Vec<u8>>)>,
    waits: bool,
    epoch: Option<u64>,
    opened: u64,
    waited: u64,
    refused: Vec<(&'static str, u64)>,
}

enum Outcome {
    Plain(Vec<u8>),
    Wait(u64),
    Drop,
}

impl Incoming {
    pub(crate) fn new(
        mid: &str,
        participant: Identity,
        codec: Codec,
        handover: &'static Handover,
    ) -> Self {
        Self {
            mid: mid.to_owned(),
            participant,
            codec,
            handover,
            waiting: WaitBuffer::new(WaitLimits::default()),
            due: VecDeque::new(),
            waits: false,
            epoch: None,
            opened: 0,
            waited: 0,
            refused: Vec::new(),
        }
    }

    pub(crate) fn mid(&self) -> &str {
        &self.mid
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        self.waiting.next_deadline()
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    pub(crate) fn open(
        &mut self,
        keys: Option<&mut CallKeys>,
        rosters: &Rosters,
        frame: u32,
        sealed: &[u8],
        now: Now,
    ) -> Option<Vec<u8>> {
        self.waits = false;
        match self.try_open(keys, rosters, sealed, now) {
            Outcome::Plain(plain) => Some(plain),
            Outcome::Drop => None,
            Outcome::Wait(epoch) => {
                self.waits = true;
                for lost in self.waiting.push(epoch, sealed.to_vec(), frame, now) {
                    self.lost(lost);
                }
                None
            }
        }
    }

    /// The next frame that waits no longer.
    pub(crate) fn late(
        &mut self,
        keys: Option<&mut CallKeys>,
        rosters: &Rosters,
        now: Now,
    ) -> Option<(u32, Option<Vec<u8>>)> {
        if let Some(keys) = keys
            && let Some(newest) = keys.newest_epoch()
        {
            for waiting in self.waiting.take_ready(newest) {
                let handover = self.handover;
                let opened =
                    handover.at_once(|| self.try_open(Some(keys), rosters, &waiting.frame, now));
                let plain = match opened {
                    Outcome::Plain(plain) => Some(plain),
                    Outcome::Drop | Outcome::Wait(_) => None,
                };
                self.waited += u64::from(plain.is_some());
                self.due.push_back((waiting.note, plain));
            }
        }
        for lost in self.waiting.expire(now) {
            self.lost(lost);
        }
        self.due.pop_front()
    }

    fn lost(&mut self, lost: Waiting<u32>) {
        self.refuse("no-key-in-time");
        self.due.push_back((lost.note, None));
    }

    fn try_open(
        &mut self,
        keys: Option<&mut CallKeys>,
        rosters: &Rosters,
        sealed: &[u8],
        now: Now,
    ) -> Outcome {
        // Not a member yet, or no longer: the first epoch may still be on its way.
        let Some(keys) = keys else { return Outcome::Wait(0) };
        let mut plain = Vec::new();
        // Asked first: whoever forges as another on a track of its own must not move the other's replay window.
        let clear = if matches!(self.codec, Codec::Vp8) { vp8::CLEAR_LENGTH } else { 0 };
        let ciphertext = sealed.get(clear..).unwrap_or_default();
        let rightful = keys
            .receiver()
            .check_sender(ciphertext, |epoch, leaf| self.rightful(epoch, leaf, rosters));
        if let Err(error) = rightful {
            self.refuse(error.reason());
            return Outcome::Drop;
        }
        match self.codec.unprotect_into(keys.receiver(), sealed, &mut plain, now) {
            Ok(opened) => {
                self.opened += 1;
                self.epoch = Some(opened.sender.epoch);
                plain.truncate(opened.plain.end);
                plain.drain(..opened.plain.start);
                Outcome::Plain(plain)
            }
            Err(ReceiveError::FutureEpoch { epoch }) => Outcome::Wait(epoch),
            Err(ReceiveError::NoEpoch) => Outcome::Wait(0),
            // What the transport repeated has been counted when it came first.
            Err(ReceiveError::Duplicate { .. }) => Outcome::Drop,
            // It comes once more, when WebCrypto has looked at it.
            Err(ReceiveError::Unauthentic) if self.handover.has_task() => Outcome::Drop,
            Err(error) => {
                self.refuse(error.reason());
                Outcome::Drop
            }
        }
    }

    /// Whether the sender is the one whose track this is.
    fn rightful(&self, epoch: u64, leaf: u32, rosters: &Rosters) -> bool {
        let roster = rosters.iter().rfind(|roster| roster.epoch == epoch);
        roster.is_some_and(|roster| {
            roster
                .members
                .iter()
                .any(|member| member.leaf == leaf && member.identity == self.participant)
        })
    }

    fn refuse(&mut self, reason: &'static str) {
        match self.refused.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((reason, 1)),
        }
    }

    pub(crate) fn statistics(&self) -> Received<'_> {
        Received {
            mid: &self.mid,
            participant: &self.participant,
            epoch: self.epoch,
            opened: self.opened,
            waited: self.waited,
            waiting: self.waiting.len(),
            refused: &self.refused,
        }
    }
}
