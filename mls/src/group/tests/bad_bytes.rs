//! Truncated, altered, replayed, reordered and misdirected messages: a typed error, the state as before.

use proptest::prelude::*;

use super::*;
use crate::Processed;

fn unchanged(group: &mut Group, bytes: &[u8]) -> ProcessError {
    let before = group.encode_state().unwrap();
    let error = group.process(bytes, NOW).unwrap_err();
    assert_eq!(*group.encode_state().unwrap(), *before);
    error
}

/// One message of every kind that a group processes.
fn messages(scene: &mut Scene) -> Vec<Vec<u8>> {
    let rng = &mut scene.rng;
    let bundle = key_package(scene.groups[0].client(), rng);
    let group = &mut scene.groups[0];
    let data = group.protect(b"some data", b"and more", rng).unwrap();
    let full = group.commit().remove(LAST).build(rng, NOW).unwrap().commit().to_vec();
    let short = group.commit().omit_path().build(rng, NOW).unwrap().commit().to_vec();
    let add = group.propose_remove(LAST, rng).unwrap().message;
    group.clear_proposals();
    group.set_handshake_format(crate::HandshakeFormat::Private);
    let private = group.commit().build(rng, NOW).unwrap().commit().to_vec();
    let update = group.propose_update(rng).unwrap().message;
    group.clear_proposals();
    group.set_handshake_format(crate::HandshakeFormat::Public);
    vec![data, full, short, add, private, update, bundle.message()]
}

#[test]
fn replayed_reordered_and_misdirected_messages() {
    let mut scene = scene(51);
    let rng = &mut scene.rng;
    let first = scene.groups[0].commit().build(rng, NOW).unwrap();
    let first_bytes = first.commit().to_vec();
    let epoch = scene.groups[0].epoch();
    scene.groups[0].confirm(first).unwrap();
    let second = scene.groups[0].commit().build(rng, NOW).unwrap();
    let second_bytes = second.commit().to_vec();
    scene.groups[0].confirm(second).unwrap();
    let data = scene.groups[0].protect(b"from the future", b"", rng).unwrap();

    let group = &mut scene.groups[1];
    let future = ProcessError::FutureEpoch { message: epoch + 1, current: epoch };
    assert_eq!(future.action(), Action::WaitForKey);
    assert_eq!(unchanged(group, &second_bytes), future);
    let future = ProcessError::FutureEpoch { message: epoch + 2, current: epoch };
    assert_eq!(unchanged(group, &data), future);
    support::merge(group, &first_bytes);
    let stale = ProcessError::StaleEpoch { message: epoch, current: epoch + 1 };
    assert_eq!(unchanged(group, &first_bytes), stale);
    support::merge(group, &second_bytes);
    assert!(matches!(group.process(&data, NOW), Ok(Processed::Application(_))));
    unchanged(group, &data);

    let mut rng = support::rng(52);
    let mut other = group_of(2, suite(), &public_options(), &mut rng);
    other[0].state.context.group_id.0.push(1);
    other[0].state.context_bytes = other[0].state.context.to_bytes();
    let foreign = other[0].commit().build(&mut rng, NOW).unwrap();
    assert_eq!(unchanged(group, foreign.commit()), ProcessError::OtherGroup);
    let welcome = scene.groups[2].group_info(GroupInfoOptions::default()).unwrap();
    assert_eq!(unchanged(&mut scene.groups[1], &welcome), ProcessError::WrongKind);
}

#[test]
fn a_dropped_staged_commit_leaves_no_trace() {
    let mut scene = scene(53);
    let pending = scene.groups[0].commit().remove(LAST).build(&mut scene.rng, NOW).unwrap();
    let before = scene.groups[1].encode_state().unwrap();
    for _ in 0..2 {
        let staged = scene.groups[1].process(pending.commit(), NOW).unwrap();
        drop(staged);
        assert_eq!(*scene.groups[1].encode_state().unwrap(), *before);
    }
    drop(pending);
    scene.goes_on();
}

#[test]
fn making_a_commit_changes_nothing() {
    let mut scene = scene(56);
    let bundle = scene.key_package("newcomer");
    let group = &mut scene.groups[0];
    let before = group.encode_state().unwrap();
    for _ in 0..2 {
        let builder = group.commit().add(bundle.key_package().clone()).remove(LAST);
        drop(builder.build(&mut scene.rng, NOW).unwrap());
        // One that would not be valid, too.
        assert!(group.commit().remove(LeafIndex(50)).build(&mut scene.rng, NOW).is_err());
        assert_eq!(*group.encode_state().unwrap(), *before);
    }
    scene.goes_on();
}

#[test]
fn an_invalid_proposal_of_others_does_not_block_commits() {
    let mut scene = scene(54);
    let member = scene.groups[3].client().clone();
    let again = key_package(&member, &mut scene.rng);
    let bad = forge(&scene.groups[2], Content::Proposal(add(again.key_package())));
    let good = scene.groups[2].propose_remove(LeafIndex(1), &mut scene.rng).unwrap().message;
    for message in [&bad, &good] {
        scene.propose(2, message);
    }
    let pending = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    assert_eq!(pending.changes().removed[0].leaf, LeafIndex(1));
    assert!(pending.changes().added.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut scene = scene(55);
        unchanged(&mut scene.groups[1], &bytes);
        prop_assert!(scene.service.process(&bytes, NOW).is_err());
        let client = scene.groups[1].client().clone();
        prop_assert!(client.join(&bytes, [], None, NOW).is_err());
        prop_assert!(client.read_key_package(&bytes, NOW).is_err());
    }

    #[test]
    fn altered_messages_are_refused(kind in 0usize..7, at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<bool>()) {
        let mut scene = scene(55);
        let mut message = messages(&mut scene).swap_remove(kind);
        let at = at.index(message.len());
        if cut {
            message.drain(at..(at + 1 + usize::from(value)).min(message.len()));
        } else if message[at] == value {
            message[at] = !value;
        } else {
            message[at] = value;
        }
        unchanged(&mut scene.groups[1], &message);
    }
}
