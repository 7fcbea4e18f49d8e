//! How much memory a target holds, counted by the allocator of the program.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Values of a fixed size, error values, and what the libraries allocate once.
const BASE: usize = 16 * 1024;

/// Counts what is held on each thread.
pub struct Counting;

fn grow(by: usize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get().wrapping_add(by));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn shrink(by: usize) {
    // What another thread has allocated may be freed here.
    let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(by)));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller answers for `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller answers for `pointer` and `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist at the same time.
        grow(size);
        shrink(layout.size());
        // SAFETY: the caller answers for `pointer`, `layout` and `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Begins a measurement: what is held at this moment.
pub fn mark() -> usize {
    let held = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(held));
    held
}

/// Since [`mark`] at most `per_byte` bytes were held for each byte of input.
pub fn check(start: usize, input: usize, per_byte: usize) {
    let held = PEAK.with(Cell::get).saturating_sub(start);
    assert!(held <= BASE + input * per_byte, "{held} bytes held for {input} bytes of input");
}
