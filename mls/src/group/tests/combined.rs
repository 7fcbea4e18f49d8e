//! Rules where several things meet: extensions with members that come and go, credentials that change, senders outside.

use std::sync::Arc;

use super::*;
use crate::{
    CredentialRejected, CredentialValidator, ExternalJoinOptions, Identity, JoinError, UnixTime,
    codec::DecodeError,
    validation::{GroupInfoViolation, KeyPackageViolation, LeafNodeViolation as Leaf},
    wire::{
        Credential, Extension, ExtensionType, Extensions, ExternalSender, ExternalSenders,
        GroupContextExtensions, LeafNodeSource, ProposalType, Remove, RequiredCapabilities,
        SignaturePublicKey, Update,
    },
};
use ProposalListViolation as Violation;

const KIND: ProposalType = ProposalType(0xff31);

/// Everybody but newcomers supports [`KIND`].
fn able_scene(seed: u64) -> Scene {
    let mut options = public_options();
    options.capabilities.proposals.push(KIND);
    let mut scene = scene_with(seed, options);
    scene.options = public_options();
    scene
}

fn require_kind() -> Proposal {
    let mut required = RequiredCapabilities::default();
    required.proposal_types.push(KIND);
    let extension = Extension::new(ExtensionType::REQUIRED_CAPABILITIES, &required);
    let extensions = Extensions::from_iter([extension]);
    Proposal::GroupContextExtensions(GroupContextExtensions { extensions })
}

#[test]
fn new_requirements_hold_for_those_who_are_added_by_the_same_commit() {
    let mut scene = able_scene(100);
    let newcomer = scene.key_package("newcomer");
    let violation = KeyPackageViolation::LeafNode(Leaf::RequiredProposal(KIND));
    // Whatever the order in which they are listed (section 12.3).
    for reversed in [false, true] {
        let mut list = vec![require_kind(), add(newcomer.key_package())];
        if reversed {
            list.reverse();
        }
        let bytes = scene.forge(list);
        scene.refuse(&bytes, &Violation::Add(violation.clone()));
    }
    scene.goes_on();
}

#[test]
fn new_requirements_do_not_hold_for_those_who_are_removed_by_the_same_commit() {
    let mut scene = able_scene(101);
    let client = scene.client("unable");
    let bundle = key_package(&client, &mut scene.rng);
    let added = bundle.key_package().clone();
    let welcome = scene.commit(|builder| builder.add(added)).welcome.unwrap();
    let mut unable = client.join(&welcome, [&bundle], None, NOW).unwrap().accept();

    let bytes = scene.forge(vec![require_kind()]);
    let violation = Violation::ExtensionsNotSupported(Leaf::RequiredProposal(KIND));
    scene.refuse(&bytes, &violation);
    // Nor may the one who lacks it propose so by a leaf of its own.
    let builder = unable.commit().proposal(require_kind());
    let error = builder.build(&mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, crate::CommitError::Invalid(violation));

    let removed = unable.own_leaf();
    let builder = scene.groups[0].commit().proposal(require_kind()).remove(removed);
    let pending = builder.build(&mut scene.rng, NOW).unwrap();
    support::merge(&mut unable, &scene.settle(0, pending).commit);
    assert!(!unable.is_active());
    scene.goes_on();
}

/// Knows nobody by the name of eve, and takes no change of a name.
struct NotEve;

impl CredentialValidator for NotEve {
    fn validate(
        &self,
        credential: &Credential,
        _: &SignaturePublicKey,
        _: UnixTime,
    ) -> Result<(), CredentialRejected> {
        let eve = *credential == Credential::basic("eve");
        if eve { Err(CredentialRejected::new("eve")) } else { Ok(()) }
    }
}

fn rejected(error: &ProcessError, reason: &str) -> bool {
    match error {
        ProcessError::InvalidCommit(Violation::PathLeaf(Leaf::Credential(rejected)))
        | ProcessError::InvalidProposal(Violation::Update(Leaf::Credential(rejected)))
        | ProcessError::InvalidCommit(Violation::Add(KeyPackageViolation::LeafNode(
            Leaf::Credential(rejected),
        ))) => rejected.reason.contains(reason),
        _ => false,
    }
}

