use crate::common::{at, base_key, config, epoch, events, member};
use proptest::prelude::*;
use sframe_bridge::{CallKeys, Epoch, EpochError, Event, SendError, SwitchCause, TrackId};

fn sent_under(keys: &mut CallKeys) -> Option<u64> {
    keys.send_epoch()
}

#[test]
fn the_first_epoch_is_sent_under_at_once() {
    let mut keys = CallKeys::new(config());
    let mut sender = keys.sender(TrackId(3)).unwrap();
    let mut out = Vec::new();
    assert_eq!(sender.protect_into(b"early", b"", &mut out), Err(SendError::NoKey));
    keys.install_epoch(epoch(5, 0, &[0, 1]), at(0)).unwrap();
    let expected = vec![Event::SwitchSend { epoch: 5, cause: SwitchCause::First }];
    assert_eq!(events(&mut keys), expected);
    sender.protect_into(b"frame", b"", &mut out).unwrap();
    assert_eq!(sender.epoch(), Some(5));
}

#[test]
fn acknowledgements_of_all_live_members_switch_at_once() {
    let mut keys = member(5, 0, &[0, 1, 2]);
    keys.install_epoch(epoch(6, 0, &[0, 1, 2]), at(10)).unwrap();
    keys.peer_ready(1, 6, at(20));
    assert_eq!(sent_under(&mut keys), Some(5));
    // Somebody who is not in the group counts for nothing, and nobody counts twice.
    keys.peer_ready(7, 6, at(21));
    keys.peer_ready(1, 6, at(22));
    assert_eq!(sent_under(&mut keys), Some(5));
    keys.peer_ready(2, 6, at(23));
    assert_eq!(sent_under(&mut keys), Some(6));
    assert!(
        events(&mut keys)
            .contains(&Event::SwitchSend { epoch: 6, cause: SwitchCause::Acknowledged })
    );
}

#[test]
fn acknowledgements_may_come_before_the_commit() {
    let mut keys = member(5, 0, &[0, 1, 2]);
    keys.peer_ready(1, 6, at(1));
    keys.peer_ready(2, 6, at(2));
    // The joiner at leaf 3 is not known yet either.
    keys.peer_ready(3, 6, at(3));
    keys.install_epoch(epoch(6, 0, &[0, 1, 2, 3]).with_joined(vec![3]), at(10)).unwrap();
    assert_eq!(sent_under(&mut keys), Some(6));
}

#[test]
fn a_leaf_that_changed_hands_has_acknowledged_nothing() {
    let mut keys = member(5, 0, &[0, 1]);
    keys.peer_ready(1, 5, at(1));
    assert!(keys.has_acknowledged(1, 5));
    let next = epoch(6, 0, &[0, 1]).with_removed(vec![1]).with_joined(vec![1]);
    keys.install_epoch(next, at(10)).unwrap();
    assert!(!keys.has_acknowledged(1, 5));
}

#[test]
fn the_deadline_depends_on_the_commit() {
    for (removed, joined, wait) in [
        (vec![2], vec![], 80),
        (vec![2], vec![3], 80),
        (vec![], vec![3], 200),
        (vec![], vec![], 200),
    ] {
        let mut keys = member(5, 0, &[0, 1, 2]);
        let next = epoch(6, 0, &[0, 1]).with_removed(removed).with_joined(joined);
        keys.install_epoch(next, at(10)).unwrap();
        assert_eq!(keys.next_deadline(), Some(at(10 + wait)));
        keys.handle_timeout(at(10 + wait - 1));
        assert_eq!(sent_under(&mut keys), Some(5));
        keys.handle_timeout(at(10 + wait));
        assert_eq!(sent_under(&mut keys), Some(6));
    }
}

