//! The webrtc-rs side of a client: one peer connection to the SFU that carries opaque RTP payloads.
//!
//! It knows nothing of keys. The client makes the first offer, with the tracks it sends; afterwards
//! the SFU offers whenever what there is to receive changes.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::Slot;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use sfu_sim::protocol::{MediaKind, PublishedTrack, TrackCodec};
use tokio::sync::mpsc;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
    register_default_interceptors,
};
use webrtc::rtp_transceiver::RtpTransceiver;

use super::channel::Channel;
use super::codecs;
use super::keyframe_requests::KeyframeRequests;
use super::packets::Packetization;
use super::tracks::{LocalTrack, RemoteTrack};

/// How long gathering the local candidates may take. All of them are on this machine.
const GATHERING: Duration = Duration::from_secs(3);

/// A track to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSpec {
    /// VP8 or Opus.
    pub kind: MediaKind,
    /// What it is, for instance `camera`.
    pub label: String,
}

/// What happens on a peer connection.
#[derive(Debug)]
pub enum PeerEvent {
    /// Media flows.
    Connected,
    /// ICE or DTLS failed; a fresh peer connection is needed.
    Failed,
    /// Packets of a track come in for the first time.
    Track(RemoteTrack),
    /// Somebody who watches local track `index` (in the order of the specs) needs a keyframe.
    KeyframeRequested {
        /// The track's place in the list of specs.
        index: usize,
    },
    /// The channel for datagrams is open, or no longer.
    Channel {
        /// Whether it is open.
        open: bool,
    },
    /// A datagram came through the channel.
    Datagram(Vec<u8>),
}

