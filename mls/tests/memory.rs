//! Decoding holds a bounded multiple of its input in memory, whatever the input claims; a member of a large group holds
//! little for each other member, and processing a commit takes few allocations.
//!
//! Allocations of AWS-LC do not pass through Rust's allocator and are not in these numbers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use mls::{
    AcceptAnyCredential, PublicGroup, PublicGroupOptions, UnixTime,
    codec::{Decode, Encode, MEMORY_PER_BYTE, write_varint},
    crypto,
    tree::RatchetTree,
    wire::{
        AuthenticatedContent, Capabilities, CipherSuite, Commit, Credential, Extensions,
        ExternalSenders, GroupContext, GroupInfo, GroupSecrets, KeyPackage, LeafNode, MlsMessage,
        Node, ParentNode, Proposal, ReInit, RequiredCapabilities, UpdatePath, Welcome,
    },
};

#[path = "support/full_tree.rs"]
mod full_tree;
mod support;

struct Measuring;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn change(by: isize) {
    if by > 0 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    }
    let _ = HELD.try_with(|held| {
        held.set(held.get() + by);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

// SAFETY: every call is passed on to the system's allocator unchanged.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(signed(layout.size()));
        // SAFETY: the caller answers for `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        change(-signed(layout.size()));
        // SAFETY: the caller answers for `pointer` and `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist at the same time.
        change(signed(size));
        change(-signed(layout.size()));
        // SAFETY: the caller answers for `pointer`, `layout` and `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// The most bytes that were held at any moment of the work, beyond those held before.
fn peak(work: impl FnOnce()) -> usize {
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    work();
    usize::try_from(PEAK.with(Cell::get) - before).unwrap()
}

/// The number of allocations that the work makes, and by how much it changes the bytes held.
fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize, isize) {
    let (count, held) = (ALLOCATIONS.with(Cell::get), HELD.with(Cell::get));
    let done = work();
    (done, ALLOCATIONS.with(Cell::get) - count, HELD.with(Cell::get) - held)
}

/// Space for the value itself and for small allocations that do not grow with the input.
const BASE: usize = 4096;

fn repeated(item: &[u8], around: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    // One more than a power of two: the vector that holds the items has just doubled.
    let items = item.repeat((1 << 14) + 1);
    let mut vector = Vec::new();
    write_varint(items.len(), &mut vector);
    vector.extend_from_slice(&items);
    around(vector)
}

fn concat(before: &'static [u8], after: &'static [u8]) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |vector| [before, vector.as_slice(), after].concat()
}

/// Decodes and gives how many bytes were held at most for each byte of input.
fn measure<T: Decode>(name: &str, bytes: &[u8]) -> usize {
    let held = peak(|| drop(std::hint::black_box(T::from_bytes(bytes))));
    let per_byte = held.saturating_sub(BASE).div_ceil(bytes.len());
    println!("{name}: {} bytes, {held} held, {per_byte} for each", bytes.len());
    assert!(per_byte <= MEMORY_PER_BYTE, "{name}: {per_byte} bytes for each byte of input");
    per_byte
}

#[test]
fn vectors_of_the_smallest_items_there_are() {
    let mut most = 0;
    let mut take = |per_byte: usize| most = most.max(per_byte);
    // What each item is in its shortest form, valid or not.
    take(measure::<Commit>("references", &repeated(&[2, 0], concat(&[], &[0]))));
    take(measure::<Commit>("removes", &repeated(&[1, 0, 3, 0, 0, 0, 0], concat(&[], &[0]))));
    let init = [1, 0, 6, 0];
    take(measure::<Commit>("external inits", &repeated(&init, concat(&[], &[0]))));
    let psk = [1, 0, 4, 1, 0, 0];
    take(measure::<Commit>("psks", &repeated(&psk, concat(&[], &[0]))));
    let extensions = [1, 0, 7, 0];
    take(measure::<Commit>("group context extensions", &repeated(&extensions, concat(&[], &[0]))));
    let unknown = [1, 0xff, 0xff, 0];
    take(measure::<Commit>("proposals of unknown types", &repeated(&unknown, concat(&[], &[0]))));
    let leaf: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0];
    let update = [&[1, 0, 2][..], leaf].concat();
    take(measure::<Commit>("updates", &repeated(&update, concat(&[], &[0]))));
    let add = [&[1, 0, 1, 0, 0, 0, 0, 0][..], leaf, &[0, 0]].concat();
    take(measure::<Commit>("adds", &repeated(&add, concat(&[], &[0]))));
    let path = |nodes: Vec<u8>| [leaf, &nodes].concat();
    take(measure::<UpdatePath>("path nodes", &repeated(&[0, 0], path)));
    take(measure::<Welcome>("joiners", &repeated(&[0, 0, 0], concat(&[0, 1], &[0]))));
    take(measure::<GroupSecrets>("psks in a welcome", &repeated(&[1, 0, 0], concat(&[0, 0], &[]))));
    take(measure::<Credential>("certificates", &repeated(&[0], concat(&[0, 2], &[]))));
    take(measure::<ExternalSenders>(
        "external senders",
        &repeated(&[0, 0, 1, 0], concat(&[], &[])),
    ));
    take(measure::<Extensions>("extensions", &repeated(&[0, 9, 0], concat(&[], &[]))));
    take(measure::<ParentNode>("unmerged leaves", &repeated(&[0; 4], concat(&[0, 0], &[]))));
    take(measure::<Capabilities>("versions", &repeated(&[0, 1], concat(&[], &[0; 4]))));
    take(measure::<Vec<Option<Node>>>("blank nodes", &repeated(&[0], concat(&[], &[]))));
    let parent = [1, 2, 0, 0, 0];
    take(measure::<Vec<Option<Node>>>("parents", &repeated(&parent, concat(&[], &[]))));
    let leaf = [&[1, 1][..], leaf].concat();
    take(measure::<Vec<Option<Node>>>("leaves", &repeated(&leaf, concat(&[], &[]))));
    println!("at most {most} bytes for each byte of input");
    assert!(most > MEMORY_PER_BYTE / 2, "the stated bound is far from what is needed");
}

