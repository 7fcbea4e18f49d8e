use crate::common::{at, epoch, frame, member};
use core::time::Duration;
use proptest::prelude::*;
use sframe_bridge::{ReceiveError, WaitBuffer, WaitLimits};

#[test]
fn a_frame_that_came_before_its_commit_is_opened_after_it() {
    let mut bob = member(5, 1, &[0, 1]);
    let mut buffer = WaitBuffer::new(WaitLimits::default());
    for (number, ctr) in [(7, 0), (6, 0), (6, 1), (7, 1)] {
        let mut early = frame(number, 0, 0, ctr, &[number as u8, ctr as u8]);
        let error = bob.receiver().unprotect_in_place(&mut early, b"", at(1)).unwrap_err();
        let ReceiveError::FutureEpoch { epoch } = error else { panic!("{error}") };
        assert_eq!(epoch, number);
        assert!(buffer.push(epoch, early, ctr, at(1)).is_empty());
    }
    assert!(buffer.take_ready(5).is_empty());
    for number in [6, 7] {
        bob.install_epoch(epoch(number, 1, &[0, 1]), at(10)).unwrap();
        let ready = buffer.take_ready(number);
        assert_eq!(ready.len(), 2);
        for (order, mut waiting) in ready.into_iter().enumerate() {
            assert_eq!(waiting.note, order as u64);
            assert_eq!(at(10).saturating_since(waiting.since), Duration::from_millis(9));
            let frame = &mut waiting.frame;
            let opened = bob.receiver().unprotect_in_place(frame, b"", at(10)).unwrap();
            assert_eq!(frame[opened.plain], [number as u8, order as u8]);
        }
    }
    assert!(buffer.is_empty());
    assert_eq!((buffer.len(), buffer.bytes()), (0, 0));
}

#[test]
fn the_oldest_goes_first_and_nothing_waits_for_ever() {
    let limits = WaitLimits { frames: 3, bytes: 100, time: Duration::from_millis(500) };
    let mut buffer = WaitBuffer::new(limits);
    for note in 0..3 {
        assert!(buffer.push(9, vec![0; 10], note, at(note)).is_empty());
    }
    let out = buffer.push(9, vec![0; 10], 3, at(3));
    assert_eq!(out.iter().map(|waiting| waiting.note).collect::<Vec<_>>(), [0]);
    let out = buffer.push(9, vec![0; 95], 4, at(4));
    assert_eq!(out.iter().map(|waiting| waiting.note).collect::<Vec<_>>(), [1, 2, 3]);
    let out = buffer.push(9, vec![0; 101], 5, at(5));
    assert_eq!(out.iter().map(|waiting| waiting.note).collect::<Vec<_>>(), [5]);
    assert_eq!(buffer.next_deadline(), Some(at(504)));
    assert!(buffer.expire(at(503)).is_empty());
    assert_eq!(buffer.expire(at(504)).len(), 1);
    assert_eq!(buffer.next_deadline(), None);
}

proptest! {
    #[test]
    fn bounds_hold_and_nothing_gets_lost_unreported(
        pushes in proptest::collection::vec((0_usize..60, 0_u64..20, any::<bool>()), 0..200)
    ) {
        let limits = WaitLimits { frames: 5, bytes: 100, time: Duration::from_millis(50) };
        let mut buffer = WaitBuffer::new(limits);
        let (mut now, mut pushed, mut out) = (0, 0, 0);
        for (length, pause, drain) in pushes {
            now += pause;
            out += buffer.push(now, vec![0; length], (), at(now)).len();
            pushed += 1;
            if drain {
                out += buffer.take_ready(now.saturating_sub(10)).len();
                out += buffer.expire(at(now)).len();
            }
            prop_assert!(buffer.len() <= 5 && buffer.bytes() <= 100);
            prop_assert_eq!(pushed, out + buffer.len());
        }
    }
}
