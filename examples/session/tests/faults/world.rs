//! A delivery service, the participants, and the ways between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use call_session::{Moment, Status};
use mls::UnixTime;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sframe_bridge::Now;
use sfu_sim::delivery::{
    CallId, ConnectionId, DeliveryConfig, DeliveryService, Loaded, MemoryStorage, Now as ServerNow,
    Output, Storage, StorageEffect,
};
use sfu_sim::protocol::{
    ClientBody, ClientMessage, CloseReason, DeliveryEvent, Identity, Limits, Participant, RoomName,
    ServerBody, ServerMessage, SessionEvent,
};

use crate::member::Member;
use crate::network::{Faults, Network, flip_text};

/// The clocks begin here, in seconds since 1970.
const START: u64 = 1_790_000_000;

/// How often everything is looked at, in milliseconds.
const STEP: u64 = 5;

/// How often everybody sends a frame, in milliseconds.
const FRAME: u64 = 100;

/// Where in an append the delivery service dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    BeforeAppend,
    AfterAppend,
    BeforeTelling,
}

pub const KILLS: [Kill; 3] = [Kill::BeforeAppend, Kill::AfterAppend, Kill::BeforeTelling];

pub struct World {
    pub now: u64,
    pub rng: StdRng,
    pub service: DeliveryService,
    storage: Arc<dyn Storage>,
    runtime: tokio::runtime::Runtime,
    pub members: BTreeMap<String, Member>,
    up: Network<(ConnectionId, String)>,
    down: Network<(ConnectionId, String)>,
    media: Network<(String, Vec<u8>)>,
    /// Dies at the next append.
    pub kill: Option<Kill>,
    pub kills: u64,
    /// Those who are cut off.
    pub cut_off: BTreeSet<String>,
    reconnect: BTreeMap<String, u64>,
    next_connection: u64,
    boot: u64,
    seed: u64,
    /// The base key of every epoch of every group that somebody was in.
    history: BTreeMap<(Vec<u8>, u64), Vec<u8>>,
    /// The last epoch of each group that somebody was told is in the log.
    acknowledged: BTreeMap<Vec<u8>, u64>,
    frames: u64,
    /// All that is sent and all that sessions want, as debug output, if that is wanted.
    record: Option<Vec<u8>>,
    pub heard: BTreeMap<String, u64>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let service = open(&runtime, &*storage, 1, server_now(0));
        Self {
            now: 0,
            rng: StdRng::seed_from_u64(seed),
            service,
            storage,
            runtime,
            members: BTreeMap::new(),
            up: Network::new(20),
            down: Network::new(20),
            media: Network::new(25),
            kill: None,
            kills: 0,
            cut_off: BTreeSet::new(),
            reconnect: BTreeMap::new(),
            next_connection: 0,
            boot: 1,
            seed,
            history: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            frames: 0,
            record: None,
            heard: BTreeMap::new(),
        }
    }

    /// A call of these, who came without trouble.
    pub fn call(seed: u64, names: &[&str]) -> Self {
        let mut world = Self::new(seed);
        for name in names {
            world.arrive(name);
            world.run(1_200);
        }
        world.run(1_000);
        world.assert_converged(names);
        world
    }

    pub fn moment(&self) -> Moment {
        Moment { now: Now::from_millis(self.now), unix: UnixTime(START + self.now / 1_000) }
    }

    pub fn signalling_faults(&mut self, faults: Faults) {
        (self.up.faults, self.down.faults) = (faults, faults);
    }

    pub fn media_faults(&mut self, faults: Faults) {
        self.media.faults = faults;
    }

    pub fn arrive(&mut self, name: &str) {
        let seed = self.rng.random();
        self.members.insert(name.to_owned(), Member::new(name, seed));
        self.connect(name);
    }

    /// The process dies, with all that it knew, and is started again.
    pub fn crash(&mut self, name: &str, back_after: u64) {
        self.disconnect(name);
        let seed = self.rng.random();
        self.members.insert(name.to_owned(), Member::new(name, seed));
        self.reconnect.insert(name.to_owned(), self.now + back_after);
    }

    pub fn connect(&mut self, name: &str) {
        // Whoever is here does not come once more later.
        self.reconnect.remove(name);
        if self.members[name].connection.is_some() {
            self.disconnect(name);
        }
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        let you = Participant {
            identity: Identity::new(name),
            name: name.to_owned(),
            moderator: false,
            connected: true,
        };
        let welcome = SessionEvent::Welcome {
            protocol: 1,
            room: RoomName::new("room"),
            you: you.clone(),
            participants: Vec::new(),
            resumed: false,
            media: false,
            limits: Limits {
                message_bytes: 1,
                hard_message_bytes: 1,
                messages_per_second: 1,
                report_interval_ms: 1,
            },
            datagrams: None,
        };
        let moment = self.moment();
        let member = self.members.get_mut(name).unwrap();
        member.connection = Some(connection);
        member.session.handle_message(ServerMessage::event(welcome), moment);
        let now = server_now(self.now);
        self.service.connect(connection, &you, now);
        self.pump();
    }

    pub fn disconnect(&mut self, name: &str) {
        self.reconnect.remove(name);
        let member = self.members.get_mut(name).unwrap();
        let Some(connection) = member.connection.take() else { return };
        member.session.disconnected();
        self.up.forget(|(of, _)| *of == connection);
        self.down.forget(|(of, _)| *of == connection);
        self.service.disconnect(connection, server_now(self.now));
        self.pump();
    }

    /// Away for so long.
    pub fn reconnect_after(&mut self, name: &str, millis: u64) {
        self.disconnect(name);
        self.reconnect.insert(name.to_owned(), self.now + millis);
    }

    /// The delivery service dies and is started again on what its storage has. Everybody notices.
    pub fn restart(&mut self) {
        self.kills += 1;
        self.boot += 1;
        self.service = open(&self.runtime, &*self.storage, self.boot, server_now(self.now));
        for name in self.members.keys().cloned().collect::<Vec<_>>() {
            let member = self.members.get_mut(&name).unwrap();
            if member.connection.take().is_some() {
                member.session.disconnected();
                let away = self.rng.random_range(100..800);
                self.reconnect.insert(name, self.now + away);
            }
        }
        self.up.forget(|_| true);
        self.down.forget(|_| true);
        self.pump();
    }

    /// Carries out what the service wants.
    fn pump(&mut self) {
        while let Some(output) = self.service.poll_output() {
            match output {
                Output::Send { to, message } => self.post(&[to], &message),
                Output::Broadcast { to, message } => self.post(&to, &message),
                Output::Removed { identity, reason } => {
                    if reason == sfu_sim::protocol::RemovalReason::Moderator {
                        let reason = CloseReason::Removed;
                        let closing = SessionEvent::Closing { reason, reconnect_after_ms: None };
                        let to = self.members[identity.as_str()].connection;
                        self.post(&Vec::from_iter(to), &ServerMessage::event(closing));
                    }
                }
                Output::Storage(effect) => {
                    if self.carry_out(effect) {
                        return self.restart();
                    }
                }
                Output::MediaCutOff { .. } | Output::MediaRestored { .. } => {}
            }
        }
    }

    /// Whether the service died over it.
    fn carry_out(&mut self, effect: StorageEffect) -> bool {
        let dies = match &effect {
            StorageEffect::Append(_) => self.kill.take(),
            _ => None,
        };
        if dies == Some(Kill::BeforeAppend) {
            return true;
        }
        let done = self.runtime.block_on(effect.run(&*self.storage));
        if dies == Some(Kill::AfterAppend) {
            return true;
        }
        self.service.storage_done(done, server_now(self.now));
        if dies == Some(Kill::BeforeTelling) {
            while self.service.poll_output().is_some() {}
            return true;
        }
        false
    }

    fn post(&mut self, to: &[ConnectionId], message: &ServerMessage) {
        if let ServerBody::Delivery(DeliveryEvent::Appended { head, .. }) = message.body {
            let group = self.members.values().find_map(|member| {
                member.connection.filter(|own| to.contains(own)).map(|_| member.group())
            });
            if let Some(group) = group {
                let known = self.acknowledged.entry(group).or_default();
                *known = (*known).max(head);
            }
        }
        let text = message.to_text();
        self.note(text.as_bytes());
        for connection in to {
            let item = (*connection, text.clone());
            self.down.send(item, self.now, &mut self.rng, |(_, text), bit| flip_text(text, bit));
        }
    }

    /// Lets so much time pass, in milliseconds.
    pub fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.now += STEP;
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.reconnect.iter().filter(|(_, at)| **at <= now).collect();
        for name in due.into_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.reconnect.remove(&name);
            self.connect(&name);
        }
        for (connection, text) in self.up.arrived(now) {
            let Ok(ClientMessage { id, body: ClientBody::Delivery(request), .. }) =
                ClientMessage::parse(&text)
            else {
                continue;
            };
            if self.is_cut_off(connection) {
                continue;
            }
            self.service.request(connection, id, request, server_now(now));
            self.pump();
        }
        if self.service.next_deadline().is_some_and(|due| due <= server_now(now)) {
            self.service.handle_timeout(server_now(now));
            self.pump();
        }
        let moment = self.moment();
        for (connection, text) in self.down.arrived(now) {
            let Ok(message) = ServerMessage::parse(&text) else { continue };
            if self.is_cut_off(connection) {
                continue;
            }
            let member =
                self.members.values_mut().find(|member| member.connection == Some(connection));
            if let Some(member) = member.filter(|member| !member.asleep) {
                member.session.handle_message(message, moment);
                let sent = member.settle(moment);
                self.send(connection, sent);
            }
        }
        for name in self.members.keys().cloned().collect::<Vec<_>>() {
            let member = self.members.get_mut(&name).unwrap();
            let sent = member.settle(moment);
            let shown = std::mem::take(&mut member.shown);
            self.note(&shown);
            let member = &self.members[&name];
            if let Some(connection) = member.connection {
                self.send(connection, sent);
            }
        }
        self.exchange_frames(moment);
        self.remember();
    }

    fn is_cut_off(&self, connection: ConnectionId) -> bool {
        self.members.values().any(|member| {
            member.connection == Some(connection) && self.cut_off.contains(&member.name)
        })
    }

    fn send(&mut self, connection: ConnectionId, messages: Vec<ClientMessage>) {
        for message in messages {
            self.note(message.to_text().as_bytes());
            let item = (connection, message.to_text());
            self.up.send(item, self.now, &mut self.rng, |(_, text), bit| flip_text(text, bit));
        }
    }

    fn exchange_frames(&mut self, moment: Moment) {
        if self.now.is_multiple_of(FRAME) {
            self.frames += 1;
            for from in self.members.keys().cloned().collect::<Vec<_>>() {
                let plain = format!("frame {} of {from}, spoken in confidence", self.frames);
                let frame = self.members.get_mut(&from).unwrap().protect(plain.as_bytes());
                let Some(frame) = frame else { continue };
                self.note(&frame);
                for to in self.members.keys().filter(|to| **to != from) {
                    if self.cut_off.contains(to) != self.cut_off.contains(&from) {
                        continue;
                    }
                    let item = (to.clone(), frame.clone());
                    self.media.send(item, self.now, &mut self.rng, |(_, frame), bit| {
                        let bit = bit as usize % (frame.len() * 8);
                        frame[bit / 8] ^= 1 << (bit % 8);
                    });
                }
            }
        }
        for (to, frame) in self.media.arrived(self.now) {
            let Some(member) = self.members.get_mut(&to) else { continue };
            if let Some(plain) = member.open(frame, moment) {
                assert!(plain.starts_with(b"frame "), "seed {}", self.seed);
                *self.heard.entry(to).or_default() += 1;
            }
        }
    }

    /// Nobody forks: an epoch of a group has one key, whoever is in it.
    fn remember(&mut self) {
        for member in self.members.values_mut() {
            for (epoch, key) in std::mem::take(&mut member.base_keys) {
                let known = self.history.entry(epoch.clone()).or_insert_with(|| key.clone());
                assert!(*known == key, "seed {}: {} forked at {}", self.seed, member.name, epoch.1);
            }
        }
        let metrics = self.service.metrics();
        assert_eq!(metrics.epochs_with_two_winners, 0, "seed {}", self.seed);
        assert_eq!(metrics.invalid_records, 0, "seed {}", self.seed);
    }

    /// The trouble is over. A transport that lost something makes its connection anew, and whoever gave up starts again.
    pub fn heal(&mut self) {
        self.signalling_faults(Faults::default());
        self.media_faults(Faults::default());
        self.up.forget(|_| true);
        self.down.forget(|_| true);
        self.cut_off.clear();
        self.kill = None;
        for name in self.members.keys().cloned().collect::<Vec<_>>() {
            let member = self.members.get_mut(&name).unwrap();
            (member.asleep, member.hangs) = (false, false);
            match member.session.status() {
                Status::Left => {
                    self.disconnect(&name);
                    self.members.remove(&name);
                }
                Status::Failed { .. } | Status::Removed => {
                    self.disconnect(&name);
                    self.arrive(&name);
                }
                _ => self.connect(&name),
            }
        }
    }

    /// All of those named, and nobody else, are in one epoch, under one key, and hear one another.
    pub fn assert_converged(&mut self, names: &[&str]) {
        let seed = self.seed;
        let Some(head) = self.service.epoch() else {
            assert!(names.is_empty(), "seed {seed}: the call has no group");
            return;
        };
        // A group that all have left without being heard waits for them.
        let Some(first) = names.first().map(|name| &self.members[*name]) else { return };
        let (group, code) = (first.group(), first.session.verification_code());
        for name in names {
            let member = &self.members[*name];
            let status = member.session.status();
            assert_eq!(*status, Status::Member { epoch: head }, "seed {seed}: {name}");
            assert_eq!(member.group(), group, "seed {seed}: {name}");
            let others = member.session.verification_code().unwrap();
            assert_eq!(Some(others.to_string()), code.as_ref().map(ToString::to_string));
            let mut roster: Vec<_> =
                member.session.roster().iter().map(|seat| seat.identity.to_string()).collect();
            roster.sort();
            let mut expected: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            expected.sort();
            assert_eq!(roster, expected, "seed {seed}: {name}");
        }
        // No acknowledged commit is lost.
        let acknowledged = self.acknowledged.get(&group).copied().unwrap_or_default();
        assert!(head >= acknowledged, "seed {seed}: {acknowledged} was acknowledged, found {head}");
        // They hear one another.
        let before = self.heard.clone();
        self.run(1_000);
        for name in names.iter().filter(|_| names.len() > 1) {
            let heard = self.heard.get(*name).copied().unwrap_or_default();
            let more = heard - before.get(*name).copied().unwrap_or_default();
            let expected = (names.len() as u64 - 1) * 9;
            assert!(more >= expected, "seed {seed}: {name} heard {more} frames of {expected}");
        }
    }

    /// Keeps from here on all that is sent or shown.
    pub fn record(&mut self) {
        self.record = Some(Vec::new());
    }

    pub fn recorded(&mut self) -> Vec<u8> {
        self.record.take().unwrap()
    }

    fn note(&mut self, shown: &[u8]) {
        if let Some(record) = &mut self.record {
            record.extend_from_slice(shown);
        }
    }

    /// The base keys of all epochs, and a part of what everybody said.
    pub fn secrets(&self) -> Vec<(String, Vec<u8>)> {
        let keys = self.history.iter();
        let keys = keys.map(|((_, epoch), key)| (format!("the key of epoch {epoch}"), key.clone()));
        let words = self.members.keys().map(|name| {
            (format!("a frame of {name}"), format!(" of {name}, spoken in confidence").into_bytes())
        });
        keys.chain(words).collect()
    }

    /// Those who are connected and have not left.
    pub fn present(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }
}

fn server_now(millis: u64) -> ServerNow {
    ServerNow::from_unix_micros(START * 1_000_000 + millis * 1_000)
}

fn open(
    runtime: &tokio::runtime::Runtime,
    storage: &dyn Storage,
    boot: u64,
    now: ServerNow,
) -> DeliveryService {
    let call = CallId::new("room");
    let loaded = runtime.block_on(Loaded::read(storage, &call)).unwrap();
    DeliveryService::open(DeliveryConfig::default(), call, boot, loaded, now)
}
