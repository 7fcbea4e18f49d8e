//! Offers and answers of one peer.

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind as RtcKind, Pt};

use super::peer::{OutLine, Transport};
use crate::protocol::{
    ForwardedTrack, MediaEvent, MediaKind, PublishedTrack, Refusal, RefusalCode, TrackCodec,
};
use crate::router::LineId;

/// The server's offer that waits for an answer, if any.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    last_number: u64,
    outstanding: Option<Outstanding>,
}

struct Outstanding {
    number: u64,
    pending: SdpPendingOffer,
    opened: Vec<LineId>,
    closed: Vec<LineId>,
    event: MediaEvent,
}

impl std::fmt::Debug for Outstanding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outstanding")
            .field("number", &self.number)
            .field("opened", &self.opened)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// What an answer changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Negotiated {
    pub(super) opened: Vec<LineId>,
    pub(super) closed: Vec<LineId>,
}

impl Negotiation {
    /// The outstanding offer, to be sent once more.
    pub(super) fn repeat(&self) -> Option<MediaEvent> {
        self.outstanding.as_ref().map(|outstanding| outstanding.event.clone())
    }

    pub(super) fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }
}

impl Transport {
    /// Accepts the client's offer. An offer of the server's that was outstanding is void: the lines that it
    /// would have opened are returned beside the answer.
    pub(super) fn accept_offer(
        &mut self,
        sdp: &str,
        declared: Vec<PublishedTrack>,
    ) -> (Vec<LineId>, Result<MediaEvent, Refusal>) {
        let offer = match self.guarded(|_| SdpOffer::from_sdp_string(sdp)) {
            Some(Ok(offer)) => offer,
            _ => return (Vec::new(), Err(invalid_sdp("expected an SDP offer"))),
        };
        let void = self.negotiation.outstanding.take().map_or(Vec::new(), |former| former.opened);
        for line in &void {
            self.lines.remove(line);
        }
        let answer = match self.guarded(|rtc| rtc.sdp_api().accept_offer(offer)) {
            Some(Ok(answer)) => answer,
            _ => return (void, Err(invalid_sdp("expected an offer that WebRTC can answer"))),
        };
        self.declared = declared;
        self.ufrag = self.rtc.direct_api().local_ice_credentials().ufrag;
        (void, Ok(MediaEvent::Answer { sdp: answer.to_sdp_string() }))
    }

    /// Makes an offer that opens and closes lines. The opened lines' ids stand beside the tracks.
    pub(super) fn offer(
        &mut self,
        open: Vec<(LineId, ForwardedTrack)>,
        close: Vec<LineId>,
    ) -> Option<MediaEvent> {
        let mut changes = self.rtc.sdp_api();
        let mut opened = Vec::new();
        for (line, mut track) in open {
            let kind = match track.kind {
                MediaKind::Audio => RtcKind::Audio,
                MediaKind::Video => RtcKind::Video,
            };
            // Names of our own making: an identity may hold what SDP does not allow.
            let name = format!("line{}", line.0);
            let mid =
                changes.add_media(kind, Direction::SendOnly, Some(name.clone()), Some(name), None);
            track.mid = mid.to_string();
            self.lines.insert(line, OutLine { mid, payload_type: None, track });
            opened.push(line);
        }
        for line in &close {
            if let Some(line) = self.lines.get(line) {
                changes.set_direction(line.mid, Direction::Inactive);
            }
        }
        let Some((offer, pending)) = changes.apply() else {
            for line in close {
                self.lines.remove(&line);
            }
            return None;
        };
        let number = self.negotiation.last_number + 1;
        self.negotiation.last_number = number;
        let mut tracks: Vec<_> = self
            .lines
            .iter()
            .filter(|(id, _)| !close.contains(id))
            .map(|(id, line)| (*id, line.track.clone()))
            .collect();
        tracks.sort_by_key(|(id, _)| *id);
        let event = MediaEvent::Offer {
            offer: number,
            sdp: offer.to_sdp_string(),
            tracks: tracks.into_iter().map(|(_, track)| track).collect(),
        };
        self.negotiation.outstanding =
            Some(Outstanding { number, pending, opened, closed: close, event: event.clone() });
        Some(event)
    }

    /// Accepts the client's answer. If it is refused, the offer is void: the lines that it would have opened
    /// stand in the error.
    pub(super) fn accept_answer(
        &mut self,
        number: u64,
        sdp: &str,
    ) -> Result<Negotiated, (Vec<LineId>, Refusal)> {
        let stale =
            || Refusal::new(RefusalCode::StaleOffer, "expected an answer to the last offer");
        let outstanding = match self.negotiation.outstanding.take() {
            Some(outstanding) if outstanding.number == number => outstanding,
            other => {
                self.negotiation.outstanding = other;
                return Err((Vec::new(), stale()));
            }
        };
        let Outstanding { pending, opened, closed, .. } = outstanding;
        let accepted = self.guarded(|rtc| {
            let answer = SdpAnswer::from_sdp_string(sdp).map_err(|_| ())?;
            rtc.sdp_api().accept_answer(pending, answer).map_err(|_| ())
        });
        if accepted != Some(Ok(())) {
            for line in &opened {
                self.lines.remove(line);
            }
            return Err((opened, invalid_sdp("expected an answer that fits the offer")));
        }
        for line in &closed {
            self.lines.remove(line);
        }
        for line in &opened {
            let payload_type = self.payload_type_of(*line);
            if let Some(line) = self.lines.get_mut(line) {
                line.payload_type = payload_type;
            }
        }
        Ok(Negotiated { opened, closed })
    }

    /// The payload type of a line's codec on this connection.
    fn payload_type_of(&self, line: LineId) -> Option<Pt> {
        let line = self.lines.get(&line)?;
        let codec = match line.track.codec() {
            TrackCodec::Opus => Codec::Opus,
            TrackCodec::Vp8 => Codec::Vp8,
            TrackCodec::Vp9 => Codec::Vp9,
        };
        let accepted = self.rtc.media(line.mid)?.remote_pts();
        self.rtc
            .codec_config()
            .find(|params| {
                // Of VP9 only profile 0 is forwarded; every browser decodes it.
                let profile = params.spec().format.profile_id.unwrap_or(0);
                params.spec().codec == codec && profile == 0 && accepted.contains(&params.pt())
            })
            .map(|params| params.pt())
    }
}

fn invalid_sdp(message: &str) -> Refusal {
    Refusal::new(RefusalCode::InvalidSdp, message)
}
