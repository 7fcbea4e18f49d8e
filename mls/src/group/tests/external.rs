//! The rules on external commits (RFC 9420 sections 12.2, 12.4.3.2), and the public group's own checks.

use super::{leaf_rules::bad_by_themselves, *};
use crate::{
    ExternalJoinOptions, PendingExternalJoin, WelcomeMismatch,
    framing::sign,
    tree::UpdatePathError,
    validation::{GroupInfoViolation, LeafNodeViolation},
    wire::{
        Extensions, ExternalInit, GroupContextExtensions, ProposalRef, ProtocolVersion, ReInit,
        Remove,
    },
};
use ProposalListViolation as Violation;

fn join(scene: &mut Scene, client: &Client, resync: bool) -> PendingExternalJoin {
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let options = ExternalJoinOptions { resync, ..ExternalJoinOptions::default() };
    client.join_external(&info, None, options, &mut scene.rng, NOW).unwrap()
}

/// An external commit of `client`, altered and signed again.
pub(super) fn forge_external(scene: &Scene, client: &Client, commit: Commit) -> Vec<u8> {
    let group = &scene.groups[1];
    let content = FramedContent {
        group_id: group.id().clone(),
        epoch: group.epoch(),
        sender: Sender::NewMemberCommit,
        authenticated_data: Vec::new(),
        content: Content::Commit(Box::new(commit)),
    };
    let context = &group.state.context_bytes;
    let signer = client.identity().signer();
    let signed = sign(suite(), WireFormat::PublicMessage, content, context, signer).unwrap();
    let authenticated = signed.confirmed(ConfirmationTag(vec![0; 32])).unwrap();
    let message = protect_public(suite(), authenticated, None, context).unwrap();
    MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes()
}

/// Signs the leaf of the path for another place than the one it was made for.
fn sign_path(scene: &Scene, client: &Client, commit: &mut Commit, leaf: LeafIndex) {
    let leaf_node = &mut commit.path.as_mut().unwrap().leaf_node;
    client.identity().sign_leaf(suite(), leaf_node, scene.groups[1].id(), leaf).unwrap();
}

fn refused(violation: &Violation, alter: impl FnOnce(&mut Commit)) {
    let mut scene = scene(40);
    let outsider = scene.client("outsider");
    let mut commit = commit_in(join(&mut scene, &outsider, false).commit());
    alter(&mut commit);
    let bytes = forge_external(&scene, &outsider, commit);
    scene.refuse(&bytes, violation);
    scene.goes_on();
}

fn by_value(proposal: Proposal) -> ProposalOrRef {
    ProposalOrRef::Proposal(proposal)
}

fn remove(leaf: u32) -> ProposalOrRef {
    by_value(Proposal::Remove(Remove { removed: LeafIndex(leaf) }))
}

#[test]
fn external_commits_with_a_list_that_is_not_permitted() {
    refused(&Violation::ExternalInitCount, |commit| commit.proposals.clear());
    refused(&Violation::ExternalInitCount, |commit| {
        let init = Proposal::ExternalInit(ExternalInit { kem_output: vec![1; 32] });
        commit.proposals.push(by_value(init));
    });
    refused(&Violation::ExternalInitMalformed, |commit| {
        let init = Proposal::ExternalInit(ExternalInit { kem_output: vec![1; 31] });
        commit.proposals[0] = by_value(init);
    });
    refused(&Violation::ExternalSeveralRemoves, |commit| {
        commit.proposals.extend([remove(2), remove(3)]);
    });
    let unknown = ProposalRef(vec![1; 32]);
    refused(&Violation::UnknownReference(unknown.clone()), |commit| {
        commit.proposals.push(ProposalOrRef::Reference(unknown));
    });
    refused(&Violation::RemovedLeafBlank(LeafIndex(50)), |commit| {
        commit.proposals.push(remove(50));
    });
}

#[test]
fn an_external_commit_holds_no_proposal_of_another_type() {
    let mut scene = scene(46);
    let newcomer = scene.key_package("newcomer");
    let leaf_node = own_leaf_node(&scene.groups[2]);
    let reinit = ReInit {
        group_id: crate::GroupId(b"next".to_vec()),
        version: ProtocolVersion::MLS10,
        cipher_suite: suite().id,
        extensions: Extensions::new(),
    };
    let extensions = GroupContextExtensions { extensions: Extensions::new() };
    for proposal in [
        add(newcomer.key_package()),
        Proposal::Update(Box::new(Update { leaf_node })),
        Proposal::ReInit(reinit),
        Proposal::GroupContextExtensions(extensions),
    ] {
        let kind = proposal.proposal_type();
        refused(&Violation::ExternalType(kind), |commit| {
            commit.proposals.push(by_value(proposal));
        });
    }
    scene.goes_on();
}

#[test]
fn an_external_commit_is_signed_by_the_key_in_its_path() {
    let mut scene = scene(47);
    let [outsider, other] = ["outsider", "other"].map(|name| scene.client(name));
    let commit = commit_in(join(&mut scene, &outsider, false).commit());
    let bytes = forge_external(&scene, &other, commit);
    let error = ProcessError::Framing(crate::framing::FramingError::InvalidSignature);
    scene.refuse_as(&bytes, &error, Action::Drop);
    scene.goes_on();
}

