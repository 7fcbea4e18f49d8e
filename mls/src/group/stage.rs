//! The public half of a commit (RFC 9420 sections 12.2 to 12.4): the proposals applied to an overlay of the tree, with
//! every rule that needs no secret. Committers, receivers and delivery services share it.

use std::collections::BTreeSet;

use crate::{
    codec::{DecodeError, Encode},
    tree::{Feature, LeafRef, MergedPath, TreeOverlay, TreeView, UpdatePathError},
    validation::{
        CheckedAdd, CheckedProposals, CustomTypes, LeafCheck, LeafNodeViolation, ListedProposal,
        ProposalListViolation, RuleContext, SignedPlace, check_key_package, check_proposal_list,
        check_requirements, required_capabilities,
    },
    wire::{
        CredentialType, ExtensionType, Extensions, ExternalSenders, GroupContext, LeafIndex,
        LeafNode, ProposalType, RequiredCapabilities, Sender, UnixTime, UpdatePath,
    },
};

use super::{
    changes::{Changes, Member},
    state::{Policy, PublicState},
};

/// A commit's proposals and the circumstances in which they are judged.
pub(crate) struct Proposed<'p> {
    pub(crate) list: Vec<ListedProposal<'p>>,
    pub(crate) committer: Sender,
    /// The leaf of the member who judges.
    pub(crate) own: Option<LeafIndex>,
    pub(crate) now: UnixTime,
}

/// The proposals of a commit in effect on an overlay; the path is still to come.
pub(crate) struct Applied<'s, 'p> {
    pub(crate) overlay: TreeOverlay<'s>,
    pub(crate) proposals: CheckedProposals<'p>,
    /// The GroupContext of the next epoch; tree hash and transcript hash are still the old ones.
    pub(crate) context: GroupContext,
    pub(crate) committer: LeafIndex,
    required: RequiredCapabilities,
}

/// Applies the proposals in the order of section 12.3.
pub(crate) fn apply_proposals<'s, 'p>(
    state: &'s PublicState,
    proposed: &Proposed<'p>,
    policy: &Policy,
) -> Result<Applied<'s, 'p>, ProposalListViolation> {
    let mut proposals = check_proposal_list(
        &proposed.list,
        proposed.committer,
        state.suite.hash_length(),
        |leaf| state.tree.leaf(leaf).is_some(),
    )?;
    check_types(state, &mut proposals, proposed.own, &policy.custom)?;
    let check = policy.leaf_check(state.suite, proposed.now);
    let mut context = state.context.clone();
    context.epoch = context.epoch.checked_add(1).ok_or(ProposalListViolation::EpochExhausted)?;
    if let Some(kem_output) = proposals.external_init {
        let checked = state.suite.kem.check_kem_output(kem_output);
        checked.map_err(|_| ProposalListViolation::ExternalInitMalformed)?;
    }
    if let Some(extensions) = proposals.extensions {
        check_external_senders(extensions, state, &check)?;
        context.extensions = extensions.clone();
    }
    let required = required_capabilities(&context.extensions)
        .map_err(|_| ProposalListViolation::ExtensionMalformed)?;

    let mut overlay = TreeOverlay::new(&state.tree);
    for (leaf, node) in &proposals.updates {
        let old = state.tree.leaf(*leaf).ok_or(ProposalListViolation::UpdateByNonMember)?;
        check.check_replacement(old, node).map_err(ProposalListViolation::Update)?;
        check_requirements(&node.capabilities, &required, &context.extensions)
            .map_err(ProposalListViolation::Update)?;
        overlay.update(*leaf, node).map_err(ProposalListViolation::Tree)?;
    }
    for leaf in proposals.removed() {
        overlay.remove(leaf).map_err(ProposalListViolation::Tree)?;
    }
    check_added_clients(&state.tree, &proposals)?;
    for add in &proposals.adds {
        let node = &add.key_package.leaf_node;
        if !add.verified {
            check_key_package(add.key_package, &check)?;
        }
        check_requirements(&node.capabilities, &required, &context.extensions)
            .map_err(|violation| ProposalListViolation::Add(violation.into()))?;
        overlay.add(node).map_err(ProposalListViolation::Tree)?;
    }
    overlay.check_unique_keys().map_err(ProposalListViolation::Tree)?;

    let committer = match proposed.committer {
        Sender::Member(leaf) => leaf,
        _ => overlay.external_leaf().map_err(ProposalListViolation::Tree)?,
    };
    let applied = Applied { overlay, proposals, context, committer, required };
    applied.check_shared(proposed.list.len())?;
    Ok(applied)
}

