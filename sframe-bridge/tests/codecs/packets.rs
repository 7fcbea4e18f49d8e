//! The way through RTP: the codec's packetizer at the sender, its counterpart at the receiver.

use bytes::Bytes;
use rtc_rtp::codec::{av1, h264, opus, vp8, vp9};
use rtc_rtp::packetizer::{Depacketizer, Payloader};
use sframe_bridge::codec::Codec;

/// Cuts a frame into RTP payloads of at most `mtu` bytes and puts it together again.
pub(super) fn there_and_back(codec: Codec, frame: &[u8], mtu: usize) -> Vec<u8> {
    let (mut payloader, mut depacketizer): (Box<dyn Payloader>, Box<dyn Depacketizer>) = match codec
    {
        Codec::Opus => (Box::new(opus::OpusPayloader), Box::new(opus::OpusPacket)),
        Codec::Vp8 => (Box::<vp8::Vp8Payloader>::default(), Box::<vp8::Vp8Packet>::default()),
        Codec::Vp9 => (Box::<vp9::Vp9Payloader>::default(), Box::<vp9::Vp9Packet>::default()),
        Codec::H264 => (Box::<h264::H264Payloader>::default(), Box::<h264::H264Packet>::default()),
        Codec::Av1 => (Box::<av1::Av1Payloader>::default(), Box::new(av1::Av1Depacketizer::new())),
        other => panic!("no packetizer for {other:?}"),
    };
    let payloads = payloader.payload(mtu, &Bytes::copy_from_slice(frame)).unwrap();
    assert!(!payloads.is_empty());
    let parts = payloads.iter().map(|payload| depacketizer.depacketize(payload).unwrap());
    parts.collect::<Vec<_>>().concat()
}
