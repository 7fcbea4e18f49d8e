//! report.json.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::About;
use crate::{
    measure::{Figure, Samples, Unit},
    rekey::Row,
    rotation::Distribution,
};

/// The version of the format that this program writes and reads.
pub const READABLE_SCHEMA: u32 = 1;

/// The content of report.json. All names are paths like `mls/suite2/n1000/commit_apply/vs_openmls`: subject, parameters,
/// operation, and last who is meant. They stay the same from one version to the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// Version of the format.
    pub schema: u32,
    /// Machine, build and versions.
    pub about: About,
    /// How many times faster this project is than a peer. Larger than 1: faster.
    pub ratios: BTreeMap<String, f64>,
    /// Nanoseconds that protecting or opening a frame takes beyond the cipher alone.
    pub overhead_ns: BTreeMap<String, f64>,
    /// Absolute times.
    pub times: BTreeMap<String, Figure>,
    /// Bytes and numbers of things.
    pub counts: BTreeMap<String, f64>,
    /// What new keys for everybody and a message to everybody cost in three ways, by group size.
    pub rekey: Vec<Row>,
    /// From a commit to the switch of the send keys.
    pub latency: BTreeMap<String, Distribution>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
}

impl Document {
    /// A document without figures.
    #[must_use]
    pub fn new(about: About) -> Self {
        Self {
            schema: READABLE_SCHEMA,
            about,
            ratios: BTreeMap::new(),
            overhead_ns: BTreeMap::new(),
            times: BTreeMap::new(),
            counts: BTreeMap::new(),
            rekey: Vec::new(),
            latency: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Says something that a reader must know.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Keeps the figure of these samples; without samples, nothing.
    pub fn time(&mut self, name: String, samples: &Samples, unit: Unit) {
        if let Some(figure) = samples.figure(unit) {
            self.times.insert(name, figure);
        }
    }

    /// Keeps how many times larger the median of `theirs` is than that of `ours`, both names of times. Nothing when one of
    /// them was not measured.
    pub fn ratio(&mut self, name: String, ours: &str, theirs: &str) {
        let median = |name| Some(self.times.get(name)?.median).filter(|median| *median > 0.0);
        if let (Some(ours), Some(theirs)) = (median(ours), median(theirs)) {
            self.ratios.insert(name, theirs / ours);
        }
    }

    /// Reads a report.
    ///
    /// # Errors
    /// When there is none, or it has another schema.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let content: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let schema = content.get("schema").and_then(serde_json::Value::as_u64);
        ensure!(
            schema == Some(u64::from(READABLE_SCHEMA)),
            "{}: expected a report with schema {READABLE_SCHEMA}, found {schema:?}",
            path.display()
        );
        serde_json::from_value(content).with_context(|| format!("{}", path.display()))
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("{}", path.display()))
    }
}
