//! A media client made of str0m.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sfu_sim::RunningServer;
use sfu_sim::protocol::datagrams::{CHANNEL_LABEL, CHANNEL_PROTOCOL};
use sfu_sim::protocol::{
    ForwardedTrack, MediaEvent, MediaRequest, PublishedTrack, ServerBody, SessionEvent,
};
use sfu_sim::token::Claims;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::format::Codec;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;

use super::Signal;

/// A packet that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub participant: String,
    pub track: String,
    pub payload: Vec<u8>,
    pub marker: bool,
    pub audio_level: Option<i8>,
}

type Filter = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// A participant with signalling and media.
pub struct Client {
    pub signal: Signal,
    pub rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    pub connected: bool,
    pub published: Vec<Mid>,
    pub tracks: HashMap<Mid, ForwardedTrack>,
    pub received: Vec<Received>,
    pub keyframe_requests: usize,
    pub events: Vec<SessionEvent>,
    pub media_events: usize,
    /// The channel for datagrams, once it is open, and what came through it.
    pub channel: Option<ChannelId>,
    pub datagrams: Vec<Vec<u8>>,
    /// Messages that the server has confirmed.
    pub confirmed: Vec<u32>,
    /// Which incoming datagrams are lost.
    pub loses: Option<Filter>,
    next_seq: HashMap<Mid, u64>,
    deadline: Instant,
}

pub fn rtc(now: Instant) -> Rtc {
    RtcConfig::new()
        .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
        .set_rtp_mode(true)
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp8(true)
        .build(now)
}

impl Client {
    /// Joins and publishes tracks of the kinds given.
    pub async fn join(server: &RunningServer, claims: &Claims, kinds: &[MediaKind]) -> Self {
        let (signal, _) = Signal::join(server, claims).await;
        Self::publish(signal, kinds).await
    }

    pub async fn publish(signal: Signal, kinds: &[MediaKind]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let now = Instant::now();
        let mut client = Self {
            signal,
            rtc: rtc(now),
            socket,
            address,
            connected: false,
            published: Vec::new(),
            tracks: HashMap::new(),
            received: Vec::new(),
            keyframe_requests: 0,
            events: Vec::new(),
            media_events: 0,
            channel: None,
            datagrams: Vec::new(),
            confirmed: Vec::new(),
            loses: None,
            next_seq: HashMap::new(),
            deadline: now,
        };
        client.rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut changes = client.rtc.sdp_api();
        for kind in kinds {
            let mid = changes.add_media(*kind, Direction::SendOnly, None, None, None);
            client.published.push(mid);
        }
        changes.add_channel_with_config(ChannelConfig {
            label: CHANNEL_LABEL.to_owned(),
            protocol: CHANNEL_PROTOCOL.to_owned(),
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            negotiated: None,
        });
        let (offer, pending) = changes.apply().unwrap();
        let tracks = client
            .published
            .iter()
            .zip(kinds)
            .map(|(mid, kind)| PublishedTrack {
                mid: mid.to_string(),
                label: format!("{kind:?}").to_lowercase(),
                sframe: true,
                codec: None,
            })
            .collect();
        let sdp = offer.to_sdp_string();
        let request = MediaRequest::Offer { sdp, tracks, fresh: true };
        let ServerBody::Media(MediaEvent::Answer { sdp }) = client.signal.ask(request).await else {
            panic!("expected an answer")
        };
        let answer = SdpAnswer::from_sdp_string(&sdp).unwrap();
        client.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        client
    }

    /// Takes whatever has come and does whatever is due.
    pub async fn step(&mut self) {
        self.drain();
        while let Some(message) = self.signal.try_next() {
            self.confirmed.extend(message.received);
            match message.body {
                ServerBody::Media(event) => self.on_media_event(event).await,
                ServerBody::Session(event) => self.events.push(event),
                ServerBody::Delivery(_) => {}
            }
        }
        let mut buffer = [0; 2048];
        while let Ok((len, source)) = self.socket.try_recv_from(&mut buffer) {
            let bytes = &buffer[..len];
            if self.loses.as_mut().is_some_and(|loses| loses(bytes)) {
                continue;
            }
            if let Ok(receive) = Receive::new(Protocol::Udp, source, self.address, bytes) {
                self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                self.drain();
            }
        }
        let now = Instant::now();
        if self.deadline <= now {
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.drain();
        }
    }

