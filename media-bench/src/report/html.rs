//! report.html: one file, nothing fetched.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::Result;

use super::{
    Document, names,
    plots::{self, Part},
};
use crate::{frames::STREAMS, measure::Unit};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1250px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0;font-size:14px}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}\
td+td,th+th{text-align:right;font-variant-numeric:tabular-nums}th{vertical-align:bottom}td:first-child{white-space:nowrap}.slower{color:#b00020}\
.about td+td{text-align:left}svg{max-width:100%;height:auto}details{margin:1em 0}summary{cursor:pointer;font-weight:600}";

/// The report as a page.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn html(document: &Document) -> Result<String> {
    let mut page = String::new();
    write!(
        page,
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
        <title>Framelock beside its peers</title><style>{STYLE}</style><h1>Framelock beside its peers</h1>\
        <p>Framelock encrypts conference calls end to end: an MLS group (RFC 9420) agrees on keys, SFrame (RFC 9605) encrypts \
        the media frames. This page holds both parts against other implementations. In one run all of them did the same work \
        in turns on one machine; figures are medians of CPU time. A ratio says how many times faster Framelock is: 2 is twice \
        as fast, and <span class=slower>below 1 the peer is faster</span>. Point at a line to see its name in report.json.</p>"
    )?;
    about(&mut page, document)?;
    for note in &document.notes {
        write!(page, "<p class=slower>{}</p>", escaped(note))?;
    }
    frames(&mut page, document)?;
    groups(&mut page, document)?;
    rekey(&mut page, document)?;
    latency(&mut page, document)?;
    write!(
        page,
        "<h2>Absolute figures</h2><p>They belong to this machine and this moment. The names are those of report.json.</p>"
    )?;
    times(&mut page, document)?;
    write!(page, "<details><summary>Bytes and allocations</summary>")?;
    grid(&mut page, figures(&document.counts, ""), |count| format!("<td>{count:.0}</td>"))?;
    write!(page, "</details></html>")?;
    Ok(page)
}

fn frames(page: &mut String, document: &Document) -> Result<()> {
    let ratios = figures(&document.ratios, "frame/");
    let overheads = figures(&document.overhead_ns, "frame/");
    if !ratios.is_empty() {
        write!(
            page,
            "<h2>Frames beside the sframe crate</h2><p>How many times faster a frame is encrypted or opened than by the \
            <code>sframe</code> crate, for each of the backends that it can be built with.</p>"
        )?;
        grid(page, ratios, ratio_cell)?;
    }
    if !overheads.is_empty() {
        write!(
            page,
            "<h2>Frames beside the bare cipher</h2><p>What a frame costs beyond AES-GCM itself, in nanoseconds: header, key \
            lookup, counter, replay window. The bare cipher has its key ready and its data in the same place.</p>"
        )?;
        grid(page, overheads, |ns| format!("<td>{ns:.0}</td>"))?;
    }
    draw(page, document, Part::Frames)?;
    signatures(page, document)
}

fn signatures(page: &mut String, document: &Document) -> Result<()> {
    let signed = figures(&document.counts, "signatures/");
    let streams: Vec<_> =
        signed.iter().filter(|figure| figure.row.ends_with("/kbit_per_s")).collect();
    if streams.is_empty() {
        return Ok(());
    }
    write!(
        page,
        "<h2>Signatures by the sender</h2><p>Off unless a call asks for them: SFrame proves that a frame comes from the group, a \
        signature by whom in it. Five times a second a sender signs a list of the frames it has sent. The last two columns are \
        CPU time for each second of one stream: at the sender, and at every receiver.</p><table><tr><th>\
        <th>signatures per s<th>kbit/s<th>sign, &micro;s/frame<th>verify, &micro;s/frame<th>sender, ms/s<th>receiver, ms/s\
        </tr>"
    )?;
    for Named { row, column, value: kbit } in streams {
        let place = row.trim_end_matches("/kbit_per_s");
        let stream = STREAMS.iter().find(|known| place.ends_with(known.name));
        let Some(stream) = stream else { continue };
        let time = |operation: &str| {
            let figure = document.times.get(&format!("{place}/{operation}/{column}"));
            figure.map_or(f64::NAN, |figure| figure.median / 1e3)
        };
        let (sign, verify) = (time("sign_frame"), time("verify_frame"));
        let batches = document.counts.get(&format!("{place}/batches_per_s/{column}"));
        let second = |each: f64| each * f64::from(stream.per_second) / 1e3;
        write!(
            page,
            "<tr title='{place}'><td>{}; {}<td>{:.0}<td>{kbit:.1}<td>{sign:.1}<td>{verify:.1}<td>{:.2}<td>{:.2}</tr>",
            names::what(place),
            names::who(column),
            batches.copied().unwrap_or(f64::NAN),
            second(sign),
            second(verify),
        )?;
    }
    write!(page, "</table>")?;
    Ok(())
}

