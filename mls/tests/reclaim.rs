//! What a commit that lost the race leaves to do, and what not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use mls::{
    CommitBuilder, CredentialRejected, CredentialValidator, ExternalJoinOptions, Group,
    GroupInfoOptions, Identity, KeyPackageBundle, MemoryPskStore, MergeError, Reclaimed, UnixTime,
    wire::{
        Credential, Extension, ExtensionType, Extensions, LeafIndex, Proposal, PskSource,
        SignaturePublicKey,
    },
};
use rand::rngs::StdRng;
use std::sync::Arc;
use support::*;

const KIND: ExtensionType = ExtensionType(0xff07);

struct Race {
    groups: Vec<Group>,
    rng: StdRng,
    bundles: Vec<KeyPackageBundle>,
}

/// A member keeps its name.
struct SameName;

impl CredentialValidator for SameName {
    fn validate(
        &self,
        _: &Credential,
        _: &SignaturePublicKey,
        _: UnixTime,
    ) -> Result<(), CredentialRejected> {
        Ok(())
    }
}

fn race(seed: u64) -> Race {
    let mut rng = rng(seed);
    let mut options = public_options();
    options.capabilities.extensions.push(KIND);
    options.validator = Arc::new(SameName);
    let store = MemoryPskStore::new();
    store.insert(b"psk".to_vec(), mls::schedule::Psk::from_slice(&[3; 32]));
    options.psks = Arc::new(store);
    let groups = group_of(6, suite(), &options, &mut rng);
    let bundle = |name| {
        let client = client(name, suite(), options.clone(), &mut rng);
        key_package(&client, &mut rng)
    };
    let bundles = ["first", "second"].map(bundle).into();
    Race { groups, rng, bundles }
}

fn extensions(value: u8) -> Extensions {
    Extensions::from_iter([Extension { extension_type: KIND, data: vec![value] }])
}

impl Race {
    /// Members 0 and 1 commit at the same time, and member 1 wins.
    fn lost(
        &mut self,
        mine: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>,
        theirs: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>,
    ) -> Reclaimed {
        let loser = mine(self.groups[0].commit()).build(&mut self.rng, NOW).unwrap();
        let winner = theirs(self.groups[1].commit()).build(&mut self.rng, NOW).unwrap();
        settle(&mut self.groups, 1, winner);
        self.groups[0].reclaim(loser).unwrap()
    }

    fn add(&self, index: usize) -> mls::KeyPackage {
        self.bundles[index].key_package().clone()
    }

    /// All that was given back holds in the present epoch.
    fn commit_again(&mut self, reclaimed: Reclaimed) {
        let proposals = reclaimed.received.into_iter().map(|received| received.proposal);
        let mut builder = self.groups[0].commit();
        for proposal in reclaimed.own.into_iter().chain(proposals) {
            builder = builder.proposal(proposal);
        }
        let pending = builder.build(&mut self.rng, NOW).unwrap();
        settle(&mut self.groups, 0, pending);
        assert_agreement(&self.groups);
    }
}

#[test]
fn what_the_winner_did_not_do_is_given_back() {
    let mut race = race(1);
    let (first, psk) = (race.add(0), PskSource::External { psk_id: b"psk".to_vec() });
    let remove = race.groups[2].propose_remove(LeafIndex(4), &mut race.rng).unwrap();
    let update = race.groups[3].propose_update(&mut race.rng).unwrap();
    propose_to(&mut race.groups, &remove.message, 2);
    propose_to(&mut race.groups, &update.message, 3);
    let reclaimed = race.lost(
        |mine| mine.add(first.clone()).remove(LeafIndex(5)).psk(psk).extensions(extensions(1)),
        |winner| winner.without_received(),
    );
    assert_eq!(reclaimed.own.len(), 4);
    assert!(matches!(&reclaimed.own[0], Proposal::Add(add) if add.key_package == first));
    let [received] = reclaimed.received.as_slice() else { panic!("the update is void") };
    assert_eq!(received.reference, remove.reference);
    race.commit_again(reclaimed);
    assert_eq!(race.groups[0].member_count(), 5);
    assert!(!race.groups[4].is_active() && !race.groups[5].is_active());
    assert_eq!(race.groups[0].context().extensions, extensions(1));
}

