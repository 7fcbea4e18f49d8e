//! Frames that must be refused, before any key is made, with the state as it was.

use crate::common::{at, config, epoch, events, frame, member};
use proptest::prelude::*;
use sframe_bridge::{
    Action, CallKeys, Event, Header, Kid, ReceiveError, ReceiveStats, StreamState, TrackId,
};

/// The receiver's whole state, apart from statistics.
fn state(keys: &mut CallKeys) -> (Vec<u64>, Vec<StreamState>, Option<u64>) {
    let newest = keys.newest_epoch();
    (keys.receiver().epochs().collect(), keys.receiver().streams(), newest)
}

/// Opens a frame that must be refused; state and, before the cipher, the frame stay as they were.
pub(crate) fn refuse(keys: &mut CallKeys, frame: &[u8], millis: u64) -> ReceiveError {
    let before = state(keys);
    let mut copy = frame.to_vec();
    let error = keys.receiver().unprotect_in_place(&mut copy, b"", at(millis)).unwrap_err();
    assert_eq!(state(keys), before, "{error}");
    let after_cipher = matches!(
        error,
        ReceiveError::Unauthentic | ReceiveError::Duplicate { .. } | ReceiveError::Replayed { .. }
    );
    if !after_cipher {
        assert_eq!(copy, frame, "{error}");
    }
    error
}

/// Leaf 0 of a call with leaves 0, 1 and 3, in epoch 20, which it saw begin; 19 is kept.
pub(crate) fn receiver() -> CallKeys {
    let mut keys = member(19, 0, &[0, 1, 2, 3]);
    keys.install_epoch(epoch(20, 0, &[0, 1, 3]).with_removed(vec![2]), at(100)).unwrap();
    let mut seen = frame(20, 1, 0, 5, b"seen");
    keys.receiver().unprotect_in_place(&mut seen, b"", at(200)).unwrap();
    events(&mut keys);
    keys
}

#[test]
fn kids_that_may_not_be_used() {
    let mut keys = receiver();
    let streams = keys.receiver().streams().len();
    let own = refuse(&mut keys, &frame(20, 0, 0, 0, b"x"), 200);
    assert_eq!(own, ReceiveError::OwnKid);
    let removed = refuse(&mut keys, &frame(20, 2, 0, 0, b"x"), 200);
    assert_eq!(removed, ReceiveError::BlankLeaf { leaf: 2 });
    let outside = refuse(&mut keys, &frame(20, 4_000, 0, 0, b"x"), 200);
    assert_eq!(outside, ReceiveError::BlankLeaf { leaf: 4_000 });
    let context = refuse(&mut keys, &frame(20, 1, 64, 0, b"x"), 200);
    assert_eq!(context, ReceiveError::ContextNotAllowed { context: 64, limit: 64 });
    let context = refuse(&mut keys, &frame(20, 1, (1 << 44) - 1, 0, b"x"), 200);
    assert!(matches!(context, ReceiveError::ContextNotAllowed { .. }));
    assert_eq!(keys.receiver().streams().len(), streams);
    assert_eq!(keys.receiver().stats().forbidden_kid, 5);
    // The removed member's frames under the epoch before are still in flight.
    let mut last = frame(19, 2, 0, 0, b"in flight");
    keys.receiver().unprotect_in_place(&mut last, b"", at(200)).unwrap();
}

#[test]
fn epochs_that_are_not_here() {
    let mut keys = receiver();
    for ahead in 1..=8 {
        let error = refuse(&mut keys, &frame(20 + ahead, 1, 0, 0, b"x"), 200);
        assert_eq!(error, ReceiveError::FutureEpoch { epoch: 20 + ahead });
        assert_eq!(error.action(), Action::WaitForKey);
        assert_eq!(events(&mut keys), [Event::MissingKey { epoch: 20 + ahead }]);
    }
    refuse(&mut keys, &frame(24, 1, 0, 0, b"x"), 200);
    assert_eq!(events(&mut keys), [], "each epoch is reported once");
    let far = refuse(&mut keys, &frame(29, 1, 0, 0, b"x"), 200);
    assert_eq!(far.action(), Action::Drop);
    let before_join = refuse(&mut keys, &frame(18, 1, 0, 0, b"x"), 200);
    assert_eq!(before_join, ReceiveError::BeforeJoin { epoch: 18 });
    keys.handle_timeout(at(20_000));
    let expired = refuse(&mut keys, &frame(19, 1, 0, 0, b"x"), 20_000);
    assert_eq!(expired, ReceiveError::ExpiredEpoch { epoch: 19 });

    let mut nobody = CallKeys::new(config());
    assert_eq!(refuse(&mut nobody, &frame(1, 1, 0, 0, b"x"), 0), ReceiveError::NoEpoch);
}

