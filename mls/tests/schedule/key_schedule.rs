//! Welcome keys, external init, exporter limits, confirmation tags, snapshots and redaction.

use mls::{
    codec::{DecodeError, Reader},
    crypto::{CryptoError, Suite, os_rng},
    schedule::{
        CommitSecret, EpochSecret, EpochSecrets, ExternalInitOutput, InitSecret,
        InterimTranscriptHash, JoinerSecret, MemberSecret, NewEpoch, Psk, PskInput, PskSecret,
        ScheduleError, WelcomeKeys,
    },
    wire::{
        ConfirmationTag, Content, FramedContent, GroupId, HpkePublicKey, PreSharedKeyId, PskSource,
        Sender, Signature, WireFormat,
    },
};

use crate::{any_suite, suites};

fn epoch(suite: &'static Suite, seed: u8) -> EpochSecrets {
    let secret = EpochSecret::from_slice(&vec![seed; suite.hash_length()]);
    let NewEpoch { secrets, .. } = secret.derive(suite).unwrap();
    secrets
}

fn member(suite: &Suite, seed: u8) -> MemberSecret {
    let none = PskSecret::compute(suite, &[]).unwrap();
    JoinerSecret::from_slice(&vec![seed; suite.hash_length()]).member(suite, &none)
}

fn welcome_keys(suite: &'static Suite, seed: u8) -> WelcomeKeys {
    member(suite, seed).welcome(suite).unwrap().keys(suite).unwrap()
}

#[test]
fn a_group_info_opens_for_those_with_the_joiner_secret_only() {
    for suite in suites() {
        let sealed = welcome_keys(suite, 1).seal(b"group info").unwrap();
        assert_eq!(welcome_keys(suite, 1).open(&sealed).unwrap(), b"group info");
        let failure = Err(ScheduleError::GroupInfoUndecryptable);
        assert_eq!(welcome_keys(suite, 2).open(&sealed), failure);
        assert_eq!(welcome_keys(suite, 1).open(&sealed[1..]), failure);
        assert_eq!(welcome_keys(suite, 1).open(&[]), failure);
    }
}

#[test]
fn both_sides_of_an_external_init_agree() {
    for suite in suites() {
        let group = epoch(suite, 3);
        let public = group.external().unwrap().public_key();
        let made = ExternalInitOutput::create(suite, &public, &mut os_rng()).unwrap();
        let found = group.external().unwrap().init_secret(&made.kem_output).unwrap();
        assert_eq!(found, made.init_secret);
        assert_eq!(found.as_bytes().len(), suite.hash_length());

        let other = ExternalInitOutput::create(suite, &public, &mut os_rng()).unwrap();
        assert_ne!(other.init_secret, made.init_secret);
        let short = &made.kem_output[1..];
        let refused = group.external().unwrap().init_secret(short).unwrap_err();
        assert!(matches!(refused, ScheduleError::BadExternalInit(_)), "{refused}");
        let not_a_key = HpkePublicKey(vec![1, 2, 3]);
        let refused = ExternalInitOutput::create(suite, &not_a_key, &mut os_rng()).unwrap_err();
        assert!(matches!(refused, ScheduleError::Crypto(_)), "{refused}");
    }
}

#[test]
fn exports_are_bounded_and_bound_to_label_context_and_epoch() {
    for suite in suites() {
        let secrets = epoch(suite, 4);
        let limit = 255 * suite.hash_length();
        assert_eq!(secrets.export("label", b"context", limit).unwrap().length(), limit);
        for asked in [limit + 1, usize::MAX] {
            let refused = secrets.export("label", b"context", asked);
            assert_eq!(refused, Err(ScheduleError::ExportTooLong { asked, limit }));
        }
        let base = secrets.export("label", b"context", 32).unwrap();
        assert_eq!(secrets.export("label", b"context", 32).unwrap(), base);
        assert_ne!(secrets.export("other", b"context", 32).unwrap(), base);
        assert_ne!(secrets.export("label", b"other", 32).unwrap(), base);
        assert_ne!(epoch(suite, 5).export("label", b"context", 32).unwrap(), base);
        let shorter = secrets.export("label", b"context", 16).unwrap();
        assert_ne!(shorter.as_bytes(), &base.as_bytes()[..16], "the length is part of the input");
    }
}

