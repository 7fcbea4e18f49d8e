use crate::common::{at, epoch, member};
use proptest::prelude::*;
use sframe_bridge::per_packet::{self, PacketError};
use sframe_bridge::{
    Fragmenter, PayloadError, Reassembled, Reassembler, ReassemblyLimits, ReceiveError,
    RtpDescriptor, RtpPacket, TrackId, parse_payload, vp8,
};

#[test]
fn descriptor_bits() {
    let descriptor = RtpDescriptor { first: true, last: false, per_packet: true };
    assert_eq!(descriptor.encode(), 0b1010_0000);
    assert_eq!(RtpDescriptor::decode(0b1011_1111), descriptor);
    assert_eq!(parse_payload(&[0x80]), Err(PayloadError::Empty(1)));
    assert_eq!(parse_payload(&[]), Err(PayloadError::Empty(0)));
    assert_eq!(parse_payload(&[0b1010_0000, 1]), Err(PayloadError::FragmentedPacket));
    assert!(Fragmenter::new(1).is_err());
}

/// With T = 1 every packet that arrives opens by itself, in any order.
#[test]
fn packets_encrypted_by_themselves_open_as_they_come() {
    let mut alice = member(1, 0, &[0, 1]);
    let mut bob = member(1, 1, &[0, 1]);
    let mut sender = alice.sender(TrackId(1)).unwrap();
    let parts: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n; 20 * usize::from(n)]).collect();
    let mut packets = Vec::new();
    for part in &parts {
        let mut packet = Vec::new();
        per_packet::protect_into(&mut sender, part, &mut packet).unwrap();
        assert!(packet.len() <= part.len() + per_packet::OVERHEAD);
        assert_eq!(packet[0], 0b1110_0000);
        packets.push(packet);
    }
    // Every third is lost, the rest comes backwards.
    for (index, packet) in packets.iter().enumerate().rev().filter(|(index, _)| index % 3 != 0) {
        let mut packet = packet.clone();
        let receiver = bob.receiver();
        let opened = per_packet::unprotect_in_place(receiver, &mut packet, at(0)).unwrap();
        assert_eq!(packet[opened.plain], parts[index]);
        assert_eq!(opened.sender.ctr, index as u64);
    }
    let mut open = |payload: &[u8]| {
        per_packet::unprotect_in_place(bob.receiver(), &mut payload.to_vec(), at(0)).unwrap_err()
    };
    assert_eq!(open(&packets[1]), PacketError::Receive(ReceiveError::Duplicate { ctr: 1 }));
    let mut fragment = packets[0].clone();
    fragment[0] = 0b1100_0000;
    assert_eq!(open(&fragment), PacketError::PerFrame);
    assert_eq!(open(&[0b1110_0000]), PacketError::Payload(PayloadError::Empty(1)));
    assert_eq!(open(&[0b0110_0000, 1]), PacketError::Payload(PayloadError::FragmentedPacket));
}

