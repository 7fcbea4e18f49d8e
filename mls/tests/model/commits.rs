//! What changes the group: proposals, commits that race each other, external commits.

use mls::{
    ExternalJoinOptions, ExternalProposer, Group, GroupInfoOptions, KeyPackage, KeyPackageBundle,
    Member, MergeError, PendingCommit,
    schedule::Psk,
    wire::{
        Extension, ExtensionType, Extensions, ExternalSenders, GroupContextExtensions, LeafIndex,
        PreSharedKey, PreSharedKeyId, Proposal, PskSource, ResumptionPskUsage,
    },
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use crate::{
    actor::state,
    support::{NOW, key_package},
    world::{EXTENSION, OUTSIDE, World},
};

fn fresh_psk_proposal(source: PskSource, rng: &mut StdRng) -> Proposal {
    let psk_nonce = rng.random::<[u8; 32]>().to_vec();
    Proposal::PreSharedKey(PreSharedKey { psk: PreSharedKeyId { source, psk_nonce } })
}

/// A commit that may win, and who joins if it does.
struct Candidate {
    name: usize,
    pending: PendingCommit,
    joiners: Vec<(usize, KeyPackageBundle)>,
}

impl World {
    fn fresh_psk(&self, rng: &mut StdRng) -> PskSource {
        let psk_id: [u8; 16] = rng.random();
        self.psks.insert(psk_id.to_vec(), Psk::from_slice(&rng.random::<[u8; 32]>()));
        PskSource::External { psk_id: psk_id.to_vec() }
    }

    /// Extensions of the group, of which one changes and the others stay.
    pub(crate) fn some_extensions(&self, rng: &mut StdRng) -> Extensions {
        let data = vec![rng.random(); rng.random_range(0..20)];
        let senders = ExternalSenders(vec![self.moderator.external_sender()]);
        Extensions::from_iter([
            Extension { extension_type: EXTENSION, data },
            Extension::new(ExtensionType::EXTERNAL_SENDERS, &senders),
        ])
    }

    /// Somebody who can be added: a new client, or one that was removed or got lost.
    fn candidate(&mut self, rng: &mut StdRng) -> (usize, KeyPackageBundle) {
        let roster = self.history.roster(self.history.head());
        let outside: Vec<usize> = (0..self.actors.len())
            .filter(|name| {
                let key = self.actors[*name].key();
                !self.invited.iter().any(|(invited, _)| invited == name)
                    && !roster.iter().any(|member| member.signature_key == key)
            })
            .collect();
        let name = match outside.choose(rng) {
            Some(name) if rng.random_ratio(1, 3) => *name,
            _ => self.recruit(rng),
        };
        (name, key_package(&self.actors[name].client, rng))
    }

    fn invite_somebody(&mut self, rng: &mut StdRng) -> KeyPackage {
        let (name, bundle) = self.candidate(rng);
        let package = bundle.key_package().clone();
        self.invited.push((name, bundle));
        package
    }

    /// The moderator proposes something, or somebody who wants to join.
    pub(crate) fn propose_from_outside(&mut self, rng: &mut StdRng) {
        let helper = self.somebody(rng);
        let group = self.group(helper);
        let (context, count) = (group.context().clone(), group.member_count());
        let room = usize::try_from(count).unwrap() < self.members;
        let identity = self.moderator.clone();
        let moderator = ExternalProposer::in_group(self.suite, identity, &context).expect("listed");
        let proposed = match rng.random_range(0..5) {
            0 if room => {
                let (name, bundle) = self.candidate(rng);
                let client = self.actors[name].client.clone();
                let asked = client.propose_join(context.group_id, context.epoch, &bundle);
                self.invited.push((name, bundle));
                self.tally.count("asked to join");
                asked
            }
            1 if room => moderator.propose_add(self.invite_somebody(rng)),
            2 => {
                let psk = fresh_psk_proposal(self.fresh_psk(rng), rng);
                moderator.propose(psk)
            }
            3 => {
                let extensions = self.some_extensions(rng);
                moderator.propose(Proposal::GroupContextExtensions(GroupContextExtensions {
                    extensions,
                }))
            }
            _ => match self.other_leaf(helper, rng) {
                Some(leaf) if count > 2 => moderator.propose_remove(leaf),
                _ => return,
            },
        };
        self.publish(OUTSIDE, false, proposed.expect("a valid proposal").message);
        self.tally.count("proposed from outside");
        self.read(helper, usize::MAX, false, rng);
    }

    fn other_leaf(&mut self, name: usize, rng: &mut StdRng) -> Option<LeafIndex> {
        let group = self.group(name);
        let own = group.own_leaf();
        let others: Vec<_> =
            group.roster().map(|member| member.leaf).filter(|leaf| *leaf != own).collect();
        others.choose(rng).copied()
    }

    pub(crate) fn propose(&mut self, rng: &mut StdRng) {
        let name = self.somebody(rng);
        let count = usize::try_from(self.group(name).member_count()).unwrap();
        let proposed = match rng.random_range(0..9) {
            0..4 => self.group(name).propose_update(rng),
            4 => {
                let psk = self.fresh_psk(rng);
                self.tally.count("psk proposed");
                self.group(name).propose_psk(psk, rng)
            }
            5 => {
                let extensions = self.some_extensions(rng);
                self.group(name).propose_extensions(extensions, rng)
            }
            6 if count < self.members => {
                let package = self.invite_somebody(rng);
                self.group(name).propose_add(package, rng, NOW)
            }
            7 if count > 2 => {
                let Ok(leaving) = self.group(name).propose_self_remove(rng) else {
                    // It has proposed so already.
                    return;
                };
                self.send_proposal(name, leaving.message);
                self.log.last_mut().expect("just sent").leaves = true;
                return;
            }
            _ => match self.other_leaf(name, rng) {
                Some(leaf) if count > 2 => self.group(name).propose_remove(leaf, rng),
                _ => return,
            },
        };
        self.send_proposal(name, proposed.expect("a valid proposal").message);
    }

    /// A member sends a proposal, which it has seen thereby.
    pub(crate) fn send_proposal(&mut self, name: usize, message: Vec<u8>) {
        let place = self.log.len();
        self.publish(name, false, message);
        self.tally.count("proposals sent");
        let actor = &mut self.actors[name];
        actor.position.next = place + 1;
        actor.position.processed.insert(place);
    }

    /// Members build commits at once; the delivery service takes one of them.
    pub(crate) fn commit(&mut self, rng: &mut StdRng) {
        for _ in 0..rng.random_range(0..4) {
            let reader = self.anybody(rng);
            self.read(reader, usize::MAX, rng.random_ratio(1, 4), rng);
        }
        let first = self.somebody(rng);
        let mut names = vec![first];
        for name in self.at_head() {
            if name != first && names.len() < 3 && rng.random_ratio(1, 4) {
                names.push(name);
            }
        }
        let mut candidates: Vec<Candidate> =
            names.into_iter().filter_map(|name| self.build(name, rng)).collect();
        if candidates.is_empty() {
            return;
        }
        let winner = candidates.swap_remove(rng.random_range(0..candidates.len()));
        let commit = winner.pending.commit().to_vec();
        let welcome = winner.pending.welcome().map(<[u8]>::to_vec);
        let welcomed = winner.pending.changes().welcomed.clone();
        self.count_leavers(&winner.pending.changes().removed);
        self.publish(winner.name, true, commit.clone());
        assert!(winner.pending.is_echo(&commit));
        for update in &winner.pending.changes().updated {
            if update.leaf != winner.pending.changes().committer.leaf {
                self.tally.count("updated by reference");
            }
        }
        for (what, times) in [
            ("added", winner.pending.changes().added.len()),
            ("removed", winner.pending.changes().removed.len()),
            ("extensions changed", usize::from(winner.pending.changes().extensions_changed)),
            ("epochs", 1),
        ] {
            (0..times).for_each(|_| self.tally.count(what));
        }
        let place = self.log.len();
        let crashes = rng.random_ratio(1, 10);
        if crashes {
            self.let_others_read(winner.name, rng);
        }
        // Somebody must know the new epoch, or nobody can go on.
        if crashes && self.history.head() == self.log[place - 1].epoch + 1 {
            self.tally.count("committers that crashed before the echo");
            drop(winner.pending);
        } else {
            let change = self.group(winner.name).confirm(winner.pending).expect("it won");
            assert_eq!(change.epoch, self.log[place - 1].epoch + 1);
            self.actors[winner.name].position.next = place;
            self.arrived(winner.name);
        }
        for loser in candidates {
            self.lose(loser, rng);
        }
        let mut joiners = winner.joiners;
        joiners.append(&mut self.invited);
        joiners.retain(|(_, bundle)| welcomed.contains(bundle.reference()));
        for (name, bundle) in joiners {
            let welcome = welcome.as_deref().expect("somebody was added");
            let joined = self.actors[name].client.join(welcome, [&bundle], None, NOW);
            let group = joined.expect("the Welcome is good").accept();
            self.bury(name);
            self.actors[name].enter(group, place);
            self.tally.count("joined by welcome");
            self.arrived(name);
            self.look_back(name);
        }
    }

    /// Of those removed, those who have asked for it.
    fn count_leavers(&mut self, removed: &[Member]) {
        let head = self.history.head();
        for entry in self.log.iter().filter(|entry| entry.leaves && entry.epoch == head) {
            let key = self.actors[entry.sender].key();
            if removed.iter().any(|member| member.signature_key == key) {
                self.tally.count("left by themselves");
            }
        }
    }

    /// The committer is gone for a while: others enter the epoch before it.
    fn let_others_read(&mut self, committer: usize, rng: &mut StdRng) {
        for name in 0..self.actors.len() {
            if name != committer {
                self.read(name, usize::MAX, false, rng);
            }
        }
    }

    fn build(&mut self, name: usize, rng: &mut StdRng) -> Option<Candidate> {
        let count = usize::try_from(self.group(name).member_count()).unwrap();
        let room = self.members.saturating_sub(count);
        let mut joiners = Vec::new();
        // Groups grow quickly while they are small for what they may become.
        let most = room.min(1 + self.members / 4);
        if most > 0 && rng.random_ratio(1, 2) {
            for _ in 0..rng.random_range(1..=most) {
                joiners.push(self.candidate(rng));
            }
            joiners.sort_by_key(|(name, _)| *name);
            joiners.dedup_by_key(|(name, _)| *name);
        }
        let removed = match self.other_leaf(name, rng) {
            Some(leaf) if count > 2 && rng.random_ratio(1, 3) => Some(leaf),
            _ => None,
        };
        let extensions = self.some_extensions(rng);
        let psk = rng.random_ratio(1, 6).then(|| self.fresh_psk(rng));
        let group = self.group(name);
        let resumption = PskSource::Resumption {
            usage: ResumptionPskUsage::Application,
            psk_group_id: group.id().clone(),
            psk_epoch: group.epoch(),
        };
        let mut builder = group.commit();
        for (_, bundle) in &joiners {
            builder = builder.add(bundle.key_package().clone());
        }
        if let Some(leaf) = removed {
            builder = builder.remove(leaf);
        }
        if let Some(psk) = psk {
            builder = builder.psk(psk);
        }
        if joiners.is_empty() && rng.random_ratio(1, 8) {
            // Whoever joins could not know it.
            builder = builder.without_received().psk(resumption);
        }
        if rng.random_ratio(1, 8) {
            builder = builder.extensions(extensions);
        }
        if rng.random_ratio(1, 5) {
            builder = builder.omit_path();
        }
        match builder.build(rng, NOW) {
            Ok(pending) => Some(Candidate { name, pending, joiners }),
            Err(error) => panic!("{name} cannot commit: {error}"),
        }
    }

    /// A commit that another one has overtaken.
    fn lose(&mut self, loser: Candidate, rng: &mut StdRng) {
        self.tally.count("commits that lost the race");
        if rng.random_ratio(1, 2) {
            return;
        }
        self.read(loser.name, usize::MAX, false, rng);
        let Some(group) = &mut self.actors[loser.name].group else { return };
        let before = state(group);
        let refused = group.confirm(loser.pending);
        assert!(
            matches!(refused, Err(MergeError::Superseded | MergeError::OtherMember)),
            "{}: {refused:?}",
            loser.name
        );
        assert!(state(group) == before, "a refused confirmation changed the state");
    }

    /// Somebody new, or a member whose state is lost, comes in by external commit.
    pub(crate) fn external(&mut self, rng: &mut StdRng) {
        if self.private {
            return;
        }
        let helper = self.somebody(rng);
        let lost = self.lost_members();
        let name = match lost.choose(rng) {
            Some(name) => *name,
            None if self.group(helper).member_count() < u32::try_from(self.members).unwrap() => {
                self.recruit(rng)
            }
            None => return,
        };
        self.join_externally(name, helper, lost.contains(&name), rng);
    }

    /// Members according to the roster who have no state to take part with.
    pub(crate) fn lost_members(&self) -> Vec<usize> {
        let head = self.history.head();
        let lost = self
            .actors
            .iter()
            .filter(|actor| actor.group.is_none() && self.history.is_member(head, &actor.key()));
        lost.map(|actor| actor.name).collect()
    }

    fn join_externally(&mut self, name: usize, helper: usize, resync: bool, rng: &mut StdRng) {
        let tree = rng.random();
        let options = GroupInfoOptions { tree, external_pub: true };
        let info = self.group(helper).group_info(options).unwrap();
        let beside = self.group(helper).ratchet_tree();
        // Who is leaving is covered, but for the one who comes back.
        let (head, log) = (self.history.head(), self.log.iter());
        let leaving =
            log.filter(|entry| entry.leaves && entry.epoch == head && entry.sender != name);
        let self_removes = leaving.map(|entry| entry.bytes.clone()).collect();
        let options =
            ExternalJoinOptions { resync, self_removes, ..ExternalJoinOptions::default() };
        let client = self.actors[name].client.clone();
        let beside = (!tree).then_some(beside.as_slice());
        let pending = client.join_external(&info, beside, options, rng, NOW).unwrap();
        self.count_leavers(&pending.changes().removed);
        self.publish(name, true, pending.commit().to_vec());
        self.invited.clear();
        let group: Group = pending.confirm();
        let place = self.log.len();
        self.actors[name].enter(group, place);
        self.tally.count(if resync { "resynced" } else { "joined externally" });
        self.tally.count("epochs");
        self.arrived(name);
        self.look_back(name);
    }
}
