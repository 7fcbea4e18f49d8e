//! Building a commit as a member.

use crate::{
    client::Identity,
    crypto::CryptoRng,
    error::CommitError,
    schedule::Psk,
    validation::{KeyPackageViolation, ListedProposal, ProposalListViolation},
    wire::{
        Add, Extensions, GroupContextExtensions, KeyPackage, LeafIndex, PreSharedKey, Proposal,
        ProposalOrRef, ProposalRef, PskSource, ReInit, Remove, Sender, UnixTime, WireFormat,
    },
};

use super::{
    Group, HandshakeFormat,
    create_commit::{CommitInput, LeafContent, create_commit, fresh_psk_id},
    pending::{Choice, PendingCommit},
    proposal_cache::ReceivedProposal,
    stage::{Proposed, apply_proposals},
    succession::Link,
};

/// Collects what a commit is to do. Made by [`Group::commit`].
///
/// Unless told otherwise it covers every valid proposal received in this epoch (RFC 9420 section 12.4) but a ReInit, which
/// would close the group and has to be named with [`only_received`](Self::only_received); it renews the committer's keys by
/// a path, and puts the ratchet tree into the Welcome.
/// What it costs, and how to keep it cheap after many members were added, is said at [`tree`](crate::tree#what-a-commit-costs).
#[must_use = "a commit is made by `build`"]
pub struct CommitBuilder<'g> {
    group: &'g mut Group,
    by_value: Vec<Proposal>,
    psks: Vec<PskSource>,
    link: Option<Link>,
    pending: Pending,
    identity: Option<Identity>,
    path: bool,
    welcome_tree: bool,
    welcome_extensions: Extensions,
    authenticated_data: Vec<u8>,
}

/// Which received proposals the commit covers.
enum Pending {
    All,
    Only(Vec<ProposalRef>),
}

impl<'g> CommitBuilder<'g> {
    pub(crate) fn new(group: &'g mut Group) -> Self {
        Self {
            group,
            by_value: Vec::new(),
            psks: Vec::new(),
            link: None,
            pending: Pending::All,
            identity: None,
            path: true,
            welcome_tree: true,
            welcome_extensions: Extensions::new(),
            authenticated_data: Vec::new(),
        }
    }

    /// Adds a member.
    #[allow(clippy::should_implement_trait, reason = "`a + b` is not what is meant")]
    pub fn add(mut self, key_package: KeyPackage) -> Self {
        self.by_value.push(Proposal::Add(Box::new(Add { key_package })));
        self
    }

    /// Removes the member at a leaf.
    pub fn remove(mut self, removed: LeafIndex) -> Self {
        self.by_value.push(Proposal::Remove(Remove { removed }));
        self
    }

    /// Mixes a pre-shared key into the next epoch. Every other member, and every joiner, needs it too.
    pub fn psk(mut self, source: PskSource) -> Self {
        self.psks.push(source);
        self
    }

    /// Replaces all extensions of the group.
    pub fn extensions(mut self, extensions: Extensions) -> Self {
        let proposal = GroupContextExtensions { extensions };
        self.by_value.push(Proposal::GroupContextExtensions(proposal));
        self
    }

    /// Closes the group in favour of another one, which [`Group::successor`] then makes (RFC 9420 section 11.2).
    ///
    /// The commit covers nothing else; where other proposals wait, they had better be committed first (section 12.2).
    pub fn reinit(mut self, reinit: ReInit) -> Self {
        self.by_value.push(Proposal::ReInit(reinit));
        self.without_received()
    }

    /// Any proposal by value.
    pub fn proposal(mut self, proposal: Proposal) -> Self {
        self.by_value.push(proposal);
        self
    }

    /// Ties the epoch to another group. That makes sense for the first commit of a group only.
    pub(crate) fn linked(mut self, link: Link) -> Self {
        self.link = Some(link);
        self
    }

    /// Covers none of the proposals received.
    pub fn without_received(mut self) -> Self {
        self.pending = Pending::Only(Vec::new());
        self
    }

