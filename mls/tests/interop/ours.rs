//! Our own implementation, over either of its backends.

use std::sync::Arc;

use mls::{
    AcceptAnyCredential, Client, ClientOptions, ExternalJoinOptions, Group, GroupId,
    GroupInfoOptions, GroupOptions, HandshakeFormat, Identity, KeyPackageBundle, LeafIndex,
    MemoryPskStore, PendingCommit, Processed, UnixTime,
    codec::Encode,
    crypto,
    framing::Padding,
    schedule::Psk,
    wire::{CipherSuite, Credential, Extension, ExtensionType, PskSource},
};
use rand::{SeedableRng, rngs::StdRng};

use super::member::{
    Change, CommitOptions, Committed, EXPORT_CONTEXT, EXPORT_LABEL, EXPORT_LENGTH, EXTENSION,
    ExternalJoin, Implementation, JoinedExternally, Listed, Member, Outsider, Profile, Received,
    View, now,
};

struct OurClient {
    client: Client,
    bundle: Option<KeyPackageBundle>,
    rng: StdRng,
}

struct OurMember {
    group: Group,
    pending: Option<PendingCommit>,
    rng: StdRng,
}

pub(crate) fn outsider(profile: Profile) -> Box<dyn Outsider> {
    let mut rng = StdRng::seed_from_u64(profile.seed);
    let provider = match profile.implementation {
        Implementation::MlsRustCrypto => &crypto::RUST_CRYPTO,
        _ => &crypto::AWS_LC_RS,
    };
    let suite = provider.suite(CipherSuite(profile.suite)).unwrap();
    let psks = MemoryPskStore::new();
    for (id, psk) in &profile.psks {
        psks.insert(id.clone(), Psk::from_slice(psk));
    }
    let mut options = ClientOptions {
        handshake: if profile.private { HandshakeFormat::Private } else { HandshakeFormat::Public },
        padding: if profile.padded { Padding::PowerOfTwo } else { Padding::None },
        psks: Arc::new(psks),
        ..ClientOptions::new(AcceptAnyCredential)
    };
    options.capabilities.extensions.push(ExtensionType(EXTENSION));
    let identity = Identity::basic(profile.name.as_bytes(), suite, &mut rng).unwrap();
    Box::new(OurClient { client: Client::new(suite, identity, options), bundle: None, rng })
}

fn time() -> UnixTime {
    UnixTime(now())
}

impl Outsider for OurClient {
    fn key_package(&mut self) -> Vec<u8> {
        let bundle = self.client.key_package(&mut self.rng, time()).unwrap();
        let message = bundle.message();
        self.bundle = Some(bundle);
        message
    }

    fn create(mut self: Box<Self>, group_id: &[u8]) -> Box<dyn Member> {
        let id = GroupId(group_id.to_vec());
        let options = GroupOptions::default();
        let group = self.client.create_group(id, options, &mut self.rng, time()).unwrap();
        Box::new(OurMember { group, pending: None, rng: self.rng })
    }

    fn join(self: Box<Self>, welcome: &[u8], tree: Option<&[u8]>) -> Box<dyn Member> {
        let staged = self.client.join(welcome, &self.bundle, tree, time()).unwrap();
        Box::new(OurMember { group: staged.accept(), pending: None, rng: self.rng })
    }

    fn join_external(mut self: Box<Self>, join: &ExternalJoin<'_>) -> JoinedExternally {
        let options = ExternalJoinOptions {
            resync: join.former.is_some(),
            psks: join.psk.iter().cloned().map(external).collect(),
            ..ExternalJoinOptions::default()
        };
        let pending = self
            .client
            .join_external(join.group_info, join.tree, options, &mut self.rng, time())
            .unwrap();
        let removed: Vec<u32> =
            pending.changes().removed.iter().map(|member| member.leaf.0).collect();
        assert_eq!(removed, Vec::from_iter(join.former));
        let commit = pending.commit().to_vec();
        let member = OurMember { group: pending.confirm(), pending: None, rng: self.rng };
        JoinedExternally { member: Box::new(member), commit }
    }
}

fn external(psk_id: Vec<u8>) -> PskSource {
    PskSource::External { psk_id }
}

