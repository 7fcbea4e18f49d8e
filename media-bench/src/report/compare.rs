//! Two reports beside each other.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::Document;

/// What became slower from one report to the next, and what cannot be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The figures that are worse by more than the threshold, the worst first.
    pub slower: Vec<Slower>,
    /// Names that only the older report has.
    pub missing: Vec<String>,
    /// How many figures both reports have.
    pub compared: usize,
}

/// A figure that became worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Slower {
    /// Its name.
    pub name: String,
    /// In the older report.
    pub old: f64,
    /// In the newer one.
    pub new: f64,
    /// By how much of itself it is worse: 0.1 for a tenth.
    pub by: f64,
}

impl Comparison {
    /// Compares ratios, overheads and counts. Absolute times depend on the machine and its load; they are compared when `times`
    /// says so, and only this project's own.
    ///
    /// Ratios are worse when they fall, everything else when it grows.
    #[must_use]
    pub fn new(old: &Document, new: &Document, threshold: f64, times: bool) -> Self {
        let mut comparison = Self::default();
        let mut compare = |name: &str, old: f64, new: Option<f64>, falls: bool| {
            let Some(new) = new else {
                comparison.missing.push(name.to_owned());
                return;
            };
            comparison.compared += 1;
            let by = if falls { old / new - 1.0 } else { new / old - 1.0 };
            if by > threshold {
                comparison.slower.push(Slower { name: name.to_owned(), old, new, by });
            }
        };
        for (name, ratio) in &old.ratios {
            compare(name, *ratio, new.ratios.get(name).copied(), true);
        }
        for (name, overhead) in &old.overhead_ns {
            compare(name, *overhead, new.overhead_ns.get(name).copied(), false);
        }
        for (name, count) in old.counts.iter().filter(|(name, _)| is_ours(name)) {
            compare(name, *count, new.counts.get(name).copied(), false);
        }
        if times {
            for (name, time) in old.times.iter().filter(|(name, _)| is_ours(name)) {
                compare(name, time.median, new.times.get(name).map(|time| time.median), false);
            }
        }
        comparison.slower.sort_by(|a, b| b.by.total_cmp(&a.by));
        comparison
    }

    /// As text.
    #[must_use]
    pub fn show(&self) -> String {
        let mut shown = String::new();
        if !self.slower.is_empty() {
            let mut table = Table::new();
            table.load_preset(UTF8_FULL_CONDENSED).set_header(["slower", "old", "new", "by"]);
            for Slower { name, old, new, by } in &self.slower {
                table.add_row([
                    name.clone(),
                    format!("{old:.2}"),
                    format!("{new:.2}"),
                    format!("{:.0} %", by * 100.0),
                ]);
            }
            for column in table.column_iter_mut().skip(1) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            shown.push_str(&format!("{table}\n"));
        }
        if !self.missing.is_empty() {
            shown.push_str(&format!("only in the older report: {}\n", self.missing.join(", ")));
        }
        let Self { slower, compared, .. } = self;
        shown.push_str(&format!("{} of {compared} figures are worse\n", slower.len()));
        shown
    }
}

fn is_ours(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|who| who.starts_with("ours"))
}
