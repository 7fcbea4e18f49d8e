//! All rooms and peers of a server, without sockets and threads.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::crypto::CryptoProvider;
use str0m::ice::StunMessage;
use str0m::media::{KeyframeRequestKind, MediaKind as RtcKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output};
use tokio::sync::mpsc::{Sender, UnboundedSender};

use super::peer::{MAX_SOURCES, Peer, Transport};
use super::{MediaCommand, MediaNotice, RoomId, extensions};
use crate::metrics::Metrics;
use crate::protocol::{ForwardedTrack, MediaEvent, MediaKind, Refusal, RefusalCode};
use crate::router::{Arrival, Departure, PeerId, Router, RouterOptions, TrackId, Verdict};

/// How the engine behaves.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The addresses at which clients reach the server's socket.
    pub candidates: Vec<SocketAddr>,
    /// How rooms behave.
    pub router: RouterOptions,
    /// How many datagrams a second are taken from a peer's channel; none: there are no channels.
    pub datagrams_per_second: Option<u32>,
}

/// A datagram to be sent.
#[derive(Debug)]
pub struct Datagram {
    /// To whom.
    pub destination: SocketAddr,
    /// The bytes.
    pub contents: Vec<u8>,
}

#[derive(Debug)]
struct Room {
    router: Router,
    notices: UnboundedSender<MediaNotice>,
    tracks: HashMap<TrackId, RoomTrack>,
    /// Where packets for other servers go, if there are any.
    link: Option<Sender<Vec<u8>>>,
    /// What other servers publish, by their number.
    linked: HashMap<u64, Linked>,
}

#[derive(Debug)]
struct RoomTrack {
    publisher: PeerId,
    /// The SSRC of its last packet.
    source: Option<Ssrc>,
    description: ForwardedTrack,
    /// The other server that it comes from, if it does.
    origin: Option<Origin>,
}

/// The SFU. See the module's documentation.
///
/// After every call that may have changed something ([`Engine::command`], [`Engine::datagram`],
/// [`Engine::timeout`]), [`Engine::settle`] has to run before anything else: str0m wants to be drained after
/// every change.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    crypto: Arc<CryptoProvider>,
    metrics: Metrics,
    rooms: HashMap<RoomId, Room>,
    peers: HashMap<PeerId, Peer>,
    by_source: HashMap<SocketAddr, PeerId>,
    by_ufrag: HashMap<String, PeerId>,
    /// Peers whose str0m has to be polled.
    dirty: BTreeSet<PeerId>,
    /// Peers whose forwarded tracks may have changed.
    replan: BTreeSet<PeerId>,
    /// Rooms in which a keyframe is wanted.
    wanting_keyframes: BTreeSet<RoomId>,
    outgoing: VecDeque<Datagram>,
    departures: Vec<Departure>,
    last_linked: u64,
}

impl Engine {
    /// An engine without rooms.
    pub fn new(options: EngineOptions, metrics: Metrics) -> Self {
        Self {
            options,
            crypto: Arc::new(str0m::crypto::from_feature_flags()),
            metrics,
            rooms: HashMap::new(),
            peers: HashMap::new(),
            by_source: HashMap::new(),
            by_ufrag: HashMap::new(),
            dirty: BTreeSet::new(),
            replan: BTreeSet::new(),
            wanting_keyframes: BTreeSet::new(),
            outgoing: VecDeque::new(),
            departures: Vec::new(),
            last_linked: 0,
        }
    }

