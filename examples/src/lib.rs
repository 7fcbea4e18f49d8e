//! A webrtc-rs client whose media is encrypted end to end, and the scenario runner that proves it.

pub mod client;
pub mod media;
pub mod scenario;
pub mod view;

/// The front page's code runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct FrontPage;
