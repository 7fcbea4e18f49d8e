use std::collections::{BTreeMap, BTreeSet};

use mls::wire::{CipherSuite, UnixTime};
use mls::{
    AcceptAnyCredential, Client, ClientOptions, Group, HandshakeFormat, HandshakePolicy,
    KeyPackageBundle, PendingCommit, Processed,
};
use sfu_sim::delivery::ConnectionId;
use sfu_sim::protocol::{
    Blob, ChangeId, ChangeKind, DeliveryEvent, EntryKind, LogEntry, PendingChange, ServerBody,
    ServerMessage,
};

/// A client with its MLS state.
pub struct TestClient {
    pub name: String,
    pub mls: Client,
    pub connection: Option<ConnectionId>,
    pub moderator: bool,
    pub group: Option<Group>,
    pub bundles: Vec<KeyPackageBundle>,
    pub committing: Option<PendingCommit>,
    pub pending: BTreeMap<ChangeId, PendingChange>,
    pub create: bool,
    pub has_group: bool,
    pub acknowledged: BTreeMap<u64, Vec<u32>>,
    pub sent_acks: BTreeSet<u64>,
    /// Whether it acknowledges the epochs that it enters.
    pub acknowledges: bool,
    /// Whether it processes the log.
    pub follows: bool,
    pub entries: Vec<LogEntry>,
    pub seen: Vec<ServerMessage>,
    pub welcome: Option<(u64, Blob)>,
}

pub fn mls_client(name: &str) -> Client {
    let provider = mls::crypto::default_provider();
    let suite = provider.suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519).unwrap();
    let rng = &mut mls::crypto::os_rng();
    let identity = mls::Identity::basic(name.as_bytes(), suite, rng).unwrap();
    let mut options = ClientOptions::new(AcceptAnyCredential);
    options.handshake = HandshakeFormat::Public;
    options.accept = HandshakePolicy::PublicOnly;
    Client::new(suite, identity, options)
}

impl TestClient {
    pub fn new(name: &str, moderator: bool) -> Self {
        Self {
            name: name.to_owned(),
            mls: mls_client(name),
            connection: None,
            moderator,
            group: None,
            bundles: Vec::new(),
            committing: None,
            pending: BTreeMap::new(),
            create: false,
            has_group: false,
            acknowledged: BTreeMap::new(),
            sent_acks: BTreeSet::new(),
            acknowledges: true,
            follows: true,
            entries: Vec::new(),
            seen: Vec::new(),
            welcome: None,
        }
    }

    pub fn take(&mut self, message: ServerMessage) {
        if let ServerBody::Delivery(event) = message.body.clone() {
            match event {
                DeliveryEvent::State { group, create, .. } => {
                    self.create = create;
                    self.has_group = group.is_some();
                }
                DeliveryEvent::Entry { entry } => self.take_entry(entry),
                DeliveryEvent::Welcome { epoch, welcome } => self.welcome = Some((epoch, welcome)),
                DeliveryEvent::PendingChanged { added, resolved } => {
                    for id in resolved {
                        self.pending.remove(&id);
                    }
                    self.pending.extend(added.into_iter().map(|change| (change.id, change)));
                }
                DeliveryEvent::Acknowledged { epoch, leaves } => {
                    self.acknowledged.entry(epoch).or_default().extend(leaves);
                }
                _ => {}
            }
        }
        self.seen.push(message);
    }

    pub fn take_entry(&mut self, entry: LogEntry) {
        let Some(group) = self.group.as_mut().filter(|group| group.is_active()) else { return };
        let fresh = entry.epoch == group.epoch()
            && !self
                .entries
                .iter()
                .any(|known| known.seq == entry.seq && known.message == entry.message);
        if !self.follows || !fresh {
            return;
        }
        self.entries.push(entry.clone());
        let time = UnixTime(0);
        if entry.kind == EntryKind::Commit {
            let own = self.committing.take();
            if let Some(own) = own.filter(|own| own.is_echo(&entry.message)) {
                group.confirm(own).unwrap();
                return;
            }
        }
        match group.process(&entry.message, time) {
            Ok(Processed::Commit(staged)) => {
                group.merge(*staged).unwrap();
            }
            Ok(_) => {}
            Err(mls::ProcessError::OwnMessage) if entry.kind == EntryKind::Proposal => {}
            Err(error) => panic!("{} cannot process {}: {error}", self.name, entry.seq),
        }
    }

    pub fn kinds(&self) -> Vec<ChangeKind> {
        self.pending.values().map(|change| change.kind.clone()).collect()
    }
}
