//! A member: its connection, its computer, and the real code that it runs.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use anyhow::{Context, Result};
use call_session::{Invite, Moment, Output, Session, SessionConfig, SessionEvent, Status};
use mls::UnixTime;
use rand::{SeedableRng, rngs::StdRng};
use sframe_bridge::{
    CallKeys, CallKeysConfig, CallParameters, Epoch, Event, KidLayout, Now, crypto,
};
use sfu_sim::{
    delivery::ConnectionId,
    protocol::{ClientBody, ClientMessage, DeliveryRequest, Identity, ServerMessage},
};

use super::{
    chronicle::Chronicle,
    costs,
    network::Link,
    path::{Carried, Ends},
    reception::{Fate, Reception},
    server::BEGINNING,
    stand_in::{self, StandIn},
    stream::Pipe,
};

/// The secret of the simulated call's invite link.
const INVITE: &[u8] = b"the secret of the simulated call";

/// A connection between a member and the server.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) up: Pipe<Carried<ClientMessage>>,
    pub(super) down: Pipe<Carried<Rc<ServerMessage>>>,
    /// The member's end and the server's of the path of datagrams, if there is one.
    pub(super) ends: Option<Ends>,
}

/// What a member does.
pub(super) enum Act {
    /// Send a message, after having computed for so long.
    Send { message: ClientMessage, after: Duration },
    /// The receive keys of an epoch are live.
    Installed { epoch: u64 },
    /// Frames are sent under this epoch from here on; perhaps the first ones.
    Switched { epoch: u64, first: bool },
    /// A membership began: frames are to be sent with new senders.
    Began,
    /// The membership is over.
    Ended,
    /// Frames met their fate.
    Frames(Vec<Fate>),
    /// Something that should not happen often, by name.
    Counted(&'static str),
}

pub(super) struct Member {
    pub(super) name: String,
    pub(super) link: Link,
    pub(super) session: Session,
    /// Instead of the session, until it has to commit.
    stand_in: Option<StandIn>,
    /// Whether others are stand-ins.
    among_stand_ins: bool,
    /// Whether it has run all of the real code.
    pub(super) is_full: bool,
    pub(super) keys: Option<CallKeys>,
    pub(super) connection: Option<Connection>,
    pub(super) reception: Reception,
    /// Whether it may send media.
    pub(super) presents: bool,
    /// Messages that have come and are not read yet.
    pub(super) inbox: VecDeque<Rc<ServerMessage>>,
    pub(super) reading: bool,
    /// The processor has something to do until then.
    pub(super) busy: Now,
    factor: f64,
    pub(super) computed: Duration,
    /// The timer that is set.
    pub(super) timer: Option<Now>,
    /// When the person wanted to join.
    pub(super) started: Now,
    /// Asleep until then.
    pub(super) asleep_until: Now,
    /// It has gone, for good.
    pub(super) is_over: bool,
    /// A commit removed it.
    is_removed: bool,
    /// It has said goodbye.
    pub(super) is_leaving: bool,
    /// It has just joined, or was away, and does not send under the newest epoch yet.
    pub(super) is_behind: bool,
    pub(super) members: u32,
    /// The epoch that it sends under.
    pub(super) send_epoch: Option<u64>,
}

/// What a member is made of.
pub(super) struct Making<'a> {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) link: Link,
    pub(super) factor: f64,
    pub(super) presents: bool,
    pub(super) samples: bool,
    /// What a stand-in knows of the group; none for a full member.
    pub(super) stands_in: Option<Rc<RefCell<Chronicle>>>,
    pub(super) among_stand_ins: bool,
    pub(super) parameters: &'a CallParameters,
    pub(super) started: Now,
}

impl Member {
    pub(super) fn new(making: Making<'_>) -> Result<Self> {
        let mut config = SessionConfig::new(Identity::new(making.name.as_str()));
        // The signatures of the others take randomness that no seed reaches.
        config.suite = mls::CipherSuite::X25519_AES128GCM_SHA256_ED25519;
        config.parameters = making.parameters.clone();
        config.invite = Some(Invite::new(INVITE));
        let rng = Box::new(StdRng::seed_from_u64(making.seed));
        let session = Session::new(config, rng).context("a session could not be made")?;
        Ok(Self {
            name: making.name.clone(),
            link: making.link,
            session,
            among_stand_ins: making.among_stand_ins,
            is_full: making.stands_in.is_none(),
            stand_in: making.stands_in.map(|it| StandIn::new(making.name.clone(), it)),
            keys: None,
            connection: None,
            reception: Reception::new(making.samples),
            presents: making.presents,
            inbox: VecDeque::new(),
            reading: false,
            busy: Now::default(),
            factor: making.factor,
            computed: Duration::ZERO,
            timer: None,
            started: making.started,
            asleep_until: Now::default(),
            is_over: false,
            is_removed: false,
            is_leaving: false,
            is_behind: true,
            members: 1,
            send_epoch: None,
        })
    }

