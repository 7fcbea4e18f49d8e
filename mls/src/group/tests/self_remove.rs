//! SelfRemove (draft-ietf-mls-extensions-09, section "SelfRemove Proposal").

use super::{
    combined::from_outside,
    outside::{instead, refused},
    *,
};
use crate::{
    CommitError, ExternalJoinOptions, ExternalProposer, HandshakeFormat, HandshakePolicy,
    JoinError, Processed,
    framing::{FramingError, seal_private},
    wire::{Extension, ExtensionType, Extensions, ExternalSenders, ProposalType, Remove},
};
use ProposalListViolation as Violation;

const KIND: ProposalType = ProposalType::SELF_REMOVE;

fn remove(leaf: LeafIndex) -> ProposalOrRef {
    ProposalOrRef::Proposal(Proposal::Remove(Remove { removed: leaf }))
}

/// Member 3 proposes to leave; everybody hears of it.
fn leaving(seed: u64) -> (Scene, ProposalOrRef, Vec<u8>) {
    let mut scene = scene(seed);
    let message = scene.groups[3].propose_self_remove(&mut scene.rng).unwrap().message;
    let reference = scene.propose(3, &message);
    (scene, reference, message)
}

#[test]
fn another_member_commits_it() {
    let (mut scene, _, _) = leaving(140);
    let pending = scene.groups[0].commit().omit_path().build(&mut scene.rng, NOW).unwrap();
    assert!(pending.changes().path, "a path is required");
    assert_eq!(pending.changes().removed[0].leaf, LAST);
    let Processed::Commit(staged) = scene.groups[3].process(pending.commit(), NOW).unwrap() else {
        panic!("expected a commit")
    };
    assert!(staged.changes().self_removed);
    scene.groups[3].merge(*staged).unwrap();
    assert!(!scene.groups[3].is_active());
    scene.groups.truncate(3);
    scene.settle(0, pending);
    assert_eq!(scene.groups[1].member_count(), 3);
    scene.goes_on();
}

#[test]
fn an_external_commit_covers_it() {
    let (mut scene, _, message) = leaving(141);
    let second = scene.groups[2].propose_self_remove(&mut scene.rng).unwrap().message;
    scene.propose(2, &second);
    let outsider = scene.client("outsider");
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let self_removes = vec![message, second];
    let options = ExternalJoinOptions { self_removes, ..ExternalJoinOptions::default() };
    let pending = outsider.join_external(&info, None, options, &mut scene.rng, NOW).unwrap();
    let removed: Vec<LeafIndex> = pending.changes().removed.iter().map(|m| m.leaf).collect();
    assert_eq!(removed, [LAST, LeafIndex(2)]);
    let commit = pending.commit().to_vec();
    support::deliver(&mut scene.groups, &commit, usize::MAX);
    assert!(!scene.groups[3].is_active() && !scene.groups[2].is_active());
    follow(&mut scene.service, &commit);
    scene.groups.truncate(2);
    scene.groups.push(pending.confirm());
    scene.goes_on();
}

#[test]
fn a_resync_beside_it_takes_the_place_of_the_right_leaf() {
    let (mut scene, _, message) = leaving(142);
    let client = scene.groups[2].client().clone();
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let join = |self_removes| ExternalJoinOptions {
        resync: true,
        self_removes,
        ..ExternalJoinOptions::default()
    };
    let pending =
        client.join_external(&info, None, join(vec![message]), &mut scene.rng, NOW).unwrap();
    let commit = pending.commit().to_vec();
    scene.groups.truncate(2);
    support::deliver(&mut scene.groups, &commit, usize::MAX);
    follow(&mut scene.service, &commit);
    scene.groups.push(pending.confirm());
    assert_eq!(scene.groups[0].member_count(), 3);
    scene.goes_on();
}

#[test]
fn an_external_joiner_checks_what_it_was_handed() {
    let (mut scene, _, message) = leaving(143);
    let removal = scene.groups[2].propose_remove(LAST, &mut scene.rng).unwrap().message;
    let mut altered = message.clone();
    let tail = 32 + 2;
    let place = altered.len() - tail - 8;
    altered[place] ^= 1;
    let mut membership = message.clone();
    *membership.last_mut().unwrap() ^= 1;
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let outsider = scene.client("outsider");
    let mut join = |self_removes| {
        let options = ExternalJoinOptions { self_removes, ..ExternalJoinOptions::default() };
        outsider.join_external(&info, None, options, &mut scene.rng, NOW).map(|_| ())
    };
    let handed = |error| Err(JoinError::SelfRemove(Box::new(error)));
    assert_eq!(join(vec![altered]), handed(ProcessError::Framing(FramingError::InvalidSignature)));
    assert_eq!(join(vec![removal]), handed(ProcessError::WrongKind));
    assert_eq!(join(vec![info.clone()]), handed(ProcessError::WrongKind));
    assert_eq!(join(vec![membership]), Ok(()), "nobody outside can check the membership tag");
    let twice =
        Violation::RepeatedReference(scene.groups[3].proposals().next().unwrap().reference.clone());
    assert_eq!(join(vec![message.clone(), message.clone()]), Err(JoinError::ExternalCommit(twice)));
    // Of an epoch that has passed.
    scene.commit(|builder| builder.without_received());
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let options =
        ExternalJoinOptions { self_removes: vec![message], ..ExternalJoinOptions::default() };
    let error = outsider.join_external(&info, None, options, &mut scene.rng, NOW).unwrap_err();
    assert!(
        matches!(error, JoinError::SelfRemove(stale) if matches!(*stale, ProcessError::StaleEpoch { .. }))
    );
}

