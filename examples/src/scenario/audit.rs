//! Tries what must not work: the keys of those who left on what came later, and the keys of those
//! who came later on what was before.

use std::collections::BTreeMap;

use sframe_bridge::crypto::{self, SuiteCrypto};
use sframe_bridge::{BaseKey, CallParameters, FrameKey, Kid, SframeSecret, peek};

use super::ledger::{Ledger, MemberId, SentFrame};
use super::report::AttemptReport;
use super::timeline::Timeline;

/// Frames on which one member's keys are tried, spread evenly over those that there are.
const FRAMES_PER_MEMBER: usize = 1500;

/// All base keys that each member ever had.
#[derive(Debug, Default)]
pub struct KeyAudit {
    keys: BTreeMap<MemberId, BTreeMap<u64, BaseKey>>,
}

/// What the attempts came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AuditOutcome {
    /// With the keys of those who left.
    pub after_leave: AttemptReport,
    /// With the keys of those who came later.
    pub before_join: AttemptReport,
    /// With the right keys, on a few frames of each member: must open all, or the attempts above
    /// prove nothing.
    pub control: AttemptReport,
}

impl KeyAudit {
    /// Keeps a member's base key of an epoch.
    pub fn keep(&mut self, member: MemberId, epoch: u64, key: BaseKey) {
        self.keys.entry(member).or_default().insert(epoch, key);
    }

    /// Makes all attempts.
    pub fn run(&self, ledger: &Ledger, timeline: &Timeline) -> AuditOutcome {
        let mut outcome = AuditOutcome::default();
        let provider = crypto::default_provider();
        let Some(crypto) = provider.suite(CallParameters::default().suite) else {
            return outcome;
        };
        for (member, keys) in &self.keys {
            let (Some((first, _)), Some((last, _))) =
                (keys.first_key_value(), keys.last_key_value())
            else {
                continue;
            };
            let mut attacker = Attacker::new(crypto, keys);
            // The epoch that its removal began; its own last epoch if it was never removed.
            if let Some(without) = timeline.removed_in(ledger.name(*member), *last) {
                let later = ledger.frames().filter(|(_, frame)| frame.id.epoch >= without);
                attacker.attempt(later.map(|(_, frame)| frame), &mut outcome.after_leave);
            }
            let earlier = ledger.frames().filter(|(_, frame)| frame.id.epoch < *first);
            attacker.attempt(earlier.map(|(_, frame)| frame), &mut outcome.before_join);

            let own = ledger.frames().filter(|(_, frame)| keys.contains_key(&frame.id.epoch));
            attacker.attempt(own.map(|(_, frame)| frame).take(20), &mut outcome.control);
        }
        outcome
    }
}

/// Somebody with base keys who does not care about epochs: every key is tried on every frame.
struct Attacker {
    secrets: Vec<SframeSecret>,
    /// By KID, the frame keys that the secrets give.
    derived: BTreeMap<Kid, Vec<FrameKey>>,
}

impl Attacker {
    fn new(crypto: &'static SuiteCrypto, keys: &BTreeMap<u64, BaseKey>) -> Self {
        let secrets = keys.values().map(|key| SframeSecret::extract(crypto, key)).collect();
        Self { secrets, derived: BTreeMap::new() }
    }

    fn attempt<'a>(
        &mut self,
        frames: impl Iterator<Item = &'a SentFrame>,
        report: &mut AttemptReport,
    ) {
        let frames: Vec<_> = frames.filter_map(|frame| frame.ciphertext.as_ref()).collect();
        if frames.is_empty() {
            return;
        }
        report.members += 1;
        let step = frames.len().div_ceil(FRAMES_PER_MEMBER).max(1);
        for ciphertext in frames.into_iter().step_by(step) {
            report.frames += 1;
            let tried = self.open(ciphertext);
            report.attempts += tried.attempts;
            report.opened += u64::from(tried.opened);
        }
    }

    fn open(&mut self, ciphertext: &[u8]) -> Tried {
        let mut tried = Tried { attempts: 0, opened: false };
        let Ok(peeked) = peek(ciphertext) else {
            return tried;
        };
        let Some((aad, sealed)) = ciphertext.split_at_checked(peeked.length) else {
            return tried;
        };
        let secrets = &self.secrets;
        let keys = self.derived.entry(peeked.header.kid).or_insert_with(|| {
            let keys = secrets.iter().map(|secret| secret.frame_key(peeked.header.kid));
            keys.filter_map(Result::ok).collect()
        });
        for key in keys {
            let mut buffer = sealed.to_vec();
            tried.attempts += 1;
            tried.opened |= key.open(peeked.header.ctr, aad, &mut buffer).is_ok();
        }
        tried
    }
}

