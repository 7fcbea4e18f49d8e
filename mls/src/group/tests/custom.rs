//! Proposal types and extensions that the application defines (RFC 9420 sections 12.1.8, 12.2, 12.4, 13).

use std::sync::Arc;

use super::{combined::from_outside, *};
use crate::{
    CommitError, ExternalProposer, GroupRules, RuleContext, RuleViolation,
    validation::{CommittedProposal, CustomProposal, CustomProposalType},
    wire::{
        Extension, ExtensionType, Extensions, ExternalSenders, GroupContext,
        GroupContextExtensions, ProposalType,
    },
};
use ProposalListViolation as Violation;

/// May come without a path, from members only.
const LIGHT: ProposalType = ProposalType(0xf0a1);
/// Needs a path, and may come from outside.
const HEAVY: ProposalType = ProposalType(0xf0a2);
/// Registered by nobody.
const STRANGE: ProposalType = ProposalType(0xf0a3);

/// No content may begin with 0, and there is one LIGHT at most.
struct Rules;

const FIRST_BYTE: RuleViolation = RuleViolation { rule: "first-byte" };
const ONE_LIGHT: RuleViolation = RuleViolation { rule: "one-light" };

impl GroupRules for Rules {
    fn check_proposal(
        &self,
        proposed: &CommittedProposal<'_>,
        group: &GroupContext,
    ) -> Result<(), RuleViolation> {
        assert_eq!(group.group_id.as_bytes(), b"test group");
        let starts_with_0 =
            matches!(proposed.proposal, Proposal::Other(_, data) if data.starts_with(&[0]));
        if starts_with_0 { Err(FIRST_BYTE) } else { Ok(()) }
    }

    fn check(&self, context: &RuleContext<'_>) -> Result<(), RuleViolation> {
        let light = context.changes.custom.iter().filter(|custom| custom.proposal_type == LIGHT);
        if light.count() > 1 { Err(ONE_LIGHT) } else { Ok(()) }
    }
}

fn options() -> ClientOptions {
    let mut options = public_options();
    options.proposal_types = vec![
        CustomProposalType { proposal_type: LIGHT, path_required: false, external_senders: false },
        CustomProposalType { proposal_type: HEAVY, path_required: true, external_senders: true },
    ];
    options.rules = Arc::new(Rules);
    options
}

fn custom_scene(seed: u64) -> Scene {
    scene_with(seed, options())
}

fn custom(kind: ProposalType, data: &[u8]) -> Proposal {
    Proposal::Other(kind, data.to_vec())
}

#[test]
fn custom_proposals_by_reference_and_by_value_reach_everybody_alike() {
    let mut scene = custom_scene(120);
    let proposed =
        scene.groups[2].propose(custom(HEAVY, b"by reference"), &mut scene.rng, NOW).unwrap();
    scene.propose(2, &proposed.message);
    let pending =
        scene.groups[0].commit().proposal(custom(LIGHT, b"")).build(&mut scene.rng, NOW).unwrap();
    let expected = [
        CustomProposal {
            proposal_type: HEAVY,
            data: b"by reference".to_vec(),
            sender: Sender::Member(LeafIndex(2)),
        },
        CustomProposal {
            proposal_type: LIGHT,
            data: Vec::new(),
            sender: Sender::Member(LeafIndex(0)),
        },
    ];
    assert_eq!(pending.changes().custom, expected);
    let commit = pending.commit().to_vec();
    for index in 1..4 {
        let crate::Processed::Commit(staged) = scene.groups[index].process(&commit, NOW).unwrap()
        else {
            panic!("expected a commit")
        };
        assert_eq!(staged.changes().custom, expected);
        scene.groups[index].merge(*staged).unwrap();
    }
    let PublicProcessed::Commit(staged) = scene.service.process(&commit, NOW).unwrap() else {
        panic!("expected a commit")
    };
    assert_eq!(staged.changes().custom, expected);
    scene.service.merge(*staged).unwrap();
    scene.groups[0].confirm(pending).unwrap();
    scene.goes_on();
}

