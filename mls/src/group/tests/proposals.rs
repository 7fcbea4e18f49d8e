//! The rules on lists of proposals (RFC 9420 sections 12.1, 12.2, 12.4).

use std::sync::Arc;

use super::*;
use crate::{
    GroupRules, MemoryPskStore, RuleContext, RuleViolation,
    schedule::Psk,
    validation::{KeyPackageViolation, LeafNodeViolation},
    wire::{
        CredentialType, Extension, ExtensionType, Extensions, ExternalInit, GroupContextExtensions,
        GroupId, PreSharedKey, PreSharedKeyId, ProposalRef, ProposalType, ProtocolVersion,
        PskSource, ReInit, Remove, RequiredCapabilities, ResumptionPskUsage, Update,
    },
};
use ProposalListViolation as Violation;

fn remove(leaf: u32) -> Proposal {
    Proposal::Remove(Remove { removed: LeafIndex(leaf) })
}

fn psk(source: PskSource, nonce: usize) -> Proposal {
    let psk = PreSharedKeyId { source, psk_nonce: vec![1; nonce] };
    Proposal::PreSharedKey(PreSharedKey { psk })
}

fn external_psk() -> PskSource {
    PskSource::External { psk_id: b"name".to_vec() }
}

fn extensions(list: impl IntoIterator<Item = Extension>) -> Proposal {
    let extensions = Extensions::from_iter(list);
    Proposal::GroupContextExtensions(GroupContextExtensions { extensions })
}

fn reinit(version: u16) -> Proposal {
    Proposal::ReInit(ReInit {
        group_id: GroupId(b"next".to_vec()),
        version: ProtocolVersion(version),
        cipher_suite: suite().id,
        extensions: Extensions::new(),
    })
}

fn refused(proposals: Vec<Proposal>, violation: Violation) {
    let mut scene = scene(20);
    let bytes = scene.forge(proposals);
    scene.refuse(&bytes, &violation);
    scene.goes_on();
}

#[test]
fn a_remove_of_the_committer() {
    refused(vec![remove(0)], Violation::RemovesCommitter);
}

#[test]
fn a_remove_of_a_blank_leaf() {
    refused(vec![remove(77)], Violation::RemovedLeafBlank(LeafIndex(77)));
}

#[test]
fn two_removes_of_one_leaf() {
    refused(vec![remove(3), remove(3)], Violation::SeveralChangesOfOneLeaf(LAST));
}

#[test]
fn an_update_by_value_is_one_of_the_committer() {
    let mut scene = scene(21);
    let leaf_node = own_leaf_node(&scene.groups[0]);
    let bytes = scene.forge(vec![Proposal::Update(Box::new(Update { leaf_node }))]);
    scene.refuse(&bytes, &Violation::UpdateByCommitter);
    scene.goes_on();
}

#[test]
fn an_update_of_the_committer_by_reference() {
    let mut scene = scene(22);
    let update = scene.groups[0].propose_update(&mut scene.rng).unwrap().message;
    let reference = scene.propose(0, &update);
    let bytes = scene.forge_commit(Commit { proposals: vec![reference], path: None });
    scene.refuse(&bytes, &Violation::UpdateByCommitter);
    scene.goes_on();
}

#[test]
fn an_update_and_a_remove_of_one_leaf() {
    let mut scene = scene(23);
    let update = scene.groups[3].propose_update(&mut scene.rng).unwrap().message;
    let update = scene.propose(3, &update);
    let proposals = vec![update, ProposalOrRef::Proposal(remove(3))];
    let bytes = scene.forge_commit(Commit { proposals, path: None });
    scene.refuse(&bytes, &Violation::SeveralChangesOfOneLeaf(LAST));
    scene.goes_on();
}

#[test]
fn references_that_are_unknown_or_repeated() {
    let mut scene = scene(24);
    let unknown = ProposalRef(vec![9; 32]);
    let proposals = vec![ProposalOrRef::Reference(unknown.clone())];
    let bytes = scene.forge_commit(Commit { proposals, path: None });
    scene.refuse(&bytes, &Violation::UnknownReference(unknown));
    let removal = scene.groups[2].propose_remove(LAST, &mut scene.rng).unwrap();
    let reference = scene.propose(2, &removal.message);
    let proposals = vec![reference.clone(), reference];
    let bytes = scene.forge_commit(Commit { proposals, path: None });
    scene.refuse(&bytes, &Violation::RepeatedReference(removal.reference));
    scene.goes_on();
}

