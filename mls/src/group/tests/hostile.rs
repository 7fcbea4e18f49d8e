//! What a hostile member, server or application may try beyond breaking a single rule of a list.

use std::sync::Arc;

use super::*;
use crate::{
    Action, CommitError, CredentialRejected, CredentialValidator, ExternalJoinOptions, GroupId,
    GroupOptions, JoinError, MergeError, SnapshotKey, UnixTime,
    tree::RatchetTree,
    validation::{GroupInfoViolation, KeyPackageViolation, LeafNodeViolation},
    wire::{
        Credential, Extension, ExtensionType, Extensions, ExternalSender, ExternalSenders,
        GroupInfo, GroupInfoTbs, PreSharedKeyId, ProposalType, ProtocolVersion, PskSource, ReInit,
        Remove, RequiredCapabilities, ResumptionPskUsage, SignaturePublicKey,
    },
};
use ProposalListViolation as Violation;

fn reinit() -> Proposal {
    Proposal::ReInit(ReInit {
        group_id: GroupId(b"next".to_vec()),
        version: ProtocolVersion::MLS10,
        cipher_suite: suite().id,
        extensions: Extensions::new(),
    })
}

#[test]
fn a_commit_takes_effect_only_where_it_was_staged_or_built() {
    let mut scene = scene(60);
    let pending = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    let crate::Processed::Commit(staged) = scene.groups[1].process(pending.commit(), NOW).unwrap()
    else {
        panic!("expected a commit")
    };
    let before = scene.groups[2].encode_state().unwrap();
    assert_eq!(scene.groups[2].merge(*staged), Err(MergeError::OtherMember));
    assert_eq!(scene.groups[2].confirm(pending), Err(MergeError::OtherMember));
    assert_eq!(*scene.groups[2].encode_state().unwrap(), *before);
    scene.goes_on();
}

#[test]
fn a_commit_for_another_branch_of_a_fork_is_superseded() {
    let mut scene = scene(61);
    let (key, rng) = (SnapshotKey::generate(&mut scene.rng), &mut scene.rng);
    let source = PskSource::Resumption {
        usage: ResumptionPskUsage::Application,
        psk_group_id: scene.groups[0].id().clone(),
        psk_epoch: scene.groups[0].epoch(),
    };
    // Two commits without a path: epoch and tree are the same after both, the secrets differ.
    let mut commit = || {
        let builder = scene.groups[0].commit().psk(source.clone()).omit_path();
        builder.build(rng, NOW).unwrap().commit().to_vec()
    };
    let (one, other) = (commit(), commit());
    let saved = scene.groups[1].save(&key, rng).unwrap();
    let mut twin = scene.groups[1].client().restore(&saved, &key).unwrap();
    support::merge(&mut scene.groups[1], &one);
    support::merge(&mut twin, &other);
    assert_eq!(scene.groups[1].context().tree_hash, twin.context().tree_hash);
    assert_eq!(scene.groups[1].epoch(), twin.epoch());

    let pending = scene.groups[1].commit().build(rng, NOW).unwrap();
    let before = twin.encode_state().unwrap();
    assert_eq!(twin.confirm(pending), Err(MergeError::Superseded));
    assert_eq!(*twin.encode_state().unwrap(), *before);
}

#[test]
fn the_last_epoch_has_no_successor() {
    let mut scene = scene(62);
    for group in &mut scene.groups {
        group.state.context.epoch = u64::MAX;
        group.state.context_bytes = group.state.context.to_bytes();
    }
    let info = scene.groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let options = PublicGroupOptions::new(AcceptAnyCredential);
    scene.service = PublicGroup::new(suite(), &info, None, options, NOW).unwrap();
    let error = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, CommitError::Invalid(Violation::EpochExhausted));
    let bytes = scene.forge(Vec::new());
    scene.refuse(&bytes, &Violation::EpochExhausted);
}

