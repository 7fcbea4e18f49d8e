//! `message-protection.json`: public and private messages of the member at leaf 1 of 2 (RFC 9420 section 6).

use mls::{
    codec::{Decode, Encode},
    crypto::{Suite, os_rng},
    framing::{Padding, ReceivedPublicMessage, open_private, protect_public, seal_private, sign},
    schedule::{EncryptionSecret, MembershipKey, RatchetLimits, SecretTree, SenderDataSecret},
    wire::{
        AuthenticatedContent, CipherSuite, ConfirmationTag, Content, Extensions, FramedContent,
        GroupContext, GroupId, LeafIndex, MlsMessage, MlsMessageBody, ProtocolVersion, Sender,
        TreeHash, WireFormat,
    },
};
use serde::Deserialize;

use crate::common::{self, Hex};

const SENDER: LeafIndex = LeafIndex(1);
const RECEIVER: LeafIndex = LeafIndex(0);

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    group_id: Hex,
    epoch: u64,
    tree_hash: Hex,
    confirmed_transcript_hash: Hex,
    signature_priv: Hex,
    signature_pub: Hex,
    encryption_secret: Hex,
    sender_data_secret: Hex,
    membership_key: Hex,
    proposal: Hex,
    proposal_pub: Hex,
    proposal_priv: Hex,
    commit: Hex,
    commit_pub: Hex,
    commit_priv: Hex,
    application: Hex,
    application_priv: Hex,
}

#[test]
fn message_protection() {
    common::run("message-protection", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        let proposal = Content::Proposal(Decode::from_bytes(&case.proposal).unwrap());
        let commit = Content::Commit(Decode::from_bytes(&case.commit).unwrap());
        let application = Content::Application(case.application.0.clone());
        for suite in suites {
            for (content, message) in [(&proposal, &case.proposal_pub), (&commit, &case.commit_pub)]
            {
                check_public(suite, &case, content, message);
                check_public(suite, &case, content, &protected_publicly(suite, &case, content));
            }
            for (content, message) in [
                (&proposal, &case.proposal_priv),
                (&commit, &case.commit_priv),
                (&application, &case.application_priv),
            ] {
                check_private(suite, &case, content, message);
                check_private(suite, &case, content, &protected_privately(suite, &case, content));
            }
        }
    });
}

impl Case {
    fn context(&self) -> Vec<u8> {
        GroupContext {
            version: ProtocolVersion::MLS10,
            cipher_suite: CipherSuite(self.cipher_suite),
            group_id: GroupId::from(&*self.group_id),
            epoch: self.epoch,
            tree_hash: TreeHash::from(&*self.tree_hash),
            confirmed_transcript_hash: self.confirmed_transcript_hash.0.clone(),
            extensions: Extensions::default(),
        }
        .to_bytes()
    }

    fn tree(&self, suite: &'static Suite, own: LeafIndex) -> SecretTree {
        let secret = EncryptionSecret::from_slice(&self.encryption_secret);
        SecretTree::new(suite, secret, 2, own, RatchetLimits::default()).unwrap()
    }

    fn signed(&self, suite: &Suite, format: WireFormat, content: &Content) -> AuthenticatedContent {
        let content = FramedContent {
            group_id: GroupId::from(&*self.group_id),
            epoch: self.epoch,
            sender: Sender::Member(SENDER),
            authenticated_data: b"authenticated".to_vec(),
            content: content.clone(),
        };
        let key = suite
            .signature_key_pair(
                &common::private_key(suite, &self.signature_priv),
                &self.signature_pub,
            )
            .unwrap();
        let is_commit = matches!(content.content, Content::Commit(_));
        let signed = sign(suite, format, content, &self.context(), &*key).unwrap();
        if is_commit {
            signed.confirmed(ConfirmationTag(vec![7; suite.hash_length()])).unwrap()
        } else {
            signed.finish().unwrap()
        }
    }
}

fn check_public(suite: &'static Suite, case: &Case, content: &Content, message: &[u8]) {
    let MlsMessageBody::PublicMessage(message) = MlsMessage::from_bytes(message).unwrap().0 else {
        panic!("not a public message");
    };
    let received = ReceivedPublicMessage::new(suite, message, &case.context()).unwrap();
    let membership = MembershipKey::from_slice(&case.membership_key);
    let unverified = received.verify_membership(&membership).unwrap();
    assert_eq!(unverified.sender(), Sender::Member(SENDER));
    let key = suite.signature.verifying_key(&case.signature_pub).unwrap();
    let verified = unverified.verify_signature(&*key).unwrap();
    assert_eq!(&verified.content().content, content);
}

fn protected_publicly(suite: &Suite, case: &Case, content: &Content) -> Vec<u8> {
    let membership = MembershipKey::from_slice(&case.membership_key);
    let signed = case.signed(suite, WireFormat::PublicMessage, content);
    let message = protect_public(suite, signed, Some(&membership), &case.context()).unwrap();
    MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes()
}

fn check_private(suite: &'static Suite, case: &Case, content: &Content, message: &[u8]) {
    let MlsMessageBody::PrivateMessage(message) = MlsMessage::from_bytes(message).unwrap().0 else {
        panic!("not a private message");
    };
    let mut tree = case.tree(suite, RECEIVER);
    let sender_data = SenderDataSecret::from_slice(&case.sender_data_secret);
    let everyone = |leaf: LeafIndex| leaf.0 < 2;
    let opened = open_private(&mut tree, &sender_data, message, &case.context(), everyone).unwrap();
    assert_eq!(opened.sender(), SENDER);
    let key = suite.signature.verifying_key(&case.signature_pub).unwrap();
    let verified = opened.verify_signature(&*key).unwrap();
    assert_eq!(&verified.content().content, content);
}

fn protected_privately(suite: &'static Suite, case: &Case, content: &Content) -> Vec<u8> {
    let mut tree = case.tree(suite, SENDER);
    let sender_data = SenderDataSecret::from_slice(&case.sender_data_secret);
    let signed = case.signed(suite, WireFormat::PrivateMessage, content);
    let padding = Padding::PowerOfTwo;
    let message = seal_private(&mut tree, &sender_data, &signed, padding, &mut os_rng()).unwrap();
    MlsMessage(MlsMessageBody::PrivateMessage(message)).to_bytes()
}
