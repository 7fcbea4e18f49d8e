//! What a hostile sender, member or SFU does with frames: refused by its name, counted, nothing else changed.

use crate::authentication as signed;
use crate::bad_input::{receiver, refuse};
use crate::common::{SUITE, at, config, epoch, events, frame, member};
use crate::groups::{assert_refused, extensions, offence};
use mls::crypto::os_rng;
use mls::wire::{Extension, ExtensionType, RequiredCapabilities};
use sframe_bridge::authentication::{
    AuthenticationEvent, BatchError, BatchLimits, EpochBinding, FrameSigner,
};
use sframe_bridge::{
    Action, CALL_PARAMETERS, CallKeys, CallParameters, CipherSuite, Event, Fault, Fragmenter,
    Header, Kid, KidLayout, MAX_METADATA_LENGTH, ParameterFloor, ParametersError, Reassembled,
    Reassembler, ReassemblyLimits, ReceiveError, ReceiveStats, RtpPacket, SendError, TrackId, peek,
};

/// What the statistics count between two looks at them.
fn counted(keys: &mut CallKeys, attack: impl FnOnce(&mut CallKeys)) -> ReceiveStats {
    let before = *keys.receiver().stats();
    attack(keys);
    let mut after = *keys.receiver().stats();
    after.opened -= before.opened;
    after.duplicates -= before.duplicates;
    after.replayed -= before.replayed;
    after.future -= before.future;
    after.expired -= before.expired;
    after.malformed -= before.malformed;
    after.forbidden_kid -= before.forbidden_kid;
    after.too_far_ahead -= before.too_far_ahead;
    after.unauthentic -= before.unauthentic;
    after
}

/// An honest frame of leaf 1 still opens.
fn still_opens(keys: &mut CallKeys, ctr: u64) {
    let mut honest = frame(20, 1, 0, ctr, b"honest");
    let opened = keys.receiver().unprotect_in_place(&mut honest, b"", at(300)).unwrap();
    assert_eq!(&honest[opened.plain], b"honest");
}

#[test]
fn a_replayed_frame() {
    let mut keys = receiver();
    let once = frame(20, 1, 0, 5, b"seen");
    let stats = counted(&mut keys, |keys| {
        assert_eq!(refuse(keys, &once, 200), ReceiveError::Duplicate { ctr: 5 });
    });
    assert_eq!((stats.duplicates, stats.opened), (1, 0));
    // So late that nobody knows any more.
    still_opens(&mut keys, 5 + 2_000);
    let stats = counted(&mut keys, |keys| {
        let error = refuse(keys, &once, 300);
        assert_eq!(error, ReceiveError::Replayed { ctr: 5 });
        assert_eq!((error.action(), error.fault()), (Action::Drop, Fault::MisbehavingPeer));
    });
    assert_eq!((stats.replayed, stats.opened), (1, 0));
    still_opens(&mut keys, 5 + 2_001);
}

/// Mallory at leaf 3 sends on a track of its own under the KID of leaf 1. The server says whose track
/// it is, the roster which leaf that is.
#[test]
fn the_kid_of_another_member_without_help_of_the_sfu() {
    let mut keys = receiver();
    // With the highest counter that is allowed it would also mute its victim.
    let forged = frame(20, 1, 0, 10_100, b"mallory's words");
    let stats = counted(&mut keys, |keys| {
        let streams = keys.receiver().streams();
        let mallorys = |_, leaf| leaf == 3;
        let error = keys.receiver().check_sender(&forged, mallorys).unwrap_err();
        assert_eq!(error, ReceiveError::OtherSender { leaf: 1 });
        assert_eq!((error.action(), error.fault()), (Action::Drop, Fault::MisbehavingPeer));
        assert_eq!(keys.receiver().streams(), streams);
    });
    assert_eq!((stats.forbidden_kid, stats.opened), (1, 0));
    still_opens(&mut keys, 6);
    let own = frame(20, 3, 0, 0, b"own");
    assert_eq!(keys.receiver().check_sender(&own, |_, leaf| leaf == 3), Ok(()));
    // Under an epoch that is not here nobody can tell yet: opening says so.
    let early = frame(21, 1, 0, 0, b"early");
    assert_eq!(keys.receiver().check_sender(&early, |_, _| false), Ok(()));
}

