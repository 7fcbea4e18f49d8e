//! Everybody, the log of the delivery service, and the data that are under way.

use std::{collections::HashSet, sync::Arc};

use mls::{
    AcceptAnyCredential, Client, ClientOptions, Group, GroupId, GroupInfoOptions, GroupOptions,
    HandshakeFormat, Identity, KeyPackageBundle, MemoryPskStore, PublicGroup, PublicGroupOptions,
    PublicProcessed, crypto::Suite, wire::ExtensionType,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    actor::Actor,
    actor::Ghost,
    glass,
    history::History,
    schedule::{Deed, Schedule, Step, Tally},
    support::{self, NOW},
};

pub(crate) const EXTENSION: ExtensionType = ExtensionType(0xff01);

/// The name of whoever sends something without ever being a member.
pub(crate) const OUTSIDE: usize = usize::MAX;

/// Something in the log.
pub(crate) struct Entry {
    pub(crate) epoch: u64,
    pub(crate) sender: usize,
    pub(crate) commit: bool,
    /// A proposal of the sender to leave.
    pub(crate) leaves: bool,
    pub(crate) bytes: Vec<u8>,
}

/// Application data under way.
pub(crate) struct Mail {
    pub(crate) epoch: u64,
    pub(crate) sender: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) suite: &'static Suite,
    pub(crate) members: usize,
    pub(crate) private: bool,
    pub(crate) psks: Arc<MemoryPskStore>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) ghosts: Vec<Ghost>,
    pub(crate) log: Vec<Entry>,
    pub(crate) mails: Vec<Mail>,
    /// Senders and epochs in which a generation may have been used twice.
    pub(crate) uncertain: HashSet<(usize, u64)>,
    /// Those whom a proposal of this epoch would add.
    pub(crate) invited: Vec<(usize, KeyPackageBundle)>,
    pub(crate) history: History,
    /// May propose from outside.
    pub(crate) moderator: Identity,
    /// Follows the group where its handshake is public.
    pub(crate) service: Option<PublicGroup>,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(schedule: &Schedule) -> Self {
        let suite = glass::glass(support::suite(), None);
        glass::watch_nonces();
        let rng = &mut StdRng::seed_from_u64(schedule.seed);
        let mut world = Self {
            suite,
            members: schedule.members,
            private: schedule.private,
            psks: Arc::new(MemoryPskStore::new()),
            actors: Vec::new(),
            ghosts: Vec::new(),
            log: Vec::new(),
            mails: Vec::new(),
            uncertain: HashSet::new(),
            invited: Vec::new(),
            history: History::default(),
            moderator: Identity::basic(*b"moderator", suite, rng).unwrap(),
            service: None,
            tally: Tally::default(),
        };
        let creator = world.recruit(rng);
        let id = GroupId(schedule.seed.to_be_bytes().to_vec());
        let client = &world.actors[creator].client;
        let extensions = world.some_extensions(rng);
        let options = GroupOptions { extensions, ..GroupOptions::default() };
        let group = client.create_group(id, options, rng, NOW).unwrap();
        world.history.arrive(&group, creator);
        if !schedule.private {
            let info = group.group_info(GroupInfoOptions::default()).unwrap();
            let options = PublicGroupOptions::new(AcceptAnyCredential);
            world.service = Some(PublicGroup::new(suite, &info, None, options, NOW).unwrap());
        }
        world.actors[creator].enter(group, 0);
        world
    }

    /// Somebody who has not been a member yet.
    pub(crate) fn recruit(&mut self, rng: &mut StdRng) -> usize {
        let name = self.actors.len();
        let mut options = ClientOptions::new(AcceptAnyCredential);
        options.handshake = match self.private {
            true => HandshakeFormat::Private,
            false => HandshakeFormat::Public,
        };
        options.psks = Arc::<MemoryPskStore>::clone(&self.psks);
        options.capabilities.extensions.push(EXTENSION);
        let client: Client = support::client(&format!("{name}"), self.suite, options, rng);
        self.actors.push(Actor::new(name, client));
        name
    }

    pub(crate) fn step(&mut self, step: Step) {
        let rng = &mut StdRng::seed_from_u64(step.seed);
        match step.deed {
            Deed::Commit => self.commit(rng),
            Deed::Propose => self.propose(rng),
            Deed::Read => {
                let reader = self.anybody(rng);
                let most = rng.random_range(1..6);
                self.read(reader, most, rng.random_ratio(1, 3), rng);
            }
            Deed::ReadAll => self.read_all(rng),
            Deed::Send => self.send(rng),
            Deed::Receive => self.receive(rng),
            Deed::Disturb => self.disturb(rng),
            Deed::Save => {
                let name = self.anybody(rng);
                self.actors[name].save(rng);
                self.tally.count("states saved and restored alike");
            }
            Deed::Crash => self.crash(rng),
            Deed::External => self.external(rng),
            Deed::Haunt => self.haunt(),
            Deed::Outside => self.propose_from_outside(rng),
            Deed::Branch => self.branch(rng),
            // So seldom that groups grow old in between.
            Deed::Succeed if rng.random_ratio(1, 3) => self.succeed(rng),
            Deed::Succeed => {}
        }
    }

    /// Everybody catches up; whoever is still a member agrees with all others.
    pub(crate) fn finish(mut self) -> Tally {
        let rng = &mut StdRng::seed_from_u64(0);
        self.read_all(rng);
        self.haunt();
        assert!(!self.at_head().is_empty(), "nobody is left");
        self.tally
    }

    /// Those who have read everything and are in the present epoch, and may act in it: encrypted messages in generations
    /// that were used before would be unreadable for others.
    pub(crate) fn at_head(&self) -> Vec<usize> {
        let head = self.history.head();
        let there = |actor: &&Actor| {
            actor.epoch() == Some(head)
                && actor.position.next == self.log.len()
                && !(self.private && actor.is_forgetful(head))
        };
        self.actors.iter().filter(there).map(|actor| actor.name).collect()
    }

    /// One of those in the present epoch. Everybody reads on where there is none: somebody always is.
    pub(crate) fn somebody(&mut self, rng: &mut StdRng) -> usize {
        if self.at_head().is_empty() {
            self.read_all(rng);
        }
        let ready = self.at_head();
        assert!(!ready.is_empty(), "nobody can follow the group");
        ready[rng.random_range(0..ready.len())]
    }

    /// Most often a member, wherever it stands, at times somebody else.
    pub(crate) fn anybody(&self, rng: &mut StdRng) -> usize {
        let members = self.actors.iter().filter(|actor| actor.active().is_some());
        let members: Vec<usize> = members.map(|actor| actor.name).collect();
        match members.choose(rng) {
            Some(name) if rng.random_ratio(7, 8) => *name,
            _ => rng.random_range(0..self.actors.len()),
        }
    }

    pub(crate) fn group(&mut self, name: usize) -> &mut Group {
        self.actors[name].group.as_mut().expect("a member")
    }

    /// The delivery service puts something into the log.
    pub(crate) fn publish(&mut self, sender: usize, commit: bool, bytes: Vec<u8>) {
        let epoch = self.history.head();
        if let Some(service) = &mut self.service {
            match service.process(&bytes, NOW).expect("the service accepts it") {
                PublicProcessed::Commit(staged) => {
                    service.merge(*staged).unwrap();
                }
                PublicProcessed::Proposal(proposal) => service.store_proposal(proposal).unwrap(),
            }
        }
        self.log.push(Entry { epoch, sender, commit, leaves: false, bytes });
    }

    /// A member has entered an epoch.
    pub(crate) fn arrived(&mut self, name: usize) {
        let group = self.actors[name].active().expect("an active member");
        self.history.arrive(group, name);
        if let Some(service) = &self.service
            && service.epoch() == group.epoch()
        {
            assert_eq!(service.context(), group.context());
            assert!(service.roster().eq(group.roster()), "the service has another roster");
        }
    }
}
