//! One participant's media connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use str0m::channel::ChannelId;
use str0m::crypto::CryptoProvider;
use str0m::media::{Mid, Pt};
use str0m::rtp::Ssrc;
use str0m::{Candidate, Rtc, RtcConfig};

use super::negotiation::Negotiation;
use super::{RoomId, extensions};
use crate::protocol::{ForwardedTrack, Identity, MediaKind, PublishedTrack};
use crate::rate::RateLimit;
use crate::router::{LineId, TrackId};

/// Addresses from which one peer may send at a time; an ICE agent rarely has more.
pub(super) const MAX_SOURCES: usize = 8;

/// A peer of a room, with or without a media connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) room: RoomId,
    pub(super) identity: Identity,
    pub(super) transport: Option<Transport>,
}

/// A media connection: a str0m peer and what it carries.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) rtc: Rtc,
    pub(super) connected: bool,
    pub(super) deadline: Instant,
    /// The local ICE user name fragment, by which the first datagrams find this peer.
    pub(super) ufrag: String,
    pub(super) sources: Vec<SocketAddr>,
    /// What the client said about the tracks that it sends.
    pub(super) declared: Vec<PublishedTrack>,
    pub(super) published: HashMap<Mid, TrackId>,
    /// Which track an SSRC belongs to, learnt from packets.
    pub(super) ssrcs: HashMap<Ssrc, TrackId>,
    pub(super) lines: HashMap<LineId, OutLine>,
    pub(super) negotiation: Negotiation,
    pub(super) channel: Option<Channel>,
}

/// The data channel for urgent messages.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: ChannelId,
    /// What comes through it waits for the room, so that its rate has to be limited here.
    pub(super) rate: RateLimit,
}

/// An m-line on which a peer receives somebody's track.
#[derive(Debug)]
pub(super) struct OutLine {
    pub(super) mid: Mid,
    /// The payload type on this connection; known once the client has answered.
    pub(super) payload_type: Option<Pt>,
    pub(super) track: ForwardedTrack,
}

impl Transport {
    pub(super) fn new(
        crypto: &Arc<CryptoProvider>,
        candidates: &[SocketAddr],
        now: Instant,
    ) -> Self {
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(Arc::clone(crypto))
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_vp9(true)
            .set_extension_map(extensions::map())
            .build(now);
        for address in candidates {
            if let Ok(candidate) = Candidate::host(*address, "udp") {
                rtc.add_local_candidate(candidate);
            }
        }
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        Self {
            rtc,
            connected: false,
            deadline: now,
            ufrag,
            sources: Vec::new(),
            declared: Vec::new(),
            published: HashMap::new(),
            ssrcs: HashMap::new(),
            lines: HashMap::new(),
            negotiation: Negotiation::default(),
            channel: None,
        }
    }

    /// Runs str0m on input from the network. A panic inside it costs this peer, not the server.
    pub(super) fn guarded<T>(&mut self, run: impl FnOnce(&mut Rtc) -> T) -> Option<T> {
        let rtc = &mut self.rtc;
        catch_unwind(AssertUnwindSafe(|| run(rtc))).ok()
    }

    /// What the client said about one of its m-lines, or what can be said without it.
    pub(super) fn declaration(&self, mid: Mid, kind: MediaKind) -> PublishedTrack {
        let declared = self.declared.iter().find(|track| Mid::from(track.mid.as_str()) == mid);
        declared.cloned().unwrap_or_else(|| PublishedTrack {
            mid: mid.to_string(),
            label: match kind {
                MediaKind::Audio => "audio".to_owned(),
                MediaKind::Video => "video".to_owned(),
            },
            sframe: false,
            codec: None,
        })
    }

    pub(super) fn line_of(&self, mid: Mid) -> Option<LineId> {
        self.lines.iter().find(|(_, line)| line.mid == mid).map(|(id, _)| *id)
    }

    /// The track that a packet's SSRC belongs to.
    pub(super) fn track_of(&mut self, ssrc: Ssrc) -> Option<TrackId> {
        if let Some(track) = self.ssrcs.get(&ssrc) {
            return Some(*track);
        }
        let mid = self.rtc.direct_api().stream_rx(&ssrc)?.mid();
        let track = *self.published.get(&mid)?;
        self.ssrcs.insert(ssrc, track);
        Some(track)
    }
}
