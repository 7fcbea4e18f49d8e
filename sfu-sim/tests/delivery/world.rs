//! Members with real groups around one delivery service, under virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mls::client::ExternalJoinOptions;
use mls::group::GroupInfoOptions;
use mls::wire::{LeafIndex, MlsMessage, MlsMessageBody};
use mls::{Group, GroupId, PendingCommit};
use sfu_sim::delivery::{
    CallId, ConnectionId, DeliveryConfig, DeliveryService, Loaded, MemoryStorage, Now, Output,
    Storage, StorageDone, StorageEffect,
};
use sfu_sim::protocol::{
    Blob, ChangeKind, DeliveryEvent, DeliveryRequest, Identity, Participant, RefusalCode,
    ServerBody, ServerMessage, SessionEvent,
};

use crate::client::TestClient;

pub const INFO: GroupInfoOptions = GroupInfoOptions { tree: false, external_pub: true };

/// A delivery service, its storage, its clock, and the clients.
pub struct World {
    pub service: DeliveryService,
    pub storage: Arc<dyn Storage>,
    pub config: DeliveryConfig,
    pub now: Now,
    pub clients: BTreeMap<String, TestClient>,
    /// Everything that is neither a message nor for the storage.
    pub events: Vec<Output>,
    /// Whether effects are kept back instead of being carried out.
    pub hold_storage: bool,
    pub held: VecDeque<StorageEffect>,
    runtime: tokio::runtime::Runtime,
    next_connection: u64,
    next_request: u64,
    boot: u64,
}

/// The parts of a bundle, to be spoilt.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub proposals: Vec<Blob>,
    pub commit: Blob,
    pub welcome: Option<Blob>,
    pub group_info: Blob,
}

impl From<Bundle> for DeliveryRequest {
    fn from(bundle: Bundle) -> Self {
        let Bundle { proposals, commit, welcome, group_info } = bundle;
        Self::Submit { proposals, commit, welcome, group_info }
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(DeliveryConfig::default(), Arc::new(MemoryStorage::new()))
    }

    pub fn with(config: DeliveryConfig, storage: Arc<dyn Storage>) -> Self {
        Self::at_node(config, storage, 1)
    }

    /// The world of one of several processes on the same storage.
    pub fn at_node(config: DeliveryConfig, storage: Arc<dyn Storage>, boot: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Now::from_unix_micros(u64::try_from(wall.as_micros()).unwrap());
        let call = CallId::new("room");
        let loaded = runtime.block_on(Loaded::read(&*storage, &call)).unwrap();
        let service = DeliveryService::open(config.clone(), call, boot, loaded, now);
        Self {
            service,
            storage,
            config,
            now,
            clients: BTreeMap::new(),
            events: Vec::new(),
            hold_storage: false,
            held: VecDeque::new(),
            runtime,
            next_connection: 0,
            next_request: 0,
            boot,
        }
    }

    /// Members by the names given, the first of them the creator, all acknowledged.
    pub fn with_members(names: &[&str]) -> Self {
        let mut world = Self::new();
        world.add_members(names);
        world
    }

    pub fn add_members(&mut self, names: &[&str]) {
        let (first, others) = names.split_first().unwrap();
        self.add_client(first, false);
        self.create_group(first).unwrap();
        for name in others {
            self.add_client(name, false);
            self.join(name).unwrap();
        }
        if !others.is_empty() {
            self.commit(first).unwrap();
        }
        self.pass(Duration::from_millis(20));
    }

    pub fn add_client(&mut self, name: &str, moderator: bool) {
        let client = TestClient::new(name, moderator);
        self.clients.insert(name.to_owned(), client);
        self.connect(name);
    }

    pub fn client(&mut self, name: &str) -> &mut TestClient {
        self.clients.get_mut(name).unwrap()
    }

    pub fn group(&self, name: &str) -> &Group {
        self.clients[name].group.as_ref().unwrap()
    }

