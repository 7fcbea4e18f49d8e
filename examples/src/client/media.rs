//! The media side of a client: its peer connection and the tasks for each track.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sframe_bridge::TrackId;
use sfu_sim::protocol::{
    ClientMessage, ForwardedTrack, Identity, MediaEvent, MediaRequest, TrackCodec,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::channel::Channel;
use super::keys::MediaKeys;
use super::observer::Observer;
use super::packets::{MediaOptions, TrackFormat};
use super::peer::{Peer, PeerError, PeerEvent, TrackSpec};
use super::receive::{Receiving, Recording};
use super::send::Sending;
use super::tracks::RemoteTrack;
use crate::media::Clip;
use crate::media::recorder::{AudioRecorder, VideoRecorder};
use crate::media::source::FileSource;

/// What happens on the peer connection queues up to this many events.
const EVENTS: usize = 256;

/// A track to publish and the clip that it plays in a loop.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The track.
    pub track: TrackSpec,
    /// What it plays.
    pub clip: Arc<Clip>,
    /// With which frame it starts.
    pub first: usize,
}

/// The media side of a client.
pub(super) struct Media {
    keys: Arc<MediaKeys>,
    observer: Arc<dyn Observer>,
    bind: SocketAddr,
    publications: Vec<Publication>,
    record: Option<PathBuf>,
    options: MediaOptions,
    /// Odd, as the session takes the even numbers.
    next_request: u64,
    /// The offer that awaits its answer.
    offered: Option<u64>,
    connection: Option<Connection>,
    /// How many recordings of a name there are.
    recordings: HashMap<String, usize>,
    /// Receiving tasks complete their recordings when their track ends, so they outlive a connection.
    receiving: JoinSet<()>,
}

struct Connection {
    peer: Peer,
    /// The one on which the SFU sends, where it wants its own.
    receiver: Option<ReceivingPeer>,
    sender: mpsc::Sender<PeerEvent>,
    events: mpsc::Receiver<PeerEvent>,
    keyframes_wanted: Vec<Arc<AtomicBool>>,
    channel: Option<Channel>,
    /// Whether it is open.
    channel_open: bool,
    /// By mid, whose tracks the server sends.
    forwarded: HashMap<String, ForwardedTrack>,
    /// Tracks that came in before the server's list named them.
    unplaced: Vec<RemoteTrack>,
    /// Aborted when the connection goes.
    sending: JoinSet<()>,
}

impl Connection {
    /// Answers on the receiving connection. An offer of another ICE agent begins a new one.
    async fn answer_apart(&mut self, bind: SocketAddr, sdp: String) -> Result<String, PeerError> {
        let remote = ice_user(&sdp);
        let former = self.receiver.take_if(|receiver| receiver.remote != remote);
        let receiver = match &mut self.receiver {
            Some(receiver) => receiver,
            None => {
                let peer = Peer::answering(bind, &self.sender).await?;
                self.receiver.insert(ReceivingPeer { peer, remote })
            }
        };
        let answer = receiver.peer.answer(sdp).await;
        if let Some(former) = former {
            former.peer.close().await;
        }
        answer
    }
}

/// A peer connection that only receives.
struct ReceivingPeer {
    peer: Peer,
    /// The ICE user name of the other side: it stays as long as a connection is renegotiated.
    remote: String,
}

/// The first ICE user name of an SDP (RFC 8839, section 5.4).
fn ice_user(sdp: &str) -> String {
    let user = sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    user.unwrap_or_default().to_owned()
}

