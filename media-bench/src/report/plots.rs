//! Plots as SVG.

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use super::Document;

const SIZE: (u32, u32) = (760, 420);
const COLORS: [RGBColor; 8] = [
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0x7f, 0x7f, 0x7f),
];

/// A line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot and what stands above it.
pub(super) struct Plot {
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
            title: format!("{operation}, AES-128-GCM, one thread"),
            x: "bytes in a frame",
            y: "GB/s",
            lines: by_number(document, "frame/aes128gcm/", operation, |size, ns| size / ns),
            linear: false,
        });
    }
    for suite in [2, 1] {
        for (operation, title) in [
            ("commit_apply", "create and apply a commit"),
            ("receive_merge", "receive and merge a commit"),
            ("join", "join by Welcome"),
        ] {
            plots.push(Plot {
                title: format!("{title}, suite {suite}, full tree"),
                x: "members",
                y: "ms of CPU time",
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
        for (y, value) in [
            (
                "ms of CPU time, everybody's",
                &(|row: &crate::rekey::Row| row.cpu_ns / 1e6) as &dyn Fn(&crate::rekey::Row) -> f64,
            ),
            ("bytes sent", &|row| row.bytes_sent),
        ] {
            plots.push(Plot {
                title: what.to_owned(),
                x: "members",
                y,
                lines: rekeying(document, event, value),
                linear: false,
            });
        }
    }
    plots.push(Plot {
        title: "from a commit to the switch of the send keys".to_owned(),
        x: "ms",
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
        Line { name: scheme.to_owned(), points }
    };
    let lines = ["mls", "sender_keys", "pairwise"].map(line);
    lines.into_iter().filter(|line| !line.points.is_empty()).collect()
}

fn latencies(document: &Document) -> Vec<Line> {
    let line = |(name, distribution): (&String, &crate::rotation::Distribution)| Line {
        name: name.trim_start_matches("rotation/").to_owned(),
        points: (0_u8..=100)
            .map(|percent| {
                (distribution.percentile(usize::from(percent)), f64::from(percent) / 100.0)
            })
            .collect(),
    };
    document.latency.iter().map(line).collect()
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
            if self.linear { (0.0, bounds.1) } else { (bounds.0 * 0.8, bounds.1 * 1.25) }
        };
        let (x, y) = (range(&mut points().map(|it| it.0)), range(&mut points().map(|it| it.1)));
        let failed = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
        area.fill(&WHITE).map_err(failed)?;
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).x_label_area_size(42).y_label_area_size(64);
        builder.caption(&self.title, ("sans-serif", 18));
        macro_rules! finish {
            ($chart:expr) => {{
                let mut chart = $chart.map_err(failed)?;
                chart
                    .configure_mesh()
                    .x_desc(self.x)
                    .y_desc(self.y)
                    .x_label_formatter(&|value| label(*value))
                    .y_label_formatter(&|value| label(*value))
                    .draw()
                    .map_err(failed)?;
                for (line, color) in self.lines.iter().zip(COLORS.iter().cycle()) {
                    let drawn = chart
                        .draw_series(LineSeries::new(
                            line.points.iter().copied(),
                            color.stroke_width(2),
                        ))
                        .map_err(failed)?;
                    drawn.label(&line.name).legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
                    });
                    if !self.linear {
                        let dots = line.points.iter().map(|it| Circle::new(*it, 3, color.filled()));
                        chart.draw_series(dots).map_err(failed)?;
                    }
                }
                let mut labels = chart.configure_series_labels();
                labels.background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.3));
                labels.position(match self.linear {
                    true => SeriesLabelPosition::LowerRight,
                    false => SeriesLabelPosition::UpperLeft,
                });
                labels.draw().map_err(failed)
            }};
        }
        if self.linear {
            finish!(builder.build_cartesian_2d(x.0..x.1, y.0..y.1))
        } else {
            finish!(builder.build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale()))
        }
    }
}

/// A number with as few digits as tell it apart on an axis.
fn label(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{}G", value / 1e9),
        size if size >= 1e6 => format!("{}M", value / 1e6),
        size if size >= 1e4 => format!("{}k", value / 1e3),
        size if size >= 1.0 => format!("{}", (value * 10.0).round() / 10.0),
        _ => format!("{}", (value * 1e4).round() / 1e4),
    }
}
