//! The way of a frame allocates nothing once its stream is known.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use sframe_bridge::crypto;
use sframe_bridge::{BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Now, TrackId, vp8};
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

#[test]
fn protecting_and_opening_in_place_allocate_nothing() {
    for provider in [
        #[cfg(feature = "aws-lc-rs")]
        &crypto::AWS_LC_RS,
        #[cfg(feature = "rust-crypto")]
        &crypto::RUST_CRYPTO,
    ] {
        for suite in [CipherSuite::Aes128GcmSha256_128, CipherSuite::Aes256GcmSha512_128] {
            let config = CallKeysConfig::new(provider.suite(suite).unwrap());
            let mut alice = CallKeys::new(config);
            let mut bob = CallKeys::new(config);
            let now = Now::from_millis(0);
            let secret = || BaseKey::new(vec![1; suite.key_length()]);
            alice.install_epoch(Epoch::new(1, secret(), 0, vec![0, 1]), now).unwrap();
            bob.install_epoch(Epoch::new(1, secret(), 1, vec![0, 1]), now).unwrap();
            let mut sender = alice.sender(TrackId(1)).unwrap();
            let mut buffer = vec![0; 17 + 1_200 + 16];
            let mut round = |expect_none: bool| {
                let mut range = 0..0;
                let sent = allocations(|| {
                    range = vp8::protect_in_place(&mut sender, &mut buffer, 17..1_217).unwrap();
                });
                let early = allocations(|| {
                    let mut short = [0x1A, 0, 0, 0];
                    let refused = bob.receiver().unprotect_in_place(&mut short, b"m", now);
                    assert!(refused.is_err());
                });
                let opened = allocations(|| {
                    let frame = &mut buffer[range];
                    let opened = vp8::unprotect_in_place(bob.receiver(), frame, now).unwrap();
                    assert_eq!(opened.plain.len(), 1_200);
                });
                if expect_none {
                    assert_eq!((sent, early, opened), (0, 0, 0), "{} {suite:?}", provider.name);
                }
            };
            round(false);
            for _ in 0..100 {
                round(true);
            }
        }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(core::hint::black_box(Box::new(1_u8)))), 1);
}