/// The SFU puts a member's frame on the track of another one. Only the sender's signature tells.
#[test]
fn the_kid_of_another_member_with_help_of_the_sfu() {
    let mut call = signed::call();
    let mut signer = signed::signer(&call[0]);
    let mut verifier = signed::verifier(&call[1]);
    let mut camera = call[0].keys.sender(TrackId(1)).unwrap();

    // SFrame alone takes Mallory's frame for one of Alice's.
    let forged = signed::forge(&call[2], 0, b"mallory's words");
    let opened = signed::receive(&mut call[1], &mut verifier, &forged, 0);
    assert_eq!(opened.sender.leaf, 0);
    // Alice's own frame of that counter is then a repetition, and its batch convicts the other.
    signed::send(&mut camera, &mut signer, b"alice's words", 0);
    let batch = signed::sign(&call[0], signer.poll(at(200)).unwrap());
    assert_eq!(verifier.batch(&batch, at(200)), Ok(1));
    assert_eq!(signed::events(&mut verifier, 200), [AuthenticationEvent::Forged(opened.sender)]);

    // A counter that Alice has not used never becomes authenticated.
    let forged = signed::forge(&call[2], 77, b"x");
    let later = signed::receive(&mut call[1], &mut verifier, &forged, 300);
    assert_eq!(signed::events(&mut verifier, 2_299), []);
    assert_eq!(signed::events(&mut verifier, 2_300), [AuthenticationEvent::Unsigned(later.sender)]);

    // Nor can Mallory sign for her.
    let mut mallorys =
        FrameSigner::new(call[2].group.suite(), KidLayout::DEFAULT, BatchLimits::default());
    mallorys.install_epoch(EpochBinding::of_group(&call[2].group));
    let forged = signed::forge(&call[2], 78, b"y");
    mallorys.add(&forged, b"m", true, at(300)).unwrap();
    let batch = signed::sign(&call[2], mallorys.poll(at(300)).unwrap());
    signed::receive(&mut call[1], &mut verifier, &forged, 300);
    assert_eq!(verifier.batch(&batch, at(300)), Err(BatchError::BadSignature { leaf: 0 }));
    assert_eq!(signed::events(&mut verifier, 300), []);
}

#[test]
fn a_frame_of_an_expired_epoch() {
    let mut keys = receiver();
    keys.handle_timeout(at(20_000));
    events(&mut keys);
    let stats = counted(&mut keys, |keys| {
        let error = refuse(keys, &frame(19, 1, 0, 0, b"late"), 20_000);
        assert_eq!(error, ReceiveError::ExpiredEpoch { epoch: 19 });
        assert_eq!(error.action(), Action::Drop);
    });
    assert_eq!((stats.expired, stats.opened), (1, 0));
    still_opens(&mut keys, 6);
}

/// Leaf 2 was removed by the commit that began epoch 20.
#[test]
fn a_sender_that_was_removed() {
    let mut keys = receiver();
    let stats = counted(&mut keys, |keys| {
        // With the key of the epoch, which it cannot have.
        let error = refuse(keys, &frame(20, 2, 0, 0, b"x"), 200);
        assert_eq!(error, ReceiveError::BlankLeaf { leaf: 2 });
        // With the key that it has, under the number of the epoch and somebody's KID.
        let mut disguised = frame(19, 1, 0, 6, b"x");
        let kid = KidLayout::DEFAULT.compose(0, 1, 20).unwrap();
        let header = Header { kid, ctr: 6 }.encode();
        disguised.splice(..header.as_bytes().len(), header.as_bytes().iter().copied());
        assert_eq!(refuse(keys, &disguised, 200), ReceiveError::Unauthentic);
        // With the key that it has, when its epoch has expired.
        keys.handle_timeout(at(20_000));
        events(keys);
        let error = refuse(keys, &frame(19, 2, 0, 9, b"x"), 20_000);
        assert_eq!(error, ReceiveError::ExpiredEpoch { epoch: 19 });
    });
    assert_eq!((stats.forbidden_kid, stats.unauthentic, stats.expired), (1, 1, 1));
    assert_eq!(stats.opened, 0);
    still_opens(&mut keys, 6);
}

#[test]
fn a_plaintext_frame() {
    let mut keys = receiver();
    // A VP8 keyframe, an Opus packet, an H.264 access unit, silence, nothing.
    let plain: [&[u8]; 5] = [
        &[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 0x00, 0x47],
        &[0x78, 0x0f, 0x9c, 0x44, 0x13, 0x27, 0x91, 0x55, 0x3c],
        &[0, 0, 0, 1, 0x65, 0x88, 0x84, 0x00, 0x33],
        &[0xf8, 0xff, 0xfe],
        &[],
    ];
    for (index, short) in plain.into_iter().enumerate() {
        for length in [short.len(), 1_200] {
            let mut frame = short.to_vec();
            frame.resize(length.max(short.len()), 0x5a);
            let stats = counted(&mut keys, |keys| {
                refuse(keys, &frame, 200);
            });
            let refused = stats.malformed
                + stats.forbidden_kid
                + stats.expired
                + stats.future
                + stats.unauthentic
                + stats.too_far_ahead;
            assert_eq!((refused, stats.opened), (1, 0), "plaintext {index}, {length} bytes");
        }
    }
    still_opens(&mut keys, 6);
}

