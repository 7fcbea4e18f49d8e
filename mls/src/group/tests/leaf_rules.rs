//! One list of leaves that break a rule (RFC 9420 section 7.3), in every place where a leaf comes in: a key package, an Update, the path
//! of a commit.

use super::{leaves::altered, *};
use crate::{
    validation::{KeyPackageViolation, LeafNodeViolation as Leaf},
    wire::{
        CredentialType, Extension, ExtensionType, Extensions, ParentHash, ProposalType,
        RequiredCapabilities,
    },
};
use ProposalListViolation as Violation;

type Alter = Box<dyn Fn(&mut LeafNode)>;

/// A leaf that breaks a rule, and the name of the rule.
pub(super) struct BadLeaf {
    pub(super) violation: Leaf,
    pub(super) alter: Alter,
}

fn bad(violation: Leaf, alter: impl Fn(&mut LeafNode) + 'static) -> BadLeaf {
    BadLeaf { violation, alter: Box::new(alter) }
}

const CUSTOM: ExtensionType = ExtensionType(0xff51);
const REQUIRED_EXTENSION: ExtensionType = ExtensionType(0xff52);
const REQUIRED_PROPOSAL: ProposalType = ProposalType(0xff53);
const REQUIRED_CREDENTIAL: CredentialType = CredentialType(0xff54);

/// Rules that a leaf breaks by itself.
pub(super) fn bad_by_themselves() -> Vec<BadLeaf> {
    let unlisted = ExtensionType(0xff55);
    vec![
        bad(Leaf::VersionUnsupported, |leaf| leaf.capabilities.versions.clear()),
        bad(Leaf::CipherSuiteUnsupported, |leaf| leaf.capabilities.cipher_suites.clear()),
        bad(Leaf::OwnCredentialTypeUnlisted(CredentialType::BASIC), |leaf| {
            leaf.capabilities.credentials.clear();
        }),
        bad(Leaf::ExtensionUnlisted(unlisted), move |leaf| {
            leaf.extensions.set(Extension { extension_type: unlisted, data: Vec::new() });
        }),
        bad(Leaf::EncryptionKeyMalformed, |leaf| leaf.encryption_key.0.fill(0)),
        bad(Leaf::EncryptionKeyMalformed, |leaf| leaf.encryption_key.0.clear()),
    ]
}

/// Rules that a leaf breaks in a group like that of [`demanding_scene`].
pub(super) fn bad_in_a_demanding_group() -> Vec<BadLeaf> {
    vec![
        bad(Leaf::RequiredExtension(REQUIRED_EXTENSION), |leaf| {
            leaf.capabilities.extensions.retain(|kind| *kind != REQUIRED_EXTENSION);
        }),
        bad(Leaf::RequiredProposal(REQUIRED_PROPOSAL), |leaf| {
            leaf.capabilities.proposals.retain(|kind| *kind != REQUIRED_PROPOSAL);
        }),
        bad(Leaf::RequiredCredential(REQUIRED_CREDENTIAL), |leaf| {
            leaf.capabilities.credentials.retain(|kind| *kind != REQUIRED_CREDENTIAL);
        }),
        bad(Leaf::GroupExtension(CUSTOM), |leaf| {
            leaf.capabilities.extensions.retain(|kind| *kind != CUSTOM);
        }),
    ]
}

/// Options of somebody who supports what the demanding group asks for.
pub(super) fn able_options() -> ClientOptions {
    let mut options = public_options();
    options.capabilities.extensions = vec![CUSTOM, REQUIRED_EXTENSION];
    options.capabilities.proposals = vec![REQUIRED_PROPOSAL];
    options.capabilities.credentials = vec![CredentialType::BASIC, REQUIRED_CREDENTIAL];
    options
}

/// The extensions of the demanding group.
pub(super) fn demands() -> Extensions {
    let required = RequiredCapabilities {
        extension_types: vec![REQUIRED_EXTENSION],
        proposal_types: vec![REQUIRED_PROPOSAL],
        credential_types: vec![REQUIRED_CREDENTIAL],
    };
    Extensions::from_iter([
        Extension::new(ExtensionType::REQUIRED_CAPABILITIES, &required),
        Extension { extension_type: CUSTOM, data: Vec::new() },
    ])
}

/// A group that asks for an extension, a proposal and a credential type, and has an extension itself.
fn demanding_scene(seed: u64) -> Scene {
    let mut scene = scene_with(seed, able_options());
    scene.commit(|builder| builder.extensions(demands()));
    scene
}

/// The path of a valid commit of member 0, its leaf altered and signed by `signer` for a place in this group.
fn path_with(
    scene: &mut Scene,
    (signer, place): (usize, LeafIndex),
    alter: impl FnOnce(&mut LeafNode),
) -> Vec<u8> {
    let mut path = scene.valid_path();
    alter(&mut path.leaf_node);
    let identity = scene.groups[signer].client.identity();
    identity.sign_leaf(suite(), &mut path.leaf_node, scene.groups[0].id(), place).unwrap();
    scene.forge_commit(Commit { proposals: Vec::new(), path: Some(path) })
}

