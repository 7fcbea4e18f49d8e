//! Which sections run, and in what order.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use super::{About, Document, Progress, frames, groups, rekey, rotation, signatures};

/// A part of the report that can be made alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Groups: commit, receive, join, export, snapshots, memory.
    Mls,
    /// Frames: protect and unprotect, sign and verify.
    Frames,
    /// New keys for everybody, in three ways.
    Rekey,
    /// From a commit to the switch of the send keys.
    Rotation,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Extent {
    /// As little as shows that it works. The figures mean nothing.
    Tiny,
    /// Under 2 minutes.
    Quick,
    /// Under 15 minutes on two idle cores.
    Full,
}

/// Measures, and writes what it found.
pub(super) type Work<'a> = Box<dyn FnOnce(&mut Document) -> Result<()> + 'a>;

/// One piece of work of a section.
pub(super) struct Step<'a> {
    /// What the progress bar says.
    pub(super) name: String,
    /// About how long it takes.
    pub(super) expected: Duration,
    /// What is done.
    pub(super) work: Work<'a>,
}

/// Runs the sections named; all when none is named.
///
/// # Errors
/// When an implementation refuses what the measurement needs.
pub fn run(extent: Extent, only: &[Section], visible: bool) -> Result<Document> {
    let wanted = |section| only.is_empty() || only.contains(&section);
    let mut document = Document::new(About::gather(extent != Extent::Full));
    let mut steps = Vec::new();
    if wanted(Section::Mls) {
        steps.extend(groups::steps(extent));
    }
    if wanted(Section::Frames) {
        steps.extend(frames::steps(extent));
        steps.extend(signatures::steps(extent));
    }
    if wanted(Section::Rekey) {
        steps.extend(rekey::steps(extent));
    }
    if wanted(Section::Rotation) {
        steps.extend(rotation::steps(extent));
    }
    let start = Instant::now();
    let expected = steps.iter().map(|step| step.expected).sum();
    let progress = if visible { Progress::new(expected) } else { Progress::hidden() };
    for step in steps {
        progress.begin(&step.name);
        (step.work)(&mut document)?;
        progress.done(step.expected);
    }
    progress.finish();
    document.about.finish(start.elapsed().as_secs_f64());
    Ok(document)
}
