//! Plots as SVG.

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use super::{Document, names};

const SIZE: (u32, u32) = (960, 420);
/// Where the legend begins, to the right of the axes.
const LEGEND: u32 = 730;
const COLORS: [RGBColor; 10] = [
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0xbc, 0xbd, 0x22),
    RGBColor(0xe3, 0x77, 0xc2),
];

/// A part of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Frames,
    Groups,
    Rekey,
    Rotation,
}

/// A line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot and what stands above it.
pub(super) struct Plot {
    /// The part of the page where it stands.
    pub(super) part: Part,
    pub(super) title: String,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) lines: Vec<Line>,
    /// Linear axes instead of logarithmic ones.
    pub(super) linear: bool,
}

/// All plots for which the report has figures.
pub(super) fn plots(document: &Document) -> Vec<Plot> {
    let mut plots = Vec::new();
    for operation in ["protect", "unprotect"] {
        plots.push(Plot {
            part: Part::Frames,
            title: format!("{}, AES-128-GCM, one thread", names::what(operation)),
            x: "bytes in a frame",
            y: "GB/s (higher is faster)",
            lines: by_number(document, "frame/aes128gcm/", operation, |size, ns| size / ns),
            linear: false,
        });
    }
    for suite in [2, 1] {
        for operation in ["commit_apply", "receive_merge", "join"] {
            let what = names::what(&format!("suite{suite}/{operation}"));
            plots.push(Plot {
                part: Part::Groups,
                title: what,
                x: "members",
                y: "ms of CPU time (lower is faster)",
                lines: by_number(document, &format!("mls/suite{suite}/n"), operation, |_, ns| {
                    ns / 1e6
                }),
                linear: false,
            });
        }
    }
    for (event, what) in
        [("rekey", "new keys for everybody"), ("message", "a message to everybody")]
    {
        for (kind, y, value) in [
            (
                "CPU time",
                "ms of CPU time, everybody's",
                &(|row: &crate::rekey::Row| row.cpu_ns / 1e6) as &dyn Fn(&crate::rekey::Row) -> f64,
            ),
            ("bytes on the wire", "bytes sent", &|row| row.bytes_sent),
        ] {
            plots.push(Plot {
                part: Part::Rekey,
                title: format!("{what}: {kind}"),
                x: "members",
                y,
                lines: rekeying(document, event, value),
                linear: false,
            });
        }
    }
    plots.push(Plot {
        part: Part::Rotation,
        title: "from a commit to the switch of the send keys".to_owned(),
        x: "ms after the commit",
        y: "share of all switches",
        lines: latencies(document),
        linear: true,
    });
    plots.retain(|plot| plot.lines.iter().any(|line| line.points.len() > 1));
    plots
}

/// Lines of times named `{prefix}{number}/{operation}/{who}`, by number.
fn by_number(
    document: &Document,
    prefix: &str,
    operation: &str,
    value: impl Fn(f64, f64) -> f64,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (name, time) in &document.times {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let mut parts = rest.split('/');
        let number = parts.next().and_then(|number| number.parse::<f64>().ok());
        let (Some(number), Some(who)) = (number, parts.nth(1)) else { continue };
        if rest.split('/').nth(1) != Some(operation) {
            continue;
        }
        let point = (number, value(number, time.median));
        match lines.iter_mut().find(|line| line.name == who) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: who.to_owned(), points: vec![point] }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    // Ours first, so that they have the first colours.
    lines.sort_by_key(|line| !line.name.starts_with("ours"));
    for line in &mut lines {
        line.name = names::who(&line.name);
    }
    lines
}

fn rekeying(
    document: &Document,
    event: &str,
    value: &dyn Fn(&crate::rekey::Row) -> f64,
) -> Vec<Line> {
    let line = |scheme: &str| {
        let rows = document.rekey.iter().filter(|row| row.scheme == scheme && row.event == event);
        let points = rows.map(|row| (f64::from(row.members), value(row))).collect();
        Line { name: names::who(scheme), points }
    };
    let lines = ["mls", "sender_keys", "pairwise"].map(line);
    lines.into_iter().filter(|line| !line.points.is_empty()).collect()
}