#[test]
fn a_closed_group_stays_closed() {
    let mut scene = scene(63);
    scene.commit(|builder| builder.proposal(reinit()));
    // A member that ignores the ReInit goes on.
    scene.groups[0].closed = None;
    let removal = scene.groups[0].propose_remove(LAST, &mut scene.rng).unwrap().message;
    let commit = scene.groups[0].commit().without_received().build(&mut scene.rng, NOW).unwrap();
    for bytes in [removal.as_slice(), commit.commit()] {
        for group in &mut scene.groups[1..] {
            let before = group.encode_state().unwrap();
            assert_eq!(group.process(bytes, NOW).unwrap_err(), ProcessError::Inactive);
            assert_eq!(*group.encode_state().unwrap(), *before);
            assert!(group.reinit().is_some());
        }
        assert_eq!(scene.service.process(bytes, NOW).unwrap_err(), ProcessError::Inactive);
    }
}

#[test]
fn an_external_joiner_that_lacks_what_the_group_requires_is_told_so() {
    let kind = ProposalType(0xff11);
    let mut rng = rng(64);
    let mut options = public_options();
    options.capabilities.proposals.push(kind);
    let creator = client("creator", suite(), options, &mut rng);
    let mut required = RequiredCapabilities::default();
    required.proposal_types.push(kind);
    let group_options =
        GroupOptions { required_capabilities: Some(required), ..GroupOptions::default() };
    let id = GroupId(b"demanding".to_vec());
    let group = creator.create_group(id, group_options, &mut rng, NOW).unwrap();
    let info = group.group_info(GroupInfoOptions::default()).unwrap();
    let outsider = client("outsider", suite(), public_options(), &mut rng);
    let join = ExternalJoinOptions::default();
    let error = outsider.join_external(&info, None, join, &mut rng, NOW).unwrap_err();
    let violation = Violation::PathLeaf(LeafNodeViolation::RequiredProposal(kind));
    assert_eq!(error, JoinError::ExternalCommit(violation));
}

#[test]
fn ones_own_proposals_are_held_to_the_rules_of_others() {
    let mut scene = scene(65);
    let mut package = scene.key_package("newcomer").key_package().clone();
    package.leaf_node.signature.0[0] ^= 1;
    let before = scene.groups[0].encode_state().unwrap();
    let error = scene.groups[0].propose(add(&package), &mut scene.rng, NOW).unwrap_err();
    let violation = KeyPackageViolation::LeafNode(LeafNodeViolation::Signature);
    assert_eq!(error, CommitError::Invalid(Violation::Add(violation)));
    let update = Update { leaf_node: own_leaf_node(&scene.groups[0]) };
    let update = Proposal::Update(Box::new(update));
    let error = scene.groups[0].propose(update, &mut scene.rng, NOW).unwrap_err();
    let violation = LeafNodeViolation::Source { expected: "update" };
    assert_eq!(error, CommitError::Invalid(Violation::Update(violation)));
    let nobody = Proposal::Remove(Remove { removed: LeafIndex(u32::MAX) });
    let error = scene.groups[0].propose(nobody, &mut scene.rng, NOW).unwrap_err();
    let violation = Violation::RemovedLeafBlank(LeafIndex(u32::MAX));
    assert_eq!(error, CommitError::Invalid(violation));
    assert_eq!(*scene.groups[0].encode_state().unwrap(), *before);
    scene.goes_on();
}

/// Rejects one credential.
struct NotEve;

impl CredentialValidator for NotEve {
    fn validate(
        &self,
        credential: &Credential,
        _: &SignaturePublicKey,
        _: UnixTime,
    ) -> Result<(), CredentialRejected> {
        if *credential == Credential::basic("eve") {
            return Err(CredentialRejected::new("eve"));
        }
        Ok(())
    }
}

