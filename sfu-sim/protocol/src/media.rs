use serde::{Deserialize, Serialize};

use super::Identity;

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// Opus.
    Audio,
    /// VP8 or VP9.
    Video,
}

/// Which codec's frames a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackCodec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628, profile 0.
    Vp9,
}

impl TrackCodec {
    /// What a track carries whose publisher does not say.
    pub fn of(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::Opus,
            MediaKind::Video => Self::Vp8,
        }
    }
}

/// What a client says about an m-line on which it sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedTrack {
    /// The m-line's `a=mid` in the client's offer.
    pub mid: String,
    /// What it is, for instance `camera`, `microphone`, `screen`; shown to the others as it is.
    pub label: String,
    /// Whether the packets are in the SFrame RTP payload format (draft-ietf-avtcore-rtp-sframe). Passed on
    /// to the receivers, as an `a=sframe` line says nothing to an SFU. If not, the codec's own packetizer
    /// has cut up the encrypted frames, as browsers do; unencrypted frames are shown by nobody.
    #[serde(default)]
    pub sframe: bool,
    /// The codec; Opus or VP8 if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<TrackCodec>,
}

/// Which participant's track an m-line of the server's carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedTrack {
    /// The m-line's `a=mid` in the server's offer.
    pub mid: String,
    /// Whose track it is.
    pub participant: Identity,
    /// The publisher's own mid of the track: with the participant it names the track for the whole call.
    pub track: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// [`PublishedTrack::label`].
    pub label: String,
    /// [`PublishedTrack::sframe`].
    pub sframe: bool,
    /// [`PublishedTrack::codec`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<TrackCodec>,
}

impl ForwardedTrack {
    /// The codec, said or implied.
    pub fn codec(&self) -> TrackCodec {
        self.codec.unwrap_or_else(|| TrackCodec::of(self.kind))
    }
}

/// What a client asks about media.
///
/// The client makes the first offer, with the m-lines that it sends on (a data channel if it sends nothing).
/// Afterwards the server offers whenever the tracks to be received change. When offers cross, the client's
/// counts: a client that has an offer outstanding ignores the server's offers, and the server offers anew
/// after its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MediaRequest {
    /// An SDP offer. Reply: [`MediaEvent::Answer`].
    Offer {
        /// The offer.
        sdp: String,
        /// The m-lines on which the client sends, all of them. Lines left out are called by their kind.
        #[serde(default)]
        tracks: Vec<PublishedTrack>,
        /// Whether this is a new peer connection, which replaces the one the server may still have.
        #[serde(default)]
        fresh: bool,
    },
    /// The answer to the server's offer.
    Answer {
        /// [`MediaEvent::Offer`]'s number.
        offer: u64,
        /// The answer.
        sdp: String,
    },
    /// An ICE candidate of the client's (trickle ICE). Not needed if the offer holds all of them, nor by
    /// clients that can reach the server's candidate.
    Candidate {
        /// The line of RFC 8839 section 5.1, with or without `a=` in front.
        candidate: String,
    },
}

/// What the server says about media.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MediaEvent {
    /// The answer to [`MediaRequest::Offer`]. Holds the server's candidates.
    Answer {
        /// The answer.
        sdp: String,
    },
    /// The tracks to be received have changed. To be answered by [`MediaRequest::Answer`].
    Offer {
        /// The offer's number, rising; only the latest one may be answered.
        offer: u64,
        /// The offer.
        sdp: String,
        /// All tracks that the client receives once this offer is answered. An m-line that is not listed
        /// has stopped.
        tracks: Vec<ForwardedTrack>,
    },
    /// The media connection is gone (ICE or DTLS failed). A fresh offer makes a new one.
    Disconnected,
}