#[test]
fn deadlines_are_sticky_under_churn() {
    let mut keys = member(5, 0, &[0, 1, 2]);
    let mut number = 5;
    // An epoch each 50 ms: a deadline that started anew each time would never come.
    for millis in (0..=200).step_by(50) {
        number += 1;
        keys.install_epoch(epoch(number, 0, &[0, 1, 2]), at(millis)).unwrap();
        let expected = if millis < 200 { 5 } else { number };
        assert_eq!(sent_under(&mut keys), Some(expected), "at {millis} ms");
    }
    // A removal brings the deadline forward, a later addition does not push it back.
    keys.install_epoch(epoch(20, 0, &[0, 1, 2]), at(1_000)).unwrap();
    keys.install_epoch(epoch(21, 0, &[0, 1]).with_removed(vec![2]), at(1_010)).unwrap();
    keys.install_epoch(epoch(22, 0, &[0, 1, 3]).with_joined(vec![3]), at(1_020)).unwrap();
    keys.handle_timeout(at(1_089));
    assert_eq!(sent_under(&mut keys), Some(number));
    keys.handle_timeout(at(1_090));
    assert_eq!(sent_under(&mut keys), Some(22));
}

#[test]
fn a_join_asks_for_a_keyframe_even_if_a_later_epoch_is_switched_to() {
    let mut keys = member(5, 0, &[0, 1]);
    let mut sender = keys.sender(TrackId(9)).unwrap();
    assert!(sender.keyframe_due());
    sender.keyframe_sent();
    assert!(!sender.keyframe_due());
    keys.install_epoch(epoch(6, 0, &[0, 1, 2]).with_joined(vec![2]), at(10)).unwrap();
    keys.install_epoch(epoch(7, 0, &[0, 1, 2]), at(20)).unwrap();
    assert!(!sender.keyframe_due());
    keys.handle_timeout(at(210));
    assert!(sender.keyframe_due());
    let expected = [
        Event::SwitchSend { epoch: 7, cause: SwitchCause::Deadline },
        Event::RequestKeyframe { track: TrackId(9), epoch: 7 },
    ];
    assert_eq!(events(&mut keys), expected);
    sender.keyframe_sent();
    keys.install_epoch(epoch(8, 0, &[0, 1, 2]), at(400)).unwrap();
    keys.handle_timeout(at(600));
    assert_eq!(sender.epoch(), Some(7));
    assert!(!sender.keyframe_due());
    assert_eq!(sender.epoch(), Some(8));
}

#[test]
fn old_epochs_live_as_long_as_somebody_may_send_under_them() {
    // Nobody acknowledges: 10 s.
    let mut keys = member(5, 0, &[0, 1, 2]);
    keys.install_epoch(epoch(6, 0, &[0, 1, 2]), at(100)).unwrap();
    keys.handle_timeout(at(10_099));
    assert_eq!(keys.receiver().epochs().collect::<Vec<_>>(), [5, 6]);
    keys.handle_timeout(at(10_100));
    assert_eq!(keys.receiver().epochs().collect::<Vec<_>>(), [6]);
    assert!(events(&mut keys).contains(&Event::EpochExpired { epoch: 5 }));

    // Everybody acknowledges: the longest switch (200 ms) and 2 s more.
    let mut keys = member(5, 0, &[0, 1, 2]);
    keys.install_epoch(epoch(6, 0, &[0, 1, 2]), at(100)).unwrap();
    keys.peer_ready(1, 6, at(200));
    keys.peer_ready(2, 6, at(500));
    keys.handle_timeout(at(2_699));
    assert_eq!(keys.receiver().epochs().collect::<Vec<_>>(), [5, 6]);
    // A later epoch does not lengthen the life of an older one.
    keys.install_epoch(epoch(7, 0, &[0, 1, 2]), at(2_699)).unwrap();
    keys.handle_timeout(at(2_700));
    assert_eq!(keys.receiver().epochs().collect::<Vec<_>>(), [6, 7]);
}

#[test]
fn an_epoch_is_purged_before_its_low_bits_come_round() {
    let mut keys = member(5, 0, &[0, 1]);
    for number in 6..=252 {
        keys.install_epoch(epoch(number, 0, &[0, 1]), at(1)).unwrap();
    }
    assert_eq!(keys.receiver().epochs().next(), Some(5));
    keys.install_epoch(epoch(253, 0, &[0, 1]), at(1)).unwrap();
    assert_eq!(keys.receiver().epochs().next(), Some(6));
    keys.install_epoch(epoch(600, 0, &[0, 1]), at(1)).unwrap();
    assert_eq!(keys.receiver().epochs().collect::<Vec<_>>(), [600]);
}