#[test]
fn external_senders_of_a_group_are_judged_by_whoever_joins_it() {
    let mut rng = rng(66);
    let eve = client("eve", suite(), public_options(), &mut rng);
    let sender = ExternalSender {
        signature_key: eve.identity().public(),
        credential: Credential::basic("eve"),
    };
    let list = ExternalSenders(vec![sender]);
    let good = Extension::new(ExtensionType::EXTERNAL_SENDERS, &list);
    let bad = Extension { extension_type: ExtensionType::EXTERNAL_SENDERS, data: vec![1] };
    for (extension, violation) in [
        (good, GroupInfoViolation::ExternalSenderRejected),
        (bad, GroupInfoViolation::ExtensionMalformed),
    ] {
        let creator = client("creator", suite(), public_options(), &mut rng);
        let extensions = Extensions::from_iter([extension]);
        let options = GroupOptions { extensions, ..GroupOptions::default() };
        let id = GroupId(b"with a door".to_vec());
        let mut group = creator.create_group(id, options, &mut rng, NOW).unwrap();
        let careful = ClientOptions {
            validator: Arc::new(NotEve),
            ..ClientOptions::new(AcceptAnyCredential)
        };
        let joiner = client("joiner", suite(), careful, &mut rng);
        let bundle = key_package(&joiner, &mut rng);
        let adding = group.commit().add(bundle.key_package().clone());
        let pending = adding.build(&mut rng, NOW).unwrap();
        let error = joiner.join(pending.welcome().unwrap(), [&bundle], None, NOW).unwrap_err();
        assert_eq!(error, JoinError::GroupInfo(violation.clone()));
        let info = group.group_info(GroupInfoOptions::default()).unwrap();
        let join = ExternalJoinOptions::default();
        let error = joiner.join_external(&info, None, join, &mut rng, NOW).unwrap_err();
        assert_eq!(error, JoinError::GroupInfo(violation.clone()));
        let service = PublicGroupOptions::new(NotEve);
        let error = PublicGroup::new(suite(), &info, None, service, NOW).unwrap_err();
        assert_eq!(error, JoinError::GroupInfo(violation));
    }
}

#[test]
fn values_that_exist_to_be_ignored_are_not_supported_in_earnest() {
    let mut rng = rng(67);
    let client = client("client", suite(), public_options(), &mut rng);
    let listed = client.capabilities();
    let grease = *listed.extensions.iter().find(|kind| kind.is_grease()).unwrap();
    let extension = Extension { extension_type: grease, data: Vec::new() };
    let extensions = Extensions::from_iter([extension]);
    let options = GroupOptions { extensions, ..GroupOptions::default() };
    let id = GroupId(b"greasy".to_vec());
    let error = client.create_group(id, options, &mut rng, NOW).unwrap_err();
    let violation = LeafNodeViolation::GroupExtension(grease);
    assert_eq!(error, crate::ClientError::Requirements(violation));
}

#[test]
fn a_missed_proposal_asks_for_a_resync() {
    let mut scene = scene(68);
    let removal = scene.groups[2].propose_remove(LAST, &mut scene.rng).unwrap();
    scene.propose(2, &removal.message);
    scene.groups[1].clear_proposals();
    let pending = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    let error = scene.groups[1].process(pending.commit(), NOW).unwrap_err();
    let violation = Violation::UnknownReference(removal.reference);
    assert_eq!(error, ProcessError::InvalidCommit(violation));
    // The others have moved on: to ignore the commit would leave this member behind for good.
    assert_eq!(error.action(), Action::Resync);
    assert!(scene.groups[3].process(pending.commit(), NOW).is_ok());
}