#[test]
fn low_bits_of_an_epoch_that_never_was() {
    let mut keys = member(2, 0, &[0, 1]);
    let error = refuse(&mut keys, &frame(250, 1, 0, 0, b"x"), 0);
    assert_eq!(error, ReceiveError::ExpiredEpoch { epoch: 0 });
    // Epoch 0 itself must not answer for it.
    let mut keys = member(0, 0, &[0, 1]);
    assert!(refuse(&mut keys, &frame(200, 1, 0, 0, b"x"), 0).action() == Action::Drop);
}

#[test]
fn every_cut_and_every_flipped_bit() {
    let mut keys = receiver();
    for (leaf, context) in [(1, 0), (3, 2)] {
        let whole = frame(20, leaf, context, 9, b"the plaintext");
        for cut in 0..whole.len() {
            refuse(&mut keys, &whole[..cut], 200);
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refuse(&mut keys, &flipped, 200);
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(refuse(&mut keys, &longer, 200), ReceiveError::Unauthentic);
        let other_metadata =
            keys.receiver().unprotect_in_place(&mut whole.clone(), b"other", at(200)).unwrap_err();
        assert_eq!(other_metadata, ReceiveError::Unauthentic);
    }
}

#[test]
fn lengths_out_of_bounds() {
    let mut config = config();
    config.receive.frame_length = 100;
    let mut keys = CallKeys::new(config);
    keys.install_epoch(epoch(20, 0, &[0, 1]), at(0)).unwrap();
    let long = refuse(&mut keys, &frame(20, 1, 0, 0, &[7; 100]), 0);
    assert!(matches!(long, ReceiveError::TooLong { limit: 100, .. }));
    let mut plain = Vec::new();
    let result = keys.receiver().unprotect_into(&[0; 1 << 20], b"", &mut plain, at(0));
    assert!(result.is_err());
    assert!(plain.capacity() < 1 << 20, "an oversize frame is not copied");
    let mut ok = frame(20, 1, 0, 0, b"x");
    let metadata = vec![0; sframe_bridge::MAX_METADATA_LENGTH + 1];
    let error = keys.receiver().unprotect_in_place(&mut ok, &metadata, at(0)).unwrap_err();
    assert!(matches!(error, ReceiveError::MetadataTooLong { .. }));
    assert_eq!(refuse(&mut keys, &[], 0).action(), Action::Drop);
}

#[test]
fn duplicates_replays_and_counters_from_the_far_future() {
    let mut keys = receiver();
    let again = refuse(&mut keys, &frame(20, 1, 0, 5, b"seen"), 200);
    assert_eq!(again, ReceiveError::Duplicate { ctr: 5 });
    // 100 ms of epoch and 10 s of slack at 1,000 frames a second.
    let limit = 10_100;
    let far = refuse(&mut keys, &frame(20, 1, 0, limit + 1, b"x"), 200);
    assert_eq!(far, ReceiveError::CounterTooFarAhead { ctr: limit + 1, limit });
    refuse(&mut keys, &frame(20, 1, 0, u64::MAX, b"x"), 200);
    let mut allowed = frame(20, 1, 0, limit, b"x");
    keys.receiver().unprotect_in_place(&mut allowed, b"", at(200)).unwrap();
    let old = refuse(&mut keys, &frame(20, 1, 0, limit - 1024, b"x"), 200);
    assert_eq!(old, ReceiveError::Replayed { ctr: limit - 1024 });
    let mut late = frame(20, 1, 0, limit - 1023, b"late but in the window");
    keys.receiver().unprotect_in_place(&mut late, b"", at(200)).unwrap();
    let stats = keys.receiver().stats();
    assert_eq!((stats.duplicates, stats.replayed, stats.too_far_ahead), (1, 1, 2));
}

#[test]
fn an_epoch_from_the_log_allows_the_counters_of_its_age() {
    let mut keys = CallKeys::new(config());
    let old = epoch(20, 0, &[0, 1]).began_earlier(core::time::Duration::from_secs(600));
    keys.install_epoch(old, at(0)).unwrap();
    let mut late = frame(20, 1, 0, 600_000, b"x");
    keys.receiver().unprotect_in_place(&mut late, b"", at(0)).unwrap();
}

#[test]
fn a_forged_first_frame_leaves_no_trace() {
    let mut keys = receiver();
    let mut forged = frame(20, 3, 7, 1, b"x");
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(refuse(&mut keys, &forged, 200), ReceiveError::Unauthentic);
    assert!(keys.receiver().streams().iter().all(|stream| stream.leaf != 3));
    forged[last] ^= 1;
    keys.receiver().unprotect_in_place(&mut forged, b"", at(200)).unwrap();
}

#[test]
fn misuse_of_the_sender_burns_nothing() {
    let mut keys = member(20, 0, &[0, 1]);
    let mut sender = keys.sender(TrackId(1)).unwrap();
    let mut buffer = [0; 100];
    assert!(sender.protect_in_place(&mut buffer, 16..50, b"").is_err());
    assert!(sender.protect_in_place(&mut buffer, 20..85, b"").is_err());
    assert!(sender.protect_in_place(&mut buffer, 20..101, b"").is_err());
    #[allow(clippy::reversed_empty_ranges, reason = "the range under test is reversed")]
    let reversed = sender.protect_in_place(&mut buffer, 50..20, b"");
    assert!(reversed.is_err());
    let metadata = [0; sframe_bridge::MAX_METADATA_LENGTH + 1];
    assert!(sender.protect_in_place(&mut buffer, 20..50, &metadata).is_err());
    assert_eq!(sender.next_counter(), Some(0));
    assert!(sender.protect_in_place(&mut buffer, 17..84, b"").is_ok());
    assert_eq!(sender.next_counter(), Some(1));
}

proptest! {
    #[test]
    fn arbitrary_bytes_change_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200), kid in any::<u64>(), ctr in any::<u64>()) {
        let mut keys = receiver();
        refuse(&mut keys, &bytes, 200);
        let mut shaped = Header { kid: Kid(kid), ctr }.encode().as_bytes().to_vec();
        shaped.extend(&bytes);
        refuse(&mut keys, &shaped, 200);
        // A KID that passes all checks.
        let mut near = Header { kid: Kid((1 << 8) | 20), ctr: ctr % 10_000 }.encode().as_bytes().to_vec();
        near.extend(&bytes);
        near.extend([0; 16]);
        prop_assert_eq!(refuse(&mut keys, &near, 200), ReceiveError::Unauthentic);
    }

    /// Frames of several streams in any order, some twice: each is opened once.
    #[test]
    fn reordered_and_repeated(order in proptest::collection::vec((0_u64..300, 0_u64..2), 1..200)) {
        let mut keys = receiver();
        let before = *keys.receiver().stats();
        let mut seen = std::collections::BTreeSet::new();
        for (ctr, context) in order {
            let mut bytes = frame(20, 3, context, ctr, b"frame");
            let result = keys.receiver().unprotect_in_place(&mut bytes, b"", at(200));
            if seen.insert((ctr, context)) {
                prop_assert_eq!(&bytes[result.unwrap().plain], b"frame");
            } else {
                prop_assert_eq!(result, Err(ReceiveError::Duplicate { ctr }));
            }
        }
        let stats: ReceiveStats = *keys.receiver().stats();
        prop_assert_eq!(stats.opened - before.opened, seen.len() as u64);
    }
}