const OWN: (usize, LeafIndex) = (0, LeafIndex(0));

/// Refused as soon as it arrives, by everybody.
fn update_refused(
    scene: &mut Scene,
    signed: (usize, LeafIndex),
    violation: Leaf,
    alter: impl FnOnce(&mut LeafNode),
) {
    let signer = (scene.groups[signed.0].client(), signed.1);
    let bytes = forge_update(&scene.groups[0], signer, alter);
    let error = ProcessError::InvalidProposal(Violation::Update(violation));
    scene.refuse_as(&bytes, &error, Action::Drop);
}

#[test]
fn no_leaf_breaks_a_rule_by_itself() {
    let mut scene = scene(110);
    for BadLeaf { violation, alter } in bad_by_themselves() {
        let package = altered(&mut scene, |package| alter(&mut package.leaf_node));
        let bytes = scene.forge(vec![add(&package)]);
        let in_package = KeyPackageViolation::LeafNode(violation.clone());
        scene.refuse(&bytes, &Violation::Add(in_package));
        update_refused(&mut scene, OWN, violation.clone(), &alter);
        let bytes = path_with(&mut scene, OWN, alter);
        scene.refuse(&bytes, &Violation::PathLeaf(violation));
    }
    scene.goes_on();
}

#[test]
fn a_leaf_has_a_signature_key_of_the_suite() {
    let mut scene = scene(111);
    let short = |leaf: &mut LeafNode| {
        leaf.signature_key.0.pop();
    };
    // Of small order: anybody can sign for it.
    let small = |leaf: &mut LeafNode| {
        leaf.signature_key.0.fill(0);
        leaf.signature_key.0[0] = 1;
    };
    for alter in [&short as &dyn Fn(&mut LeafNode), &small] {
        let violation = Leaf::SignatureKeyMalformed;
        let package = altered(&mut scene, |package| alter(&mut package.leaf_node));
        let bytes = scene.forge(vec![add(&package)]);
        let in_package = KeyPackageViolation::LeafNode(violation.clone());
        scene.refuse(&bytes, &Violation::Add(in_package));
        update_refused(&mut scene, OWN, violation.clone(), alter);
        let bytes = path_with(&mut scene, OWN, alter);
        scene.refuse(&bytes, &Violation::PathLeaf(violation));
    }
    scene.goes_on();
}

#[test]
fn a_leaf_has_the_source_of_its_place() {
    let mut scene = scene(112);
    let committed = |leaf: &mut LeafNode| leaf.source = LeafNodeSource::Commit(ParentHash(vec![]));
    update_refused(&mut scene, OWN, Leaf::Source { expected: "update" }, committed);
    let package = altered(&mut scene, |package| committed(&mut package.leaf_node));
    let bytes = scene.forge(vec![add(&package)]);
    let violation = KeyPackageViolation::LeafNode(Leaf::Source { expected: "key_package" });
    scene.refuse(&bytes, &Violation::Add(violation));
    let updated = |leaf: &mut LeafNode| leaf.source = LeafNodeSource::Update;
    let bytes = path_with(&mut scene, OWN, updated);
    scene.refuse(&bytes, &Violation::PathLeaf(Leaf::Source { expected: "commit" }));
    scene.goes_on();
}

#[test]
fn a_leaf_is_signed_for_its_place_in_this_group_by_its_own_key() {
    let mut scene = scene(113);
    // By another member, and for another leaf.
    for signed in [(1, LeafIndex(0)), (0, LeafIndex(1))] {
        update_refused(&mut scene, signed, Leaf::Signature, |_| {});
        let bytes = path_with(&mut scene, signed, |_| {});
        scene.refuse(&bytes, &Violation::PathLeaf(Leaf::Signature));
    }
    // For another group: made while the group had another name.
    let id = scene.groups[0].id().clone();
    scene.groups[0].state.context.group_id.0.push(1);
    let mut path = scene.valid_path();
    let identity = scene.groups[0].client.identity();
    let other = scene.groups[0].id().clone();
    identity.sign_leaf(suite(), &mut path.leaf_node, &other, LeafIndex(0)).unwrap();
    scene.groups[0].state.context.group_id = id;
    let bytes = scene.forge_commit(Commit { proposals: Vec::new(), path: Some(path) });
    scene.refuse(&bytes, &Violation::PathLeaf(Leaf::Signature));
    scene.goes_on();
}

#[test]
fn an_update_brings_another_encryption_key() {
    let mut scene = scene(114);
    let old = own_leaf_node(&scene.groups[0]).encryption_key;
    let alter = |leaf: &mut LeafNode| leaf.encryption_key = old;
    update_refused(&mut scene, OWN, Leaf::EncryptionKeyUnchanged, alter);
    scene.goes_on();
}