#[test]
fn a_path_is_required_by_what_was_registered() {
    let mut scene = custom_scene(121);
    let pending = scene.groups[0]
        .commit()
        .proposal(custom(LIGHT, b"1"))
        .omit_path()
        .build(&mut scene.rng, NOW)
        .unwrap();
    assert!(!pending.changes().path);
    drop(pending);
    let pending = scene.groups[0]
        .commit()
        .proposal(custom(HEAVY, b"1"))
        .omit_path()
        .build(&mut scene.rng, NOW)
        .unwrap();
    assert!(pending.changes().path);
    drop(pending);
    let bytes = scene.forge(vec![custom(LIGHT, b"1"), custom(HEAVY, b"1")]);
    scene.refuse(&bytes, &Violation::PathMissing);
    let change = scene.commit(|builder| builder.proposal(custom(LIGHT, b"1")).omit_path()).change;
    assert!(!change.changes.path && change.changes.custom.len() == 1);
    scene.goes_on();
}

#[test]
fn rules_of_the_application_judge_custom_proposals() {
    let mut scene = custom_scene(122);
    let bad = custom(HEAVY, &[0]);
    let error = scene.groups[1].propose(bad.clone(), &mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::Rule(FIRST_BYTE)));
    let error =
        scene.groups[1].commit().proposal(bad.clone()).build(&mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::Rule(FIRST_BYTE)));
    // In a message of its own it is refused when it arrives, and by value with the commit.
    let bytes = forge(&scene.groups[0], Content::Proposal(bad.clone()));
    let expected = ProcessError::InvalidProposal(Violation::Rule(FIRST_BYTE));
    for group in &mut scene.groups[1..] {
        let before = group.encode_state().unwrap();
        assert_eq!(group.process(&bytes, NOW).unwrap_err(), expected);
        assert_eq!(*group.encode_state().unwrap(), *before);
    }
    assert_eq!(scene.service.process(&bytes, NOW).unwrap_err(), expected);
    let path = scene.valid_path();
    let proposals = vec![ProposalOrRef::Proposal(bad)];
    let bytes = scene.forge_commit(Commit { proposals, path: Some(path) });
    scene.refuse(&bytes, &Violation::Rule(FIRST_BYTE));
    // What only the whole list shows.
    let bytes = scene.forge(vec![custom(LIGHT, b"1"), custom(LIGHT, b"2")]);
    scene.refuse(&bytes, &Violation::Rule(ONE_LIGHT));
    scene.goes_on();
}

#[test]
fn of_proposals_that_break_a_rule_together_as_many_are_committed_as_can_be() {
    let mut scene = custom_scene(123);
    for (from, data) in [(1, b"1"), (2, b"2")] {
        let proposed =
            scene.groups[from].propose(custom(LIGHT, data), &mut scene.rng, NOW).unwrap();
        scene.propose(from, &proposed.message);
    }
    let change = scene.commit(|builder| builder).change;
    assert_eq!(change.changes.custom.len(), 1);
    scene.goes_on();
}

#[test]
fn a_type_that_some_member_does_not_list() {
    let mut scene = custom_scene(124);
    let bytes = scene.forge(vec![custom(STRANGE, b"1")]);
    scene.refuse(&bytes, &Violation::TypeNotSupported(STRANGE));
    let error = scene.groups[0].propose(custom(STRANGE, b"1"), &mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::NotImplemented(STRANGE)));

    // Somebody joins who knows nothing of the type: nobody may commit it, until that member is removed.
    let simple = client("simple", suite(), public_options(), &mut scene.rng);
    let bundle = key_package(&simple, &mut scene.rng);
    let added = bundle.key_package().clone();
    let welcome = scene.commit(|builder| builder.add(added)).welcome.unwrap();
    let mut simple = simple.join(&welcome, [&bundle], None, NOW).unwrap().accept();
    let error = scene.groups[0].propose(custom(LIGHT, b"1"), &mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::TypeNotSupported(LIGHT)));
    let bytes = scene.forge(vec![custom(LIGHT, b"1")]);
    scene.refuse(&bytes, &Violation::TypeNotSupported(LIGHT));
    let error = simple.process(&bytes, NOW).unwrap_err();
    assert_eq!(error, ProcessError::InvalidCommit(Violation::TypeNotSupported(LIGHT)));

    let leaf = simple.own_leaf();
    let pending = scene.groups[0]
        .commit()
        .proposal(custom(LIGHT, b"1"))
        .remove(leaf)
        .build(&mut scene.rng, NOW)
        .unwrap();
    // The one who is removed need not know the type to see that it is.
    support::merge(&mut simple, pending.commit());
    assert!(!simple.is_active());
    scene.settle(0, pending);
    scene.goes_on();
}

