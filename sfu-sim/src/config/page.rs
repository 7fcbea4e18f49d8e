//! The page that the server serves to people.

use std::path::PathBuf;

use serde::Deserialize;

/// The page that the server serves to people.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageConfig {
    /// The directory with the built page; none serves no page.
    pub directory: Option<PathBuf>,
    /// Whether everybody who reaches the server gets a token for any room.
    pub guests: bool,
    /// How long a guest's token is good, in hours.
    pub guest_hours: u64,
}

impl Default for PageConfig {
    fn default() -> Self {
        Self { directory: None, guests: false, guest_hours: 12 }
    }
}