/// Why the peer connection cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// webrtc-rs refused.
    #[error("WebRTC: {0}")]
    WebRtc(#[from] webrtc::error::Error),
    /// No candidates within the time allowed.
    #[error("no network address could be found within {} seconds", GATHERING.as_secs())]
    Gathering,
    /// The offer lacks an m-line for a track.
    #[error("the offer has no line for track {label}")]
    NoMid {
        /// The track's label.
        label: String,
    },
    /// The operating system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// The client's first offer.
#[derive(Clone, Debug)]
pub struct LocalOffer {
    /// The offer with all candidates.
    pub sdp: String,
    /// Which m-line carries which track.
    pub tracks: Vec<PublishedTrack>,
}

/// A peer connection to the SFU.
pub struct Peer {
    connection: Arc<dyn PeerConnection>,
    published: Vec<Published>,
    gathered: tokio::sync::watch::Receiver<bool>,
}

struct Published {
    spec: TrackSpec,
    transceiver: Arc<dyn RtpTransceiver>,
}

/// A peer connection and what is to be sent through it.
pub struct OpenedPeer {
    /// The connection.
    pub peer: Peer,
    /// The local tracks in the order of the specs. They take packets once the offer is answered.
    pub tracks: Vec<LocalTrack>,
}

impl Peer {
    /// Opens a peer connection on this local address (a concrete one: a wildcard would leave out
    /// loopback) that sends these tracks.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if webrtc-rs cannot open it.
    pub async fn open(
        bind: SocketAddr,
        specs: &[TrackSpec],
        events: mpsc::Sender<PeerEvent>,
    ) -> Result<OpenedPeer, PeerError> {
        let (connection, gathered) = Self::connection(bind, &events).await?;
        let mut published = Vec::with_capacity(specs.len());
        let mut tracks = Vec::with_capacity(specs.len());
        for (index, spec) in specs.iter().enumerate() {
            let opened = publish(&connection, spec, index, &events).await?;
            published.push(Published { spec: spec.clone(), transceiver: opened.transceiver });
            tracks.push(opened.track);
        }
        if specs.is_empty() {
            // An offer needs an m-line; a data channel gives one.
            connection.create_data_channel("presence", None).await?;
        }
        Ok(OpenedPeer { peer: Self { connection, published, gathered }, tracks })
    }

    /// Adds the data channel for urgent messages, before the offer.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if webrtc-rs refuses.
    pub(super) async fn open_channel(
        &self,
        events: mpsc::Sender<PeerEvent>,
    ) -> Result<Channel, PeerError> {
        Channel::open(&self.connection, events).await
    }

    /// Opens a peer connection that only answers, for an SFU that sends over a connection of its own.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if webrtc-rs cannot open it.
    pub async fn answering(
        bind: SocketAddr,
        events: &mpsc::Sender<PeerEvent>,
    ) -> Result<Self, PeerError> {
        let (connection, gathered) = Self::connection(bind, events).await?;
        Ok(Self { connection, published: Vec::new(), gathered })
    }

    async fn connection(
        bind: SocketAddr,
        events: &mpsc::Sender<PeerEvent>,
    ) -> Result<(Arc<dyn PeerConnection>, tokio::sync::watch::Receiver<bool>), PeerError> {
        let (gathered_sender, gathered) = tokio::sync::watch::channel(false);
        let handler = Arc::new(Handler {
            events: events.clone(),
            gathered: gathered_sender,
            connection: OnceLock::new(),
        });
        let mut engine = codecs::media_engine()?;
        let registry = register_default_interceptors(Registry::new(), &mut engine)?
            .with(Slot::from(14_000), KeyframeRequests::default());
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(bind.ip().is_loopback())
            .with_ice_connection_attempts(Some(Duration::from_millis(50)), Some(60))
            .with_host_acceptance_min_wait(Some(Duration::ZERO))
            .build();
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_media_engine(engine)
                .with_setting_engine(settings)
                .with_interceptor_registry(registry)
                .with_handler(Arc::clone(&handler) as Arc<dyn PeerConnectionEventHandler>)
                .with_udp_addrs(vec![bind])
                .build()
                .await?,
        );
        // Weak, because the connection owns the handler.
        let _ = handler.connection.set(Arc::downgrade(&connection));
        Ok((connection, gathered))
    }

    /// Makes the offer, with all candidates; `packetization` says how the tracks will be sent.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if webrtc-rs refuses or finds no network address in time.
    pub async fn offer(&mut self, packetization: Packetization) -> Result<LocalOffer, PeerError> {
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        tokio::time::timeout(GATHERING, self.gathered.wait_for(|done| *done))
            .await
            .map_err(|_| PeerError::Gathering)?
            .map_err(|_| PeerError::Gathering)?;
        let sdp =
            self.connection.local_description().await.ok_or(PeerError::Gathering)?.sdp.clone();
        let mut tracks = Vec::with_capacity(self.published.len());
        for Published { spec, transceiver } in &self.published {
            let mid = transceiver
                .mid()
                .await?
                .ok_or_else(|| PeerError::NoMid { label: spec.label.clone() })?;
            tracks.push(PublishedTrack {
                mid,
                label: spec.label.clone(),
                sframe: packetization == Packetization::SFrame,
                codec: Some(TrackCodec::of(spec.kind)),
            });
        }
        Ok(LocalOffer { sdp, tracks })
    }

    /// Takes the SFU's answer.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if webrtc-rs refuses it.
    pub async fn accept_answer(&self, sdp: String) -> Result<(), PeerError> {
        self.connection.set_remote_description(RTCSessionDescription::answer(sdp)?).await?;
        Ok(())
    }

    /// Answers an offer of the SFU's.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if webrtc-rs refuses it.
    pub async fn answer(&self, sdp: String) -> Result<String, PeerError> {
        self.connection.set_remote_description(RTCSessionDescription::offer(sdp)?).await?;
        let answer = self.connection.create_answer(None).await?;
        let sdp = answer.sdp.clone();
        self.connection.set_local_description(answer).await?;
        // The server learns addresses from checks; an SFU that does not needs the candidates in the answer.
        if self.published.is_empty() {
            let mut gathered = self.gathered.clone();
            let _ = tokio::time::timeout(GATHERING, gathered.wait_for(|done| *done)).await;
        }
        Ok(self.connection.local_description().await.map_or(sdp, |local| local.sdp))
    }

    /// Ends the connection in order.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the peer connection did not close in order");
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("published", &self.published.len()).finish_non_exhaustive()
    }
}

