//! Tracks of opaque RTP payloads: what goes out and what comes in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use sfu_sim::protocol::MediaKind;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

/// At most one keyframe request a track in this time: a file source needs half a second to answer,
/// and every viewer's requests arrive at the same publisher.
const REQUEST_SPACING: Duration = Duration::from_millis(250);

/// The rate of RTP's time stamps: 90 kHz for video, 48 kHz for Opus (RFC 7741, RFC 7587).
pub fn clock_rate(kind: MediaKind) -> u32 {
    match kind {
        MediaKind::Video => 90_000,
        MediaKind::Audio => 48_000,
    }
}

/// A track that is sent. It numbers its packets; the payload is the caller's.
pub struct LocalTrack {
    rtp: Arc<TrackLocalStaticRTP>,
    kind: MediaKind,
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    timestamp_offset: u32,
}

impl LocalTrack {
    pub(super) fn new(
        rtp: Arc<TrackLocalStaticRTP>,
        kind: MediaKind,
        payload_type: u8,
        ssrc: u32,
        random: u32,
    ) -> Self {
        // The upper half is left out so that a listener who comes late still meets the first cycle
        // of sequence numbers and guesses SRTP's roll-over counter right (RFC 3711, section 3.3.1).
        let sequence = (random >> 16) as u16 & 0x7fff;
        Self { rtp, kind, payload_type, ssrc, sequence, timestamp_offset: random.rotate_left(7) }
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// RTP's time stamp for a moment, counted from the start of playing.
    pub fn timestamp(&self, at: Duration) -> u32 {
        let ticks = at.as_micros() * u128::from(clock_rate(self.kind)) / 1_000_000;
        self.timestamp_offset.wrapping_add((ticks & u128::from(u32::MAX)) as u32)
    }

    /// Sends one packet. `last` is the marker bit: it ends a frame.
    ///
    /// # Errors
    ///
    /// webrtc-rs's, when the connection is closed or the offer not yet answered.
    pub async fn send(
        &mut self,
        payload: Bytes,
        timestamp: u32,
        last: bool,
    ) -> webrtc::error::Result<()> {
        let header = rtp::Header {
            version: 2,
            marker: last,
            payload_type: self.payload_type,
            sequence_number: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            ..rtp::Header::default()
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.rtp.write_rtp(rtp::Packet { header, payload }).await
    }
}

impl std::fmt::Debug for LocalTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalTrack")
            .field("kind", &self.kind)
            .field("ssrc", &self.ssrc)
            .finish_non_exhaustive()
    }
}

/// A packet that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundPacket {
    /// RTP's sequence number.
    pub sequence: u16,
    /// RTP's time stamp.
    pub timestamp: u32,
    /// RTP's marker bit.
    pub marker: bool,
    /// What the sender put in.
    pub payload: Bytes,
}

/// A track that is received.
pub struct RemoteTrack {
    rtp: Arc<dyn TrackRemote>,
    mid: String,
    kind: MediaKind,
    ssrc: Option<u32>,
    requested: Option<Instant>,
}

impl RemoteTrack {
    pub(super) fn new(rtp: Arc<dyn TrackRemote>, mid: String, kind: MediaKind) -> Self {
        Self { rtp, mid, kind, ssrc: None, requested: None }
    }

    /// The m-line that carries it; the SFU's list of tracks says whose it is.
    pub fn mid(&self) -> &str {
        &self.mid
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Waits for the next packet; nothing at the end of the track.
    pub async fn next(&mut self) -> Option<InboundPacket> {
        loop {
            match self.rtp.poll().await? {
                TrackRemoteEvent::OnOpen(init) => self.ssrc = Some(init.ssrc),
                TrackRemoteEvent::OnRtpPacket(packet) => {
                    self.ssrc = Some(packet.header.ssrc);
                    return Some(InboundPacket {
                        sequence: packet.header.sequence_number,
                        timestamp: packet.header.timestamp,
                        marker: packet.header.marker,
                        payload: packet.payload,
                    });
                }
                TrackRemoteEvent::OnEnded | TrackRemoteEvent::OnError => return None,
                _ => {}
            }
        }
    }

    /// Asks the sender for a keyframe, unless it was asked a moment ago. Returns whether it was
    /// asked.
    pub async fn request_keyframe(&mut self, now: Instant) -> bool {
        let Some(media_ssrc) = self.ssrc.filter(|_| self.kind == MediaKind::Video) else {
            return false;
        };
        if self.requested.is_some_and(|before| now.duration_since(before) < REQUEST_SPACING) {
            return false;
        }
        self.requested = Some(now);
        let request = PictureLossIndication { sender_ssrc: 0, media_ssrc };
        self.rtp.write_rtcp(vec![Box::new(request)]).await.is_ok()
    }
}

impl std::fmt::Debug for RemoteTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteTrack")
            .field("mid", &self.mid)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_follow_the_clock_and_wrap() {
        let rtp = Arc::new(TrackLocalStaticRTP::new(rtc::media_stream::MediaStreamTrack::new(
            "s".to_owned(),
            "t".to_owned(),
            "l".to_owned(),
            rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video,
            Vec::new(),
        )));
        let track = LocalTrack::new(rtp, MediaKind::Video, 96, 1, u32::MAX);
        assert!(track.sequence < 0x8000);
        let start = track.timestamp(Duration::ZERO);
        assert_eq!(track.timestamp(Duration::from_millis(40)), start.wrapping_add(3600));
        let day = Duration::from_secs(86_400);
        assert_eq!(track.timestamp(day), start.wrapping_add((86_400u64 * 90_000) as u32));
    }
}