    async fn on_media_event(&mut self, event: MediaEvent) {
        self.media_events += 1;
        if let MediaEvent::Offer { offer, sdp, tracks } = event {
            let sdp = SdpOffer::from_sdp_string(&sdp).unwrap();
            let answer = self.rtc.sdp_api().accept_offer(sdp).unwrap();
            self.drain();
            self.tracks =
                tracks.into_iter().map(|track| (Mid::from(track.mid.as_str()), track)).collect();
            let sdp = answer.to_sdp_string();
            self.signal.request(MediaRequest::Answer { offer, sdp }).await;
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                Output::Transmit(transmit) => {
                    let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::ChannelOpen(id, _)) => self.channel = Some(id),
                Output::Event(Event::ChannelData(data)) => self.datagrams.push(data.data),
                Output::Event(Event::KeyframeRequest(_)) => self.keyframe_requests += 1,
                Output::Event(Event::RtpPacket(packet)) => {
                    if packet.payload.is_empty() {
                        continue;
                    }
                    let ssrc = packet.header.ssrc;
                    let mid = self.rtc.direct_api().stream_rx(&ssrc).unwrap().mid();
                    let Some(track) = self.tracks.get(&mid) else { continue };
                    self.received.push(Received {
                        participant: track.participant.to_string(),
                        track: track.track.clone(),
                        payload: packet.payload.to_vec(),
                        marker: packet.header.marker,
                        audio_level: packet.header.ext_vals.audio_level,
                    });
                }
                Output::Event(_) => {}
            }
        }
    }

    /// Sends one packet on the published track of that number.
    pub fn send(&mut self, track: usize, payload: &[u8]) {
        let mid = self.published[track];
        let kind = self.rtc.media(mid).unwrap().kind();
        let (codec, step) = match kind {
            MediaKind::Audio => (Codec::Opus, 960),
            MediaKind::Video => (Codec::Vp8, 3000),
        };
        let pt = self.rtc.codec_config().find(|it| it.spec().codec == codec).unwrap().pt();
        // High enough to roll over soon.
        let seq = self.next_seq.entry(mid).or_insert(65_000);
        *seq += 1;
        let seq = *seq;
        let now = Instant::now();
        let extensions = ExtensionValues {
            audio_level: kind.is_audio().then_some(-42),
            voice_activity: kind.is_audio().then_some(true),
            ..Default::default()
        };
        let write = RtpWrite::new(pt, seq.into(), seq as u32 * step, now, payload)
            .marker(true)
            .nackable(true)
            .ext_vals(extensions);
        self.rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(write);
        self.drain();
        if self.deadline <= now {
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.drain();
        }
    }

    /// Sends a datagram through the channel, unless too much waits there.
    pub fn send_datagram(&mut self, bytes: &[u8]) -> bool {
        let sent = self.rtc.channel(self.channel.unwrap()).unwrap().write(true, bytes).unwrap();
        self.drain();
        sent
    }

    /// Asks for a keyframe of the participant's video.
    pub fn want_keyframe(&mut self, participant: &str) {
        let track = self
            .tracks
            .values()
            .find(|it| {
                it.participant.as_str() == participant
                    && it.kind == sfu_sim::protocol::MediaKind::Video
            })
            .unwrap();
        let mid = Mid::from(track.mid.as_str());
        let mut direct = self.rtc.direct_api();
        direct.stream_rx_by_mid(mid, None).unwrap().request_keyframe(KeyframeRequestKind::Pli);
        self.drain();
    }

    pub fn payloads_of(&self, participant: &str, track: &str) -> Vec<Vec<u8>> {
        self.received
            .iter()
            .filter(|it| it.participant == participant && it.track == track)
            .map(|it| it.payload.clone())
            .collect()
    }

    pub fn participants(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.tracks.values().map(|track| track.participant.to_string()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Lets all clients run until `done`, and fails if that takes too long.
pub async fn run_until(
    clients: &mut [&mut Client],
    what: &str,
    mut done: impl FnMut(&mut [&mut Client]) -> bool,
) {
    let end = Instant::now() + super::PATIENCE;
    loop {
        for client in clients.iter_mut() {
            client.step().await;
        }
        if done(clients) {
            return;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets all clients run for a while.
pub async fn run_for(clients: &mut [&mut Client], time: Duration) {
    let end = Instant::now() + time;
    run_until(clients, "time passes", |_| Instant::now() >= end).await;
}