struct Opened {
    transceiver: Arc<dyn RtpTransceiver>,
    track: LocalTrack,
}

async fn publish(
    connection: &Arc<dyn PeerConnection>,
    spec: &TrackSpec,
    index: usize,
    events: &mpsc::Sender<PeerEvent>,
) -> Result<Opened, PeerError> {
    let codec = codecs::sent(spec.kind);
    let kind = codecs::kind(spec.kind);
    let ssrc = random_u32()?;
    let rtx = match spec.kind {
        MediaKind::Video => Some(RTCRtpRtxParameters { ssrc: random_u32()? }),
        MediaKind::Audio => None,
    };
    let encodings = vec![RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            rtx,
            ..RTCRtpCodingParameters::default()
        },
        codec: codec.rtp_codec.clone(),
        ..RTCRtpEncodingParameters::default()
    }];
    let rtp = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "framelock".to_owned(),
        format!("{}-{index}", spec.label),
        spec.label.clone(),
        kind,
        encodings.clone(),
    )));
    let init = RTCRtpTransceiverInit {
        direction: RTCRtpTransceiverDirection::Sendonly,
        streams: Vec::new(),
        send_encodings: encodings,
    };
    let transceiver = connection
        .add_transceiver_from_track(Arc::clone(&rtp) as Arc<dyn TrackLocal>, Some(init))
        .await?;
    // Offering only what is sent would settle the codecs of the connection: nothing else could be received on it.
    transceiver.set_codec_preferences(Vec::new()).await?;

    let feedback = Arc::clone(&rtp);
    let events = events.clone();
    tokio::spawn(async move {
        while let Some(TrackLocalEvent::OnRtcpPacket(_)) = feedback.poll().await {
            if events.send(PeerEvent::KeyframeRequested { index }).await.is_err() {
                break;
            }
        }
    });
    let track = LocalTrack::new(rtp, spec.kind, codec.payload_type, ssrc, random_u32()?);
    Ok(Opened { transceiver, track })
}

struct Handler {
    events: mpsc::Sender<PeerEvent>,
    gathered: tokio::sync::watch::Sender<bool>,
    connection: OnceLock<Weak<dyn PeerConnection>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "peer connection");
        let event = match state {
            RTCPeerConnectionState::Connected => PeerEvent::Connected,
            RTCPeerConnectionState::Failed => PeerEvent::Failed,
            _ => return,
        };
        self.tell(event);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let Some(connection) = self.connection.get().and_then(Weak::upgrade) else {
            return;
        };
        let events = self.events.clone();
        // Callbacks run on the connection's own task, which the questions below wait for.
        tokio::spawn(async move {
            match remote_track(&connection, track).await {
                Ok(Some(track)) => {
                    let _ = events.send(PeerEvent::Track(track)).await;
                }
                Ok(None) => tracing::warn!("a track came in that belongs to no m-line"),
                Err(error) => tracing::warn!(%error, "a track came in that could not be placed"),
            }
        });
    }
}

impl Handler {
    fn tell(&self, event: PeerEvent) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(event).await;
        });
    }
}

/// Finds the m-line of a track: the SSRC says nothing about whose it is, the mid does.
async fn remote_track(
    connection: &Arc<dyn PeerConnection>,
    track: Arc<dyn TrackRemote>,
) -> Result<Option<RemoteTrack>, PeerError> {
    for transceiver in connection.get_transceivers().await {
        let Some(receiver) = transceiver.receiver().await? else {
            continue;
        };
        if Arc::ptr_eq(receiver.track(), &track)
            && let Some(mid) = transceiver.mid().await?
        {
            let kind = match track.kind().await {
                RtpCodecKind::Audio => MediaKind::Audio,
                _ => MediaKind::Video,
            };
            return Ok(Some(RemoteTrack::new(track, mid, kind)));
        }
    }
    Ok(None)
}

fn random_u32() -> Result<u32, PeerError> {
    getrandom::u32().map_err(|error| PeerError::Random(error.to_string()))
}
