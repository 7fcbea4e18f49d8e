//! Public messages.

use mls::{
    crypto::os_rng,
    framing::{FramingError, ReceivedPublicMessage, protect_public, sign},
    schedule::MembershipKey,
    wire::{
        Add, Capabilities, ConfirmationTag, Content, Credential, Extensions, ExternalInit,
        HpkePublicKey, KeyPackage, LeafNode, LeafNodeSource, Lifetime, MembershipTag, Proposal,
        ProposalType, ProtocolVersion, PublicMessage, Sender, Signature, SignaturePublicKey,
        UnixTime, Update, WireFormat,
    },
};

use crate::{
    any_suite,
    group::{ALICE, BOB, Member, application, commit, complete, context, framed, group, proposal},
    suites,
};

fn leaf_node() -> LeafNode {
    LeafNode {
        encryption_key: HpkePublicKey(vec![1]),
        signature_key: SignaturePublicKey(vec![2]),
        credential: Credential::basic(*b"somebody"),
        capabilities: Capabilities::default(),
        source: LeafNodeSource::KeyPackage(Lifetime {
            not_before: UnixTime(0),
            not_after: UnixTime(1),
        }),
        extensions: Extensions::default(),
        signature: Signature(vec![3]),
    }
}

fn add() -> Content {
    let key_package = KeyPackage {
        version: ProtocolVersion::MLS10,
        cipher_suite: any_suite().id,
        init_key: HpkePublicKey(vec![4]),
        leaf_node: leaf_node(),
        extensions: Extensions::default(),
        signature: Signature(vec![5]),
    };
    Content::Proposal(Proposal::Add(Box::new(Add { key_package })))
}

fn update() -> Content {
    Content::Proposal(Proposal::Update(Box::new(Update { leaf_node: leaf_node() })))
}

fn external_init() -> Content {
    Content::Proposal(Proposal::ExternalInit(ExternalInit { kem_output: vec![1] }))
}

fn refused(member: &Member, message: PublicMessage) -> FramingError {
    member.read_public(message).unwrap_err()
}

#[test]
fn members_read_what_members_send() {
    for suite in suites() {
        let group = group(suite);
        for content in [proposal(), commit()] {
            let message = group.alice.public(content.clone());
            assert_eq!(group.bob.read_public(message).unwrap(), content);
        }
    }
}

#[test]
fn who_may_send_what() {
    let suite = any_suite();
    let alice = group(suite).alice;
    let member = Sender::Member(ALICE);
    let external = Sender::External(0);
    for (sender, content, expected) in [
        (member, application(b"data"), Some(FramingError::ApplicationNotEncrypted)),
        (external, application(b"data"), Some(FramingError::ApplicationNotEncrypted)),
        (external, commit(), Some(FramingError::ContentNotAllowed(external))),
        (external, update(), Some(FramingError::ProposalNotAllowed(ProposalType::UPDATE))),
        (
            external,
            external_init(),
            Some(FramingError::ProposalNotAllowed(ProposalType::EXTERNAL_INIT)),
        ),
        (external, add(), None),
        (external, proposal(), None),
        (
            Sender::NewMemberCommit,
            add(),
            Some(FramingError::ContentNotAllowed(Sender::NewMemberCommit)),
        ),
        (Sender::NewMemberCommit, commit(), None),
        (
            Sender::NewMemberProposal,
            proposal(),
            Some(FramingError::ContentNotAllowed(Sender::NewMemberProposal)),
        ),
        (
            Sender::NewMemberProposal,
            commit(),
            Some(FramingError::ContentNotAllowed(Sender::NewMemberProposal)),
        ),
        (Sender::NewMemberProposal, add(), None),
        (member, update(), None),
    ] {
        let content = framed(sender, content);
        let format = WireFormat::PublicMessage;
        let sent = sign(suite, format, content.clone(), &alice.context, &*alice.key).map(complete);
        assert_eq!(sent.as_ref().err(), expected.as_ref(), "sending {sender:?}");

        // The receiver judges for itself, whatever the sender's library let pass.
        let template = alice.public(commit());
        let mut auth = template.auth;
        if !matches!(content.content, Content::Commit(_)) {
            auth.confirmation_tag = None;
        }
        let tagged = matches!(sender, Sender::Member(_));
        let membership_tag = template.membership_tag.filter(|_| tagged);
        let message = PublicMessage { content, auth, membership_tag };
        let received = ReceivedPublicMessage::new(suite, message, &alice.context);
        assert_eq!(received.err(), expected, "receiving {sender:?}");
    }
}

#[test]
fn senders_outside_the_group_need_no_membership_and_no_context() {
    for suite in suites() {
        let group = group(suite);
        let outsider = suite.signature.generate(&mut os_rng()).unwrap();
        let content = framed(Sender::External(0), proposal());
        let format = WireFormat::PublicMessage;
        let signed = sign(suite, format, content, b"unknown to outsiders", &*outsider).unwrap();
        let message = protect_public(suite, signed.finish().unwrap(), None, b"unknown").unwrap();
        assert_eq!(message.membership_tag, None);
        let bob = &group.bob;
        let received = ReceivedPublicMessage::new(suite, message, &bob.context).unwrap();
        let unverified = received.verify_membership(&bob.membership).unwrap();
        let key = suite.signature.verifying_key(outsider.public()).unwrap();
        assert_eq!(unverified.verify_signature(&*key).unwrap().content().content, proposal());
    }
}

