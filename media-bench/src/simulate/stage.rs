//! Who is heard and seen, and the frames that they send: active speakers and last-N, forwarded by the real router.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use rand::{RngExt, rngs::StdRng};
use sframe_bridge::{CallKeys, Now, Sender, TrackId};
use sfu_sim::{
    protocol::MediaKind,
    router::{
        Arrival, Departure, LineId, PeerId, Router, RouterOptions, TrackId as RouterTrack, Verdict,
    },
};

use super::{reception::Frame, scenario::MediaSpec};

/// Payload of an RTP packet.
const PACKET: usize = 1_100;

/// What a place on the stage carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// Opus at 48 kbit/s, 20 ms.
    Audio,
    /// Video at 150 kbit/s, 25 frames a second.
    Low,
    /// Video at 1.5 Mbit/s, 25 frames a second.
    High,
}

impl Layer {
    fn period(self) -> Duration {
        Duration::from_millis(if self == Self::Audio { 20 } else { 40 })
    }

    /// The mean size of a frame.
    fn bytes(self, keyframe: bool) -> usize {
        match (self, keyframe) {
            (Self::Audio, _) => 120,
            (Self::Low, false) => 700,
            (Self::Low, true) => 4_000,
            (Self::High, false) => 7_300,
            (Self::High, true) => 32_000,
        }
    }

    fn kind(self) -> MediaKind {
        if self == Self::Audio { MediaKind::Audio } else { MediaKind::Video }
    }
}

/// A place that somebody holds for a turn.
struct Place {
    layer: Layer,
    member: Option<usize>,
    track: Option<RouterTrack>,
    lines: Vec<LineId>,
    /// Of the present turn.
    stream: u64,
    sender: Option<Sender>,
    next_seq: u64,
    keyframe: bool,
}

/// A frame that leaves its sender.
pub(super) struct Outgoing {
    pub(super) frame: Rc<Frame>,
    pub(super) seq: u64,
    pub(super) packets: u32,
}

pub(super) struct Stage {
    router: Router,
    origin: Instant,
    places: Vec<Place>,
    streams: u64,
    rng: StdRng,
    silence: Vec<u8>,
}

impl Stage {
    pub(super) fn new(spec: &MediaSpec, rng: StdRng) -> Self {
        let audio = (0..spec.speakers).map(|_| Layer::Audio);
        let video = (0..spec.videos).map(|at| if at == 0 { Layer::High } else { Layer::Low });
        let place = |layer| Place {
            layer,
            member: None,
            track: None,
            lines: Vec::new(),
            stream: 0,
            sender: None,
            next_seq: 0,
            keyframe: false,
        };
        Self {
            router: Router::new(RouterOptions::default()),
            origin: Instant::now(),
            places: audio.chain(video).map(place).collect(),
            streams: 0,
            rng,
            silence: vec![0; 64_000],
        }
    }

