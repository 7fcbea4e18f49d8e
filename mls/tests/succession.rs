//! Groups that continue another one, over the suites of every backend.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use mls::{
    Client, Group, GroupId, GroupInfoOptions, HandshakeFormat, KeyPackageBundle, MemoryPskStore,
    NewGroup, Processed, PublicGroup, PublicGroupOptions,
    crypto::Suite,
    wire::{Extensions, LeafIndex, ProtocolVersion, PskSource, ReInit, ResumptionPskUsage},
};
use rand::rngs::StdRng;
use std::sync::Arc;
use support::*;

fn clients(groups: &[Group], suite: &'static Suite, rng: &mut StdRng) -> Vec<Client> {
    let options = |group: &Group| group.client().options().clone();
    let names = (0..groups.len()).map(|index| format!("member {index}"));
    names.zip(groups).map(|(name, group)| client(&name, suite, options(group), rng)).collect()
}

fn invite(clients: &[Client], except: usize, rng: &mut StdRng) -> Vec<Option<KeyPackageBundle>> {
    let bundle = |(index, client)| (index != except).then(|| key_package(client, rng));
    clients.iter().enumerate().map(bundle).collect()
}

/// Everybody but the maker joins; groups come in the order of the clients.
fn enter(
    new: NewGroup,
    old: &[Group],
    clients: &[Client],
    bundles: &[Option<KeyPackageBundle>],
    usage: ResumptionPskUsage,
) -> Vec<Group> {
    let welcome = new.welcome().unwrap().to_vec();
    let mut made = Some(new.accept());
    let join = |((old, client), bundle): ((&Group, &Client), &Option<KeyPackageBundle>)| {
        let Some(bundle) = bundle else { return made.take().unwrap() };
        let joined = client.join_from(old, &welcome, [bundle], None, NOW).unwrap();
        assert_eq!(joined.continues(), Some(usage));
        joined.accept()
    };
    let groups: Vec<Group> = old.iter().zip(clients).zip(bundles).map(join).collect();
    assert_agreement(&groups);
    groups
}

#[test]
fn a_group_moves_from_every_suite_to_the_next() {
    let suites = suites();
    for (place, (backend, suite)) in suites.iter().enumerate() {
        let (_, next) = suites[(place + 1) % suites.len()];
        println!("{backend}: {:?} to {:?}", suite.id, next.id);
        let rng = &mut rng(place as u64);
        for mut options in [public_options(), private_options()] {
            options.capabilities.extensions.push(mls::wire::ExtensionType(0xff03));
            let mut old = group_of(4, suite, &options, rng);
            everybody_commits(&mut old, rng);
            let info = old[0].group_info(GroupInfoOptions::default()).unwrap();
            let service = || PublicGroupOptions::new(mls::AcceptAnyCredential);
            let mut public = PublicGroup::new(suite, &info, None, service(), NOW).unwrap();
            let late = old[3].protect(b"late", b"", rng).unwrap();

            // One proposes, another one commits, a third makes the successor.
            let extension = mls::wire::ExtensionType(0xff03);
            let extensions = Extensions::from_iter([mls::wire::Extension {
                extension_type: extension,
                data: vec![1, 2, 3],
            }]);
            let reinit = ReInit {
                group_id: GroupId(b"successor".to_vec()),
                version: ProtocolVersion::MLS10,
                cipher_suite: next.id,
                extensions: extensions.clone(),
            };
            let proposed = old[0].propose_reinit(reinit.clone(), rng).unwrap();
            propose_to(&mut old, &proposed.message, 0);
            let commit = old[1].commit().only_received(vec![proposed.reference]);
            let pending = commit.build(rng, NOW).unwrap();
            assert_eq!(pending.changes().reinit.as_ref(), Some(&reinit));
            let commit = settle(&mut old, 1, pending).commit;
            assert!(old.iter().all(|group| !group.is_active()));
            assert!(old.iter().all(|group| group.reinit() == Some(&reinit)));
            let data = old[2].process(&late, NOW).unwrap();
            assert!(matches!(data, Processed::Application(message) if message.data == b"late"));

            let clients = clients(&old, next, rng);
            let bundles = invite(&clients, 2, rng);
            let mut builder = old[2].successor(&clients[2]);
            for bundle in bundles.iter().flatten() {
                builder = builder.add(bundle.key_package().clone());
            }
            let new = builder.build(rng, NOW).unwrap();
            assert_eq!((new.context().epoch, &new.context().extensions), (1, &extensions));
            assert_eq!(new.roster().count(), 4);
            if old[0].handshake_format() == HandshakeFormat::Public {
                for message in [&proposed.message, &commit] {
                    match public.process(message, NOW).unwrap() {
                        mls::PublicProcessed::Proposal(proposal) => {
                            public.store_proposal(proposal).unwrap();
                        }
                        mls::PublicProcessed::Commit(staged) => {
                            public.merge(*staged).unwrap();
                        }
                    }
                }
                let info = new.group_info(GroupInfoOptions::default()).unwrap();
                let public = public.successor(next, &info, None, service(), NOW).unwrap();
                assert_eq!(public.context(), new.context());
            }
            let mut groups = enter(new, &old, &clients, &bundles, ResumptionPskUsage::ReInit);
            assert_ne!(
                groups[0].epoch_authenticator().unwrap().as_bytes(),
                old[0].epoch_authenticator().unwrap().as_bytes()
            );
            everybody_commits(&mut groups, rng);
        }
    }
}

