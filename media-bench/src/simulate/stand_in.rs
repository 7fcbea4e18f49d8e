//! A member that costs what a real one costs, without its cryptography.
//!
//! It asks to join with a real key package, fetches the tree, and acknowledges each epoch after the time that the
//! work would take. What it knows of the roster, and of who has acknowledged, is the shared [`Chronicle`]. When the real
//! committer policy says that it has to commit, it becomes a full member: its session gets the Welcome, the tree and
//! every commit since.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};

use sframe_bridge::{
    Now, Retention, SwitchTiming,
    committer::{ChangeKind, Committer, Decision, Member as Seat, PendingChange, View},
};
use sfu_sim::protocol::{
    ChangeKind as Kind, ClientMessage, DeliveryEvent, DeliveryRequest, EntryKind, ServerBody,
    ServerMessage,
};

use super::chronicle::Chronicle;

/// The intervals and the length of a session's heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
const HEARTBEAT_PER_MEMBER: Duration = Duration::from_millis(300);
const HEARTBEAT_BYTES: usize = 117;

/// What a stand-in does.
pub(super) enum Act {
    Send(ClientMessage),
    /// The receive keys of an epoch would be live.
    Installed(u64),
    /// A commit removed it.
    Removed,
}

/// Where it is in the call.
#[derive(Default)]
pub(super) struct StandIn {
    chronicle: Rc<RefCell<Chronicle>>,
    name: String,
    welcome: Option<Rc<ServerMessage>>,
    tree: Option<Rc<ServerMessage>>,
    /// The epoch that it joined with.
    joined: Option<u64>,
    epoch: Option<u64>,
    /// When its epoch began here.
    began: Now,
    leaf: u32,
    /// When its last heartbeat went.
    heartbeat: Option<Now>,
    /// Epochs whose commits have come and cannot be applied yet.
    ahead: BTreeSet<u64>,
    /// Epochs whose keys are kept, with the time until which.
    kept: Vec<(u64, Now)>,
}