#[derive(Clone)]
struct Packet {
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

fn packets(frames: &[Vec<u8>], first_sequence: u16, size: usize) -> Vec<Packet> {
    let fragmenter = Fragmenter::new(size).unwrap();
    let mut packets = Vec::new();
    let mut sequence = first_sequence;
    for (index, frame) in frames.iter().enumerate() {
        for fragment in fragmenter.fragments(frame) {
            let mut payload = Vec::new();
            fragment.write_to(&mut payload);
            assert!(payload.len() <= size);
            packets.push(Packet { sequence, timestamp: index as u32 * 3_000, payload });
            sequence = sequence.wrapping_add(1);
        }
    }
    packets
}

fn push(reassembler: &mut Reassembler, packet: &Packet, millis: u64) -> Vec<Reassembled> {
    let Packet { sequence, timestamp, payload } = packet;
    let packet = RtpPacket { sequence: *sequence, timestamp: *timestamp, payload };
    reassembler.push(packet, at(millis)).unwrap();
    core::iter::from_fn(|| reassembler.poll(at(millis))).collect()
}

fn frames_of(output: &[Reassembled]) -> Vec<Vec<u8>> {
    let frame = |item: &Reassembled| match item {
        Reassembled::Frame(frame) => Some(frame.ciphertext.clone()),
        Reassembled::Lost(_) => None,
    };
    output.iter().filter_map(frame).collect()
}

proptest! {
    #[test]
    fn fragments_put_together_are_the_frame(frame in proptest::collection::vec(any::<u8>(), 1..5_000), size in 2_usize..1_500) {
        let fragmenter = Fragmenter::new(size).unwrap();
        let fragments: Vec<_> = fragmenter.fragments(&frame).collect();
        prop_assert!(fragments.len() <= frame.len().div_ceil(size - 1));
        prop_assert_eq!(&fragments.concat_parts(), &frame);
        for (index, fragment) in fragments.iter().enumerate() {
            prop_assert_eq!(fragment.descriptor.first, index == 0);
            prop_assert_eq!(fragment.descriptor.last, index + 1 == fragments.len());
            prop_assert!(!fragment.descriptor.per_packet && !fragment.part.is_empty());
            prop_assert!(fragment.length() <= size);
        }
    }

    /// Reordered by some places, some packets twice: every frame comes out once, in order.
    #[test]
    fn reordering_and_repetition_lose_nothing(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..400), 1..40),
        first in any::<u16>(),
        jitter in proptest::collection::vec(0_usize..6, 2_000),
        twice in proptest::collection::vec(proptest::bool::weighted(0.1), 2_000),
    ) {
        let mut shuffled: Vec<_> = packets(&frames, first, 50).into_iter().enumerate().collect();
        // The very first packet stays first: nothing tells that one before it is still coming.
        shuffled[1..].sort_by_key(|(index, _)| index + jitter[*index]);
        let mut reassembler = Reassembler::new(ReassemblyLimits::default());
        let mut output = Vec::new();
        for (index, packet) in &shuffled {
            output.extend(push(&mut reassembler, packet, 0));
            if twice[*index] {
                output.extend(push(&mut reassembler, packet, 0));
            }
        }
        prop_assert_eq!(frames_of(&output), frames);
        prop_assert_eq!(reassembler.held_packets(), 0);
        prop_assert_eq!(reassembler.held_bytes(), 0);
    }

    /// Lost packets cost exactly the frames that they belong to.
    #[test]
    fn losses_cost_only_their_frames(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..400), 2..40),
        first in any::<u16>(),
        lost in proptest::collection::vec(proptest::bool::weighted(0.15), 2_000),
    ) {
        let all = packets(&frames, first, 50);
        let mut reassembler = Reassembler::new(ReassemblyLimits::default());
        let mut output = Vec::new();
        let mut broken = std::collections::BTreeSet::new();
        for (index, packet) in all.iter().enumerate() {
            if index != 0 && index + 1 != all.len() && lost[index] {
                broken.insert(packet.timestamp);
                continue;
            }
            output.extend(push(&mut reassembler, packet, index as u64));
        }
        let end = 10_000;
        output.extend(core::iter::from_fn(|| reassembler.poll(at(end))));
        let expected: Vec<_> = frames.iter().enumerate()
            .filter(|(index, _)| !broken.contains(&(*index as u32 * 3_000)))
            .map(|(_, frame)| frame.clone())
            .collect();
        prop_assert_eq!(frames_of(&output), expected);
    }

    /// Arbitrary packets: no panic, memory inside the bounds.
    #[test]
    fn arbitrary_packets_stay_inside_the_bounds(
        input in proptest::collection::vec((any::<u16>(), 0_u32..4, proptest::collection::vec(any::<u8>(), 0..60), 0_u64..50), 0..300)
    ) {
        let limits = ReassemblyLimits { packets: 16, bytes: 300, ..ReassemblyLimits::default() };
        let mut reassembler = Reassembler::new(limits);
        let mut now = 0;
        for (sequence, timestamp, payload, pause) in input {
            now += pause;
            let _ = reassembler.push(RtpPacket { sequence, timestamp, payload: &payload }, at(now));
            prop_assert!(reassembler.held_packets() <= 16);
            prop_assert!(reassembler.held_bytes() <= 300);
            while reassembler.poll(at(now)).is_some() {}
            prop_assert!(reassembler.next_deadline().is_none_or(|deadline| deadline > at(now)));
        }
    }
}

trait ConcatParts {
    fn concat_parts(&self) -> Vec<u8>;
}

impl ConcatParts for Vec<sframe_bridge::Fragment<'_>> {
    fn concat_parts(&self) -> Vec<u8> {
        self.iter().flat_map(|fragment| fragment.part.iter().copied()).collect()
    }
}

