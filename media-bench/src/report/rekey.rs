//! The section on rekeying.

use std::time::Duration;

use anyhow::Result;

use super::{Document, Extent, run::Step};
use crate::{
    measure::Effort,
    rekey::{Pairwise, SenderKeys, mls},
};

/// How many HPKE messages a rekey by sender keys really sends; beyond that, whole shares of members are left out.
const MOST_MESSAGES: u32 = 10_000;

pub(super) fn steps<'a>(extent: Extent) -> Vec<Step<'a>> {
    let sizes: &[u32] = match extent {
        Extent::Tiny => &[2, 5],
        Extent::Quick => &[2, 10, 100, 1_000],
        Extent::Full => &[2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000],
    };
    let least = if extent == Extent::Full { 9 } else { 3 };
    let effort = Effort { least, most: 50, time: Duration::from_millis(200) };
    let step = |members: u32| Step {
        name: format!("rekeying {members} members"),
        expected: Duration::from_millis(600 + u64::from(members) / 2),
        work: Box::new(move |document: &mut Document| measure(document, members, effort)),
    };
    sizes.iter().map(|members| step(*members)).collect()
}

fn measure(document: &mut Document, members: u32, effort: Effort) -> Result<()> {
    document.rekey.push(mls(members, effort)?);
    let shares = (MOST_MESSAGES / members).max(1);
    document.rekey.push(SenderKeys::new(members)?.rekey(shares)?);
    let mut pairwise = Pairwise::new(members)?;
    // The first time fills the caches.
    pairwise.message()?;
    document.rekey.push(pairwise.message()?);
    for scheme in ["mls", "sender_keys"] {
        pairwise.shared_key_message(scheme)?;
        document.rekey.push(pairwise.shared_key_message(scheme)?);
    }
    Ok(())
}
