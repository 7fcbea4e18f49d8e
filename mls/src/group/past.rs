//! What a member keeps of epochs that have ended: keys for late application data (RFC 9420 section 15.3) and
//! resumption keys (section 8.6), both bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    client::ClientOptions,
    schedule::{Psk, ResumptionPsk, RetiredEpoch, SecretTree, SenderDataSecret},
    tree::{RatchetTree, TreeView},
    wire::LeafIndex,
};

use super::{
    changes::Member,
    next_epoch::{MemberSecrets, NextPublic},
    state::PublicState,
};

/// Keys for late application data of one epoch.
pub(crate) struct PastMessages {
    /// The encoded GroupContext of that epoch: it enters every signature.
    pub(crate) context: Vec<u8>,
    pub(crate) secret_tree: SecretTree,
    pub(crate) sender_data: SenderDataSecret,
}

/// One epoch that has ended.
pub(crate) struct PastEpoch {
    pub(crate) epoch: u64,
    /// The leaves that the next epoch changed, as they were in this one. The tree of a past epoch is the present one
    /// with these put back, so that no tree is copied.
    pub(crate) replaced: BTreeMap<LeafIndex, Option<Member>>,
    pub(crate) resumption: ResumptionPsk,
    pub(crate) messages: Option<PastMessages>,
}

/// The epochs that have ended, oldest first and without gaps.
#[derive(Default)]
pub(crate) struct PastEpochs(pub(crate) VecDeque<PastEpoch>);

impl PastEpochs {
    /// Keeps what the options allow of the epoch that `next` ends.
    pub(crate) fn push(
        &mut self,
        state: &PublicState,
        next: &NextPublic,
        left: MemberSecrets,
        options: &ClientOptions,
    ) {
        let changes = &next.changes;
        let changed = changes.added.iter().chain(&changes.removed).chain(&changes.updated);
        let replaced = changed
            .chain([&changes.committer])
            .map(|member| (member.leaf, state.tree.leaf(member.leaf).map(Member::from)))
            .collect();
        let RetiredEpoch { sender_data, resumption_psk } = left.epoch.retire();
        let context = state.context_bytes.clone();
        self.0.push_back(PastEpoch {
            epoch: state.context.epoch,
            replaced,
            resumption: resumption_psk,
            messages: Some(PastMessages { context, secret_tree: left.secret_tree, sender_data }),
        });
        let kept = options.past_epochs.max(options.resumption_epochs);
        while self.0.len() > kept {
            self.0.pop_front();
        }
        let without_messages = self.0.len().saturating_sub(options.past_epochs);
        for past in self.0.iter_mut().take(without_messages) {
            past.messages = None;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn find(&self, epoch: u64) -> Option<&PastEpoch> {
        self.0.iter().find(|past| past.epoch == epoch)
    }

    pub(crate) fn resumption(&self, epoch: u64) -> Option<Psk> {
        self.find(epoch).map(|past| past.resumption.to_psk())
    }

    pub(crate) fn take_messages(&mut self, epoch: u64) -> Option<PastMessages> {
        self.0.iter_mut().find(|past| past.epoch == epoch)?.messages.take()
    }

    pub(crate) fn put_messages(&mut self, epoch: u64, messages: PastMessages) {
        if let Some(past) = self.0.iter_mut().find(|past| past.epoch == epoch) {
            past.messages = Some(messages);
        }
    }

    /// The member at a leaf in a past epoch; `tree` is that of the present one.
    pub(crate) fn member(&self, epoch: u64, leaf: LeafIndex, tree: &RatchetTree) -> Option<Member> {
        let later = self.0.iter().filter(|past| past.epoch >= epoch);
        match later.filter_map(|past| past.replaced.get(&leaf)).next() {
            Some(member) => member.clone(),
            None => tree.leaf(leaf).map(Member::from),
        }
    }

    /// The members of an epoch, past or present; `tree` is that of the present one.
    pub(crate) fn roster(&self, epoch: u64, tree: &RatchetTree) -> Vec<Member> {
        let later = self.0.iter().filter(|past| past.epoch >= epoch);
        let mut leaves: BTreeSet<LeafIndex> = tree.leaves().map(|leaf| leaf.index()).collect();
        leaves.extend(later.flat_map(|past| past.replaced.keys()));
        leaves.into_iter().filter_map(|leaf| self.member(epoch, leaf, tree)).collect()
    }
}