/// An external commit whose leaf is altered and signed again.
fn leaf_refused(violation: &Violation, alter: impl FnOnce(&Scene, &mut UpdatePath)) {
    let mut scene = scene(48);
    let outsider = scene.client("outsider");
    let mut commit = commit_in(join(&mut scene, &outsider, false).commit());
    alter(&scene, commit.path.as_mut().unwrap());
    sign_path(&scene, &outsider, &mut commit, LeafIndex(4));
    let bytes = forge_external(&scene, &outsider, commit);
    scene.refuse(&bytes, violation);
    scene.goes_on();
}

#[test]
fn leaves_and_keys_of_external_commits_that_break_a_rule() {
    for bad in bad_by_themselves() {
        leaf_refused(&Violation::PathLeaf(bad.violation), |_, path| {
            (bad.alter)(&mut path.leaf_node);
        });
    }
    let violation = Violation::PathLeaf(LeafNodeViolation::Source { expected: "commit" });
    leaf_refused(&violation, |_, path| path.leaf_node.source = LeafNodeSource::Update);
    leaf_refused(&Violation::PathKeyInUse, |scene, path| {
        path.leaf_node.encryption_key = own_leaf_node(&scene.groups[2]).encryption_key;
    });
    leaf_refused(&Violation::PathKeyInUse, |scene, path| {
        path.nodes[0].encryption_key = own_leaf_node(&scene.groups[2]).encryption_key;
    });
    let missing = UpdatePathError::WrongLength { expected: 1, actual: 0 };
    leaf_refused(&Violation::Path(missing), |_, path| path.nodes.clear());
}

#[test]
fn a_resync_brings_another_encryption_key() {
    let mut scene = scene(49);
    let member = scene.groups[3].client().clone();
    let mut commit = commit_in(join(&mut scene, &member, true).commit());
    let old = own_leaf_node(&scene.groups[3]).encryption_key;
    commit.path.as_mut().unwrap().leaf_node.encryption_key = old;
    sign_path(&scene, &member, &mut commit, LAST);
    let bytes = forge_external(&scene, &member, commit);
    let violation = LeafNodeViolation::EncryptionKeyUnchanged;
    scene.refuse(&bytes, &Violation::PathLeaf(violation));
    scene.goes_on();
}

#[test]
fn an_external_commit_that_refers_to_a_remove() {
    let mut scene = scene(46);
    let removal = scene.groups[2].propose_remove(LAST, &mut scene.rng).unwrap();
    let reference = scene.propose(2, &removal.message);
    let outsider = scene.client("outsider");
    let mut commit = commit_in(join(&mut scene, &outsider, false).commit());
    commit.proposals.push(reference);
    let bytes = forge_external(&scene, &outsider, commit);
    scene.refuse(&bytes, &Violation::ExternalReference);
    scene.goes_on();
}

#[test]
fn an_external_commit_with_the_signature_key_of_a_member() {
    let mut scene = scene(45);
    let member = scene.groups[3].client().clone();
    let mut commit = commit_in(join(&mut scene, &member, true).commit());
    commit.proposals.truncate(1);
    sign_path(&scene, &member, &mut commit, LeafIndex(4));
    let bytes = forge_external(&scene, &member, commit);
    let violation = Violation::PathLeaf(LeafNodeViolation::SignatureKeyInUse(LAST));
    scene.refuse(&bytes, &violation);
    scene.goes_on();
}

#[test]
fn an_external_commit_without_a_path() {
    let mut scene = scene(41);
    let outsider = scene.client("outsider");
    let mut commit = commit_in(join(&mut scene, &outsider, false).commit());
    commit.path = None;
    let bytes = forge_external(&scene, &outsider, commit);
    scene.refuse(&bytes, &Violation::PathMissing);
    scene.goes_on();
}

/// Only the member itself, by its credential, may take the place of a leaf.
struct SameCredential;

impl crate::CredentialValidator for SameCredential {
    fn validate(
        &self,
        _: &crate::wire::Credential,
        _: &crate::wire::SignaturePublicKey,
        _: crate::UnixTime,
    ) -> Result<(), crate::CredentialRejected> {
        Ok(())
    }
}

#[test]
fn a_resync_in_the_place_of_somebody_else() {
    let mut scene = scene_with(
        42,
        ClientOptions { validator: std::sync::Arc::new(SameCredential), ..public_options() },
    );
    let outsider = scene.client("outsider");
    let mut commit = commit_in(join(&mut scene, &outsider, false).commit());
    commit.proposals.push(remove(3));
    sign_path(&scene, &outsider, &mut commit, LAST);
    let bytes = forge_external(&scene, &outsider, commit);
    for group in &mut scene.groups[..3] {
        let error = group.process(&bytes, NOW).unwrap_err();
        assert!(
            matches!(
                error,
                ProcessError::InvalidCommit(Violation::PathLeaf(LeafNodeViolation::Credential(_)))
            ),
            "{error}"
        );
    }
}

