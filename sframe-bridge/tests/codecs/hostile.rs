//! What is no frame of its codec is refused by name, and nothing is counted as received.

use super::{CODECS, NOW, Pair};
use proptest::collection::vec;
use proptest::prelude::*;
use sframe_bridge::codec::{Codec, CodecError};
use sframe_bridge::{Action, Fault, MAX_METADATA_LENGTH, ReceiveError, SendError};

const SLICE: [u8; 8] = [0, 0, 0, 1, 0x65, 0xb8, 1, 2];

fn with_sets(sets: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    for _ in 0..sets {
        frame.extend([0, 0, 0, 1, 0x67]);
        frame.extend([0x42; 95]);
    }
    frame.extend(SLICE);
    frame
}

#[test]
fn frames_that_cannot_be_protected() {
    let mut pair = Pair::new();
    let too_long = CodecError::TooMuchInTheClear { limit: MAX_METADATA_LENGTH, found: 1100 };
    let cases: [(Codec, &[u8], CodecError); 9] = [
        (Codec::H264, b"", CodecError::NoStartCode),
        (Codec::H264, b"no start code", CodecError::NoStartCode),
        (Codec::H264, &[1, 0, 0, 1, 0x65, 0xb8], CodecError::NoStartCode),
        (Codec::H264, &[0, 0, 1, 0x67, 1, 2], CodecError::NoPicture),
        (Codec::H264, &[0, 0, 1, 0x65, 0], CodecError::SliceHeader),
        (Codec::H264, &with_sets(11), too_long),
        (Codec::Av1, b"", CodecError::NoPicture),
        (Codec::Av1, &[0x0a, 1, 7], CodecError::NoPicture),
        (Codec::Av1, &[0x32, 9, 1], CodecError::Obu),
    ];
    for (codec, frame, expected) in cases {
        let mut out = vec![7];
        let error = codec.protect_into(&mut pair.sender, frame, &mut out).unwrap_err();
        assert_eq!(error, SendError::Codec(expected), "{codec:?} {frame:?}");
        assert_eq!((error.action(), error.fault()), (Action::Drop, Fault::MalformedInput));
        assert_eq!(out, [7]);
    }
    pair.sender.follow();
    assert_eq!(pair.sender.next_counter(), Some(0), "no counter is spent on them");
}

#[test]
fn frames_that_nobody_protected() {
    let mut pair = Pair::new();
    let cases: [(Codec, &[u8], CodecError); 8] = [
        (Codec::H264, b"", CodecError::NoStartCode),
        (Codec::H264, &[0, 0, 1, 0x67, 1], CodecError::NoPicture),
        (Codec::H264, &[0, 0, 1, 0x65, 0xb8, 1], CodecError::NoStopByte),
        (Codec::H264, &[SLICE, SLICE].concat(), CodecError::NotLast),
        (Codec::H264, &[&SLICE[..], &[0, 0, 1, 0x67, 1]].concat(), CodecError::NotLast),
        (Codec::Av1, &[0x80], CodecError::Obu),
        (Codec::Av1, &[0x32, 1, 7, 0x0a, 1, 7], CodecError::NotLast),
        (Codec::Av1, &[0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], CodecError::Obu),
    ];
    for (count, (codec, frame, expected)) in (1..).zip(cases) {
        let error = pair.open(codec, frame).unwrap_err();
        assert_eq!(error, ReceiveError::Codec(expected), "{codec:?} {frame:?}");
        assert_eq!(
            (error.action(), error.fault(), error.reason()),
            (Action::Drop, Fault::MalformedInput, "malformed-frame")
        );
        assert_eq!(pair.bob.receiver().stats().malformed, count);
    }
    assert_eq!(pair.bob.receiver().stats().opened, 0);
}

#[test]
fn a_frame_of_a_future_epoch_stays_as_it_is() {
    let mut pair = Pair::new();
    let mut ahead = Pair::new();
    let base_key = sframe_bridge::BaseKey::new(vec![8; 16]);
    let epoch = sframe_bridge::Epoch::new(4, base_key, 0, vec![0, 1]);
    ahead._alice.install_epoch(epoch, NOW).unwrap();
    ahead._alice.peer_ready(1, 4, NOW);
    for codec in [Codec::H264, Codec::Av1] {
        let frame: &[u8] = if codec == Codec::H264 { &SLICE } else { &[0x32, 2, 1, 2] };
        let wire = ahead.protect(codec, frame);
        assert_eq!(pair.open(codec, &wire), Err(ReceiveError::FutureEpoch { epoch: 4 }));
    }
}

#[test]
fn what_stays_clear_is_what_the_table_says() {
    let mut pair = Pair::new();
    let (sps, pps) = ([0, 0, 1, 0x67, 0x42, 0, 0x0a], [0, 0, 1, 0x68, 0xce, 0x3c]);
    let sei = [0, 0, 1, 0x06, 5, 4, b't', b'e', b'x', b't', 0x80];
    let wire = pair.protect(Codec::H264, &[&sps[..], &pps, &sei, &SLICE].concat());
    let clear = [&[0][..], &sps, &[0], &pps, &SLICE[..6]].concat();
    assert_eq!(wire[..clear.len()], clear);
    assert!(!wire.windows(4).any(|part| part == b"text"));

    let sequence = [0x0a, 2, 0xaa, 0xbb];
    let wire =
        pair.protect(Codec::Av1, &[&[0x12, 0][..], &sequence, &[0x36, 0x28, 2, 9, 9]].concat());
    assert_eq!(wire[..6], [&sequence[..], &[0x36, 0x28]].concat());
    assert_eq!(usize::from(wire[6]), wire.len() - 7);
}

proptest! {
    #[test]
    fn noise_is_refused(codec in proptest::sample::select(CODECS.to_vec()), bytes in vec(prop_oneof![Just(0_u8), 0..4_u8, any::<u8>()], 0..300)) {
        let mut pair = Pair::new();
        prop_assert!(pair.open(codec, &bytes).is_err());
        prop_assert_eq!(pair.bob.receiver().stats().opened, 0);
        let _ = codec.is_keyframe(&bytes);
        let mut out = Vec::new();
        if codec.protect_into(&mut pair.sender, &bytes, &mut out).is_ok() {
            prop_assert_eq!(pair.open(codec, &out).unwrap(), bytes);
        }
    }
}
