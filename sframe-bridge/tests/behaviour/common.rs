//! Members of a call without a group: base keys are made from the epoch's number.

use sframe_bridge::crypto::{self, FrameProvider};
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Event, Header, KidLayout, Now,
    SframeSecret,
};

pub(crate) const SUITE: CipherSuite = CipherSuite::Aes128GcmSha256_128;

pub(crate) fn providers() -> &'static [&'static FrameProvider] {
    crypto::PROVIDERS
}

pub(crate) fn config() -> CallKeysConfig {
    CallKeysConfig::new(crypto::default_provider().suite(SUITE).unwrap())
}

pub(crate) fn at(millis: u64) -> Now {
    Now::from_millis(1_000_000 + millis)
}

pub(crate) fn base_key_bytes(epoch: u64, length: usize) -> Vec<u8> {
    epoch.to_be_bytes().into_iter().cycle().take(length).collect()
}

pub(crate) fn base_key(epoch: u64) -> BaseKey {
    BaseKey::new(base_key_bytes(epoch, SUITE.key_length()))
}

pub(crate) fn epoch(number: u64, own_leaf: u32, live: &[u32]) -> Epoch {
    Epoch::new(number, base_key(number), own_leaf, live.to_vec())
}

pub(crate) fn member(number: u64, own_leaf: u32, live: &[u32]) -> CallKeys {
    let mut keys = CallKeys::new(config());
    keys.install_epoch(epoch(number, own_leaf, live), at(0)).unwrap();
    events(&mut keys);
    keys
}

pub(crate) fn events(keys: &mut CallKeys) -> Vec<Event> {
    core::iter::from_fn(|| keys.poll()).collect()
}

/// A frame as the member at `leaf` would make it, with parts of the caller's choice.
pub(crate) fn frame(epoch: u64, leaf: u32, context: u64, ctr: u64, plain: &[u8]) -> Vec<u8> {
    let kid = KidLayout::DEFAULT.compose(context, leaf, epoch).unwrap();
    let header = Header { kid, ctr }.encode();
    let secret = SframeSecret::extract(config().crypto, &base_key(epoch));
    let mut sealed = plain.to_vec();
    sealed.resize(plain.len() + SUITE.tag_length(), 0);
    let key = secret.frame_key(kid).unwrap();
    key.seal_with_counter_of_callers_choice(ctr, header.as_bytes(), &mut sealed).unwrap();
    let mut frame = header.as_bytes().to_vec();
    frame.extend(sealed);
    frame
}
