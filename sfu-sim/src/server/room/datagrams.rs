//! The path of datagrams of each connection, beside its stream.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;

use super::calls::Calls;
use super::{Link, Member, Room};
use crate::delivery::ConnectionId;
use crate::media::MediaCommand;
use crate::protocol::datagrams::{DatagramPath, PathCounts, PathOutput, Urgency};
use crate::protocol::{ClientMessage, Identity, Refusal, RefusalCode, ServerMessage, SessionEvent};
use crate::rate::RateLimit;
use crate::router::PeerId;
use crate::server::registry::Shared;

/// The server's end of one connection's path.
#[derive(Debug)]
pub(super) struct Path {
    tag: u32,
    end: DatagramPath<Arc<ServerMessage>>,
    /// The same rate as on the stream.
    rate: RateLimit,
    /// What is in the metrics already.
    counted: PathCounts,
}

impl Path {
    /// The path of a connection. Its tag is another one than that of the participant's connection before.
    pub(super) fn new(connection: ConnectionId, shared: &Shared) -> Self {
        let tag = (connection.0 & u64::from(u32::MAX)) as u32;
        let rate = RateLimit::new(shared.config.limits.messages_per_second, Instant::now());
        Self { tag, end: DatagramPath::new(tag), rate, counted: PathCounts::default() }
    }

    pub(super) fn tag(&self) -> u32 {
        self.tag
    }
}

impl Link {
    /// Does what the path wants done.
    fn flush(&mut self, peer: PeerId, shared: &Shared) {
        let Some(path) = &mut self.path else { return };
        while let Some(output) = path.end.poll_output() {
            match output {
                PathOutput::Datagram(bytes) => {
                    shared.media.send(MediaCommand::Datagram { peer, bytes });
                }
                PathOutput::Confirm { received, lossy } => {
                    let event = ServerMessage::event(SessionEvent::Datagrams { lossy });
                    self.outbox.send(&ServerMessage { received, ..event });
                }
                PathOutput::OverStream { number, message } => {
                    let message = ServerMessage { parcel: Some(number), ..(*message).clone() };
                    self.outbox.send(&message);
                }
            }
        }
        let counts = path.end.counts();
        shared.metrics.count_path(&counts, &path.counted);
        path.counted = counts;
    }

    /// Sends a message by the ways that it has; `text` makes its text.
    fn tell(
        &mut self,
        message: &Arc<ServerMessage>,
        body: Option<&[u8]>,
        text: impl FnOnce() -> Utf8Bytes,
        now: Duration,
    ) {
        let path = self.path.as_mut().zip(body);
        let number = match (message.urgency(), path) {
            (Urgency::First, Some((path, body))) => {
                if path.end.send_first(body, Arc::clone(message), now).is_ok() {
                    return;
                }
                None
            }
            (Urgency::Both, Some((path, body))) => path.end.send_also(body, now),
            _ => None,
        };
        match number {
            Some(_) => {
                let numbered = ServerMessage { parcel: number, ..(**message).clone() };
                self.outbox.send(&numbered);
            }
            None => self.outbox.send_text(text()),
        }
    }
}

impl Room {
    fn path_now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Sends a message to these connections.
    pub(super) fn tell(&mut self, to: &[ConnectionId], message: ServerMessage) {
        let now = self.path_now();
        let message = Arc::new(message);
        let mut text: Option<Utf8Bytes> = None;
        let mut body = None;
        for connection in to {
            let Some(member) = member_of(&self.by_connection, &mut self.members, *connection)
            else {
                continue;
            };
            let Some(link) = &mut member.link else { continue };
            let ready = link.path.as_ref().is_some_and(|path| path.end.is_ready());
            let body = if ready && message.urgency() != Urgency::Ordinary {
                body.get_or_insert_with(|| message.to_binary()).as_deref()
            } else {
                None
            };
            let text = || text.get_or_insert_with(|| message.to_text().into()).clone();
            link.tell(&message, body, text, now);
            link.flush(member.peer, &self.shared);
        }
    }

