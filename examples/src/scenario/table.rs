//! The report as a table for people.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::report::{AttemptReport, JOIN_TARGET_MS, Percentiles, Report, SWITCH_TARGET_MS};

/// The whole report: the summary, every removal and join, the pairs, and the verdict in words.
pub fn render(report: &Report) -> String {
    let mut text = format!("{}\n", summary(report));
    if !report.removals.is_empty() {
        text.push_str(&format!("{}\n", removals(report)));
    }
    text.push_str(&format!("{}\n", pairs(report)));
    if report.failures.is_empty() {
        text.push_str("All promises held.\n");
    } else {
        for failure in &report.failures {
            text.push_str(&format!("FAILED: {failure}\n"));
        }
    }
    text
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn summary(report: &Report) -> Table {
    let frames = &report.frames;
    let mut table = table();
    table.set_header(vec![format!("scenario {}", report.scenario), String::new()]);
    let mut row = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    row("duration", format!("{:.1} s", report.duration_s));
    row("participants", report.participants.to_string());
    row("roster changes", report.roster_changes.to_string());
    row("epochs", report.epochs.to_string());
    row("frames sent", frames.sent.to_string());
    row("  received, bit-identical", frames.received.to_string());
    row("  of these waited for the key", waited(report));
    row("  lost in transport", frames.lost_in_transport.to_string());
    row("  undecryptable", frames.undecryptable.to_string());
    for (reason, count) in &frames.undecryptable_by_reason {
        row(&format!("    {reason}"), count.to_string());
    }
    row("  mismatched", frames.mismatched.to_string());
    row("opened after leaving", attempts(&report.after_leave));
    row("opened from before joining", attempts(&report.before_join));
    row("reused counters", report.reused_counters.to_string());
    row("leave to last switch", percentiles(&report.switch_ms, Some(SWITCH_TARGET_MS)));
    row("join to first picture", percentiles(&report.join_to_first_frame_ms, Some(JOIN_TARGET_MS)));
    row("crash until noticed", percentiles(&report.crash_detection_ms, None));
    row("peak memory", format!("{:.0} MiB", report.peak_rss_mb));
    row("processor time", format!("{:.1} s", report.cpu_seconds));
    table
}

fn waited(report: &Report) -> String {
    match report.waited_ms.max {
        Some(longest) => format!("{} (at most {longest:.0} ms)", report.frames.waited),
        None => report.frames.waited.to_string(),
    }
}

fn attempts(report: &AttemptReport) -> String {
    format!("{} ({} attempts on {} frames)", report.opened, report.attempts, report.frames)
}

fn percentiles(values: &Percentiles, target: Option<f64>) -> String {
    let (Some(p50), Some(p99), Some(max)) = (values.p50, values.p99, values.max) else {
        return "nothing to measure".to_owned();
    };
    let verdict = target.map_or(String::new(), |target| {
        let word = if max <= target { "met" } else { "missed" };
        format!(", target {target:.0} ms {word}")
    });
    format!("p50 {p50:.0} ms, p99 {p99:.0} ms, max {max:.0} ms{verdict}")
}

fn removals(report: &Report) -> Table {
    let mut table = table();
    table.set_header(vec!["who", "why", "at", "epoch", "last switch after"]);
    for removal in &report.removals {
        table.add_row(vec![
            removal.who.clone(),
            format!("{:?}", removal.reason).to_lowercase(),
            format!("{:.2} s", removal.at_s),
            removal.epoch.map_or("never".to_owned(), |epoch| epoch.to_string()),
            removal.switch_ms.map_or("never".to_owned(), |ms| format!("{ms:.0} ms")),
        ]);
    }
    right_align(&mut table, 2);
    table
}

fn pairs(report: &Report) -> Table {
    let mut table = table();
    table.set_header(vec![
        "from",
        "to",
        "sent",
        "received",
        "waited",
        "lost",
        "undecryptable",
        "mismatched",
    ]);
    for pair in &report.pairs {
        let frames = &pair.frames;
        let mut cells = vec![pair.from.clone(), pair.to.clone()];
        cells.extend(
            [
                frames.sent,
                frames.received,
                frames.waited,
                frames.lost_in_transport,
                frames.undecryptable,
                frames.mismatched,
            ]
            .map(|count| count.to_string()),
        );
        table.add_row(cells);
    }
    right_align(&mut table, 2);
    table
}

fn right_align(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