/// There is no such request: without a key nothing leaves, and no parameters mean "in the clear".
#[test]
fn a_request_to_send_plain() {
    let mut keys = CallKeys::new(config());
    let mut early = keys.sender(TrackId(1)).unwrap();
    assert_eq!(early.protect_into(b"words", b"", &mut Vec::new()), Err(SendError::NoKey));
    keys.install_epoch(epoch(1, 0, &[0, 1]), at(0)).unwrap();
    let mut sender = keys.sender(TrackId(1)).unwrap();
    keys.stop_sending();
    let mut wire = Vec::new();
    assert_eq!(sender.protect_into(b"words", b"", &mut wire), Err(SendError::NoKey));
    keys.close();
    assert_eq!(sender.protect_into(b"words", b"", &mut wire), Err(SendError::NoKey));
    assert!(wire.is_empty());

    let mut bytes = CallParameters::default().encode();
    bytes[1..3].copy_from_slice(&[0, 0]);
    assert!(matches!(CallParameters::decode(&bytes), Err(ParametersError::Suite(_))));
}

#[test]
fn a_truncated_tag_of_each_length() {
    let mut keys = receiver();
    let (empty, full) = (frame(20, 1, 0, 9, b""), frame(20, 1, 0, 10, &[7; 40]));
    let stats = counted(&mut keys, |keys| {
        for cut in 1..=SUITE.tag_length() {
            let error = refuse(keys, &empty[..empty.len() - cut], 200);
            let expected = SUITE.tag_length();
            assert_eq!(error, ReceiveError::TooShort { expected, found: expected - cut });
            let error = refuse(keys, &full[..full.len() - cut], 200);
            assert_eq!(error, ReceiveError::Unauthentic, "{cut} bytes of the tag missing");
        }
    });
    assert_eq!((stats.malformed, stats.unauthentic, stats.opened), (16, 16, 0));
    still_opens(&mut keys, 9);
}

#[test]
fn a_header_of_one_mebibyte() {
    let mut keys = receiver();
    let stats = counted(&mut keys, |keys| {
        // No header is longer than 17 bytes, whatever its first one says.
        for first in 0..=0xff {
            let mut bytes = vec![0xff; 1 << 20];
            bytes[0] = first;
            let length = peek(&bytes).map_or(0, |peeked| peeked.length);
            assert!(length <= 17);
            refuse(keys, &bytes, 200);
        }
        let long = vec![0xff; config().receive.frame_length + 1];
        assert!(matches!(refuse(keys, &long, 200), ReceiveError::TooLong { .. }));
        let metadata = vec![0; 1 << 20];
        let mut good = frame(20, 1, 0, 9, b"x");
        let error = keys.receiver().unprotect_in_place(&mut good, &metadata, at(200));
        let (limit, found) = (MAX_METADATA_LENGTH, 1 << 20);
        assert_eq!(error, Err(ReceiveError::MetadataTooLong { limit, found }));
    });
    assert_eq!(stats.opened, 0);
    assert!(stats.malformed >= 2);
    // A frame that never ends.
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let endless = vec![0xff; 16 << 20];
    let fragmenter = Fragmenter::new(1_200).unwrap();
    let mut lost = 0;
    for (number, fragment) in fragmenter.fragments(&endless).enumerate() {
        let mut payload = Vec::new();
        fragment.write_to(&mut payload);
        let packet = RtpPacket { sequence: number as u16, timestamp: 1, payload: &payload };
        let _ = reassembler.push(packet, at(200));
        while let Some(output) = reassembler.poll(at(200)) {
            assert!(matches!(output, Reassembled::Lost(_)));
            lost += 1;
        }
    }
    assert!(lost > 0);
    still_opens(&mut keys, 9);
}

/// A member forges a frame of its victim with a counter so high that all that comes from the victim
/// would be behind the replay window.
#[test]
fn a_frame_forged_with_a_huge_counter_to_mute_its_victim() {
    let mut keys = receiver();
    let stats = counted(&mut keys, |keys| {
        for ctr in [1 << 32, u64::MAX, u64::MAX - 1, 1 << 20] {
            let error = refuse(keys, &frame(20, 1, 0, ctr, b"x"), 200);
            assert!(
                matches!(error, ReceiveError::CounterTooFarAhead { ctr: found, .. } if found == ctr)
            );
        }
    });
    assert_eq!((stats.too_far_ahead, stats.opened), (4, 0));
    still_opens(&mut keys, 6);
}

