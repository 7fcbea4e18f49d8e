//! Our side: two members, one of them the creator, and a moderator outside the group.

use std::time::SystemTime;

use mls::{
    AcceptAnyCredential, Client, ClientOptions, ExternalProposer, Group, GroupId, GroupInfoOptions,
    GroupOptions, HandshakeFormat, Identity, KeyPackageBundle, Processed, UnixTime,
    crypto::Suite,
    validation::{CustomProposal, CustomProposalType},
    wire::{
        Credential, Extension, ExtensionType, Extensions, ExternalSender, ExternalSenders,
        ProposalType, Sender, SignaturePublicKey,
    },
};
use rand::rngs::StdRng;

use crate::support::{rng, suite};

/// A type that the application defines; a commit needs no path for it.
pub(crate) const CUSTOM: ProposalType = ProposalType(0xf0a1);

/// What a peer can do with messages of the group.
pub(crate) trait Peer {
    /// A key package message. The private keys stay here.
    fn key_package(&mut self) -> Vec<u8>;
    fn join(&mut self, welcome: &[u8]);
    /// Keeps a proposal, or applies a commit.
    fn receive(&mut self, message: &[u8]);
    /// Commits all that it keeps, and applies the commit. Gives the commit and the Welcome.
    fn commit(&mut self) -> (Vec<u8>, Option<Vec<u8>>);
    /// A custom proposal by reference, which it keeps.
    fn propose_custom(&mut self, data: &[u8]) -> Vec<u8>;
    fn authenticator(&self) -> Vec<u8>;
    /// What it says of itself as an external sender.
    fn external_sender(&self) -> (Vec<u8>, Vec<u8>);
    /// As external sender with this index proposes to remove a leaf.
    fn propose_remove_from_outside(&mut self, group_info: &[u8], index: u32, leaf: u32) -> Vec<u8>;
    /// Another client of this implementation asks to be added.
    fn propose_join(&mut self, group_info: &[u8]) -> Vec<u8>;
}

pub(crate) fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
}

fn options() -> ClientOptions {
    let mut options = ClientOptions::new(AcceptAnyCredential);
    options.handshake = HandshakeFormat::Public;
    options.proposal_types = vec![CustomProposalType {
        proposal_type: CUSTOM,
        path_required: false,
        external_senders: true,
    }];
    options
}

fn client(name: &str, suite: &'static Suite, rng: &mut StdRng) -> Client {
    Client::new(suite, Identity::basic(name, suite, rng).unwrap(), options())
}

/// A group of our creator, our second member, and the peer as third. Both the peer and our moderator may propose from
/// outside: they are entries 1 and 0.
pub(crate) struct Scene<P> {
    pub(crate) creator: Group,
    pub(crate) second: Group,
    pub(crate) peer: P,
    pub(crate) moderator: Client,
    pub(crate) rng: StdRng,
}

impl<P: Peer> Scene<P> {
    pub(crate) fn new(seed: u64, mut peer: P) -> Self {
        let (suite, mut rng) = (suite(), rng(seed));
        let [creator, second, moderator] =
            ["creator", "second", "moderator"].map(|name| client(name, suite, &mut rng));
        let (name, key) = peer.external_sender();
        let theirs = ExternalSender {
            signature_key: SignaturePublicKey(key),
            credential: Credential::Basic(name),
        };
        let senders = ExternalSenders(vec![moderator.identity().external_sender(), theirs]);
        let senders = Extension::new(ExtensionType::EXTERNAL_SENDERS, &senders);
        let extensions = Extensions::from_iter([senders]);
        let options = GroupOptions { extensions, ..GroupOptions::default() };
        let id = GroupId(b"interop".to_vec());
        let mut group = creator.create_group(id, options, &mut rng, now()).unwrap();
        let bundle = second.key_package(&mut rng, now()).unwrap();
        let theirs = creator.read_key_package(&peer.key_package(), now()).unwrap();
        let builder = group.commit().add(bundle.key_package().clone()).add(theirs);
        let pending = builder.build(&mut rng, now()).unwrap();
        let welcome = pending.welcome().unwrap().to_vec();
        group.confirm(pending).unwrap();
        let second = second.join(&welcome, [&bundle], None, now()).unwrap().accept();
        peer.join(&welcome);
        let scene = Self { creator: group, second, peer, moderator, rng };
        scene.agree();
        scene
    }

    pub(crate) fn agree(&self) {
        let expected = self.creator.epoch_authenticator().unwrap().as_bytes().to_vec();
        assert_eq!(self.peer.authenticator(), expected);
        if self.second.is_active() {
            assert_eq!(self.second.epoch_authenticator().unwrap().as_bytes(), expected);
        }
    }

    pub(crate) fn group_info(&self) -> Vec<u8> {
        self.creator.group_info(GroupInfoOptions::default()).unwrap()
    }

    pub(crate) fn proposer(&self) -> ExternalProposer {
        let identity = self.moderator.identity().clone();
        ExternalProposer::in_group(suite(), identity, self.creator.context()).unwrap()
    }

    /// Somebody new on our side asks to be added. Gives the message and what it takes to join.
    pub(crate) fn asks(&mut self, name: &str) -> (Vec<u8>, Client, KeyPackageBundle) {
        let client = client(name, suite(), &mut self.rng);
        let bundle = client.key_package(&mut self.rng, now()).unwrap();
        let (id, epoch) = (self.creator.id().clone(), self.creator.epoch());
        (client.propose_join(id, epoch, &bundle).unwrap().message, client, bundle)
    }

