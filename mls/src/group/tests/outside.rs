//! Proposals of those who are not members (RFC 9420 section 12.1.8).

use std::sync::Arc;

use super::{combined::from_outside, *};
use crate::{
    CommitError, ExternalProposer, GroupRules, RuleContext, RuleViolation,
    framing::FramingError,
    validation::CommittedProposal,
    wire::{
        Extension, ExtensionType, Extensions, ExternalSender, ExternalSenders, GroupContext,
        GroupContextExtensions, PreSharedKey, PreSharedKeyId, ProposalType, ProtocolVersion,
        PskSource, ReInit, Remove,
    },
};
use ProposalListViolation as Violation;

/// A group that lists a moderator, second of two.
fn moderated(seed: u64) -> (Scene, Client, ExternalProposer) {
    let mut scene = scene(seed);
    let moderator = scene.client("moderator");
    let other = scene.client("other");
    let list = [&other, &moderator].map(|client| client.identity().external_sender());
    let extension =
        Extension::new(ExtensionType::EXTERNAL_SENDERS, &ExternalSenders(list.to_vec()));
    scene.commit(|builder| builder.extensions(Extensions::from_iter([extension])));
    let identity = moderator.identity().clone();
    let proposer = ExternalProposer::in_group(suite(), identity, scene.service.context()).unwrap();
    (scene, moderator, proposer)
}

pub(super) fn refused(scene: &mut Scene, bytes: &[u8], expected: &ProcessError) {
    for group in &mut scene.groups {
        let before = group.encode_state().unwrap();
        assert_eq!(group.process(bytes, NOW).unwrap_err(), *expected);
        assert_eq!(*group.encode_state().unwrap(), *before);
    }
    assert_eq!(scene.service.process(bytes, NOW).unwrap_err(), *expected);
}

fn psk() -> Proposal {
    let source = PskSource::External { psk_id: b"name".to_vec() };
    let psk = PreSharedKeyId { source, psk_nonce: vec![1; 32] };
    Proposal::PreSharedKey(PreSharedKey { psk })
}

fn reinit() -> Proposal {
    Proposal::ReInit(ReInit {
        group_id: crate::GroupId(b"next".to_vec()),
        version: ProtocolVersion::MLS10,
        cipher_suite: suite().id,
        extensions: Extensions::new(),
    })
}

#[test]
fn an_external_sender_adds_and_removes() {
    let (mut scene, _, proposer) = moderated(160);
    let newcomer = scene.client("newcomer");
    let bundle = key_package(&newcomer, &mut scene.rng);
    let add = proposer.propose_add(bundle.key_package().clone()).unwrap();
    let reference = scene.propose(usize::MAX, &add.message);
    assert_eq!(reference, ProposalOrRef::Reference(add.reference));
    let removal = proposer.propose_remove(LAST).unwrap();
    scene.propose(usize::MAX, &removal.message);
    let held: Vec<Sender> = scene.groups[2].proposals().map(|p| p.sender).collect();
    assert_eq!(held, [Sender::External(1); 2]);
    let Settled { change, welcome, .. } = scene.commit(|builder| builder);
    assert_eq!((change.changes.added.len(), change.changes.removed.len()), (1, 1));
    let joined = newcomer.join(&welcome.unwrap(), [&bundle], None, NOW).unwrap().accept();
    scene.groups[3] = joined;
    scene.goes_on();
}

#[test]
fn every_type_that_is_permitted_to_an_external_sender_is_accepted() {
    let (mut scene, _, proposer) = moderated(161);
    let extensions = scene.groups[0].context().extensions.clone();
    let extensions = Proposal::GroupContextExtensions(GroupContextExtensions { extensions });
    for proposal in [psk(), reinit(), extensions] {
        let message = proposer.propose(proposal.clone()).unwrap().message;
        scene.propose(usize::MAX, &message);
        let last = scene.groups[3].proposals().last().unwrap();
        assert_eq!((last.sender, &last.proposal), (Sender::External(1), &proposal));
    }
    scene.goes_on();
}

