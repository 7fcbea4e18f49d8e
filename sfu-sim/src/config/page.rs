//! The page that the server serves to people.

use std::path::PathBuf;

use serde::Deserialize;

use crate::delivery::Rate;

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
    /// What guests of one address (of one /64 network with IPv6) may ask for.
    pub guests_per_address: Rate,
    /// What all guests together may ask for.
    pub guests_overall: Rate,
}

impl Default for PageConfig {
    fn default() -> Self {
        Self {
            directory: None,
            guests: false,
            guest_hours: 12,
            guests_per_address: Rate { burst: 30, per_second: 0.5 },
            guests_overall: Rate { burst: 200, per_second: 20.0 },
        }
    }
}
