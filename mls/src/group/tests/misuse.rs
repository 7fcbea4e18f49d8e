//! Calls that cannot work, and bytes that are something else: each has a name, and changes nothing.

use super::*;
use crate::{
    ClientError, CommitError, Envelope, ExportError, Fault, GroupId, JoinError, MergeError,
    SignatureKeyPair, SnapshotError, SnapshotKey, WelcomeMismatch,
    codec::DecodeError,
    crypto::CryptoError,
    validation::{GroupInfoViolation, LeafNodeViolation, ListedProposal, check_proposal_list},
    wire::{
        CipherSuite, Extension, ExtensionType, Extensions, ProposalRef, ProtocolVersion, ReInit,
    },
};

#[test]
fn bytes_of_another_kind() {
    let mut scene = scene(140);
    let client = scene.client("client");
    let commit = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    let (commit, nonsense) = (commit.commit(), [0, 1, 9, 9].as_slice());
    let malformed = |error: &dyn Fn() -> (bool, Fault, Action)| {
        assert_eq!(error(), (true, Fault::Malformed, Action::Drop));
    };
    malformed(&|| {
        let error = client.read_key_package(nonsense, NOW).unwrap_err();
        (matches!(error, ClientError::Malformed(_)), error.fault(), error.action())
    });
    malformed(&|| {
        let error = client.join(nonsense, [], None, NOW).unwrap_err();
        (matches!(error, JoinError::Malformed(_)), error.fault(), error.action())
    });
    malformed(&|| {
        let error = scene.service.process(nonsense, NOW).unwrap_err();
        (matches!(error, ProcessError::Malformed(_)), error.fault(), error.action())
    });
    malformed(&|| {
        let error = scene.service.check_group_info(nonsense).unwrap_err();
        (error == GroupInfoViolation::NotAGroupInfo, error.fault(), error.action())
    });
    assert_eq!(client.read_key_package(commit, NOW).unwrap_err(), ClientError::WrongKind);
    let error = scene.service.check_group_info(commit).unwrap_err();
    assert_eq!(error, GroupInfoViolation::NotAGroupInfo);
    let mut later = commit.to_vec();
    later[1] = 2;
    let unknown = DecodeError::UnknownValue { what: "protocol version", value: 2 };
    assert_eq!(Envelope::peek(&later), Err(unknown));
    scene.goes_on();
}

#[test]
fn keys_that_do_not_belong_together() {
    let mut scene = scene(141);
    let [one, other] = ["one", "other"].map(|name| scene.client(name));
    let private = one.identity().keys().export_private().unwrap();
    let error =
        SignatureKeyPair::import(suite(), &private, &other.identity().public()).unwrap_err();
    assert_eq!(error, ClientError::Key(CryptoError::KeyPairMismatch));
    assert_eq!((error.fault(), error.action()), (Fault::Misuse, Action::Stop));
    let package = key_package(&one, &mut scene.rng).key_package().clone();
    let key = suite().kem.generate(&mut scene.rng).unwrap().export().unwrap();
    let error = KeyPackageBundle::from_parts(suite(), package, &key, &key).unwrap_err();
    assert_eq!(error, ClientError::KeyMismatch);
}

#[test]
fn commits_of_what_is_not_there() {
    let mut scene = scene(142);
    let unknown = vec![ProposalRef(vec![7; 32])];
    let before = scene.groups[0].encode_state().unwrap();
    let builder = scene.groups[0].commit().only_received(unknown);
    assert_eq!(builder.build(&mut scene.rng, NOW).unwrap_err(), CommitError::UnknownProposal);
    assert_eq!(*scene.groups[0].encode_state().unwrap(), *before);

    // A commit that has taken effect describes no future epoch.
    let rng = &mut scene.rng;
    let lost = scene.groups[0].commit().build(rng, NOW).unwrap();
    scene.commit(|builder| builder);
    let error = lost.group_info(&scene.groups[0], GroupInfoOptions::default()).unwrap_err();
    assert_eq!(error, ExportError::Merge(MergeError::Superseded));
    assert_eq!(error.fault(), Fault::Timing);
    scene.goes_on();
}