#[test]
fn every_other_type_is_refused_on_both_sides() {
    let (mut scene, moderator, proposer) = moderated(162);
    let leaf_node = own_leaf_node(&scene.groups[0]);
    let update = Proposal::Update(Box::new(Update { leaf_node }));
    let init = Proposal::ExternalInit(crate::wire::ExternalInit { kem_output: vec![1; 32] });
    for proposal in [update, init] {
        let kind = proposal.proposal_type();
        let error = proposer.propose(proposal.clone()).unwrap_err();
        assert_eq!(error, CommitError::Invalid(Violation::TypeNotForExternal(kind)));
        let harmless = Proposal::Remove(Remove { removed: LAST });
        let bytes = from_outside(&scene, &moderator, Sender::External(1), harmless);
        let bytes = instead(&moderator, &bytes, proposal);
        let expected = ProcessError::Framing(FramingError::ProposalNotAllowed(kind));
        refused(&mut scene, &bytes, &expected);
    }
    // What a client that is not listed may propose is to be added, and nothing else.
    let newcomer = scene.client("newcomer");
    let own = key_package(&newcomer, &mut scene.rng);
    let bytes = from_outside(&scene, &newcomer, Sender::NewMemberProposal, add(own.key_package()));
    let bytes = instead(&newcomer, &bytes, Proposal::Remove(Remove { removed: LAST }));
    let sender = Sender::NewMemberProposal;
    refused(&mut scene, &bytes, &ProcessError::Framing(FramingError::ContentNotAllowed(sender)));
    scene.goes_on();
}

/// The message with another proposal in it, signed again.
pub(super) fn instead(client: &Client, message: &[u8], proposal: Proposal) -> Vec<u8> {
    let MlsMessage(MlsMessageBody::PublicMessage(mut message)) =
        MlsMessage::from_bytes(message).unwrap()
    else {
        panic!("expected a public message")
    };
    message.content.content = Content::Proposal(proposal);
    let tbs = crate::wire::FramedContentTbs {
        wire_format: WireFormat::PublicMessage,
        content: &message.content,
        group_context: &[],
    };
    let signer = client.identity().signer();
    message.auth.signature =
        suite().sign_with_label(signer, "FramedContentTBS", &tbs.to_bytes()).unwrap();
    MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes()
}

#[test]
fn a_proposer_that_the_group_does_not_list() {
    let (mut scene, moderator, _) = moderated(163);
    let stranger = scene.client("stranger");
    let context = scene.service.context().clone();
    let identity = stranger.identity().clone();
    assert!(ExternalProposer::in_group(suite(), identity.clone(), &context).is_none());
    // The same key under another name is another sender.
    let renamed = crate::Identity::new(
        crate::wire::Credential::basic("x"),
        moderator.identity().keys().clone(),
    );
    assert!(ExternalProposer::in_group(suite(), renamed, &context).is_none());
    let claim = |index| {
        ExternalProposer::new(
            suite(),
            identity.clone(),
            context.group_id.clone(),
            context.epoch,
            index,
        )
    };
    let bytes = claim(1).propose_remove(LAST).unwrap().message;
    refused(&mut scene, &bytes, &ProcessError::Framing(FramingError::InvalidSignature));
    let bytes = claim(2).propose_remove(LAST).unwrap().message;
    refused(&mut scene, &bytes, &ProcessError::UnknownSender);
    scene.goes_on();
}

#[test]
fn an_external_proposal_is_good_for_its_epoch_and_group() {
    let (mut scene, moderator, proposer) = moderated(164);
    let bytes = proposer.propose_remove(LAST).unwrap().message;
    scene.commit(|builder| builder);
    let current = scene.groups[0].epoch();
    let stale = ProcessError::StaleEpoch { message: current - 1, current };
    refused(&mut scene, &bytes, &stale);
    let identity = moderator.identity().clone();
    let elsewhere =
        ExternalProposer::new(suite(), identity, crate::GroupId(b"other".to_vec()), current, 1);
    let bytes = elsewhere.propose_remove(LAST).unwrap().message;
    refused(&mut scene, &bytes, &ProcessError::OtherGroup);
    scene.goes_on();
}

#[test]
fn a_malformed_list_of_external_senders_lists_nobody() {
    let mut scene = scene(165);
    let data = vec![7, 7, 7];
    let extension = Extension { extension_type: ExtensionType::EXTERNAL_SENDERS, data };
    let extensions = Extensions::from_iter([extension]);
    let proposal =
        Proposal::GroupContextExtensions(GroupContextExtensions { extensions: extensions.clone() });
    let path = scene.valid_path();
    let proposals = vec![ProposalOrRef::Proposal(proposal)];
    let bytes = scene.forge_commit(Commit { proposals, path: Some(path) });
    scene.refuse(&bytes, &Violation::ExtensionMalformed);
    let context = GroupContext { extensions, ..scene.service.context().clone() };
    let identity = scene.client("moderator").identity().clone();
    assert!(ExternalProposer::in_group(suite(), identity, &context).is_none());
    scene.goes_on();
}