#[test]
fn a_type_that_everybody_lists_and_this_one_has_not_registered() {
    let mut options = options();
    options.capabilities.proposals.push(STRANGE);
    let mut scene = scene_with(125, options);
    let bytes = scene.forge(vec![custom(STRANGE, b"1")]);
    scene.refuse(&bytes, &Violation::NotImplemented(STRANGE));
    // A service that lacks the registration cannot say whether a path is needed.
    let info = scene.groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let unaware =
        PublicGroup::new(suite(), &info, None, PublicGroupOptions::new(AcceptAnyCredential), NOW)
            .unwrap();
    let bytes = scene.forge(vec![custom(LIGHT, b"1")]);
    let error = unaware.process(&bytes, NOW).unwrap_err();
    assert_eq!(error, ProcessError::InvalidCommit(Violation::NotImplemented(LIGHT)));
    assert_eq!(error.fault(), crate::Fault::IncompatiblePeer);
    scene.goes_on();
}

#[test]
fn the_librarys_own_types_cannot_be_registered_or_disguised() {
    let mut options = options();
    for kind in [ProposalType::ADD, ProposalType::SELF_REMOVE] {
        options.proposal_types.push(CustomProposalType {
            proposal_type: kind,
            path_required: false,
            external_senders: true,
        });
    }
    let mut scene = scene_with(126, options);
    for kind in [ProposalType::ADD, ProposalType::SELF_REMOVE] {
        let error = scene.groups[0].propose(custom(kind, b"1"), &mut scene.rng, NOW).unwrap_err();
        assert_eq!(error, CommitError::Invalid(Violation::NotImplemented(kind)));
        let error = scene.groups[0]
            .commit()
            .proposal(custom(kind, b"1"))
            .build(&mut scene.rng, NOW)
            .unwrap_err();
        assert_eq!(error, CommitError::Invalid(Violation::NotImplemented(kind)));
    }
    scene.goes_on();
}

#[test]
fn custom_proposals_from_outside_the_group() {
    let mut scene = custom_scene(127);
    let moderator = scene.client("moderator");
    let senders = ExternalSenders(vec![moderator.identity().external_sender()]);
    let extension = Extension::new(ExtensionType::EXTERNAL_SENDERS, &senders);
    scene.commit(|builder| builder.extensions(Extensions::from_iter([extension])));
    let proposer =
        ExternalProposer::in_group(suite(), moderator.identity().clone(), scene.service.context())
            .unwrap();
    let bytes = proposer.propose(custom(HEAVY, b"outside")).unwrap().message;
    scene.propose(usize::MAX, &bytes);
    for kind in [LIGHT, STRANGE] {
        let bytes = proposer.propose(custom(kind, b"1")).unwrap().message;
        let expected = ProcessError::InvalidProposal(Violation::TypeNotForExternal(kind));
        for group in &mut scene.groups {
            let before = group.encode_state().unwrap();
            assert_eq!(group.process(&bytes, NOW).unwrap_err(), expected);
            assert_eq!(*group.encode_state().unwrap(), *before);
        }
        assert_eq!(scene.service.process(&bytes, NOW).unwrap_err(), expected);
    }
    let bytes = from_outside(&scene, &moderator, Sender::External(0), custom(HEAVY, &[0]));
    let expected = ProcessError::InvalidProposal(Violation::Rule(FIRST_BYTE));
    assert_eq!(scene.groups[1].process(&bytes, NOW).unwrap_err(), expected);
    let change = scene.commit(|builder| builder).change;
    assert_eq!(change.changes.custom.len(), 1);
    assert_eq!(change.changes.custom[0].sender, Sender::External(0));
    scene.goes_on();
}

#[test]
fn a_custom_proposal_has_no_place_in_an_external_commit() {
    let mut scene = custom_scene(128);
    let outsider = scene.client("outsider");
    let info = scene.groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let pending =
        outsider.join_external(&info, None, Default::default(), &mut scene.rng, NOW).unwrap();
    let mut commit = commit_in(pending.commit());
    commit.proposals.push(ProposalOrRef::Proposal(custom(LIGHT, b"1")));
    let bytes = external::forge_external(&scene, &outsider, commit);
    scene.refuse(&bytes, &Violation::ExternalType(LIGHT));
    scene.goes_on();
}