#[test]
fn an_external_commit_is_bound_to_the_epoch() {
    let suite = any_suite();
    let joiner = suite.signature.generate(&mut os_rng()).unwrap();
    let content = framed(Sender::NewMemberCommit, commit());
    let (ours, later) = (context(suite, 5), context(suite, 6));
    let format = WireFormat::PublicMessage;
    let signed = complete(sign(suite, format, content, &ours, &*joiner).unwrap());
    let message = protect_public(suite, signed, None, &ours).unwrap();
    let key = suite.signature.verifying_key(joiner.public()).unwrap();
    let verify = |context: &[u8]| {
        ReceivedPublicMessage::new(suite, message.clone(), context)
            .unwrap()
            .without_membership_check()
            .verify_signature(&*key)
            .map(|_| ())
    };
    assert_eq!(verify(&ours), Ok(()));
    assert_eq!(verify(&later), Err(FramingError::InvalidSignature));
}

#[test]
fn tags_stand_where_they_belong() {
    let group = group(any_suite());
    let (alice, bob) = (&group.alice, &group.bob);

    let mut message = alice.public(commit());
    message.auth.confirmation_tag = None;
    assert_eq!(refused(bob, message), FramingError::ConfirmationTagMissing);

    let mut message = alice.public(proposal());
    message.auth.confirmation_tag = Some(ConfirmationTag(vec![1]));
    assert_eq!(refused(bob, message), FramingError::ConfirmationTagUnexpected);

    let mut message = alice.public(proposal());
    message.membership_tag = None;
    assert_eq!(refused(bob, message), FramingError::MembershipTagMissing);

    let mut message = alice.public(proposal());
    message.content.sender = Sender::External(0);
    assert_eq!(refused(bob, message), FramingError::MembershipTagUnexpected);

    let format = WireFormat::PublicMessage;
    let sign = |content| {
        let content = framed(Sender::Member(ALICE), content);
        sign(alice.suite, format, content, &alice.context, &*alice.key).unwrap()
    };
    let refused = sign(commit()).finish().unwrap_err();
    assert_eq!(refused, FramingError::ConfirmationTagMissing);
    let refused = sign(proposal()).confirmed(ConfirmationTag(vec![1])).unwrap_err();
    assert_eq!(refused, FramingError::ConfirmationTagUnexpected);
}

#[test]
fn a_membership_tag_of_another_group_epoch_or_message_is_refused() {
    let suite = any_suite();
    let group = group(suite);
    let (alice, mut bob) = (&group.alice, group.bob);
    let message = alice.public(proposal());

    let mut altered = message.clone();
    altered.membership_tag = Some(MembershipTag(vec![0; 32]));
    assert_eq!(refused(&bob, altered), FramingError::MembershipTagMismatch);
    let mut altered = message.clone();
    altered.content.authenticated_data.push(0);
    assert_eq!(refused(&bob, altered), FramingError::MembershipTagMismatch);
    let mut altered = alice.public(commit());
    altered.auth.confirmation_tag = Some(ConfirmationTag(vec![0; 32]));
    assert_eq!(refused(&bob, altered), FramingError::MembershipTagMismatch);

    bob.context = context(suite, 6);
    assert_eq!(refused(&bob, message.clone()), FramingError::MembershipTagMismatch);
    bob.context = alice.context.clone();
    bob.membership = MembershipKey::from_slice(&[9; 32]);
    assert_eq!(refused(&bob, message), FramingError::MembershipTagMismatch);
}

#[test]
fn a_member_cannot_sign_for_another() {
    for suite in suites() {
        let group = group(suite);
        let mallory = &group.carol;
        let content = framed(Sender::Member(BOB), proposal());
        let format = WireFormat::PublicMessage;
        let signed = sign(suite, format, content, &mallory.context, &*mallory.key).unwrap();
        let signed = signed.finish().unwrap();
        let forged =
            protect_public(suite, signed, Some(&mallory.membership), &mallory.context).unwrap();
        assert_eq!(refused(&group.alice, forged), FramingError::InvalidSignature);
    }
}

#[test]
fn misuse_has_a_name() {
    let group = group(any_suite());
    let alice = &group.alice;
    let format = WireFormat::PrivateMessage;
    let signed = alice.signed(format, proposal());
    let protect = |signed, key| protect_public(alice.suite, signed, key, &alice.context);
    let refused = protect(signed, Some(&alice.membership)).unwrap_err();
    assert_eq!(refused, FramingError::WrongWireFormat);
    let signed = alice.signed(WireFormat::PublicMessage, proposal());
    assert_eq!(protect(signed, None).unwrap_err(), FramingError::MembershipKeyMissing);
    for format in [WireFormat::Welcome, WireFormat::GroupInfo, WireFormat::KeyPackage] {
        let content = framed(Sender::Member(ALICE), proposal());
        let refused = sign(alice.suite, format, content, &alice.context, &*alice.key);
        assert_eq!(refused.unwrap_err(), FramingError::WrongWireFormat);
    }
}

#[test]
fn a_proposal_has_one_reference() {
    let group = group(any_suite());
    let signed = group.alice.signed(WireFormat::PublicMessage, proposal());
    let ours = mls::framing::proposal_ref(any_suite(), &signed).unwrap();
    let key = &group.alice.membership;
    let message = protect_public(any_suite(), signed, Some(key), &group.alice.context).unwrap();
    let bob = &group.bob;
    let verified = ReceivedPublicMessage::new(any_suite(), message, &bob.context)
        .unwrap()
        .verify_membership(&bob.membership)
        .unwrap()
        .verify_signature(bob.key_of(ALICE))
        .unwrap();
    assert_eq!(verified.proposal_ref().unwrap(), ours);
    assert_eq!(ours.as_bytes().len(), 32);
}
