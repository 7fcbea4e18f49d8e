//! A simulation's outcome on the terminal.

use std::{fmt::Write, time::Duration};

use super::report::{Percentiles, Report};

/// The outcome in some lines; `took` is the time that the run took, which is no part of the report.
pub fn summary(report: &Report, took: Duration) -> String {
    let mut text = format!(
        "{}, seed {}: {} members, {} changes, {} epochs in {} s; played in {:.1} s{}\n",
        report.scenario,
        report.seed,
        report.members,
        report.roster_changes,
        report.epochs,
        report.duration_s,
        took.as_secs_f64(),
        peak_memory().map(|bytes| format!(", {} MiB", bytes >> 20)).unwrap_or_default(),
    );
    for (name, of) in [
        ("rotation", &report.rotation_ms),
        ("exposure", &report.exposure_ms),
        ("after join", &report.rotation_after_join_ms),
        ("ready", &report.receivers_ready_ms),
        ("first frame", &report.join_to_first_frame_ms),
        ("key wait", &report.key_wait_ms),
    ] {
        let Percentiles { p50, p99, max, count, .. } = of;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<12} {p50:>8.1} {p99:>8.1} {max:>8.1} ms  ({count})");
    }
    let frames = &report.frames;
    let _ = writeln!(
        text,
        "  frames       {} sent, {} lost, {} no key, {} other, {} waited, {} really opened",
        frames.sent,
        frames.lost_in_transport,
        frames.undecryptable_no_key,
        frames.undecryptable_other,
        frames.waited,
        frames.really_opened,
    );
    let _ = writeln!(
        text,
        "  keys         {:.1} kbit/s, {:.0} ms CPU a minute, {} lost races, {} resyncs",
        report.key_traffic_kbit_s_per_member,
        report.cpu_ms_per_member_minute,
        report.commits_lost_in_races,
        report.resyncs,
    );
    let _ = writeln!(text, "  told         {:?}", report.told_bytes_per_member_minute);
    if !report.noticed.is_empty() {
        let _ = writeln!(text, "  noticed      {:?}", report.noticed);
    }
    for target in &report.targets {
        let verdict = if target.met { "met" } else { "MISSED" };
        let _ =
            writeln!(text, "  {:<28} {} of {}: {verdict}", target.name, target.value, target.limit);
    }
    let _ = write!(
        text,
        "  converged: {}, after leave opened: {} (late senders: {}), targets met: {}",
        report.converged,
        report.after_leave_opened,
        report.after_leave_opened_of_late,
        report.targets_met
    );
    text
}

/// The most memory that this process has held.
fn peak_memory() -> Option<u64> {
    let status = procfs::process::Process::myself().ok()?.status().ok()?;
    status.vmhwm.map(|kib| kib << 10)
}
