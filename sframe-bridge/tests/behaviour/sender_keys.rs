//! Sender keys of RFC 9605 section 5.1.

use crate::common::{SUITE, at};
use sframe_bridge::crypto::{self, SuiteCrypto};
use sframe_bridge::sender_keys::{
    RatchetLayout, RatchetLimits, SenderKey, SenderKeyReceiver, SenderKeySender,
};
use sframe_bridge::{BaseKey, Header, Kid, ReceiveError, peek};

fn suite() -> &'static SuiteCrypto {
    crypto::default_provider().suite(SUITE).unwrap()
}

fn key(generation: u64) -> SenderKey {
    SenderKey { generation, step: 0, base_key: BaseKey::new(vec![generation as u8; 16]) }
}

fn pair(step_bits: u8) -> (SenderKeySender, SenderKeyReceiver) {
    let layout = RatchetLayout::new(step_bits).unwrap();
    let sender = SenderKeySender::new(suite(), layout, key(3)).unwrap();
    let limits = RatchetLimits::default();
    let receiver = SenderKeyReceiver::new(suite(), layout, limits, key(3)).unwrap();
    (sender, receiver)
}

fn sealed(sender: &mut SenderKeySender, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sender.protect_into(text, b"m", &mut out).unwrap();
    out
}

fn open(receiver: &mut SenderKeyReceiver, frame: &[u8], ms: u64) -> Result<Vec<u8>, ReceiveError> {
    let mut plain = Vec::new();
    receiver.unprotect_into(frame, b"m", &mut plain, at(ms)).map(|_| plain)
}

#[test]
fn the_receiver_follows_the_ratchet_and_takes_late_frames() {
    let (mut sender, mut receiver) = pair(4);
    let first = sealed(&mut sender, b"step 0");
    sender.ratchet().unwrap();
    let second = sealed(&mut sender, b"step 1");
    sender.ratchet().unwrap();
    let third = sealed(&mut sender, b"step 2");
    assert_eq!(peek(&third).unwrap().header, Header { kid: Kid((3 << 4) | 2), ctr: 0 });
    assert_eq!(open(&mut receiver, &first, 0).unwrap(), b"step 0");
    assert_eq!(open(&mut receiver, &third, 10).unwrap(), b"step 2");
    assert_eq!(open(&mut receiver, &second, 20).unwrap(), b"step 1", "a skipped step, late");
    assert_eq!(open(&mut receiver, &second, 30), Err(ReceiveError::Duplicate { ctr: 0 }));
    assert_eq!(receiver.held_keys(), 3);
    // Their time is over: one key is left, and the old ones cannot come back.
    receiver.purge(at(3_000));
    assert_eq!(receiver.held_keys(), 1);
    assert!(open(&mut receiver, &first, 3_000).is_err());
    assert_eq!(open(&mut receiver, &third, 3_000), Err(ReceiveError::Duplicate { ctr: 0 }));
}

#[test]
fn the_step_wraps_around_its_bits() {
    for step_bits in [1, 2, 5] {
        let (mut sender, mut receiver) = pair(step_bits);
        for step in 0..100_u8 {
            let frame = sealed(&mut sender, &[step]);
            assert_eq!(open(&mut receiver, &frame, 0).unwrap(), [step], "R = {step_bits}");
            sender.ratchet().unwrap();
        }
    }
}

#[test]
fn forged_steps_change_nothing() {
    let (mut sender, mut receiver) = pair(8);
    let honest = sealed(&mut sender, b"x");
    for step in 1..=255_u64 {
        let mut forged = Header { kid: Kid((3 << 8) | step), ctr: 0 }.encode().as_bytes().to_vec();
        forged.extend([7; 30]);
        let error = open(&mut receiver, &forged, 0).unwrap_err();
        let expected = if step <= 8 {
            ReceiveError::Unauthentic
        } else {
            ReceiveError::UnknownKid { kid: (3 << 8) | step }
        };
        assert_eq!((error, receiver.held_keys()), (expected, 1));
    }
    assert_eq!(open(&mut receiver, &honest, 0).unwrap(), b"x");
}

#[test]
fn a_new_generation_shuts_out_who_has_only_the_old_one() {
    let (mut sender, mut removed) = pair(4);
    let (_, mut stays) = pair(4);
    let before = sealed(&mut sender, b"before");
    let layout = RatchetLayout::new(4).unwrap();
    let mut sender = SenderKeySender::new(suite(), layout, key(4)).unwrap();
    stays.install(key(4), at(0)).unwrap();
    let after = sealed(&mut sender, b"after");
    assert_eq!(open(&mut stays, &after, 0).unwrap(), b"after");
    assert_eq!(open(&mut stays, &before, 0).unwrap(), b"before", "still in flight");
    assert_eq!(open(&mut removed, &after, 0), Err(ReceiveError::UnknownKid { kid: 4 << 4 }));
    // An old key does not come back.
    stays.install(key(2), at(0)).unwrap();
    sender.ratchet().unwrap();
    let joined = SenderKey {
        generation: 4,
        step: sender.key().step,
        base_key: BaseKey::new(sender.key().base_key.expose_secret().to_vec()),
    };
    let limits = RatchetLimits::default();
    let mut joiner = SenderKeyReceiver::new(suite(), layout, limits, joined).unwrap();
    let now = sealed(&mut sender, b"now");
    assert_eq!(open(&mut joiner, &now, 0).unwrap(), b"now");
    assert_eq!(open(&mut stays, &now, 0).unwrap(), b"now");
    assert!(open(&mut joiner, &after, 0).is_err(), "what was sent before the join");
}

/// The `sframe` crate 2.1 deviates twice, so that after a step the two sides have different keys:
/// it writes "Sframe" in the label of the ratchet where the RFC says "SFrame", and makes keys of
/// `Nk` bytes where the RFC says `Nh`.
#[test]
fn the_sframe_crate_deviates_in_label_and_length_of_the_ratchet() {
    use sframe::{crypto::Kdf, ratchet::GenericRatchetingKeyMaterial};
    let theirs = GenericRatchetingKeyMaterial::<Kdf>::derive_from(
        sframe::CipherSuite::AesGcm128Sha256,
        [7; 16],
    )
    .unwrap();
    let ours = BaseKey::new(vec![7; 16]).ratchet(suite()).unwrap();
    assert_eq!(ours.length(), 32);
    let prk = suite().kdf.extract(b"", &[7; 16]);
    let mut misspelt = [0; 16];
    suite().kdf.expand(&prk, b"Sframe 1.0 Ratchet", &mut misspelt).unwrap();
    assert_eq!(misspelt, theirs.as_ref());
}
