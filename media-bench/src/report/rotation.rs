//! The section on the time from a commit to the switch.

use std::time::Duration;

use anyhow::Result;

use super::{Document, Extent, run::Step};
use crate::rotation::{Distribution, Kind, Network, play};

/// Fixes delays and losses of the report's runs.
const SEED: u64 = 20_260_101;

pub(super) fn steps<'a>(extent: Extent) -> Vec<Step<'a>> {
    let (sizes, rotations): (&[u32], _) = match extent {
        Extent::Tiny => (&[3], 2),
        Extent::Quick => (&[10, 50], 50),
        Extent::Full => (&[10, 50, 200], 100),
    };
    let step = |members: u32| Step {
        name: format!("rotations among {members} members"),
        expected: Duration::from_millis(100 + u64::from(members) * 10),
        work: Box::new(move |document: &mut Document| measure(document, members, rotations)),
    };
    sizes.iter().map(|members| step(*members)).collect()
}

fn measure(document: &mut Document, members: u32, rotations: u32) -> Result<()> {
    let switches = play(members, rotations, Network::default(), SEED)?;
    for (kind, durations) in
        [(Kind::Removal, &switches.removal), (Kind::Addition, &switches.addition)]
    {
        if let Some(distribution) = Distribution::of(durations) {
            let name = format!("rotation/n{members}/{}", kind.name());
            document.latency.insert(name, distribution);
        }
    }
    Ok(())
}