/// A commit of member 1 that covers an Update of member 0, which everybody has accepted by itself.
fn committed_update_refused(
    scene: &mut Scene,
    signer: usize,
    violation: &Violation,
    alter: impl FnOnce(&mut LeafNode),
) {
    let place = (scene.groups[signer].client(), LeafIndex(0));
    let update = forge_update(&scene.groups[0], place, alter);
    let reference = scene.propose(0, &update);
    let commit = Commit { proposals: vec![reference], path: None };
    let bytes = forge(&scene.groups[1], Content::Commit(Box::new(commit)));
    let expected = ProcessError::InvalidCommit(violation.clone());
    for group in &mut scene.groups[2..] {
        let before = group.encode_state().unwrap();
        assert_eq!(group.process(&bytes, NOW).unwrap_err(), expected);
        assert_eq!(*group.encode_state().unwrap(), *before);
    }
    assert_eq!(scene.service.process(&bytes, NOW).unwrap_err(), expected);
    // The honest member leaves such an Update out.
    let pending = scene.groups[2].commit().build(&mut scene.rng, NOW).unwrap();
    assert!(pending.changes().updated.is_empty());
    for group in &mut scene.groups {
        group.clear_proposals();
    }
    scene.service.clear_proposals();
}

#[test]
fn every_leaf_meets_the_requirements_of_the_group() {
    let mut scene = demanding_scene(115);
    for BadLeaf { violation, alter } in bad_in_a_demanding_group() {
        let package = altered(&mut scene, |package| alter(&mut package.leaf_node));
        let bytes = scene.forge(vec![add(&package)]);
        let in_package = KeyPackageViolation::LeafNode(violation.clone());
        scene.refuse(&bytes, &Violation::Add(in_package.clone()));
        assert_eq!(scene.service.check_key_package(&package, NOW), Err(in_package));
        let in_update = Violation::Update(violation.clone());
        committed_update_refused(&mut scene, 0, &in_update, &alter);
        let bytes = path_with(&mut scene, OWN, alter);
        scene.refuse(&bytes, &Violation::PathLeaf(violation));
    }
    scene.goes_on();
}

#[test]
fn an_update_with_the_signature_key_of_another_member() {
    let mut scene = scene(116);
    let taken = scene.groups[3].client.identity().public();
    let (first, second) = (LAST, LeafIndex(0));
    let error = crate::tree::TreeError::DuplicateSignatureKey { first, second };
    committed_update_refused(&mut scene, 3, &Violation::Tree(error), |leaf| {
        leaf.signature_key = taken;
    });
    scene.goes_on();
}

#[test]
fn a_credential_type_that_not_all_support_in_an_update_or_a_path() {
    let mut scene = scene(117);
    let kind = CredentialType(0xff56);
    let alter = |leaf: &mut LeafNode| {
        leaf.credential = crate::wire::Credential::Other(kind, vec![1]);
        leaf.capabilities.credentials.push(kind);
    };
    let violation = Leaf::CredentialTypeNotShared(kind);
    committed_update_refused(&mut scene, 0, &Violation::Update(violation.clone()), alter);
    let bytes = path_with(&mut scene, OWN, alter);
    scene.refuse(&bytes, &Violation::PathLeaf(violation));
    // A leaf that no longer supports what others use.
    let alter = |leaf: &mut LeafNode| {
        leaf.credential = crate::wire::Credential::Other(kind, vec![1]);
        leaf.capabilities.credentials = vec![kind];
    };
    let bytes = path_with(&mut scene, OWN, alter);
    let violation = Leaf::CredentialTypeNotShared(CredentialType::BASIC);
    scene.refuse(&bytes, &Violation::PathLeaf(violation));
    scene.goes_on();
}

#[test]
fn a_path_with_the_signature_key_of_another_member() {
    let mut scene = scene(118);
    let taken = scene.groups[3].client.identity().public();
    let bytes = path_with(&mut scene, (3, LeafIndex(0)), |leaf| leaf.signature_key = taken);
    scene.refuse(&bytes, &Violation::PathLeaf(Leaf::SignatureKeyInUse(LAST)));
    scene.goes_on();
}

#[test]
fn two_adds_with_one_encryption_key() {
    let mut scene = scene(119);
    let first = altered(&mut scene, |_| {});
    let taken = first.leaf_node.encryption_key.clone();
    let second = altered(&mut scene, |package| package.leaf_node.encryption_key = taken);
    let bytes = scene.forge(vec![add(&first), add(&second)]);
    let (first, second) = (crate::tree::NodeIndex(8), crate::tree::NodeIndex(10));
    let error = crate::tree::TreeError::DuplicateEncryptionKey { first, second };
    scene.refuse(&bytes, &Violation::Tree(error));
    scene.goes_on();
}