impl Media {
    pub(super) fn new(
        keys: Arc<MediaKeys>,
        observer: Arc<dyn Observer>,
        bind: SocketAddr,
        publications: Vec<Publication>,
        record: Option<PathBuf>,
        options: MediaOptions,
    ) -> Self {
        Self {
            keys,
            observer,
            bind,
            publications,
            record,
            options,
            next_request: 1,
            offered: None,
            connection: None,
            recordings: HashMap::new(),
            receiving: JoinSet::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// The channel for datagrams, if it is open.
    pub(super) fn channel(&self) -> Option<&Channel> {
        let connection = self.connection.as_ref().filter(|connection| connection.channel_open)?;
        connection.channel.as_ref()
    }

    /// Opens a fresh peer connection and returns the offer for the server.
    pub(super) async fn open(&mut self) -> Result<ClientMessage, PeerError> {
        self.close().await;
        let (sender, events) = mpsc::channel(EVENTS);
        let specs: Vec<_> = self.publications.iter().map(|p| p.track.clone()).collect();
        let opened = Peer::open(self.bind, &specs, sender.clone()).await?;
        let mut peer = opened.peer;
        let channel = match self.options.datagrams {
            true => Some(peer.open_channel(sender.clone()).await?),
            false => None,
        };
        let offer = peer.offer(self.options.packetization).await?;
        let mut keyframes_wanted = Vec::new();
        let mut sending = JoinSet::new();
        for ((index, track), publication) in (0..).zip(opened.tracks).zip(&self.publications) {
            let wanted = Arc::new(AtomicBool::new(false));
            keyframes_wanted.push(Arc::clone(&wanted));
            let task = Sending {
                keys: Arc::clone(&self.keys),
                observer: Arc::clone(&self.observer),
                format: TrackFormat::published(self.options.packetization, publication.track.kind),
                track,
                source: FileSource::new(Arc::clone(&publication.clip), publication.first),
                id: TrackId(index),
                keyframe_wanted: wanted,
            };
            sending.spawn(task.run());
        }
        self.connection = Some(Connection {
            peer,
            receiver: None,
            sender,
            events,
            keyframes_wanted,
            channel,
            channel_open: false,
            forwarded: HashMap::new(),
            unplaced: Vec::new(),
            sending,
        });
        let request = MediaRequest::Offer { sdp: offer.sdp, tracks: offer.tracks, fresh: true };
        let id = self.next_request;
        self.next_request += 2;
        self.offered = Some(id);
        Ok(ClientMessage::request(id, request))
    }

    /// Takes in what the server says about media. Returns what is to be said in turn.
    pub(super) async fn handle(
        &mut self,
        re: Option<u64>,
        event: MediaEvent,
    ) -> Result<Option<ClientMessage>, PeerError> {
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        match event {
            MediaEvent::Answer { sdp } => {
                if re.is_some() && re == self.offered {
                    self.offered = None;
                    connection.peer.accept_answer(sdp).await?;
                }
                Ok(None)
            }
            // When offers cross, the client's counts, and the server offers anew.
            MediaEvent::Offer { .. } if self.offered.is_some() => Ok(None),
            MediaEvent::Offer { offer, sdp, tracks } => {
                connection.forwarded =
                    tracks.into_iter().map(|track| (track.mid.clone(), track)).collect();
                let sdp = if self.options.separate_receiver {
                    connection.answer_apart(self.bind, sdp).await?
                } else {
                    connection.peer.answer(sdp).await?
                };
                for track in std::mem::take(&mut connection.unplaced) {
                    self.place(track);
                }
                let request = MediaRequest::Answer { offer, sdp };
                Ok(Some(ClientMessage::event(request)))
            }
            MediaEvent::Disconnected => Ok(Some(self.open().await?)),
        }
    }

    /// The server refused the request with this number. Returns whether it was the offer: then there
    /// is no connection.
    pub(super) async fn refused(&mut self, re: u64) -> bool {
        let offer = self.offered == Some(re);
        if offer {
            self.close().await;
        }
        offer
    }

    /// Waits for what happens on the peer connection; forever if there is none. May be cancelled.
    pub(super) async fn next_event(&mut self) -> PeerEvent {
        match &mut self.connection {
            Some(connection) => match connection.events.recv().await {
                Some(event) => event,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Takes in what happened on the peer connection. Returns what is to be said to the server.
    pub(super) async fn happened(
        &mut self,
        event: PeerEvent,
    ) -> Result<Option<ClientMessage>, PeerError> {
        match event {
            PeerEvent::Connected => Ok(None),
            PeerEvent::Channel { open } => {
                if let Some(connection) = &mut self.connection {
                    connection.channel_open = open;
                }
                Ok(None)
            }
            // Those of a connection to the server go to its path; without one nobody waits for them.
            PeerEvent::Datagram(_) => Ok(None),
            PeerEvent::Failed => {
                self.observer.trouble("the media connection failed, connecting anew");
                Ok(Some(self.open().await?))
            }
            PeerEvent::Track(track) => {
                self.place(track);
                Ok(None)
            }
            PeerEvent::KeyframeRequested { index } => {
                let wanted = self.connection.as_ref().and_then(|c| c.keyframes_wanted.get(index));
                if let Some(wanted) = wanted {
                    wanted.store(true, Ordering::Relaxed);
                }
                Ok(None)
            }
        }
    }

    /// Stops sending at once; what is on its way in is still received.
    pub(super) fn stop_sending(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.sending.abort_all();
        }
    }

    /// Closes the peer connection and waits a moment until recordings are complete.
    pub(super) async fn close(&mut self) {
        self.offered = None;
        if let Some(mut connection) = self.connection.take() {
            connection.sending.abort_all();
            connection.peer.close().await;
            if let Some(receiver) = connection.receiver.take() {
                receiver.peer.close().await;
            }
            let finishing = async { while self.receiving.join_next().await.is_some() {} };
            if tokio::time::timeout(std::time::Duration::from_secs(1), finishing).await.is_err() {
                self.receiving.abort_all();
            }
        }
    }

    /// Starts to receive a track: the server says whose it is.
    fn place(&mut self, track: RemoteTrack) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let Some(forwarded) = connection.forwarded.get(track.mid()) else {
            connection.unplaced.push(track);
            return;
        };
        let format = TrackFormat::of(forwarded);
        let participant = forwarded.participant.clone();
        let recording = self.recording(&participant, format.codec);
        let task = Receiving {
            keys: Arc::clone(&self.keys),
            observer: Arc::clone(&self.observer),
            track,
            format,
            participant,
            recording,
        };
        self.receiving.spawn(task.run());
    }

    fn recording(&mut self, participant: &Identity, codec: TrackCodec) -> Recording {
        let Some(folder) = &self.record else {
            return Recording::Nowhere;
        };
        // Names come from the server: nothing of them may lead out of the folder.
        let name: String = participant
            .as_str()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(64)
            .collect();
        let extension = match codec {
            TrackCodec::Vp8 | TrackCodec::Vp9 => "ivf",
            TrackCodec::Opus => "ogg",
        };
        let count = self.recordings.entry(format!("{name}.{extension}")).or_default();
        *count += 1;
        let file = match *count {
            1 => format!("{name}.{extension}"),
            count => format!("{name}-{count}.{extension}"),
        };
        let path = folder.join(file);
        match codec {
            TrackCodec::Vp8 => Recording::Video(VideoRecorder::new(path)),
            TrackCodec::Vp9 => Recording::Video(VideoRecorder::vp9(path)),
            TrackCodec::Opus => Recording::Audio(AudioRecorder::new(path)),
        }
    }
}
