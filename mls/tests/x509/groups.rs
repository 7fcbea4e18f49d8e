//! Groups whose members have certificates.

use mls::{
    AcceptAnyCredential, Client, ClientError, ClientOptions, CommitError, ExternalJoinOptions,
    GroupInfoOptions, HandshakeFormat, Identity, PublicGroup, PublicGroupOptions, PublicProcessed,
    codec::Encode,
    crypto::Suite,
    validation::{KeyPackageViolation, LeafNodeViolation, ProposalListViolation},
    wire::{CredentialType, LeafIndex},
    x509::{Expiry, X509Names, X509Validator},
};
use rand::rngs::StdRng;

use crate::{
    authority::{Authority, PublicKey, member, member_between},
    support::{
        NOW, assert_agreement, commit_by, deliver, everybody_commits, group_with, rng, suites,
    },
};

fn validator(authority: &Authority) -> X509Validator {
    X509Validator::new([authority.root_der()]).unwrap().other_types(AcceptAnyCredential)
}

fn options(authority: &Authority) -> ClientOptions {
    let mut options = ClientOptions::new(validator(authority));
    options.handshake = HandshakeFormat::Public;
    options.capabilities.credentials = vec![CredentialType::BASIC, CredentialType::X509];
    options
}

fn certified(authority: &Authority, name: &str, suite: &'static Suite, rng: &mut StdRng) -> Client {
    Client::new(suite, authority.identity(name, suite, rng), options(authority))
}

fn basic(authority: &Authority, name: &str, suite: &'static Suite, rng: &mut StdRng) -> Client {
    Client::new(suite, Identity::basic(name, suite, rng).unwrap(), options(authority))
}

#[test]
fn members_with_basic_credentials_and_certificates_in_one_group() {
    let authority = Authority::new("root");
    for (backend, suite) in suites() {
        if !matches!(suite.signature.id(), 0x0403 | 0x0503 | 0x0603 | 0x0807) {
            continue;
        }
        let rng = &mut rng(200);
        let clients = [
            certified(&authority, "alice", suite, rng),
            basic(&authority, "bob", suite, rng),
            certified(&authority, "carol", suite, rng),
        ];
        let mut groups = group_with(&clients, rng);
        everybody_commits(&mut groups, rng);
        let names: Vec<_> =
            groups[1].roster().map(|member| X509Names::of(&member.credential).ok()).collect();
        assert!(names[1].is_none());
        assert_eq!(names[2].as_ref().unwrap().emails, ["carol@example.org"], "{backend}");
    }
}

#[test]
fn a_member_that_supports_no_certificates_keeps_them_out() {
    let (authority, rng, suite) = (Authority::new("root"), &mut rng(201), crate::support::suite());
    let plain = Client::new(
        suite,
        Identity::basic("plain", suite, rng).unwrap(),
        ClientOptions::new(AcceptAnyCredential),
    );
    let mut groups = group_with(&[basic(&authority, "bob", suite, rng), plain], rng);
    let alice = certified(&authority, "alice", suite, rng).key_package(rng, NOW).unwrap();
    let error = groups[0].commit().add(alice.key_package().clone()).build(rng, NOW).unwrap_err();
    let violation = LeafNodeViolation::CredentialTypeNotShared(CredentialType::X509);
    assert_eq!(error, CommitError::Invalid(ProposalListViolation::Add(violation.into())));
}

#[test]
fn a_certificate_of_another_authority_or_for_another_key_is_not_let_in() {
    let (authority, rng, suite) = (Authority::new("root"), &mut rng(202), crate::support::suite());
    let clients =
        [certified(&authority, "alice", suite, rng), certified(&authority, "bob", suite, rng)];
    let mut groups = group_with(&clients, rng);
    let stranger = certified(&Authority::new("other"), "eve", suite, rng);
    let stolen = Identity::new(
        clients[1].identity().credential().clone(),
        mls::SignatureKeyPair::generate(suite, rng).unwrap(),
    );
    let stolen = Client::new(suite, stolen, options(&authority));
    // Alice does not add them; and if she does, with a library that does not care, Bob refuses.
    let careless = Client::new(suite, clients[0].identity().clone(), {
        let mut options = options(&authority);
        options.validator = std::sync::Arc::new(AcceptAnyCredential);
        options
    });
    let key = mls::SnapshotKey::generate(rng);
    for (client, reason) in [(stranger, "UnknownIssuer"), (stolen, "another key")] {
        let bundle = client.key_package(rng, NOW).unwrap();
        let error = clients[1].read_key_package(&bundle.message(), NOW).unwrap_err();
        assert!(
            matches!(&error, ClientError::KeyPackage(_)) && error.to_string().contains(reason),
            "{error}"
        );
        let error =
            groups[0].commit().add(bundle.key_package().clone()).build(rng, NOW).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        let saved = groups[0].save(&key, rng).unwrap();
        let mut alices = careless.restore(&saved, &key).unwrap();
        let pending = alices.commit().add(bundle.key_package().clone()).build(rng, NOW).unwrap();
        let epoch = groups[1].epoch();
        let error = groups[1].process(pending.commit(), NOW).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!((groups[1].epoch(), error.action()), (epoch, mls::Action::Drop));
    }
}

