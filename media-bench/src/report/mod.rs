//! The report: sections that measure, the document that they fill, and how it is shown.

mod about;
mod compare;
mod document;
mod frames;
mod groups;
mod html;
mod names;
mod plots;
mod progress;
mod rekey;
mod rotation;
mod run;
mod signatures;
mod summary;

pub use about::About;
pub use compare::{Comparison, Slower};
pub use document::{Document, READABLE_SCHEMA};
pub use html::html;
pub use progress::Progress;
pub use run::{Extent, Section, run};
pub use summary::summary;