    /// Spends processor time.
    pub(super) fn compute(&mut self, cost: Duration) -> Duration {
        let cost = cost.mul_f64(self.factor);
        self.computed += cost;
        cost
    }

    /// The group's epoch here.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.stand_in.as_ref().map_or_else(|| self.session.epoch(), StandIn::epoch)
    }

    /// Whether it is a member that has caught up, or at least believes so.
    pub(super) fn is_member(&self) -> bool {
        match &self.stand_in {
            Some(stand_in) => stand_in.epoch().is_some(),
            None => matches!(self.session.status(), Status::Member { .. }),
        }
    }

    /// Whether the session is the one that is in the call.
    pub(super) fn has_session(&self) -> bool {
        self.stand_in.is_none()
    }

    /// Whether it has nothing more to do.
    pub(super) fn has_ended(&self) -> bool {
        self.is_removed || self.session.status().is_over()
    }

    pub(super) fn can_reach_others(&self, now: Now) -> bool {
        self.connection.is_some() && !self.link.is_cut(now) && now >= self.asleep_until
    }

    /// Reads the oldest message.
    pub(super) fn read(&mut self, now: Now) -> Result<Vec<Act>> {
        let Some(message) = self.inbox.pop_front() else { return Ok(Vec::new()) };
        if let Some(acts) = self.stand_in.as_mut().and_then(|it| it.handle(&message, now)) {
            return self.stand_in_acts(acts, now);
        }
        let message = Rc::try_unwrap(message).unwrap_or_else(|shared| (*shared).clone());
        self.session.handle_message(message, moment(now));
        self.drain(now)
    }

    pub(super) fn timeout(&mut self, now: Now) -> Result<Vec<Act>> {
        if let Some(keys) = &mut self.keys {
            keys.handle_timeout(now);
        }
        let mut acts = Vec::new();
        if self.stand_in.as_ref().is_some_and(|it| it.has_to_commit(now)) {
            acts = self.become_full(now)?;
        }
        match self.stand_in.as_mut() {
            Some(stand_in) => {
                let heartbeat = stand_in.take_heartbeat(now);
                acts.extend(heartbeat.map(|message| Act::Send { message, after: Duration::ZERO }));
            }
            None => self.session.handle_timeout(moment(now)),
        }
        let expired = self.reception.expire(now);
        acts.extend(self.drain(now)?);
        acts.push(Act::Frames(expired));
        Ok(acts)
    }

    /// Says goodbye.
    pub(super) fn leave(&mut self, now: Now) -> Result<Vec<Act>> {
        self.is_leaving = true;
        self.session.leave();
        self.drain(now)
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, now: Now) -> Result<Vec<Act>> {
        self.connection = None;
        self.inbox.clear();
        // Only a full member catches up with what it missed.
        let mut acts = self.become_full(now)?;
        self.session.disconnected();
        acts.extend(self.drain(now)?);
        Ok(acts)
    }

    /// Gives the session everything that the stand-in has been through.
    fn become_full(&mut self, now: Now) -> Result<Vec<Act>> {
        let Some(stand_in) = self.stand_in.take() else { return Ok(Vec::new()) };
        self.is_full = true;
        let mut acts = Vec::new();
        for (message, at) in stand_in.missed(now) {
            self.session.handle_message(message, moment(at));
            acts = self.drain(now)?;
            // What the stand-in has said, is said.
            if at < now {
                acts.retain(|act| !matches!(act, Act::Send { .. }));
            }
        }
        Ok(acts)
    }

    fn stand_in_acts(&mut self, done: Vec<stand_in::Act>, now: Now) -> Result<Vec<Act>> {
        let mut acts = Vec::new();
        for act in done {
            match act {
                stand_in::Act::Send(message) => {
                    acts.push(Act::Send { message, after: Duration::ZERO });
                }
                stand_in::Act::Installed(epoch) => {
                    let held = self.stand_in.as_ref().and_then(StandIn::held);
                    acts.push(Act::Installed { epoch });
                    acts.push(Act::Frames(self.reception.stand_in_for(held, now)));
                }
                stand_in::Act::Removed => {
                    self.is_removed = true;
                    acts.push(Act::Ended);
                }
            }
        }
        if let Some(members) = self.stand_in.as_ref().and_then(StandIn::members) {
            self.members = members;
        }
        Ok(acts)
    }

    /// When [`timeout`](Self::timeout) is due.
    pub(super) fn next_deadline(&self, now: Now) -> Option<Now> {
        let own = match &self.stand_in {
            Some(stand_in) => stand_in.next_deadline(now),
            None => self.session.next_deadline(now),
        };
        let keys = self.keys.as_ref().and_then(CallKeys::next_deadline);
        [own, keys, self.reception.next_deadline()].into_iter().flatten().min()
    }

    fn drain(&mut self, now: Now) -> Result<Vec<Act>> {
        let mut acts = Vec::new();
        let mut after = Duration::ZERO;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(message) => {
                    if let ClientBody::Delivery(DeliveryRequest::Submit { .. }) = message.body {
                        after += self.compute(costs::commit(self.members));
                    }
                    acts.push(Act::Send { message, after });
                }
                Output::Begin(parameters) => {
                    let provider = crypto::default_provider();
                    let config = CallKeysConfig::from_parameters(provider, &parameters)
                        .context("the call's frame suite is not supported")?;
                    self.keys = Some(CallKeys::new(config));
                    self.send_epoch = None;
                    self.reception.begin();
                    acts.push(Act::Began);
                }
                Output::Install(epoch) => acts.extend(self.install(*epoch, now)),
                Output::PeerReady { leaf, epoch } => {
                    if let Some(keys) = &mut self.keys {
                        keys.peer_ready(leaf, epoch, now);
                    }
                }
                Output::Sending { allowed } => {
                    // Heartbeats of stand-ins are not signed: nobody can count on them.
                    if let Some(keys) = self.keys.as_mut().filter(|_| !self.among_stand_ins) {
                        if allowed {
                            keys.resume_sending();
                        } else {
                            keys.stop_sending();
                            acts.push(Act::Counted("stopped sending"));
                        }
                    }
                }
                Output::End => {
                    if let Some(mut keys) = self.keys.take() {
                        keys.close();
                    }
                    self.send_epoch = None;
                    acts.push(Act::Ended);
                }
                Output::Event(event) => self.happened(&event, &mut acts),
            }
        }
        self.poll_keys(&mut acts);
        Ok(acts)
    }

    fn install(&mut self, epoch: Epoch, now: Now) -> Vec<Act> {
        let Some(keys) = &mut self.keys else { return Vec::new() };
        if let Err(error) = keys.install_epoch(epoch, now) {
            self.session.install_failed(error);
            return vec![Act::Counted("epoch refused by the media keys")];
        }
        let Some(epoch) = keys.newest_epoch() else { return Vec::new() };
        let tried_again = self.reception.retry(keys, now);
        vec![Act::Installed { epoch }, Act::Frames(tried_again)]
    }

    fn happened(&mut self, event: &SessionEvent, acts: &mut Vec<Act>) {
        match event {
            SessionEvent::EpochBegan { roster, .. } => {
                self.members = u32::try_from(roster.len()).unwrap_or(u32::MAX);
            }
            SessionEvent::StatusChanged(status) => match status {
                Status::Resyncing => acts.push(Act::Counted("resync")),
                Status::Failed { .. } => acts.push(Act::Counted("failed")),
                Status::Removed if !self.is_leaving => {
                    acts.push(Act::Counted("removed while there"))
                }
                _ => {}
            },
            SessionEvent::Alarm(_) => acts.push(Act::Counted("alarm")),
            SessionEvent::Ignored { .. } => acts.push(Act::Counted("message ignored")),
            _ => {}
        }
    }

    fn poll_keys(&mut self, acts: &mut Vec<Act>) {
        let Some(keys) = &mut self.keys else { return };
        let mut expired = false;
        while let Some(event) = keys.poll() {
            match event {
                Event::SwitchSend { epoch, .. } => {
                    let first = self.send_epoch.replace(epoch).is_none();
                    acts.push(Act::Switched { epoch, first });
                }
                Event::EpochExpired { .. } => expired = true,
                _ => {}
            }
        }
        if expired {
            self.reception.follow(keys);
        }
    }
}

/// Parameters of the simulated call: the layout has room for all who may come.
pub(super) fn parameters(leaves: u32) -> Result<CallParameters> {
    let mut parameters = CallParameters::default();
    let bits = leaves.max(4_096).next_power_of_two().ilog2();
    let bits = u8::try_from(bits).context("expected fewer members")?;
    parameters.layout = KidLayout::new(8, bits)?;
    Ok(parameters)
}

pub(super) fn moment(now: Now) -> Moment {
    Moment { now, unix: UnixTime(BEGINNING + now.as_millis() / 1_000) }
}
