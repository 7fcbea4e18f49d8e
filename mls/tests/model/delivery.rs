//! What arrives: the log, application data, what comes out of order, and what is meant for others.

use mls::{
    Action, Group, ProcessError, Processed,
    codec::{Decode, Encode},
    validation::ProposalListViolation,
    wire::{MlsMessage, MlsMessageBody},
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use crate::{
    actor::{Ghost, copy, snapshot_key, state},
    support::NOW,
    world::{Mail, World},
};

impl World {
    pub(crate) fn read_all(&mut self, rng: &mut StdRng) {
        for name in 0..self.actors.len() {
            self.read(name, usize::MAX, false, rng);
        }
    }

    /// A member reads on in the log; proposals may get lost on the way.
    pub(crate) fn read(&mut self, name: usize, most: usize, lossy: bool, rng: &mut StdRng) {
        for _ in 0..most.min(self.log.len() + 1) {
            let place = self.actors[name].position.next;
            if self.actors[name].active().is_none() || place >= self.log.len() {
                return;
            }
            if self.log[place].commit {
                self.read_commit(name, place);
            } else if !(lossy && rng.random_ratio(1, 3)) {
                self.read_proposal(name, place);
            }
            let actor = &mut self.actors[name];
            if actor.group.is_some() {
                actor.position.next = place + 1;
            }
        }
    }

    fn read_proposal(&mut self, name: usize, place: usize) {
        let actor = &mut self.actors[name];
        if !actor.position.processed.insert(place) {
            return;
        }
        let entry = &self.log[place];
        let group = actor.group.as_mut().expect("a member");
        match group.process(&entry.bytes, NOW) {
            Ok(Processed::Proposal(_)) => {}
            // Its own, from before a crash: what is encrypted cannot be read back.
            Err(ProcessError::OwnMessage) if entry.sender == name && self.private => {}
            other => panic!("{name}, proposal {place}: {other:?}"),
        }
    }

    fn read_commit(&mut self, name: usize, place: usize) {
        let (epoch, sender) = (self.log[place].epoch, self.log[place].sender);
        let actor = &mut self.actors[name];
        let group = actor.group.as_mut().expect("a member");
        assert_eq!(group.epoch(), epoch, "{name} reads commit {place} in another epoch");
        let before = state(group);
        let mut result = group.process(&self.log[place].bytes, NOW);
        if let Err(ProcessError::InvalidCommit(violation)) = &result
            && matches!(violation, ProposalListViolation::UnknownReference(_))
        {
            assert_eq!(result.as_ref().unwrap_err().action(), Action::Resync);
            // The encrypted commit has spent its key; only the state from before can read it again.
            let restored = self.actors[name].client.restore(&before, &snapshot_key()).unwrap();
            self.actors[name].group = Some(restored);
            self.tally.count("proposals missed and fetched again");
            for earlier in 0..place {
                if self.log[earlier].epoch == epoch {
                    self.read_proposal(name, earlier);
                }
            }
            let group = self.actors[name].group.as_mut().expect("a member");
            result = group.process(&self.log[place].bytes, NOW);
        }
        match result {
            Ok(Processed::Commit(staged)) => {
                if staged.changes().self_removed {
                    let kept = copy(self.group(name));
                    self.ghosts.push(Ghost { group: kept, last: epoch });
                }
                self.group(name).merge(*staged).expect("it was staged here");
                if self.group(name).is_active() {
                    assert_eq!(self.group(name).epoch(), epoch + 1);
                    self.arrived(name);
                } else if self.group(name).reinit().is_some() {
                    self.closed(name);
                } else {
                    assert!(self.group(name).export("model", b"", 32).is_err());
                }
            }
            Err(error) => {
                // Its own commit, whose secrets went down with it; or an update of its own, or the proposals that it
                // cannot read back. All of them follow a crash, and none of them leads anywhere but out.
                let forgot = self.actors[name].is_forgetful(epoch);
                let own = sender == name && matches!(error, ProcessError::OwnCommit);
                assert!(own || forgot, "{name}, commit {place} by {sender}: {error:?}");
                assert_eq!(error.action(), Action::Resync, "{error:?}");
                self.bury(name);
            }
            other => panic!("{name}, commit {place}: {other:?}"),
        }
    }

    /// The member cannot go on with its state, which remains as that of somebody who is no longer there.
    pub(crate) fn bury(&mut self, name: usize) {
        if let Some(group) = self.actors[name].group.take()
            && group.is_active()
        {
            let last = group.epoch();
            self.ghosts.push(Ghost { group, last });
        }
        self.actors[name].snapshots.clear();
    }

    pub(crate) fn send(&mut self, rng: &mut StdRng) {
        // Also somebody who has not heard of the latest epoch.
        let name = self.anybody(rng);
        let Some(group) = self.actors[name].group.as_mut().filter(|group| group.is_active()) else {
            return;
        };
        let data: Vec<u8> = (0..rng.random_range(0..40)).map(|_| rng.random()).collect();
        if let Ok(bytes) = group.protect(&data, b"aad", rng) {
            let epoch = group.epoch();
            if self.actors[name].is_forgetful(epoch) {
                // It may have used the same generations before, as nobody should who saves before sending.
                self.uncertain.insert((name, epoch));
            }
            self.mails.push(Mail { epoch, sender: name, bytes, data });
            self.tally.count("application data sent");
        }
    }

    pub(crate) fn receive(&mut self, rng: &mut StdRng) {
        if self.mails.is_empty() {
            return;
        }
        for _ in 0..4 {
            // Mostly what was sent lately.
            let back = rng.random_range(0..self.mails.len().min(12));
            let mail = self.mails.len() - 1 - back;
            let name = self.anybody(rng);
            self.open(name, mail);
        }
    }

    /// What must come of application data at somebody, wherever they stand.
    fn open(&mut self, name: usize, place: usize) {
        let kept = 3;
        let Some(group) = &mut self.actors[name].group else { return };
        let mail = &self.mails[place];
        let result = group.process(&mail.bytes, NOW);
        let uncertain = self.uncertain.contains(&(mail.sender, mail.epoch));
        let actor = &mut self.actors[name];
        let now = actor.epoch();
        let member =
            self.history.is_member(mail.epoch, &actor.key()) && mail.epoch >= actor.position.joined;
        let (event, readable) = match now {
            None => ("foreign data refused", false),
            Some(now) if mail.epoch > now => ("not for this epoch yet", false),
            Some(_) if mail.sender == name => ("replays refused", false),
            Some(_) if !member => ("foreign data refused", false),
            Some(now) if mail.epoch + kept < now => ("foreign data refused", false),
            Some(_) if actor.position.read.contains(&place) => ("replays refused", false),
            Some(now) if mail.epoch < now => ("read late", true),
            Some(_) => ("application data read", true),
        };
        match result {
            Ok(Processed::Application(received)) => {
                assert!(readable, "{name} reads what is not for it ({event}): {received:?}");
                assert_eq!(received.data, mail.data);
                assert_eq!(received.epoch, mail.epoch);
                let sender = &self.actors[mail.sender];
                assert_eq!(received.sender.signature_key, sender.key());
                self.actors[name].position.read.insert(place);
            }
            Ok(other) => panic!("{name}: {other:?}"),
            Err(error) => {
                assert!(
                    !readable || uncertain,
                    "{name} in {now:?} cannot read mail {place} of {}: {error:?}",
                    mail.epoch
                );
                let waits = error.action() == Action::WaitForKey;
                assert!(now.is_none() || waits == (event == "not for this epoch yet"), "{error:?}");
            }
        }
        self.tally.count(event);
    }

    /// Whoever has just joined can read nothing from before.
    pub(crate) fn look_back(&mut self, name: usize) {
        let joined = self.actors[name].position.joined;
        for place in self.mails.len().saturating_sub(20)..self.mails.len() {
            if self.mails[place].epoch < joined {
                self.open(name, place);
            }
        }
        let group = self.actors[name].active().expect("it has just joined");
        self.history.assert_exports_own_epoch_only(group);
    }

    /// Something from the log at the wrong time, twice, or damaged.
    pub(crate) fn disturb(&mut self, rng: &mut StdRng) {
        let Some(entry) = self.log.choose(rng) else { return };
        let (mut bytes, epoch) = (entry.bytes.clone(), entry.epoch);
        let damaged = rng.random_ratio(1, 2);
        if damaged {
            let place = rng.random_range(0..bytes.len());
            bytes[place] ^= 1 << rng.random_range(0..8);
        }
        let name = self.anybody(rng);
        let Some(group) = &mut self.actors[name].group else { return };
        if !damaged && group.epoch() == epoch {
            // That would be to read on.
            return;
        }
        let before = state(group);
        let result = group.process(&bytes, NOW);
        assert!(result.is_err(), "{name} takes what it should not: {result:?}");
        assert!(state(group) == before, "{result:?} changed the state");
        self.tally.count("disturbances refused");
    }

    pub(crate) fn crash(&mut self, rng: &mut StdRng) {
        let name = self.anybody(rng);
        let back = if rng.random_ratio(1, 2) { 0 } else { rng.random_range(0..6) };
        // The last one who knows the present epoch must not forget it.
        if self.at_head() == [name] {
            return;
        }
        let before = self.actors[name].epoch();
        if self.actors[name].active().is_some() && self.actors[name].crash(back) {
            let stale = self.actors[name].epoch() != before;
            self.tally.count(if stale { "restored from before" } else { "restored" });
        }
    }

    /// Those who were removed, or lost their place, try what they kept.
    pub(crate) fn haunt(&mut self) {
        let keep = self.ghosts.len().saturating_sub(40);
        self.ghosts.drain(..keep);
        for ghost in &mut self.ghosts {
            self.history.assert_exports_own_epoch_only(&ghost.group);
            let later = self.mails.iter().rev().filter(|mail| mail.epoch > ghost.last).take(8);
            for mail in later {
                assert!(ghost.group.process(&mail.bytes, NOW).is_err());
                // A client that cares for no epoch numbers.
                let forced = relabelled(&mail.bytes, &ghost.group);
                let result = ghost.group.process(&forced, NOW);
                assert!(matches!(result, Err(ProcessError::Framing(_))), "{result:?}");
                self.tally.count("attempts of the removed");
            }
            for entry in self.log.iter().rev().filter(|entry| entry.epoch > ghost.last).take(4) {
                assert!(ghost.group.process(&entry.bytes, NOW).is_err());
            }
        }
    }
}

/// Application data as if they belonged to the epoch of this group.
fn relabelled(bytes: &[u8], group: &Group) -> Vec<u8> {
    let MlsMessage(MlsMessageBody::PrivateMessage(mut message)) =
        MlsMessage::from_bytes(bytes).unwrap()
    else {
        panic!("application data are private")
    };
    message.epoch = group.epoch();
    MlsMessage(MlsMessageBody::PrivateMessage(message)).to_bytes()
}
