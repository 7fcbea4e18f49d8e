//! Frames exchanged with the `sframe` crate in both directions.

use crate::common::{SUITE, at, base_key_bytes, providers};
use proptest::prelude::*;
use sframe::frame::{EncryptedFrame, MediaFrame, MonotonicCounter};
use sframe::key::{DecryptionKey, EncryptionKey};
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Header, Kid, KidLayout, SframeSecret,
    TrackId,
};

const SUITES: [(CipherSuite, sframe::CipherSuite); 2] = [
    (CipherSuite::Aes128GcmSha256_128, sframe::CipherSuite::AesGcm128Sha256),
    (CipherSuite::Aes256GcmSha512_128, sframe::CipherSuite::AesGcm256Sha512),
];

const SIZES: [usize; 6] = [0, 1, 15, 80, 1_200, 50_000];

fn members() -> Vec<(CallKeys, sframe::CipherSuite, Vec<u8>)> {
    let mut members = Vec::new();
    for provider in providers() {
        for (ours, theirs) in SUITES {
            let config = CallKeysConfig::new(provider.suite(ours).unwrap());
            let mut keys = CallKeys::new(config);
            let secret = base_key_bytes(77, ours.key_length());
            let epoch = Epoch::new(300, BaseKey::new(secret.clone()), 2, vec![0, 1, 2, 900]);
            keys.install_epoch(epoch, at(0)).unwrap();
            members.push((keys, theirs, secret));
        }
    }
    members
}

#[test]
fn the_sframe_crate_opens_our_frames() {
    for (mut keys, suite, secret) in members() {
        let mut senders = [keys.sender(TrackId(1)).unwrap(), keys.sender(TrackId(2)).unwrap()];
        for sender in &mut senders {
            for (round, size) in SIZES.iter().cycle().take(300).enumerate() {
                let size = if round > 6 { 20 } else { *size };
                let plain = vec![size as u8; size];
                let mut wire = Vec::new();
                sender.protect_into(&plain, b"metadata", &mut wire).unwrap();
                let kid = sender.kid().unwrap().0;
                let key = DecryptionKey::derive_from(suite, kid, &secret).unwrap();
                let frame = EncryptedFrame::try_with_meta_data(wire, b"metadata").unwrap();
                assert_eq!(frame.decrypt(&key).unwrap().payload(), plain);
            }
        }
    }
}

