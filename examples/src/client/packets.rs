//! How encrypted frames become RTP payloads: in the SFrame payload format, or by the codec's own packetizer, as browsers do it.

use bytes::{BufMut, Bytes, BytesMut};
use rtc::rtp::codec::vp9::Vp9Packet;
use rtc::rtp::packetizer::Depacketizer;
use sframe_bridge::codec::Codec;
use sframe_bridge::{
    Fragmenter, Opened, PayloadError, Reassembler, ReceiveError, Receiver, RtpDescriptor,
    RtpPacket, SendError, Sender,
};
use sframe_bridge::{Now, vp8};
use sfu_sim::protocol::{ForwardedTrack, MediaKind, TrackCodec};

use super::tracks::InboundPacket;

/// S of the VP8 payload descriptor (RFC 7741, section 4.2): a partition begins.
const VP8_START: u8 = 0x10;

/// How the frames of a track travel. In either form they are SFrame ciphertexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packetization {
    /// The SFrame RTP payload format: nothing stays in the clear.
    #[default]
    SFrame,
    /// The codec's own format, with as much of each frame in the clear as its packetizer reads. What browsers send and take.
    Codec,
}

/// How a client's media reach the SFU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaOptions {
    /// How it packetizes what it sends. It understands the others in either form.
    pub packetization: Packetization,
    /// Whether the SFU sends over a peer connection of its own, instead of the one on which the client sends.
    pub separate_receiver: bool,
    /// Whether urgent messages may travel as datagrams, over a data channel of the media connection
    /// ([`sfu_sim::protocol::datagrams`]).
    pub datagrams: bool,
}

impl Default for MediaOptions {
    fn default() -> Self {
        Self { packetization: Packetization::SFrame, separate_receiver: false, datagrams: true }
    }
}

/// How the frames of one track travel, and of which codec they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrackFormat {
    pub(super) packetization: Packetization,
    pub(super) codec: TrackCodec,
}

impl TrackFormat {
    /// That of a track of one's own.
    pub(super) fn published(packetization: Packetization, kind: MediaKind) -> Self {
        Self { packetization, codec: TrackCodec::of(kind) }
    }

    /// That of somebody else's track.
    pub(super) fn of(track: &ForwardedTrack) -> Self {
        let packetization = if track.sframe { Packetization::SFrame } else { Packetization::Codec };
        Self { packetization, codec: track.codec() }
    }

    fn bridge_codec(self) -> Codec {
        match self.codec {
            TrackCodec::Opus => Codec::Opus,
            TrackCodec::Vp8 => Codec::Vp8,
            TrackCodec::Vp9 => Codec::Vp9,
        }
    }

    /// Encrypts a frame and appends it to `out`.
    pub(super) fn protect(
        self,
        sender: &mut Sender,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        match self.packetization {
            Packetization::SFrame => sender.protect_into(frame, &[], out)?,
            Packetization::Codec => self.bridge_codec().protect_into(sender, frame, out)?,
        };
        Ok(())
    }

    /// Opens a frame; if it has to wait for its epoch, it is as it was.
    pub(super) fn unprotect(
        self,
        receiver: &mut Receiver,
        frame: &mut [u8],
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        match (self.packetization, self.codec) {
            (Packetization::Codec, TrackCodec::Vp8) => {
                vp8::unprotect_in_place(receiver, frame, now)
            }
            _ => receiver.unprotect_in_place(frame, &[], now),
        }
    }

    /// The SFrame ciphertext in a protected frame.
    pub(super) fn ciphertext(self, frame: &[u8]) -> &[u8] {
        let clear = match (self.packetization, self.codec) {
            (Packetization::Codec, TrackCodec::Vp8) => vp8::CLEAR_LENGTH,
            _ => 0,
        };
        frame.get(clear..).unwrap_or_default()
    }

    /// Cuts a protected frame into payloads of at most `limit` bytes, each with its marker bit.
    pub(super) fn payloads(self, frame: &[u8], limit: usize) -> Vec<Payload> {
        match (self.packetization, self.codec) {
            (Packetization::SFrame, _) => {
                let Ok(fragmenter) = Fragmenter::new(limit) else { return Vec::new() };
                fragmenter
                    .fragments(frame)
                    .map(|fragment| {
                        let mut payload = Vec::with_capacity(fragment.length());
                        fragment.write_to(&mut payload);
                        Payload { bytes: payload.into(), last: fragment.descriptor.last }
                    })
                    .collect()
            }
            (Packetization::Codec, TrackCodec::Opus) => {
                vec![Payload { bytes: Bytes::copy_from_slice(frame), last: false }]
            }
            (Packetization::Codec, TrackCodec::Vp8 | TrackCodec::Vp9) => {
                self.video_payloads(frame, limit)
            }
        }
    }

    /// One byte of descriptor each: no picture number, no layers (RFC 7741 section 4.2, RFC 9628 section 4.2).
    fn video_payloads(self, frame: &[u8], limit: usize) -> Vec<Payload> {
        let parts = frame.chunks(limit.saturating_sub(1).max(1));
        let count = parts.len();
        parts
            .enumerate()
            .map(|(index, part)| {
                let (first, last) = (index == 0, index + 1 == count);
                let descriptor = match self.codec {
                    TrackCodec::Vp9 => u8::from(first) << 3 | u8::from(last) << 2,
                    _ => u8::from(first) * VP8_START,
                };
                let mut payload = BytesMut::with_capacity(1 + part.len());
                payload.put_u8(descriptor);
                payload.put_slice(part);
                Payload { bytes: payload.freeze(), last }
            })
            .collect()
    }