    /// The member's channel has opened or closed.
    pub(super) fn set_channel(&mut self, identity: &Identity, open: bool) {
        let Some(member) = self.members.get_mut(identity) else { return };
        member.has_channel = open;
        if open {
            self.open_path(identity);
        } else {
            self.with_path(identity, |path, _| path.end.close());
        }
    }

    /// Begins to use the member's channel, if there is one.
    pub(super) fn open_path(&mut self, identity: &Identity) {
        if self.members.get(identity).is_some_and(|member| member.has_channel) {
            self.with_path(identity, |path, now| path.end.open(now));
        }
    }

    /// A datagram came through the member's channel.
    pub(super) fn on_datagram(&mut self, identity: &Identity, bytes: &[u8], calls: &mut Calls) {
        let shared = Arc::clone(&self.shared);
        let refuse = |reason| shared.metrics.count_refused_datagram(reason);
        let Some(connection) = self.connection_of(identity) else { return refuse("no_connection") };
        let received = self.with_path(identity, |path, now| {
            let body = path.end.receive(bytes, now).map_err(|error| error.name())?;
            let Some(body) = body else { return Ok(None) };
            let message = ClientMessage::from_binary(&body).map_err(|_| "malformed")?;
            Ok(Some((message, path.rate.take(Instant::now()))))
        });
        match received {
            Some(Ok(Some((message, Ok(()))))) => {
                shared.metrics.messages.inc();
                self.on_message(connection, message, calls);
            }
            Some(Ok(Some((message, Err(wait))))) => {
                let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
                let code = RefusalCode::RateLimited { retry_after_ms };
                self.refuse(identity, message.id, Refusal::new(code, "expected fewer messages"));
            }
            Some(Err(reason)) => refuse(reason),
            Some(Ok(None)) => {}
            None => refuse("no_path"),
        }
    }

    /// Whether a message that came over the stream has not come as datagrams before.
    pub(super) fn is_first(&mut self, identity: &Identity, number: u32) -> bool {
        self.with_path(identity, |path, now| path.end.is_first(number, now)).unwrap_or(true)
    }

    /// The client has confirmed messages.
    pub(super) fn confirmed(&mut self, identity: &Identity, numbers: &[u32]) {
        self.with_path(identity, |path, now| path.end.confirmed(numbers, now));
    }

    /// The client misses datagrams.
    pub(super) fn losses_reported(&mut self, identity: &Identity) {
        self.with_path(identity, |path, now| path.end.losses_reported(now));
    }

    pub(super) fn path_deadline(&self) -> Option<Instant> {
        let due = self
            .members
            .values()
            .filter_map(|member| member.link.as_ref()?.path.as_ref()?.end.next_deadline());
        due.min().map(|due| self.origin + due)
    }

    pub(super) fn on_path_deadlines(&mut self) {
        let now = self.path_now();
        for member in self.members.values_mut() {
            let Some(link) = &mut member.link else { continue };
            let Some(path) = &mut link.path else { continue };
            if path.end.next_deadline().is_some_and(|due| due <= now) {
                path.end.handle_timeout(now);
                link.flush(member.peer, &self.shared);
            }
        }
    }

    fn connection_of(&self, identity: &Identity) -> Option<ConnectionId> {
        Some(self.members.get(identity)?.link.as_ref()?.connection)
    }

    /// Does something with a member's path, and then what the path wants done.
    fn with_path<T>(
        &mut self,
        identity: &Identity,
        work: impl FnOnce(&mut Path, Duration) -> T,
    ) -> Option<T> {
        let now = self.path_now();
        let member = self.members.get_mut(identity)?;
        let link = member.link.as_mut()?;
        let done = work(link.path.as_mut()?, now);
        link.flush(member.peer, &self.shared);
        Some(done)
    }
}

fn member_of<'a>(
    by_connection: &HashMap<ConnectionId, Identity>,
    members: &'a mut BTreeMap<Identity, Member>,
    connection: ConnectionId,
) -> Option<&'a mut Member> {
    let member = members.get_mut(by_connection.get(&connection)?)?;
    let current = member.link.as_ref().is_some_and(|link| link.connection == connection);
    current.then_some(member)
}