fn latencies(document: &Document) -> Vec<Line> {
    let line = |(name, distribution): (&String, &crate::rotation::Distribution)| Line {
        name: names::what(name),
        points: (0_u8..=100)
            .map(|percent| {
                (distribution.percentile(usize::from(percent)), f64::from(percent) / 100.0)
            })
            .collect(),
    };
    let mut sorted: Vec<_> = document.latency.iter().collect();
    sorted.sort_by_key(|(name, _)| names::order(name));
    sorted.into_iter().map(line).collect()
}

impl Plot {
    /// The plot as an SVG element.
    pub(super) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.draw(&area).map_err(|error| anyhow!("{}: {error}", self.title))?;
            area.present().map_err(|error| anyhow!("{}: {error}", self.title))?;
        }
        Ok(svg)
    }

    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), String> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let range = |values: &mut dyn Iterator<Item = f64>| {
            let usable = values.filter(|value| value.is_finite() && (self.linear || *value > 0.0));
            let bounds = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
            if self.linear { (0.0, bounds.1) } else { decades(bounds.0 * 0.8, bounds.1 * 1.25) }
        };
        let (x, y) = (range(&mut points().map(|it| it.0)), range(&mut points().map(|it| it.1)));
        let failed = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
        area.fill(&WHITE).map_err(failed)?;
        let (chart, legend) = area.split_horizontally(LEGEND);
        let mut builder = ChartBuilder::on(&chart);
        builder.margin(12).x_label_area_size(42).y_label_area_size(64);
        builder.caption(&self.title, ("sans-serif", 18));
        macro_rules! finish {
            ($chart:expr) => {{
                let mut chart = $chart.map_err(failed)?;
                chart
                    .configure_mesh()
                    .x_desc(self.x)
                    .y_desc(self.y)
                    // Few enough that a logarithmic axis has one for each power of ten.
                    .x_labels(8)
                    .y_labels(8)
                    .axis_desc_style(("sans-serif", 14))
                    .label_style(("sans-serif", 13))
                    .x_label_formatter(&|value| label(*value))
                    .y_label_formatter(&|value| label(*value))
                    .draw()
                    .map_err(failed)?;
                for (line, color) in self.lines.iter().zip(COLORS.iter().cycle()) {
                    let points = line.points.iter().copied();
                    chart
                        .draw_series(LineSeries::new(points, color.stroke_width(2)))
                        .map_err(failed)?;
                    if !self.linear {
                        let dots = line.points.iter().map(|it| Circle::new(*it, 3, color.filled()));
                        chart.draw_series(dots).map_err(failed)?;
                    }
                }
            }};
        }
        let entries = self.lines.iter().zip(COLORS.iter().cycle());
        for ((line, color), y) in entries.zip((60..).step_by(22)) {
            let stroke = PathElement::new([(4, y), (26, y)], color.stroke_width(3));
            legend.draw(&stroke).map_err(failed)?;
            let name = Text::new(line.name.clone(), (34, y - 6), ("sans-serif", 13));
            legend.draw(&name).map_err(failed)?;
        }
        if self.linear {
            finish!(builder.build_cartesian_2d(x.0..x.1, y.0..y.1));
        } else {
            finish!(builder.build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale()));
        }
        Ok(())
    }
}

/// A range in which at least two powers of ten lie, so that a logarithmic axis can be read.
fn decades(low: f64, high: f64) -> (f64, f64) {
    if low.log10().ceil() < high.log10().floor() {
        return (low, high);
    }
    (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()))
}

/// A number with as few digits as tell it apart on an axis.
fn label(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{}G", value / 1e9),
        size if size >= 1e6 => format!("{}M", value / 1e6),
        size if size >= 1e3 => format!("{}k", value / 1e3),
        size if size >= 1.0 => format!("{}", (value * 10.0).round() / 10.0),
        _ => format!("{}", (value * 1e4).round() / 1e4),
    }
}
