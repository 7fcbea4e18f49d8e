//! What the processes that serve one call tell each other of what is not in the log.
//!
//! Every process tells which clients are connected to it, and repeats those of their requests that change what
//! all members see: joins, leaves, acknowledgements, heartbeats and failure reports. The others take them as if
//! those clients were connected here, under connections of their own ([`ConnectionId::is_remote`]) that nothing
//! is sent on. So all processes come to the same pending changes, and each tells its own clients.
//!
//! A note says how much of the log its sender had read; it waits until that has been read here too.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::pending::Change;
use super::service::Asker;
use super::{ConnectionId, DeliveryService, Now};
use crate::protocol::{Blob, DeliveryRequest, Identity, Participant};

/// Notes of one process that may wait for the log; with more, everything is asked for anew.
const MAX_WAITING: usize = 4096;

/// Names a process, by a number chosen at random when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

/// When and where somebody has connected. Of two logins of one identity the later one counts, at every process alike.
///
/// A process' clock may be wrong: a login comes after all that its process has heard of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Login {
    /// Microseconds since the Unix epoch, or somewhat more.
    pub at: u64,
    /// At which process.
    pub node: NodeId,
}

/// What a process tells the others that serve a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// How many records of the log the sender had read.
    pub after: u64,
    /// What it says.
    pub body: NoteBody,
}

/// The content of a [`Note`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NoteBody {
    /// The sender serves the call from now on and asks the others for [`NoteBody::Everybody`].
    Hello,
    /// All who are connected to the sender, and nobody else.
    Everybody {
        /// They.
        present: Vec<Present>,
    },
    /// Somebody is connected to the sender.
    Connected {
        /// Who.
        present: Present,
    },
    /// A connection to the sender is gone.
    Disconnected {
        /// Which.
        connection: u64,
    },
    /// The sender has accepted a request.
    Request {
        /// On which of its connections.
        connection: u64,
        /// The request.
        request: DeliveryRequest,
    },
}

/// Somebody who is connected to the sender of a [`Note`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Present {
    /// The sender's number of the connection.
    pub connection: u64,
    /// [`Login::at`].
    pub since: u64,
    /// Who.
    pub participant: Participant,
    /// Has said that it leaves.
    pub left: bool,
    /// Waits to be added with this key package.
    pub key_package: Option<Blob>,
    /// The epoch that it has acknowledged, if that is the call's.
    pub acknowledged: Option<u64>,
}

/// The other processes, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Whether there may be others: else nothing is noted.
    others: bool,
    outgoing: VecDeque<Note>,
    last_remote: u64,
    /// The latest [`Login::at`] that has been heard of.
    latest_login: u64,
    known: BTreeMap<NodeId, Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Its connections, and what they are called here.
    connections: BTreeMap<u64, ConnectionId>,
    waiting: VecDeque<Note>,
}

impl Present {
    /// Its login, at the process that says so.
    pub fn login(&self, node: NodeId) -> Login {
        Login { at: self.since, node }
    }
}

impl DeliveryService {
    /// Begins to tell other processes, and asks them who is there: after every input, drain
    /// [`poll_note`](Self::poll_note) too. To be called again when another process comes.
    pub fn say_hello(&mut self) {
        self.nodes.others = true;
        self.note(NoteBody::Hello);
    }

