//! How messages travel: over the stream, and where there is one over the real path of datagrams beside it. Both
//! ends of the path are the code that the product runs; only the network between them is a model.

use std::{rc::Rc, time::Duration};

use anyhow::Result;
use sframe_bridge::Now;
use sfu_sim::{
    delivery::ConnectionId,
    protocol::{
        ClientBody, ClientMessage, ServerMessage, SessionEvent, SessionRequest,
        datagrams::{DatagramPath, PathOutput, Urgency},
    },
};

use super::{
    network::{DATAGRAM_HEADERS, Link, Way},
    stream::{Due, Pipe},
    world::{What, World},
};

/// What `"parcel":1234,` adds to a message's text, and `"received":[1234],`.
const PARCEL: usize = 14;
const RECEIVED: usize = 18;

/// What travels on a stream.
pub(super) enum Carried<M> {
    Message {
        message: M,
        parcel: Option<u32>,
        received: Vec<u32>,
    },
    /// Nothing but what came as datagrams.
    Confirmed {
        received: Vec<u32>,
        lossy: bool,
    },
}

/// When a datagram arrives, and what it is.
type Flying = (Now, Rc<[u8]>);

/// How a message looks on its way.
pub(super) struct Forms {
    /// How long its text is.
    pub(super) text: usize,
    /// As datagrams carry it.
    pub(super) binary: Option<Vec<u8>>,
}

/// One end of a path, and when it is looked at again.
struct End<M> {
    path: DatagramPath<M>,
    timer: Option<Now>,
}

impl<M> End<M> {
    fn new(tag: u32) -> Self {
        Self { path: DatagramPath::new(tag), timer: None }
    }
}

/// Both ends of a connection's path.
pub(super) struct Ends {
    member: End<ClientMessage>,
    server: End<Rc<ServerMessage>>,
}

impl Ends {
    pub(super) fn new(connection: u64) -> Self {
        let tag = u32::try_from(connection).unwrap_or(u32::MAX);
        Self { member: End::new(tag), server: End::new(tag) }
    }
}

/// A direction of a connection: its link and what follows from sending.
struct Lane<'a, M> {
    pipe: &'a mut Pipe<Carried<M>>,
    link: &'a mut Link,
    way: Way,
    due: &'a mut Vec<Due>,
}

impl<M> Lane<'_, M> {
    fn send(
        &mut self,
        end: Option<&mut End<M>>,
        message: M,
        urgency: Urgency,
        forms: &Forms,
        at: Now,
    ) {
        let mut message = message;
        let mut parcel = None;
        let mut received = Vec::new();
        if let Some(end) = end {
            match (urgency, &forms.binary) {
                (Urgency::First, Some(binary)) => {
                    match end.path.send_first(binary, message, span(at)) {
                        Ok(()) => return,
                        Err(back) => message = back,
                    }
                }
                (Urgency::Both, Some(binary)) => parcel = end.path.send_also(binary, span(at)),
                _ => {}
            }
            // The server says the same to all, and confirms apart.
            if self.way == Way::Up {
                received = end.path.take_confirmations();
            }
        }
        self.over_stream(message, parcel, received, forms.text, at);
    }

    fn over_stream(
        &mut self,
        message: M,
        parcel: Option<u32>,
        received: Vec<u32>,
        text: usize,
        at: Now,
    ) {
        let confirming = if received.is_empty() { 0 } else { RECEIVED };
        let bytes = text + parcel.map_or(0, |_| PARCEL) + confirming;
        let carried = Carried::Message { message, parcel, received };
        self.pipe.send(carried, bytes, self.link, at, self.due);
    }

    /// Does what an end wants done. Returns the datagrams that will arrive, and how many messages
    /// had to take to the stream.
    fn settle(
        &mut self,
        end: &mut End<M>,
        at: Now,
        text: impl Fn(&M) -> usize,
        confirmation: impl Fn(Vec<u32>, bool) -> usize,
    ) -> (Vec<Flying>, u64) {
        let (mut flying, mut fell_back) = (Vec::new(), 0);
        while let Some(output) = end.path.poll_output() {
            match output {
                PathOutput::Datagram(bytes) => {
                    let length = bytes.len() + DATAGRAM_HEADERS;
                    let bytes: Rc<[u8]> = bytes.into();
                    if let Some(arrives) = self.link.packet_at(self.way, length, at).arrives {
                        if self.link.duplicates() {
                            flying.push((arrives, Rc::clone(&bytes)));
                        }
                        flying.push((arrives, bytes));
                    }
                }
                PathOutput::Confirm { received, lossy } => {
                    let bytes = confirmation(received.clone(), lossy);
                    let carried = Carried::Confirmed { received, lossy };
                    self.pipe.send(carried, bytes, self.link, at, self.due);
                }
                PathOutput::OverStream { number, message } => {
                    fell_back += 1;
                    let text = text(&message);
                    self.over_stream(message, Some(number), Vec::new(), text, at);
                }
            }
        }
        self.link.count_selective(self.way, flying.len());
        (flying, fell_back)
    }
}

