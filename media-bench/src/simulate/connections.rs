//! Connections between the members and the server: how they come and go, and what travels on them.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;
use sframe_bridge::Now;
use sfu_sim::delivery::ConnectionId;

use super::{
    member::Connection,
    network::Way,
    path::Ends,
    scenario::SignallingPath,
    stream::{Due, Pipe, Signal},
    world::{What, World},
};

/// Round trips until a WebSocket over TLS is open: TCP, TLS 1.3, upgrade.
const HANDSHAKE: u32 = 3;

/// Round trips until media flows: offer and answer, ICE, DTLS twice, the server's offer.
pub(super) const MEDIA_HANDSHAKE: u32 = 5;

/// How often a client pings the server, and so the longest time until it sees that it was given up.
const PING: Duration = Duration::from_secs(5);

/// After what a client tries to connect again.
const RETRY: Duration = Duration::from_millis(250);

impl World<'_> {
    /// Begins to connect, as soon as the network is there.
    pub(super) fn connect(&mut self, member: usize) {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return };
        let begin = entry.asleep_until.max(now);
        let mut at = begin + entry.link.round_trip() * HANDSHAKE;
        for trip in 0..HANDSHAKE {
            let timeout = if trip == 0 { 1_000 } else { 300 };
            for way in [Way::Up, Way::Down] {
                if entry.link.packet_at(way, 200, at).arrives.is_none() {
                    at = at + Duration::from_millis(timeout);
                }
            }
        }
        self.queue.at(at, What::Connected { member });
    }

    pub(super) fn connected(&mut self, member: usize) -> Result<()> {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        if entry.is_over || entry.connection.is_some() {
            return Ok(());
        }
        if entry.link.is_cut(now) || now < entry.asleep_until {
            let retry = entry.link.cut_until().max(entry.asleep_until) + RETRY;
            self.queue.at(retry, What::Connected { member });
            return Ok(());
        }
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let spec = &self.scenario.signalling;
        let (up, down) = (Pipe::new(Way::Up, spec), Pipe::new(Way::Down, spec));
        let ends = (spec.path == SignallingPath::Datagrams).then(|| Ends::new(self.connections));
        entry.connection = Some(Connection { id, up, down, ends });
        let media = now + entry.link.round_trip() * MEDIA_HANDSHAKE;
        let name = entry.name.clone();
        self.queue.at(media, What::MediaReady { member, connection: id });
        let acts = self.server.connect(id, member, &name, now)?;
        self.server_acts(acts)
    }

    pub(super) fn is_current(&self, member: usize, connection: ConnectionId) -> bool {
        let current = self.members.get(member).and_then(|entry| entry.connection.as_ref());
        current.is_some_and(|current| current.id == connection)
    }

    pub(super) fn is_leaving(&self, member: usize) -> bool {
        self.members.get(member).is_none_or(|entry| entry.is_leaving || entry.is_over)
    }

    /// The network is gone until then, perhaps with the whole computer asleep.
    pub(super) fn cut(&mut self, member: usize, until: Now) {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return };
        entry.link.cut(until);
        entry.is_behind = true;
        self.tracker.dropped(member, now);
        if let Some(connection) = entry.connection.as_ref().map(|connection| connection.id) {
            let idle = Duration::from_millis(self.scenario.signalling.idle_ms);
            self.queue.at(now + idle, What::GivenUp { member, connection });
        }
    }

    pub(super) fn given_up(&mut self, member: usize, connection: ConnectionId) -> Result<()> {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        let silent = entry.link.is_cut(now) || now < entry.asleep_until;
        if !silent || self.server.member(connection).is_none() {
            return Ok(());
        }
        let back = entry.link.cut_until().max(entry.asleep_until);
        let notice = PING.mul_f64(self.rng.random()) + entry.link.round_trip();
        self.queue.at(back + notice, What::FindsOut { member, connection });
        let acts = self.server.disconnect(connection, now)?;
        self.server_acts(acts)
    }

    pub(super) fn finds_out(&mut self, member: usize, connection: ConnectionId) -> Result<()> {
        let now = self.now();
        if !self.is_current(member, connection) {
            return Ok(());
        }
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        let acts = entry.disconnected(now)?;
        self.acts(member, acts);
        self.connect(member);
        Ok(())
    }

    /// The program ends: the server sees that the connection is closed.
    pub(super) fn end(&mut self, member: usize) -> Result<()> {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        entry.is_over = true;
        let connection = entry.connection.take().map(|connection| connection.id);
        let abandoned = entry.reception.abandon();
        self.counts.frames.on_the_way += abandoned;
        self.counts.frames.sent = self.counts.frames.sent.saturating_sub(abandoned);
        self.stage.cut_off(member);
        self.tracker.dropped(member, now);
        self.close_account(member);
        if let Some(connection) = connection {
            let acts = self.server.disconnect(connection, now)?;
            self.server_acts(acts)?;
        }
        Ok(())
    }

    pub(super) fn signal(
        &mut self,
        member: usize,
        connection: ConnectionId,
        way: Way,
        signal: Signal,
    ) -> Result<()> {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        let Some(open) = entry.connection.as_mut().filter(|open| open.id == connection) else {
            return Ok(());
        };
        match way {
            Way::Up => {
                let mut came = Vec::new();
                open.up.happened(signal, &mut entry.link, now, &mut self.due, &mut came);
                self.plan_signals(member, connection, way);
                for carried in came {
                    if let Some(message) = self.asked_over_stream(member, carried) {
                        self.request(connection, message)?;
                    }
                }
            }
            Way::Down => {
                let mut came = Vec::new();
                open.down.happened(signal, &mut entry.link, now, &mut self.due, &mut came);
                self.plan_signals(member, connection, way);
                for carried in came {
                    if let Some(message) = self.told_over_stream(member, carried) {
                        self.reaches(member, message);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn plan_signals(&mut self, member: usize, connection: ConnectionId, way: Way) {
        for Due { at, signal } in self.due.drain(..) {
            self.queue.at(at, What::Signal { member, connection, way, signal });
        }
    }
}