#[test]
fn it_stands_in_a_commit_by_reference_only() {
    let mut scene = scene(144);
    let bytes = scene.forge(vec![Proposal::SelfRemove]);
    scene.refuse(&bytes, &Violation::SelfRemoveByValue);
    let error = scene.groups[1]
        .commit()
        .proposal(Proposal::SelfRemove)
        .build(&mut scene.rng, NOW)
        .unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::SelfRemoveByValue));
    let outsider = scene.client("outsider");
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let pending =
        outsider.join_external(&info, None, Default::default(), &mut scene.rng, NOW).unwrap();
    let mut commit = commit_in(pending.commit());
    commit.proposals.push(ProposalOrRef::Proposal(Proposal::SelfRemove));
    let bytes = external::forge_external(&scene, &outsider, commit);
    scene.refuse(&bytes, &Violation::SelfRemoveByValue);
    scene.goes_on();
}

#[test]
fn its_sender_cannot_commit_it() {
    let mut scene = scene(145);
    let message = scene.groups[0].propose_self_remove(&mut scene.rng).unwrap().message;
    let reference = scene.propose(0, &message);
    let bytes = scene.forge_commit(Commit { proposals: vec![reference], path: None });
    scene.refuse(&bytes, &Violation::RemovesCommitter);
    // It may go on committing what others propose.
    let pending = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    assert!(pending.changes().removed.is_empty());
    scene.goes_on();
}

#[test]
fn a_path_is_required() {
    let (mut scene, reference, _) = leaving(146);
    let bytes = scene.forge_commit(Commit { proposals: vec![reference], path: None });
    scene.refuse(&bytes, &Violation::PathMissing);
    scene.goes_on();
}

#[test]
fn a_remove_or_update_of_the_same_leaf_or_a_second_one() {
    let (mut scene, reference, _) = leaving(147);
    let proposals = vec![reference.clone(), remove(LAST)];
    let bytes = scene.forge_commit(Commit { proposals, path: None });
    scene.refuse(&bytes, &Violation::SeveralChangesOfOneLeaf(LAST));
    let update = scene.groups[3].propose_update(&mut scene.rng).unwrap().message;
    let update = scene.propose(3, &update);
    let bytes =
        scene.forge_commit(Commit { proposals: vec![update, reference.clone()], path: None });
    scene.refuse(&bytes, &Violation::SeveralChangesOfOneLeaf(LAST));
    // A second one in an epoch is not sent, and not committed.
    let error = scene.groups[3].propose_self_remove(&mut scene.rng).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::SeveralChangesOfOneLeaf(LAST)));
    let content = FramedContent {
        group_id: scene.groups[3].id().clone(),
        epoch: scene.groups[3].epoch(),
        sender: Sender::Member(LAST),
        authenticated_data: b"again".to_vec(),
        content: Content::Proposal(Proposal::SelfRemove),
    };
    let second = forge_content(&scene.groups[3], content);
    let second = scene.propose(usize::MAX, &second);
    let bytes = scene.forge_commit(Commit { proposals: vec![reference, second], path: None });
    scene.refuse(&bytes, &Violation::SeveralChangesOfOneLeaf(LAST));
    scene.goes_on();
}

#[test]
fn it_comes_before_a_remove_of_the_same_leaf() {
    let mut scene = scene(148);
    let removal = scene.groups[2].propose_remove(LAST, &mut scene.rng).unwrap().message;
    scene.propose(2, &removal);
    let message = scene.groups[3].propose_self_remove(&mut scene.rng).unwrap();
    scene.propose(3, &message.message);
    let pending = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    let commit = commit_in(pending.commit());
    assert_eq!(commit.proposals, [ProposalOrRef::Reference(message.reference)]);
    scene.goes_on();
}