#[test]
fn a_restored_member_sends_only_under_an_epoch_that_began_after_the_restore() {
    let mut keys = CallKeys::restored(config());
    let mut sender = keys.sender(TrackId(1)).unwrap();
    let mut out = Vec::new();
    for number in 5..8 {
        keys.install_epoch(epoch(number, 0, &[0, 1]), at(number)).unwrap();
        keys.peer_ready(1, number, at(number));
        keys.handle_timeout(at(5_000 + number));
        assert_eq!(keys.send_epoch(), None);
        assert_eq!(sender.protect_into(b"x", b"", &mut out), Err(SendError::NoKey));
        let mut late = keys.sender(TrackId(2)).unwrap();
        assert_eq!(late.protect_into(b"x", b"", &mut out), Err(SendError::NoKey));
    }
    // It receives all the same.
    let mut frame = crate::common::frame(7, 1, 0, 0, b"hello");
    keys.receiver().unprotect_in_place(&mut frame, b"", at(5_010)).unwrap();
    keys.install_epoch(epoch(8, 0, &[0, 1]).began_after_restore(), at(6_000)).unwrap();
    sender.protect_into(b"x", b"", &mut out).unwrap();
    assert_eq!(sender.epoch(), Some(8));
    // From here on it is a member like any other.
    keys.install_epoch(epoch(9, 0, &[0, 1]), at(6_100)).unwrap();
    keys.peer_ready(1, 9, at(6_200));
    assert_eq!(keys.send_epoch(), Some(9));
}

#[test]
fn a_receive_only_epoch_is_never_sent_under() {
    let mut keys = CallKeys::new(config());
    let mut sender = keys.sender(TrackId(1)).unwrap();
    keys.install_epoch(epoch(5, 0, &[0, 1]).receive_only(), at(0)).unwrap();
    keys.peer_ready(1, 5, at(0));
    keys.handle_timeout(at(1_000));
    assert_eq!(sender.protect_into(b"x", b"", &mut Vec::new()), Err(SendError::NoKey));
    keys.install_epoch(epoch(6, 0, &[0, 1]), at(1_100)).unwrap();
    assert_eq!(keys.send_epoch(), Some(6));
}

#[test]
fn stopping_takes_the_keys_away_and_resuming_brings_fresh_contexts() {
    let mut keys = member(5, 0, &[0, 1]);
    let mut sender = keys.sender(TrackId(1)).unwrap();
    let mut out = Vec::new();
    sender.protect_into(b"x", b"", &mut out).unwrap();
    let before = sender.kid();
    keys.stop_sending();
    assert_eq!(sender.protect_into(b"x", b"", &mut out), Err(SendError::NoKey));
    keys.resume_sending();
    sender.protect_into(b"x", b"", &mut out).unwrap();
    assert_ne!(sender.kid(), before);
    keys.close();
    assert_eq!(sender.protect_into(b"x", b"", &mut out), Err(SendError::NoKey));
    assert_eq!(keys.install_epoch(epoch(6, 0, &[0, 1]), at(1)), Err(EpochError::Closed));
    assert_eq!(keys.next_deadline(), None);
    let mut frame = crate::common::frame(5, 1, 0, 0, b"hello");
    assert!(keys.receiver().unprotect_in_place(&mut frame, b"", at(2)).is_err());
}