#[test]
fn an_extension_of_the_application_is_bound_by_a_rule() {
    const TOPIC: ExtensionType = ExtensionType(0xf0b1);

    /// The topic of the group may change, and may not go.
    struct KeepsTopic;

    impl GroupRules for KeepsTopic {
        fn check(&self, context: &RuleContext<'_>) -> Result<(), RuleViolation> {
            let kept = context.old.extensions.find(TOPIC).is_none()
                || context.new.extensions.find(TOPIC).is_some();
            if kept { Ok(()) } else { Err(RuleViolation { rule: "topic" }) }
        }
    }

    let mut options = public_options();
    options.capabilities.extensions.push(TOPIC);
    options.rules = Arc::new(KeepsTopic);
    let mut scene = scene_with(129, options);
    let topic = |text: &[u8]| Extension { extension_type: TOPIC, data: text.to_vec() };
    let set = |text: &[u8]| Extensions::from_iter([topic(text)]);
    let change = scene.commit(|builder| builder.extensions(set(b"one"))).change;
    assert!(change.changes.extensions_changed);
    scene.commit(|builder| builder.extensions(set(b"two")));
    assert_eq!(scene.groups[3].context().extensions.find(TOPIC), Some(b"two".as_slice()));
    let gone =
        Proposal::GroupContextExtensions(GroupContextExtensions { extensions: Extensions::new() });
    let path = scene.valid_path();
    let bytes = scene
        .forge_commit(Commit { proposals: vec![ProposalOrRef::Proposal(gone)], path: Some(path) });
    scene.refuse(&bytes, &Violation::Rule(RuleViolation { rule: "topic" }));
    scene.goes_on();
}

#[test]
fn extensions_of_the_application_in_leaves_key_packages_and_welcomes() {
    const BADGE: ExtensionType = ExtensionType(0xf0b2);
    const HINT: ExtensionType = ExtensionType(0xf0b3);
    const TOPIC: ExtensionType = ExtensionType(0xf0b4);
    let with = |kind, data: &[u8]| {
        Extensions::from_iter([Extension { extension_type: kind, data: data.to_vec() }])
    };
    let mut scene = scene(130);
    let options = ClientOptions {
        leaf_extensions: with(BADGE, b"guest"),
        key_package_extensions: with(HINT, b"once"),
        ..public_options()
    };
    let newcomer = client("newcomer", suite(), options, &mut scene.rng);
    let bundle = key_package(&newcomer, &mut scene.rng);
    let listed = &bundle.key_package().leaf_node.capabilities.extensions;
    assert!(listed.contains(&BADGE) && listed.contains(&HINT));
    assert_eq!(bundle.key_package().extensions.find(HINT), Some(b"once".as_slice()));
    // The others list neither type, and need not.
    let added = bundle.key_package().clone();
    let extensions = with(TOPIC, b"weather");
    let settled = scene.commit(|builder| builder.add(added).welcome_extensions(extensions));
    let welcome = settled.welcome.unwrap();
    let staged = newcomer.join(&welcome, [&bundle], None, NOW).unwrap();
    assert_eq!(staged.extensions().find(TOPIC), Some(b"weather".as_slice()));
    assert!(staged.extensions().find(ExtensionType::RATCHET_TREE).is_some());
    let leaf = staged.own_leaf();
    scene.groups.push(staged.accept());
    for group in &scene.groups {
        let extensions = group.tree().leaf(leaf).unwrap().extensions();
        assert_eq!(extensions.find(BADGE), Some(b"guest".as_slice()));
        assert!(group.context().extensions.find(TOPIC).is_none());
    }
    // In a GroupInfo too; and the library's own extensions cannot be replaced.
    let mut extensions = with(TOPIC, b"news");
    extensions.set(Extension { extension_type: ExtensionType::EXTERNAL_PUB, data: vec![1] });
    let info = scene.groups[1].group_info_with(GroupInfoOptions::default(), extensions).unwrap();
    let MlsMessage(MlsMessageBody::GroupInfo(read)) = MlsMessage::from_bytes(&info).unwrap() else {
        panic!("expected a group info")
    };
    assert_eq!(read.extensions.find(TOPIC), Some(b"news".as_slice()));
    assert!(scene.groups[2].check_group_info(&info).unwrap().has_external_pub);
    assert!(scene.service.check_group_info(&info).is_ok());
    scene.goes_on();
}
