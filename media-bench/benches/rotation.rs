//! One key rotation from end to end, by size of the call: a member commits, another one processes the commit, both install
//! the SFrame keys of the new epoch, hear that everybody has acknowledged, and switch. Trees are full. The waiting in between
//! is the network's: the report has its distribution.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that cannot set itself up ends"
)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use media_bench::groups::{FullTree, Implementation, Member, Pair};
use mls::CipherSuite;
use sframe_bridge::{BaseKey, CallKeys, CallKeysConfig, Epoch, Event, Now, crypto};

const MEMBERS: [u32; 4] = [2, 10, 100, 1000];
const FRAMES: sframe_bridge::CipherSuite = sframe_bridge::CipherSuite::Aes128GcmSha256_128;

/// A member's group and the frame keys that come from it.
struct Participant {
    leaf: u32,
    keys: CallKeys,
}

impl Participant {
    fn new(leaf: u32) -> Self {
        let suite = crypto::default_provider().suite(FRAMES).unwrap();
        Self { leaf, keys: CallKeys::new(CallKeysConfig::new(suite)) }
    }

    /// Installs the epoch that its group is in, and switches.
    fn follow(&mut self, group: &mut dyn Member, epoch: u64, members: u32) {
        let now = Now::from_millis(epoch * 1_000);
        let exported = group.export().unwrap();
        let base_key = BaseKey::new(exported.get(..FRAMES.key_length()).unwrap().to_vec());
        let live = (0..members).collect();
        self.keys.install_epoch(Epoch::new(epoch, base_key, self.leaf, live), now).unwrap();
        for leaf in 0..members {
            self.keys.peer_ready(leaf, epoch, now);
        }
        let mut switched = false;
        while let Some(event) = self.keys.poll() {
            switched |= matches!(event, Event::SwitchSend { .. });
        }
        assert!(switched, "everybody has acknowledged");
    }
}

fn rotation(c: &mut Criterion) {
    for who in [Implementation::OursAwsLc, Implementation::OursRustCrypto] {
        let mut bench = c.benchmark_group(format!("rotation/suite2/{}", who.name()));
        for members in MEMBERS {
            let tree = FullTree::build(CipherSuite::P256_AES128GCM_SHA256_P256, members).unwrap();
            let mut pair = Pair::seat(&tree, who).unwrap();
            let mut committer = Participant::new(0);
            let mut receiver = Participant::new(members - 1);
            let mut epoch = 0;
            bench.bench_function(BenchmarkId::from_parameter(members), |b| {
                b.iter(|| {
                    pair.rotate().unwrap();
                    epoch += 1;
                    committer.follow(&mut *pair.committer, epoch, members);
                    receiver.follow(&mut *pair.receiver, epoch, members);
                });
            });
        }
    }
}

criterion_group!(benches, rotation);
criterion_main!(benches);
