//! The simulated world: everything that happens, in the order of virtual time.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use anyhow::Result;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sframe_bridge::{CallParameters, Now};
use sfu_sim::{
    delivery::{ConnectionId, StorageDone},
    protocol::ClientMessage,
};

use super::{
    chronicle::Chronicle,
    member::{self, Making, Member},
    network::{Link, Way},
    outcome::Account,
    queue::Queue,
    reception::Frame,
    report::{Durations, Frames},
    scenario::{Fidelity, REST, Scenario},
    server::Server,
    stage::{Outgoing, Stage},
    stream::{Due, Signal},
    tracker::Tracker,
};

/// What happens.
pub(super) enum What {
    /// Somebody wants to join.
    Arrives,
    /// A member's connection is open.
    Connected { member: usize },
    /// Media reaches a member from here on, and its own the others.
    MediaReady { member: usize, connection: ConnectionId },
    /// On the way of a message.
    Signal { member: usize, connection: ConnectionId, way: Way, signal: Signal },
    /// A datagram arrives.
    Datagram { member: usize, connection: ConnectionId, way: Way, bytes: Rc<[u8]> },
    /// The timer of the end of a path that sends this way.
    PathDue { member: usize, connection: ConnectionId, way: Way },
    /// A member has computed what it wants to send.
    Computed { member: usize, connection: ConnectionId, message: Box<ClientMessage> },
    /// A member has read its oldest message.
    Read { member: usize },
    /// A member's timer.
    Timer { member: usize },
    /// The server's timer.
    ServerTimer,
    /// The storage answers.
    Stored(Box<StorageDone>),
    /// The server gives up a connection that has been silent.
    GivenUp { member: usize, connection: ConnectionId },
    /// A member finds out that its connection is gone.
    FindsOut { member: usize, connection: ConnectionId },
    /// Something of the scenario.
    Process(super::process::Step),
    /// A place's next frame is due.
    FrameDue { place: usize },
    /// A place goes to somebody else.
    Turn { place: usize },
    /// A frame reaches the server.
    FrameUp { place: usize, outgoing: Outgoing },
    /// A frame reaches a member.
    FrameDown { member: usize, frame: Rc<Frame> },
    /// From here on everything is measured.
    Measure,
    /// Until here.
    Enough,
}

/// What is counted.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) frames: Frames,
    pub(super) key_wait: Durations,
    pub(super) first_frame: Durations,
    pub(super) after_leave_opened: u64,
    pub(super) after_leave_of_late: u64,
    pub(super) noticed: BTreeMap<&'static str, u64>,
    /// Bytes of the server's messages by kind, without headers and repetitions.
    pub(super) told: BTreeMap<&'static str, u64>,
    pub(super) most_members: usize,
    pub(super) log_bytes: u64,
    pub(super) waiting_bytes: usize,
}