/// Proposal types beyond the default ones are listed by all who process the commit and stay (section 12.2), and registered
/// here unless the commit removes this member.
fn check_types(
    state: &PublicState,
    proposals: &mut CheckedProposals<'_>,
    own: Option<LeafIndex>,
    registered: &CustomTypes,
) -> Result<(), ProposalListViolation> {
    let kinds: BTreeSet<_> = proposals.custom.iter().map(|custom| custom.proposal_type).collect();
    if !proposals.self_removes.is_empty() {
        // Whoever leaves by it has to list it.
        check_type_supported(state, &proposals.removes, ProposalType::SELF_REMOVE)?;
    }
    let removed: Vec<LeafIndex> = proposals.removed().collect();
    for kind in kinds {
        check_type_supported(state, &removed, kind)?;
        match registered.find(kind) {
            Some(custom) => proposals.path_required |= custom.path_required,
            None if own.is_some_and(|own| removed.contains(&own)) => {}
            None => return Err(ProposalListViolation::NotImplemented(kind)),
        }
    }
    Ok(())
}

/// All members but those at the leaves `leaving` list the type.
fn check_type_supported(
    state: &PublicState,
    leaving: &[LeafIndex],
    kind: ProposalType,
) -> Result<(), ProposalListViolation> {
    let lacks = |leaf: &LeafRef<'_>| !leaf.capabilities().proposals.contains(&kind);
    let leaving = leaving.iter().filter_map(|leaf| state.tree.leaf(*leaf));
    let lacking_and_leaving = leaving.filter(lacks).count();
    let lacking =
        state.tree.member_count().saturating_sub(state.tree.count(Feature::Proposal(kind)));
    if usize::try_from(lacking).is_ok_and(|lacking| lacking <= lacking_and_leaving) {
        Ok(())
    } else {
        Err(ProposalListViolation::TypeNotSupported(kind))
    }
}

/// No client is added twice, and none that is in the group (section 12.2). A client is told by its signature key.
fn check_added_clients(
    tree: &impl TreeView,
    proposals: &CheckedProposals<'_>,
) -> Result<(), ProposalListViolation> {
    let mut seen = std::collections::HashSet::new();
    for add in &proposals.adds {
        let key = &add.key_package.leaf_node.signature_key;
        if !seen.insert(key) {
            return Err(ProposalListViolation::AddsClientTwice);
        }
        if let Some(leaf) = tree.find_signature_key(key.as_bytes())
            && proposals.removed().all(|removed| removed != leaf)
        {
            return Err(ProposalListViolation::AddsMember(leaf));
        }
    }
    Ok(())
}

/// Credentials of external senders are validated when the extension comes or changes (section 5.3.1).
fn check_external_senders(
    extensions: &Extensions,
    state: &PublicState,
    check: &LeafCheck<'_>,
) -> Result<(), ProposalListViolation> {
    let kind = ExtensionType::EXTERNAL_SENDERS;
    if extensions.find(kind) == state.context.extensions.find(kind) {
        return Ok(());
    }
    match judge_external_senders(extensions, check) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ProposalListViolation::ExternalSenderRejected),
        Err(_) => Err(ProposalListViolation::ExtensionMalformed),
    }
}

/// True when the application accepts every external sender.
pub(crate) fn judge_external_senders(
    extensions: &Extensions,
    check: &LeafCheck<'_>,
) -> Result<bool, DecodeError> {
    let senders: Option<ExternalSenders> = extensions.parse(ExtensionType::EXTERNAL_SENDERS)?;
    Ok(senders.into_iter().flat_map(|senders| senders.0).all(|sender| {
        check.validator.validate(&sender.credential, &sender.signature_key, check.now).is_ok()
    }))
}

