//! What happened to the group, followed once for all stand-ins, with what everybody can see of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use anyhow::{Context, Result, ensure};
use mls::{PublicGroup, PublicGroupOptions, PublicProcessed, wire::Credential};
use sframe_bridge::Now;
use sfu_sim::protocol::{
    ChangeId, DeliveryEvent, DeliveryRequest, PendingChange, ServerBody, ServerMessage,
};

use super::member::moment;

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

    /// What waits for a commit, and since when.
    pub(super) fn pending(&self) -> impl Iterator<Item = &(PendingChange, Now)> {
        self.pending.values()
    }
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