    /// Covers exactly these of the proposals received.
    pub fn only_received(mut self, references: Vec<ProposalRef>) -> Self {
        self.pending = Pending::Only(references);
        self
    }

    /// Gives this member another credential, another signature key, or both (RFC 9420 section 5.3.1). The commit then has a path.
    ///
    /// The others accept it when their validator takes the new credential
    /// [in the place of the old one](crate::CredentialValidator::validate_successor). The commit itself is signed with the
    /// old key; the group goes on under the new identity when it is [confirmed](Group::confirm).
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Leaves the path out where RFC 9420 section 12.4 permits it: the committer's keys stay as they are.
    ///
    /// A commit without a path is cheaper, and heals nothing.
    pub fn omit_path(mut self) -> Self {
        self.path = false;
        self
    }

    /// Whether the Welcome carries the ratchet tree. Without it joiners get the tree elsewhere, for example
    /// from the delivery service.
    pub fn welcome_tree(mut self, inside: bool) -> Self {
        self.welcome_tree = inside;
        self
    }

    /// Extensions of the application in the GroupInfo of the Welcome, for those whom the commit adds: parameters that they need
    /// to take part (RFC 9420 section 13.4). They are not part of the group's state; [`StagedJoin::extensions`] shows them.
    /// `ratchet_tree` and `external_pub` are the library's.
    ///
    /// [`StagedJoin::extensions`]: crate::StagedJoin::extensions
    pub fn welcome_extensions(mut self, extensions: Extensions) -> Self {
        self.welcome_extensions = extensions;
        self
    }

    /// Data of the application to authenticate with the commit.
    pub fn authenticated_data(mut self, data: Vec<u8>) -> Self {
        self.authenticated_data = data;
        self
    }

    /// Builds the commit.
    ///
    /// The group stays in its epoch; it moves on with [`Group::confirm`], when the delivery service has accepted the
    /// commit. Dropping the result is all there is to giving it up. With [`HandshakeFormat::Private`] one key of the
    /// group's own handshake ratchet is spent.
    ///
    /// # Errors
    /// [`CommitError::Invalid`] names the rule that the commit would break.
    pub fn build(
        self,
        rng: &mut dyn CryptoRng,
        now: UnixTime,
    ) -> Result<PendingCommit, CommitError> {
        let Self { group, mut by_value, psks, link, pending, identity, welcome_tree, .. } = self;
        let (authenticated_data, path) = (self.authenticated_data, self.path);
        let active = group.secrets.as_ref().filter(|_| group.closed.is_none());
        let secrets = active.ok_or(CommitError::Inactive)?;
        let suite = group.state.suite;
        let check = group.client.policy().leaf_check(suite, now);
        for proposal in &by_value {
            if let Proposal::Add(add) = proposal {
                check.check_current(&add.key_package.leaf_node).map_err(|violation| {
                    ProposalListViolation::Add(KeyPackageViolation::LeafNode(violation))
                })?;
            }
        }
        for source in psks {
            let psk = fresh_psk_id(suite, source, rng);
            by_value.push(Proposal::PreSharedKey(PreSharedKey { psk }));
        }
        let entries = choose(group, by_value, pending, path, now)?;
        let committer = Sender::Member(group.own_leaf);
        let list = group.proposals.resolve(&entries, committer)?;
        let own = crate::tree::TreeView::leaf(&group.state.tree, group.own_leaf)
            .ok_or(CommitError::Inactive)?;
        let client = match &identity {
            Some(identity) => {
                group.renamed(identity.clone()).map_err(ProposalListViolation::PathLeaf)?
            }
            None => group.client.clone(),
        };
        let capabilities = match identity {
            Some(_) => client.capabilities(),
            None => own.capabilities(),
        };
        let wire_format = match group.handshake {
            HandshakeFormat::Public => WireFormat::PublicMessage,
            HandshakeFormat::Private => WireFormat::PrivateMessage,
        };
        let find_psk = |source: &PskSource| match &link {
            Some(link) if link.id.source == *source => Some(Psk::from_slice(link.psk.as_bytes())),
            _ => group.find_psk(source),
        };
        let built = create_commit(
            CommitInput {
                state: &group.state,
                client: &group.client,
                entries: &entries,
                link: link.as_ref().map(|link| &link.id),
                proposed: Proposed { list, committer, own: None, now },
                path: path || identity.is_some(),
                leaf: LeafContent {
                    identity: client.identity(),
                    capabilities,
                    extensions: own.extensions(),
                },
                private: Some(&secrets.private),
                init: secrets.epoch.init(),
                find_psk: &find_psk,
                wire_format,
                authenticated_data,
                welcome_tree,
                welcome_extensions: self.welcome_extensions,
            },
            rng,
        )?;
        let identity = identity.map(|_| client);
        PendingCommit::new(group, built, Choice { entries, identity, now }, rng)
    }
}

