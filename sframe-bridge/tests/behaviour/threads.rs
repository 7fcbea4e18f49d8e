//! Senders and receivers on threads of their own, and many frames at once.

use crate::common::{at, epoch, events, frame, member};
use sframe_bridge::{
    EpochError, HEADROOM, IncomingFrame, KidLayout, OutgoingFrame, ReceiveError, Receiver,
    SendError, Sender, TrackId, receiver_index,
};
use std::num::NonZeroU32;
use std::sync::mpsc;

const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

#[test]
fn senders_and_receivers_move_to_threads_while_epochs_change() {
    fn movable<T: Send + 'static>() {}
    movable::<Sender>();
    movable::<Receiver>();

    let mut alice = member(1, 0, &[0, 1]);
    let mut bob = member(1, 1, &[0, 1]);
    let mut sender = alice.sender(TrackId(1)).unwrap();
    let mut receivers = bob.split_receiver(TWO).unwrap();
    // Without room: the sender is never more than two frames ahead of the epochs.
    let (to_bob, from_alice) = mpsc::sync_channel::<Vec<u8>>(0);
    let (progress, seen) = mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..2_000_u32 {
                let mut wire = Vec::new();
                sender.protect_into(&number.to_be_bytes(), b"", &mut wire).unwrap();
                to_bob.send(wire).unwrap();
            }
        });
        scope.spawn(move || {
            for (number, mut wire) in (0_u32..).zip(from_alice) {
                let index = receiver_index(KidLayout::DEFAULT, TWO, &wire).unwrap();
                let opened = receivers[index].unprotect_in_place(&mut wire, b"", at(0)).unwrap();
                assert_eq!(wire[opened.plain], number.to_be_bytes());
                progress.send(opened.sender.epoch).unwrap();
            }
        });
        let mut epochs = std::collections::BTreeSet::new();
        for (count, sent_under) in (1..).zip(seen) {
            epochs.insert(sent_under);
            if count % 100 == 0 && count < 1_500 {
                let number = 1 + count / 100;
                // Receive keys first, then the switch of the sender.
                bob.install_epoch(epoch(number, 1, &[0, 1]), at(0)).unwrap();
                alice.install_epoch(epoch(number, 0, &[0, 1]), at(0)).unwrap();
                alice.peer_ready(1, number, at(0));
            }
        }
        assert_eq!(epochs.len(), 15, "{epochs:?}");
    });
}

#[test]
fn a_leaf_has_one_receiver_and_one_replay_window() {
    let mut keys = member(20, 0, &[0, 1, 2, 3]);
    let seen = frame(20, 1, 0, 5, b"seen before the split");
    keys.receiver().unprotect_in_place(&mut seen.clone(), b"", at(0)).unwrap();
    let mut receivers = keys.split_receiver(TWO).unwrap();
    assert_eq!(keys.split_receiver(TWO).unwrap_err(), EpochError::AlreadySplit);

    let open = |receiver: &mut Receiver, frame: &[u8]| {
        receiver.unprotect_in_place(&mut frame.to_vec(), b"", at(0)).map(|opened| opened.sender)
    };
    assert_eq!(open(&mut receivers[1], &seen), Err(ReceiveError::Duplicate { ctr: 5 }));
    assert_eq!(open(&mut receivers[0], &seen), Err(ReceiveError::OtherReceiver { leaf: 1 }));
    assert_eq!(open(keys.receiver(), &seen), Err(ReceiveError::OtherReceiver { leaf: 1 }));
    for leaf in 1..=3 {
        let first = frame(20, leaf, 0, 9, b"x");
        let index = receiver_index(KidLayout::DEFAULT, TWO, &first).unwrap();
        assert_eq!(open(&mut receivers[index], &first).unwrap().leaf, leaf);
        for receiver in &mut receivers {
            assert!(open(receiver, &first).is_err());
        }
    }
}

#[test]
fn keys_of_an_expired_epoch_leave_split_receivers() {
    let mut keys = member(20, 0, &[0, 1]);
    let mut receivers = keys.split_receiver(TWO).unwrap();
    let mut last = frame(20, 1, 0, 0, b"x");
    receivers[1].unprotect_in_place(&mut last, b"", at(0)).unwrap();
    keys.install_epoch(epoch(21, 0, &[0, 1]), at(100)).unwrap();
    let mut early = frame(22, 1, 0, 0, b"x");
    let error = receivers[1].unprotect_in_place(&mut early, b"", at(100)).unwrap_err();
    assert_eq!(error, ReceiveError::FutureEpoch { epoch: 22 });
    let missing = sframe_bridge::Event::MissingKey { epoch: 22 };
    assert!(events(&mut keys).contains(&missing), "a split receiver reports to its call");

    keys.handle_timeout(at(20_000));
    assert_eq!(receivers[1].streams().len(), 1);
    receivers[1].follow();
    assert_eq!((receivers[1].streams().len(), receivers[1].epochs().collect()), (0, vec![21]));
    keys.close();
    receivers[1].follow();
    assert_eq!(receivers[1].epochs().count(), 0);
}

#[test]
fn a_batch_is_its_frames() {
    let mut alice = member(1, 0, &[0, 1]);
    let mut bob = member(1, 1, &[0, 1]);
    let mut sender = alice.sender(TrackId(1)).unwrap();
    let mut buffers = [[7_u8; HEADROOM + 100 + 16]; 3];
    let mut batch: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| OutgoingFrame::new(buffer, HEADROOM..HEADROOM + 100, b"m"))
        .collect();
    batch[1].plain.start = HEADROOM - 1;
    assert_eq!(sender.protect_batch(&mut batch), 2);
    assert!(matches!(batch[1].sealed, Err(SendError::NoHeadroom { .. })));
    let mut wires: Vec<Vec<u8>> = batch
        .iter()
        .filter_map(|frame| Some(frame.buffer[frame.sealed.clone().ok()?].to_vec()))
        .collect();
    wires.push(wires[0].clone());
    wires.push(vec![0xFF; 3]);
    let mut incoming: Vec<_> =
        wires.iter_mut().map(|wire| IncomingFrame::new(wire, b"m")).collect();
    assert_eq!(bob.receiver().unprotect_batch(&mut incoming, at(0)), 2);
    for (ctr, frame) in incoming[..2].iter().enumerate() {
        let opened = frame.opened.as_ref().unwrap();
        assert_eq!(opened.sender.ctr, ctr as u64);
        assert_eq!(frame.frame[opened.plain.clone()], [7; 100]);
    }
    assert_eq!(incoming[2].opened, Err(ReceiveError::Duplicate { ctr: 0 }));
    assert!(matches!(incoming[3].opened, Err(ReceiveError::Header(_))));
}