#[test]
fn a_public_group_follows_and_compares() {
    let mut scene = scene(43);
    let outsider = scene.client("outsider");
    let pending = join(&mut scene, &outsider, false);
    let info = pending.group_info(GroupInfoOptions::default()).unwrap();
    let PublicProcessed::Commit(staged) = scene.service.process(pending.commit(), NOW).unwrap()
    else {
        panic!("expected a commit")
    };
    assert!(staged.changes().external);
    let checked = staged.check_group_info(&scene.service, &info).unwrap();
    assert_eq!(checked.signer, LeafIndex(4));
    assert!(checked.has_tree && checked.has_external_pub);
    let old = scene.groups[0].group_info(GroupInfoOptions::default()).unwrap();
    assert_eq!(staged.check_group_info(&scene.service, &old), Err(GroupInfoViolation::OtherState));
    assert!(scene.service.check_group_info(&old).is_ok());
    assert!(scene.groups[2].check_group_info(&old).is_ok());
    assert_eq!(scene.groups[2].check_group_info(&info), Err(GroupInfoViolation::OtherState));
    let false_key = external_pub_of_another_key(&scene);
    assert!(scene.service.check_group_info(&false_key).is_ok(), "no secrets, no verdict");
    assert_eq!(scene.groups[2].check_group_info(&false_key), Err(GroupInfoViolation::ExternalPub));
    scene.service.merge(*staged).unwrap();
    assert!(scene.service.check_group_info(&info).is_ok());
    support::deliver(&mut scene.groups, pending.commit(), usize::MAX);
    scene.groups.push(pending.confirm());

    let bundle = scene.key_package("newcomer");
    let other = scene.key_package("other");
    let with = |scene: &mut Scene, bundles: &[&KeyPackageBundle]| {
        let mut builder = scene.groups[0].commit();
        for bundle in bundles {
            builder = builder.add(bundle.key_package().clone());
        }
        builder.welcome_tree(false).build(&mut scene.rng, NOW).unwrap()
    };
    let pending = with(&mut scene, &[&bundle]);
    let both = with(&mut scene, &[&bundle, &other]);
    let info = GroupInfoOptions { tree: false, external_pub: true };
    let info = pending.group_info(&scene.groups[0], info).unwrap();
    let PublicProcessed::Commit(staged) = scene.service.process(pending.commit(), NOW).unwrap()
    else {
        panic!("expected a commit")
    };
    let checked = staged.check_group_info(&scene.service, &info).unwrap();
    assert!(!checked.has_tree && checked.has_external_pub);
    let mut altered = info.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert_eq!(
        staged.check_group_info(&scene.service, &altered),
        Err(GroupInfoViolation::Signature)
    );
    assert_eq!(staged.check_welcome(pending.welcome().unwrap()), Ok(()));
    assert_eq!(staged.check_welcome(both.welcome().unwrap()), Err(WelcomeMismatch::Joiners));
    assert_eq!(staged.check_welcome(&info), Err(WelcomeMismatch::NotAWelcome));
    assert_eq!(staged.changes().welcomed, [bundle.reference().clone()]);
    scene.service.merge(*staged).unwrap();
    support::settle(&mut scene.groups, 0, pending);
    scene.goes_on();
}

/// A GroupInfo of member 0 that leads external joiners astray.
pub(super) fn external_pub_of_another_key(scene: &Scene) -> Vec<u8> {
    let group = &scene.groups[0];
    let parts = crate::group::group_info::GroupInfoParts {
        context: group.context().clone(),
        confirmation_tag: group.state.confirmation_tag.clone(),
        signer: group.own_leaf(),
        tree: None,
        external_pub: Some(own_leaf_node(group).encryption_key),
        extensions: Extensions::new(),
    };
    let identity = group.client.identity();
    let info = crate::group::group_info::sign_group_info(suite(), identity, parts).unwrap();
    MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes()
}

#[test]
fn what_applications_hold_may_move_between_threads() {
    fn sendable<T: Send + Sync>() {}
    sendable::<Group>();
    sendable::<PublicGroup>();
    sendable::<Client>();
    sendable::<KeyPackageBundle>();
    sendable::<PendingCommit>();
    sendable::<crate::StagedCommit>();
}

#[test]
fn a_public_group_refuses_private_handshakes() {
    let mut scene = scene(44);
    scene.groups[0].set_handshake_format(crate::HandshakeFormat::Private);
    let pending = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    let error = scene.service.process(pending.commit(), NOW).unwrap_err();
    assert_eq!(error, ProcessError::HandshakeFormat);
    let mut options = public_options();
    options.accept = crate::HandshakePolicy::PublicOnly;
    let client = scene.groups[1].client();
    scene.groups[1].client = Client::new(suite(), client.identity().clone(), options);
    let before = scene.groups[1].encode_state().unwrap();
    let error = scene.groups[1].process(pending.commit(), NOW).unwrap_err();
    assert_eq!(error, ProcessError::HandshakeFormat);
    assert_eq!(*scene.groups[1].encode_state().unwrap(), *before);
    assert!(scene.groups[2].process(pending.commit(), NOW).is_ok());
}
