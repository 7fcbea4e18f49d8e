//! Memory that the process holds, C libraries included.

/// Bytes that the C allocator has given out and not got back; `None` where it cannot tell.
#[must_use]
pub fn held() -> Option<u64> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes nothing and returns a plain struct.
        let info = unsafe { libc::mallinfo2() };
        u64::try_from(info.uordblks + info.hblkhd).ok()
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

/// Bytes that stay held after `work` as long as its result lives; `None` where that cannot be told.
pub fn held_by<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    let before = held();
    let value = work();
    let growth = before.zip(held()).map(|(before, after)| after.saturating_sub(before));
    (value, growth)
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::held_by;

    #[test]
    fn what_is_kept_is_held() {
        // So much that the other tests of the process, which allocate at the same time, do not matter.
        const KEPT: u64 = 64 << 20;
        let (kept, held) = held_by(|| {
            drop(std::hint::black_box(vec![1_u8; 3 * KEPT as usize]));
            vec![1_u8; KEPT as usize]
        });
        let held = held.unwrap();
        assert!((KEPT / 2..2 * KEPT).contains(&held), "{held} for {}", kept.len());
    }
}