impl StandIn {
    pub(super) fn new(name: String, chronicle: Rc<RefCell<Chronicle>>) -> Self {
        Self { name, chronicle, ..Self::default() }
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// How many members its group has.
    pub(super) fn members(&self) -> Option<u32> {
        let chronicle = self.chronicle.borrow();
        u32::try_from(chronicle.epoch(self.epoch?)?.leaves.len()).ok()
    }

    /// The epochs whose keys it holds, from the first to the last.
    pub(super) fn held(&self) -> Option<(u64, u64)> {
        Some((self.kept.first()?.0, self.epoch?))
    }

    /// Takes in a message of the server's. `None`: it is for the session.
    pub(super) fn handle(&mut self, message: &Rc<ServerMessage>, now: Now) -> Option<Vec<Act>> {
        let ServerBody::Delivery(event) = &message.body else { return None };
        match event {
            DeliveryEvent::Welcome { epoch, .. } => {
                if self.welcome.is_some() {
                    return Some(Vec::new());
                }
                self.welcome = Some(Rc::clone(message));
                // A number that no session reaches.
                let id = u64::MAX - 1;
                let request = DeliveryRequest::FetchTree { epoch: *epoch };
                Some(vec![Act::Send(ClientMessage::request(id, request))])
            }
            DeliveryEvent::Tree { epoch, .. } => {
                self.tree = Some(Rc::clone(message));
                self.joined = Some(*epoch);
                self.leaf = self.chronicle.borrow().seat(&self.name).unwrap_or_default();
                let mut acts = self.advance(*epoch, now);
                acts.extend(self.catch_up(now));
                Some(acts)
            }
            DeliveryEvent::Entry { entry } if entry.kind == EntryKind::Commit => {
                self.ahead.insert(entry.epoch);
                Some(self.catch_up(now))
            }
            DeliveryEvent::State { .. } => None,
            _ => Some(Vec::new()),
        }
    }

    fn catch_up(&mut self, now: Now) -> Vec<Act> {
        let mut acts = Vec::new();
        while let Some(epoch) = self.epoch
            && self.ahead.remove(&epoch)
        {
            let chronicle = Rc::clone(&self.chronicle);
            let removed = chronicle
                .borrow()
                .epoch(epoch + 1)
                .is_some_and(|began| began.removed.contains(&self.leaf));
            if removed {
                acts.push(Act::Removed);
                return acts;
            }
            acts.extend(self.advance(epoch + 1, now));
        }
        acts
    }

    fn advance(&mut self, epoch: u64, now: Now) -> Vec<Act> {
        let retention = Retention::default();
        let until = now + SwitchTiming::default().otherwise + retention.after_switch;
        if let Some(previous) = self.kept.last_mut() {
            previous.1 = until;
        }
        self.kept.retain(|(_, until)| *until > now);
        self.kept.push((epoch, Now::from_micros(u64::MAX)));
        self.epoch = Some(epoch);
        self.began = now;
        let acknowledgement =
            ClientMessage::event(DeliveryRequest::Ack { epoch, external_pub: None });
        vec![Act::Installed(epoch), Act::Send(acknowledgement)]
    }

    /// When the policy wants this member to commit, or to be asked again, or a heartbeat is due.
    pub(super) fn next_deadline(&self, now: Now) -> Option<Now> {
        let commit = match self.decide(now) {
            Some(Decision::Commit { .. }) => Some(now),
            Some(Decision::Wait { until }) => Some(until),
            Some(Decision::Abstain) | None => None,
        };
        [commit, self.heartbeat_due()].into_iter().flatten().min()
    }

    /// Heartbeats as often as a session's in a call that changes all the time.
    fn heartbeat_due(&self) -> Option<Now> {
        let members = self.members()?;
        let interval = HEARTBEAT_PER_MEMBER.saturating_mul(members).max(HEARTBEAT);
        Some(self.heartbeat.map_or(self.began, |last| last + interval))
    }

    /// A heartbeat that is due, of a real one's length.
    pub(super) fn take_heartbeat(&mut self, now: Now) -> Option<ClientMessage> {
        let epoch = self.epoch?;
        self.heartbeat_due().filter(|due| *due <= now)?;
        self.heartbeat = Some(now);
        let heartbeat = vec![0; HEARTBEAT_BYTES].into();
        Some(ClientMessage::event(DeliveryRequest::Heartbeat { epoch, heartbeat }))
    }

    /// Whether it has to commit.
    pub(super) fn has_to_commit(&self, now: Now) -> bool {
        matches!(self.decide(now), Some(Decision::Commit { .. }))
    }

    /// `None` if somebody else is nearer for sure.
    fn decide(&self, now: Now) -> Option<Decision> {
        let epoch = self.epoch?;
        let chronicle = self.chronicle.borrow();
        // What is pending belongs to the newest epoch.
        if chronicle.newest() != Some(epoch) {
            return None;
        }
        let began = chronicle.epoch(epoch)?;
        if !chronicle.stands_in_line(self.leaf) {
            return None;
        }
        let seat = |leaf: &u32| Seat {
            leaf: *leaf,
            acknowledged: *leaf == self.leaf || chronicle.acknowledged().contains(leaf),
        };
        let members: Vec<_> = began.leaves.iter().map(seat).collect();
        let pending: Vec<_> = chronicle
            .pending()
            .map(|(change, since)| PendingChange {
                kind: match change.kind {
                    Kind::Add { .. } => ChangeKind::Add,
                    Kind::Remove { leaf, .. } => ChangeKind::Remove { leaf },
                    Kind::Proposal { .. } => ChangeKind::NewEpoch,
                },
                since: *since,
            })
            .collect();
        let view = View {
            own_leaf: self.leaf,
            epoch,
            epoch_began: self.began,
            epoch_only_added: began.only_added,
            members: &members,
            pending: &pending,
            submitted: None,
        };
        let decision = Committer::default().decide(&view, now);
        // Refreshes are left to full members.
        Some(decision).filter(|decision| match decision {
            Decision::Wait { until } => *until < self.began + Duration::from_secs(50),
            _ => true,
        })
    }

    /// What the session of the full member has missed, in order, with the time of each.
    pub(super) fn missed(&self, now: Now) -> Vec<(ServerMessage, Now)> {
        let chronicle = self.chronicle.borrow();
        let mut missed = Vec::new();
        let (Some(joined), Some(epoch)) = (self.joined, self.epoch) else { return missed };
        let start = chronicle.epoch(joined).map_or(now, |began| began.at);
        for message in [&self.welcome, &self.tree].into_iter().flatten() {
            missed.push(((**message).clone(), start));
        }
        for began in (joined..epoch).filter_map(|epoch| chronicle.epoch(epoch)) {
            missed.extend(began.entries.iter().map(|entry| ((**entry).clone(), began.at)));
        }
        let leaves = chronicle.acknowledged().iter().copied().collect();
        missed.push((ServerMessage::event(DeliveryEvent::Acknowledged { epoch, leaves }), now));
        let added = chronicle
            .pending()
            .map(|(change, since)| {
                let mut change = change.clone();
                let age = now.saturating_since(*since).as_millis();
                change.age_ms = u64::try_from(age).unwrap_or(u64::MAX);
                change
            })
            .collect();
        let resolved = Vec::new();
        let pending = DeliveryEvent::PendingChanged { added, resolved };
        missed.push((ServerMessage::event(pending), now));
        missed
    }
}
