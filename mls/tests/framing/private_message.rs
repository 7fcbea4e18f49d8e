//! Private messages.

use std::num::NonZeroU16;

use mls::{
    codec::{DecodeError, Encode, MAX_VARINT},
    crypto::os_rng,
    framing::{FramingError, Padding, seal_private, sign},
    schedule::{RatchetKind, SecretTreeError},
    wire::{
        AuthenticatedContent, Content, ContentType, FramedContentAuthData, LeafIndex,
        PrivateMessage, Sender, SenderData, Signature, WireFormat,
    },
};

use crate::{
    any_suite,
    group::{
        ALICE, BOB, Member, NOBODY, application, commit, complete, context, framed, group, proposal,
    },
    suites,
};

const FORMAT: WireFormat = WireFormat::PrivateMessage;

/// Encrypts a plaintext of the attacker's choice as if `leaf` had sent it. Every member can.
fn forge(
    by: &mut Member,
    template: &PrivateMessage,
    leaf: u32,
    plaintext: &[u8],
) -> PrivateMessage {
    let suite = by.suite;
    let kind = RatchetKind::from(template.content_type);
    let aad = template.content_aad();
    let ciphertext = by
        .tree
        .use_key(LeafIndex(leaf), kind, 0, |key| {
            let sealed = suite.aead.seal(key.key(), key.nonce(), &aad, plaintext).unwrap();
            Ok::<_, FramingError>(sealed)
        })
        .unwrap();
    let data = SenderData { leaf_index: LeafIndex(leaf), generation: 0, reuse_guard: [0; 4] };
    with_sender_data(by, PrivateMessage { ciphertext, ..template.clone() }, &data.to_bytes())
}

fn with_sender_data(by: &Member, mut message: PrivateMessage, data: &[u8]) -> PrivateMessage {
    let keys = by.sender_data.keys(by.suite, &message.ciphertext).unwrap();
    let aad = message.sender_data_aad();
    message.encrypted_sender_data =
        by.suite.aead.seal(keys.key(), keys.nonce(), &aad, data).unwrap();
    message
}

fn plaintext(authenticated: &AuthenticatedContent) -> Vec<u8> {
    let mut out = Vec::new();
    authenticated.content.content.encode_untagged(&mut out);
    authenticated.auth.encode(&mut out);
    out
}

#[track_caller]
fn refused(member: &mut Member, message: PrivateMessage, expected: FramingError) {
    let before = member.state();
    assert_eq!(member.read_private(message).unwrap_err(), expected);
    assert_eq!(member.state(), before, "a refused message must leave the keys alone");
}

#[test]
fn members_read_what_members_send() {
    for suite in suites() {
        let mut group = group(suite);
        let steps = Padding::MultipleOf(NonZeroU16::new(100).unwrap());
        for padding in [Padding::None, steps, Padding::PowerOfTwo] {
            for content in [proposal(), commit(), application(b"data"), application(b"")] {
                let message = group.alice.private(content.clone(), padding);
                assert_eq!(group.bob.read_private(message.clone()).unwrap(), content);
                assert_eq!(group.carol.read_private(message).unwrap(), content);
            }
        }
    }
}

#[test]
fn padding_hides_the_length() {
    let mut alice = group(any_suite()).alice;
    let mut length = |data: usize, padding| {
        alice.private(application(&vec![1; data]), padding).ciphertext.len() - 16
    };
    let steps = Padding::MultipleOf(NonZeroU16::new(100).unwrap());
    assert_eq!((length(1, steps), length(30, steps), length(40, steps)), (100, 100, 200));
    let power = Padding::PowerOfTwo;
    assert_eq!((length(1, power), length(60, power), length(62, power)), (128, 128, 256));
    assert_ne!(length(1, Padding::None), length(2, Padding::None));
}

#[test]
fn messages_are_opened_once_and_in_any_order() {
    let mut group = group(any_suite());
    let sent: Vec<PrivateMessage> =
        (0..20u8).map(|n| group.alice.private(application(&[n]), Padding::None)).collect();
    for &n in &[3u8, 0, 19, 7, 1] {
        let message = &sent[usize::from(n)];
        assert_eq!(group.bob.read_private(message.clone()).unwrap(), application(&[n]));
        let consumed = SecretTreeError::KeyConsumed { generation: n.into() };
        refused(&mut group.bob, message.clone(), consumed.into());
    }
}