/// The entries of the commit: the received proposals to cover, then those by value.
fn choose(
    group: &Group,
    by_value: Vec<Proposal>,
    pending: Pending,
    path: bool,
    now: UnixTime,
) -> Result<Vec<ProposalOrRef>, CommitError> {
    let committer = Sender::Member(group.own_leaf);
    let holds = |references: &[ProposalRef]| {
        let mut list: Vec<ListedProposal<'_>> = references
            .iter()
            .filter_map(|reference| group.proposals.get(reference))
            .map(|cached| ListedProposal {
                proposal: &cached.proposal,
                sender: cached.sender,
                by_reference: true,
            })
            .collect();
        let by_value = by_value.iter();
        list.extend(by_value.map(|proposal| ListedProposal {
            proposal,
            sender: committer,
            by_reference: false,
        }));
        let known = list.iter().all(|listed| match listed.proposal {
            Proposal::PreSharedKey(psk) => group.find_psk(&psk.psk.source).is_some(),
            _ => true,
        });
        let proposed = Proposed { list, committer, own: None, now };
        let (state, policy) = (&group.state, group.client.policy());
        let valid = || {
            let applied = apply_proposals(state, &proposed, policy)?;
            let path = path || applied.proposals.path_required;
            let changes = applied.changes(state, committer, None, path)?;
            applied.check_rules(state, &proposed, &changes, policy)
        };
        known && valid().is_ok()
    };
    let references = match pending {
        Pending::Only(references) => {
            if references.iter().any(|reference| group.proposals.get(reference).is_none()) {
                return Err(CommitError::UnknownProposal);
            }
            references
        }
        Pending::All if group.proposals.len() == 0 => Vec::new(),
        Pending::All => {
            let check = group.client.policy().leaf_check(group.state.suite, now);
            let mut candidates = group.proposals.select(group.own_leaf, &by_value);
            candidates.retain(|reference| match group.proposals.get(reference) {
                Some(ReceivedProposal { proposal: Proposal::Add(add), .. }) => {
                    check.check_current(&add.key_package.leaf_node).is_ok()
                }
                _ => true,
            });
            let mut kept = Vec::new();
            keep(&mut kept, &candidates, &holds);
            kept
        }
    };
    let references = references.into_iter().map(ProposalOrRef::Reference);
    Ok(references.chain(by_value.into_iter().map(ProposalOrRef::Proposal)).collect())
}

/// Puts to `kept` what can be committed of the candidates: a proposal that is invalid in this group must not keep its
/// members from committing others. What does not hold as a whole is halved, so that one bad proposal among many costs
/// few attempts.
fn keep(
    kept: &mut Vec<ProposalRef>,
    candidates: &[ProposalRef],
    holds: &dyn Fn(&[ProposalRef]) -> bool,
) {
    let before = kept.len();
    kept.extend_from_slice(candidates);
    if holds(kept) {
        return;
    }
    kept.truncate(before);
    if candidates.len() > 1 {
        let (first, second) = candidates.split_at(candidates.len() / 2);
        keep(kept, first, holds);
        keep(kept, second, holds);
    }
}