    /// Gives a packet to the reassembler, which knows one descriptor: the codec's own is translated.
    pub(super) fn push(
        self,
        packet: &InboundPacket,
        reassembler: &mut Reassembler,
        now: Now,
    ) -> Result<(), PayloadError> {
        let translated;
        let payload = match self.packetization {
            Packetization::SFrame => &packet.payload[..],
            Packetization::Codec => {
                let cut = || PayloadError::Empty(packet.payload.len());
                let part = self.depacketize(packet).ok_or_else(cut)?;
                let descriptor =
                    RtpDescriptor { first: part.first, last: part.last, per_packet: false };
                let mut bytes = Vec::with_capacity(1 + part.bytes.len());
                bytes.push(descriptor.encode());
                bytes.extend_from_slice(&part.bytes);
                translated = bytes;
                &translated[..]
            }
        };
        let (sequence, timestamp) = (packet.sequence, packet.timestamp);
        reassembler.push(RtpPacket { sequence, timestamp, payload }, now)
    }

    fn depacketize(self, packet: &InboundPacket) -> Option<Part> {
        let payload = &packet.payload;
        match self.codec {
            TrackCodec::Opus => Some(Part { first: true, last: true, bytes: payload.clone() }),
            TrackCodec::Vp8 => {
                let first = *payload.first()?;
                let start = vp8_descriptor_length(payload)?;
                // A start of a partition is the start of the frame in the first partition only.
                let first = first & VP8_START != 0 && first & 0x07 == 0;
                let bytes = payload.slice_ref(payload.get(start..)?);
                Some(Part { first, last: packet.marker, bytes })
            }
            TrackCodec::Vp9 => {
                let mut descriptor = Vp9Packet::default();
                let bytes = descriptor.depacketize(payload).ok()?;
                Some(Part { first: descriptor.b, last: descriptor.e, bytes })
            }
        }
    }
}

/// An RTP payload to be sent.
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    /// The marker bit.
    pub(super) last: bool,
}

/// A part of a frame that came in.
struct Part {
    first: bool,
    last: bool,
    bytes: Bytes,
}

/// The length of a VP8 payload descriptor (RFC 7741, section 4.2).
fn vp8_descriptor_length(payload: &[u8]) -> Option<usize> {
    let (extended, picture, level, layer, key_index) = (0x80, 0x80, 0x40, 0x20, 0x10);
    if payload.first()? & extended == 0 {
        return Some(1);
    }
    let fields = *payload.get(1)?;
    let mut length = 2;
    if fields & picture != 0 {
        length += if payload.get(2)? & 0x80 != 0 { 2 } else { 1 };
    }
    length += usize::from(fields & level != 0);
    length += usize::from(fields & (layer | key_index) != 0);
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sframe_bridge::{Reassembled, ReassemblyLimits};

    fn way(codec: TrackCodec, frames: &[Vec<u8>], limit: usize) -> Vec<Vec<u8>> {
        let format = TrackFormat { packetization: Packetization::Codec, codec };
        let mut reassembler = Reassembler::new(ReassemblyLimits::default());
        let mut sequence = 65_530_u16;
        let mut received = Vec::new();
        for (timestamp, frame) in (7..).step_by(3000).zip(frames) {
            for payload in format.payloads(frame, limit) {
                assert!(payload.bytes.len() <= limit || codec == TrackCodec::Opus);
                let marker = payload.last;
                let packet = InboundPacket { sequence, timestamp, marker, payload: payload.bytes };
                sequence = sequence.wrapping_add(1);
                format.push(&packet, &mut reassembler, Now::from_millis(0)).unwrap();
            }
            while let Some(Reassembled::Frame(frame)) = reassembler.poll(Now::from_millis(0)) {
                received.push(frame.ciphertext);
            }
        }
        received
    }

    #[test]
    fn frames_survive_the_packets_of_every_codec() {
        for codec in [TrackCodec::Opus, TrackCodec::Vp8, TrackCodec::Vp9] {
            for length in [1, 2, 3, 49, 50, 51, 99, 100, 5000] {
                let frames: Vec<Vec<u8>> =
                    (0..20_u8).map(|first| vec![first.wrapping_mul(37); length]).collect();
                assert_eq!(way(codec, &frames, 50), frames, "{codec:?}, {length} bytes");
            }
        }
    }

    #[test]
    fn descriptors_with_all_fields_are_skipped_and_cut_ones_refused() {
        // X, S; I, L, T, K; a picture number of 15 bits; TL0PICIDX; TID and KEYIDX; the frame.
        let full = [0x90, 0xf0, 0x81, 0x02, 0x03, 0x44, 0xaa];
        assert_eq!(vp8_descriptor_length(&full), Some(6));
        assert_eq!(vp8_descriptor_length(&[0x90, 0x80, 0x11, 0xaa]), Some(3));
        assert_eq!(vp8_descriptor_length(&[0x10, 0xaa]), Some(1));
        let format = TrackFormat { packetization: Packetization::Codec, codec: TrackCodec::Vp8 };
        for cut in 0..full.len() {
            let payload = Bytes::copy_from_slice(&full[..cut]);
            let packet = InboundPacket { sequence: 1, timestamp: 1, marker: true, payload };
            let mut reassembler = Reassembler::new(ReassemblyLimits::default());
            assert!(format.push(&packet, &mut reassembler, Now::from_millis(0)).is_err(), "{cut}");
        }
    }
}
