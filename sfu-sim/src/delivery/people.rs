use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::protocol::{Identity, Participant};

use super::bucket::TokenBucket;
use super::{ConnectionId, Login, Now, Rate};

/// Somebody who is in the room, or is a member of the group without a connection.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) moderator: bool,
    pub(super) connection: Option<ConnectionId>,
    /// That of its latest connection.
    pub(super) login: Option<Login>,
    /// Has said that it leaves, and has not asked to join since.
    pub(super) left: bool,
    /// Its media has been cut off.
    pub(super) cut_off: bool,
    buckets: [Option<TokenBucket>; 6],
}

/// What is rationed for each person.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ration {
    Commit,
    Resync,
    Proposal,
    Join,
    Report,
    Fetch,
}

impl Person {
    fn new(name: String, moderator: bool, connection: Option<ConnectionId>) -> Self {
        let buckets = [None; 6];
        Self { name, moderator, connection, login: None, left: false, cut_off: false, buckets }
    }

    /// Takes one of a ration, or says after how long there is one.
    pub(super) fn take(&mut self, ration: Ration, rate: Rate, now: Now) -> Result<(), Duration> {
        match self.buckets.get_mut(ration as usize) {
            Some(bucket) => {
                bucket.get_or_insert_with(|| TokenBucket::full(rate, now)).take(rate, now)
            }
            None => Ok(()),
        }
    }
}

/// Everybody, by identity and by connection.
#[derive(Debug, Default)]
pub(super) struct People {
    persons: BTreeMap<Identity, Person>,
    connections: HashMap<ConnectionId, Identity>,
    /// Those without a connection, and since when; `None` once the grace period is over.
    absent: BTreeMap<Identity, Option<Now>>,
}

impl People {
    /// Notes a connection; one that the person had before no longer counts.
    pub(super) fn connect(
        &mut self,
        connection: ConnectionId,
        login: Login,
        participant: &Participant,
    ) -> &mut Person {
        let identity = &participant.identity;
        self.absent.remove(identity);
        let person = self
            .persons
            .entry(identity.clone())
            .or_insert_with(|| Person::new(String::new(), false, None));
        if let Some(former) = person.connection.replace(connection) {
            self.connections.remove(&former);
        }
        self.connections.insert(connection, identity.clone());
        person.login = Some(login);
        person.name.clone_from(&participant.name);
        person.moderator = participant.moderator;
        person
    }

    /// Notes that a connection is gone. `None` if it no longer counted.
    pub(super) fn disconnect(&mut self, connection: ConnectionId, now: Now) -> Option<Identity> {
        let identity = self.connections.remove(&connection)?;
        if let Some(person) = self.persons.get_mut(&identity) {
            person.connection = None;
        }
        self.absent.insert(identity.clone(), Some(now));
        Some(identity)
    }

    /// Makes sure that a member is known, connected or not.
    pub(super) fn know(&mut self, identity: &Identity, now: Now) {
        if !self.persons.contains_key(identity) {
            self.persons.insert(identity.clone(), Person::new(String::new(), false, None));
            self.absent.insert(identity.clone(), Some(now));
        }
    }

    /// Forgets somebody who has no connection.
    pub(super) fn forget_if_absent(&mut self, identity: &Identity) {
        if self.absent.remove(identity).is_some() {
            self.persons.remove(identity);
        }
    }

    pub(super) fn person(&self, identity: &Identity) -> Option<&Person> {
        self.persons.get(identity)
    }

    pub(super) fn person_mut(&mut self, identity: &Identity) -> Option<&mut Person> {
        self.persons.get_mut(identity)
    }

    pub(super) fn identity(&self, connection: ConnectionId) -> Option<&Identity> {
        self.connections.get(&connection)
    }

    pub(super) fn connection(&self, identity: &Identity) -> Option<ConnectionId> {
        self.persons.get(identity)?.connection
    }

    /// All connections, the oldest first.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        let mut connections: Vec<_> = self.connections.keys().copied().collect();
        connections.sort_unstable();
        connections
    }

    /// The connections of those who have not left, the oldest first.
    pub(super) fn staying(&self) -> Vec<ConnectionId> {
        let mut staying: Vec<_> = self
            .persons
            .values()
            .filter(|person| !person.left)
            .filter_map(|person| person.connection)
            .collect();
        staying.sort_unstable();
        staying
    }

    pub(super) fn nobody_is_connected_here(&self) -> bool {
        self.connections.keys().all(|connection| connection.is_remote())
    }

    /// Those whose grace period is over, each told once.
    pub(super) fn take_overdue(&mut self, grace: Duration, now: Now) -> Vec<Identity> {
        let mut overdue = Vec::new();
        for (identity, since) in &mut self.absent {
            if since.is_some_and(|since| since + grace <= now) {
                *since = None;
                overdue.push(identity.clone());
            }
        }
        overdue
    }

    /// When the next grace period ends.
    pub(super) fn next_overdue(&self, grace: Duration) -> Option<Now> {
        self.absent.values().flatten().min().map(|since| *since + grace)
    }

    /// Forgets all who have no connection.
    pub(super) fn forget_absent(&mut self) {
        for identity in std::mem::take(&mut self.absent).into_keys() {
            self.persons.remove(&identity);
        }
    }
}