#[test]
fn what_the_winner_did_is_left_out() {
    let mut race = race(2);
    let (first, second) = (race.add(0), race.add(1));
    let remove = race.groups[2].propose_remove(LeafIndex(4), &mut race.rng).unwrap();
    propose_to(&mut race.groups, &remove.message, 2);
    let theirs = first.clone();
    let reclaimed = race.lost(
        |mine| mine.add(first).add(second.clone()).remove(LeafIndex(5)).extensions(extensions(1)),
        |winner| winner.add(theirs).remove(LeafIndex(5)).extensions(extensions(2)),
    );
    // The winner covered the removal of leaf 4 as well, and its extensions are not undone.
    let [Proposal::Add(add)] = reclaimed.own.as_slice() else { panic!("{:?}", reclaimed.own) };
    assert_eq!(add.key_package, second);
    assert!(reclaimed.received.is_empty());
    race.commit_again(reclaimed);
    assert_eq!(race.groups[0].context().extensions, extensions(2));
}

#[test]
fn a_removal_does_not_hit_whoever_has_come_to_the_leaf() {
    let mut race = race(3);
    let newcomer = race.add(0);
    let reclaimed = race
        .lost(|mine| mine.remove(LeafIndex(5)), |winner| winner.remove(LeafIndex(5)).add(newcomer));
    assert_eq!(race.groups[0].member(LeafIndex(5)).unwrap().credential, Credential::basic("first"));
    assert_eq!(reclaimed, Reclaimed::default());
}

#[test]
fn a_removal_holds_for_a_member_that_has_changed_its_keys() {
    // By a commit of its own under another signature key.
    let mut race = race(4);
    let loser = race.groups[0].commit().remove(LeafIndex(1)).build(&mut race.rng, NOW).unwrap();
    let identity = Identity::basic("member 1", suite(), &mut race.rng).unwrap();
    let winner = race.groups[1].commit().identity(identity).build(&mut race.rng, NOW).unwrap();
    settle(&mut race.groups, 1, winner);
    let reclaimed = race.groups[0].reclaim(loser).unwrap();
    assert_eq!(reclaimed.own.len(), 1);
    race.commit_again(reclaimed);
    assert!(!race.groups[1].is_active());

    // By a resync, which gives it back the leaf that it has left.
    let loser = race.groups[0].commit().remove(LeafIndex(2)).build(&mut race.rng, NOW).unwrap();
    let filler = race.add(0);
    let pending = race.groups[3].commit().add(filler).build(&mut race.rng, NOW).unwrap();
    settle(&mut race.groups, 3, pending);
    let info = race.groups[3].group_info(GroupInfoOptions::default()).unwrap();
    let resync = ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
    let member = race.groups[2].client().clone();
    let pending = member.join_external(&info, None, resync, &mut race.rng, NOW).unwrap();
    let commit = pending.commit().to_vec();
    deliver(&mut race.groups, &commit, usize::MAX);
    race.groups[2] = pending.confirm();
    assert_eq!(race.groups[2].own_leaf(), LeafIndex(2));
    let reclaimed = race.groups[0].reclaim(loser).unwrap();
    assert_eq!(reclaimed.own.len(), 1);
    race.commit_again(reclaimed);
    assert!(!race.groups[2].is_active());
}

#[test]
fn a_commit_is_given_up_before_the_race_is_decided() {
    let mut race = race(5);
    let update = race.groups[3].propose_update(&mut race.rng).unwrap();
    propose_to(&mut race.groups, &update.message, 3);
    let first = race.add(0);
    let pending = race.groups[0].commit().add(first).build(&mut race.rng, NOW).unwrap();
    assert_eq!(race.groups[1].reclaim(pending).unwrap_err(), MergeError::OtherMember);
    let first = race.add(0);
    let pending = race.groups[0].commit().add(first).build(&mut race.rng, NOW).unwrap();
    let reclaimed = race.groups[0].reclaim(pending).unwrap();
    // The update is still among the proposals of the epoch, and the next commit covers it.
    assert_eq!((reclaimed.own.len(), reclaimed.received.len()), (1, 0));
    race.commit_again(reclaimed);
    assert_eq!(race.groups[0].proposals().count(), 0);
}

#[test]
fn nothing_is_left_to_do_in_a_group_that_is_closed_or_left() {
    let mut race = race(6);
    let first = race.add(0);
    let loser = race.groups[0].commit().add(first.clone()).build(&mut race.rng, NOW).unwrap();
    let winner = race.groups[1].commit().remove(LeafIndex(0)).build(&mut race.rng, NOW).unwrap();
    settle(&mut race.groups, 1, winner);
    assert_eq!(race.groups[0].reclaim(loser).unwrap(), Reclaimed::default());
}
