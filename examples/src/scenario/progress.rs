//! Shows how a run goes: a live bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Where progress goes: standard error, so that the report on standard output stays clean.
#[derive(Debug)]
pub enum Progress {
    /// A terminal: a bar that moves and lines that scroll past above it.
    Live(ProgressBar),
    /// Anything else: a line for each thing that happens.
    Plain,
}

impl Progress {
    /// For a run of this length.
    pub fn new(duration: Duration) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Plain;
        }
        let length = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let bar = ProgressBar::new(length);
        // The template is a constant; should it be wrong, the bar looks plain.
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {msg}") {
            bar.set_style(style);
        }
        Self::Live(bar)
    }

    /// Something happened.
    pub fn line(&self, at: Duration, words: &str) {
        let line = format!("{:7.2} s  {words}", at.as_secs_f64());
        match self {
            Self::Live(bar) => bar.println(line),
            Self::Plain => {
                // Nobody may be listening any more, and the run goes on all the same.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }

    /// Time passes.
    pub fn tick(&self, at: Duration, state: &str) {
        if let Self::Live(bar) = self {
            bar.set_position(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!("{:5.1} s  {state}", at.as_secs_f64()));
        }
    }

    /// The run is over.
    pub fn finish(self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}
