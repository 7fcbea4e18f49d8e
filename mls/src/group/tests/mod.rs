//! Commits and proposals that break a rule, correctly signed and tagged by a member: every member and the delivery
//! service must name the rule and stay as they are.

#[path = "../../../tests/support/mod.rs"]
mod support;

mod bad_bytes;
mod combined;
mod custom;
mod deletion;
mod external;
mod hostile;
mod joined;
mod leaf_rules;
mod leaves;
mod misuse;
mod mutations;
mod outside;
mod own_state;
mod proposals;
mod self_remove;
mod succession;
mod welcome;

use rand::rngs::StdRng;

use crate::{
    AcceptAnyCredential, Action, Client, ClientOptions, CommitBuilder, Group, GroupInfoOptions,
    KeyPackageBundle, PendingCommit, ProcessError, PublicGroup, PublicGroupOptions,
    PublicProcessed,
    codec::{Decode, Encode},
    framing::{protect_public, sign},
    tree::TreeView,
    validation::ProposalListViolation,
    wire::{
        Add, Commit, ConfirmationTag, Content, FramedContent, HpkePublicKey, KeyPackage, LeafIndex,
        LeafNode, LeafNodeSource, MlsMessage, MlsMessageBody, Proposal, ProposalOrRef, Sender,
        Update, UpdatePath, WireFormat,
    },
};

use support::{NOW, Settled, client, group_of, key_package, public_options, rng, suite};

/// A group of three with the delivery service that follows it.
struct Scene {
    groups: Vec<Group>,
    service: PublicGroup,
    rng: StdRng,
    options: ClientOptions,
}

fn scene(seed: u64) -> Scene {
    scene_with(seed, public_options())
}

fn scene_with(seed: u64, options: ClientOptions) -> Scene {
    let mut rng = rng(seed);
    let mut groups = group_of(4, suite(), &options, &mut rng);
    support::everybody_commits(&mut groups, &mut rng);
    let service = PublicGroupOptions {
        rules: options.rules.clone(),
        proposal_types: options.proposal_types.clone(),
        ..PublicGroupOptions::new(AcceptAnyCredential)
    };
    let info = groups[0].group_info(GroupInfoOptions::default()).unwrap();
    let service = PublicGroup::new(suite(), &info, None, service, NOW).unwrap();
    Scene { groups, service, rng, options }
}

impl Scene {
    fn client(&mut self, name: &str) -> Client {
        client(name, suite(), self.options.clone(), &mut self.rng)
    }

    fn key_package(&mut self, name: &str) -> KeyPackageBundle {
        let client = self.client(name);
        key_package(&client, &mut self.rng)
    }

    /// Everybody but the committer, member 0, receives the commit and names the violation, unchanged.
    fn refuse(&mut self, bytes: &[u8], violation: &ProposalListViolation) {
        // Others may have received, or registered, what this member lacks.
        let lacking = matches!(
            violation,
            ProposalListViolation::UnknownReference(_) | ProposalListViolation::NotImplemented(_)
        );
        let action = if lacking { Action::Resync } else { Action::Drop };
        self.refuse_as(bytes, &ProcessError::InvalidCommit(violation.clone()), action);
    }

    /// Everybody but the sender, member 0, receives the message and gives this error, unchanged.
    fn refuse_as(&mut self, bytes: &[u8], expected: &ProcessError, action: Action) {
        assert_eq!(expected.action(), action);
        for group in &mut self.groups[1..] {
            let before = group.encode_state().unwrap();
            assert_eq!(group.process(bytes, NOW).unwrap_err(), *expected);
            assert_eq!(*group.encode_state().unwrap(), *before);
        }
        let (tree, context) = (self.service.ratchet_tree(), self.service.context().clone());
        assert_eq!(self.service.process(bytes, NOW).unwrap_err(), *expected);
        assert_eq!((self.service.ratchet_tree(), self.service.context()), (tree, &context));
    }

    /// A commit of member 0 with these proposals by value, and no path.
    fn forge(&self, proposals: Vec<Proposal>) -> Vec<u8> {
        let proposals = proposals.into_iter().map(ProposalOrRef::Proposal).collect();
        self.forge_commit(Commit { proposals, path: None })
    }

    fn forge_commit(&self, commit: Commit) -> Vec<u8> {
        forge(&self.groups[0], Content::Commit(Box::new(commit)))
    }

    /// A valid commit of member 0, taken apart.
    fn valid_path(&mut self) -> UpdatePath {
        let pending = self.groups[0].commit().build(&mut self.rng, NOW).unwrap();
        commit_in(pending.commit()).path.unwrap()
    }

