//! Application messages that come late, out of order, twice or not at all, and how long they are.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use mls::{
    Action, Group, ProcessError, Processed,
    framing::{FramingError, Padding},
    schedule::{RatchetLimits, SecretTreeError},
};
use std::num::NonZeroU16;
use support::*;

fn open(group: &mut Group, message: &[u8]) -> Result<Vec<u8>, SecretTreeError> {
    match group.process(message, NOW) {
        Ok(Processed::Application(received)) => Ok(received.data),
        Ok(other) => panic!("expected application data, got {other:?}"),
        Err(error) => {
            assert_eq!(error.action(), Action::Drop);
            let ProcessError::Framing(FramingError::SecretTree(error)) = error else {
                panic!("{error}");
            };
            Err(error)
        }
    }
}

#[test]
fn messages_are_read_in_any_order_within_the_limits() {
    let rng = &mut rng(1);
    let mut options = private_options();
    options.ratchets = RatchetLimits { max_forward: 5, max_kept: 3 };
    let mut groups = group_of(2, suite(), &options, rng);
    let messages: Vec<_> =
        (0..12_u8).map(|number| groups[0].protect(&[number], b"", rng).unwrap()).collect();
    let receiver = &mut groups[1];
    let too_far = open(receiver, &messages[6]).unwrap_err();
    assert!(matches!(too_far, SecretTreeError::GenerationTooFarAhead { .. }), "{too_far}");
    assert_eq!(open(receiver, &messages[4]), Ok(vec![4]));
    // Of the four that were skipped three are kept.
    for number in [2, 1, 3] {
        assert_eq!(open(receiver, &messages[usize::from(number)]), Ok(vec![number]));
    }
    let dropped = open(receiver, &messages[0]).unwrap_err();
    assert!(matches!(dropped, SecretTreeError::GenerationTooOld { .. }), "{dropped}");
    for number in [1, 4] {
        let again = open(receiver, &messages[number]).unwrap_err();
        let consumed = matches!(
            again,
            SecretTreeError::KeyConsumed { .. } | SecretTreeError::GenerationTooOld { .. }
        );
        assert!(consumed, "{again}");
    }
    // What was out of reach comes into it.
    for number in [8, 6, 11, 10] {
        assert_eq!(open(receiver, &messages[usize::from(number)]), Ok(vec![number]));
    }
}

#[test]
fn messages_of_past_epochs_are_read_as_long_as_their_keys_are_kept() {
    let rng = &mut rng(2);
    for past_epochs in 0..3 {
        let mut options = private_options();
        options.past_epochs = past_epochs;
        let mut groups = group_of(3, suite(), &options, rng);
        let mut sent = Vec::new();
        for number in 0..4_u8 {
            sent.push(groups[0].protect(&[number], b"", rng).unwrap());
            let pending = groups[2].commit().build(rng, NOW).unwrap();
            settle(&mut groups, 2, pending);
        }
        for (number, message) in (0_u8..).zip(&sent) {
            let read = groups[1].process(message, NOW);
            if usize::from(number) + past_epochs >= sent.len() {
                let Ok(Processed::Application(received)) = read else { panic!("{read:?}") };
                assert_eq!((received.data, received.epoch), (vec![number], u64::from(number) + 1));
            } else {
                assert!(matches!(read, Err(ProcessError::StaleEpoch { .. })), "{read:?}");
            }
        }
    }
}

#[test]
fn padding_hides_lengths() {
    let step = NonZeroU16::new(512).unwrap();
    for (padding, same) in [
        (Padding::None, false),
        (Padding::MultipleOf(step), true),
        (Padding::PowerOfTwo, true),
        (Padding::Padme, true),
    ] {
        let rng = &mut rng(3);
        let mut options = private_options();
        options.padding = padding;
        let mut groups = group_of(2, suite(), &options, rng);
        let mut lengths = Vec::new();
        for data in [&b"yes"[..], b"no", b"", &[7; 20]] {
            let message = groups[0].protect(data, b"", rng).unwrap();
            lengths.push(message.len());
            assert_eq!(open(&mut groups[1], &message).unwrap(), data);
        }
        assert_eq!(lengths.iter().all(|length| *length == lengths[0]), same, "{padding:?}");
        // Commits are padded as well.
        commit_by(&mut groups, 0, rng);
    }
}
