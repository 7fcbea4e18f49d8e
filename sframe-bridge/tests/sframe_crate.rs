//! Epoch keys as the key types of the `sframe` crate.

#![cfg(feature = "sframe-crate")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use sframe::frame::{EncryptedFrame, MediaFrame, MonotonicCounter};
use sframe::key::{DecryptionKey, EncryptionKey};
use sframe_bridge::sframe_crate::{KeyTypeError, SframeEpochKeys};
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Kid, KidLayout, Now, ReceiveError,
    SendError, TrackId, crypto,
};

const GCM: [CipherSuite; 2] = [CipherSuite::Aes128GcmSha256_128, CipherSuite::Aes256GcmSha512_128];

fn epoch(suite: CipherSuite, number: u64, own_leaf: u32) -> Epoch {
    let base_key = BaseKey::new(vec![number as u8; suite.key_length()]);
    Epoch::new(number, base_key, own_leaf, vec![0, 5, 900])
}

fn theirs(suite: CipherSuite, number: u64, own_leaf: u32) -> SframeEpochKeys {
    let epoch = epoch(suite, number, own_leaf);
    SframeEpochKeys::new(epoch, suite, KidLayout::DEFAULT, 4).unwrap()
}

fn ours(suite: CipherSuite, number: u64, own_leaf: u32) -> CallKeys {
    let config = CallKeysConfig::new(crypto::default_provider().suite(suite).unwrap());
    let mut keys = CallKeys::new(config);
    keys.install_epoch(epoch(suite, number, own_leaf), Now::from_millis(0)).unwrap();
    keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A member on the `sframe` crate and one on ours, each with its own epoch of the same group.
    #[test]
    fn members_on_both_understand_each_other(
        plain in proptest::collection::vec(any::<u8>(), 0..3_000),
        metadata in proptest::collection::vec(any::<u8>(), 0..100),
        number in 0..1_000_u64,
        first in 0..5_000_u64,
        skipped in 0..3_usize,
        suite in 0..2_usize,
    ) {
        let suite = GCM[suite];
        let mut on_theirs = theirs(suite, number, 900);
        let mut on_ours = ours(suite, number, 5);
        for _ in 0..skipped {
            let _: EncryptionKey = on_theirs.encryption_key().unwrap();
        }
        let key: EncryptionKey = on_theirs.encryption_key().unwrap();
        let mut counter = MonotonicCounter::with_start_value(first, u64::MAX);
        let frame = MediaFrame::try_with_meta_data(&mut counter, &plain, &metadata).unwrap();
        let mut wire = frame.encrypt(&key).unwrap().sframe_cipher_text().to_vec();
        let now = Now::from_millis(0);
        let opened = on_ours.receiver().unprotect_in_place(&mut wire, &metadata, now).unwrap();
        prop_assert_eq!(&wire[opened.plain], &plain);
        let sender = opened.sender;
        prop_assert_eq!((sender.leaf, sender.epoch, sender.ctr), (900, number, first));
        prop_assert_eq!(sender.context as usize, skipped);

        let mut sender = on_ours.sender(TrackId(1)).unwrap();
        let mut wire = Vec::new();
        sender.protect_into(&plain, &metadata, &mut wire).unwrap();
        let key: DecryptionKey = on_theirs.decryption_key(sender.kid().unwrap()).unwrap();
        let frame = EncryptedFrame::try_with_meta_data(wire, &metadata).unwrap();
        let opened = frame.decrypt(&key).unwrap();
        prop_assert_eq!(opened.payload(), &plain);
    }
}

#[test]
fn keys_only_for_whom_the_epoch_knows() {
    let suite = GCM[0];
    let keys = theirs(suite, 7, 0);
    let kid = |context, leaf, epoch| KidLayout::DEFAULT.compose(context, leaf, epoch).unwrap();
    let refused = |kid: Kid| match keys.decryption_key(kid) {
        Ok::<DecryptionKey, _>(_) => None,
        Err(KeyTypeError::Receive(error)) => Some(error),
        Err(other) => unreachable!("{other}"),
    };
    assert_eq!(refused(kid(3, 5, 7)), None);
    assert_eq!(refused(kid(0, 0, 7)), Some(ReceiveError::OwnKid));
    assert_eq!(refused(kid(0, 6, 7)), Some(ReceiveError::BlankLeaf { leaf: 6 }));
    let context = ReceiveError::ContextNotAllowed { context: 4, limit: 4 };
    assert_eq!(refused(kid(4, 5, 7)), Some(context));
    assert_eq!(refused(kid(0, 5, 8)), Some(ReceiveError::ExpiredEpoch { epoch: 8 }));
}

#[test]
fn contexts_run_out_and_an_epoch_may_be_for_receiving_only() {
    let suite = GCM[0];
    let mut keys = theirs(suite, 7, 0);
    let mut kids = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let key: EncryptionKey = keys.encryption_key().unwrap();
        assert!(kids.insert(key.key_id()));
    }
    let fifth: Result<EncryptionKey, _> = keys.encryption_key();
    let exhausted = SendError::ContextsExhausted { limit: 4 };
    assert!(matches!(fifth, Err(KeyTypeError::Send(error)) if error == exhausted));

    let silent = epoch(suite, 7, 0).receive_only();
    let mut keys = SframeEpochKeys::new(silent, suite, KidLayout::DEFAULT, 4).unwrap();
    let key: Result<EncryptionKey, _> = keys.encryption_key();
    assert!(matches!(key, Err(KeyTypeError::Send(SendError::NoKey))));
    let ctr = CipherSuite::Aes128CtrHmacSha256_80;
    let refused = SframeEpochKeys::new(epoch(ctr, 7, 0), ctr, KidLayout::DEFAULT, 4);
    assert!(matches!(refused, Err(KeyTypeError::Suite(found)) if found == ctr));
}
