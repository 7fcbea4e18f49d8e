//! The codecs that a peer connection sends and takes.

use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8, MIME_TYPE_VP9, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use sfu_sim::protocol::MediaKind;

use super::peer::PeerError;

const PAYLOAD_VP8: u8 = 96;
const PAYLOAD_RTX: u8 = 97;
const PAYLOAD_VP9: u8 = 98;
const PAYLOAD_VP9_RTX: u8 = 99;
const PAYLOAD_OPUS: u8 = 111;

/// The RTP header extension by which an SFU says which m-line a packet belongs to (RFC 9143).
const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

pub(super) fn media_engine() -> Result<MediaEngine, PeerError> {
    let mut engine = MediaEngine::default();
    for (mime, format, payload, rtx_payload) in [
        (MIME_TYPE_VP8, "", PAYLOAD_VP8, PAYLOAD_RTX),
        (MIME_TYPE_VP9, "profile-id=0", PAYLOAD_VP9, PAYLOAD_VP9_RTX),
    ] {
        engine.register_codec(video(mime, format, payload), RtpCodecKind::Video)?;
        engine.register_codec(rtx(payload, rtx_payload), RtpCodecKind::Video)?;
    }
    engine.register_codec(opus(), RtpCodecKind::Audio)?;
    // The default interceptors register it for video only.
    engine.register_header_extension(
        RTCRtpHeaderExtensionCapability { uri: MID_EXTENSION.to_owned() },
        RtpCodecKind::Audio,
        None,
    )?;
    Ok(engine)
}

/// What a track of this kind is sent as.
pub(super) fn sent(kind: MediaKind) -> RTCRtpCodecParameters {
    match kind {
        MediaKind::Video => video(MIME_TYPE_VP8, "", PAYLOAD_VP8),
        MediaKind::Audio => opus(),
    }
}

pub(super) fn kind(kind: MediaKind) -> RtpCodecKind {
    match kind {
        MediaKind::Audio => RtpCodecKind::Audio,
        MediaKind::Video => RtpCodecKind::Video,
    }
}

fn video(mime: &str, format: &str, payload_type: u8) -> RTCRtpCodecParameters {
    let feedback = [("nack", ""), ("nack", "pli"), ("ccm", "fir")];
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime.to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: format.to_owned(),
            rtcp_feedback: feedback
                .map(|(typ, parameter)| RTCPFeedback {
                    typ: typ.to_owned(),
                    parameter: parameter.to_owned(),
                })
                .to_vec(),
        },
        payload_type,
    }
}

fn rtx(apt: u8, payload_type: u8) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: MIME_TYPE_RTX.to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: format!("apt={apt}"),
            rtcp_feedback: Vec::new(),
        },
        payload_type,
    }
}

fn opus() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: MIME_TYPE_OPUS.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
            rtcp_feedback: Vec::new(),
        },
        payload_type: PAYLOAD_OPUS,
    }
}
