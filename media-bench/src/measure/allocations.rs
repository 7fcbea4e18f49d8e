//! Counts allocations, those of C libraries included.
//!
//! Rust's allocator and C code meet in `malloc`. On glibc, symbols of the program take precedence over
//! those of the library, and the library's own remain reachable as `__libc_malloc` and so on: the
//! functions here count and pass on. `free` stays glibc's.

/// Calls of `malloc`, `calloc`, `realloc` and the aligned forms by this thread so far.
#[must_use]
pub fn count() -> u64 {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    return counting::count();
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    return 0;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod counting {
    use std::{
        cell::Cell,
        ffi::{c_int, c_void},
    };

    thread_local! {
        // Neither lazy nor dropped: touching it never allocates.
        static CALLS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count() -> u64 {
        CALLS.with(Cell::get)
    }

    fn called() {
        let _ = CALLS.try_with(|calls| calls.set(calls.get().wrapping_add(1)));
    }

    unsafe extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(items: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
        fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    }

    /// # Safety
    /// As C's `malloc`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
        called();
        // SAFETY: passed on unchanged.
        unsafe { __libc_malloc(size) }
    }

    /// # Safety
    /// As C's `calloc`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn calloc(items: usize, size: usize) -> *mut c_void {
        called();
        // SAFETY: passed on unchanged.
        unsafe { __libc_calloc(items, size) }
    }

    /// # Safety
    /// As C's `realloc`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        called();
        // SAFETY: passed on unchanged.
        unsafe { __libc_realloc(block, size) }
    }

    /// # Safety
    /// As POSIX's `posix_memalign`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn posix_memalign(
        block: *mut *mut c_void,
        alignment: usize,
        size: usize,
    ) -> c_int {
        called();
        // SAFETY: passed on unchanged; `block` is the caller's to answer for.
        unsafe {
            let found = __libc_memalign(alignment, size);
            if found.is_null() {
                return libc::ENOMEM;
            }
            *block = found;
        }
        0
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::hint::black_box;

    use super::count;

    #[test]
    fn rust_and_c_are_counted() {
        let before = count();
        drop(black_box(Box::new([0_u8; 100])));
        assert_eq!(count() - before, 1);
        // SAFETY: a block is obtained and given back.
        unsafe { libc::free(black_box(libc::malloc(100))) };
        assert_eq!(count() - before, 2);
    }

    #[test]
    fn the_cryptography_in_c_is_counted() {
        let before = count();
        let key = aws_lc_rs::agreement::PrivateKey::generate(&aws_lc_rs::agreement::ECDH_P256);
        let found = count() - before;
        drop(key);
        assert!(found > 0);
    }
}