#[test]
fn exports_that_cannot_be() {
    let mut scene = scene(143);
    let limit = 255 * 32;
    assert!(scene.groups[0].export("label", b"", limit).is_ok());
    let error = scene.groups[0].export("label", b"", limit + 1).unwrap_err();
    assert_eq!(error, ExportError::SecretTooLong { asked: limit + 1, limit });
    assert_eq!((error.fault(), error.action()), (Fault::Misuse, Action::Stop));
    let removal = scene.groups[0].propose_remove(LAST, &mut scene.rng).unwrap().message;
    scene.propose(0, &removal);
    let error = scene.groups[1].protect(b"data", b"", &mut scene.rng).unwrap_err();
    assert_eq!((&error, error.fault()), (&ExportError::ProposalsPending, Fault::Timing));
    scene.goes_on();
}

#[test]
fn a_welcome_of_another_suite_is_not_handed_on() {
    let mut scene = scene(144);
    let bundle = scene.key_package("newcomer");
    let builder = scene.groups[0].commit().add(bundle.key_package().clone());
    let pending = builder.build(&mut scene.rng, NOW).unwrap();
    let PublicProcessed::Commit(staged) = scene.service.process(pending.commit(), NOW).unwrap()
    else {
        panic!("expected a commit")
    };
    let MlsMessageBody::Welcome(mut welcome) =
        MlsMessage::from_bytes(pending.welcome().unwrap()).unwrap().0
    else {
        panic!("expected a welcome")
    };
    welcome.cipher_suite = CipherSuite::P256_AES128GCM_SHA256_P256;
    let bytes = MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes();
    let error = staged.check_welcome(&bytes).unwrap_err();
    assert_eq!(error, WelcomeMismatch::CipherSuite);
    assert_eq!((error.fault(), error.action()), (Fault::MisbehavingPeer, Action::Drop));
}

#[test]
fn an_update_of_somebody_outside() {
    let scene = scene(145);
    let leaf_node = own_leaf_node(&scene.groups[1]);
    let proposal = &Proposal::Update(Box::new(Update { leaf_node }));
    // Framing refuses it already; the list does not rely on that.
    let sender = Sender::External(0);
    let list = [ListedProposal { proposal, sender, by_reference: true }];
    let checked = check_proposal_list(&list, Sender::Member(LeafIndex(0)), 32, |_| true);
    assert_eq!(checked.unwrap_err(), ProposalListViolation::UpdateByNonMember);
}

#[test]
fn a_successor_that_its_maker_does_not_support() {
    let mut scene = scene(146);
    let kind = ExtensionType(0xff71);
    let extension = Extension { extension_type: kind, data: Vec::new() };
    let reinit = ReInit {
        group_id: GroupId(b"next".to_vec()),
        version: ProtocolVersion::MLS10,
        cipher_suite: suite().id,
        extensions: Extensions::from_iter([extension]),
    };
    scene.commit(|builder| builder.proposal(Proposal::ReInit(reinit)));
    let client = scene.client("member 0");
    let error = scene.groups[0].successor(&client).build(&mut scene.rng, NOW).unwrap_err();
    let violation = LeafNodeViolation::GroupExtension(kind);
    assert_eq!(error, CommitError::Create(ClientError::Requirements(violation)));
}

#[test]
fn snapshots_that_are_none() {
    let mut scene = scene(147);
    let key = SnapshotKey::generate(&mut scene.rng);
    let group = &scene.groups[0];
    let client = group.client();
    let refused = |bytes: &[u8]| client.restore(bytes, &key).unwrap_err();
    assert!(matches!(refused(b"not a snapshot"), SnapshotError::Malformed(_)));
    let saved = group.save(&key, &mut scene.rng).unwrap();
    let mut later = saved.clone();
    later[4..6].copy_from_slice(&[0x7f, 0xff]);
    assert_eq!(refused(&later), SnapshotError::Version(0x7fff));
    // Written by somebody with the key, and contradictory.
    let mut content = group.encode_state().unwrap().to_vec();
    let hash = group.context().tree_hash.as_bytes();
    let at = content.windows(hash.len()).position(|window| window == hash).unwrap();
    content[at] ^= 1;
    let sealed = key.seal(suite(), "group", &content, &mut scene.rng).unwrap();
    assert!(matches!(refused(&sealed), SnapshotError::Inconsistent(_)));
    assert!(client.restore(&saved, &key).is_ok());
}