#[test]
fn an_entry_whose_key_is_none_of_the_suite() {
    let mut scene = scene(166);
    let moderator = scene.client("moderator");
    let sender = ExternalSender {
        signature_key: crate::wire::SignaturePublicKey(vec![1; 5]),
        credential: moderator.identity().credential().clone(),
    };
    let extension = Extension::new(ExtensionType::EXTERNAL_SENDERS, &ExternalSenders(vec![sender]));
    scene.commit(|builder| builder.extensions(Extensions::from_iter([extension])));
    let removal = Proposal::Remove(Remove { removed: LAST });
    let bytes = from_outside(&scene, &moderator, Sender::External(0), removal);
    refused(&mut scene, &bytes, &ProcessError::Framing(FramingError::InvalidSignature));
    scene.goes_on();
}

/// Only those may ask to join whose name begins with "guest".
struct Guests;

const NOT_INVITED: RuleViolation = RuleViolation { rule: "not-invited" };

impl GroupRules for Guests {
    fn check_proposal(
        &self,
        proposed: &CommittedProposal<'_>,
        _: &GroupContext,
    ) -> Result<(), RuleViolation> {
        let invited = match (proposed.sender, proposed.proposal) {
            (Sender::NewMemberProposal, Proposal::Add(add)) => {
                matches!(&add.key_package.leaf_node.credential,
                    crate::wire::Credential::Basic(name) if name.starts_with(b"guest"))
            }
            _ => true,
        };
        if invited { Ok(()) } else { Err(NOT_INVITED) }
    }

    fn check(&self, _: &RuleContext<'_>) -> Result<(), RuleViolation> {
        Ok(())
    }
}

#[test]
fn a_client_asks_to_join() {
    let options = ClientOptions { rules: Arc::new(Guests), ..public_options() };
    let mut scene = scene_with(167, options);
    let [guest, stranger] = ["guest 1", "stranger"].map(|name| scene.client(name));
    let [bundle, other] = [&guest, &stranger].map(|client| key_package(client, &mut scene.rng));
    let (id, epoch) = (scene.service.id().clone(), scene.service.epoch());
    let error = guest.propose_join(id.clone(), epoch, &other).unwrap_err();
    assert_eq!(error, CommitError::OtherIdentity);
    let bytes = stranger.propose_join(id.clone(), epoch, &other).unwrap().message;
    refused(&mut scene, &bytes, &ProcessError::InvalidProposal(Violation::Rule(NOT_INVITED)));
    // Whoever follows the group's messages can ask: no secret, not even the GroupContext is needed.
    let asked = guest.propose_join(id, epoch, &bundle).unwrap();
    let reference = scene.propose(usize::MAX, &asked.message);
    assert_eq!(reference, ProposalOrRef::Reference(asked.reference));
    let Settled { change, welcome, .. } = scene.commit(|builder| builder);
    assert_eq!(change.changes.added[0].credential, *guest.identity().credential());
    scene.groups.push(guest.join(&welcome.unwrap(), [&bundle], None, NOW).unwrap().accept());
    scene.goes_on();
}

#[test]
fn a_client_asks_in_its_own_name_only_and_with_a_valid_key_package() {
    let mut scene = scene(168);
    let [guest, stranger] = ["guest", "stranger"].map(|name| scene.client(name));
    let bundle = key_package(&guest, &mut scene.rng);
    let bytes =
        from_outside(&scene, &stranger, Sender::NewMemberProposal, add(bundle.key_package()));
    refused(&mut scene, &bytes, &ProcessError::Framing(FramingError::InvalidSignature));
    let mut altered = bundle.key_package().clone();
    altered.init_key.0[3] ^= 1;
    let bytes = from_outside(&scene, &guest, Sender::NewMemberProposal, add(&altered));
    let violation = Violation::Add(crate::validation::KeyPackageViolation::Signature);
    refused(&mut scene, &bytes, &ProcessError::InvalidProposal(violation));
    scene.goes_on();
}

#[test]
fn types_are_told_apart_by_what_a_registration_says() {
    let refusal = |sender, proposal: &Proposal| {
        let custom = crate::validation::CustomTypes::default();
        crate::validation::check_sender_may_propose(sender, proposal, &custom).err()
    };
    let unknown = Proposal::Other(ProposalType(0xf0aa), Vec::new());
    assert_eq!(
        refusal(Sender::External(0), &unknown),
        Some(Violation::TypeNotForExternal(ProposalType(0xf0aa)))
    );
    let expected = Some(Violation::TypeNotForExternal(ProposalType::PSK));
    assert_eq!(refusal(Sender::NewMemberProposal, &psk()), expected);
    assert_eq!(refusal(Sender::NewMemberCommit, &psk()), expected);
    assert_eq!(refusal(Sender::Member(LAST), &unknown), None);
}