fn extensions(extensions: &super::member::Extensions) -> mls::wire::Extensions {
    let pair = |(kind, data): (&u16, &Vec<u8>)| Extension {
        extension_type: ExtensionType(*kind),
        data: data.clone(),
    };
    extensions.iter().map(pair).collect()
}

impl Member for OurMember {
    fn leaf(&self) -> u32 {
        self.group.own_leaf().0
    }

    fn is_active(&self) -> bool {
        self.group.is_active()
    }

    fn propose(&mut self, change: &Change) -> Vec<u8> {
        let Self { group, rng, .. } = self;
        let proposal = match change {
            Change::Add(message) => {
                let key_package = group.client().read_key_package(message, time()).unwrap();
                group.propose_add(key_package, rng, time())
            }
            Change::Remove(leaf) => group.propose_remove(LeafIndex(*leaf), rng),
            Change::Update => group.propose_update(rng),
            Change::Psk(id) => group.propose_psk(external(id.clone()), rng),
            Change::Extensions(content) => group.propose_extensions(extensions(content), rng),
        };
        proposal.unwrap().message
    }

    fn commit(&mut self, options: &CommitOptions) -> Committed {
        let client = self.group.client().clone();
        let mut builder = self.group.commit().welcome_tree(options.tree_in_welcome);
        for change in &options.changes {
            builder = match change {
                Change::Add(message) => {
                    builder.add(client.read_key_package(message, time()).unwrap())
                }
                Change::Remove(leaf) => builder.remove(LeafIndex(*leaf)),
                Change::Update => panic!("an update is never committed by value"),
                Change::Psk(id) => builder.psk(external(id.clone())),
                Change::Extensions(content) => builder.extensions(extensions(content)),
            };
        }
        if !options.path {
            builder = builder.omit_path();
        }
        let pending = builder.build(&mut self.rng, time()).unwrap();
        let committed = Committed {
            commit: pending.commit().to_vec(),
            welcome: pending.welcome().map(<[u8]>::to_vec),
        };
        self.pending = Some(pending);
        committed
    }

    fn confirm(&mut self) {
        self.group.confirm(self.pending.take().unwrap()).unwrap();
    }

    fn abandon(&mut self) {
        drop(self.pending.take().unwrap());
    }

    fn receive(&mut self, message: &[u8]) -> Received {
        match self.group.process(message, time()).unwrap() {
            Processed::Proposal(_) => Received::Proposal,
            Processed::Commit(staged) => {
                self.group.merge(*staged).unwrap();
                Received::Commit
            }
            Processed::Application(message) => Received::Data {
                sender: message.sender.leaf.0,
                data: message.data,
                authenticated_data: message.authenticated_data,
            },
        }
    }

    fn protect(&mut self, data: &[u8], authenticated_data: &[u8]) -> Vec<u8> {
        self.group.protect(data, authenticated_data, &mut self.rng).unwrap()
    }

    fn group_info(&mut self, tree: bool) -> Vec<u8> {
        self.group.group_info(GroupInfoOptions { tree, external_pub: true }).unwrap()
    }

    fn view(&self) -> View {
        let group = &self.group;
        let listed = |member: mls::Member| Listed {
            leaf: member.leaf.0,
            name: match member.credential {
                Credential::Basic(name) => String::from_utf8(name).unwrap(),
                other => panic!("expected a basic credential, got {other:?}"),
            },
            signature_key: member.signature_key.0,
        };
        let exported = group.export(EXPORT_LABEL, EXPORT_CONTEXT, EXPORT_LENGTH).unwrap();
        View {
            epoch: group.epoch(),
            epoch_authenticator: group.epoch_authenticator().unwrap().as_bytes().to_vec(),
            tree_hash: group.context().tree_hash.0.clone(),
            context: group.context().to_bytes(),
            tree: group.ratchet_tree(),
            roster: group.roster().map(listed).collect(),
            exported: exported.as_bytes().to_vec(),
        }
    }

    fn lose(self: Box<Self>) -> Box<dyn Outsider> {
        Box::new(OurClient { client: self.group.client().clone(), bundle: None, rng: self.rng })
    }
}
