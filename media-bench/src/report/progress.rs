//! The progress bar.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells how far a run is, in terms of the time that its steps are expected to take.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar on standard error for work of this length.
    #[must_use]
    pub fn new(expected: Duration) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(4);
        let bar = ProgressBar::with_draw_target(Some(ticks(expected)), target);
        let style = "{bar:30} {percent:>3} %  {elapsed_precise} gone, about {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// A bar that nobody sees.
    #[must_use]
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Names the step that begins.
    pub fn begin(&self, step: &str) {
        self.0.set_message(step.to_owned());
        self.0.tick();
    }

    /// A step of this expected length is done.
    pub fn done(&self, expected: Duration) {
        self.0.inc(ticks(expected));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
