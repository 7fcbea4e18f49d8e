//! What a piece of work costs: CPU time of the whole process, wall time, allocations.
//!
//! CPU time is that of all threads, so that a peer which spreads its work is not flattered. It says
//! little about latency; where a claim is about waiting, the wall time is given beside it.

pub mod allocations;
pub mod memory;
mod rounds;
mod statistics;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

pub use rounds::Effort;
pub use statistics::{Figure, Samples, Unit};

/// What one execution cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// CPU time of all threads of the process, in nanoseconds.
    pub cpu: f64,
    /// Wall time in nanoseconds.
    pub wall: f64,
    /// Calls of the C allocator that obtain memory, by this thread; 0 where they cannot be counted.
    pub allocations: u64,
}

/// The value that the work gave, and what it cost.
#[derive(Debug)]
pub struct Measured<T> {
    /// What the work returned. It is dropped outside the measurement.
    pub value: T,
    /// What it cost.
    pub cost: Cost,
}

/// Runs `work` once.
pub fn once<T>(work: impl FnOnce() -> T) -> Measured<T> {
    let allocations = allocations::count();
    let (wall, cpu) = (Instant::now(), cpu_time());
    let value = black_box(work());
    let (cpu, wall) = (cpu_time().saturating_sub(cpu), wall.elapsed());
    let allocations = allocations::count() - allocations;
    Measured { value, cost: Cost { cpu: nanoseconds(cpu), wall: nanoseconds(wall), allocations } }
}

/// The mean cost of one of `times` executions, for work that is too short for the clock.
///
/// # Errors
/// The first error of the work.
pub fn repeated<E>(times: u32, mut work: impl FnMut() -> Result<(), E>) -> Result<Cost, E> {
    let Measured { value, cost } = once(|| (0..times).try_for_each(|_| work()));
    value?;
    let share = f64::from(times.max(1));
    Ok(Cost {
        cpu: cost.cpu / share,
        wall: cost.wall / share,
        allocations: cost.allocations / u64::from(times.max(1)),
    })
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// CPU time that the process has used, user and system, all threads.
#[must_use]
pub fn cpu_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time that this thread has used.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local of the right type, which the call fills.
    let failed = unsafe { libc::clock_gettime(id, &raw mut time) };
    if failed != 0 {
        return Duration::ZERO;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_idling_takes_no_cpu() {
        let busy = once(|| (0..20_000_000_u64).fold(0, |sum, n| black_box(sum ^ n)));
        assert!(busy.cost.cpu > 0.0);
        // The CPU time is that of the whole process, in which other tests run: what counts is that waiting adds none.
        let idle = || once(|| std::thread::sleep(Duration::from_millis(50))).cost;
        assert!((0..100).map(|_| idle()).any(|idle| idle.wall > idle.cpu));
    }
}
