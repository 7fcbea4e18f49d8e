use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::{
    DeliveryEvent, DeliveryRequest, Identity, Participant, Refusal, RefusalCode, RemovalReason,
    ServerBody, ServerMessage, SessionEvent,
};

use super::acks::{Acknowledgements, Heartbeats};
use super::append::InFlight;
use super::confirmations::Confirmations;
use super::effects::{Output, StorageEffect};
use super::group::GroupState;
use super::log::LogTail;
use super::nodes::Nodes;
use super::pending::{Change, PendingChanges};
use super::people::{People, Ration};
use super::record::CloseCause;
use super::storage::CallId;
use super::{ConnectionId, DeliveryConfig, DeliveryMetrics, Login, Now, Rate};

/// The delivery service of one room: commands in, outputs and the next deadline out.
///
/// It has no clock, no socket and no thread. After every input the driver drains
/// [`poll_output`](Self::poll_output) and then waits for the next input or until
/// [`next_deadline`](Self::next_deadline). Nothing is told to anybody before the storage has it.
#[derive(Debug)]
pub struct DeliveryService {
    pub(super) config: DeliveryConfig,
    pub(super) call: CallId,
    pub(super) boot: u64,
    /// How many appends this process has asked for.
    pub(super) appends: u64,
    /// The log's turn, as far as the log has been read.
    pub(super) turn: u64,
    /// The first record that has not been read.
    pub(super) next_seq: u64,
    pub(super) people: People,
    pub(super) pending: PendingChanges,
    pub(super) acks: Acknowledgements,
    pub(super) heartbeats: Heartbeats,
    pub(super) log: LogTail,
    pub(super) banned: BTreeSet<Identity>,
    pub(super) group: Option<Box<ActiveGroup>>,
    pub(super) creator: Option<Creator>,
    /// The group has to end; the record that says so is to be appended.
    pub(super) closing: Option<CloseCause>,
    pub(super) in_flight: Option<InFlight>,
    /// A read that no append waits for is under way.
    pub(super) reading: bool,
    /// When such a read is tried again after it failed.
    pub(super) read_again: Option<Now>,
    /// How many records the log has, as far as that is known.
    pub(super) log_length: u64,
    pub(super) nodes: Nodes,
    /// The first record that the latest snapshot does not contain.
    pub(super) kept_up_to: u64,
    pub(super) queue: VecDeque<(Asker, DeliveryRequest)>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) metrics: DeliveryMetrics,
}

/// The group of the call, and what is kept with it.
#[derive(Debug)]
pub(super) struct ActiveGroup {
    pub(super) state: GroupState,
    /// The GroupInfo of its epoch.
    pub(super) group_info: Bytes,
    /// What members say of it.
    pub(super) confirmations: Confirmations,
    /// The leaf whose commit began the epoch.
    pub(super) committer: Option<u32>,
    /// The tree of its epoch, once somebody has asked for it.
    pub(super) tree: Option<Bytes>,
    /// Trees of past epochs in which somebody joined.
    pub(super) trees: VecDeque<KeptTree>,
    /// Welcomes for those who have not acknowledged an epoch since.
    pub(super) welcomes: BTreeMap<Identity, KeptWelcome>,
    /// Who reported a failure, and when.
    pub(super) failures: BTreeMap<Identity, Now>,
    /// Who waits for the GroupInfo, and until when.
    pub(super) info_requests: BTreeMap<ConnectionId, (Asker, Now)>,
    /// References of key packages that have been used, the oldest first.
    pub(super) used_key_packages: VecDeque<Bytes>,
    pub(super) epoch_proposals: usize,
    pub(super) commits_since_snapshot: u32,
}

#[derive(Debug)]
pub(super) struct KeptTree {
    pub(super) epoch: u64,
    pub(super) bytes: Bytes,
}

#[derive(Clone, Debug)]
pub(super) struct KeptWelcome {
    pub(super) epoch: u64,
    pub(super) bytes: Bytes,
}

/// Who has been asked to create the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Creator {
    pub(super) connection: ConnectionId,
    pub(super) until: Now,
}