    /// Hands a proposal to everybody, the service included, and gives its reference.
    fn propose(&mut self, from: usize, message: &[u8]) -> ProposalOrRef {
        for (index, group) in self.groups.iter_mut().enumerate() {
            if index != from {
                let _ = group.process(message, NOW).unwrap();
            }
        }
        match self.service.process(message, NOW).unwrap() {
            PublicProcessed::Proposal(proposal) => {
                let reference = proposal.reference.clone();
                self.service.store_proposal(proposal).unwrap();
                ProposalOrRef::Reference(reference)
            }
            PublicProcessed::Commit(_) => panic!("expected a proposal"),
        }
    }

    /// A commit of member 0 takes effect for everybody.
    fn commit(&mut self, build: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>) -> Settled {
        let pending = build(self.groups[0].commit()).build(&mut self.rng, NOW).unwrap();
        self.settle(0, pending)
    }

    /// A commit that a member has built takes effect for everybody.
    fn settle(&mut self, from: usize, pending: PendingCommit) -> Settled {
        let settled = support::settle(&mut self.groups, from, pending);
        follow(&mut self.service, &settled.commit);
        settled
    }

    /// The state goes on as if nothing had been received.
    fn goes_on(mut self) {
        for group in &mut self.groups {
            group.clear_proposals();
        }
        self.service.clear_proposals();
        for index in 0..self.groups.len() {
            let pending = self.groups[index].commit().build(&mut self.rng, NOW).unwrap();
            self.settle(index, pending);
            support::assert_agreement(&self.groups);
            assert_eq!(self.groups[0].context(), self.service.context());
        }
    }
}

fn follow(service: &mut PublicGroup, commit: &[u8]) {
    match service.process(commit, NOW).unwrap() {
        PublicProcessed::Commit(staged) => service.merge(*staged).unwrap(),
        PublicProcessed::Proposal(_) => panic!("expected a commit"),
    };
}

fn add(key_package: &KeyPackage) -> Proposal {
    Proposal::Add(Box::new(Add { key_package: key_package.clone() }))
}

fn commit_in(message: &[u8]) -> Commit {
    match MlsMessage::from_bytes(message).unwrap().0 {
        MlsMessageBody::PublicMessage(message) => match message.content.content {
            Content::Commit(commit) => *commit,
            other => panic!("expected a commit, not {other:?}"),
        },
        other => panic!("expected a public message, not {other:?}"),
    }
}

/// Content signed and tagged by the member whose group is given, whatever it says. The confirmation tag of a commit is
/// arbitrary: no rule that is tested here comes after it.
fn forge(group: &Group, content: Content) -> Vec<u8> {
    let is_commit = matches!(content, Content::Commit(_));
    let content = FramedContent {
        group_id: group.id().clone(),
        epoch: group.epoch(),
        sender: Sender::Member(group.own_leaf()),
        authenticated_data: Vec::new(),
        content,
    };
    let context = &group.state.context_bytes;
    let signer = group.client.identity().signer();
    let signed = sign(suite(), WireFormat::PublicMessage, content, context, signer).unwrap();
    let authenticated = match is_commit {
        true => signed.confirmed(ConfirmationTag(vec![0; 32])).unwrap(),
        false => signed.finish().unwrap(),
    };
    let key = group.secrets.as_ref().unwrap().epoch.membership_key();
    let message = protect_public(suite(), authenticated, Some(key), context).unwrap();
    MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes()
}

/// An Update of the member whose group is given, its leaf altered and signed by `signer` for a leaf of this group.
fn forge_update(
    group: &Group,
    (signer, place): (&Client, LeafIndex),
    alter: impl FnOnce(&mut LeafNode),
) -> Vec<u8> {
    let mut leaf_node = own_leaf_node(group);
    leaf_node.source = LeafNodeSource::Update;
    let fresh = suite().kem.generate(&mut rng(0)).unwrap();
    leaf_node.encryption_key = HpkePublicKey::from(fresh.public());
    alter(&mut leaf_node);
    signer.identity().sign_leaf(suite(), &mut leaf_node, group.id(), place).unwrap();
    forge(group, Content::Proposal(Proposal::Update(Box::new(Update { leaf_node }))))
}

fn own_leaf_node(group: &Group) -> LeafNode {
    group.state.tree.leaf(group.own_leaf()).unwrap().to_leaf_node()
}

const LAST: LeafIndex = LeafIndex(3);