#[test]
fn a_confirmation_tag_belongs_to_its_transcript_and_epoch() {
    let (ours, theirs) = (epoch(any_suite(), 6), epoch(any_suite(), 7));
    let tag = ours.confirmation_tag(b"transcript");
    assert_eq!(ours.check_confirmation_tag(b"transcript", &tag), Ok(()));
    let mismatch = Err(ScheduleError::ConfirmationTagMismatch);
    assert_eq!(ours.check_confirmation_tag(b"another", &tag), mismatch);
    assert_eq!(theirs.check_confirmation_tag(b"transcript", &tag), mismatch);
    let cut = ConfirmationTag(tag.as_bytes()[1..].to_vec());
    assert_eq!(ours.check_confirmation_tag(b"transcript", &cut), mismatch);
    assert_eq!(ours.check_confirmation_tag(b"transcript", &ConfirmationTag(vec![])), mismatch);
}

#[test]
fn only_commits_enter_the_transcript() {
    let content = FramedContent {
        group_id: GroupId(vec![1]),
        epoch: 0,
        sender: Sender::NewMemberCommit,
        authenticated_data: Vec::new(),
        content: Content::Application(Vec::new()),
    };
    let refused = InterimTranscriptHash::from_slice(&[]).confirm(
        any_suite(),
        WireFormat::PublicMessage,
        &content,
        &Signature(vec![]),
    );
    assert_eq!(refused, Err(ScheduleError::NotACommit));
}

#[test]
fn more_psks_than_can_be_numbered_are_refused() {
    let suite = any_suite();
    let psk = Psk::from_slice(b"secret");
    let source = PskSource::External { psk_id: vec![1] };
    let id = PreSharedKeyId { source, psk_nonce: vec![0; 32] };
    let many = vec![PskInput { id: &id, psk: &psk }; 65536];
    assert_eq!(PskSecret::compute(suite, &many), Err(ScheduleError::TooManyPsks(65536)));
    let forwards = PskSecret::compute(suite, &many[..2]).unwrap();
    assert_ne!(PskSecret::compute(suite, &many[..1]).unwrap(), forwards);
}

#[test]
fn secrets_of_another_length_are_refused() {
    let suite = any_suite();
    let refused = EpochSecret::from_slice(&[1; 31]).derive(suite).unwrap_err();
    let wrong = CryptoError::WrongLength { what: "a kdf secret", expected: 32, actual: 31 };
    assert_eq!(refused, ScheduleError::Crypto(wrong));
}

#[test]
fn secrets_survive_a_snapshot() {
    for suite in suites() {
        let secrets = epoch(suite, 8);
        let mut saved = Vec::new();
        secrets.save(&mut saved);
        assert_eq!(saved.len(), secrets.saved_length());
        let mut reader = Reader::new(&saved);
        let restored = EpochSecrets::restore(suite, &mut reader).unwrap();
        assert!(reader.is_empty());
        let mut again = Vec::new();
        restored.save(&mut again);
        assert_eq!(again, saved);
        assert_eq!(
            restored.external().unwrap().public_key(),
            secrets.external().unwrap().public_key()
        );
        for cut in 0..saved.len() {
            let refused = EpochSecrets::restore(suite, &mut Reader::new(&saved[..cut]));
            assert_eq!(refused.unwrap_err(), DecodeError::Truncated);
        }
        let retired = secrets.retire();
        assert_eq!(retired.sender_data.as_bytes(), restored.sender_data().as_bytes());
        assert_eq!(
            retired.resumption_psk.to_psk().as_bytes(),
            restored.resumption_psk().as_bytes()
        );
    }
}

#[test]
fn a_commit_without_a_path_contributes_zeros() {
    let suite = any_suite();
    assert_eq!(CommitSecret::zero(suite), CommitSecret::from_slice(&[0; 32]));
    let init = InitSecret::from_slice(&[1; 32]);
    let with = |commit: CommitSecret| init.joiner(suite, &commit, b"context").unwrap();
    assert_ne!(with(CommitSecret::zero(suite)), with(CommitSecret::from_slice(&[2; 32])));
}

#[test]
fn nothing_secret_is_printed() {
    let suite = any_suite();
    let epoch_secret = EpochSecret::from_slice(&[0xab; 32]);
    let mut printed = format!("{epoch_secret:?}");
    let NewEpoch { secrets, encryption } = epoch_secret.derive(suite).unwrap();
    secrets.external().unwrap();
    let mut saved = Vec::new();
    secrets.save(&mut saved);
    saved.extend_from_slice(encryption.as_bytes());
    let keys = welcome_keys(suite, 9);
    printed.push_str(&format!("{secrets:?} {encryption:?} {keys:?} {:?}", secrets.external()));
    printed.push_str(&format!("{:?} {:?}", member(suite, 9), secrets.retire()));
    for pair in saved.chunks(4).chain([&[0xab; 4][..]]) {
        for leak in [hex::encode(pair), format!("{pair:?}").replace(['[', ']'], "")] {
            assert!(!printed.contains(&leak), "{printed}");
        }
    }
}