#[test]
fn it_comes_in_a_public_message() {
    let mut scene = scene(149);
    scene.groups[3].set_handshake_format(HandshakeFormat::Private);
    let message = scene.groups[3].propose_self_remove(&mut scene.rng).unwrap().message;
    let kind = crate::Envelope::peek(&message).unwrap().kind;
    assert_eq!(kind, crate::MessageKind::Public(crate::wire::ContentType::Proposal));
    scene.propose(3, &message);
    scene.groups[3].set_handshake_format(HandshakeFormat::Public);

    let group = &mut scene.groups[0];
    let content = FramedContent {
        group_id: group.id().clone(),
        epoch: group.epoch(),
        sender: Sender::Member(group.own_leaf()),
        authenticated_data: Vec::new(),
        content: Content::Proposal(Proposal::SelfRemove),
    };
    let signer = group.client.identity().signer();
    let context = &group.state.context_bytes;
    let signed = sign(suite(), WireFormat::PrivateMessage, content, context, signer).unwrap();
    let secrets = group.secrets.as_mut().unwrap();
    let message = seal_private(
        &mut secrets.secret_tree,
        secrets.epoch.sender_data(),
        &signed.finish().unwrap(),
        Default::default(),
        &mut scene.rng,
    )
    .unwrap();
    let bytes = MlsMessage(MlsMessageBody::PrivateMessage(message)).to_bytes();
    for group in &mut scene.groups[1..] {
        let error = group.process(&bytes, NOW).unwrap_err();
        assert_eq!(error, ProcessError::InvalidProposal(Violation::SelfRemoveNotPublic));
        assert_eq!(group.proposals().count(), 1);
    }
    scene.goes_on();
}

#[test]
fn it_does_not_come_from_outside() {
    let mut scene = scene(150);
    let moderator = scene.client("moderator");
    let senders = ExternalSenders(vec![moderator.identity().external_sender()]);
    let extension = Extension::new(ExtensionType::EXTERNAL_SENDERS, &senders);
    scene.commit(|builder| builder.extensions(Extensions::from_iter([extension])));
    let identity = moderator.identity().clone();
    let proposer =
        ExternalProposer::in_group(suite(), identity, scene.groups[0].context()).unwrap();
    let error = proposer.propose(Proposal::SelfRemove).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::TypeNotForExternal(KIND)));
    // Signed by a library that does not care.
    let removal = Proposal::Remove(Remove { removed: LAST });
    let bytes = from_outside(&scene, &moderator, Sender::External(0), removal);
    let bytes = instead(&moderator, &bytes, Proposal::SelfRemove);
    let expected = ProcessError::Framing(FramingError::ProposalNotAllowed(KIND));
    refused(&mut scene, &bytes, &expected);
    scene.goes_on();
}

/// A member's public message with this content.
fn forge_content(group: &Group, content: FramedContent) -> Vec<u8> {
    let context = &group.state.context_bytes;
    let signer = group.client.identity().signer();
    let signed = sign(suite(), WireFormat::PublicMessage, content, context, signer).unwrap();
    let key = group.secrets.as_ref().unwrap().epoch.membership_key();
    let message = protect_public(suite(), signed.finish().unwrap(), Some(key), context).unwrap();
    MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes()
}

#[test]
fn a_group_in_which_somebody_does_not_support_it() {
    let mut scene = scene(151);
    let newcomer = scene.client("unable");
    let bundle = key_package(&newcomer, &mut scene.rng);
    let mut unable = bundle.key_package().clone();
    unable.leaf_node.capabilities.proposals.retain(|kind| *kind != KIND);
    let identity = newcomer.identity();
    let nowhere = crate::GroupId::default();
    identity.sign_leaf(suite(), &mut unable.leaf_node, &nowhere, LeafIndex(0)).unwrap();
    let signed = crate::wire::KeyPackageTbs(&unable).to_bytes();
    unable.signature =
        suite().sign_with_label(identity.signer(), "KeyPackageTBS", &signed).unwrap();
    scene.commit(|builder| builder.add(unable));

    let error = scene.groups[3].propose_self_remove(&mut scene.rng).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::TypeNotSupported(KIND)));
    let message = forge(&scene.groups[3], Content::Proposal(Proposal::SelfRemove));
    let reference = scene.propose(usize::MAX, &message);
    let bytes = scene.forge_commit(Commit { proposals: vec![reference], path: None });
    scene.refuse(&bytes, &Violation::TypeNotSupported(KIND));
    scene.goes_on();
}

#[test]
fn a_client_that_refuses_public_messages_does_not_list_it() {
    let mut scene = scene(155);
    let options = ClientOptions { accept: HandshakePolicy::PrivateOnly, ..public_options() };
    let private = client("private", suite(), options, &mut scene.rng);
    assert!(!private.capabilities().proposals.contains(&KIND));
    let bundle = key_package(&private, &mut scene.rng);
    scene.commit(|builder| builder.add(bundle.key_package().clone()));
    // It could not receive the proposal, and so not process the commit either.
    let error = scene.groups[2].propose_self_remove(&mut scene.rng).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::TypeNotSupported(KIND)));
    scene.goes_on();
}