#[test]
fn adds_of_one_client_twice_or_of_a_member() {
    let mut scene = scene(25);
    let newcomer = scene.client("newcomer");
    let first = key_package(&newcomer, &mut scene.rng);
    let second = key_package(&newcomer, &mut scene.rng);
    let bytes = scene.forge(vec![add(first.key_package()), add(second.key_package())]);
    scene.refuse(&bytes, &Violation::AddsClientTwice);
    let member = scene.groups[3].client().clone();
    let again = key_package(&member, &mut scene.rng);
    let bytes = scene.forge(vec![add(again.key_package())]);
    scene.refuse(&bytes, &Violation::AddsMember(LAST));

    // The same client may come back in the commit that removes it.
    let added = again.key_package().clone();
    let welcome = scene.commit(|builder| builder.remove(LAST).add(added)).welcome.unwrap();
    scene.groups[3] = member.join(&welcome, [&again], None, NOW).unwrap().accept();
    scene.goes_on();
}

#[test]
fn an_add_with_an_invalid_key_package() {
    let mut scene = scene(26);
    let bundle = scene.key_package("newcomer");
    let mut altered = bundle.key_package().clone();
    altered.signature.0[0] ^= 1;
    let bytes = scene.forge(vec![add(&altered)]);
    scene.refuse(&bytes, &Violation::Add(KeyPackageViolation::Signature));
    let mut altered = bundle.key_package().clone();
    altered.leaf_node.signature.0[0] ^= 1;
    let bytes = scene.forge(vec![add(&altered)]);
    let violation = KeyPackageViolation::LeafNode(LeafNodeViolation::Signature);
    scene.refuse(&bytes, &Violation::Add(violation));
    scene.goes_on();
}

#[test]
fn psks_with_a_wrong_nonce_or_usage_or_twice() {
    refused(vec![psk(external_psk(), 31)], Violation::PskNonceLength);
    for usage in [ResumptionPskUsage::ReInit, ResumptionPskUsage::Branch] {
        let (psk_group_id, psk_epoch) = (GroupId(b"test group".to_vec()), 1);
        let source = PskSource::Resumption { usage, psk_group_id, psk_epoch };
        refused(vec![psk(source, 32)], Violation::PskUsage);
    }
    let twice = vec![psk(external_psk(), 32), psk(external_psk(), 32)];
    refused(twice, Violation::PskTwice);
}

#[test]
fn a_psk_that_this_member_lacks_asks_for_a_resync() {
    let store = Arc::new(MemoryPskStore::new());
    store.insert(b"name".to_vec(), Psk::from_slice(&[1; 32]));
    let mut scene = scene(27);
    let with_psk = ClientOptions { psks: store, ..public_options() };
    scene.options = with_psk;
    let newcomer = scene.client("newcomer");
    let bundle = key_package(&newcomer, &mut scene.rng);
    let added = bundle.key_package().clone();
    let welcome = scene.commit(|builder| builder.add(added)).welcome.unwrap();
    let mut joined = newcomer.join(&welcome, [&bundle], None, NOW).unwrap().accept();
    let pending = joined.commit().psk(external_psk()).build(&mut scene.rng, NOW).unwrap();
    let before = scene.groups[1].encode_state().unwrap();
    let error = scene.groups[1].process(pending.commit(), NOW).unwrap_err();
    assert_eq!(error, ProcessError::PskUnknown(external_psk()));
    assert_eq!(error.action(), Action::Resync);
    assert_eq!(*scene.groups[1].encode_state().unwrap(), *before);
    let error = scene.groups[1].commit().psk(external_psk()).build(&mut scene.rng, NOW);
    assert_eq!(error.unwrap_err(), crate::CommitError::PskUnknown(external_psk()));
}

#[test]
fn several_group_context_extensions() {
    let twice = vec![extensions([]), extensions([])];
    refused(twice, Violation::SeveralGroupContextExtensions);
}

