//! Members, network and delivery service under virtual time.

use std::{cmp::Reverse, collections::BinaryHeap, rc::Rc, time::Duration};

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sframe_bridge::{BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Event, Now, crypto};
use sfu_sim::delivery::DeliveryConfig;

use super::{Kind, Network};

/// Between two commits: longer than anything takes.
const PAUSE: Duration = Duration::from_secs(12);

/// What happens next, and when. Of things at the same time the one that was planned first comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    at: u64,
    order: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The commit of the present epoch reaches a member.
    Commit { member: u32 },
    /// A member's acknowledgement reaches the delivery service.
    Acknowledged { member: u32 },
    /// The delivery service tells what it has collected.
    Tell,
    /// Acknowledgements reach a member.
    Told { member: u32, who: Rc<Vec<u32>> },
    /// A member's timer.
    Timer { member: u32 },
}

pub(super) struct World {
    /// Those who stay: leaf 0 upwards. The one who comes and goes has the leaf after theirs.
    members: Vec<CallKeys>,
    delays: Vec<Duration>,
    network: Network,
    batch: Duration,
    rng: StdRng,
    plan: BinaryHeap<Reverse<Planned>>,
    order: u64,
    now: Now,
    epoch: u64,
    kind: Kind,
    collected: Vec<u32>,
    switched: Vec<Option<Now>>,
}

impl World {
    pub(super) fn new(members: u32, network: Network, seed: u64) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let suite = crypto::default_provider().suite(CipherSuite::Aes128GcmSha256_128);
        let suite = suite.context("the backend lacks the suite")?;
        let (least, most) = network.delay;
        let mut world = Self {
            members: (0..members).map(|_| CallKeys::new(CallKeysConfig::new(suite))).collect(),
            delays: (0..=members).map(|_| least + (most - least).mul_f64(rng.random())).collect(),
            network,
            batch: Duration::from_millis(DeliveryConfig::default().acknowledgement_batch_ms),
            rng,
            plan: BinaryHeap::new(),
            order: 0,
            now: Now::from_millis(0),
            epoch: 1,
            kind: Kind::Removal,
            collected: Vec::new(),
            switched: vec![None; members as usize],
        };
        for member in 0..members {
            world.install(member)?;
        }
        Ok(world)
    }

    /// A commit, and everything that follows from it. Gives the time that each member took to switch.
    pub(super) fn rotate(&mut self, kind: Kind) -> Result<Vec<Duration>> {
        self.now = self.now + PAUSE;
        self.settle_timers()?;
        let began = self.now;
        (self.epoch, self.kind) = (self.epoch + 1, kind);
        self.switched.fill(None);
        let committer = self.rng.random_range(0..self.count());
        let up = self.leg(committer);
        for member in 0..self.count() + u32::from(kind == Kind::Addition) {
            let down = self.leg(member);
            self.plan(up + down, What::Commit { member });
        }
        while let Some(Reverse(planned)) = self.plan.pop() {
            self.now = Now::from_micros(planned.at);
            self.happen(planned.what)?;
        }
        let took = self.switched.iter().map(|at| Some((*at)?.saturating_since(began)));
        took.collect::<Option<_>>().context("a member never switched")
    }

    fn happen(&mut self, what: What) -> Result<()> {
        match what {
            What::Commit { member } => {
                if member < self.count() {
                    self.install(member)?;
                }
                let up = self.leg(member);
                self.plan(up, What::Acknowledged { member });
            }
            What::Acknowledged { member } => {
                if self.collected.is_empty() {
                    self.plan(self.batch, What::Tell);
                }
                self.collected.push(member);
            }
            What::Tell => {
                let who = Rc::new(std::mem::take(&mut self.collected));
                for member in 0..self.count() {
                    let down = self.leg(member);
                    self.plan(down, What::Told { member, who: Rc::clone(&who) });
                }
            }
            What::Told { member, who } => {
                let (epoch, now) = (self.epoch, self.now);
                let keys = self.keys(member)?;
                for leaf in who.iter() {
                    keys.peer_ready(*leaf, epoch, now);
                }
                self.follow(member)?;
            }
            What::Timer { member } => {
                let now = self.now;
                self.keys(member)?.handle_timeout(now);
                self.follow(member)?;
            }
        }
        Ok(())
    }

    fn install(&mut self, member: u32) -> Result<()> {
        let (count, epoch, now) = (self.count(), self.epoch, self.now);
        let adding = self.kind == Kind::Addition;
        let live = (0..count + u32::from(adding)).collect();
        let mut secret = vec![0; 16];
        secret.splice(..8, epoch.to_be_bytes());
        let epoch = Epoch::new(epoch, BaseKey::new(secret), member, live);
        let epoch =
            if adding { epoch.with_joined(vec![count]) } else { epoch.with_removed(vec![count]) };
        self.keys(member)?.install_epoch(epoch, now)?;
        self.follow(member)
    }

    /// Takes what a member's keys have to say, and sets its timer.
    fn follow(&mut self, member: u32) -> Result<()> {
        let (newest, now) = (self.epoch, self.now);
        let keys = self.keys(member)?;
        let mut switched = false;
        while let Some(event) = keys.poll() {
            switched |= matches!(event, Event::SwitchSend { epoch, .. } if epoch == newest);
        }
        let deadline = keys.next_deadline();
        if switched && let Some(slot) = self.switched.get_mut(member as usize) {
            *slot = slot.or(Some(now));
        }
        if let Some(deadline) = deadline {
            self.plan(deadline.saturating_since(now), What::Timer { member });
        }
        Ok(())
    }

    /// Nothing is under way between two commits; timers that were still set are served.
    fn settle_timers(&mut self) -> Result<()> {
        ensure!(self.plan.is_empty(), "something is still planned");
        for member in 0..self.count() {
            let now = self.now;
            self.keys(member)?.handle_timeout(now);
            while self.keys(member)?.poll().is_some() {}
        }
        Ok(())
    }

    /// The way between a member and the delivery service.
    fn leg(&mut self, member: u32) -> Duration {
        let base = self.delays.get(member as usize).copied().unwrap_or_default();
        let jitter = self.network.jitter.mul_f64(-(1.0 - self.rng.random::<f64>()).ln());
        let mut lost = Duration::ZERO;
        while self.rng.random::<f64>() < self.network.loss {
            lost += self.network.retransmission;
        }
        base + jitter + lost
    }

    fn plan(&mut self, after: Duration, what: What) {
        self.order += 1;
        let at = (self.now + after).as_micros();
        self.plan.push(Reverse(Planned { at, order: self.order, what }));
    }

    fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    fn keys(&mut self, member: u32) -> Result<&mut CallKeys> {
        self.members.get_mut(member as usize).context("no such member")
    }
}