#[test]
fn a_removed_member_sees_its_removal_and_nothing_after_it() {
    let mut scene = scene(69);
    let commit = scene.commit(|builder| builder.remove(LAST)).commit;
    let rng = &mut scene.rng;
    let next = scene.groups[0].commit().build(rng, NOW).unwrap();
    let data = scene.groups[0].protect(b"data", b"", rng).unwrap();
    let removed = &mut scene.groups[3];
    assert!(!removed.is_active() && removed.secrets.is_none() && removed.past.0.is_empty());
    let before = removed.encode_state().unwrap();
    for bytes in [next.commit(), &data, &commit] {
        assert!(removed.process(bytes, NOW).is_err());
    }
    let gone = crate::ExportError::Inactive;
    assert_eq!(removed.export("label", b"", 32).unwrap_err(), gone);
    assert_eq!(removed.epoch_authenticator().unwrap_err(), gone);
    assert_eq!(removed.protect(b"data", b"", rng).unwrap_err(), gone);
    assert_eq!(removed.group_info(GroupInfoOptions::default()).unwrap_err(), gone);
    assert_eq!(removed.commit().build(rng, NOW).unwrap_err(), CommitError::Inactive);
    assert_eq!(removed.propose_remove(LeafIndex(0), rng).unwrap_err(), CommitError::Inactive);
    assert_eq!(removed.propose_update(rng).unwrap_err(), CommitError::Inactive);
    assert_eq!(*removed.encode_state().unwrap(), *before);
}

/// A GroupInfo of the scene, altered and signed again by member 0.
fn altered_info(scene: &Scene, alter: impl FnOnce(&mut GroupInfo)) -> Vec<u8> {
    let info = scene.groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let MlsMessageBody::GroupInfo(mut info) = MlsMessage::from_bytes(&info).unwrap().0 else {
        panic!("expected a group info")
    };
    alter(&mut info);
    let signed = GroupInfoTbs(&info).to_bytes();
    let signer = scene.groups[0].client().identity().signer();
    info.signature = suite().sign_with_label(signer, "GroupInfoTBS", &signed).unwrap();
    MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes()
}

#[test]
fn group_infos_that_break_a_rule() {
    let mut scene = scene(70);
    let outsider = scene.client("outsider");
    let refuse = |violation: GroupInfoViolation, alter: &dyn Fn(&mut GroupInfo)| {
        let bytes = altered_info(&scene, alter);
        let expected = JoinError::GroupInfo(violation.clone());
        let options = PublicGroupOptions::new(AcceptAnyCredential);
        let error = PublicGroup::new(suite(), &bytes, None, options, NOW).unwrap_err();
        assert_eq!(error, expected);
        let join = ExternalJoinOptions::default();
        let mut rng = rng(71);
        let error = outsider.join_external(&bytes, None, join, &mut rng, NOW).unwrap_err();
        assert_eq!(error, expected);
        if violation != GroupInfoViolation::TreeMissing {
            assert!(scene.service.check_group_info(&bytes).is_err());
        }
    };
    refuse(GroupInfoViolation::SignerBlank, &|info| info.signer = LeafIndex(4));
    refuse(GroupInfoViolation::SignerBlank, &|info| info.signer = LeafIndex(u32::MAX));
    refuse(GroupInfoViolation::Signature, &|info| info.signer = LeafIndex(1));
    refuse(GroupInfoViolation::TreeHash, &|info| info.group_context.tree_hash.0[0] ^= 1);
    refuse(GroupInfoViolation::Parameters, &|info| {
        info.group_context.version = ProtocolVersion(2);
    });
    let kind = ExtensionType::RATCHET_TREE;
    refuse(GroupInfoViolation::TreeMissing, &|info| {
        let kept = info.extensions.iter().filter(|e| e.extension_type != kind);
        info.extensions = kept.cloned().collect();
    });
    let tree = |error| GroupInfoViolation::Tree(error);
    refuse(tree(crate::tree::TreeError::TrailingBlank), &|info| {
        let mut nodes = crate::codec::Reader::new(info.extensions.find(kind).unwrap());
        let mut nodes = nodes.opaque().unwrap().to_vec();
        nodes.push(0);
        info.extensions.set(Extension::new(kind, &nodes));
    });
    let nothing = Extension { extension_type: ExtensionType::EXTERNAL_PUB, data: vec![1, 0] };
    let bytes = altered_info(&scene, |info| info.extensions.set(nothing.clone()));
    let error = scene.service.check_group_info(&bytes).unwrap_err();
    assert_eq!(error, GroupInfoViolation::ExternalPub);
    let malformed =
        Extension { extension_type: ExtensionType::REQUIRED_CAPABILITIES, data: vec![9] };
    let bytes = altered_info(&scene, |info| info.group_context.extensions.set(malformed.clone()));
    let options = PublicGroupOptions::new(AcceptAnyCredential);
    let error = PublicGroup::new(suite(), &bytes, None, options, NOW).unwrap_err();
    assert_eq!(error, JoinError::GroupInfo(GroupInfoViolation::ExtensionMalformed));
    scene.goes_on();
}