/// Where the answer to a request goes.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) connection: ConnectionId,
    pub(super) id: Option<u64>,
    pub(super) identity: Identity,
    pub(super) moderator: bool,
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Event(DeliveryEvent),
    /// It comes by itself.
    Later,
}

pub(super) fn refusal(code: RefusalCode, message: impl Into<String>) -> Refusal {
    Refusal::new(code, message)
}

impl DeliveryService {
    /// Notes that a participant is connected; its former connection no longer counts. It gets the state of
    /// the call, and if it is a member what is pending and acknowledged.
    pub fn connect(&mut self, connection: ConnectionId, participant: &Participant, now: Now) {
        let login = self.next_login(now);
        self.connect_by(connection, participant, login, now);
    }

    pub(super) fn connect_by(
        &mut self,
        connection: ConnectionId,
        participant: &Participant,
        login: Login,
        now: Now,
    ) {
        let identity = &participant.identity;
        let leaf = self.leaf_of(identity);
        if let Some(leaf) = leaf {
            self.pending.resolve(|change| {
                matches!(change, Change::Remove { leaf: gone, reason: RemovalReason::Gone, .. }
                    if *gone == leaf)
            });
        }
        // The others hear of it before the connection counts: it gets the whole list instead.
        self.tell_pending(now);
        let person = self.people.connect(connection, login, participant);
        // Whose removal is pending has left until it asks to join again; others begin anew.
        person.left &= leaf.is_some();
        if leaf.is_some_and(|leaf| self.pending.removal_of(leaf).is_none()) {
            self.restore_media(identity);
        }
        if self.group.is_none() && self.creator.is_none() {
            self.elect(now);
        }
        if connection.is_remote() {
            return;
        }
        self.note_connected(identity);
        self.send_state(connection);
        if leaf.is_some() {
            self.send_member_lists(connection, identity, now);
        }
        self.settle(now);
    }

    /// Notes that a connection is gone. One that a later connection has replaced is ignored.
    pub fn disconnect(&mut self, connection: ConnectionId, now: Now) {
        self.note_disconnected(connection);
        if self.people.disconnect(connection, now).is_none() {
            return;
        }
        if let Some(group) = &mut self.group {
            group.info_requests.remove(&connection);
        }
        self.queue.retain(|(asker, _)| asker.connection != connection);
        if self.creator.is_some_and(|creator| creator.connection == connection) {
            self.elect(now);
        }
        if !connection.is_remote() {
            self.settle(now);
        }
    }

    /// Takes a request; its reply comes as an output, with `id` in `re`.
    pub fn request(
        &mut self,
        connection: ConnectionId,
        id: Option<u64>,
        request: DeliveryRequest,
        now: Now,
    ) {
        let Some(asker) = self.asker(connection, id) else {
            let code = RefusalCode::Unavailable;
            self.metrics.refuse(&code);
            let gone = refusal(code, "expected the participant's latest connection");
            let message = ServerMessage::refusal(id, gone);
            self.outputs.push_back(Output::Send { to: connection, message });
            return;
        };
        self.serve(asker, request, now);
        self.settle(now);
    }

    /// Who asks on a connection, if it is the participant's latest one.
    pub(super) fn asker(&self, connection: ConnectionId, id: Option<u64>) -> Option<Asker> {
        let identity = self.people.identity(connection)?.clone();
        let moderator = self.people.person(&identity).is_some_and(|person| person.moderator);
        Some(Asker { connection, id, identity, moderator })
    }

    /// What is due by time. To be called at [`next_deadline`](Self::next_deadline) or later.
    pub fn handle_timeout(&mut self, now: Now) {
        for identity in self.people.take_overdue(self.config.grace(), now) {
            self.give_up_on(&identity, now);
        }
        if let Some(leaves) = self.acks.take_due(now) {
            let epoch = self.acks.epoch();
            self.broadcast(DeliveryEvent::Acknowledged { epoch, leaves });
        }
        for heartbeats in self.heartbeats.take_due(self.config.page_bytes, now) {
            self.broadcast(DeliveryEvent::Heartbeats { heartbeats });
        }
        self.refuse_overdue_info_requests(now);
        if self.in_flight.is_none() && self.creator.is_some_and(|creator| creator.until <= now) {
            self.elect(now);
        }
        self.retry_storage(now);
        self.settle(now);
    }