#[test]
fn credentials_are_judged_when_they_come_and_when_they_change() {
    let options = ClientOptions { validator: Arc::new(NotEve), ..public_options() };
    let mut scene = scene_with(102, options);
    let check = |scene: &mut Scene, bytes: &[u8], reason: &str| {
        for group in &mut scene.groups[1..] {
            let before = group.encode_state().unwrap();
            let error = group.process(bytes, NOW).unwrap_err();
            assert!(rejected(&error, reason), "{error}");
            assert_eq!(*group.encode_state().unwrap(), *before);
        }
    };
    let eve = scene.key_package("eve");
    let bytes = scene.forge(vec![add(eve.key_package())]);
    check(&mut scene, &bytes, "eve");
    let sender = ExternalSender {
        signature_key: own_leaf_node(&scene.groups[1]).signature_key,
        credential: Credential::basic("eve"),
    };
    let extension = Extension::new(ExtensionType::EXTERNAL_SENDERS, &ExternalSenders(vec![sender]));
    let extensions = Extensions::from_iter([extension]);
    let proposal = GroupContextExtensions { extensions };
    let bytes = scene.forge(vec![Proposal::GroupContextExtensions(proposal)]);
    let error = scene.groups[1].process(&bytes, NOW).unwrap_err();
    assert_eq!(error, ProcessError::InvalidCommit(Violation::ExternalSenderRejected));

    for (name, reason) in [("eve", "eve"), ("somebody else", "differs")] {
        let credential = Credential::basic(name);
        let mut path = scene.valid_path();
        path.leaf_node.credential = credential.clone();
        let mut leaf_node = own_leaf_node(&scene.groups[0]);
        leaf_node.credential = credential;
        leaf_node.source = LeafNodeSource::Update;
        leaf_node.encryption_key.0 =
            suite().kem.generate(&mut scene.rng).unwrap().public().to_vec();
        let group = &scene.groups[0];
        let identity = group.client.identity();
        for leaf in [&mut path.leaf_node, &mut leaf_node] {
            identity.sign_leaf(suite(), leaf, group.id(), LeafIndex(0)).unwrap();
        }
        let bytes = scene.forge_commit(Commit { proposals: Vec::new(), path: Some(path) });
        check(&mut scene, &bytes, reason);
        let update = Proposal::Update(Box::new(Update { leaf_node }));
        let bytes = forge(&scene.groups[0], Content::Proposal(update));
        check(&mut scene, &bytes, reason);
    }
    // A client that calls itself otherwise than its leaf is told so before it commits.
    let identity = scene.groups[0].client.identity();
    let renamed = Identity::new(Credential::basic("somebody else"), identity.keys().clone());
    let options = scene.options.clone();
    let old =
        std::mem::replace(&mut scene.groups[0].client, Client::new(suite(), renamed, options));
    let error = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap_err();
    let reason =
        matches!(error, crate::CommitError::Invalid(Violation::PathLeaf(Leaf::Credential(_))));
    assert!(reason, "{error}");
    scene.groups[0].client = old;
    scene.goes_on();
}

#[test]
fn members_are_judged_by_whoever_joins() {
    let mut scene = scene(103);
    let eve = scene.client("eve");
    let bundle = key_package(&eve, &mut scene.rng);
    let added = bundle.key_package().clone();
    scene.commit(|builder| builder.add(added));

    let options = ClientOptions { validator: Arc::new(NotEve), ..public_options() };
    let careful = client("careful", suite(), options, &mut scene.rng);
    let bundle = key_package(&careful, &mut scene.rng);
    let builder = scene.groups[0].commit().add(bundle.key_package().clone());
    let pending = builder.build(&mut scene.rng, NOW).unwrap();
    let violation = Leaf::Credential(CredentialRejected::new("eve"));
    let violation = GroupInfoViolation::Leaf { leaf: LeafIndex(4), violation };
    let error = careful.join(pending.welcome().unwrap(), [&bundle], None, NOW).unwrap_err();
    assert_eq!(error, JoinError::GroupInfo(violation.clone()));
    let info = scene.groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let join = ExternalJoinOptions::default();
    let error = careful.join_external(&info, None, join, &mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, JoinError::GroupInfo(violation.clone()));
    let options = PublicGroupOptions::new(NotEve);
    let error = PublicGroup::new(suite(), &info, None, options, NOW).unwrap_err();
    assert_eq!(error, JoinError::GroupInfo(violation));
}