#[test]
fn an_echo_of_ones_own_message_is_refused() {
    let mut group = group(any_suite());
    let message = group.alice.private(application(b"data"), Padding::None);
    refused(&mut group.alice, message, SecretTreeError::OwnLeaf.into());
}

#[test]
fn a_message_altered_on_the_way_is_refused() {
    for suite in suites() {
        let mut group = group(suite);
        let message = group.alice.private(application(&[1; 100]), Padding::None);
        let bob = &mut group.bob;
        let alter = |change: fn(&mut PrivateMessage)| {
            let mut altered = message.clone();
            change(&mut altered);
            altered
        };
        let sender_data = FramingError::SenderDataUndecryptable;
        refused(bob, alter(|message| message.epoch += 1), sender_data);
        refused(bob, alter(|message| message.group_id.0.push(0)), sender_data);
        refused(bob, alter(|message| message.content_type = ContentType::Commit), sender_data);
        refused(bob, alter(|message| message.encrypted_sender_data[0] ^= 1), sender_data);
        refused(bob, alter(|message| message.encrypted_sender_data.clear()), sender_data);
        refused(bob, alter(|message| message.ciphertext[0] ^= 1), sender_data);
        refused(bob, alter(|message| message.ciphertext.clear()), sender_data);
        let content = FramingError::ContentUndecryptable;
        refused(bob, alter(|message| message.ciphertext[80] ^= 1), content);
        refused(bob, alter(|message| message.ciphertext.truncate(90)), content);
        refused(bob, alter(|message| message.authenticated_data[0] ^= 1), content);
        assert_eq!(bob.read_private(message).unwrap(), application(&[1; 100]));
    }
}

#[test]
fn sender_data_of_another_form_are_refused() {
    let mut group = group(any_suite());
    let message = group.alice.private(application(b"data"), Padding::None);
    let crafted = |data: &[u8]| with_sender_data(&group.carol, message.clone(), data);
    let data = |leaf_index, generation| SenderData { leaf_index, generation, reuse_guard: [0; 4] };
    let short = crafted(&[0; 11]);
    let long = crafted(&[0; 13]);
    let blank = crafted(&data(NOBODY, 0).to_bytes());
    let outside = crafted(&data(LeafIndex(4), 0).to_bytes());
    let ahead = crafted(&data(ALICE, u32::MAX).to_bytes());
    let bob = &mut group.bob;
    refused(bob, short, FramingError::SenderDataMalformed(DecodeError::Truncated));
    refused(bob, long, FramingError::SenderDataMalformed(DecodeError::TrailingBytes(1)));
    refused(bob, blank, FramingError::BlankSender(NOBODY));
    let error = SecretTreeError::NoSuchLeaf { leaf: LeafIndex(4), leaves: 4 };
    refused(bob, outside, error.into());
    let error =
        SecretTreeError::GenerationTooFarAhead { generation: u32::MAX, next: 0, limit: 1000 };
    refused(bob, ahead, error.into());
}

#[test]
fn content_of_another_form_is_refused() {
    let suite = any_suite();
    for (extra, kept, expected) in [
        (&[][..], usize::MAX, None),
        (&[0, 0, 0][..], usize::MAX, None),
        (&[0, 0, 1][..], usize::MAX, Some(FramingError::NonZeroPadding)),
        (&[1][..], usize::MAX, Some(FramingError::NonZeroPadding)),
        (&[][..], 10, Some(FramingError::ContentMalformed(DecodeError::Truncated))),
        (&[][..], 0, Some(FramingError::ContentMalformed(DecodeError::Truncated))),
    ] {
        let mut group = group(suite);
        let signed = group.alice.signed(FORMAT, application(b"data"));
        let mut plain = plaintext(&signed);
        plain.truncate(kept);
        plain.extend_from_slice(extra);
        let template = group.alice.private(application(b"data"), Padding::None);
        let message = forge(&mut group.carol, &template, ALICE.0, &plain);
        match expected {
            Some(error) => refused(&mut group.bob, message, error),
            None => {
                let read = group.bob.read_private(message).unwrap();
                assert_eq!(read, application(b"data"));
            }
        }
    }
}

