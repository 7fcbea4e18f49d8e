//! Fuzz targets of `sframe-bridge`: functions of bytes that panic when an invariant breaks.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target reports by panicking; the replay of the corpus is a module of this file"
)]

use std::time::Duration;

use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CallParameters, CipherSuite, Epoch, Fragmenter, Now,
    Reassembled, Reassembler, ReassemblyLimits, RtpPacket, TrackId, codec::Codec, crypto,
    parse_payload, peek,
};

const CODECS: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

/// Everything that is read from bytes without a key: what is understood has one spelling.
pub fn parse(data: &[u8]) {
    if let Ok(peeked) = peek(data) {
        assert_eq!(peeked.header.encode().as_bytes(), &data[..peeked.length]);
    }
    if let Ok(fragment) = parse_payload(data) {
        // The five reserved bits are ignored.
        let mut again = Vec::new();
        fragment.write_to(&mut again);
        assert_eq!((again[0], &again[1..]), (data[0] & 0xe0, &data[1..]));
    }
    if let Ok(parameters) = CallParameters::decode(data) {
        assert_eq!(parameters.encode(), data);
    }
    for codec in CODECS {
        let _ = codec.is_keyframe(data);
    }
}

/// RTP packets in any order, at any time, with any content: what is held stays bounded, and everything that was held is
/// given out or given up in the end.
pub fn reassembly(data: &[u8]) {
    let limits = ReassemblyLimits { packets: 16, bytes: 256, gap: Duration::from_millis(50) };
    let mut reassembler = Reassembler::new(limits);
    let mut milliseconds = 0;
    for packet in data.chunks(5) {
        let [low, high, descriptor, length, wait] = *packet else { break };
        milliseconds += u64::from(wait);
        let now = Now::from_millis(milliseconds);
        let mut payload = vec![descriptor];
        payload.resize(usize::from(length), length);
        let sequence = u16::from_be_bytes([high, low]);
        let timestamp = u32::from(descriptor & 0x1f);
        let _ = reassembler.push(RtpPacket { sequence, timestamp, payload: &payload }, now);
        assert!(reassembler.held_packets() <= limits.packets);
        assert!(reassembler.held_bytes() <= limits.bytes);
        if wait % 2 == 0 {
            drain(&mut reassembler, now);
        }
    }
    let end = Now::from_millis(milliseconds + 10_000);
    drain(&mut reassembler, end);
    assert!(reassembler.next_deadline().is_none_or(|deadline| deadline > end), "a gap for good");
}

fn drain(reassembler: &mut Reassembler, now: Now) {
    let held = reassembler.held_packets();
    // Each result takes a packet, or gives up a gap before one.
    for _ in 0..=2 * held + 1 {
        match reassembler.poll(now) {
            Some(Reassembled::Frame(frame)) => assert!(!frame.ciphertext.is_empty()),
            Some(Reassembled::Lost(_)) => {}
            None => return,
        }
    }
    panic!("polling does not come to an end");
}

fn members() -> (CallKeys, CallKeys) {
    let suite = crypto::default_provider().suite(CipherSuite::Aes128GcmSha256_128).unwrap();
    let member = |own| {
        let mut keys = CallKeys::new(CallKeysConfig::new(suite));
        let epoch = Epoch::new(1, BaseKey::new(vec![7; 16]), own, vec![0, 1]);
        keys.install_epoch(epoch, Now::from_millis(0)).unwrap();
        keys
    };
    (member(0), member(1))
}

/// A frame through a codec's envelope, through packets, and back; and an altered one before it, which must do no harm.
pub fn codecs(data: &[u8]) {
    let Some(([codec, place, value], frame)) = data.split_first_chunk() else { return };
    let codec = CODECS[usize::from(*codec) % CODECS.len()];
    let (mut alice, mut bob) = members();
    let now = Now::from_millis(0);
    let (mut wire, mut plain) = (Vec::new(), Vec::new());

    // Bytes that nobody has protected.
    assert!(codec.unprotect_into(bob.receiver(), frame, &mut plain, now).is_err());
    let mut sender = alice.sender(TrackId(1)).unwrap();
    if codec.protect_into(&mut sender, frame, &mut wire).is_err() {
        assert!(wire.is_empty());
        return;
    }
    // Out of order, AV1's sequence header may make a keyframe of what is none; never the other way round.
    assert!(codec.is_keyframe(frame) != Some(true) || codec.is_keyframe(&wire) == Some(true));

    let mut altered = wire.clone();
    let place = usize::from(*place) % altered.len();
    altered[place] ^= value;
    if let Ok(opened) = codec.unprotect_into(bob.receiver(), &altered, &mut plain, now) {
        // Packetizers may spell start codes and lengths anew; what they enclose is the same.
        assert_eq!(&plain[opened.plain], frame);
        return;
    }

    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let mut payload = Vec::new();
    let fragments = Fragmenter::new(64).unwrap().fragments(&wire);
    for (sequence, fragment) in (0..).zip(fragments) {
        payload.clear();
        fragment.write_to(&mut payload);
        let packet = RtpPacket { sequence, timestamp: 0, payload: &payload };
        reassembler.push(packet, now).unwrap();
    }
    let Some(Reassembled::Frame(received)) = reassembler.poll(now) else {
        panic!("the frame is complete")
    };
    assert_eq!(received.ciphertext, wire);
    let opened = codec.unprotect_into(bob.receiver(), &wire, &mut plain, now).unwrap();
    assert_eq!(&plain[opened.plain], frame);
    assert!(codec.unprotect_into(bob.receiver(), &wire, &mut plain, now).is_err(), "a replay");
}
