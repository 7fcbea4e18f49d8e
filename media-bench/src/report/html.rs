//! report.html: one file, nothing fetched.

use std::fmt::Write;

use anyhow::Result;

use super::{Document, plots};
use crate::measure::Unit;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0;font-size:14px}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}\
td+td,th+th{text-align:right;font-variant-numeric:tabular-nums}.slower{color:#b00020}.about td+td{text-align:left}\
svg{max-width:100%;height:auto}details{margin:1em 0}summary{cursor:pointer;font-weight:600}";

/// The report as a page.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn html(document: &Document) -> Result<String> {
    let mut page = String::new();
    write!(
        page,
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
        <title>Framelock beside its peers</title><style>{STYLE}</style><h1>Framelock beside its peers</h1>"
    )?;
    about(&mut page, document)?;
    for note in &document.notes {
        write!(page, "<p class=slower>{}</p>", escaped(note))?;
    }
    write!(
        page,
        "<h2>Ratios</h2><p>How many times faster this project is. Below 1 the peer is faster. Medians of the same \
        run, taken in turns.</p>"
    )?;
    grid(
        &mut page,
        document.ratios.iter().map(|(name, ratio)| (name.as_str(), *ratio)),
        |ratio| {
            let class = if ratio < 1.0 { " class=slower" } else { "" };
            format!("<td{class}>{ratio:.2}</td>")
        },
    )?;
    if !document.overhead_ns.is_empty() {
        write!(page, "<h2>Nanoseconds beyond the bare cipher</h2>")?;
        let overheads = document.overhead_ns.iter().map(|(name, ns)| (name.as_str(), *ns));
        grid(&mut page, overheads, |ns| format!("<td>{ns:.0}</td>"))?;
    }
    for plot in plots::plots(document) {
        write!(page, "<p>{}</p>", plot.svg()?)?;
    }
    rekey(&mut page, document)?;
    latency(&mut page, document)?;
    write!(page, "<h2>Absolute figures</h2><p>They belong to this machine and this moment.</p>")?;
    times(&mut page, document)?;
    write!(page, "<details><summary>Bytes and allocations</summary>")?;
    let counts = document.counts.iter().map(|(name, count)| (name.as_str(), *count));
    grid(&mut page, counts, |count| format!("<td>{count:.0}</td>"))?;
    write!(page, "</details></html>")?;
    Ok(page)
}

fn about(page: &mut String, document: &Document) -> Result<()> {
    let about = &document.about;
    write!(page, "<table class=about>")?;
    let mut row =
        |name: &str, value: &str| write!(page, "<tr><td>{name}<td>{}</tr>", escaped(value));
    row("date", &about.date)?;
    row("commit", &about.commit)?;
    let extent = if about.quick { "short: rough figures" } else { "full" };
    row("run", &format!("{extent}, {:.0} s", about.seconds))?;
    row("processor", &format!("{}, {} threads", about.cpu, about.threads))?;
    row("with", &about.cpu_features.join(" "))?;
    row(
        "load",
        &format!("{:.1} at the beginning, {:.1} at the end", about.load, about.load_at_end),
    )?;
    row("system", &about.system)?;
    row("compiler", &format!("{}, {}", about.rustc, about.target))?;
    row("flags", &format!("opt-level {} {}", about.opt_level, about.rustflags))?;
    let versions: Vec<_> = about.versions.iter().map(|(name, v)| format!("{name} {v}")).collect();
    row("versions", &versions.join("; "))?;
    write!(page, "</table>")?;
    Ok(())
}

/// Figures named `{row}/{column}` as tables, one for each first part of the name.
fn grid<'a>(
    page: &mut String,
    figures: impl Iterator<Item = (&'a str, f64)>,
    cell: impl Fn(f64) -> String,
) -> Result<()> {
    let split =
        |name: &'a str, value| name.rsplit_once('/').map(|(row, column)| (row, column, value));
    let figures: Vec<_> = figures.filter_map(|(name, value)| split(name, value)).collect();
    let subject = |row: &str| row.split('/').next().unwrap_or_default().to_owned();
    let mut subjects: Vec<_> = figures.iter().map(|(row, ..)| subject(row)).collect();
    subjects.dedup();
    for group in subjects {
        let of_group: Vec<_> = figures.iter().filter(|(row, ..)| subject(row) == group).collect();
        let mut columns: Vec<_> = of_group.iter().map(|(_, column, _)| *column).collect();
        columns.sort_unstable();
        columns.dedup();
        let mut rows: Vec<_> = of_group.iter().map(|(row, ..)| *row).collect();
        rows.dedup();
        write!(page, "<table><tr><th>{}", escaped(&group))?;
        for column in &columns {
            write!(page, "<th>{}", escaped(column))?;
        }
        for row in rows {
            write!(page, "</tr><tr><td>{}", escaped(row))?;
            for column in &columns {
                let found = of_group.iter().find(|(r, c, _)| *r == row && c == column);
                write!(page, "{}", found.map_or("<td>".to_owned(), |(.., value)| cell(*value)))?;
            }
        }
        write!(page, "</tr></table>")?;
    }
    Ok(())
}

fn rekey(page: &mut String, document: &Document) -> Result<()> {
    if document.rekey.is_empty() {
        return Ok(());
    }
    write!(
        page,
        "<h2>New keys for everybody, and a message to everybody</h2><p>X25519 and AES-128-GCM in all three ways. What was \
        carried out, and what is that multiplied, stands in the last column.</p><table><tr><th>way<th>event<th>members\
        <th>operations<th>bytes sent<th>bytes received<th>CPU ms, all<th>CPU ms, busiest<th>carried out</tr>"
    )?;
    for row in &document.rekey {
        write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{:.0}<td>{:.0}<td>{:.0}<td>{:.3}<td>{:.3}<td>{}</tr>",
            row.scheme,
            row.event,
            row.members,
            row.operations,
            row.bytes_sent,
            row.bytes_received,
            row.cpu_ns / 1e6,
            row.cpu_ns_busiest / 1e6,
            escaped(&row.measured)
        )?;
    }
    write!(page, "</table>")?;
    Ok(())
}

fn latency(page: &mut String, document: &Document) -> Result<()> {
    if document.latency.is_empty() {
        return Ok(());
    }
    write!(
        page,
        "<h2>From a commit to the switch</h2><p>Virtual time: members 5 to 60 ms from the delivery service, 2 % loss with \
        retransmission after 200 ms. Milliseconds.</p><table><tr><th>rotation<th>p50<th>p90<th>p99<th>max<th>switches</tr>"
    )?;
    for (name, it) in &document.latency {
        let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| it.percentile(percent));
        let samples = it.samples;
        write!(
            page,
            "<tr><td>{}<td>{p50:.0}<td>{p90:.0}<td>{p99:.0}<td>{max:.0}<td>{samples}</tr>",
            escaped(name)
        )?;
    }
    write!(page, "</table>")?;
    Ok(())
}

fn times(page: &mut String, document: &Document) -> Result<()> {
    write!(
        page,
        "<details><summary>Times in microseconds</summary><table><tr><th>what<th>median<th>quartiles<th>samples<th>of</tr>"
    )?;
    for (name, time) in &document.times {
        let unit = match time.unit {
            Unit::CpuNs => "CPU time",
            Unit::WallNs => "wall time",
        };
        write!(
            page,
            "<tr><td>{}<td>{:.3}<td>{:.3} to {:.3}<td>{}<td>{unit}</tr>",
            escaped(name),
            time.median / 1e3,
            time.low / 1e3,
            time.high / 1e3,
            time.samples
        )?;
    }
    write!(page, "</table></details>")?;
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