    /// The next thing to do, if there is one.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing else comes before.
    pub fn next_deadline(&self) -> Option<Now> {
        let creating = self.group.is_none() && self.in_flight.is_none();
        let info = self.group.iter().flat_map(|group| group.info_requests.values());
        [
            self.people.next_overdue(self.config.grace()),
            self.acks.due(),
            self.heartbeats.due(),
            info.map(|(_, until)| *until).min(),
            self.creator.filter(|_| creating).map(|creator| creator.until),
            self.in_flight.as_ref().and_then(InFlight::retry_at),
            self.read_again,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What has been counted.
    pub fn metrics(&self) -> &DeliveryMetrics {
        &self.metrics
    }

    /// The leaf of a member.
    pub fn leaf_of(&self, identity: &Identity) -> Option<u32> {
        self.group.as_ref()?.state.leaf_of(identity)
    }

    /// The number of members, zero without a group.
    pub fn members(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.state.len())
    }

    /// The group's epoch.
    pub fn epoch(&self) -> Option<u64> {
        self.group.as_ref().map(|group| group.state.epoch())
    }

    /// Whether nobody is connected to this process and nothing is under way, so that the room can be dropped; it can be opened
    /// again from the storage. Members that are within their grace period keep the room.
    pub fn is_idle(&self) -> bool {
        self.people.nobody_is_connected_here()
            && self.people.next_overdue(self.config.grace()).is_none()
            && self.in_flight.is_none()
            && !self.reading
    }

    /// Ends an input: tells what is pending, and goes on with what had to wait.
    pub(super) fn settle(&mut self, now: Now) {
        self.read_if_behind();
        self.take_up_notes(now);
        loop {
            self.close_if_due(now);
            if self.in_flight.is_some() {
                break;
            }
            let Some((asker, request)) = self.queue.pop_front() else { break };
            self.serve(asker, request, now);
        }
        self.tell_pending(now);
        self.update_gauges();
    }

    fn serve(&mut self, asker: Asker, request: DeliveryRequest, now: Now) {
        let noted = self.to_be_noted(&asker, &request);
        let is_commit = matches!(request, DeliveryRequest::Submit { .. });
        let answer = self.handle(&asker, request, now);
        if is_commit && let Err(refusal) = &answer {
            self.metrics.refuse_commit(&refusal.code);
        }
        if answer.is_ok() {
            self.note_request(&asker, noted);
        }
        self.answer(&asker, answer);
    }

    pub(super) fn handle(
        &mut self,
        asker: &Asker,
        request: DeliveryRequest,
        now: Now,
    ) -> Result<Answer, Refusal> {
        match request {
            DeliveryRequest::Create { .. }
            | DeliveryRequest::Submit { .. }
            | DeliveryRequest::Propose { .. } => self.handle_append(asker, request, now),
            DeliveryRequest::Join { key_package } => self.join(asker, key_package, now),
            DeliveryRequest::Leave => self.leave(asker, now),
            DeliveryRequest::Ack { epoch, external_pub } => {
                self.acknowledge(asker, epoch, external_pub.as_deref(), now)
            }
            DeliveryRequest::Heartbeat { epoch, heartbeat } => {
                self.heartbeat(asker, epoch, heartbeat, now)
            }
            DeliveryRequest::ReportFailure { epoch, report } => {
                self.report_failure(asker, epoch, report, now)
            }
            DeliveryRequest::FetchLog { since_epoch } => self.fetch_log(asker, since_epoch, now),
            DeliveryRequest::FetchGroupInfo => self.fetch_group_info(asker, now),
            DeliveryRequest::FetchTree { epoch } => self.fetch_tree(asker, epoch, now),
        }
    }

    pub(super) fn answer(&mut self, asker: &Asker, answer: Result<Answer, Refusal>) {
        let body: ServerBody = match answer {
            Ok(Answer::Later) => return,
            Ok(Answer::Done) => SessionEvent::Done.into(),
            Ok(Answer::Event(event)) => event.into(),
            Err(refusal) => {
                self.metrics.refuse(&refusal.code);
                SessionEvent::Refused(refusal).into()
            }
        };
        // Whoever asked for no reply hears of a refusal only.
        if asker.id.is_some() || matches!(body, ServerBody::Session(SessionEvent::Refused(_))) {
            let message = ServerMessage::reply(asker.id, body);
            self.outputs.push_back(Output::Send { to: asker.connection, message });
        }
    }

    /// Takes one of somebody's ration.
    pub(super) fn ration(
        &mut self,
        identity: &Identity,
        ration: Ration,
        rate: Rate,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(person) = self.people.person_mut(identity) else { return Ok(()) };
        // The process that it is connected to has counted.
        if person.connection.is_some_and(ConnectionId::is_remote) {
            return Ok(());
        }
        let taken = person.take(ration, rate, now);
        taken.map_err(|wait| Refusal::too_fast(wait, "expected fewer requests of this kind"))
    }

    /// What happens when a grace period is over.
    fn give_up_on(&mut self, identity: &Identity, now: Now) {
        match self.leaf_of(identity) {
            Some(leaf) => {
                self.metrics.gone += 1;
                if self.pending.removal_of(leaf).is_none() {
                    let reason = RemovalReason::Gone;
                    self.pending.remove_leaf(leaf, identity.clone(), reason, None, now);
                    self.cut_off_media(identity, reason);
                }
            }
            None => self.people.forget_if_absent(identity),
        }
        self.withdraw_add(identity);
    }

    pub(super) fn withdraw_add(&mut self, identity: &Identity) {
        self.pending.resolve(
            |change| matches!(change, Change::Add { identity: other, .. } if other == identity),
        );
    }

    pub(super) fn cut_off_media(&mut self, identity: &Identity, reason: RemovalReason) {
        if let Some(person) = self.people.person_mut(identity)
            && !std::mem::replace(&mut person.cut_off, true)
        {
            self.outputs.push_back(Output::MediaCutOff { identity: identity.clone(), reason });
        }
    }

    pub(super) fn restore_media(&mut self, identity: &Identity) {
        if let Some(person) = self.people.person_mut(identity)
            && std::mem::replace(&mut person.cut_off, false)
        {
            self.outputs.push_back(Output::MediaRestored { identity: identity.clone() });
        }
    }

    /// Asks the next participant to create the group: the one that connected after the one asked before.
    pub(super) fn elect(&mut self, now: Now) {
        let former = self.creator.take().map(|creator| creator.connection);
        if self.group.is_some() {
            return;
        }
        let candidates: Vec<ConnectionId> = self
            .people
            .staying()
            .into_iter()
            // Each process asks one of its own clients; the storage takes one group.
            .filter(|connection| !connection.is_remote())
            .filter(|connection| {
                self.people.identity(*connection).is_some_and(|who| !self.banned.contains(who))
            })
            .collect();
        let next = candidates
            .iter()
            .find(|candidate| former.is_some_and(|former| **candidate > former))
            .or(candidates.first())
            .copied();
        let Some(next) = next else { return };
        let until = now + Duration::from_millis(self.config.creator_ms);
        self.creator = Some(Creator { connection: next, until });
        if let Some(former) = former.filter(|former| *former != next) {
            if self.people.identity(former).is_some() {
                self.send_state(former);
            }
            self.send_state(next);
        }
    }

    pub(super) fn storage(&mut self, effect: StorageEffect) {
        self.outputs.push_back(Output::Storage(effect));
    }

    pub(super) fn update_gauges(&mut self) {
        let size = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.metrics.members = size(self.members());
        self.metrics.epoch = self.epoch().unwrap_or(0);
        self.metrics.pending = size(self.pending.len());
        self.metrics.log_entries = size(self.log.len());
        self.metrics.log_bytes = size(self.log.bytes());
    }
}