#[test]
fn time_decides_for_those_who_send_and_never_for_those_who_receive() {
    let (authority, rng, suite) = (Authority::new("root"), &mut rng(203), crate::support::suite());
    let clients =
        [certified(&authority, "alice", suite, rng), certified(&authority, "bob", suite, rng)];
    let mut groups = group_with(&clients, rng);
    let info = groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let service = |expiry| {
        let options = PublicGroupOptions::new(validator(&authority).expiry(expiry));
        PublicGroup::new(suite, &info, None, options, NOW).unwrap()
    };
    let carol = certified(&authority, "carol", suite, rng);
    let mut options = carol.options().clone();
    // The key package outlives the certificate, which ends with 2027.
    options.lifetime = 390 * 86_400;
    let carol = Client::new(suite, carol.identity().clone(), options);
    let bundle = carol.key_package(rng, NOW).unwrap();
    let key_package = bundle.key_package().clone();
    let later = mls::UnixTime(NOW.0 + 380 * 86_400);
    let expired = |violation: &KeyPackageViolation| {
        matches!(violation, KeyPackageViolation::LeafNode(LeafNodeViolation::Credential(rejected))
            if rejected.reason.contains("CertExpired"))
    };
    assert!(clients[0].read_key_package(&bundle.message(), NOW).is_ok());
    let error = clients[0].read_key_package(&bundle.message(), later).unwrap_err();
    assert!(matches!(&error, ClientError::KeyPackage(violation) if expired(violation)), "{error}");
    let violation = service(Expiry::WhenSent).check_key_package(&key_package, later).unwrap_err();
    assert!(expired(&violation), "{violation}");
    for error in [
        groups[0].commit().add(key_package.clone()).build(rng, later).unwrap_err(),
        groups[0].propose_add(key_package.clone(), rng, later).unwrap_err(),
    ] {
        let refused = matches!(&error, CommitError::Invalid(ProposalListViolation::Add(violation)) if expired(violation));
        assert!(refused, "{error}");
    }

    // Alice commits in time; Bob and a service hear of it when the certificate has expired.
    let pending = groups[0].commit().add(key_package).build(rng, NOW).unwrap();
    let commit = pending.commit().to_vec();
    assert!(matches!(
        service(Expiry::WhenSent).process(&commit, later),
        Ok(PublicProcessed::Commit(_))
    ));
    assert!(service(Expiry::Always).process(&commit, NOW).is_ok());
    let error = service(Expiry::Always).process(&commit, later).unwrap_err();
    assert!(error.to_string().contains("CertExpired"), "{error}");
    let mls::Processed::Commit(staged) = groups[1].process(&commit, later).unwrap() else {
        panic!("expected a commit")
    };
    groups[1].merge(*staged).unwrap();
    let welcome = pending.welcome().unwrap().to_vec();
    groups[0].confirm(pending).unwrap();
    groups.push(carol.join(&welcome, [&bundle], None, later).unwrap().accept());
    assert_agreement(&groups);
    // Whoever commits can find those whose certificates have expired.
    let validator = validator(&authority);
    let expired: Vec<LeafIndex> = groups[0]
        .roster()
        .filter(|member| validator.check_at(&member.credential, later).is_err())
        .map(|member| member.leaf)
        .collect();
    assert_eq!(expired, [LeafIndex(0), LeafIndex(1), LeafIndex(2)]);
}

#[test]
fn a_member_comes_back_with_a_renewed_certificate_and_with_no_other_name() {
    let (authority, rng, suite) = (Authority::new("root"), &mut rng(204), crate::support::suite());
    let clients =
        [certified(&authority, "alice", suite, rng), certified(&authority, "bob", suite, rng)];
    let mut groups = group_with(&clients, rng);
    let keys = clients[1].identity().keys().clone();
    let with = |params: &rcgen::CertificateParams| {
        let credential = authority.certify(params, &PublicKey::of(suite, &keys));
        Client::new(suite, Identity::new(credential, keys.clone()), options(&authority))
    };
    let info = groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let resync = || ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
    let error = with(&member("robert")).join_external(&info, None, resync(), rng, NOW).unwrap_err();
    assert!(error.to_string().contains("another subject"), "{error}");
    let renewed = with(&member_between("bob", 2026, 2030));
    let pending = renewed.join_external(&info, None, resync(), rng, NOW).unwrap();
    let commit = pending.commit().to_vec();
    groups.truncate(1);
    deliver(&mut groups, &commit, usize::MAX);
    groups.push(pending.confirm());
    assert_agreement(&groups);
    let member = groups[0].member(LeafIndex(1)).unwrap();
    assert_eq!(member.credential.to_bytes(), renewed.identity().credential().to_bytes());
    commit_by(&mut groups, 1, rng);
}