#[test]
fn lengths_that_claim_more_than_there_is() {
    for claim in [0x3fff_ffff_usize, 1 << 20, 100_000] {
        let mut bytes = Vec::new();
        write_varint(claim, &mut bytes);
        bytes.extend_from_slice(&[0; 64]);
        for start in 0..32 {
            let bytes = [&[0; 32][..start], &bytes].concat();
            let held = peak(|| {
                let _ = MlsMessage::from_bytes(&bytes);
                let _ = LeafNode::from_bytes(&bytes);
                let _ = KeyPackage::from_bytes(&bytes);
                let _ = GroupInfo::from_bytes(&bytes);
                let _ = GroupContext::from_bytes(&bytes);
                let _ = Proposal::from_bytes(&bytes);
                let _ = ReInit::from_bytes(&bytes);
                let _ = RequiredCapabilities::from_bytes(&bytes);
                let _ = AuthenticatedContent::from_bytes(&bytes);
            });
            assert!(held < BASE + bytes.len() * MEMORY_PER_BYTE, "{claim} at {start}: {held}");
        }
    }
}

#[test]
fn a_ratchet_tree_holds_what_its_documentation_says() {
    let suite = support::suite();
    // Blanks up to the last leaf, which has just made the tree double.
    let leaf: &[u8] = &[1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0];
    let nodes = [&[0; 1 << 15][..], leaf].concat().to_bytes();
    let held = peak(|| drop(std::hint::black_box(RatchetTree::from_bytes(suite, &nodes).unwrap())));
    println!("a tree of blanks: {} bytes, {held} held", nodes.len());
    assert!(held < BASE + 200 * nodes.len(), "{held} for {}", nodes.len());
    // A message that carries it holds no more.
    let options = PublicGroupOptions::new(AcceptAnyCredential);
    let held = peak(|| {
        drop(PublicGroup::new(suite, &nodes, Some(&nodes), options, UnixTime(0)));
    });
    assert!(held < BASE + 200 * nodes.len(), "{held} for {}", nodes.len());
}

#[test]
fn a_member_of_a_large_group_holds_little_for_each_other() {
    for (suite, members) in [(1, 1000), (2, 1000), (1, 10_000)] {
        let seed = u64::from(members);
        println!("seed {seed}");
        let suite = crypto::default_provider().suite(CipherSuite(suite)).unwrap();
        let invitation = full_tree::invite(members, suite, &mut support::rng(seed));
        let (group, _, held) = allocations(|| invitation.join(1));
        let each = usize::try_from(held).unwrap() / group.member_count() as usize;
        println!("suite {:?}, {members} members: {held} bytes, {each} for each", suite.id);
        assert!(each < 1000, "{each} bytes for each of {members} members");
    }
}

#[test]
fn receiving_a_commit_in_a_large_group_takes_few_allocations() {
    for suite in [1, 2] {
        println!("seed {suite}");
        let rng = &mut support::rng(suite.into());
        let suite = crypto::default_provider().suite(CipherSuite(suite)).unwrap();
        let mut ends = full_tree::ends(1000, suite, rng);
        // Epochs that are kept for late messages fill up first.
        for _ in 0..8 {
            full_tree::rotate(&mut ends.first, &mut ends.last, rng);
        }
        let pending = ends.first.commit().build(rng, support::NOW).unwrap();
        let commit = pending.commit().to_vec();
        let ((), received, held) = allocations(|| support::merge(&mut ends.last, &commit));
        let (_, applied, _) = allocations(|| ends.first.confirm(pending).unwrap());
        println!("suite {:?}: {received} allocations to receive, {applied} to apply", suite.id);
        // Some 20 of them are the blocks in which secrets lie by themselves, so that no copy of them stays behind.
        assert!(received < 220, "{received} allocations");
        assert!(held.unsigned_abs() < 4096, "{held} bytes more are held after a commit");
    }
}