#[test]
fn some_members_branch_off_while_the_group_goes_on() {
    for (_, suite) in suites() {
        let rng = &mut rng(20);
        let mut old = group_of(5, suite, &private_options(), rng);
        let clients = clients(&old[..3], suite, rng);
        let bundles = invite(&clients, 1, rng);
        // The maker has a leaf of its own client; the key of the leaf in the old group is another one.
        let mut builder = old[1].branch(GroupId(b"branch".to_vec()));
        for bundle in bundles.iter().flatten() {
            builder = builder.add(bundle.key_package().clone());
        }
        let new = builder.build(rng, NOW).unwrap();
        // The parent has gone on when they join, and one of them has left it.
        everybody_commits(&mut old, rng);
        let mut groups = enter(new, &old[..3], &clients, &bundles, ResumptionPskUsage::Branch);
        everybody_commits(&mut groups, rng);
        everybody_commits(&mut old, rng);
    }
}

#[test]
fn resumption_keys_of_this_and_other_groups_enter_ordinary_commits() {
    let rng = &mut rng(30);
    let mut other = group_of(3, suite(), &private_options(), rng);
    everybody_commits(&mut other, rng);
    let (other_id, other_epoch) = (GroupId(b"other".to_vec()), 7);
    let store = Arc::new(MemoryPskStore::new());
    let mut options = private_options();
    options.psks = store.clone();
    let mut groups = group_of(3, suite(), &options, rng);
    everybody_commits(&mut groups, rng);
    let source = |group_id: &GroupId, epoch| PskSource::Resumption {
        usage: ResumptionPskUsage::Application,
        psk_group_id: group_id.clone(),
        psk_epoch: epoch,
    };
    let elsewhere = source(&other_id, other_epoch);
    let missing = groups[0].commit().psk(elsewhere.clone()).build(rng, NOW).unwrap_err();
    assert_eq!(missing, mls::CommitError::PskUnknown(elsewhere.clone()));
    store.insert_resumption(other_id, other_epoch, other[0].resumption_psk().unwrap());

    let newcomer = client("newcomer", suite(), options.clone(), rng);
    let bundle = key_package(&newcomer, rng);
    let own = source(groups[0].id(), groups[0].epoch() - 2);
    let PskSource::Resumption { psk_epoch, .. } = own else { panic!("made above") };
    let pending = groups[0]
        .commit()
        .psk(elsewhere)
        .psk(own.clone())
        .add(bundle.key_package().clone())
        .build(rng, NOW)
        .unwrap();
    assert_eq!(pending.changes().psks, 2);
    let welcome = settle(&mut groups, 0, pending).welcome.unwrap();
    // Who was not there has the key only if somebody gives it to him.
    let joined = newcomer.join(&welcome, [&bundle], None, NOW);
    assert_eq!(joined.unwrap_err(), mls::JoinError::PskUnknown(own));
    let key = groups[1].past_resumption_psk(psk_epoch).unwrap();
    store.insert_resumption(groups[1].id().clone(), psk_epoch, key);
    groups.push(newcomer.join(&welcome, [&bundle], None, NOW).unwrap().accept());
    everybody_commits(&mut groups, rng);
    assert!(groups[0].past_resumption_psk(0).is_none(), "no more are kept than the options say");
    assert_eq!(groups[3].own_leaf(), LeafIndex(3));
}
