//! Frames of every codec: protected, packetized as WebRTC does, put together again, opened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and says what it has seen"
)]

mod clips;
mod frames;
mod hostile;
mod packets;

use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Now, ReceiveError, Sender, TrackId,
    codec::Codec, crypto,
};

const NOW: Now = Now::from_millis(1_000);
const CODECS: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

/// Alice sends one track, Bob receives.
struct Pair {
    sender: Sender,
    bob: CallKeys,
    _alice: CallKeys,
}

impl Pair {
    fn new() -> Self {
        let suite = CipherSuite::Aes128GcmSha256_128;
        let keys = |leaf| {
            let config = CallKeysConfig::new(crypto::default_provider().suite(suite).unwrap());
            let mut keys = CallKeys::new(config);
            let base_key = BaseKey::new(vec![9; suite.key_length()]);
            keys.install_epoch(Epoch::new(3, base_key, leaf, vec![0, 1]), NOW).unwrap();
            keys
        };
        let mut alice = keys(0);
        Self { sender: alice.sender(TrackId(0)).unwrap(), bob: keys(1), _alice: alice }
    }

    fn protect(&mut self, codec: Codec, frame: &[u8]) -> Vec<u8> {
        // What stands in `out` before must not matter.
        let mut out = vec![0, 0];
        let range = codec.protect_into(&mut self.sender, frame, &mut out).unwrap();
        assert_eq!(range, 2..out.len());
        out.split_off(2)
    }

    fn open(&mut self, codec: Codec, frame: &[u8]) -> Result<Vec<u8>, ReceiveError> {
        let mut plain = vec![1, 2, 3];
        let opened = codec.unprotect_into(self.bob.receiver(), frame, &mut plain, NOW)?;
        assert_eq!((opened.sender.leaf, opened.sender.epoch), (0, 3));
        Ok(plain[opened.plain].to_vec())
    }
}
