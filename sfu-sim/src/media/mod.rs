//! The media side: str0m peers around the [`router`](crate::router), on one UDP socket.
//!
//! [`Engine`] is free of sockets and threads: datagrams, commands and the time go in, datagrams and
//! [`MediaNotice`]s come out. The worker around it owns the socket and a thread. Payloads are opaque: they
//! are copied from one SRTP session to the others as they are.

mod engine;
mod extensions;
mod link;
mod negotiation;
mod peer;
mod worker;

pub use engine::{Datagram, Engine, EngineOptions};
pub use link::LinkedTrack;
pub use worker::{MediaHandle, MediaWorker, WorkerError};

use bytes::Bytes;
use tokio::sync::mpsc::{Sender, UnboundedSender};

use crate::protocol::{Identity, MediaEvent, PublishedTrack, Refusal};
use crate::router::PeerId;

/// Names a room for the engine, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

/// What the signalling side asks of the engine.
#[derive(Debug)]
pub enum MediaCommand {
    /// Opens a room; what happens in it is told through `notices`.
    OpenRoom {
        /// The room.
        room: RoomId,
        /// Where its notices go.
        notices: UnboundedSender<MediaNotice>,
    },
    /// Closes a room and cuts off all its peers.
    CloseRoom {
        /// The room.
        room: RoomId,
    },
    /// Lets a peer into a room. It receives nothing before its first offer.
    AddPeer {
        /// The peer.
        peer: PeerId,
        /// Its room.
        room: RoomId,
        /// Who it is, for the others.
        identity: Identity,
    },
    /// Cuts a peer off in both directions, at once and for good.
    RemovePeer {
        /// The peer.
        peer: PeerId,
    },
    /// [`MediaRequest::Offer`](crate::protocol::MediaRequest::Offer).
    Offer {
        /// The peer.
        peer: PeerId,
        /// The request's number, given back in [`MediaNotice::Reply`].
        re: Option<u64>,
        /// The offer.
        sdp: String,
        /// The tracks that the client sends.
        tracks: Vec<PublishedTrack>,
        /// Whether it begins a new peer connection.
        fresh: bool,
    },
    /// [`MediaRequest::Answer`](crate::protocol::MediaRequest::Answer).
    Answer {
        /// The peer.
        peer: PeerId,
        /// The request's number.
        re: Option<u64>,
        /// The number of the offer that is answered.
        offer: u64,
        /// The answer.
        sdp: String,
    },
    /// [`MediaRequest::Candidate`](crate::protocol::MediaRequest::Candidate).
    Candidate {
        /// The peer.
        peer: PeerId,
        /// The request's number.
        re: Option<u64>,
        /// The candidate.
        candidate: String,
    },
    /// Sends a datagram through the peer's channel ([`datagrams`](crate::protocol::datagrams)), if it is open.
    Datagram {
        /// The peer.
        peer: PeerId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Makes the server's outstanding offer (if any) anew, for a client that may have missed it.
    Renegotiate {
        /// The peer.
        peer: PeerId,
    },
    /// Copies what the room's own peers publish to other servers of the call, or ceases to.
    /// [`MediaNotice::Published`] follows each change of what that is.
    Link {
        /// The room.
        room: RoomId,
        /// Where packets go, in a form of the servers' own; those that find no place are dropped.
        packets: Option<Sender<Vec<u8>>>,
    },
    /// Says all that another server publishes into a room.
    LinkTracks {
        /// The room.
        room: RoomId,
        /// The other server.
        node: u64,
        /// Its tracks; none if it is gone.
        tracks: Vec<LinkedTrack>,
    },
    /// A packet from another server.
    LinkPacket {
        /// The room.
        room: RoomId,
        /// The other server.
        node: u64,
        /// The packet.
        bytes: Bytes,
    },
    /// Another server wants a keyframe.
    LinkKeyframe {
        /// The room.
        room: RoomId,
        /// [`LinkedTrack::track`].
        track: u64,
    },
    /// Says goodbye to all peers and ends the worker.
    Shutdown,
}

/// What the engine tells a room.
#[derive(Debug)]
pub enum MediaNotice {
    /// A request was carried out or refused.
    Reply {
        /// Whose request.
        peer: PeerId,
        /// Its number.
        re: Option<u64>,
        /// The answer of an offer; none where [`SessionEvent::Done`](crate::protocol::SessionEvent::Done)
        /// is the reply.
        result: Result<Option<MediaEvent>, Refusal>,
    },
    /// Something to tell the client.
    Event {
        /// The client's peer.
        peer: PeerId,
        /// What to say.
        event: MediaEvent,
    },
    /// All tracks that the room's own peers publish, for the other servers.
    Published {
        /// They.
        tracks: Vec<LinkedTrack>,
    },
    /// A keyframe is wanted of a track that another server publishes.
    KeyframeWanted {
        /// The other server.
        node: u64,
        /// [`LinkedTrack::track`].
        track: u64,
    },
    /// ICE and DTLS are up.
    Connected {
        /// Whose.
        peer: PeerId,
    },
    /// The peer's channel for datagrams is open, or no longer.
    Channel {
        /// Whose.
        peer: PeerId,
        /// Whether it is open.
        open: bool,
    },
    /// A datagram came through the peer's channel.
    Datagram {
        /// Whose.
        peer: PeerId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The media connection has ended. [`MediaEvent::Disconnected`] was told if it failed.
    Disconnected {
        /// Whose.
        peer: PeerId,
    },
}