    pub fn connect(&mut self, name: &str) {
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        let client = self.client(name);
        client.connection = Some(connection);
        client.pending.clear();
        let participant = Participant {
            identity: Identity::new(name),
            name: format!("{name}'s name"),
            moderator: client.moderator,
            connected: true,
        };
        self.service.connect(connection, &participant, self.now);
        self.pump();
        let epoch = self.clients[name].group.as_ref().map(Group::epoch);
        if let Some(epoch) = epoch.filter(|_| self.clients[name].follows) {
            self.catch_up(name, epoch);
        }
    }

    /// What a client does that comes back: it reads the log and says where it stands.
    fn catch_up(&mut self, name: &str, mut epoch: u64) {
        loop {
            let answer = self.ask(name, DeliveryRequest::FetchLog { since_epoch: epoch });
            let Ok(ServerBody::Delivery(DeliveryEvent::Log { entries, more, .. })) = answer else {
                return;
            };
            for entry in &entries {
                self.client(name).take_entry(entry.clone());
            }
            match entries.last().filter(|_| more) {
                Some(last) => epoch = last.epoch,
                None => break,
            }
        }
        if let Some(group) = &self.clients[name].group {
            let epoch = group.epoch();
            let _ = self.ask(name, DeliveryRequest::Ack { epoch, external_pub: None });
        }
    }

    pub fn disconnect(&mut self, name: &str) {
        let connection = self.client(name).connection.take().unwrap();
        self.service.disconnect(connection, self.now);
        self.pump();
    }

