//! Members that change their credential or signature key while they stay in the group (RFC 9420 section 5.3.1).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use mls::{
    AcceptAnyCredential, ClientOptions, CommitError, CredentialRejected, CredentialValidator,
    Fault, Group, GroupInfoOptions, Identity, ProcessError, Processed, PublicGroup,
    PublicGroupOptions, PublicProcessed, SignatureKeyPair, SnapshotError, SnapshotKey, UnixTime,
    validation::{LeafNodeViolation, ProposalListViolation},
    wire::{Credential, LeafIndex, SignaturePublicKey},
};
use rand::rngs::StdRng;
use std::sync::{Arc, Mutex};
use support::*;

/// Accepts credentials that start alike, and writes down what it was asked.
#[derive(Default)]
struct SameFirstLetter {
    successors: Mutex<Vec<(Credential, Credential)>>,
    validated: Mutex<Vec<(Credential, SignaturePublicKey)>>,
}

impl CredentialValidator for SameFirstLetter {
    fn validate(
        &self,
        credential: &Credential,
        key: &SignaturePublicKey,
        _: UnixTime,
    ) -> Result<(), CredentialRejected> {
        self.validated.lock().unwrap().push((credential.clone(), key.clone()));
        Ok(())
    }

    fn validate_successor(
        &self,
        old: &Credential,
        new: &Credential,
    ) -> Result<(), CredentialRejected> {
        self.successors.lock().unwrap().push((old.clone(), new.clone()));
        match (old, new) {
            (Credential::Basic(old), Credential::Basic(new)) if old.first() == new.first() => {
                Ok(())
            }
            _ => Err(CredentialRejected::new("another person")),
        }
    }
}

fn options(mut options: ClientOptions) -> (ClientOptions, Arc<SameFirstLetter>) {
    let validator = Arc::new(SameFirstLetter::default());
    options.validator = validator.clone();
    (options, validator)
}

fn check(groups: &mut [Group], leaf: u32, identity: &Identity, rng: &mut StdRng) {
    assert_agreement(groups);
    for group in groups.iter() {
        let member = group.member(LeafIndex(leaf)).unwrap();
        assert_eq!(&member.credential, identity.credential());
        assert_eq!(member.signature_key, identity.public());
    }
    let renamed = groups.iter().position(|group| group.own_leaf().0 == leaf).unwrap();
    assert_eq!(groups[renamed].client().identity().public(), identity.public());
    for from in 0..groups.len() {
        let message = groups[from].protect(b"data", b"", rng).unwrap();
        for to in (0..groups.len()).filter(|to| *to != from) {
            assert!(matches!(
                groups[to].process(&message, NOW).unwrap(),
                Processed::Application(message) if message.sender.leaf == groups[from].own_leaf()
            ));
        }
        commit_by(groups, from, rng);
    }
}

#[test]
fn a_commit_and_an_update_bring_another_identity() {
    for (place, (_, suite)) in suites().into_iter().enumerate() {
        let base = if place % 2 == 0 { public_options() } else { private_options() };
        let (options, validator) = options(base);
        let rng = &mut rng(1);
        let mut groups = group_of(4, suite, &options, rng);
        let before = groups[1].client().identity().clone();

        // By a commit, in which somebody is added as well: the GroupInfo has the new signature.
        let identity = Identity::basic("m. one", suite, rng).unwrap();
        let newcomer = client("newcomer", suite, options.clone(), rng);
        let bundle = key_package(&newcomer, rng);
        let pending = groups[1]
            .commit()
            .identity(identity.clone())
            .add(bundle.key_package().clone())
            .omit_path()
            .build(rng, NOW)
            .unwrap();
        assert!(pending.changes().path, "an identity comes by a path");
        assert_eq!(&pending.changes().committer.credential, identity.credential());
        assert!(pending.group_info(&groups[1], GroupInfoOptions::default()).is_ok());
        assert_eq!(groups[1].client().identity().public(), before.public());
        let late = groups[1].protect(b"under the old key", b"", rng).unwrap();
        let (commit, welcome) = (pending.commit().to_vec(), pending.welcome().unwrap().to_vec());
        validator.successors.lock().unwrap().clear();
        validator.validated.lock().unwrap().clear();
        merge(&mut groups[0], &commit);
        let pair = (before.credential().clone(), identity.credential().clone());
        assert_eq!(*validator.successors.lock().unwrap(), [pair]);
        let judged = (identity.credential().clone(), identity.public());
        assert!(validator.validated.lock().unwrap().contains(&judged));
        deliver(&mut groups[2..], &commit, usize::MAX);
        groups[1].confirm(pending).unwrap();
        groups.push(newcomer.join(&welcome, [&bundle], None, NOW).unwrap().accept());
        let Processed::Application(message) = groups[0].process(&late, NOW).unwrap() else {
            panic!("expected application data");
        };
        assert_eq!(&message.sender.credential, before.credential());
        check(&mut groups, 1, &identity, rng);

        // By an Update that somebody else commits: another key for the same credential.
        let keys = SignatureKeyPair::generate(suite, rng).unwrap();
        let credential = groups[2].client().identity().credential().clone();
        let identity = Identity::new(credential, keys);
        let update = groups[2].propose_identity(identity.clone(), rng, NOW).unwrap().message;
        propose_to(&mut groups, &update, 2);
        let pending = groups[0].commit().build(rng, NOW).unwrap();
        assert_eq!(pending.changes().updated[0].signature_key, identity.public());
        settle(&mut groups, 0, pending);
        check(&mut groups, 2, &identity, rng);
    }
}