impl Applied<'_, '_> {
    /// Rules on what all members have in common (sections 7.3, 12.1.7, 13.4). They are checked on the numbers that the tree
    /// keeps, so that they cost nothing per member.
    fn check_shared(&self, proposals: usize) -> Result<(), ProposalListViolation> {
        let joins_or_updates =
            !self.proposals.adds.is_empty() || !self.proposals.updates.is_empty();
        if joins_or_updates && let Some(unshared) = self.credential_type_not_shared() {
            let violation = LeafNodeViolation::CredentialTypeNotShared(unshared);
            return Err(if self.proposals.adds.is_empty() {
                ProposalListViolation::Update(violation)
            } else {
                ProposalListViolation::Add(violation.into())
            });
        }
        if self.proposals.extensions.is_none() || proposals == 0 {
            return Ok(());
        }
        let unsupported = |violation| Err(ProposalListViolation::ExtensionsNotSupported(violation));
        for extension in self.context.extensions.iter() {
            let kind = extension.extension_type;
            if !kind.is_default() && !self.overlay.all_support(Feature::Extension(kind)) {
                return unsupported(LeafNodeViolation::GroupExtension(kind));
            }
        }
        for kind in &self.required.extension_types {
            if !kind.is_default() && !self.overlay.all_support(Feature::Extension(*kind)) {
                return unsupported(LeafNodeViolation::RequiredExtension(*kind));
            }
        }
        for kind in &self.required.proposal_types {
            if !kind.is_default() && !self.overlay.all_support(Feature::Proposal(*kind)) {
                return unsupported(LeafNodeViolation::RequiredProposal(*kind));
            }
        }
        for kind in &self.required.credential_types {
            if !self.overlay.all_support(Feature::Credential(*kind)) {
                return unsupported(LeafNodeViolation::RequiredCredential(*kind));
            }
        }
        Ok(())
    }

    fn credential_type_not_shared(&self) -> Option<CredentialType> {
        let in_use = self.overlay.credential_types_in_use();
        in_use.into_iter().find(|used| !self.overlay.all_support(Feature::Credential(*used)))
    }

    /// The leaf node of a path, by the rules of sections 7.3 and 12.4.2, before it is merged. `replaced` is the leaf
    /// that it takes the place of: the committer's, or the one that a resync removes.
    pub(crate) fn check_path_leaf(
        &self,
        leaf: &LeafNode,
        replaced: Option<LeafRef<'_>>,
        check: &LeafCheck<'_>,
    ) -> Result<(), LeafNodeViolation> {
        check.check(leaf, SignedPlace::Commit(&self.context.group_id, self.committer))?;
        self.check_path_leaf_fits(leaf, replaced, check)
    }

    /// What remains of [`Applied::check_path_leaf`] for a leaf that is known to be well formed and signed.
    fn check_path_leaf_fits(
        &self,
        leaf: &LeafNode,
        replaced: Option<LeafRef<'_>>,
        check: &LeafCheck<'_>,
    ) -> Result<(), LeafNodeViolation> {
        match replaced {
            Some(old) => check.check_replacement(old, leaf)?,
            None => check.check_credential(leaf)?,
        }
        check_requirements(&leaf.capabilities, &self.required, &self.context.extensions)
    }

