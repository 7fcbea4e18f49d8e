//! Formats: header, KID, counters, call parameters.

use proptest::prelude::*;
use sframe_bridge::{
    CallParameters, ChangeRight, CipherSuite, Freshness, Header, HeaderError, Kid, KidError,
    KidLayout, MAX_HEADER_LENGTH, MediaPolicy, MembershipPolicy, Packetization, ParameterFloor,
    ParametersError, REPLAY_WINDOW, ReplayWindow, peek,
};
use std::collections::BTreeSet;

#[test]
fn kids_of_the_rfc_example() {
    // RFC 9605 section 5.2: E = 4, S = 6.
    let layout = KidLayout::new(4, 6).unwrap();
    for (context, leaf, epoch, kid) in [
        (0, 3, 14, 0x3E),
        (0, 7, 14, 0x7E),
        (0, 20, 14, 0x14E),
        (0, 3, 15, 0x3F),
        (0, 5, 15, 0x5F),
        (2, 2, 16, 0x820),
        (3, 2, 16, 0xC20),
        (0, 33, 17, 0x211),
        (0, 51, 17, 0x331),
    ] {
        assert_eq!(layout.compose(context, leaf, epoch), Ok(Kid(kid)));
    }
    let error = layout.compose(0, 64, 1).unwrap_err();
    assert_eq!(error, KidError::LeafTooLarge { leaf: 64, leaf_bits: 6 });
    assert!(layout.compose(1 << 54, 0, 1).is_err());
    assert!(layout.compose((1 << 54) - 1, 63, u64::MAX).is_ok());
    for (epoch_bits, leaf_bits) in [(3, 6), (17, 6), (8, 0), (8, 25)] {
        assert!(KidLayout::new(epoch_bits, leaf_bits).is_err());
    }
}

#[test]
fn long_spellings_are_refused() {
    for bytes in [[0x80, 7].as_slice(), &[0x08, 7], &[0x90, 0, 9], &[0x09, 0, 255]] {
        assert_eq!(peek(bytes), Err(HeaderError::NotMinimal), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn headers_come_back(kid_bits in 0_u32..64, ctr_bits in 0_u32..64, kid in any::<u64>(), ctr in any::<u64>(), tail in proptest::collection::vec(any::<u8>(), 0..20)) {
        let header = Header { kid: Kid(kid >> kid_bits), ctr: ctr >> ctr_bits };
        let encoded = header.encode();
        prop_assert!(encoded.as_bytes().len() <= MAX_HEADER_LENGTH);
        let mut bytes = encoded.as_bytes().to_vec();
        bytes.extend(&tail);
        let peeked = peek(&bytes).unwrap();
        prop_assert_eq!(peeked.header, header);
        prop_assert_eq!(peeked.length, encoded.as_bytes().len());
    }

    #[test]
    fn what_parses_as_a_header_is_its_only_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
        if let Ok(peeked) = peek(&bytes) {
            let encoded = peeked.header.encode();
            prop_assert_eq!(encoded.as_bytes(), &bytes[..peeked.length]);
        }
    }

    #[test]
    fn kids_come_apart_again(epoch_bits in 4_u8..=16, leaf_bits in 1_u8..=24, kid in any::<u64>()) {
        let layout = KidLayout::new(epoch_bits, leaf_bits).unwrap();
        let parts = layout.split(Kid(kid));
        prop_assert_eq!(layout.compose(parts.context, parts.leaf, parts.epoch_low), Ok(Kid(kid)));
    }

    /// The window against a set of all counters seen.
    #[test]
    fn replay_window_agrees_with_a_set(start in prop_oneof![Just(0), any::<u64>()], steps in proptest::collection::vec((any::<bool>(), 0_u64..3_000), 1..400)) {
        let mut window = ReplayWindow::new();
        let mut seen = BTreeSet::new();
        let mut highest: Option<u64> = None;
        for (forward, distance) in steps {
            let from = highest.unwrap_or(start);
            let ctr = if forward { from.saturating_add(distance) } else { from.saturating_sub(distance) };
            let expected = match highest {
                Some(highest) if ctr <= highest && highest - ctr >= REPLAY_WINDOW => Freshness::TooOld,
                _ if seen.contains(&ctr) => Freshness::Duplicate,
                _ => Freshness::Fresh,
            };
            prop_assert_eq!(window.check(ctr), expected);
            prop_assert_eq!(window.record(ctr), expected);
            if expected == Freshness::Fresh {
                seen.insert(ctr);
                highest = highest.max(Some(ctr));
            }
            prop_assert_eq!(window.highest(), highest);
        }
    }

    #[test]
    fn parameters_come_back(
        suite in 0_usize..8, epoch_bits in 4_u8..=16, leaf_bits in 1_u8..=24, contexts in 1_u16..=4096,
        frame_rate in 1_u16.., epochs_before in any::<u64>(), flags in any::<[bool; 3]>(),
        moderators in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..10),
    ) {
        let right = |flag| if flag { ChangeRight::Moderators } else { ChangeRight::AnyMember };
        let parameters = CallParameters {
            suite: CipherSuite::ALL[suite],
            layout: KidLayout::new(epoch_bits, leaf_bits).unwrap(),
            media: MediaPolicy {
                contexts,
                frame_rate,
                packetization: if flags[0] { Packetization::PerPacket } else { Packetization::PerFrame },
            },
            membership: MembershipPolicy { add: right(flags[1]), remove: right(flags[2]), moderators },
            epochs_before,
        };
        let encoded = parameters.encode();
        prop_assert_eq!(CallParameters::decode(&encoded), Ok(parameters));
        for cut in 0..encoded.len() {
            prop_assert!(CallParameters::decode(&encoded[..cut]).is_err());
        }
        let mut longer = encoded;
        longer.push(0);
        prop_assert_eq!(CallParameters::decode(&longer), Err(ParametersError::TrailingBytes(1)));
    }

    #[test]
    fn parsed_parameters_have_one_spelling(bytes in proptest::collection::vec(0_u8..10, 0..30)) {
        if let Ok(parameters) = CallParameters::decode(&bytes) {
            prop_assert_eq!(parameters.encode(), bytes);
        }
    }
}

#[test]
fn a_joiner_has_a_floor() {
    let mut parameters = CallParameters::default();
    let floor = ParameterFloor::default();
    assert_eq!(CallParameters::decode(&parameters.encode()), Ok(parameters.clone()));
    assert_eq!(parameters.check_floor(&floor), Ok(()));
    parameters.media.contexts = 257;
    assert!(parameters.check_floor(&floor).is_err());
    parameters.media.contexts = 10;
    parameters.suite = CipherSuite::Aes128CtrHmacSha256_32;
    assert!(parameters.check_floor(&floor).is_err());
    parameters.media.contexts = 0;
    assert!(parameters.check().is_err());
}