#[test]
fn limits_ask_for_a_commit_and_then_refuse() {
    let mut config = config();
    config.counters.soft = 3;
    config.counters.hard = 5;
    config.receive.contexts = 2;
    let mut keys = CallKeys::new(config);
    keys.install_epoch(epoch(5, 0, &[0, 1]), at(0)).unwrap();
    events(&mut keys);
    let mut sender = keys.sender(TrackId(1)).unwrap();
    let mut out = Vec::new();
    for _ in 0..3 {
        sender.protect_into(b"x", b"", &mut out).unwrap();
    }
    assert_eq!(events(&mut keys), []);
    sender.protect_into(b"x", b"", &mut out).unwrap();
    assert_eq!(events(&mut keys), [Event::CounterLow { track: TrackId(1) }]);
    sender.protect_into(b"x", b"", &mut out).unwrap();
    assert_eq!(events(&mut keys), []);
    let exhausted = Err(SendError::CounterExhausted { limit: 5 });
    assert_eq!(sender.protect_into(b"x", b"", &mut out), exhausted);
    drop(sender);
    drop(keys.sender(TrackId(1)).unwrap());
    // Both contexts of this epoch have been issued, although no track is left.
    let refused = keys.sender(TrackId(1)).map(drop);
    assert_eq!(refused, Err(SendError::ContextsExhausted { limit: 2 }));
    keys.install_epoch(epoch(6, 0, &[0, 1]), at(10)).unwrap();
    keys.handle_timeout(at(310));
    assert!(keys.sender(TrackId(1)).is_ok());
}

#[test]
fn epochs_that_cannot_be_are_refused_and_change_nothing() {
    let mut keys = member(5, 0, &[0, 1]);
    let refused = |keys: &mut CallKeys, epoch: Epoch| {
        let error = keys.install_epoch(epoch, at(1)).unwrap_err();
        assert_eq!(keys.newest_epoch(), Some(5));
        assert_eq!(keys.next_deadline(), None);
        assert_eq!(events(keys), []);
        error
    };
    let same = refused(&mut keys, epoch(5, 0, &[0, 1]));
    assert_eq!(same, EpochError::NotNewer { newest: 5, found: 5 });
    let leaf = refused(&mut keys, epoch(6, 0, &[0, 4096]));
    assert!(matches!(leaf, EpochError::Leaf(_)));
    let own = refused(&mut keys, epoch(6, 2, &[0, 1]));
    assert_eq!(own, EpochError::OwnLeafNotLive { leaf: 2 });
    let short = sframe_bridge::BaseKey::new(base_key(6).expose_secret()[1..].to_vec());
    let length = refused(&mut keys, Epoch::new(6, short, 0, vec![0, 1]));
    assert_eq!(length, EpochError::BaseKeyLength { expected: 16, found: 15 });
}

proptest! {
    /// Whatever comes: sending never goes back, is never later than the longest switch after the
    /// first epoch that it does not follow, and only epochs that allow it are sent under.
    #[test]
    fn switching_follows_its_rules(steps in proptest::collection::vec((0_u64..400, 0_u8..6, any::<bool>(), 0_u32..4), 1..60)) {
        let mut keys = member(1, 0, &[0, 1, 2, 3]);
        let mut now = 0;
        let mut number = 1;
        let mut behind_since = None;
        let mut last = Some(1);
        let mut forbidden = std::collections::BTreeSet::new();
        for (pause, kind, flag, leaf) in steps {
            now += pause;
            match kind {
                0..=2 => {
                    number += 1;
                    let mut next = epoch(number, 0, &[0, 1, 2, 3]);
                    if kind == 1 { next = next.with_removed(vec![leaf + 4]); }
                    if kind == 2 && flag { next = next.receive_only(); forbidden.insert(number); }
                    keys.install_epoch(next, at(now)).unwrap();
                }
                3 => keys.peer_ready(leaf, number, at(now)),
                _ => keys.handle_timeout(at(now)),
            }
            let sending = keys.send_epoch();
            prop_assert!(sending >= last);
            prop_assert!(sending.is_none_or(|epoch| !forbidden.contains(&epoch)));
            last = sending;
            let newest_allowed = (1..=number).rev().find(|epoch| !forbidden.contains(epoch));
            if sending == newest_allowed {
                behind_since = None;
            } else {
                let since = *behind_since.get_or_insert(now);
                let deadline = keys.next_deadline().unwrap();
                prop_assert!(deadline <= at(since + 300));
            }
            let kept = keys.receiver().epochs().collect::<Vec<_>>();
            prop_assert!(kept.contains(&number));
        }
    }
}
