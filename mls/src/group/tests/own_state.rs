//! What a member tells apart by its own state: its own messages, other groups, more than it keeps.

use super::{external::external_pub_of_another_key, *};
use crate::{
    CommitError, ExternalJoinOptions, GroupId, GroupOptions, HandshakeFormat, MergeError, Processed,
};

#[test]
fn more_proposals_than_are_kept() {
    let options = ClientOptions { max_proposals: 2, ..public_options() };
    let mut scene = scene_with(130, options);
    let info = scene.groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let options =
        PublicGroupOptions { max_proposals: 2, ..PublicGroupOptions::new(AcceptAnyCredential) };
    scene.service = PublicGroup::new(suite(), &info, None, options, NOW).unwrap();
    for (from, removed) in [(0, 3), (1, 2)] {
        let group = &mut scene.groups[from];
        let removal = group.propose_remove(LeafIndex(removed), &mut scene.rng).unwrap();
        scene.propose(from, &removal.message);
    }
    let own = scene.groups[0].propose_remove(LeafIndex(1), &mut scene.rng);
    assert_eq!(own.unwrap_err(), CommitError::TooManyProposals);
    let third = forge_update(&scene.groups[0], (scene.groups[0].client(), LeafIndex(0)), |_| {});
    for group in &mut scene.groups {
        let before = group.encode_state().unwrap();
        assert_eq!(group.process(&third, NOW).unwrap_err(), ProcessError::TooManyProposals);
        assert_eq!(*group.encode_state().unwrap(), *before);
    }
    let PublicProcessed::Proposal(third) = scene.service.process(&third, NOW).unwrap() else {
        panic!("expected a proposal")
    };
    assert_eq!(scene.service.store_proposal(third), Err(ProcessError::TooManyProposals));
    assert_eq!(scene.service.proposals().count(), 2);
    scene.goes_on();
}

#[test]
fn an_external_init_for_another_key() {
    let mut scene = scene(131);
    let outsider = scene.client("outsider");
    let (info, tree) = (external_pub_of_another_key(&scene), scene.groups[0].ratchet_tree());
    let join = ExternalJoinOptions::default();
    let pending = outsider.join_external(&info, Some(&tree), join, &mut scene.rng, NOW).unwrap();
    // Nothing in the commit betrays that the joiner was led astray.
    assert!(scene.service.process(pending.commit(), NOW).is_ok());
    for group in &mut scene.groups {
        let before = group.encode_state().unwrap();
        let error = group.process(pending.commit(), NOW).unwrap_err();
        assert_eq!((&error, error.action()), (&ProcessError::ConfirmationTag, Action::Resync));
        assert_eq!(*group.encode_state().unwrap(), *before);
    }
    scene.goes_on();
}

#[test]
fn a_commit_of_another_group() {
    let mut scene = scene(132);
    let client = scene.groups[0].client().clone();
    let id = GroupId(b"another group".to_vec());
    let rng = &mut scene.rng;
    let mut other = client.create_group(id, GroupOptions::default(), rng, NOW).unwrap();
    let info = other.group_info(GroupInfoOptions::default()).unwrap();
    let options = PublicGroupOptions::new(AcceptAnyCredential);
    let service = PublicGroup::new(suite(), &info, None, options, NOW).unwrap();
    let pending = other.commit().build(rng, NOW).unwrap();
    assert_eq!(scene.service.process(pending.commit(), NOW).unwrap_err(), ProcessError::OtherGroup);
    let PublicProcessed::Commit(staged) = service.process(pending.commit(), NOW).unwrap() else {
        panic!("expected a commit")
    };
    let before = scene.groups[0].encode_state().unwrap();
    let context = scene.service.context().clone();
    assert_eq!(scene.service.merge(*staged), Err(MergeError::OtherGroup));
    assert_eq!(*scene.service.context(), context);
    assert_eq!(scene.groups[0].confirm(pending), Err(MergeError::OtherGroup));
    assert_eq!(*scene.groups[0].encode_state().unwrap(), *before);
    scene.goes_on();
}

#[test]
fn ones_own_messages_are_known_as_such() {
    let mut scene = scene(133);
    let rng = &mut scene.rng;
    let group = &mut scene.groups[0];
    let data = group.protect(b"data", b"", rng).unwrap();
    let public = group.commit().build(rng, NOW).unwrap().commit().to_vec();
    group.set_handshake_format(HandshakeFormat::Private);
    let private = group.commit().build(rng, NOW).unwrap().commit().to_vec();
    let removal = group.propose_remove(LAST, rng).unwrap().message;
    group.set_handshake_format(HandshakeFormat::Public);
    let known = group.propose_remove(LeafIndex(2), rng).unwrap();
    let before = group.encode_state().unwrap();
    for (bytes, expected) in [
        (&data, ProcessError::OwnMessage),
        (&removal, ProcessError::OwnMessage),
        (&public, ProcessError::OwnCommit),
        (&private, ProcessError::OwnCommit),
    ] {
        assert_eq!(group.process(bytes, NOW).unwrap_err(), expected);
    }
    // A public proposal comes back as what it is, and is kept once.
    let Ok(Processed::Proposal(echo)) = group.process(&known.message, NOW) else {
        panic!("expected a proposal")
    };
    assert_eq!(echo.reference, known.reference);
    assert_eq!(*group.encode_state().unwrap(), *before);
    scene.goes_on();
}

#[test]
fn nothing_that_is_saved_outgrows_the_space_reserved_for_it() {
    let mut rng = rng(134);
    let rng = &mut rng;
    let client = client("alone", suite(), public_options(), rng);
    let id = GroupId(vec![7; 600]);
    let mut group = client.create_group(id, GroupOptions::default(), rng, NOW).unwrap();
    let pending = group.commit().build(rng, NOW).unwrap();
    let encoded = pending.encode_state(&group).unwrap();
    assert!(encoded.len() <= pending.saved_length_bound(&group), "{}", encoded.len());
}