/// Carol knows all keys of the epoch, so her message in Alice's name decrypts. It must neither pass nor use up the key.
#[test]
fn a_member_cannot_speak_or_burn_a_key_for_another() {
    for suite in suites() {
        let mut group = group(suite);
        let content = framed(Sender::Member(ALICE), application(b"forged"));
        let carol = &mut group.carol;
        let signed = sign(suite, FORMAT, content, &carol.context, &*carol.key).unwrap();
        let plain = plaintext(&complete(signed));
        let genuine = group.alice.private(application(b"genuine"), Padding::None);
        let forged = forge(carol, &genuine, ALICE.0, &plain);

        let bob = &mut group.bob;
        let opened = bob.open(forged.clone()).unwrap();
        assert_eq!((opened.sender(), opened.generation()), (ALICE, 0));
        assert_eq!(opened.content().content, application(b"forged"));
        refused(bob, forged, FramingError::InvalidSignature);
        assert_eq!(bob.read_private(genuine).unwrap(), application(b"genuine"));
    }
}

#[test]
fn a_signature_of_another_epoch_is_refused() {
    let mut group = group(any_suite());
    let message = group.alice.private(application(b"data"), Padding::None);
    group.bob.context = context(any_suite(), 6);
    refused(&mut group.bob, message, FramingError::InvalidSignature);
}

#[test]
fn misuse_has_a_name() {
    let suite = any_suite();
    let Member { mut tree, sender_data, context, key, leaf, .. } = group(suite).alice;
    assert_eq!(leaf, ALICE);
    let signed = |format, sender, content| {
        let signed = sign(suite, format, framed(sender, content), &context, &*key);
        signed.map(complete)
    };
    let refused = signed(FORMAT, Sender::External(0), proposal()).unwrap_err();
    assert_eq!(refused, FramingError::SenderNotMember);

    let mut seal = |authenticated: &AuthenticatedContent| {
        seal_private(&mut tree, &sender_data, authenticated, Padding::None, &mut os_rng())
    };
    let public = signed(WireFormat::PublicMessage, Sender::Member(ALICE), proposal()).unwrap();
    assert_eq!(seal(&public).unwrap_err(), FramingError::WrongWireFormat);
    let others = signed(FORMAT, Sender::Member(BOB), proposal()).unwrap();
    assert_eq!(seal(&others).unwrap_err(), FramingError::NotOwnLeaf(BOB));
    let auth = FramedContentAuthData { signature: Signature(vec![]), confirmation_tag: None };
    let build = |sender, content| AuthenticatedContent {
        wire_format: FORMAT,
        content: framed(sender, content),
        auth: auth.clone(),
    };
    let outside = build(Sender::External(0), proposal());
    assert_eq!(seal(&outside).unwrap_err(), FramingError::SenderNotMember);
    let unconfirmed = build(Sender::Member(ALICE), commit());
    assert_eq!(seal(&unconfirmed).unwrap_err(), FramingError::ConfirmationTagMissing);
    let huge = build(Sender::Member(ALICE), Content::Application(vec![0; MAX_VARINT]));
    assert_eq!(seal(&huge).unwrap_err(), FramingError::TooLong(MAX_VARINT));

    // None of these used up a key.
    let sent = tree.next_send_key(RatchetKind::Application).unwrap();
    assert_eq!(sent.generation, 0);
    assert_eq!(tree.next_send_key(RatchetKind::Handshake).unwrap().generation, 0);
}

#[test]
fn two_messages_never_share_a_key() {
    let mut alice = group(any_suite()).alice;
    let first = alice.private(application(b"same"), Padding::None);
    let second = alice.private(application(b"same"), Padding::None);
    assert_ne!(first.ciphertext, second.ciphertext);
    assert_ne!(first.encrypted_sender_data, second.encrypted_sender_data);
}

#[test]
fn neither_content_nor_keys_are_printed() {
    let mut group = group(any_suite());
    let data = b"a secret of the application";
    let content = framed(Sender::Member(ALICE), application(data));
    let alice = &group.alice;
    let signed = sign(alice.suite, FORMAT, content, &alice.context, &*alice.key).unwrap();
    let mut printed = format!("{signed:?}");
    let message = group.alice.private(application(data), Padding::None);
    let suite = any_suite();
    let key = suite.signature.verifying_key(group.alice.key.public()).unwrap();
    let opened = group.bob.open(message).unwrap();
    printed.push_str(&format!("{opened:?}"));
    let verified = opened.verify_signature(&*key).unwrap();
    printed.push_str(&format!("{verified:?}"));
    assert!(printed.contains("content_type: Application"), "{printed}");
    let numbers = format!("{:?}", &data[..4]).replace(['[', ']'], "");
    for leak in ["secret of", &hex::encode(&data[..4]), &numbers] {
        assert!(!printed.contains(leak), "{printed}");
    }
}