#[test]
fn an_update_with_an_encryption_key_of_the_tree() {
    let mut scene = scene(104);
    let mut leaf_node = own_leaf_node(&scene.groups[3]);
    leaf_node.source = LeafNodeSource::Update;
    leaf_node.encryption_key = own_leaf_node(&scene.groups[1]).encryption_key;
    let group = &scene.groups[3];
    group.client.identity().sign_leaf(suite(), &mut leaf_node, group.id(), LAST).unwrap();
    let update = forge(group, Content::Proposal(Proposal::Update(Box::new(Update { leaf_node }))));
    let reference = scene.propose(usize::MAX, &update);
    let bytes = scene.forge_commit(Commit { proposals: vec![reference], path: None });
    let error = scene.groups[1].process(&bytes, NOW).unwrap_err();
    let ProcessError::InvalidCommit(violation @ Violation::Tree(_)) = error else {
        panic!("unexpected {error}");
    };
    assert!(matches!(
        violation,
        Violation::Tree(crate::tree::TreeError::DuplicateEncryptionKey { .. })
    ));
    scene.refuse(&bytes, &violation);
    scene.goes_on();
}

/// A proposal signed by somebody outside the group.
pub(super) fn from_outside(
    scene: &Scene,
    client: &Client,
    sender: Sender,
    proposal: Proposal,
) -> Vec<u8> {
    let group = &scene.groups[0];
    let content = FramedContent {
        group_id: group.id().clone(),
        epoch: group.epoch(),
        sender,
        authenticated_data: Vec::new(),
        content: Content::Proposal(proposal),
    };
    let context = &group.state.context_bytes;
    let signer = client.identity().signer();
    let signed = sign(suite(), WireFormat::PublicMessage, content, context, signer).unwrap();
    let message = protect_public(suite(), signed.finish().unwrap(), None, context).unwrap();
    MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes()
}

#[test]
fn proposals_from_outside_the_group() {
    let mut scene = scene(105);
    let [moderator, stranger] = ["moderator", "stranger"].map(|name| scene.client(name));
    let removal = || Proposal::Remove(Remove { removed: LAST });
    let refused = |scene: &mut Scene, bytes: &[u8], expected: &dyn Fn(&ProcessError) -> bool| {
        for group in &mut scene.groups {
            let before = group.encode_state().unwrap();
            let error = group.process(bytes, NOW).unwrap_err();
            assert!(expected(&error), "{error}");
            assert_eq!(*group.encode_state().unwrap(), *before);
        }
        let error = scene.service.process(bytes, NOW).unwrap_err();
        assert!(expected(&error), "{error}");
    };
    let unknown = |error: &ProcessError| *error == ProcessError::UnknownSender;
    // Without the extension nobody outside may propose.
    let bytes = from_outside(&scene, &moderator, Sender::External(0), removal());
    refused(&mut scene, &bytes, &unknown);

    let sender = ExternalSender {
        signature_key: moderator.identity().public(),
        credential: moderator.identity().credential().clone(),
    };
    let list = ExternalSenders(vec![sender]);
    let extension = Extension::new(ExtensionType::EXTERNAL_SENDERS, &list);
    scene.commit(|builder| builder.extensions(Extensions::from_iter([extension])));

    for index in [1, u32::MAX] {
        let bytes = from_outside(&scene, &moderator, Sender::External(index), removal());
        refused(&mut scene, &bytes, &unknown);
    }
    let bytes = from_outside(&scene, &stranger, Sender::External(0), removal());
    refused(&mut scene, &bytes, &|error| matches!(error, ProcessError::Framing(_)));
    let bytes = from_outside(&scene, &moderator, Sender::External(0), removal());
    scene.propose(usize::MAX, &bytes);
    // A client may ask to be added in its own name only.
    let own = key_package(&stranger, &mut scene.rng);
    let bytes = from_outside(&scene, &moderator, Sender::NewMemberProposal, add(own.key_package()));
    refused(&mut scene, &bytes, &|error| matches!(error, ProcessError::Framing(_)));
    let bytes = from_outside(&scene, &stranger, Sender::NewMemberProposal, add(own.key_package()));
    scene.propose(usize::MAX, &bytes);

    let Settled { change, welcome, .. } = scene.commit(|builder| builder);
    assert_eq!((change.changes.added.len(), change.changes.removed.len()), (1, 1));
    scene.groups[3] = stranger.join(&welcome.unwrap(), [&own], None, NOW).unwrap().accept();
    scene.goes_on();
}

#[test]
fn an_extension_type_stands_once_in_a_list() {
    let twice = [6, 0xff, 1, 0, 0xff, 1, 0];
    let error = DecodeError::Malformed("an extension type stands twice in a list");
    assert_eq!(Extensions::from_bytes(&twice), Err(error));
    assert!(Extensions::from_bytes(&[6, 0xff, 1, 0, 0xff, 2, 0]).is_ok());
}
