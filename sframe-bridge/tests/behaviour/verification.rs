use crate::common::config;
use sframe_bridge::verification::{
    LongCode, QR_LENGTH, RosterEntry, Verification, VerificationInput, VerifiedPeers,
};

fn entry<'a>(leaf: u32, credential: &'a [u8], signature_key: &'a [u8]) -> RosterEntry<'a> {
    RosterEntry { leaf, credential, signature_key }
}

fn code(input: &VerificationInput<'_>) -> LongCode {
    LongCode::derive(config().crypto.kdf, input).unwrap()
}

#[test]
fn all_members_compute_the_same_code() {
    let roster = [entry(0, b"alice", b"key a"), entry(2, b"bob", b"key b")];
    let reversed = [roster[1], roster[0]];
    let input = VerificationInput {
        epoch_authenticator: &[7; 32],
        group_id: b"group",
        epoch: 12,
        roster: &roster,
    };
    let alice = code(&input);
    let bob = code(&VerificationInput { roster: &reversed, ..input });
    let shown = alice.to_string();
    assert_eq!(shown, bob.to_string());
    assert_eq!(shown.len(), 47);
    assert!(shown.split(' ').all(|group| group.len() == 5 && group.parse::<u32>().is_ok()));
    assert_eq!(shown.split(' ').count(), 8);
    assert!(bob.matches_digits(&shown) && bob.matches_digits(&shown.replace(' ', "-")));
    assert!(!bob.matches_digits(&shown[..46]) && !bob.matches_digits(""));
    assert_eq!(alice.qr_payload().len(), QR_LENGTH);
    assert!(bob.matches_qr(&alice.qr_payload()));
    let mut other = alice.qr_payload();
    other[QR_LENGTH - 1] ^= 1;
    assert!(!bob.matches_qr(&other) && !bob.matches_qr(&[]));
}

#[test]
fn every_part_changes_the_code() {
    let roster = [entry(0, b"alice", b"key a"), entry(2, b"bob", b"key b")];
    let base = VerificationInput {
        epoch_authenticator: &[7; 32],
        group_id: b"group",
        epoch: 12,
        roster: &roster,
    };
    let rosters = [
        [entry(1, b"alice", b"key a"), roster[1]],
        [entry(0, b"alicf", b"key a"), roster[1]],
        [entry(0, b"alice", b"key c"), roster[1]],
        // The same bytes, divided otherwise.
        [entry(0, b"alicek", b"ey a"), roster[1]],
    ];
    let mut inputs = vec![
        base,
        VerificationInput { epoch_authenticator: &[8; 32], ..base },
        VerificationInput { group_id: b"groups", ..base },
        VerificationInput { epoch: 13, ..base },
        VerificationInput { roster: &roster[..1], ..base },
    ];
    inputs.extend(rosters.iter().map(|roster| VerificationInput { roster, ..base }));
    let mut seen = std::collections::BTreeSet::new();
    for input in &inputs {
        let code = code(input);
        assert!(seen.insert(code.to_string()));
        assert!(seen.insert(hex::encode(code.qr_payload())));
    }
}

#[test]
fn a_success_lasts_until_the_key_changes() {
    let mut peers = VerifiedPeers::new();
    assert_eq!(peers.status(b"bob", b"key"), Verification::Unverified);
    peers.insert(b"bob", b"key");
    assert_eq!(peers.status(b"bob", b"key"), Verification::Verified);
    assert_eq!(peers.status(b"bob", b"another"), Verification::KeyChanged);
    assert_eq!(peers.status(b"carol", b"key"), Verification::Unverified);
    peers.insert(b"bob", b"another");
    assert_eq!(peers.status(b"bob", b"another"), Verification::Verified);
}
