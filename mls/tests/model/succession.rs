//! Groups that continue the group: a successor, into which everybody moves, and branches beside it.

use mls::{
    Action, Client, Group, GroupId, GroupInfoOptions, JoinError, KeyPackageBundle, NewGroup,
    ProcessError, Processed, PublicGroupOptions,
    validation::SuccessionViolation,
    wire::{ProtocolVersion, ReInit, ResumptionPskUsage},
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use crate::{
    actor::{copy, state},
    support::{NOW, assert_agreement, key_package},
    world::World,
};

/// Who is invited into a group that continues another one.
struct Guest {
    name: usize,
    bundle: KeyPackageBundle,
}

impl World {
    fn invite(&self, names: &[usize], rng: &mut StdRng) -> Vec<Guest> {
        let guest = |name: &usize| Guest {
            name: *name,
            bundle: key_package(&self.actors[*name].client, rng),
        };
        names.iter().map(guest).collect()
    }

    /// Some members make a group of their own. Neither does that change the parent, nor can anybody else enter.
    pub(crate) fn branch(&mut self, rng: &mut StdRng) {
        let maker = self.somebody(rng);
        let (mut names, mut others) = (Vec::new(), Vec::new());
        for actor in self.actors.iter().filter(|actor| actor.name != maker) {
            if actor.active().is_none() {
                continue;
            }
            // Members only; whoever is behind or has been removed may not know it yet.
            let member = self.history.is_member(self.history.head(), &actor.key());
            let invited = member && names.len() < 4 && rng.random_ratio(1, 2);
            (if invited { &mut names } else { &mut others }).push(actor.name);
        }
        let guests = self.invite(&names, rng);
        let id = GroupId(rng.random::<[u8; 16]>().to_vec());
        let parent = self.actors[maker].active().expect("at the head");
        let before = state(parent);
        let mut builder = parent.branch(id);
        for guest in &guests {
            builder = builder.add(guest.bundle.key_package().clone());
        }
        let new = builder.build(rng, NOW).expect("members only");
        assert!(state(parent) == before, "a branch changed its parent");
        let welcome = new.welcome().map(<[u8]>::to_vec);
        let mut groups = vec![new.accept()];
        for guest in &guests {
            let welcome = welcome.as_deref().expect("somebody was invited");
            groups.extend(self.enter_branch(guest, welcome));
        }
        assert_agreement(&groups);
        for group in &groups {
            self.history.assert_knows_nothing_of(group);
        }
        if let (Some(name), Some(welcome)) = (others.choose(rng), &welcome) {
            // The bundle of a guest does not help: its key package names another client.
            let other = &self.actors[*name];
            let (old, bundle) = (other.active().expect("a member"), &guests[0].bundle);
            assert!(other.client.join_from(old, welcome, [bundle], None, NOW).is_err());
        }
        for from in 0..groups.len() {
            let data = groups[from].protect(b"beside", b"", rng).expect("an active member");
            for (_, to) in groups.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                assert!(matches!(to.process(&data, NOW), Ok(Processed::Application(_))));
            }
            assert!(self.group(maker).process(&data, NOW).is_err(), "it is another group");
        }
        self.tally.count("branched off");
    }

    /// None for a guest that cannot follow the parent to where the branch begins.
    fn enter_branch(&mut self, guest: &Guest, welcome: &[u8]) -> Option<Group> {
        let enter = |world: &Self| {
            let actor = &world.actors[guest.name];
            let parent = actor.active().expect("a member");
            let joined = actor.client.join_from(parent, welcome, [&guest.bundle], None, NOW);
            joined.map(|staged| {
                assert_eq!(staged.continues(), Some(ResumptionPskUsage::Branch));
                staged.accept()
            })
        };
        match enter(self) {
            Err(JoinError::Succession(violation @ SuccessionViolation::Early { .. })) => {
                assert_eq!(JoinError::from(violation).action(), Action::WaitForKey);
                self.tally.count("waited for the epoch of a branch");
                // A copy reads on, and the member itself stays where it is.
                let mut ahead = copy(self.actors[guest.name].active().expect("a member"));
                for entry in self.log.iter().skip(self.actors[guest.name].position.next) {
                    match ahead.process(&entry.bytes, NOW) {
                        Ok(Processed::Commit(staged)) => {
                            ahead.merge(*staged).expect("it was staged here");
                        }
                        Ok(Processed::Proposal(_)) => {}
                        // It has missed a proposal, or forgotten a message of its own.
                        Err(error) if error.action() == Action::Resync => return None,
                        Err(ProcessError::OwnMessage) => {}
                        other => panic!("{}: {other:?}", guest.name),
                    }
                }
                let client = self.actors[guest.name].client.clone();
                let joined = client.join_from(&ahead, welcome, [&guest.bundle], None, NOW);
                Some(joined.expect("it has read everything").accept())
            }
            joined => Some(joined.expect("it is invited")),
        }
    }

    /// The group is closed, and everybody moves into its successor; some on the way lose what they have.
    pub(crate) fn succeed(&mut self, rng: &mut StdRng) {
        self.read_all(rng);
        let committer = self.somebody(rng);
        let reinit = ReInit {
            group_id: GroupId(rng.random::<[u8; 16]>().to_vec()),
            version: ProtocolVersion::MLS10,
            cipher_suite: self.suite.id,
            extensions: self.some_extensions(rng),
        };
        let builder = match self.at_head().iter().copied().find(|name| *name != committer) {
            Some(name) if rng.random_ratio(1, 2) => {
                let proposed = self.group(name).propose_reinit(reinit.clone(), rng);
                let proposed = proposed.expect("a valid proposal");
                self.send_proposal(name, proposed.message);
                self.read(committer, usize::MAX, false, rng);
                self.group(committer).commit().only_received(vec![proposed.reference])
            }
            _ => self.group(committer).commit().without_received().reinit(reinit.clone()),
        };
        let pending = builder.build(rng, NOW).expect("a valid commit");
        self.publish(committer, true, pending.commit().to_vec());
        let head = self.history.head();
        self.group(committer).confirm(pending).expect("it won");
        self.closed(committer);
        self.read_all(rng);
        let members = self.actors.iter().filter(|actor| self.history.is_member(head, &actor.key()));
        let roster: Vec<usize> = members.map(|actor| actor.name).collect();
        let closed = |world: &Self, name: usize| {
            let group = world.actors[name].group.as_ref();
            group.is_some_and(|group| group.reinit() == Some(&reinit))
        };
        let able: Vec<usize> = roster.iter().copied().filter(|name| closed(self, *name)).collect();
        for name in &able {
            let group = self.group(*name);
            assert!(!group.is_active() && group.protect(b"late", b"", rng).is_err());
            assert!(group.commit().build(rng, NOW).is_err());
        }
        let maker = *able.choose(rng).expect("the committer is there");
        let others: Vec<usize> = roster.into_iter().filter(|name| *name != maker).collect();
        let guests = self.invite(&others, rng);
        let client: Client = self.actors[maker].client.clone();
        let mut builder = self.group(maker).successor(&client);
        for guest in &guests {
            builder = builder.add(guest.bundle.key_package().clone());
        }
        let new = builder.build(rng, NOW).expect("everybody is invited");
        self.move_into(new, maker, &guests, &able, rng);
        self.tally.count("moved to a successor");
    }

    /// A member is in the last epoch of the group, in which nothing is sent.
    pub(crate) fn closed(&mut self, name: usize) {
        let group = self.actors[name].group.as_ref().expect("a member");
        self.history.arrive(group, name);
    }

    fn move_into(
        &mut self,
        new: NewGroup,
        maker: usize,
        guests: &[Guest],
        able: &[usize],
        rng: &mut StdRng,
    ) {
        if let Some(service) = self.service.take() {
            let info = new.group_info(GroupInfoOptions::default()).unwrap();
            let options = PublicGroupOptions::new(mls::AcceptAnyCredential);
            let service = service.successor(self.suite, &info, None, options, NOW);
            self.service = Some(service.expect("it follows by the rules"));
        }
        let welcome = new.welcome().map(<[u8]>::to_vec);
        let mut entered = vec![(maker, new.accept())];
        for guest in guests.iter().filter(|guest| able.contains(&guest.name)) {
            // Where external commits are possible, whoever lost everything comes back.
            if !self.private && rng.random_ratio(1, 8) {
                continue;
            }
            let actor = &self.actors[guest.name];
            let old = actor.group.as_ref().expect("it has seen the end");
            let restored = rng.random_ratio(1, 3).then(|| copy(old));
            let old = restored.as_ref().unwrap_or(old);
            let welcome = welcome.as_deref().expect("somebody is invited");
            let joined = actor.client.join_from(old, welcome, [&guest.bundle], None, NOW);
            entered.push((guest.name, joined.expect("a successor by the rules").accept()));
        }
        let past = std::mem::take(&mut self.history);
        for actor in &mut self.actors {
            actor.leave();
        }
        self.ghosts.clear();
        self.log.clear();
        self.mails.clear();
        self.uncertain.clear();
        self.invited.clear();
        for (name, group) in entered {
            past.assert_knows_nothing_of(&group);
            self.actors[name].enter(group, 0);
            self.arrived(name);
        }
    }
}
