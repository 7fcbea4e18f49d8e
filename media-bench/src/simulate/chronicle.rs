//! What happened to the group, followed once for all stand-ins, with what everybody can see of it.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use anyhow::{Context, Result, ensure};
use mls::{PublicGroup, PublicGroupOptions, PublicProcessed, wire::Credential};
use sframe_bridge::Now;
use sfu_sim::protocol::{
    ChangeId, ChangeKind, DeliveryEvent, DeliveryRequest, PendingChange, ServerBody, ServerMessage,
};

use super::member::moment;

/// How many may stand in line for a commit. The last of them would commit after 4 s, had all before them kept still.
const LINE: usize = 16;

/// An epoch as its commit made it.
pub(super) struct Began {
    /// The leaves of all members, ascending.
    pub(super) leaves: Rc<Vec<u32>>,
    /// Who was removed.
    pub(super) removed: BTreeSet<u32>,
    /// Whether its commit did nothing but add.
    pub(super) only_added: bool,
    /// When the server told of it.
    pub(super) at: Now,
    /// The messages of the log that lead out of the epoch.
    pub(super) entries: Vec<Rc<ServerMessage>>,
}

#[derive(Default)]
pub(super) struct Chronicle {
    group: Option<PublicGroup>,
    /// By number, from 0.
    epochs: Vec<Began>,
    /// Where each member sits.
    seats: BTreeMap<String, u32>,
    /// Who is known to everybody to have acknowledged the newest epoch.
    acknowledged: BTreeSet<u32>,
    pending: BTreeMap<ChangeId, (PendingChange, Now)>,
    /// Who may have to commit what is pending, since something was last told.
    line: OnceCell<BTreeSet<u32>>,
}

impl Chronicle {
    /// Somebody asks the server to create the group.
    pub(super) fn asked(&mut self, request: &DeliveryRequest, now: Now) -> Result<()> {
        let DeliveryRequest::Create { group_info, ratchet_tree } = request else { return Ok(()) };
        if self.group.is_some() {
            return Ok(());
        }
        let suite = mls::crypto::default_provider()
            .suite(mls::CipherSuite::X25519_AES128GCM_SHA256_ED25519)
            .context("the backend lacks the suite")?;
        let options = PublicGroupOptions::new(call_session::NamedMembers);
        let unix = moment(now).unix;
        let group = PublicGroup::new(suite, group_info, Some(ratchet_tree), options, unix)?;
        self.seats = seats(&group);
        self.epochs = vec![began(&group, BTreeSet::new(), false, now)];
        self.group = Some(group);
        Ok(())
    }