    /// Hands a proposal to our members.
    pub(crate) fn ours_keep(&mut self, message: &[u8]) {
        for group in [&mut self.creator, &mut self.second] {
            assert!(matches!(group.process(message, now()).unwrap(), Processed::Proposal(_)));
        }
    }

    /// Our creator commits all that it keeps; gives what the commit covered of custom proposals, and the Welcome.
    pub(crate) fn we_commit(
        &mut self,
        by_value: Option<&[u8]>,
        path: bool,
    ) -> (Vec<CustomProposal>, Option<Vec<u8>>) {
        let mut builder = self.creator.commit();
        if let Some(data) = by_value {
            builder = builder.proposal(mls::wire::Proposal::Other(CUSTOM, data.to_vec()));
        }
        if !path {
            builder = builder.omit_path();
        }
        let pending = builder.build(&mut self.rng, now()).unwrap();
        let commit = pending.commit().to_vec();
        let welcome = pending.welcome().map(<[u8]>::to_vec);
        merge(&mut self.second, &commit);
        self.peer.receive(&commit);
        let change = self.creator.confirm(pending).unwrap();
        self.agree();
        (change.changes.custom, welcome)
    }

    /// The peer commits all that it keeps; gives what our creator saw of custom proposals, and the Welcome.
    pub(crate) fn peer_commits(&mut self) -> (mls::Changes, Option<Vec<u8>>) {
        let (commit, welcome) = self.peer.commit();
        merge(&mut self.second, &commit);
        let changes = merge(&mut self.creator, &commit);
        self.agree();
        (changes, welcome)
    }
}

fn merge(group: &mut Group, commit: &[u8]) -> mls::Changes {
    let Processed::Commit(staged) = group.process(commit, now()).unwrap() else {
        panic!("expected a commit")
    };
    group.merge(*staged).unwrap().changes
}

pub(crate) fn custom(data: &[u8], sender: Sender) -> CustomProposal {
    CustomProposal { proposal_type: CUSTOM, data: data.to_vec(), sender }
}

/// Our proposals from outside reach the peer's commit, and the peer's reach ours.
pub(crate) fn proposals_from_outside<P: Peer>(seed: u64, peer: P) {
    let mut scene = Scene::new(seed, peer);
    // Ours: a moderator adds somebody, somebody asks to be added. The peer commits.
    let (asked, asker, bundle) = scene.asks("asker");
    let added = client("added", suite(), &mut scene.rng);
    let added_bundle = added.key_package(&mut scene.rng, now()).unwrap();
    let add = scene.proposer().propose_add(added_bundle.key_package().clone()).unwrap().message;
    for message in [&asked, &add] {
        scene.ours_keep(message);
        scene.peer.receive(message);
    }
    let (changes, welcome) = scene.peer_commits();
    assert_eq!(changes.added.len(), 2);
    let welcome = welcome.unwrap();
    let joined = asker.join(&welcome, [&bundle], None, now()).unwrap().accept();
    let also = added.join(&welcome, [&added_bundle], None, now()).unwrap().accept();
    assert_eq!(joined.epoch_authenticator().unwrap(), also.epoch_authenticator().unwrap());
    assert_eq!(joined.epoch_authenticator().unwrap(), scene.creator.epoch_authenticator().unwrap());
    // Ours: the moderator removes the one who asked. The peer commits.
    let removal = scene.proposer().propose_remove(joined.own_leaf()).unwrap().message;
    scene.ours_keep(&removal);
    scene.peer.receive(&removal);
    let (changes, _) = scene.peer_commits();
    assert_eq!(changes.removed[0].leaf, joined.own_leaf());
    // Theirs: the peer's implementation as external sender removes the other one, and another client of it asks to be added.
    let info = scene.group_info();
    let removal = scene.peer.propose_remove_from_outside(&info, 1, also.own_leaf().0);
    let asked = scene.peer.propose_join(&info);
    for message in [&removal, &asked] {
        scene.ours_keep(message);
        scene.peer.receive(message);
    }
    let senders: Vec<Sender> = scene.creator.proposals().map(|proposal| proposal.sender).collect();
    assert_eq!(senders, [Sender::External(1), Sender::NewMemberProposal]);
    let (_, welcome) = scene.we_commit(None, true);
    assert!(welcome.is_some());
    let roster: Vec<_> = scene.creator.roster().collect();
    let newcomer = |member: &mls::Member| member.credential == Credential::basic("another peer");
    assert_eq!(roster.iter().filter(|member| newcomer(member)).count(), 1);
    assert!(roster.iter().all(|member| member.credential != Credential::basic("added")));
}

/// Custom proposals by value and by reference, with and without a path, in both directions.
pub(crate) fn custom_proposals<P: Peer>(seed: u64, peer: P, reference_from_peer: Sender) {
    let mut scene = Scene::new(seed, peer);
    let (seen, _) = scene.we_commit(Some(b"by value"), true);
    assert_eq!(seen.len(), 1);
    let (seen, _) = scene.we_commit(Some(b"without a path"), false);
    assert_eq!(seen.len(), 1);

    let proposal = mls::wire::Proposal::Other(CUSTOM, b"by reference".to_vec());
    let message = scene.second.propose(proposal, &mut scene.rng, now()).unwrap().message;
    let _ = scene.creator.process(&message, now()).unwrap();
    scene.peer.receive(&message);
    let (changes, _) = scene.peer_commits();
    let ours = Sender::Member(scene.second.own_leaf());
    assert_eq!(changes.custom, [custom(b"by reference", ours)]);

    let message = scene.peer.propose_custom(b"theirs");
    scene.ours_keep(&message);
    let (seen, _) = scene.we_commit(None, true);
    assert_eq!(seen, [custom(b"theirs", reference_from_peer)]);
}