    /// Carries out a command.
    pub fn command(&mut self, command: MediaCommand, now: Instant) {
        match command {
            MediaCommand::OpenRoom { room, notices } => {
                let router = Router::new(self.options.router);
                let (tracks, linked) = (HashMap::new(), HashMap::new());
                self.rooms.insert(room, Room { router, notices, tracks, link: None, linked });
            }
            MediaCommand::CloseRoom { room } => {
                let peers = self.peers.iter().filter(|(_, peer)| peer.room == room);
                for peer in peers.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.remove_peer(peer);
                }
                self.rooms.remove(&room);
                self.wanting_keyframes.remove(&room);
            }
            MediaCommand::AddPeer { peer, room, identity } => {
                if self.rooms.contains_key(&room) {
                    self.drop_linked(room, &identity);
                    self.peers.insert(peer, Peer { room, identity, transport: None });
                }
            }
            MediaCommand::RemovePeer { peer } => self.remove_peer(peer),
            MediaCommand::Offer { peer, re, sdp, tracks, fresh } => {
                if fresh {
                    self.drop_transport(peer);
                    self.open_transport(peer, now);
                }
                let result = self.accept_offer(peer, &sdp, tracks);
                if result.is_err() && fresh {
                    self.drop_transport(peer);
                }
                self.reply(peer, re, result.map(Some));
            }
            MediaCommand::Answer { peer, re, offer, sdp } => {
                let result = self.accept_answer(peer, offer, &sdp, now);
                self.reply(peer, re, result.map(|()| None));
            }
            MediaCommand::Candidate { peer, re, candidate } => {
                let result = self.add_candidate(peer, &candidate);
                self.reply(peer, re, result.map(|()| None));
            }
            MediaCommand::Datagram { peer, bytes } => self.send_datagram(peer, &bytes),
            MediaCommand::Renegotiate { peer } => {
                if let Some(transport) = self.transport(peer)
                    && let Some(event) = transport.negotiation.repeat()
                {
                    self.tell(peer, event);
                }
                self.replan.insert(peer);
            }
            MediaCommand::Link { room, packets } => self.set_link(room, packets),
            MediaCommand::LinkTracks { room, node, tracks } => {
                self.link_tracks(room, node, tracks);
            }
            MediaCommand::LinkPacket { room, node, bytes } => {
                self.link_packet(room, node, &bytes, now);
            }
            MediaCommand::LinkKeyframe { room, track } => self.link_keyframe(room, track, now),
            MediaCommand::Shutdown => {
                for peer in self.peers.keys().copied().collect::<Vec<_>>() {
                    self.remove_peer(peer);
                }
            }
        }
    }

    /// Takes a datagram from the socket.
    pub fn datagram(&mut self, source: SocketAddr, bytes: &[u8], now: Instant) {
        let dropped = |reason| self.metrics.datagrams_dropped.with_label_values(&[reason]).inc();
        // RFC 7983: a first byte of 0 to 3 is STUN.
        let is_stun = bytes.first().is_some_and(|first| *first < 4);
        let user = is_stun
            .then(|| StunMessage::parse(bytes).ok())
            .flatten()
            .and_then(|message| message.split_username().map(|(ours, _)| ours.to_owned()));
        let peer = match &user {
            Some(user) => self.by_ufrag.get(user),
            None => self.by_source.get(&source),
        };
        let Some(peer) = peer.copied() else { return dropped("unknown_source") };
        let destination = self
            .options
            .candidates
            .iter()
            .find(|address| address.is_ipv4() == source.is_ipv4())
            .copied();
        let Some(destination) = destination else { return dropped("no_address") };
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, bytes) else {
            return dropped("malformed");
        };
        let input = Input::Receive(now, receive);
        let Some(transport) = self.peers.get_mut(&peer).and_then(|peer| peer.transport.as_mut())
        else {
            return dropped("unknown_source");
        };
        if is_stun && !transport.rtc.accepts(&input) {
            return dropped("unauthenticated");
        }
        if is_stun && !transport.sources.contains(&source) {
            if transport.sources.len() >= MAX_SOURCES {
                self.by_source.remove(&transport.sources.remove(0));
            }
            transport.sources.push(source);
            self.by_source.insert(source, peer);
        }
        let result = transport.guarded(|rtc| rtc.handle_input(input));
        if self.survives(peer, result) {
            self.dirty.insert(peer);
        }
    }

    /// Lets time pass for the peers whose deadline has come.
    pub fn timeout(&mut self, now: Instant) {
        for (id, peer) in &self.peers {
            if peer.transport.as_ref().is_some_and(|transport| transport.deadline <= now) {
                self.dirty.insert(*id);
            }
        }
    }

    /// Works off everything that inputs have set in motion.
    pub fn settle(&mut self, now: Instant) {
        loop {
            if let Some(peer) = self.dirty.pop_first() {
                self.drive(peer, now);
            } else if !self.wanting_keyframes.is_empty() && self.ask_for_keyframes(now) {
            } else if let Some(peer) = self.replan.pop_first() {
                self.negotiate(peer);
            } else {
                return;
            }
        }
    }

    /// The next datagram to be sent.
    pub fn poll_outgoing(&mut self) -> Option<Datagram> {
        self.outgoing.pop_front()
    }

    /// When [`Engine::timeout`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let transports = self.peers.values().filter_map(|peer| peer.transport.as_ref());
        let rooms = self.wanting_keyframes.iter().filter_map(|room| self.rooms.get(room));
        transports
            .map(|transport| transport.deadline)
            .chain(rooms.filter_map(|room| room.router.next_deadline()))
            .min()
    }

    fn transport(&mut self, peer: PeerId) -> Option<&mut Transport> {
        self.peers.get_mut(&peer)?.transport.as_mut()
    }

    fn room_of(&mut self, peer: PeerId) -> Option<&mut Room> {
        self.rooms.get_mut(&self.peers.get(&peer)?.room)
    }

    fn tell(&mut self, peer: PeerId, event: MediaEvent) {
        self.notice(peer, MediaNotice::Event { peer, event });
    }

    fn reply(
        &mut self,
        peer: PeerId,
        re: Option<u64>,
        result: Result<Option<MediaEvent>, Refusal>,
    ) {
        self.notice(peer, MediaNotice::Reply { peer, re, result });
    }

    fn notice(&mut self, peer: PeerId, notice: MediaNotice) {
        if let Some(room) = self.room_of(peer) {
            // A room that is gone needs no notice.
            let _ = room.notices.send(notice);
        }
    }
}

mod channel;
mod connection;
mod forwarding;
mod links;

use links::{Linked, Origin};
