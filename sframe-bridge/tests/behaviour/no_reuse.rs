//! No (key, counter) is used twice, whatever starts, stops, switches, crashes and comes back.

use crate::common::{at, config, epoch};
use proptest::prelude::*;
use sframe_bridge::{CallKeys, Sender, TrackId, peek};
use std::collections::BTreeSet;

/// What one member may do, in any order.
#[derive(Clone, Debug)]
enum Step {
    /// The group moves on, by a commit of somebody else.
    NewEpoch { removes: bool },
    /// A track starts.
    Start,
    /// A track stops.
    Stop(usize),
    /// A track sends.
    Send(usize, u8),
    /// Time passes.
    Wait(u64),
    /// The other member acknowledges the newest epoch.
    PeerReady,
    /// The member stops sending for a while.
    Pause,
    /// The member goes on sending.
    Resume,
    /// The process dies and is restored from a snapshot so many epochs old; it replays the log and
    /// then commits itself.
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(|removes| Step::NewEpoch { removes }),
        3 => Just(Step::Start),
        2 => (0_usize..8).prop_map(Step::Stop),
        10 => (0_usize..8, 1_u8..20).prop_map(|(track, frames)| Step::Send(track, frames)),
        3 => (0_u64..400).prop_map(Step::Wait),
        2 => Just(Step::PeerReady),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        1 => (0_u64..4).prop_map(Step::Crash),
    ]
}

/// Every (epoch, KID, CTR) that was put on the wire: the key follows from epoch and KID.
#[derive(Default)]
struct Recorder {
    used: BTreeSet<(u64, u64, u64)>,
}

impl Recorder {
    fn send(&mut self, sender: &mut Sender) {
        let mut out = Vec::new();
        if sender.protect_into(b"frame", b"", &mut out).is_ok() {
            let header = peek(&out).unwrap().header;
            let epoch = sender.epoch().unwrap();
            let entry = (epoch, header.kid.0, header.ctr);
            assert!(self.used.insert(entry), "reused {entry:?}");
            assert_eq!(header.kid.0 & 0xFF, epoch & 0xFF);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_key_and_counter_is_used_once(steps in proptest::collection::vec(step(), 1..150)) {
        let mut recorder = Recorder::default();
        let mut number = 250;
        let mut now = 0;
        let mut keys = CallKeys::new(config());
        keys.install_epoch(epoch(number, 1, &[0, 1]), at(now)).unwrap();
        let mut senders: Vec<Sender> = Vec::new();
        for step in steps {
            match step {
                Step::NewEpoch { removes } => {
                    number += 1;
                    let mut next = epoch(number, 1, &[0, 1]);
                    if removes {
                        next = next.with_removed(vec![2]);
                    }
                    keys.install_epoch(next, at(now)).unwrap();
                }
                Step::Start => senders.extend(keys.sender(TrackId(number as u32))),
                Step::Stop(track) if track < senders.len() => drop(senders.remove(track)),
                Step::Send(track, frames) => {
                    if let Some(sender) = senders.get_mut(track) {
                        (0..frames).for_each(|_| recorder.send(sender));
                    }
                }
                Step::Wait(millis) => {
                    now += millis;
                    keys.handle_timeout(at(now));
                }
                Step::PeerReady => keys.peer_ready(0, number, at(now)),
                Step::Pause => keys.stop_sending(),
                Step::Resume => keys.resume_sending(),
                Step::Crash(age) => {
                    senders.clear();
                    keys = CallKeys::restored(config());
                    for replayed in number.saturating_sub(age)..=number {
                        keys.install_epoch(epoch(replayed, 1, &[0, 1]), at(now)).unwrap();
                        senders.extend(keys.sender(TrackId(0)));
                        senders.iter_mut().for_each(|sender| recorder.send(sender));
                    }
                    number += 1;
                    let own = epoch(number, 1, &[0, 1]).began_after_restore();
                    keys.install_epoch(own, at(now)).unwrap();
                }
                Step::Stop(_) => {}
            }
        }
    }
}

#[test]
fn a_track_that_stops_and_starts_gets_another_context() {
    let mut keys = crate::common::member(5, 1, &[0, 1]);
    let mut recorder = Recorder::default();
    let mut kids = BTreeSet::new();
    for _ in 0..50 {
        let mut sender = keys.sender(TrackId(1)).unwrap();
        recorder.send(&mut sender);
        assert!(kids.insert(sender.kid()));
    }
}