impl World<'_> {
    /// A member sends a message.
    pub(super) fn send(&mut self, member: usize, message: ClientMessage) {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return };
        let Some(open) = &mut entry.connection else { return };
        let urgency = message.urgency();
        let forms = Forms { text: message.to_text().len(), binary: message.to_binary() };
        let end = open.ends.as_mut().map(|ends| &mut ends.member);
        let (pipe, due) = (&mut open.up, &mut self.due);
        let mut lane = Lane { pipe, link: &mut entry.link, way: Way::Up, due };
        lane.send(end, message, urgency, &forms, now);
        self.settle_path(member, Way::Up, now);
    }

    /// The server sends a message.
    pub(super) fn tell(
        &mut self,
        connection: ConnectionId,
        message: &Rc<ServerMessage>,
        forms: &Forms,
        at: Now,
    ) {
        let Some(member) = self.server.member(connection) else { return };
        let Some(entry) = self.members.get_mut(member) else { return };
        let Some(open) = entry.connection.as_mut().filter(|open| open.id == connection) else {
            return;
        };
        let urgency = message.urgency();
        let end = open.ends.as_mut().map(|ends| &mut ends.server);
        let (pipe, due) = (&mut open.down, &mut self.due);
        let mut lane = Lane { pipe, link: &mut entry.link, way: Way::Down, due };
        lane.send(end, Rc::clone(message), urgency, forms, at);
        self.settle_path(member, Way::Down, at);
    }

    /// What came over a stream, up, unless it had come before.
    pub(super) fn asked_over_stream(
        &mut self,
        member: usize,
        carried: Carried<ClientMessage>,
    ) -> Option<ClientMessage> {
        let now = self.now();
        let Some(ends) = self.ends(member) else { return message_of(carried) };
        let news = opened(carried, &mut ends.server.path, span(now));
        self.settle_path(member, Way::Down, now);
        news
    }

    /// The same, down.
    pub(super) fn told_over_stream(
        &mut self,
        member: usize,
        carried: Carried<Rc<ServerMessage>>,
    ) -> Option<Rc<ServerMessage>> {
        let now = self.now();
        let Some(ends) = self.ends(member) else { return message_of(carried) };
        let news = opened(carried, &mut ends.member.path, span(now));
        self.settle_path(member, Way::Up, now);
        news
    }

    /// A datagram arrives.
    pub(super) fn datagram(
        &mut self,
        member: usize,
        connection: ConnectionId,
        way: Way,
        bytes: &[u8],
    ) -> Result<()> {
        let now = self.now();
        if !self.is_current(member, connection) {
            return Ok(());
        }
        let Some(ends) = self.ends(member) else { return Ok(()) };
        match way {
            Way::Up => {
                let body = ends.server.path.receive(bytes, span(now))?;
                self.settle_path(member, Way::Down, now);
                if let Some(body) = body {
                    self.request(connection, ClientMessage::from_binary(&body)?)?;
                }
            }
            Way::Down => {
                let body = ends.member.path.receive(bytes, span(now))?;
                self.settle_path(member, Way::Up, now);
                if let Some(body) = body {
                    self.reaches(member, Rc::new(ServerMessage::from_binary(&body)?));
                }
            }
        }
        Ok(())
    }

    /// The timer of the end that sends this way.
    pub(super) fn path_due(&mut self, member: usize, connection: ConnectionId, way: Way) {
        let now = self.now();
        if !self.is_current(member, connection) {
            return;
        }
        let Some(ends) = self.ends(member) else { return };
        match way {
            Way::Up => {
                ends.member.timer = None;
                ends.member.path.handle_timeout(span(now));
            }
            Way::Down => {
                ends.server.timer = None;
                ends.server.path.handle_timeout(span(now));
            }
        }
        self.settle_path(member, way, now);
    }

    /// A member's media connection is there, and with it the channel.
    pub(super) fn open_paths(&mut self, member: usize) {
        let now = self.now();
        let Some(ends) = self.ends(member) else { return };
        ends.member.path.open(span(now));
        ends.server.path.open(span(now));
        self.settle_path(member, Way::Up, now);
        self.settle_path(member, Way::Down, now);
    }

    /// A member's media connection is gone.
    pub(super) fn close_paths(&mut self, member: usize) {
        let now = self.now();
        let Some(ends) = self.ends(member) else { return };
        ends.member.path.close();
        ends.server.path.close();
        self.settle_path(member, Way::Up, now);
        self.settle_path(member, Way::Down, now);
    }

    fn ends(&mut self, member: usize) -> Option<&mut Ends> {
        self.members.get_mut(member)?.connection.as_mut()?.ends.as_mut()
    }

    /// Does what the end wants done that sends this way, and sets its timer.
    fn settle_path(&mut self, member: usize, way: Way, at: Now) {
        let Some(entry) = self.members.get_mut(member) else { return };
        let Some(open) = &mut entry.connection else { return };
        let connection = open.id;
        let (link, due) = (&mut entry.link, &mut self.due);
        if let Some(ends) = &mut open.ends {
            let (flying, fell_back, timer) = match way {
                Way::Up => {
                    let mut lane = Lane { pipe: &mut open.up, link, way, due };
                    let (flying, fell_back) = lane.settle(
                        &mut ends.member,
                        at,
                        |message| message.to_text().len(),
                        |received, lossy| {
                            let request = SessionRequest::Datagrams { lossy };
                            let message = ClientMessage::event(request);
                            ClientMessage { received, ..message }.to_text().len()
                        },
                    );
                    (flying, fell_back, plan_timer(&mut ends.member))
                }
                Way::Down => {
                    let mut lane = Lane { pipe: &mut open.down, link, way, due };
                    let (flying, fell_back) = lane.settle(
                        &mut ends.server,
                        at,
                        |message| message.to_text().len(),
                        |received, lossy| {
                            let event = SessionEvent::Datagrams { lossy };
                            let message = ServerMessage::event(event);
                            ServerMessage { received, ..message }.to_text().len()
                        },
                    );
                    (flying, fell_back, plan_timer(&mut ends.server))
                }
            };
            for (arrives, bytes) in flying {
                self.queue.at(arrives, What::Datagram { member, connection, way, bytes });
            }
            if let Some(timer) = timer {
                self.queue.at(timer, What::PathDue { member, connection, way });
            }
            if fell_back > 0 {
                *self.counts.noticed.entry("unconfirmed datagrams").or_default() += fell_back;
            }
        }
        self.plan_signals(member, connection, way);
    }

    /// A request reaches the server.
    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        message: ClientMessage,
    ) -> Result<()> {
        let now = self.now();
        if let ClientBody::Delivery(request) = &message.body {
            self.chronicle.borrow_mut().asked(request, now)?;
        }
        let acts = self.server.request(connection, message, now)?;
        self.server_acts(acts)
    }

    /// A message reaches a member, who reads it when its turn comes.
    pub(super) fn reaches(&mut self, member: usize, message: Rc<ServerMessage>) {
        if let Some(entry) = self.members.get_mut(member) {
            entry.inbox.push_back(message);
            self.plan_reading(member);
        }
    }
}

fn message_of<M>(carried: Carried<M>) -> Option<M> {
    match carried {
        Carried::Message { message, .. } => Some(message),
        Carried::Confirmed { .. } => None,
    }
}

/// What came over a stream, unless it had come before.
fn opened<M, P>(carried: Carried<M>, path: &mut DatagramPath<P>, now: Duration) -> Option<M> {
    match carried {
        Carried::Message { message, parcel, received } => {
            path.confirmed(&received, now);
            parcel.is_none_or(|number| path.is_first(number, now)).then_some(message)
        }
        Carried::Confirmed { received, lossy } => {
            path.confirmed(&received, now);
            if lossy {
                path.losses_reported(now);
            }
            None
        }
    }
}

/// When the end is to be looked at, if that is sooner than planned.
fn plan_timer<M>(end: &mut End<M>) -> Option<Now> {
    let due = end.path.next_deadline()?;
    // Rounded up: at the time planned it has to be due.
    let micros = due.as_nanos().div_ceil(1_000);
    let due = Now::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
    if end.timer.is_some_and(|planned| planned <= due) {
        return None;
    }
    end.timer = Some(due);
    end.timer
}

fn span(now: Now) -> Duration {
    Duration::from_micros(now.as_micros())
}