fn groups(page: &mut String, document: &Document) -> Result<()> {
    let ratios = figures(&document.ratios, "mls/");
    if ratios.is_empty() {
        return Ok(());
    }
    write!(
        page,
        "<h2>Groups beside OpenMLS and mls-rs</h2><p>Every join, leave and key rotation is a commit: one member creates it, all \
        others receive it, and who is new joins by a Welcome. How many times faster that is. Framelock is on aws-lc-rs unless \
        the column says RustCrypto. <i>Signature checks alone</i> is what checking every member's signature costs at a join, \
        which nobody can leave out: it stays below 1, and the nearer it comes the less else a join does.</p>"
    )?;
    grid(page, ratios, ratio_cell)?;
    draw(page, document, Part::Groups)
}

fn ratio_cell(ratio: f64) -> String {
    let class = if ratio < 1.0 { " class=slower" } else { "" };
    format!("<td{class}>{ratio:.2}</td>")
}

fn draw(page: &mut String, document: &Document, part: Part) -> Result<()> {
    for plot in plots::plots(document).iter().filter(|plot| plot.part == part) {
        write!(page, "<p>{}</p>", plot.svg()?)?;
    }
    Ok(())
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

/// A figure named `{row}/{column}`.
struct Named<'a> {
    row: &'a str,
    column: &'a str,
    value: f64,
}

/// The figures whose names begin with `prefix`, in the order of their numbers.
fn figures<'a>(figures: &'a BTreeMap<String, f64>, prefix: &str) -> Vec<Named<'a>> {
    let named = |(name, value): (&'a String, &f64)| {
        let (row, column) = name.rsplit_once('/')?;
        Some(Named { row, column, value: *value })
    };
    let wanted = figures.iter().filter(|(name, _)| name.starts_with(prefix));
    let mut found: Vec<_> = wanted.filter_map(named).collect();
    found.sort_by_key(|figure| names::order(figure.row));
    found
}

/// A line for each row, a column for whom it is about.
fn grid(page: &mut String, figures: Vec<Named<'_>>, cell: impl Fn(f64) -> String) -> Result<()> {
    let mut columns: Vec<_> = figures.iter().map(|figure| figure.column).collect();
    // The main comparison first, then the backends one by one.
    columns.sort_unstable_by_key(|column| {
        (column.contains("_vs_") || column.ends_with("_over_raw"), *column)
    });
    columns.dedup();
    let mut rows: Vec<_> = figures.iter().map(|figure| figure.row).collect();
    rows.dedup();
    write!(page, "<table><tr><th>")?;
    for column in &columns {
        write!(page, "<th>{}", escaped(&names::who(column)))?;
    }
    for row in rows {
        write!(page, "</tr><tr title='{}'><td>{}", escaped(row), escaped(&names::what(row)))?;
        for column in &columns {
            let mut found = figures.iter().filter(|it| it.row == row && it.column == *column);
            write!(page, "{}", found.next().map_or("<td>".to_owned(), |it| cell(it.value)))?;
        }
    }
    write!(page, "</tr></table>")?;
    Ok(())
}

fn rekey(page: &mut String, document: &Document) -> Result<()> {
    if document.rekey.is_empty() {
        return Ok(());
    }
    write!(
        page,
        "<h2>New keys for everybody, and a message to everybody</h2><p>What one change of all keys costs a call: with MLS, one \
        commit; with sender keys, as most products do it, everybody sends a new key to everybody else. And what a message \
        costs when it is encrypted once under a shared key, or anew for each receiver. X25519 and AES-128-GCM in all three ways.</p>"
    )?;
    draw(page, document, Part::Rekey)?;
    write!(
        page,
        "<p>What was carried out, and what is that multiplied, stands in the last column.</p><table><tr><th>way<th>event<th>members\
        <th>operations<th>bytes sent<th>bytes received<th>CPU ms, all<th>CPU ms, busiest<th>carried out</tr>"
    )?;
    for row in &document.rekey {
        write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{:.0}<td>{:.0}<td>{:.0}<td>{:.3}<td>{:.3}<td>{}</tr>",
            names::who(&row.scheme),
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
        "<h2>From a commit to the switch</h2><p>How long after a commit a member goes over to sending under the new key. \
        Virtual time: members 5 to 60 ms from the delivery service, 2 % loss with retransmission after 200 ms. Nobody's \
        picture stops meanwhile: the keys before stay valid.</p>"
    )?;
    draw(page, document, Part::Rotation)?;
    write!(
        page,
        "<p>Milliseconds.</p><table><tr><th>rotation<th>p50<th>p90<th>p99<th>max<th>switches</tr>"
    )?;
    let mut sorted: Vec<_> = document.latency.iter().collect();
    sorted.sort_by_key(|(name, _)| names::order(name));
    for (name, it) in sorted {
        let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| it.percentile(percent));
        let samples = it.samples;
        write!(
            page,
            "<tr title='{name}'><td>{}<td>{p50:.0}<td>{p90:.0}<td>{p99:.0}<td>{max:.0}<td>{samples}</tr>",
            escaped(&names::what(name))
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
    let mut sorted: Vec<_> = document.times.iter().collect();
    sorted.sort_by_key(|(name, _)| names::order(name));
    for (name, time) in sorted {
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
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}
