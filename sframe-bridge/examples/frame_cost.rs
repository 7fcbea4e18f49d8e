//! What one frame costs: `frame_cost BACKEND protect|unprotect|raw-seal|raw-open SIZE FRAMES`.
//!
//! Prints nanoseconds a frame; "raw" is the backend's cipher alone. Two runs with different numbers
//! of frames under an instruction counter give the instructions of one frame, without the set-up:
//! `scripts/frame-instructions.sh` does that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measuring program that cannot set itself up ends"
)]

use sframe_bridge::crypto::{self, FrameProvider};
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, HEADROOM, Now, SframeSecret, TrackId,
};
use std::hint::black_box;
use std::time::Instant;

const NOW: Now = Now::from_millis(1_000_000_000);

fn member(provider: &FrameProvider, leaf: u32) -> CallKeys {
    let suite = provider.suite(CipherSuite::Aes128GcmSha256_128).unwrap();
    let mut keys = CallKeys::new(CallKeysConfig::new(suite));
    let epoch = Epoch::new(1, BaseKey::new(vec![0x42; 16]), leaf, vec![0, 1]);
    keys.install_epoch(epoch, Now::from_millis(0)).unwrap();
    keys
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, backend, operation, size, frames] = arguments.as_slice() else {
        panic!("expected: frame_cost BACKEND OPERATION SIZE FRAMES")
    };
    let provider = crypto::PROVIDERS.iter().find(|provider| provider.name == backend).unwrap();
    let (size, frames): (usize, usize) = (size.parse().unwrap(), frames.parse().unwrap());
    let mut sender = member(provider, 0).sender(TrackId(0)).unwrap();
    sender.follow();
    let mut keys = member(provider, 1);
    let mut buffer = vec![7; HEADROOM + size + sender.tag_length()];
    let plain = HEADROOM..HEADROOM + size;
    let suite = provider.suite(CipherSuite::Aes128GcmSha256_128).unwrap();
    let key = SframeSecret::extract(suite, &BaseKey::new(vec![0x42; 16]))
        .frame_key(sender.kid().unwrap())
        .unwrap();
    let mut samples = Vec::new();
    let chunk = 64.min(frames);
    let mut done = 0;
    while done < frames {
        let mut wires = Vec::new();
        if matches!(operation.as_str(), "unprotect" | "raw-open" | "wires") {
            for _ in 0..chunk {
                let range = sender.protect_in_place(&mut buffer, plain.clone(), b"").unwrap();
                wires.push(buffer[range].to_vec());
            }
        }
        let begun = Instant::now();
        match operation.as_str() {
            "protect" => {
                for _ in 0..chunk {
                    let range = sender.protect_in_place(&mut buffer, plain.clone(), b"").unwrap();
                    black_box(range);
                }
            }
            "unprotect" => {
                for wire in &mut wires {
                    black_box(keys.receiver().unprotect_in_place(wire, b"", NOW).unwrap());
                }
            }
            "raw-seal" => {
                for index in 0..chunk {
                    let text = &mut buffer[HEADROOM..];
                    key.seal_with_counter_of_callers_choice(index as u64, &[1, 2, 3, 4], text)
                        .unwrap();
                }
            }
            "raw-open" => {
                for wire in &mut wires {
                    let peeked = sframe_bridge::peek(wire).unwrap();
                    let (head, sealed) = wire.split_at_mut(peeked.length);
                    black_box(key.open(peeked.header.ctr, head, sealed).unwrap());
                }
            }
            // Only the frames that the opening operations open.
            "wires" => {}
            _ => panic!("expected protect, unprotect, raw-seal, raw-open or wires"),
        }
        samples.push(begun.elapsed().as_nanos() as f64 / chunk as f64);
        done += chunk;
    }
    samples.sort_by(f64::total_cmp);
    println!(
        "{backend} {operation} {size} B: median {:.1} ns, lowest {:.1} ns",
        samples[samples.len() / 2],
        samples[0]
    );
}