pub(super) struct World<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) queue: Queue<What>,
    pub(super) members: Vec<Member>,
    pub(super) server: Server,
    pub(super) stage: Stage,
    pub(super) tracker: Tracker,
    pub(super) counts: Counts,
    pub(super) rng: StdRng,
    /// What the group looks like to all who see the server's messages; followed only if there are stand-ins.
    pub(super) chronicle: Rc<RefCell<Chronicle>>,
    pub(super) accounts: Vec<Account>,
    /// Who has been in the group since before the latest commit.
    pub(super) seated: Vec<bool>,
    parameters: CallParameters,
    pub(super) seed: u64,
    pub(super) connections: u64,
    pub(super) server_timer: Option<Now>,
    pub(super) measuring: bool,
    pub(super) due: Vec<Due>,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, seed: u64) -> Result<Self> {
        let append = Duration::from_secs_f64(scenario.signalling.append_ms / 1e3);
        let mut world = Self {
            scenario,
            queue: Queue::new(),
            members: Vec::new(),
            server: Server::new(scenario.delivery.clone(), append)?,
            stage: Stage::new(&scenario.media, StdRng::seed_from_u64(mix(seed, 1))),
            tracker: Tracker::default(),
            counts: Counts::default(),
            rng: StdRng::seed_from_u64(mix(seed, 2)),
            chronicle: Rc::default(),
            accounts: Vec::new(),
            seated: Vec::new(),
            parameters: member::parameters(scenario.most_members())?,
            seed,
            connections: 0,
            server_timer: None,
            measuring: false,
            due: Vec::new(),
        };
        world.plan();
        Ok(world)
    }

    fn plan(&mut self) {
        let arrival = Duration::from_secs_f64(self.scenario.arrival_s);
        for index in 0..self.scenario.members {
            let share = f64::from(index) / f64::from(self.scenario.members);
            self.queue.at(Now::default() + arrival.mul_f64(share), What::Arrives);
        }
        let begin = Now::default() + self.scenario.warm_up();
        self.queue.at(begin, What::Measure);
        self.queue.at(Now::default() + self.scenario.end(), What::Enough);
        for place in 0..self.stage.places() {
            let offset = Duration::from_micros(1_700 * place as u64);
            let at = Now::default() + self.scenario.warm_up() / 2 + offset;
            self.queue.at(at, What::Turn { place });
            self.queue.at(at, What::FrameDue { place });
        }
        self.plan_processes(begin);
    }

    /// Plays the scenario to its end, and until the call has come to rest.
    pub(super) fn run(&mut self) -> Result<()> {
        let end = Now::default() + self.scenario.end() + REST;
        while let Some(what) = self.queue.next(end) {
            self.happen(what)?;
        }
        Ok(())
    }

    pub(super) fn now(&self) -> Now {
        self.queue.now()
    }

    /// Whether the scenario has not ended yet.
    pub(super) fn goes_on(&self) -> bool {
        self.now() < Now::default() + self.scenario.end()
    }

    fn happen(&mut self, what: What) -> Result<()> {
        let now = self.now();
        match what {
            What::Arrives => self.arrive(),
            What::Connected { member } => self.connected(member),
            What::MediaReady { member, connection } => {
                if self.is_current(member, connection) && !self.is_leaving(member) {
                    self.stage.admit(member, now);
                    self.open_paths(member);
                }
                Ok(())
            }
            What::Signal { member, connection, way, signal } => {
                self.signal(member, connection, way, signal)
            }
            What::Datagram { member, connection, way, bytes } => {
                self.datagram(member, connection, way, &bytes)
            }
            What::PathDue { member, connection, way } => {
                self.path_due(member, connection, way);
                Ok(())
            }
            What::Computed { member, connection, message } => {
                if self.is_current(member, connection) {
                    self.send(member, *message);
                }
                Ok(())
            }
            What::Read { member } => self.read(member),
            What::Timer { member } => self.timer(member),
            What::ServerTimer => {
                if self.server_timer.take_if(|due| *due <= now).is_some() {
                    let acts = self.server.timeout(now)?;
                    self.server_acts(acts)?;
                }
                Ok(())
            }
            What::Stored(done) => {
                let acts = self.server.stored(*done, now)?;
                self.server_acts(acts)
            }
            What::GivenUp { member, connection } => self.given_up(member, connection),
            What::FindsOut { member, connection } => self.finds_out(member, connection),
            What::Process(step) => self.process(step),
            What::FrameDue { place } => {
                self.frame_due(place);
                Ok(())
            }
            What::Turn { place } => {
                self.turn(place);
                Ok(())
            }
            What::FrameUp { place, outgoing } => {
                self.frame_up(place, &outgoing);
                Ok(())
            }
            What::FrameDown { member, frame } => {
                self.frame_down(member, &frame);
                Ok(())
            }
            What::Measure => {
                self.begin_measuring();
                Ok(())
            }
            What::Enough => {
                self.measuring = false;
                for index in 0..self.members.len() {
                    self.close_account(index);
                }
                Ok(())
            }
        }
    }

    /// Somebody wants to join.
    fn arrive(&mut self) -> Result<()> {
        let index = self.members.len();
        let id = index as u64;
        let scenario = self.scenario;
        let seed = mix(self.seed, 16 + id);
        let mut own = StdRng::seed_from_u64(mix(seed, 3));
        let slow = own.random::<f64>() < scenario.computing.slow_share;
        let presenters = scenario.media.presenters as usize;
        let making = Making {
            name: format!("member-{index}"),
            seed,
            link: Link::new(&scenario.network, mix(seed, 4))?,
            factor: if slow { scenario.computing.slow_factor } else { scenario.computing.factor },
            presents: presenters == 0 || index < presenters,
            samples: index < scenario.media.samples as usize,
            stands_in: (scenario.fidelity == Fidelity::Sample && index >= presenters)
                .then(|| Rc::clone(&self.chronicle)),
            among_stand_ins: scenario.fidelity == Fidelity::Sample,
            parameters: &self.parameters,
            started: self.now(),
        };
        self.members.push(Member::new(making)?);
        self.accounts.push(Account { from: self.now(), ..Account::default() });
        self.seated.push(false);
        self.connect(index);
        Ok(())
    }
}

/// Another seed for each purpose (SplitMix64).
pub(super) fn mix(seed: u64, purpose: u64) -> u64 {
    let mut mixed = seed.wrapping_add(purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