#[test]
fn another_person_or_the_key_of_another_member_is_refused() {
    let (options, _) = options(public_options());
    let rng = &mut rng(2);
    let mut groups = group_of(3, suite(), &options, rng);
    let refused = |error: CommitError, expected: &str| {
        let CommitError::Invalid(violation) = &error else { panic!("{error}") };
        assert!(format!("{violation:?}").contains(expected), "{violation:?}");
        assert_eq!(error.fault(), Fault::Misuse);
    };
    let stranger = Identity::basic("stranger", suite(), rng).unwrap();
    let error = groups[0].commit().identity(stranger.clone()).build(rng, NOW).unwrap_err();
    refused(error, "another person");
    let error = groups[0].propose_identity(stranger.clone(), rng, NOW).unwrap_err();
    refused(error, "another person");
    let taken = groups[1].client().identity().clone();
    let violation = LeafNodeViolation::SignatureKeyInUse(LeafIndex(1));
    let error = groups[0].commit().identity(taken.clone()).build(rng, NOW).unwrap_err();
    assert_eq!(error, ProposalListViolation::PathLeaf(violation.clone()).into());
    let error = groups[0].propose_identity(taken, rng, NOW).unwrap_err();
    assert_eq!(error, ProposalListViolation::Update(violation).into());
    let other = mls::crypto::default_provider();
    let other = other.suite(mls::CipherSuite::P256_AES128GCM_SHA256_P256).unwrap();
    let foreign = Identity::basic("m", other, rng).unwrap();
    let error = groups[0].commit().identity(foreign).build(rng, NOW).unwrap_err();
    refused(error, "SignatureKeyMalformed");

    // One who checks nothing sends it all the same.
    let mut careless = public_options();
    careless.validator = Arc::new(AcceptAnyCredential);
    let mut groups = {
        let mut made = group_of(3, suite(), &options, rng);
        let key = SnapshotKey::generate(rng);
        let saved = made[0].save(&key, rng).unwrap();
        let identity = made[0].client().identity().clone();
        made[0] = mls::Client::new(suite(), identity, careless).restore(&saved, &key).unwrap();
        made
    };
    let pending = groups[0].commit().identity(stranger.clone()).build(rng, NOW).unwrap();
    let error = groups[1].process(pending.commit(), NOW).unwrap_err();
    let rejected = LeafNodeViolation::Credential(CredentialRejected::new("another person"));
    let expected = ProposalListViolation::PathLeaf(rejected.clone());
    assert_eq!(error, ProcessError::InvalidCommit(expected));
    let update = groups[0].propose_identity(stranger, rng, NOW).unwrap().message;
    let error = groups[1].process(&update, NOW).unwrap_err();
    assert_eq!(error, ProcessError::InvalidProposal(ProposalListViolation::Update(rejected)));
}

#[test]
fn an_identity_to_come_survives_a_crash() {
    let (options, _) = options(private_options());
    let rng = &mut rng(3);
    let mut groups = group_of(3, suite(), &options, rng);
    let key = SnapshotKey::generate(rng);
    let owner = groups[1].client().clone();

    // In an Update that waits for its commit.
    let identity = Identity::basic("m. one", suite(), rng).unwrap();
    let update = groups[1].propose_identity(identity.clone(), rng, NOW).unwrap().message;
    propose_to(&mut groups, &update, 1);
    let saved = groups[1].save(&key, rng).unwrap();
    groups[1] = owner.restore(&saved, &key).unwrap();
    let pending = groups[0].commit().build(rng, NOW).unwrap();
    settle(&mut groups, 0, pending);
    assert!(groups[1].is_restored(), "the update was made before the crash");
    check(&mut groups, 1, &identity, rng);
    let saved = groups[1].save(&key, rng).unwrap();
    assert_eq!(owner.restore(&saved, &key).unwrap_err(), SnapshotError::OtherClient);
    let owner = groups[1].client().clone();
    groups[1] = owner.restore(&saved, &key).unwrap();

    // In a commit that waits for its echo.
    let identity = Identity::basic("member one", suite(), rng).unwrap();
    let pending = groups[1].commit().identity(identity.clone()).build(rng, NOW).unwrap();
    let saved = (groups[1].save(&key, rng).unwrap(), pending.save(&groups[1], &key, rng).unwrap());
    let commit = pending.commit().to_vec();
    drop(pending);
    groups[1] = owner.restore(&saved.0, &key).unwrap();
    let pending = groups[1].restore_pending(&saved.1, &key).unwrap();
    assert!(pending.is_echo(&commit));
    deliver(&mut groups, &commit, 1);
    groups[1].confirm(pending).unwrap();
    check(&mut groups, 1, &identity, rng);
}

#[test]
fn a_delivery_service_follows_members_under_other_identities() {
    let (options, _) = options(public_options());
    let rng = &mut rng(4);
    let mut groups = group_of(3, suite(), &options, rng);
    let info = groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let service = PublicGroupOptions::new(AcceptAnyCredential);
    let mut service = PublicGroup::new(suite(), &info, None, service, NOW).unwrap();
    for name in ["mallory", "m"] {
        let identity = Identity::basic(name, suite(), rng).unwrap();
        let pending = groups[2].commit().identity(identity.clone()).build(rng, NOW).unwrap();
        let commit = pending.commit().to_vec();
        let PublicProcessed::Commit(staged) = service.process(&commit, NOW).unwrap() else {
            panic!("expected a commit");
        };
        let info = pending.group_info(&groups[2], GroupInfoOptions::default()).unwrap();
        staged.check_group_info(&service, &info).unwrap();
        service.merge(*staged).unwrap();
        deliver(&mut groups, &commit, 2);
        groups[2].confirm(pending).unwrap();
        assert_eq!(service.member(LeafIndex(2)).unwrap().signature_key, identity.public());
        assert_agreement(&groups);
    }
}