    /// Lets time pass, with all its deadlines.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.service.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.service.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
        self.service.handle_timeout(self.now);
        self.pump();
    }

    /// Kills the service and starts another one on the same storage. Everybody is disconnected.
    pub fn restart(&mut self) {
        self.boot += 1;
        self.held.clear();
        self.hold_storage = false;
        let call = CallId::new("room");
        let loaded = self.runtime.block_on(Loaded::read(&*self.storage, &call)).unwrap();
        self.service =
            DeliveryService::open(self.config.clone(), call, self.boot, loaded, self.now);
        for client in self.clients.values_mut() {
            client.connection = None;
        }
        self.pump();
    }

    /// Asks and gives the reply: the message, or the refusal's code.
    pub fn ask(
        &mut self,
        name: &str,
        request: impl Into<DeliveryRequest>,
    ) -> Result<ServerBody, RefusalCode> {
        let id = self.post(name, request);
        self.reply(name, id).expect("a reply to every request")
    }

    /// Asks without waiting for the reply.
    pub fn post(&mut self, name: &str, request: impl Into<DeliveryRequest>) -> u64 {
        self.next_request += 1;
        let id = self.next_request;
        let connection = self.client(name).connection.expect("a connected client");
        self.service.request(connection, Some(id), request.into(), self.now);
        self.pump();
        id
    }

    pub fn reply(&mut self, name: &str, id: u64) -> Option<Result<ServerBody, RefusalCode>> {
        let seen = &self.clients[name].seen;
        let mut replies = seen.iter().filter(|message| message.re == Some(id));
        let reply = replies.next()?.body.clone();
        assert!(replies.next().is_none(), "two replies to one request");
        Some(match reply {
            ServerBody::Session(SessionEvent::Refused(refusal)) => Err(refusal.code),
            body => Ok(body),
        })
    }

    /// Carries out what the service wants, and has the clients react, until all is quiet.
    pub fn pump(&mut self) {
        loop {
            while let Some(output) = self.service.poll_output() {
                match output {
                    Output::Send { to, message } => self.deliver(&[to], &message),
                    Output::Broadcast { to, message } => self.deliver(&to, &message),
                    Output::Storage(effect) if self.hold_storage => self.held.push_back(effect),
                    Output::Storage(effect) => self.carry_out(effect),
                    event => self.events.push(event),
                }
            }
            if !self.react() {
                return;
            }
        }
    }

    pub fn carry_out(&mut self, effect: StorageEffect) {
        let done = self.run(effect);
        self.service.storage_done(done, self.now);
    }

    pub fn run(&mut self, effect: StorageEffect) -> StorageDone {
        self.runtime.block_on(effect.run(&*self.storage))
    }

    /// Carries out what was kept back.
    pub fn release_storage(&mut self) {
        self.hold_storage = false;
        while let Some(effect) = self.held.pop_front() {
            self.carry_out(effect);
        }
        self.pump();
    }

    fn deliver(&mut self, to: &[ConnectionId], message: &ServerMessage) {
        let text = message.to_text();
        let message = ServerMessage::parse(&text).unwrap();
        for client in self.clients.values_mut() {
            if client.connection.is_some_and(|connection| to.contains(&connection)) {
                client.take(message.clone());
            }
        }
    }

    /// Has the clients say what they want to say by themselves.
    fn react(&mut self) -> bool {
        for name in self.clients.keys().cloned().collect::<Vec<_>>() {
            if self.clients[&name].connection.is_none() {
                continue;
            }
            if let Some((epoch, welcome)) = self.client(&name).welcome.take() {
                self.accept_welcome(&name, epoch, &welcome);
                return true;
            }
            let client = self.client(&name);
            let Some(epoch) = client.group.as_ref().map(Group::epoch) else { continue };
            if client.acknowledges && client.sent_acks.insert(epoch) {
                let connection = client.connection.unwrap();
                self.service.request(
                    connection,
                    None,
                    DeliveryRequest::Ack { epoch, external_pub: None },
                    self.now,
                );
                return true;
            }
        }
        false
    }

    fn accept_welcome(&mut self, name: &str, epoch: u64, welcome: &[u8]) {
        if self.clients[name].group.as_ref().is_some_and(|group| group.epoch() >= epoch) {
            return;
        }
        let tree = match self.ask(name, DeliveryRequest::FetchTree { epoch }) {
            Ok(ServerBody::Delivery(DeliveryEvent::Tree { ratchet_tree, .. })) => ratchet_tree,
            other => panic!("expected the tree, found {other:?}"),
        };
        let time = self.now.unix_time();
        let client = self.client(name);
        let joined = client.mls.join(welcome, &client.bundles, Some(&tree), time).unwrap();
        client.group = Some(joined.accept());
    }

    pub fn create_request(&mut self, name: &str) -> DeliveryRequest {
        let time = self.now.unix_time();
        let client = self.client(name);
        let rng = &mut mls::crypto::os_rng();
        let id = GroupId(format!("call of {name}").into_bytes());
        let group = client.mls.create_group(id, mls::GroupOptions::default(), rng, time).unwrap();
        let request = DeliveryRequest::Create {
            group_info: group.group_info(INFO).unwrap().into(),
            ratchet_tree: group.ratchet_tree().into(),
        };
        client.group = Some(group);
        client.acknowledged.clear();
        client.sent_acks.clear();
        request
    }

    pub fn create_group(&mut self, name: &str) -> Result<ServerBody, RefusalCode> {
        let request = self.create_request(name);
        let answer = self.ask(name, request);
        if answer.is_err() {
            self.client(name).group = None;
        }
        answer
    }

    pub fn key_package(&mut self, name: &str) -> Blob {
        let time = self.now.unix_time();
        let client = self.client(name);
        let bundle = client.mls.key_package(&mut mls::crypto::os_rng(), time).unwrap();
        let message = bundle.message().into();
        client.bundles.push(bundle);
        message
    }

    /// Asks to be added, as one who has no state.
    pub fn join(&mut self, name: &str) -> Result<ServerBody, RefusalCode> {
        let key_package = self.key_package(name);
        let client = self.client(name);
        client.group = None;
        client.acknowledged.clear();
        client.sent_acks.clear();
        self.ask(name, DeliveryRequest::Join { key_package })
    }

    /// Builds a commit of what is pending, as far as `take` wants it.
    pub fn build(&mut self, name: &str, take: impl Fn(&ChangeKind) -> bool) -> Bundle {
        let time = self.now.unix_time();
        let client = self.client(name);
        let group = client.group.as_mut().unwrap();
        let changes: Vec<ChangeKind> =
            client.pending.values().map(|change| change.kind.clone()).filter(take).collect();
        let mut builder = group.commit().welcome_tree(false);
        for change in changes {
            builder = match change {
                ChangeKind::Add { key_package, .. } => builder.add(read_key_package(&key_package)),
                ChangeKind::Remove { leaf, proposal: None, .. } => builder.remove(LeafIndex(leaf)),
                ChangeKind::Remove { .. } | ChangeKind::Proposal { .. } => builder,
            };
        }
        let pending = builder.build(&mut mls::crypto::os_rng(), time).unwrap();
        let bundle = bundle_of(&pending, client.group.as_ref().unwrap());
        client.committing = Some(pending);
        bundle
    }

    /// Commits everything pending.
    pub fn commit(&mut self, name: &str) -> Result<ServerBody, RefusalCode> {
        let bundle = self.build(name, |_| true);
        self.ask(name, bundle)
    }

    /// A bundle with an external commit by `name`, which resyncs.
    pub fn build_resync(&mut self, name: &str) -> (Bundle, mls::PendingExternalJoin) {
        let (group_info, tree) = self.fetch_group_info(name).unwrap();
        let options = ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
        let time = self.now.unix_time();
        let client = self.client(name);
        let rng = &mut mls::crypto::os_rng();
        let joining =
            client.mls.join_external(&group_info, Some(&tree), options, rng, time).unwrap();
        let bundle = Bundle {
            proposals: Vec::new(),
            commit: joining.commit().into(),
            welcome: None,
            group_info: joining.group_info(INFO).unwrap().into(),
        };
        (bundle, joining)
    }

    pub fn fetch_group_info(&mut self, name: &str) -> Result<(Blob, Blob), RefusalCode> {
        match self.ask(name, DeliveryRequest::FetchGroupInfo)? {
            ServerBody::Delivery(DeliveryEvent::GroupInfo { group_info, ratchet_tree, .. }) => {
                Ok((group_info, ratchet_tree))
            }
            other => panic!("expected a GroupInfo, found {other:?}"),
        }
    }

    /// All groups of the named clients are in the service's epoch and agree on its secrets.
    pub fn assert_agree(&self, names: &[&str]) {
        let first = self.group(names[0]);
        assert_eq!(Some(first.epoch()), self.service.epoch());
        assert_eq!(first.member_count() as usize, self.service.members());
        for name in names {
            let group = self.group(name);
            assert_eq!(group.epoch(), first.epoch(), "{name}");
            assert_eq!(
                group.epoch_authenticator().unwrap().as_bytes(),
                first.epoch_authenticator().unwrap().as_bytes(),
                "{name}"
            );
            let leaf = self.service.leaf_of(&Identity::new(*name));
            assert_eq!(leaf, Some(group.own_leaf().0), "{name}");
        }
    }

    /// What must not change when a request is refused.
    pub fn fingerprint(&self) -> String {
        let metrics = self.service.metrics();
        format!(
            "{:?} {:?} {} {} {} {}",
            self.service.epoch(),
            self.service.members(),
            metrics.pending,
            metrics.log_entries,
            metrics.commits_accepted,
            metrics.proposals_accepted,
        )
    }
}

pub fn read_key_package(message: &[u8]) -> mls::KeyPackage {
    match mls::codec::Decode::from_bytes(message) {
        Ok(MlsMessage(MlsMessageBody::KeyPackage(package))) => *package,
        other => panic!("expected a key package, found {other:?}"),
    }
}

pub fn bundle_of(pending: &PendingCommit, group: &Group) -> Bundle {
    Bundle {
        proposals: Vec::new(),
        commit: pending.commit().into(),
        welcome: pending.welcome().map(Blob::from),
        group_info: pending.group_info(group, INFO).unwrap().into(),
    }
}