#[test]
fn a_gap_waits_for_its_packet_and_no_longer() {
    let frames = [vec![1; 30], vec![2; 120], vec![3; 30]];
    let all = packets(&frames, 65_534, 50);
    assert_eq!(all.len(), 5);
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    assert_eq!(frames_of(&push(&mut reassembler, &all[0], 0)), [vec![1; 30]]);
    push(&mut reassembler, &all[1], 1);
    assert_eq!(reassembler.next_deadline(), None);
    push(&mut reassembler, &all[3], 2);
    assert_eq!(push(&mut reassembler, &all[4], 3), []);
    assert_eq!(reassembler.next_deadline(), Some(at(252)));
    // In time: both frames come out.
    let output = push(&mut reassembler, &all[2], 251);
    assert_eq!(frames_of(&output), [vec![2; 120], vec![3; 30]]);

    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    for index in [0, 1, 3, 4] {
        push(&mut reassembler, &all[index], 0);
    }
    assert_eq!(reassembler.poll(at(249)), None);
    let loss = sframe_bridge::Loss { missing: 1, dropped: 2 };
    assert_eq!(reassembler.poll(at(250)), Some(Reassembled::Lost(loss)));
    assert_eq!(frames_of(&[reassembler.poll(at(250)).unwrap()]), [vec![3; 30]]);
    assert_eq!(push(&mut reassembler, &all[2], 300), []);
    assert_eq!(reassembler.stats().late, 1);
}

#[test]
fn an_endless_frame_stays_inside_the_bounds() {
    let limits = ReassemblyLimits { packets: 10, bytes: 1_000, ..ReassemblyLimits::default() };
    let mut reassembler = Reassembler::new(limits);
    let mut payload = vec![0x80, 1];
    for sequence in 0..500 {
        push(&mut reassembler, &Packet { sequence, timestamp: 0, payload: payload.clone() }, 0);
        assert!(reassembler.held_packets() <= 10);
        payload[0] = 0;
    }
    // The next frame comes out all the same.
    let next = Packet { sequence: 500, timestamp: 1, payload: vec![0xC0, 9] };
    assert_eq!(frames_of(&push(&mut reassembler, &next, 0)), [vec![9]]);
}

#[test]
fn a_stream_that_begins_anew_is_followed() {
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let single = |sequence, byte| Packet {
        sequence,
        timestamp: u32::from(sequence),
        payload: vec![0xC0, byte],
    };
    for sequence in 30_000..30_010 {
        assert_eq!(push(&mut reassembler, &single(sequence, 1), 0).len(), 1);
    }
    let received =
        (0..200).filter(|&sequence| !push(&mut reassembler, &single(sequence, 2), 0).is_empty());
    assert!(received.count() >= 130);
}

#[test]
fn vp8_keeps_one_authenticated_byte_in_the_clear() {
    let mut alice = member(5, 0, &[0, 1]);
    let mut bob = member(5, 1, &[0, 1]);
    let mut sender = alice.sender(TrackId(1)).unwrap();
    let keyframe = [0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x40, 0x01];
    let mut wire = vec![0xEE];
    let range = vp8::protect_into(&mut sender, &keyframe, &mut wire).unwrap();
    assert_eq!(range, 1..wire.len());
    let wire = wire[range].to_vec();
    assert_eq!(wire[0], keyframe[0]);
    assert_eq!(vp8::is_keyframe(&wire), Some(true));

    let mut forged = wire.clone();
    forged[0] ^= 1;
    assert!(vp8::unprotect_in_place(bob.receiver(), &mut forged, at(0)).is_err());
    let mut ok = wire.clone();
    let opened = vp8::unprotect_in_place(bob.receiver(), &mut ok, at(0)).unwrap();
    assert_eq!(ok[opened.plain], keyframe);

    let mut buffer = vec![0; 17];
    buffer.extend([0x11, 1, 2, 3]);
    buffer.resize(buffer.len() + sender.tag_length(), 0);
    let range = vp8::protect_in_place(&mut sender, &mut buffer, 17..21).unwrap();
    let opened =
        vp8::unprotect_in_place(bob.receiver(), &mut buffer[range.clone()], at(0)).unwrap();
    assert_eq!(buffer[range][opened.plain], [0x11, 1, 2, 3]);

    assert!(vp8::protect_into(&mut sender, &[], &mut Vec::new()).is_err());
    assert!(vp8::unprotect_in_place(bob.receiver(), &mut [], at(0)).is_err());
    assert_eq!(vp8::is_keyframe(&[]), None);
    // A frame of one byte has an empty ciphertext, and works.
    let mut wire = Vec::new();
    vp8::protect_into(&mut sender, &[0x11], &mut wire).unwrap();
    let opened = vp8::unprotect_in_place(bob.receiver(), &mut wire, at(0)).unwrap();
    assert_eq!(wire[opened.plain], [0x11]);
    // A future epoch leaves the whole frame as it was, clear byte included.
    let mut early = vec![0x10];
    early.extend(crate::common::frame(6, 0, 0, 0, b"x"));
    let before = early.clone();
    assert!(vp8::unprotect_in_place(bob.receiver(), &mut early, at(0)).is_err());
    assert_eq!(early, before);
    bob.install_epoch(epoch(6, 1, &[0, 1]), at(1)).unwrap();
}