#[test]
fn group_context_extensions_that_somebody_does_not_support() {
    let kind = ExtensionType(0xff01);
    let extension = Extension { extension_type: kind, data: Vec::new() };
    refused(
        vec![extensions([extension])],
        Violation::ExtensionsNotSupported(LeafNodeViolation::GroupExtension(kind)),
    );
    let require = |required: RequiredCapabilities, violation| {
        let extension = Extension::new(ExtensionType::REQUIRED_CAPABILITIES, &required);
        refused(vec![extensions([extension])], Violation::ExtensionsNotSupported(violation));
    };
    let mut required = RequiredCapabilities::default();
    required.extension_types.push(kind);
    require(required, LeafNodeViolation::RequiredExtension(kind));
    let mut required = RequiredCapabilities::default();
    required.proposal_types.push(ProposalType(0xff02));
    require(required, LeafNodeViolation::RequiredProposal(ProposalType(0xff02)));
    let mut required = RequiredCapabilities::default();
    required.credential_types.push(CredentialType::X509);
    require(required, LeafNodeViolation::RequiredCredential(CredentialType::X509));
    let broken =
        Extension { extension_type: ExtensionType::REQUIRED_CAPABILITIES, data: vec![1, 2, 3] };
    refused(vec![extensions([broken])], Violation::ExtensionMalformed);
}

#[test]
fn a_reinit_with_others_or_of_a_lower_version() {
    refused(vec![reinit(1), remove(3)], Violation::ReInitNotAlone);
    refused(vec![reinit(0)], Violation::ReInitVersion);
}

#[test]
fn a_reinit_alone_closes_the_group() {
    let mut scene = scene(28);
    scene.commit(|builder| builder.proposal(reinit(1)));
    for group in &mut scene.groups {
        assert!(!group.is_active() && group.reinit().is_some());
        assert!(group.protect(b"data", b"", &mut scene.rng).is_err());
        let error = group.commit().build(&mut scene.rng, NOW).unwrap_err();
        assert_eq!(error, crate::CommitError::Inactive);
    }
}

#[test]
fn an_external_init_by_a_member() {
    let init = Proposal::ExternalInit(ExternalInit { kem_output: vec![1; 32] });
    refused(vec![init], Violation::ExternalInitByMember);
}

#[test]
fn a_proposal_of_an_unknown_type() {
    let kind = ProposalType(0xff03);
    refused(vec![Proposal::Other(kind, vec![1])], Violation::TypeNotSupported(kind));
}

#[test]
fn a_path_is_missing() {
    refused(Vec::new(), Violation::PathMissing);
    refused(vec![remove(3)], Violation::PathMissing);
    refused(vec![extensions([])], Violation::PathMissing);
}

struct NoRemovals;

impl GroupRules for NoRemovals {
    fn check(&self, context: &RuleContext<'_>) -> Result<(), RuleViolation> {
        for committed in context.proposals {
            assert_eq!(committed.member.as_ref().unwrap().leaf, LeafIndex(0));
        }
        assert!(context.new.epoch == context.old.epoch + 1 && context.tree_width >= 2);
        let allowed = context.changes.removed.is_empty();
        if allowed { Ok(()) } else { Err(RuleViolation { rule: "nobody is removed" }) }
    }
}

#[test]
fn a_rule_of_the_application_holds_for_all() {
    let mut scene = scene(29);
    let pending = scene.groups[0].commit().remove(LAST).build(&mut scene.rng, NOW).unwrap();
    let policy = |client: &Client| {
        let mut options = client.options().clone();
        options.rules = Arc::new(NoRemovals);
        Client::new(suite(), client.identity().clone(), options)
    };
    for group in &mut scene.groups {
        group.client = policy(&group.client);
    }
    let options = PublicGroupOptions {
        rules: Arc::new(NoRemovals),
        ..PublicGroupOptions::new(AcceptAnyCredential)
    };
    let info = scene.groups[0].group_info(GroupInfoOptions::default()).unwrap();
    scene.service = PublicGroup::new(suite(), &info, None, options, NOW).unwrap();
    let violation = Violation::Rule(RuleViolation { rule: "nobody is removed" });
    scene.refuse(pending.commit(), &violation);
    let error = scene.groups[0].commit().remove(LAST).build(&mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, crate::CommitError::Invalid(violation));
    scene.goes_on();
}
