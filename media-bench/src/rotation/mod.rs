//! How long it takes from a commit until everybody sends under the new key.
//!
//! The members' `CallKeys` are the real ones; time and network are not. Commits and acknowledgements go through a delivery
//! service that collects acknowledgements as the real one does by default. Each leg of the way takes the member's own delay
//! and some jitter; a lost message comes again after a retransmission time-out, as over TCP. Computing takes no time here:
//! what a commit costs stands elsewhere in the report, and is small beside any network.

mod world;

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// The network between the members and the delivery service.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The least and the greatest delay of a member, one way.
    pub delay: (Duration, Duration),
    /// The mean of the jitter, which is distributed exponentially.
    pub jitter: Duration,
    /// The probability that a message is lost on one leg.
    pub loss: f64,
    /// When a lost message is sent again.
    pub retransmission: Duration,
}

impl Default for Network {
    /// Participants of one continent, 2 % loss.
    fn default() -> Self {
        Self {
            delay: (Duration::from_millis(5), Duration::from_millis(60)),
            jitter: Duration::from_millis(3),
            loss: 0.02,
            retransmission: Duration::from_millis(200),
        }
    }
}

/// What the commits do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They remove a member.
    Removal,
    /// They add a member.
    Addition,
}

impl Kind {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Removal => "removal",
            Self::Addition => "addition",
        }
    }
}

/// The distribution of a duration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Percentiles 0 to 100, in milliseconds.
    pub percentiles_ms: Vec<f64>,
    /// How many durations there were.
    pub samples: usize,
}

impl Distribution {
    /// `None` without durations.
    #[must_use]
    pub fn of(durations: &[Duration]) -> Option<Self> {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| sorted.get(last * percent / 100).copied().unwrap_or_default();
        let percentiles_ms = (0..=100).map(|percent| at(percent).as_secs_f64() * 1e3).collect();
        Some(Self { percentiles_ms, samples: sorted.len() })
    }

    /// A percentile in milliseconds.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        self.percentiles_ms.get(percent).copied().unwrap_or_default()
    }
}

/// The switches of all members after each of so many commits of both kinds.
#[derive(Clone, Debug)]
pub struct Switches {
    /// From a commit that removes to each member's switch.
    pub removal: Vec<Duration>,
    /// From a commit that adds to each member's switch.
    pub addition: Vec<Duration>,
}

/// Plays `rotations` commits of each kind among `members`, who stay, and one who comes and goes. The same seed gives the same
/// result.
///
/// # Errors
/// When a member refuses an epoch.
pub fn play(members: u32, rotations: u32, network: Network, seed: u64) -> Result<Switches> {
    let mut world = world::World::new(members, network, seed)?;
    let mut switches = Switches { removal: Vec::new(), addition: Vec::new() };
    for _ in 0..rotations {
        switches.addition.extend(world.rotate(Kind::Addition)?);
        switches.removal.extend(world.rotate(Kind::Removal)?);
    }
    Ok(switches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_switches_in_time_and_alike_for_the_same_seed() {
        let seed = 7;
        let first = play(5, 4, Network::default(), seed).unwrap();
        assert_eq!((first.removal.len(), first.addition.len()), (20, 20), "seed {seed}");
        // Own deadline after the commit has arrived, over two legs of which some are retransmitted.
        let most = Duration::from_millis(300 + 1500);
        assert!(first.removal.iter().chain(&first.addition).all(|it| *it < most), "seed {seed}");
        let again = play(5, 4, Network::default(), seed).unwrap();
        assert_eq!(first.removal, again.removal, "seed {seed}");
    }

    #[test]
    fn percentiles() {
        let durations: Vec<_> = (0..=200).map(Duration::from_millis).collect();
        let distribution = Distribution::of(&durations).unwrap();
        assert_eq!(distribution.percentile(50), 100.0);
        assert_eq!(distribution.percentile(100), 200.0);
        assert_eq!(Distribution::of(&[]), None);
    }
}