    /// How many places there are.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    pub(super) fn period(&self, place: usize) -> Duration {
        self.places.get(place).map_or(Duration::from_secs(1), |place| place.layer.period())
    }

    /// Lets somebody receive, and be seen.
    pub(super) fn admit(&mut self, member: usize, now: Now) {
        self.router.add_peer(peer(member));
        self.serve(member, now);
    }

    /// Cuts somebody off, at once.
    pub(super) fn cut_off(&mut self, member: usize) {
        self.router.remove_peer(peer(member));
        for place in self.places.iter_mut().filter(|place| place.member == Some(member)) {
            place.member = None;
            place.track = None;
            place.sender = None;
        }
    }

    /// The member's senders belong to keys that are gone.
    pub(super) fn forget_senders(&mut self, member: usize) {
        for place in self.places.iter_mut().filter(|place| place.member == Some(member)) {
            place.sender = None;
        }
    }

    /// Whether somebody may be put on this place.
    pub(super) fn suits(&self, place: usize, member: usize) -> bool {
        let audio = |at: &Place| at.layer == Layer::Audio;
        let Some(wanted) = self.places.get(place).map(audio) else { return false };
        let held = self.places.iter().any(|at| at.member == Some(member) && audio(at) == wanted);
        !held && self.router.peers().any(|known| known == peer(member))
    }

    /// Gives a place to somebody; its track is there for all who receive.
    pub(super) fn take(&mut self, place: usize, member: Option<usize>, now: Now) {
        let Some(entry) = self.places.get_mut(place) else { return };
        if let Some(track) = entry.track.take() {
            self.router.unpublish(track);
        }
        self.streams += 1;
        entry.stream = self.streams;
        entry.member = member;
        entry.sender = None;
        entry.next_seq = 0;
        entry.keyframe = true;
        entry.track =
            member.and_then(|member| self.router.publish(peer(member), entry.layer.kind()).ok());
        let former = std::mem::take(&mut entry.lines);
        let track = entry.track;
        for line in former {
            self.router.forget_line(line);
        }
        let Some(track) = track else { return };
        let others: Vec<_> =
            self.router.peers().filter(|known| Some(*known) != member.map(peer)).collect();
        for subscriber in others {
            self.open(subscriber, track, now);
        }
    }

    /// Opens a receiver's lines as an offer and its answer would.
    fn serve(&mut self, member: usize, now: Now) {
        for track in self.router.plan(peer(member)).open {
            self.open(peer(member), track, now);
        }
    }

    fn open(&mut self, subscriber: PeerId, track: RouterTrack, now: Now) {
        let now = self.instant(now);
        let Some(line) = self.router.open_line(subscriber, track) else { return };
        self.router.line_live(line, now);
        if let Some(place) = self.places.iter_mut().find(|place| place.track == Some(track)) {
            place.lines.push(line);
        }
    }

    /// Who is on a place.
    pub(super) fn member(&self, place: usize) -> Option<usize> {
        self.places.get(place)?.member
    }

    /// Sends a frame, if the keys allow it.
    pub(super) fn send(
        &mut self,
        place: usize,
        keys: &mut CallKeys,
        measured: bool,
        now: Now,
    ) -> Option<Outgoing> {
        let wanted = self.router.poll_keyframe(self.instant(now));
        for at in self.places.iter_mut().filter(|at| wanted.is_some() && at.track == wanted) {
            at.keyframe = true;
        }
        let entry = self.places.get_mut(place)?;
        if entry.sender.is_none() {
            let track = TrackId(u32::try_from(entry.stream).unwrap_or(u32::MAX));
            entry.sender = keys.sender(track).ok();
        }
        let sender = entry.sender.as_mut()?;
        let keyframe = sender.keyframe_due() || entry.keyframe;
        let mean = entry.layer.bytes(keyframe);
        let bytes = if entry.layer == Layer::Audio {
            mean
        } else {
            mean * self.rng.random_range(70..=130) / 100
        };
        let mut ciphertext = Vec::new();
        sender.protect_into(self.silence.get(..bytes)?, &[], &mut ciphertext).ok()?;
        if keyframe {
            sender.keyframe_sent();
            entry.keyframe = false;
        }
        let epoch = sender.epoch()?;
        let seq = entry.next_seq;
        entry.next_seq += 1;
        let packets = u32::try_from(ciphertext.len().div_ceil(PACKET)).unwrap_or(u32::MAX);
        let frame = Rc::new(Frame { stream: entry.stream, epoch, measured, ciphertext });
        Some(Outgoing { frame, seq, packets })
    }

    /// Routes a frame that has reached the server; each frame counts as one packet for the router.
    pub(super) fn arrive(&mut self, place: usize, outgoing: &Outgoing, out: &mut Vec<Departure>) {
        let Some(entry) = self.places.get(place) else { return };
        if entry.stream != outgoing.frame.stream {
            return;
        }
        let Some(track) = entry.track else { return };
        let arrival = Arrival {
            source: u32::try_from(entry.stream).unwrap_or(u32::MAX),
            seq: outgoing.seq,
            timestamp: u32::try_from(outgoing.seq * 3_600 % (1 << 32)).unwrap_or_default(),
        };
        if self.router.arrive(track, arrival, out) != Verdict::Forwarded {
            out.clear();
        }
    }

    /// The router takes the machine's clock, of which it uses differences only.
    fn instant(&self, now: Now) -> Instant {
        self.origin + Duration::from_micros(now.as_micros())
    }
}

fn peer(member: usize) -> PeerId {
    PeerId(member as u64)
}
