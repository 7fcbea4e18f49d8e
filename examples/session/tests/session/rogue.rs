//! A member that keeps to no rule: a bare MLS client in a call of sessions.

use std::sync::Arc;

use call_session::NamedMembers;
use mls::crypto::os_rng;
use mls::schedule::Psk;
use mls::wire::ExtensionType;
use mls::{
    CipherSuite, Client, ClientOptions, CommitBuilder, Group, GroupInfoOptions, HandshakeFormat,
    Identity, KeyPackageBundle, MemoryPskStore, Processed,
};
use sframe_bridge::CallParameters;
use sfu_protocol::{DeliveryEvent, DeliveryRequest, EntryKind, Refusal, ServerBody};

use crate::evil::{self, Deceit, deceiving};
use crate::world::World;

pub(crate) const INFO: GroupInfoOptions = GroupInfoOptions { tree: false, external_pub: true };

pub(crate) struct Rogue {
    name: String,
    pub(crate) client: Client,
    bundle: Option<KeyPackageBundle>,
    group: Option<Group>,
    read: usize,
}

impl Rogue {
    /// A client without a group. It has the invite's secret, if one is given.
    pub(crate) fn new(name: &str, invite: Option<&str>) -> Self {
        let provider = mls::crypto::default_provider();
        let honest = provider.suite(CipherSuite::P256_AES128GCM_SHA256_P256).unwrap();
        let suite = evil::suite(honest);
        let identity = Identity::basic(name, suite, &mut os_rng()).unwrap();
        let mut options = ClientOptions::new(NamedMembers);
        let parameters = ExtensionType(CallParameters::EXTENSION_TYPE);
        options.capabilities.extensions.push(parameters);
        options.handshake = HandshakeFormat::Public;
        if let Some(invite) = invite {
            let store = MemoryPskStore::new();
            store.insert(b"framelock invite", Psk::from_slice(invite.as_bytes()));
            options.psks = Arc::new(store);
        }
        let client = Client::new(suite, identity, options);
        Self { name: name.to_owned(), client, bundle: None, group: None, read: 0 }
    }

    pub(crate) fn key_package(&mut self, world: &World) -> Vec<u8> {
        let bundle = self.client.key_package(&mut os_rng(), world.moment().unix).unwrap();
        let message = bundle.message();
        self.bundle = Some(bundle);
        message
    }

    /// Becomes a member as everybody does.
    pub(crate) fn join(&mut self, world: &mut World) {
        world.wires.insert(self.name.clone(), Vec::new());
        let key_package = self.key_package(world).into();
        self.ask(world, DeliveryRequest::Join { key_package }).unwrap();
        world.run(1_000);
        self.follow(world);
        assert!(self.group.is_some(), "{} was not let in", self.name);
    }

    pub(crate) fn ask(
        &self,
        world: &mut World,
        request: DeliveryRequest,
    ) -> Result<ServerBody, Refusal> {
        world.answer(&self.name, request).unwrap()
    }

    pub(crate) fn group(&mut self) -> &mut Group {
        self.group.as_mut().unwrap()
    }

    pub(crate) fn try_join(
        &self,
        world: &World,
        welcome: &[u8],
        tree: &[u8],
    ) -> Result<Group, mls::JoinError> {
        let bundle = self.bundle.as_ref().unwrap();
        let joined = self.client.join(welcome, [bundle], Some(tree), world.moment().unix);
        joined.map(mls::StagedJoin::accept)
    }

    /// The latest Welcome that came, and its epoch.
    pub(crate) fn welcome(&self, world: &World) -> Option<(u64, Vec<u8>)> {
        world.wires[&self.name].iter().rev().find_map(|event| match event {
            DeliveryEvent::Welcome { epoch, welcome } => Some((*epoch, welcome.to_vec())),
            _ => None,
        })
    }

    /// Reads what has come.
    pub(crate) fn follow(&mut self, world: &World) {
        let unix = world.moment().unix;
        if self.group.is_none()
            && let Some((epoch, welcome)) = self.welcome(world)
        {
            let tree = &world.trees[&epoch];
            self.group = Some(self.try_join(world, &welcome, tree).unwrap());
        }
        for event in &world.wires[&self.name][self.read..] {
            let DeliveryEvent::Entry { entry } = event else { continue };
            let Some(group) = self.group.as_mut().filter(|group| group.epoch() == entry.epoch)
            else {
                continue;
            };
            match group.process(&entry.message, unix) {
                Ok(Processed::Commit(staged)) => drop(group.merge(*staged).unwrap()),
                Ok(_) => {}
                Err(error) => assert!(entry.kind == EntryKind::Commit, "{error}"),
            }
        }
        self.read = world.wires[&self.name].len();
    }

    /// Commits and, if the server takes it, makes it its own. Whom it encrypts to, it deceives in one way; what it says
    /// of the epoch that begins, in another.
    pub(crate) fn commit(
        &mut self,
        world: &mut World,
        path: Deceit,
        info: Deceit,
        what: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>,
    ) -> Result<(), Refusal> {
        let unix = world.moment().unix;
        let group = self.group.as_mut().unwrap();
        let builder = what(group.commit().welcome_tree(false));
        let pending = deceiving(path, || builder.build(&mut os_rng(), unix)).unwrap();
        let request = DeliveryRequest::Submit {
            proposals: Vec::new(),
            commit: pending.commit().into(),
            welcome: pending.welcome().map(Into::into),
            group_info: deceiving(info, || pending.group_info(group, INFO)).unwrap().into(),
        };
        let _ = world.answer(&self.name, request).unwrap()?;
        let _ = self.group().confirm(pending).unwrap();
        self.read = world.wires[&self.name].len();
        Ok(())
    }

    /// Commits without deceit.
    pub(crate) fn plainly(
        &mut self,
        world: &mut World,
        what: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>,
    ) -> Result<(), Refusal> {
        self.commit(world, Deceit::None, Deceit::None, what)
    }
}