    /// The server tells something to the members.
    pub(super) fn told(&mut self, message: &Rc<ServerMessage>, now: Now) -> Result<()> {
        let ServerBody::Delivery(event) = &message.body else { return Ok(()) };
        self.line = OnceCell::new();
        match event {
            DeliveryEvent::Entry { entry } => {
                let Some(group) = &mut self.group else { return Ok(()) };
                ensure!(entry.epoch == group.epoch(), "the log is not in order");
                if let Some(newest) = self.epochs.last_mut() {
                    newest.entries.push(Rc::clone(message));
                }
                match group.process(&entry.message, moment(now).unix)? {
                    PublicProcessed::Proposal(proposal) => group.store_proposal(proposal)?,
                    PublicProcessed::Commit(staged) => {
                        let changes = &staged.changes();
                        let removed = changes.removed.iter().map(|member| member.leaf.0).collect();
                        let only_added = changes.removed.is_empty() && !changes.added.is_empty();
                        group.merge(*staged)?;
                        self.epochs.push(began(group, removed, only_added, now));
                        self.seats = seats(group);
                        self.acknowledged.clear();
                    }
                }
            }
            DeliveryEvent::PendingChanged { added, resolved } => {
                for change in added {
                    self.pending.entry(change.id).or_insert_with(|| (change.clone(), now));
                }
                for change in resolved {
                    self.pending.remove(change);
                }
            }
            DeliveryEvent::Acknowledged { epoch, leaves } if Some(*epoch) == self.newest() => {
                self.acknowledged.extend(leaves);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn newest(&self) -> Option<u64> {
        (self.epochs.len() as u64).checked_sub(1)
    }

    pub(super) fn epoch(&self, epoch: u64) -> Option<&Began> {
        self.epochs.get(usize::try_from(epoch).ok()?)
    }

    /// Where somebody sits in the newest epoch.
    pub(super) fn seat(&self, name: &str) -> Option<u32> {
        self.seats.get(name).copied()
    }

    pub(super) fn acknowledged(&self) -> &BTreeSet<u32> {
        &self.acknowledged
    }

    /// Whether a member may be among the first that commit what is pending, as the committer policy ranks them: before
    /// acknowledgements count, or when they do.
    pub(super) fn stands_in_line(&self, leaf: u32) -> bool {
        let line = self.line.get_or_init(|| {
            let leaves = self.epochs.last().map(|began| &**began.leaves).unwrap_or_default();
            let removals = self.pending.values().filter_map(|(change, _)| match change.kind {
                ChangeKind::Remove { leaf, .. } => Some(leaf),
                _ => None,
            });
            let leaving = removals.collect();
            if self.pending.is_empty() {
                BTreeSet::new()
            } else {
                line(leaves, &leaving, &self.acknowledged)
            }
        });
        line.contains(&leaf)
    }

    /// What waits for a commit, and since when.
    pub(super) fn pending(&self) -> impl Iterator<Item = &(PendingChange, Now)> {
        self.pending.values()
    }
}

/// Those nearest to the change who stay, and those of them nearest who have acknowledged.
fn line(leaves: &[u32], leaving: &BTreeSet<u32>, acknowledged: &BTreeSet<u32>) -> BTreeSet<u32> {
    let changed = leaving.first().copied().unwrap_or_else(|| {
        let taken = (0..).zip(leaves).take_while(|(place, leaf)| place == *leaf);
        u32::try_from(taken.count()).unwrap_or(u32::MAX)
    });
    let mut nearest: Vec<_> =
        leaves.iter().copied().filter(|leaf| !leaving.contains(leaf)).collect();
    nearest.sort_unstable_by_key(|leaf| leaf ^ changed);
    let settled = nearest.iter().filter(|leaf| acknowledged.contains(leaf)).take(LINE);
    nearest.iter().take(LINE).chain(settled).copied().collect()
}

fn began(group: &PublicGroup, removed: BTreeSet<u32>, only_added: bool, at: Now) -> Began {
    let leaves = Rc::new(group.roster().map(|member| member.leaf.0).collect());
    Began { leaves, removed, only_added, at, entries: Vec::new() }
}

fn seats(group: &PublicGroup) -> BTreeMap<String, u32> {
    let name = |credential: &Credential| match credential {
        Credential::Basic(identity) => String::from_utf8_lossy(identity).into_owned(),
        _ => String::new(),
    };
    group.roster().map(|member| (name(&member.credential), member.leaf.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_stands_in_line_wherever_the_change_is() {
        // The next to come gets leaf 320: no other is in its subtree of 64.
        let leaves: Vec<_> = (0..320).collect();
        let acknowledged = BTreeSet::from([7, 9]);
        let expected: BTreeSet<_> = (256..272).chain([7, 9]).collect();
        assert_eq!(line(&leaves, &BTreeSet::new(), &acknowledged), expected);

        // A whole subtree leaves.
        let leaving: BTreeSet<_> = (0..256).collect();
        assert_eq!(line(&leaves, &leaving, &acknowledged), (256..272).collect());

        let all: BTreeSet<_> = (0..320).collect();
        assert_eq!(line(&leaves, &all, &acknowledged), BTreeSet::new());
    }
}
