//! What the process used: memory and processor time.

use super::report::Usage;

/// Peak memory and processor time of this process so far. Zeros where the system does not tell.
#[cfg(target_os = "linux")]
pub fn usage() -> Usage {
    read().unwrap_or_else(|error| {
        tracing::warn!(%error, "the system does not tell what the process used");
        Usage::default()
    })
}

#[cfg(target_os = "linux")]
fn read() -> procfs::ProcResult<Usage> {
    let process = procfs::process::Process::myself()?;
    // The kernel counts both in ticks, user and system time apart.
    let stat = process.stat()?;
    let ticks = (stat.utime + stat.stime) as f64;
    Ok(Usage {
        peak_rss_mb: process.status()?.vmhwm.unwrap_or(0) as f64 / 1024.0,
        cpu_seconds: ticks / procfs::ticks_per_second() as f64,
    })
}

/// Peak memory and processor time of this process so far. Zeros where the system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn usage() -> Usage {
    Usage::default()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_process_uses_something() {
        let usage = super::usage();
        assert!(usage.peak_rss_mb > 1.0 && usage.peak_rss_mb < 1e6);
        assert!(usage.cpu_seconds >= 0.0);
    }
}