    /// The next thing to tell all other processes that serve the call, in order.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.nodes.outgoing.pop_front()
    }

    /// Takes a note of another process; those of one process in their order.
    pub fn noted(&mut self, node: NodeId, note: Note, now: Now) {
        self.log_length = self.log_length.max(note.after);
        let present = match &note.body {
            NoteBody::Everybody { present } => present.as_slice(),
            NoteBody::Connected { present } => std::slice::from_ref(present),
            _ => &[],
        };
        let latest = present.iter().map(|present| present.since).max();
        self.nodes.latest_login = self.nodes.latest_login.max(latest.unwrap_or(0));
        let entry = self.nodes.known.entry(node).or_default();
        entry.waiting.push_back(note);
        if entry.waiting.len() > MAX_WAITING {
            entry.waiting.clear();
            self.note(NoteBody::Hello);
        }
        self.settle(now);
    }

    /// Another process has ended or cannot be reached: its clients count as disconnected.
    pub fn node_gone(&mut self, node: NodeId, now: Now) {
        let Some(Node { connections, .. }) = self.nodes.known.remove(&node) else { return };
        for connection in connections.into_values() {
            self.disconnect(connection, now);
        }
        self.settle(now);
    }

    /// Takes up the notes whose part of the log has been read.
    pub(super) fn take_up_notes(&mut self, now: Now) {
        let next_seq = self.next_seq;
        loop {
            let ready = self.nodes.known.iter_mut().find_map(|(id, node)| {
                node.waiting.front().filter(|note| note.after <= next_seq)?;
                Some((*id, node.waiting.pop_front()?))
            });
            let Some((node, note)) = ready else { return };
            self.take_up(node, note.body, now);
        }
    }

    fn take_up(&mut self, node: NodeId, body: NoteBody, now: Now) {
        match body {
            NoteBody::Hello => {
                let present = self.all_present();
                self.note(NoteBody::Everybody { present });
            }
            NoteBody::Everybody { present } => {
                let still: BTreeSet<u64> = present.iter().map(|it| it.connection).collect();
                let known = self.nodes.known.entry(node).or_default();
                let gone: Vec<u64> =
                    known.connections.keys().filter(|it| !still.contains(it)).copied().collect();
                for connection in gone {
                    self.remote_disconnected(node, connection, now);
                }
                for present in present {
                    self.remote_present(node, present, now);
                }
            }
            NoteBody::Connected { present } => self.remote_present(node, present, now),
            NoteBody::Disconnected { connection } => {
                self.remote_disconnected(node, connection, now);
            }
            NoteBody::Request { connection, request } => {
                self.remote_request(node, connection, request, now);
            }
        }
    }

    fn remote_disconnected(&mut self, node: NodeId, connection: u64, now: Now) {
        let known = self.nodes.known.entry(node).or_default();
        if let Some(here) = known.connections.remove(&connection) {
            self.disconnect(here, now);
        }
    }

    fn remote_present(&mut self, node: NodeId, present: Present, now: Now) {
        let login = present.login(node);
        let Present { connection, participant, left, key_package, acknowledged, .. } = present;
        if self.login_of(&participant.identity).is_some_and(|known| known > login) {
            // What the other process says is older. Where it does not know that, it has to hear of it.
            self.note_connected(&participant.identity);
            return;
        }
        let people = &self.people;
        let known = self.nodes.known.entry(node).or_default();
        // Connections that later ones have replaced are of no use any more.
        known.connections.retain(|_, here| people.identity(*here).is_some());
        if let Entry::Vacant(free) = known.connections.entry(connection) {
            self.nodes.last_remote += 1;
            let here = *free.insert(ConnectionId(ConnectionId::REMOTE + self.nodes.last_remote));
            self.connect_by(here, &participant, login, now);
        }
        if left {
            self.remote_request(node, connection, DeliveryRequest::Leave, now);
        }
        if let Some(key_package) = key_package {
            self.remote_request(node, connection, DeliveryRequest::Join { key_package }, now);
        }
        if let Some(epoch) = acknowledged {
            let request = DeliveryRequest::Ack { epoch, external_pub: None };
            self.remote_request(node, connection, request, now);
        }
    }

    /// Takes a request that another process has accepted. What it does not fit here has been settled by the
    /// log meanwhile.
    fn remote_request(
        &mut self,
        node: NodeId,
        connection: u64,
        request: DeliveryRequest,
        now: Now,
    ) {
        let known = self.nodes.known.get(&node);
        let here = known.and_then(|node| node.connections.get(&connection)).copied();
        let Some(asker) = here.and_then(|here| self.asker(here, None)) else { return };
        if is_shared(&request)
            && let Err(refusal) = self.handle(&asker, request, now)
        {
            tracing::debug!(%refusal, "a note of another node has no effect");
        }
    }

    /// The login of somebody who connects here now.
    pub(super) fn next_login(&mut self, now: Now) -> Login {
        let at = now.as_unix_micros().max(self.nodes.latest_login.saturating_add(1));
        self.nodes.latest_login = at;
        Login { at, node: NodeId(self.boot) }
    }

    /// The login that counts of somebody who is connected, here or elsewhere.
    pub fn login_of(&self, identity: &Identity) -> Option<Login> {
        self.people.person(identity).filter(|person| person.connection.is_some())?.login
    }

    /// Tells the other processes of a request that was accepted here.
    pub(super) fn note_request(&mut self, asker: &Asker, request: Option<DeliveryRequest>) {
        if let Some(request) = request {
            self.note(NoteBody::Request { connection: asker.connection.0, request });
        }
    }

    /// The request, if other processes have to hear of it once it is accepted.
    pub(super) fn to_be_noted(
        &self,
        asker: &Asker,
        request: &DeliveryRequest,
    ) -> Option<DeliveryRequest> {
        let tell = self.nodes.others && !asker.connection.is_remote() && is_shared(request);
        tell.then(|| request.clone())
    }

    pub(super) fn note_connected(&mut self, identity: &Identity) {
        if self.nodes.others
            && let Some(present) = self.present(identity)
        {
            self.note(NoteBody::Connected { present });
        }
    }

    pub(super) fn note_disconnected(&mut self, connection: ConnectionId) {
        if !connection.is_remote() {
            self.note(NoteBody::Disconnected { connection: connection.0 });
        }
    }

    fn note(&mut self, body: NoteBody) {
        if self.nodes.others {
            self.nodes.outgoing.push_back(Note { after: self.next_seq, body });
        }
    }

    fn all_present(&self) -> Vec<Present> {
        let connections = self.people.connections();
        let local = connections.iter().filter(|connection| !connection.is_remote());
        local
            .filter_map(|connection| self.people.identity(*connection))
            .filter_map(|identity| self.present(identity))
            .collect()
    }

    /// What other processes have to know of somebody; none unless it is connected here.
    fn present(&self, identity: &Identity) -> Option<Present> {
        let person = self.people.person(identity)?;
        let connection = person.connection.filter(|connection| !connection.is_remote())?;
        let key_package = self.pending.changes().find_map(|change| match change {
            Change::Add { identity: other, key_package, .. } if other == identity => {
                Some(Blob::from(key_package.clone()))
            }
            _ => None,
        });
        let leaf = self.leaf_of(identity);
        let acknowledged =
            leaf.filter(|leaf| self.acks.leaves().contains(leaf)).map(|_| self.acks.epoch());
        Some(Present {
            connection: connection.0,
            since: person.login?.at,
            participant: Participant {
                identity: identity.clone(),
                name: person.name.clone(),
                moderator: person.moderator,
                connected: true,
            },
            left: person.left,
            key_package,
            acknowledged,
        })
    }
}

/// Whether a request changes what the members see without being in the log.
fn is_shared(request: &DeliveryRequest) -> bool {
    match request {
        DeliveryRequest::Join { .. }
        | DeliveryRequest::Leave
        | DeliveryRequest::Ack { .. }
        | DeliveryRequest::Heartbeat { .. }
        | DeliveryRequest::ReportFailure { .. } => true,
        DeliveryRequest::Create { .. }
        | DeliveryRequest::Submit { .. }
        | DeliveryRequest::Propose { .. }
        | DeliveryRequest::FetchLog { .. }
        | DeliveryRequest::FetchGroupInfo
        | DeliveryRequest::FetchTree { .. } => false,
    }
}