    /// The leaf that a leaf of the committer takes the place of: its own, or the one that a resync removes.
    pub(crate) fn replaced_leaf<'t>(
        &self,
        state: &'t PublicState,
        committer: Sender,
    ) -> Option<LeafRef<'t>> {
        let replaced = match committer {
            Sender::Member(leaf) => Some(leaf),
            _ => self.proposals.removes.first().copied(),
        };
        state.tree.leaf(replaced?)
    }

    /// Whether others will accept the leaf that this client has just made and merged.
    pub(crate) fn check_own_path_leaf(
        &self,
        state: &PublicState,
        proposed: &Proposed<'_>,
        leaf: &LeafNode,
        policy: &Policy,
    ) -> Result<(), ProposalListViolation> {
        let replaced = self.replaced_leaf(state, proposed.committer);
        let check = policy.leaf_check(state.suite, proposed.now);
        self.check_path_leaf_fits(leaf, replaced, &check)
            .and_then(|()| match self.credential_type_not_shared() {
                Some(unshared) => Err(LeafNodeViolation::CredentialTypeNotShared(unshared)),
                None => Ok(()),
            })
            .map_err(ProposalListViolation::PathLeaf)
    }

    /// Merges a received path into the overlay, with all its public checks.
    pub(crate) fn merge_path<'u>(
        &mut self,
        path: &'u UpdatePath,
        replaced: Option<LeafRef<'_>>,
        check: &LeafCheck<'_>,
    ) -> Result<MergedPath<'u>, ProposalListViolation> {
        self.check_path_leaf(&path.leaf_node, replaced, check)
            .map_err(ProposalListViolation::PathLeaf)?;
        let merged =
            self.overlay.merge_path(self.committer, path).map_err(|error| match error {
                UpdatePathError::KeyInUse { .. } | UpdatePathError::RepeatedKey => {
                    ProposalListViolation::PathKeyInUse
                }
                UpdatePathError::SignatureKeyInUse { leaf } => {
                    ProposalListViolation::PathLeaf(LeafNodeViolation::SignatureKeyInUse(leaf))
                }
                UpdatePathError::LeafKeyUnchanged => {
                    ProposalListViolation::PathLeaf(LeafNodeViolation::EncryptionKeyUnchanged)
                }
                other => ProposalListViolation::Path(other),
            })?;
        match self.credential_type_not_shared() {
            None => Ok(merged),
            Some(unshared) => Err(ProposalListViolation::PathLeaf(
                LeafNodeViolation::CredentialTypeNotShared(unshared),
            )),
        }
    }

    /// Fixes the tree hash of the next epoch and gives the provisional GroupContext (section 12.4.1).
    pub(crate) fn provisional_context(&mut self) -> Vec<u8> {
        self.context.tree_hash = self.overlay.tree_hash();
        self.context.to_bytes()
    }

    /// What the commit changes.
    pub(crate) fn changes(
        &self,
        state: &PublicState,
        committer: Sender,
        own: Option<LeafIndex>,
        path: bool,
    ) -> Result<Changes, ProposalListViolation> {
        let at = |leaf| self.overlay.leaf(leaf).map(Member::from);
        let external = !matches!(committer, Sender::Member(_));
        let mut added: Vec<Member> =
            self.overlay.added().iter().filter_map(|leaf| at(*leaf)).collect();
        let committer =
            at(self.committer).ok_or(ProposalListViolation::RemovedLeafBlank(self.committer))?;
        if external {
            added.push(committer.clone());
        }
        Ok(Changes {
            epoch: self.context.epoch,
            committer,
            external,
            added,
            welcomed: self.references(state)?,
            removed: self
                .proposals
                .removed()
                .filter_map(|leaf| state.tree.leaf(leaf).map(Member::from))
                .collect(),
            updated: self.proposals.updates.iter().filter_map(|(leaf, _)| at(*leaf)).collect(),
            extensions_changed: self.proposals.extensions.is_some(),
            path,
            psks: self.proposals.psks.len(),
            self_removed: self.proposals.removed().any(|leaf| Some(leaf) == own),
            reinit: self.proposals.reinit.cloned(),
            custom: self.proposals.custom.clone(),
        })
    }

    fn references(
        &self,
        state: &PublicState,
    ) -> Result<Vec<crate::wire::KeyPackageRef>, ProposalListViolation> {
        let reference = |add: &CheckedAdd<'_>| {
            state.suite.key_package_ref(&add.key_package.to_bytes()).map_err(|_| {
                ProposalListViolation::Add(crate::validation::KeyPackageViolation::Signature)
            })
        };
        self.proposals.adds.iter().map(reference).collect()
    }

    /// The rules of the application.
    pub(crate) fn check_rules(
        &self,
        state: &PublicState,
        proposed: &Proposed<'_>,
        changes: &Changes,
        policy: &Policy,
    ) -> Result<(), ProposalListViolation> {
        let proposals: Vec<_> =
            proposed.list.iter().map(|listed| state.proposed_by(listed)).collect();
        for by_value in proposals.iter().filter(|proposal| !proposal.by_reference) {
            policy.rules.check_proposal(by_value, &state.context)?;
        }
        policy.rules.check(&RuleContext {
            committer: proposed.committer,
            proposals: &proposals,
            old: &state.context,
            new: &self.context,
            changes,
            members: self.overlay.member_count(),
            tree_width: self.overlay.size().leaves(),
        })?;
        Ok(())
    }
}
