//! No block of memory is given back with a secret in it: the allocator of this test looks into every block that is freed
//! for every secret that the key derivation has given and every private key that was made, from the first member of
//! a group to the last.
//!
//! What the C library of a backend allocates, and what remains on the stack, is out of sight here.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

#[path = "support/glass.rs"]
mod glass;
mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::Cell,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use mls::{
    Client, ClientOptions, ExternalJoinOptions, Group, GroupInfoOptions, HandshakeFormat,
    KeyPackageBundle, MemoryPskStore, Processed, SnapshotKey,
    crypto::{Secret, Suite},
    schedule::Psk,
    wire::{LeafIndex, PskSource},
};
use rand::rngs::StdRng;
use support::{NOW, client, group_of, key_package, private_options, propose_to, rng, settle};

/// Room for the beginnings of secrets, in a table that needs no allocation.
const TABLE: usize = 1 << 16;
static SECRETS: [AtomicU64; TABLE] = [const { AtomicU64::new(0) }; TABLE];

/// What is dropped when proposals are, which hold no secret. But a small variant of an enum moves with whatever the stack
/// holds beside it, which may be the remains of a key that a cipher's implementation has left there.
const PUBLIC: [&str; 2] = [
    "drop_in_place<mls::wire::framing::Content>",
    "drop_in_place<mls::group::proposal_cache::ReceivedProposal>",
];

/// Where a secret was first found.
static FOUND: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static WATCHED: Cell<usize> = const { Cell::new(0) };
}

/// Eight bytes identify a secret: that a block holds them by chance does not happen.
fn beginning(bytes: &[u8]) -> Option<u64> {
    let beginning = u64::from_ne_bytes(*bytes.first_chunk()?);
    (beginning != 0).then_some(beginning)
}

fn places(beginning: u64) -> impl Iterator<Item = &'static AtomicU64> {
    let start = beginning.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    let start = usize::try_from(start).unwrap_or(0);
    SECRETS[start..].iter().chain(&SECRETS[..start])
}

fn watch(secret: &[u8]) {
    // Nonces and the like are too short to be secrets of their own.
    let Some(beginning) = beginning(secret).filter(|_| secret.len() >= 16) else { return };
    for place in places(beginning) {
        match place.load(Ordering::Relaxed) {
            0 => {
                place.store(beginning, Ordering::Relaxed);
                WATCHED.set(WATCHED.get() + 1);
                assert!(WATCHED.get() < TABLE / 2, "the table is too small");
                return;
            }
            known if known == beginning => return,
            _ => {}
        }
    }
}

fn is_watched(beginning: u64) -> bool {
    places(beginning)
        .map(|place| place.load(Ordering::Relaxed))
        .take_while(|known| *known != 0)
        .any(|known| known == beginning)
}

fn inspect(block: &[u8]) {
    if !ARMED.try_with(Cell::get).unwrap_or(false) {
        return;
    }
    let found = block.windows(8).position(|window| beginning(window).is_some_and(is_watched));
    if let Some(place) = found {
        // What follows allocates, and frees what it has allocated.
        ARMED.set(false);
        let (size, trace) = (block.len(), Backtrace::force_capture().to_string());
        if !PUBLIC.iter().any(|name| trace.contains(name))
            && let Ok(mut first) = FOUND.lock()
        {
            first.get_or_insert_with(|| {
                format!("a block of {size} bytes was freed with a secret at {place}\n{trace}")
            });
        }
        ARMED.set(true);
    }
}

struct Inspecting;

// SAFETY: every call is passed on to the system's allocator; blocks are read while they still belong to the caller.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Inspecting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller answers for `layout`. A block that begins as zeros has no unwritten bytes to read later.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the block has `layout.size()` bytes, all of them written, and is the caller's until the next line.
        inspect(unsafe { std::slice::from_raw_parts(pointer, layout.size()) });
        // SAFETY: the caller answers for `pointer` and `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    // `realloc` is the trait's own: a block of its own, a copy, and `dealloc` of the old block, which is inspected.
}

#[global_allocator]
static ALLOCATOR: Inspecting = Inspecting;

/// The first secret that was freed while `work` ran.
fn freed_by(work: impl FnOnce()) -> Option<String> {
    *FOUND.lock().unwrap() = None;
    ARMED.set(true);
    work();
    ARMED.set(false);
    FOUND.lock().unwrap().take()
}

fn merge(group: &mut Group, commit: &[u8]) {
    support::merge(group, commit);
}

fn join(client: &Client, welcome: &[u8], bundle: &KeyPackageBundle) -> Group {
    client.join(welcome, [bundle], None, NOW).unwrap().accept()
}