/// Counters of SFrame play the part of generations: one 2^32 ahead costs nothing and is refused.
#[test]
fn a_generation_jump_of_two_to_the_32() {
    let mut keys = receiver();
    let stats = counted(&mut keys, |keys| {
        let error = refuse(keys, &frame(20, 1, 0, 5 + (1 << 32), b"x"), 200);
        assert!(matches!(error, ReceiveError::CounterTooFarAhead { .. }));
    });
    assert_eq!(stats.too_far_ahead, 1);
    still_opens(&mut keys, 6);
}

/// A flood of forged frames under every kind of KID: nothing is kept for any of them, and the
/// receiver goes on as before.
#[test]
fn a_flood_of_unknown_kids() {
    use rand::{Rng as _, RngExt as _, SeedableRng as _};
    let seed = 0x5EED_F00D;
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let live: Vec<u32> = (0..1_000).collect();
    let mut keys = member(20, 0, &live);
    for round in 0..50_000_u32 {
        // Half of them pass every check before the cipher.
        let kid = if round % 2 == 0 {
            let layout = KidLayout::DEFAULT;
            layout.compose(rng.random_range(0..64), rng.random_range(1..1_000), 20).unwrap()
        } else {
            Kid(rng.next_u64() >> rng.random_range(0..64))
        };
        let ctr = rng.next_u64() >> rng.random_range(0..64);
        let mut forged = Header { kid, ctr }.encode().as_bytes().to_vec();
        forged.resize(forged.len() + 20, round as u8);
        let result = keys.receiver().unprotect_in_place(&mut forged, b"", at(0));
        assert!(result.is_err(), "seed {seed:#x}, round {round}");
    }
    assert_eq!(keys.receiver().streams(), [], "seed {seed:#x}");
    let stats = *keys.receiver().stats();
    assert_eq!(stats.opened, 0);
    assert!(stats.unauthentic > 5_000, "{stats:?}");
    let mut honest = frame(20, 999, 63, 0, b"x");
    keys.receiver().unprotect_in_place(&mut honest, b"", at(0)).unwrap();
    assert_eq!(keys.receiver().streams().len(), 1);
}

/// KIDs of epochs that never come: nothing is kept for them.
#[test]
fn a_flood_of_unknown_epochs() {
    let mut keys = receiver();
    let stats = counted(&mut keys, |keys| {
        for round in 0..10_000 {
            refuse(keys, &frame(21 + round % 8, 1, 0, round, b"x"), 200);
        }
    });
    assert_eq!((stats.future, stats.opened), (10_000, 0));
    let missing = events(&mut keys);
    assert!((1..=8).contains(&missing.len()));
    assert!(missing.iter().all(|event| matches!(event, Event::MissingKey { .. })));
    still_opens(&mut keys, 6);
}

#[test]
fn a_downgrade_of_call_parameters() {
    let floor = ParameterFloor::default();
    let mut parameters = CallParameters::default();
    for (suite, accepted) in [
        (CipherSuite::try_from(1).unwrap(), false),
        (CipherSuite::try_from(2).unwrap(), false),
        (CipherSuite::try_from(3).unwrap(), false),
        (CipherSuite::Aes128GcmSha256_128, true),
        (CipherSuite::Aes256GcmSha512_128, true),
    ] {
        parameters.suite = suite;
        let read = CallParameters::decode(&parameters.encode()).unwrap();
        let checked = read.check_floor(&floor);
        let expected =
            if accepted { Ok(()) } else { Err(ParametersError::BelowFloor("tag length")) };
        assert_eq!(checked, expected);
    }
    parameters.media.contexts = 4_096;
    let expected = Err(ParametersError::BelowFloor("number of contexts"));
    assert_eq!(parameters.check_floor(&floor), expected);
}

/// A member without scruples commits other parameters; every other member refuses.
#[test]
fn a_commit_that_alters_the_call_parameters() {
    let parameters = CallParameters::default();
    let mut weaker = parameters.clone();
    weaker.suite = CipherSuite::try_from(3).unwrap();
    let result = offence(&parameters, |group| {
        let mut replacement = extensions(&weaker);
        let required = RequiredCapabilities {
            extension_types: vec![CALL_PARAMETERS],
            ..RequiredCapabilities::default()
        };
        replacement.set(Extension::new(ExtensionType::REQUIRED_CAPABILITIES, &required));
        let builder = group.commit().extensions(replacement);
        builder.build(&mut os_rng(), crate::groups::NOW).unwrap().commit().to_vec()
    });
    assert_refused(result, "call-parameters-changed");
}