#[test]
fn we_open_the_frames_of_the_sframe_crate() {
    for (mut keys, suite, secret) in members() {
        for (leaf, context) in [(0, 0), (1, 5), (900, 63)] {
            let kid = KidLayout::DEFAULT.compose(context, leaf, 300).unwrap().0;
            let key = EncryptionKey::derive_from(suite, kid, &secret).unwrap();
            let mut counter = MonotonicCounter::with_start_value(3, u64::MAX);
            for size in SIZES {
                let plain = vec![size as u8; size];
                let frame =
                    MediaFrame::try_with_meta_data(&mut counter, &plain, b"metadata").unwrap();
                let sealed = frame.encrypt(&key).unwrap();
                let mut wire = sealed.sframe_cipher_text().to_vec();
                let opened =
                    keys.receiver().unprotect_in_place(&mut wire, b"metadata", at(0)).unwrap();
                assert_eq!(wire[opened.plain], plain);
                let sender = opened.sender;
                assert_eq!(
                    (sender.leaf, sender.epoch, u64::from(sender.context)),
                    (leaf, 300, context)
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any KID, counter, length and metadata: the same bytes on both sides, which open on both.
    #[test]
    fn the_same_frames_as_the_sframe_crate(
        kid in any::<u64>(), kid_shift in 0..64_u32, ctr in any::<u64>(), ctr_shift in 1..64_u32,
        plain in proptest::collection::vec(any::<u8>(), 0..4_000),
        metadata in proptest::collection::vec(any::<u8>(), 0..200),
        suite in 0..2_usize,
    ) {
        let (kid, ctr) = (kid >> kid_shift, ctr >> ctr_shift);
        let (suite, theirs) = SUITES[suite];
        let secret = base_key_bytes(kid, suite.key_length());
        let key = EncryptionKey::derive_from(theirs, kid, &secret).unwrap();
        let mut counter = MonotonicCounter::with_start_value(ctr, u64::MAX);
        let frame = MediaFrame::try_with_meta_data(&mut counter, &plain, &metadata).unwrap();
        let sealed = frame.encrypt(&key).unwrap();
        for provider in providers() {
            let crypto = provider.suite(suite).unwrap();
            let key = SframeSecret::extract(crypto, &BaseKey::new(secret.clone()))
                .frame_key(Kid(kid))
                .unwrap();
            let header = Header { kid: Kid(kid), ctr }.encode();
            let aad = [header.as_bytes(), &metadata].concat();
            let mut body = [plain.as_slice(), &[0; 16]].concat();
            key.seal_with_counter_of_callers_choice(ctr, &aad, &mut body).unwrap();
            let wire = [header.as_bytes(), &body].concat();
            prop_assert_eq!(&wire, sealed.sframe_cipher_text(), "{}", provider.name);
            let length = key.open(ctr, &aad, &mut body).unwrap();
            prop_assert_eq!(&body[..length], &plain);
            let key = DecryptionKey::derive_from(theirs, kid, &secret).unwrap();
            let frame = EncryptedFrame::try_with_meta_data(wire, &metadata).unwrap();
            let opened = frame.decrypt(&key).unwrap();
            prop_assert_eq!(opened.payload(), &plain);
        }
    }
}

/// KIDs of MLS senders, with the same refusals: a leaf or context that does not fit is an error on
/// both sides (older versions of the `sframe` crate cut it off).
#[test]
fn the_same_kids_as_the_sframe_crate() {
    use sframe::{
        header::KeyId,
        mls::{MlsKeyId, MlsKeyIdBitRange},
    };
    let (epoch_bits, leaf_bits) = (8, 12);
    let ours = KidLayout::new(epoch_bits, leaf_bits).unwrap();
    let range = MlsKeyIdBitRange::new(epoch_bits, leaf_bits);
    for epoch in [0, 1, 255, 256, u64::MAX] {
        for leaf in [0_u32, 1, 4_095, 4_096, u32::MAX] {
            for context in [0, 1, (1 << 44) - 1, 1 << 44, u64::MAX] {
                let theirs = MlsKeyId::try_new(context, epoch, leaf, range).map(KeyId::from);
                let ours = ours.compose(context, leaf, epoch).map(|kid| kid.0);
                assert_eq!(ours.ok(), theirs.ok(), "{epoch} {leaf} {context}");
            }
        }
    }
}

#[test]
fn our_backends_open_each_others_frames() {
    let mut wires = Vec::new();
    for provider in providers() {
        for suite in CipherSuite::ALL {
            let config = CallKeysConfig::new(provider.suite(suite).unwrap());
            let secret = || BaseKey::new(base_key_bytes(1, suite.key_length()));
            let mut alice = CallKeys::new(config);
            alice.install_epoch(Epoch::new(1, secret(), 0, vec![0, 1]), at(0)).unwrap();
            let mut wire = Vec::new();
            let mut sender = alice.sender(TrackId(1)).unwrap();
            sender.protect_into(b"a frame", b"m", &mut wire).unwrap();
            wires.push((suite, wire));
        }
    }
    for provider in providers() {
        for (suite, wire) in &wires {
            let config = CallKeysConfig::new(provider.suite(*suite).unwrap());
            let secret = BaseKey::new(base_key_bytes(1, suite.key_length()));
            let mut bob = CallKeys::new(config);
            bob.install_epoch(Epoch::new(1, secret, 1, vec![0, 1]), at(0)).unwrap();
            let mut plain = Vec::new();
            bob.receiver().unprotect_into(wire, b"m", &mut plain, at(0)).unwrap();
            assert_eq!(plain, b"a frame");
        }
    }
    assert_eq!(SUITE.id(), 4);
}
