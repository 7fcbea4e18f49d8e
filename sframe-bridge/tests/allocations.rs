//! The way of a frame allocates nothing once its stream is known.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use sframe_bridge::crypto;
use sframe_bridge::{
    BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, HEADROOM, IncomingFrame, Now,
    OutgoingFrame, TrackId, codec::Codec, vp8,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller answers for `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller answers for `pointer` and `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn member(leaf: u32, now: Now) -> CallKeys {
    let suite = CipherSuite::Aes128GcmSha256_128;
    let mut keys =
        CallKeys::new(CallKeysConfig::new(crypto::default_provider().suite(suite).unwrap()));
    let base_key = BaseKey::new(vec![1; suite.key_length()]);
    keys.install_epoch(Epoch::new(1, base_key, leaf, vec![0, 1]), now).unwrap();
    keys
}

#[test]
fn protecting_and_opening_in_place_allocate_nothing() {
    for provider in crypto::PROVIDERS {
        for suite in CipherSuite::ALL {
            let config = CallKeysConfig::new(provider.suite(suite).unwrap());
            let mut alice = CallKeys::new(config);
            let mut bob = CallKeys::new(config);
            let now = Now::from_millis(0);
            let secret = || BaseKey::new(vec![1; suite.key_length()]);
            alice.install_epoch(Epoch::new(1, secret(), 0, vec![0, 1]), now).unwrap();
            bob.install_epoch(Epoch::new(1, secret(), 1, vec![0, 1]), now).unwrap();
            let mut sender = alice.sender(TrackId(1)).unwrap();
            // Longer and shorter than the length at which a backend may hand over to another.
            let mut buffer = vec![0; 17 + 5_000 + 16];
            let mut round = |size: usize, expect_none: bool| {
                let mut range = 0..0;
                let sent = allocations(|| {
                    range = vp8::protect_in_place(&mut sender, &mut buffer, 17..17 + size).unwrap();
                });
                let early = allocations(|| {
                    let mut short = [0x1A, 0, 0, 0];
                    let refused = bob.receiver().unprotect_in_place(&mut short, b"m", now);
                    assert!(refused.is_err());
                });
                let opened = allocations(|| {
                    let frame = &mut buffer[range];
                    let opened = vp8::unprotect_in_place(bob.receiver(), frame, now).unwrap();
                    assert_eq!(opened.plain.len(), size);
                });
                if expect_none {
                    assert_eq!((sent, early, opened), (0, 0, 0), "{} {suite:?}", provider.name);
                }
            };
            round(80, false);
            for _ in 0..100 {
                round(80, true);
                round(5_000, true);
            }
        }
    }
}

#[test]
fn a_batch_allocates_nothing() {
    let now = Now::from_millis(0);
    let (mut alice, mut bob) = (member(0, now), member(1, now));
    let mut sender = alice.sender(TrackId(1)).unwrap();
    let mut buffers = [[7_u8; 17 + 200 + 16]; 8];
    for round in 0..3 {
        let mut ranges = [const { 0..0 }; 8];
        let sent = allocations(|| {
            let mut batch = buffers
                .each_mut()
                .map(|buffer| OutgoingFrame::new(buffer, HEADROOM..HEADROOM + 200, b"metadata"));
            assert_eq!(sender.protect_batch(&mut batch), 8);
            ranges = batch.map(|frame| frame.sealed.unwrap());
        });
        let opened = allocations(|| {
            let mut frames = buffers.iter_mut().zip(&ranges);
            let mut batch = core::array::from_fn::<_, 8, _>(|_| {
                let (buffer, range) = frames.next().unwrap();
                IncomingFrame::new(&mut buffer[range.clone()], b"metadata")
            });
            assert_eq!(bob.receiver().unprotect_batch(&mut batch, now), 8);
        });
        assert!(round == 0 || (sent, opened) == (0, 0), "{sent} and {opened} in round {round}");
    }
}

#[test]
fn codecs_reuse_their_buffers() {
    // Parameter sets and a slice with zeros to escape; a sequence header and a frame OBU.
    let access_unit = [&[0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x65, 0xb8][..], &[0; 3_000]].concat();
    let temporal_unit = [&[0x0a, 2, 1, 2, 0x32, 0xb8, 0x17][..], &[7; 3_000]].concat();
    for (codec, frame) in [
        (Codec::Opus, &temporal_unit),
        (Codec::Vp8, &temporal_unit),
        (Codec::Vp9, &temporal_unit),
        (Codec::H264, &access_unit),
        (Codec::Av1, &temporal_unit),
    ] {
        let now = Now::from_millis(0);
        let (mut alice, mut bob) = (member(0, now), member(1, now));
        let mut sender = alice.sender(TrackId(1)).unwrap();
        let (mut wire, mut plain) = (Vec::new(), Vec::new());
        // The header grows by a byte at counter 8, and room for it is made once.
        for round in 0..50 {
            wire.clear();
            wire.reserve(2 * frame.len());
            plain.reserve(2 * frame.len());
            let sent = allocations(|| {
                codec.protect_into(&mut sender, frame, &mut wire).unwrap();
            });
            let opened = allocations(|| {
                let opened = codec.unprotect_into(bob.receiver(), &wire, &mut plain, now).unwrap();
                assert_eq!(&plain[opened.plain], frame);
            });
            assert!(round < 9 || (sent, opened) == (0, 0), "{codec:?}: {sent} and {opened}");
        }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(core::hint::black_box(Box::new(1_u8)))), 1);
}
