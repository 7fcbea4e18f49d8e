//! The server: the real delivery service over storage in memory, with the time that a durable append takes.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use anyhow::{Result, anyhow};
use sframe_bridge::Now;
use sfu_sim::{
    delivery::{
        CallId, ConnectionId, DeliveryConfig, DeliveryService, Loaded, MemoryStorage,
        Now as ServiceNow, Output, StorageDone, StorageEffect,
    },
    protocol::{
        ClientBody, ClientMessage, Identity, Limits, Participant, RoomName, ServerMessage,
        SessionEvent,
    },
};

use super::{costs, path::Forms};

/// When a simulation begins, on the wall clock of the simulated world: 1 November 2026.
pub(super) const BEGINNING: u64 = 1_793_491_200;

/// What the server does.
pub(super) enum Act {
    /// Send a message to these, at this time and the following ones a little later.
    Tell {
        to: Vec<ConnectionId>,
        message: Rc<ServerMessage>,
        forms: Forms,
        at: Now,
    },
    /// The storage has answered, at this time.
    Stored {
        done: Box<StorageDone>,
        at: Now,
    },
    CutOff(Identity),
    Restored(Identity),
}

pub(super) struct Server {
    pub(super) service: DeliveryService,
    storage: MemoryStorage,
    append: Duration,
    busy: Now,
    members: BTreeMap<ConnectionId, usize>,
}

impl Server {
    pub(super) fn new(config: DeliveryConfig, append: Duration) -> Result<Self> {
        let storage = MemoryStorage::new();
        let call = CallId::new("call");
        let loaded = at_once(Loaded::read(&storage, &call))??;
        let now = service_now(Now::default());
        let service = DeliveryService::open(config, call, 1, loaded, now);
        Ok(Self { service, storage, append, busy: Now::default(), members: BTreeMap::new() })
    }

    /// Whose connection that is.
    pub(super) fn member(&self, connection: ConnectionId) -> Option<usize> {
        self.members.get(&connection).copied()
    }

    pub(super) fn connect(
        &mut self,
        connection: ConnectionId,
        member: usize,
        name: &str,
        now: Now,
    ) -> Result<Vec<Act>> {
        self.members.insert(connection, member);
        let you = Participant {
            identity: Identity::new(name),
            name: name.to_owned(),
            moderator: false,
            connected: true,
        };
        let welcome = ServerMessage::event(SessionEvent::Welcome {
            protocol: 1,
            room: RoomName::new("call"),
            you: you.clone(),
            participants: Vec::new(),
            resumed: false,
            media: false,
            limits: Limits {
                message_bytes: 2 << 20,
                hard_message_bytes: 8 << 20,
                messages_per_second: 100,
                report_interval_ms: 10_000,
            },
            datagrams: None,
        });
        let mut acts = vec![tell(vec![connection], welcome, now)];
        self.service.connect(connection, &you, service_now(now));
        acts.extend(self.drain(now)?);
        Ok(acts)
    }

    pub(super) fn disconnect(&mut self, connection: ConnectionId, now: Now) -> Result<Vec<Act>> {
        self.members.remove(&connection);
        self.service.disconnect(connection, service_now(now));
        self.drain(now)
    }

    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        message: ClientMessage,
        now: Now,
    ) -> Result<Vec<Act>> {
        let ClientBody::Delivery(request) = message.body else { return Ok(Vec::new()) };
        self.busy = self.busy.max(now) + costs::of_request(&request);
        self.service.request(connection, message.id, request, service_now(now));
        self.drain(now)
    }

    pub(super) fn stored(&mut self, done: StorageDone, now: Now) -> Result<Vec<Act>> {
        self.service.storage_done(done, service_now(now));
        self.drain(now)
    }

    pub(super) fn timeout(&mut self, now: Now) -> Result<Vec<Act>> {
        self.service.handle_timeout(service_now(now));
        self.drain(now)
    }

    pub(super) fn next_deadline(&self) -> Option<Now> {
        let due = self.service.next_deadline()?.as_unix_micros();
        Some(Now::from_micros(due.saturating_sub(BEGINNING * 1_000_000)))
    }

    fn drain(&mut self, now: Now) -> Result<Vec<Act>> {
        let mut acts = Vec::new();
        while let Some(output) = self.service.poll_output() {
            let at = self.busy.max(now);
            let act = match output {
                Output::Send { to, message } => tell(vec![to], message, at),
                Output::Broadcast { to, message } => {
                    self.busy = at + costs::FAN_OUT * u32::try_from(to.len()).unwrap_or(u32::MAX);
                    tell(to, message, at)
                }
                Output::Storage(effect) => {
                    let durable = matches!(effect, StorageEffect::Append(_));
                    let done = Box::new(at_once(effect.run(&self.storage))?);
                    let took = if durable { self.append } else { Duration::ZERO };
                    Act::Stored { done, at: at + took }
                }
                Output::MediaCutOff { identity, .. } => Act::CutOff(identity),
                Output::MediaRestored { identity } => Act::Restored(identity),
                // The log says so too.
                Output::Removed { .. } => continue,
            };
            acts.push(act);
        }
        Ok(acts)
    }
}

fn tell(to: Vec<ConnectionId>, message: ServerMessage, at: Now) -> Act {
    let forms = Forms { text: message.to_text().len(), binary: message.to_binary() };
    Act::Tell { to, message: Rc::new(message), forms, at }
}

pub(super) fn service_now(now: Now) -> ServiceNow {
    ServiceNow::from_unix_micros(BEGINNING * 1_000_000 + now.as_micros())
}

/// The answer of something that never waits, as storage in memory.
fn at_once<T>(future: impl Future<Output = T>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(anyhow!("the storage in memory did not answer at once")),
    }
}
