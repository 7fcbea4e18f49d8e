use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::protocol::Identity;

use super::bucket::TokenBucket;
use super::{ConnectionId, Now, Rate};

/// Somebody who is in the room, or is a member of the group without a connection.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) moderator: bool,
    pub(super) connection: Option<ConnectionId>,
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
        Self { name, moderator, connection, left: false, cut_off: false, buckets }
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
    /// Those without a connection, and since when.
    absent: BTreeMap<Identity, Now>,
}

impl People {
    /// Notes a connection; one that the person had before no longer counts.
    pub(super) fn connect(
        &mut self,
        connection: ConnectionId,
        identity: &Identity,
        name: String,
        moderator: bool,
    ) -> &mut Person {
        self.absent.remove(identity);
        let person = self
            .persons
            .entry(identity.clone())
            .or_insert_with(|| Person::new(String::new(), false, None));
        if let Some(former) = person.connection.replace(connection) {
            self.connections.remove(&former);
        }
        self.connections.insert(connection, identity.clone());
        person.name = name;
        person.moderator = moderator;
        person
    }

    /// Notes that a connection is gone. `None` if it no longer counted.
    pub(super) fn disconnect(&mut self, connection: ConnectionId, now: Now) -> Option<Identity> {
        let identity = self.connections.remove(&connection)?;
        if let Some(person) = self.persons.get_mut(&identity) {
            person.connection = None;
        }
        self.absent.insert(identity.clone(), now);
        Some(identity)
    }

    /// Makes sure that a member is known, connected or not.
    pub(super) fn know(&mut self, identity: &Identity, now: Now) {
        if !self.persons.contains_key(identity) {
            self.persons.insert(identity.clone(), Person::new(String::new(), false, None));
            self.absent.insert(identity.clone(), now);
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

    pub(super) fn nobody_is_connected(&self) -> bool {
        self.connections.is_empty()
    }

    /// Those who have been absent for at least `grace`.
    pub(super) fn overdue(&self, grace: Duration, now: Now) -> Vec<Identity> {
        self.absent
            .iter()
            .filter(|(_, since)| **since + grace <= now)
            .map(|(identity, _)| identity.clone())
            .collect()
    }

    pub(super) fn absent(&self) -> impl Iterator<Item = (&Identity, Now)> {
        self.absent.iter().map(|(identity, since)| (identity, *since))
    }
}