#[test]
fn a_leaf_index_beyond_every_tree() {
    let mut scene = scene(72);
    for leaf in [4, u32::MAX / 2, u32::MAX / 2 + 1, u32::MAX - 1, u32::MAX].map(LeafIndex) {
        let bytes = scene.forge(vec![Proposal::Remove(Remove { removed: leaf })]);
        scene.refuse(&bytes, &Violation::RemovedLeafBlank(leaf));
        // The sender of a message; the tag is not reached.
        let mut message = match MlsMessage::from_bytes(&bytes).unwrap().0 {
            MlsMessageBody::PublicMessage(message) => message,
            other => panic!("unexpected {other:?}"),
        };
        message.content.sender = Sender::Member(leaf);
        let bytes = MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes();
        assert_eq!(scene.service.process(&bytes, NOW).unwrap_err(), ProcessError::UnknownSender);
        assert!(scene.groups[1].process(&bytes, NOW).is_err());
        assert_eq!(scene.groups[1].member(leaf), None);
        let removal = scene.groups[1].commit().remove(leaf).build(&mut scene.rng, NOW);
        let violation = Violation::RemovedLeafBlank(leaf);
        assert_eq!(removal.unwrap_err(), CommitError::Invalid(violation));
    }
    // An unmerged leaf of a parent.
    let tree = scene.groups[0].ratchet_tree();
    let parents = [1u32, 3, 5];
    let mut altered = 0;
    for leaf in [u32::MAX / 2 + 1, u32::MAX] {
        for parent in parents {
            let Some(bytes) = with_unmerged_leaf(&tree, parent, leaf) else { continue };
            let tree = RatchetTree::from_bytes(suite(), &bytes).unwrap();
            assert!(tree.validate(scene.groups[0].id()).is_err());
            altered += 1;
        }
    }
    assert_eq!(altered, 6);
    scene.goes_on();
}

fn with_unmerged_leaf(tree: &[u8], parent: u32, leaf: u32) -> Option<Vec<u8>> {
    let mut nodes = Vec::<Option<crate::wire::Node>>::from_bytes(tree).unwrap();
    let node = nodes.get_mut(parent as usize)?.as_mut()?;
    let crate::wire::Node::Parent(node) = node else { return None };
    node.unmerged_leaves = vec![LeafIndex(leaf)];
    Some(nodes.to_bytes())
}

#[test]
fn more_psks_than_can_be_counted() {
    let mut scene = scene(73);
    let psk = |index: u32| {
        let source = PskSource::External { psk_id: index.to_be_bytes().to_vec() };
        let psk = PreSharedKeyId { source, psk_nonce: vec![0; 32] };
        Proposal::PreSharedKey(crate::wire::PreSharedKey { psk })
    };
    let bytes = scene.forge((0..=65_535).map(psk).collect());
    scene.refuse(&bytes, &Violation::TooManyPsks);
    scene.goes_on();
}

#[test]
fn nothing_secret_is_printed() {
    let mut scene = scene(74);
    let content = Content::Application(b"a secret word".to_vec());
    assert!(!format!("{content:?}").contains("97"), "{content:?}");
    let data = scene.groups[0].protect(b"a secret word", b"", &mut scene.rng).unwrap();
    let received = scene.groups[1].process(&data, NOW).unwrap();
    assert!(!format!("{received:?}").contains("97, 32"), "{received:?}");
    let secret = scene.groups[0].export("label", b"", 32).unwrap();
    assert_eq!(format!("{secret:?}"), "Secret(redacted)");
}
