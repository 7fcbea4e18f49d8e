//! The model: what everybody must agree on, epoch by epoch.

use std::collections::BTreeMap;

use mls::{
    Group, Member,
    wire::{GroupContext, SignaturePublicKey},
};

/// What all members of an epoch share.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    authenticator: Vec<u8>,
    context: GroupContext,
    roster: Vec<Member>,
    export: Vec<u8>,
}

impl Facts {
    fn of(group: &Group) -> Self {
        Self {
            authenticator: group.epoch_authenticator().unwrap().as_bytes().to_vec(),
            context: group.context().clone(),
            roster: group.roster().collect(),
            export: export(group),
        }
    }
}

fn export(group: &Group) -> Vec<u8> {
    group.export("model", b"context", 32).unwrap().as_bytes().to_vec()
}

#[derive(Default)]
pub(crate) struct History(BTreeMap<u64, Facts>);

impl History {
    /// A member is in its epoch: either it is the first there, or it agrees with those who were there before.
    pub(crate) fn arrive(&mut self, group: &Group, name: usize) {
        let facts = Facts::of(group);
        match self.0.get(&group.epoch()) {
            Some(known) => assert!(*known == facts, "{name} forks epoch {}", group.epoch()),
            None => {
                self.0.insert(group.epoch(), facts);
            }
        }
    }

    pub(crate) fn head(&self) -> u64 {
        *self.0.last_key_value().expect("the group exists").0
    }

    pub(crate) fn roster(&self, epoch: u64) -> &[Member] {
        &self.0[&epoch].roster
    }

    pub(crate) fn is_member(&self, epoch: u64, key: &SignaturePublicKey) -> bool {
        self.0[&epoch].roster.iter().any(|member| member.signature_key == *key)
    }

    /// A group that continues the one of this history shares no secret with it.
    pub(crate) fn assert_knows_nothing_of(&self, other: &Group) {
        let facts = Facts::of(other);
        for (epoch, known) in &self.0 {
            assert!(known.authenticator != facts.authenticator, "the authenticator of {epoch}");
            assert!(known.export != facts.export, "the export of {epoch}");
        }
    }

    /// A state that somebody kept gives the secrets of no epoch but its own.
    pub(crate) fn assert_exports_own_epoch_only(&self, kept: &Group) {
        let export = export(kept);
        for (epoch, facts) in &self.0 {
            assert_eq!(facts.export == export, *epoch == kept.epoch(), "the export of {epoch}");
        }
    }
}