/// A group lives and dies.
fn live(suite: &'static Suite, options: &ClientOptions, rng: &mut StdRng) {
    let mut groups = group_of(6, suite, options, rng);
    for index in 0..groups.len() {
        let early = groups[index].protect(b"early", b"", rng).unwrap();
        let late = groups[index].protect(b"late", b"", rng).unwrap();
        let psk = PskSource::External { psk_id: b"name".to_vec() };
        let pending = groups[index].commit().psk(psk).build(rng, NOW).unwrap();
        for (other, group) in groups.iter_mut().enumerate() {
            if other != index {
                // Out of order, so that skipped keys are kept; and one more copy that is refused.
                assert!(matches!(group.process(&late, NOW), Ok(Processed::Application(_))));
                assert!(group.process(&late, NOW).is_err());
            }
        }
        settle(&mut groups, index, pending);
        for (other, group) in groups.iter_mut().enumerate() {
            if other != index {
                assert!(matches!(group.process(&early, NOW), Ok(Processed::Application(_))));
            }
        }
    }
    let update = groups[1].propose_update(rng).unwrap().message;
    propose_to(&mut groups, &update, 1);
    let newcomer = client("newcomer", suite, options.clone(), rng);
    let bundle = key_package(&newcomer, rng);
    let added = bundle.key_package().clone();
    let removal = LeafIndex(5);
    let builder = groups[0].commit().add(added).remove(removal);
    let pending = builder.build(rng, NOW).unwrap();
    // One that loses the race.
    drop(groups[2].commit().build(rng, NOW).unwrap());
    let welcome = settle(&mut groups, 0, pending).welcome.unwrap();
    assert!(!groups[5].is_active());
    groups.push(join(&newcomer, &welcome, &bundle));

    let key = SnapshotKey::generate(rng);
    let saved = groups[3].save(&key, rng).unwrap();
    groups[3] = groups[3].client().restore(&saved, &key).unwrap();
    drop(groups[3].export("label", b"context", 100).unwrap());
    let kept = bundle.save(&key, suite, rng).unwrap();
    drop(KeyPackageBundle::restore(&kept, &key, suite).unwrap());

    if options.handshake == HandshakeFormat::Public {
        let outsider = client("outsider", suite, options.clone(), rng);
        let info = groups[1].group_info(GroupInfoOptions::default()).unwrap();
        let join = ExternalJoinOptions::default();
        let pending = outsider.join_external(&info, None, join, rng, NOW).unwrap();
        let commit = pending.commit().to_vec();
        for group in groups.iter_mut().filter(|group| group.is_active()) {
            merge(group, &commit);
        }
        groups.push(pending.confirm());
    }
    let pending = groups[3].commit().build(rng, NOW).unwrap();
    settle(&mut groups, 3, pending);
    // A commit that its receiver stages and then drops.
    let pending = groups[0].commit().build(rng, NOW).unwrap();
    drop(groups[1].process(pending.commit(), NOW).unwrap());
}

#[test]
fn secrets_are_overwritten_before_their_memory_is_given_back() {
    // The test can fail: a copy in a plain vector is found, also one that was moved when its vector grew.
    let secret: [u8; 32] = std::array::from_fn(|place| 0x5a ^ u8::try_from(place).unwrap());
    watch(&secret);
    assert!(freed_by(|| drop(std::hint::black_box(secret.to_vec()))).is_some());
    let grown = freed_by(|| {
        let mut vector = vec![secret];
        vector.extend([[0; 32]; 8]);
        std::hint::black_box(&mut vector).iter_mut().for_each(|bytes| *bytes = [0; 32]);
    });
    assert!(grown.is_some());
    assert!(freed_by(|| drop(Box::new(Secret::from_slice(&secret)))).is_none());

    let mut seed = 0;
    for (backend, suite) in support::suites() {
        let suite = glass::glass(suite, Some(watch));
        for handshake in [HandshakeFormat::Public, HandshakeFormat::Private] {
            let store = MemoryPskStore::new();
            store.insert(b"name".to_vec(), Psk::from_slice(&[7; 32]));
            let mut options = private_options();
            options.handshake = handshake;
            options.psks = std::sync::Arc::new(store);
            // Were two groups to draw the same bytes, one might publish what is secret in the other.
            seed += 1;
            let before = WATCHED.get();
            let freed = freed_by(|| live(suite, &options, &mut rng(seed)));
            assert!(WATCHED.get() > before + 300, "only {} secrets", WATCHED.get() - before);
            assert!(freed.is_none(), "{backend} {suite:?} {handshake:?}: {}", freed.unwrap());
        }
    }
}