struct Tried {
    attempts: u64,
    opened: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ledger::{FrameHash, FrameId};
    use crate::scenario::timeline::RosterChange;
    use bytes::Bytes;
    use sframe_bridge::{CallKeys, CallKeysConfig, Epoch, Now, TrackId};
    use sfu_sim::protocol::{MediaKind, RemovalReason};
    use std::time::Duration;

    /// Alice sends two frames in each of the epochs 0 to 3, whose base keys are all different.
    fn call() -> (Ledger, Timeline, MemberId, MemberId) {
        let mut ledger = Ledger::default();
        let alice = ledger.join("alice");
        let bob = ledger.join("bob");
        let mut timeline = Timeline::default();
        let crypto = crypto::default_provider().suite(CallParameters::default().suite).unwrap();
        let mut keys = CallKeys::new(CallKeysConfig::new(crypto));
        let mut sender = keys.sender(TrackId(0)).unwrap();
        for epoch in 0..4 {
            let base = BaseKey::new(vec![epoch as u8; 16]);
            let now = Now::from_millis(epoch * 1000);
            keys.install_epoch(Epoch::new(epoch, base, 0, vec![0]), now).unwrap();
            for counter in 0..2 {
                let mut sealed = Vec::new();
                sender.protect_into(b"a frame", &[], &mut sealed).unwrap();
                let frame = SentFrame {
                    id: FrameId { epoch, leaf: 0, context: 0, counter },
                    at: Duration::from_secs(epoch),
                    hash: FrameHash::of(b"a frame"),
                    ciphertext: Some(Bytes::from(sealed)),
                };
                ledger.sent(alice, MediaKind::Video, frame).unwrap();
            }
            let removed = (epoch == 3).then(|| RosterChange::Removed("bob".to_owned()));
            timeline.epoch_began(alice, epoch, removed, Duration::from_secs(epoch));
        }
        timeline.removal_pending(1, "bob", RemovalReason::Left, Duration::from_secs(3), 2);
        (ledger, timeline, alice, bob)
    }

    #[test]
    fn right_keys_open_and_wrong_ones_do_not() {
        let (ledger, timeline, _, bob) = call();
        let mut audit = KeyAudit::default();
        // Bob was there in epochs 1 and 2.
        audit.keep(bob, 1, BaseKey::new(vec![1; 16]));
        audit.keep(bob, 2, BaseKey::new(vec![2; 16]));
        let outcome = audit.run(&ledger, &timeline);
        let report =
            |frames, attempts, opened| AttemptReport { members: 1, frames, attempts, opened };
        assert_eq!(outcome.after_leave, report(2, 4, 0));
        assert_eq!(outcome.before_join, report(2, 4, 0));
        assert_eq!(outcome.control, report(4, 8, 4));
    }

    #[test]
    fn a_leak_is_found() {
        let (ledger, timeline, _, bob) = call();
        let mut audit = KeyAudit::default();
        // The keys that bob had are those of epochs 0 and 3, whatever he calls them.
        audit.keep(bob, 1, BaseKey::new(vec![0; 16]));
        audit.keep(bob, 2, BaseKey::new(vec![3; 16]));
        let outcome = audit.run(&ledger, &timeline);
        assert_eq!(outcome.after_leave.opened, 2);
        assert_eq!(outcome.before_join.opened, 2);
        assert_eq!(outcome.control.opened, 0);
    }
}
