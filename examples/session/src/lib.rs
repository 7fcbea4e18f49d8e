//! The key management of one participant, sans-IO: messages of the server and the time go in;
//! messages, epochs and events come out.
//!
//! After every call drain [`Session::poll_output`], in order: an epoch is to be in the media keys
//! before its acknowledgement goes out. Then set a timer for [`Session::next_deadline`].
//!
//! The session never sends or opens media. Without an epoch in the media keys nothing can be sent
//! and nothing is shown, whatever state the session is in.

#![forbid(unsafe_code)]

mod apply;
mod failure;
mod heartbeat;
mod joining;
mod membership;
mod notices;
mod refused;
mod requests;
mod signed;
mod status;
mod trust;
mod watch;

pub use status::{CallMember, HistoryAlarm, SessionEvent, SessionStats, Status};
pub use trust::{Invite, NamedMembers};

use std::collections::VecDeque;

use mls::UnixTime;
use mls::crypto::CryptoRng;
use sframe_bridge::committer::{Committer, Decision};
use sframe_bridge::verification::LongCode;
use sframe_bridge::{BaseKey, CallParameters, Epoch, Now, ParameterFloor, crypto};
use sfu_protocol::{
    ClientMessage, CloseReason, DeliveryEvent, DeliveryRequest, EntryKind, GroupSummary, Identity,
    ServerBody, ServerMessage, SessionEvent as ServerSession,
};

use self::joining::Way;
use self::membership::Membership;
use self::notices::Notices;
use self::refused::Again;
use self::requests::{Purpose, Requests};

/// The time, on both clocks that the protocols use.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since an origin of the application's.
    pub now: Now,
    /// Since 1970, for lifetimes.
    pub unix: UnixTime,
}

/// Who takes part, and what it accepts.
pub struct SessionConfig {
    /// Its name; the token says the same.
    pub identity: Identity,
    /// The MLS cipher suite of the call (RFC 9420, section 17.1); all participants use the same one.
    pub suite: mls::CipherSuite,
    /// The parameters of a call that it creates.
    pub parameters: CallParameters,
    /// The least that it accepts of a call that it joins.
    pub floor: ParameterFloor,
    /// The secret of the invite link, if the call has one.
    pub invite: Option<Invite>,
    /// Who commits when.
    pub committer: Committer,
}

impl SessionConfig {
    /// A participant of this name with default parameters.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            suite: mls::CipherSuite::P256_AES128GCM_SHA256_P256,
            parameters: CallParameters::default(),
            floor: ParameterFloor::default(),
            invite: None,
            committer: Committer::default(),
        }
    }
}

/// Why the session cannot do something. None of them leaves it half changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// MLS: the client could not be made, or a key package.
    #[error("the keys could not be made: {0}")]
    Client(#[from] mls::ClientError),
    /// MLS: joining failed.
    #[error("joining failed: {0}")]
    Join(#[from] mls::JoinError),
    /// MLS: a commit could not be built.
    #[error("a commit could not be built: {0}")]
    Commit(#[from] mls::CommitError),
    /// MLS: a secret could not be exported.
    #[error("the group gave no secret: {0}")]
    Export(#[from] mls::ExportError),
    /// The media keys did not take an epoch.
    #[error("the media keys did not take the epoch: {0}")]
    Epoch(#[from] sframe_bridge::EpochError),
    /// The call's parameters are not acceptable.
    #[error("the call's parameters are not acceptable: {0}")]
    Parameters(#[from] sframe_bridge::ParametersError),
    /// The server gave the state of another group, or one from before an epoch known here, to come back with.
    #[error("expected the state of this call's group from epoch {expected} on")]
    OldState {
        /// The epoch that is known here.
        expected: u64,
    },
    /// The suite is not supported here.
    #[error("the call's cipher suite is not supported here")]
    Suite,
    /// Only a member can do that.
    #[error("only a member of the call can do that")]
    NotAMember,
    /// Nobody of this name is in the call.
    #[error("{0} is not in the call")]
    Unknown(Identity),
}

/// What the application has to do, in this order.
#[derive(Debug)]
pub enum Output {
    /// Send this to the server.
    Send(ClientMessage),
    /// A membership begins: make new media keys with these parameters. The former ones, if any, are
    /// to be closed.
    Begin(CallParameters),
    /// Install this epoch in the media keys.
    Install(Box<Epoch>),
    /// A member has the receive keys of an epoch.
    PeerReady {
        /// Its leaf.
        leaf: u32,
        /// The epoch.
        epoch: u64,
    },
    /// Stop sending, or go on ([`HistoryAlarm::TooFewConfirm`]). A membership begins with sending allowed.
    Sending {
        /// Whether frames may go out.
        allowed: bool,
    },
    /// The membership is over: close the media keys.
    End,
    /// Something to know.
    Event(SessionEvent),
}

/// The key management of one participant.
pub struct Session {
    config: SessionConfig,
    client: mls::Client,
    rng: Box<dyn CryptoRng + Send>,
    requests: Requests,
    connected: bool,
    way: Way,
    membership: Option<Membership>,
    notices: Notices,
    outputs: VecDeque<Output>,
    status: Status,
    stats: SessionStats,
    /// Whether media may be sent.
    sending: bool,
    /// What is to be tried again.
    again: Option<Again>,
}

impl Session {
    /// A participant that is not connected yet, with a fresh signature key.
    ///
    /// # Errors
    ///
    /// [`SessionError`] if the keys cannot be made.
    pub fn new(
        config: SessionConfig,
        mut rng: Box<dyn CryptoRng + Send>,
    ) -> Result<Self, SessionError> {
        let client = joining::make_client(&config, &mut *rng)?;
        Ok(Self {
            config,
            client,
            rng,
            requests: Requests::default(),
            connected: false,
            way: Way::Idle,
            membership: None,
            notices: Notices::default(),
            outputs: VecDeque::new(),
            status: Status::Offline,
            stats: SessionStats::default(),
            sending: true,
            again: None,
        })
    }

    /// What the session is doing.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// What has been counted.
    pub fn stats(&self) -> &SessionStats {
        &self.stats
    }

    /// The group's epoch here.
    pub fn epoch(&self) -> Option<u64> {
        self.membership.as_ref().map(Membership::epoch)
    }

    /// The group's identifier. A call that had to begin anew has another one.
    pub fn group_id(&self) -> Option<Vec<u8>> {
        self.membership.as_ref().map(|membership| membership.group.id().as_bytes().to_vec())
    }

    /// One's own leaf.
    pub fn own_leaf(&self) -> Option<u32> {
        self.membership.as_ref().map(Membership::own_leaf)
    }

    /// Who is in the call, as the group says.
    pub fn roster(&self) -> Vec<CallMember> {
        self.membership.as_ref().map(Membership::roster).unwrap_or_default()
    }

    /// The code to compare with another member, and the epoch that it belongs to.
    pub fn verification_code(&self) -> Option<LongCode> {
        let suite = crypto::default_provider().suite(self.config.parameters.suite)?;
        self.membership.as_ref()?.verification_code(suite.kdf)
    }

    /// The epoch's base key once more. For the audit of a run, which tries whether those who left
    /// can open what came later; media keys get theirs with [`Output::Install`].
    pub fn base_key_for_audit(&self) -> Option<BaseKey> {
        let length = self.config.parameters.suite.key_length();
        self.membership.as_ref()?.base_key(length).ok()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn next_deadline(&self, now: Now) -> Option<Now> {
        let again = self.again.as_ref().map(|again| again.at);
        [again, self.watch_deadline(), self.commit_deadline(now)].into_iter().flatten().min()
    }

    fn commit_deadline(&self, now: Now) -> Option<Now> {
        if !self.may_commit() {
            return None;
        }
        match self.membership.as_ref()?.decide(&self.config.committer, &self.notices, now) {
            Decision::Commit { .. } => Some(now),
            Decision::Wait { until } => Some(until),
            Decision::Abstain => None,
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, moment: Moment) {
        self.watch(moment);
        self.try_again(moment);
        if !self.may_commit() {
            return;
        }
        let committer = self.config.committer;
        let membership = self.membership.as_ref();
        let decision = membership.map(|m| m.decide(&committer, &self.notices, moment.now));
        if let Some(Decision::Commit { .. }) = decision {
            self.commit(moment);
        }
    }

    /// The connection to the server is gone.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.again = None;
        self.requests.forget_all();
        if !self.status.is_over() {
            self.set_status(Status::Offline);
        }
    }

    /// Takes in a message of the server. Media messages are not for the session and are ignored.
    pub fn handle_message(&mut self, message: ServerMessage, moment: Moment) {
        let purpose = message.re.and_then(|id| self.requests.answered(id));
        match message.body {
            ServerBody::Session(ServerSession::Welcome { .. }) => {
                // What is pending may come before the call's state: it has ways of its own.
                self.notices.clear_changes();
                self.connected = true;
                self.set_status(Status::Connected);
            }
            ServerBody::Session(ServerSession::Refused(refusal)) => {
                self.refused(message.re, purpose, refusal, moment);
            }
            ServerBody::Session(ServerSession::Done) => {
                if purpose == Some(Purpose::Leave) {
                    self.end(Status::Left);
                }
            }
            ServerBody::Session(ServerSession::Closing { reason, .. }) => self.closing(reason),
            ServerBody::Delivery(event) => self.delivery(event, moment),
            ServerBody::Session(_) | ServerBody::Media(_) => {}
        }
    }

    /// Says goodbye: the server stops this participant's media at once and has it removed.
    pub fn leave(&mut self) {
        if self.connected && !self.status.is_over() {
            self.ask(Purpose::Leave, DeliveryRequest::Leave);
        } else {
            self.end(Status::Left);
        }
    }

    /// Proposes to remove a member; the server lets moderators do so.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotAMember`] and [`SessionError::Unknown`], or MLS's.
    pub fn remove(&mut self, identity: &Identity) -> Result<(), SessionError> {
        let membership = self.membership.as_mut().ok_or(SessionError::NotAMember)?;
        let leaf =
            membership.leaf_of(identity).ok_or_else(|| SessionError::Unknown(identity.clone()))?;
        let proposal =
            membership.group.propose_remove(mls::LeafIndex(leaf), &mut *self.rng)?.message.into();
        self.ask(Purpose::Propose, DeliveryRequest::Propose { proposal });
        Ok(())
    }

    /// Asks for a new epoch, because a counter of the media keys runs low.
    pub fn want_new_epoch(&mut self, now: Now) {
        if let Some(membership) = &mut self.membership {
            membership.want_new_epoch(now);
        }
    }

    /// The media keys did not take the epoch: the membership cannot go on.
    pub fn install_failed(&mut self, error: sframe_bridge::EpochError) {
        self.end(Status::Failed { reason: SessionError::from(error).to_string() });
    }

    fn closing(&mut self, reason: CloseReason) {
        let over = match reason {
            CloseReason::Removed => Status::Removed,
            CloseReason::Replaced => {
                Status::Failed { reason: "the same participant has connected elsewhere".to_owned() }
            }
            // The client may come back.
            _ => return,
        };
        if !self.status.is_over() {
            self.end(over);
        }
    }

    fn delivery(&mut self, event: DeliveryEvent, moment: Moment) {
        if self.status.is_over() {
            return;
        }
        match event {
            DeliveryEvent::State { group, leaf, create } => {
                self.call_stands(group, leaf, create, moment);
            }
            DeliveryEvent::Created { group } => self.created(&group, moment),
            DeliveryEvent::Welcome { epoch, welcome } => self.welcomed(epoch, welcome),
            DeliveryEvent::Tree { ratchet_tree, .. } => self.tree_came(&ratchet_tree, moment),
            DeliveryEvent::GroupInfo { group_info, ratchet_tree, .. } => {
                self.group_info_came(&group_info, &ratchet_tree, moment);
            }
            DeliveryEvent::Entry { entry } => {
                if entry.kind == EntryKind::Commit {
                    self.notices.server_in(entry.epoch.saturating_add(1));
                }
                self.entry(entry, moment);
            }
            DeliveryEvent::Log { entries, head, more } => self.log(entries, head, more, moment),
            DeliveryEvent::PendingChanged { added, resolved } => {
                self.pending_changed(&added, &resolved, moment);
            }
            DeliveryEvent::Acknowledged { epoch, leaves } => {
                self.notices.acknowledge(epoch, &leaves);
                self.peers_ready(epoch, leaves);
            }
            DeliveryEvent::Heartbeats { heartbeats } => self.heartbeats(&heartbeats, moment),
            DeliveryEvent::FailureReported { report, .. } => self.failure_reported(&report),
            DeliveryEvent::Appended { .. } => {}
        }
        self.handle_timeout(moment);
    }

    /// How the call stands for this client, after connecting and when that changes.
    fn call_stands(
        &mut self,
        group: Option<GroupSummary>,
        leaf: Option<u32>,
        create: bool,
        moment: Moment,
    ) {
        if let Some(group) = &group {
            self.notices.server_in(group.epoch);
        }
        if let Some(membership) = &self.membership {
            let same = group
                .as_ref()
                .is_some_and(|group| group.group_id[..] == *membership.group.id().as_bytes());
            if same && leaf.is_some() {
                let epoch = membership.epoch();
                self.acknowledge(epoch);
                self.ask(Purpose::Log, DeliveryRequest::FetchLog { since_epoch: epoch });
                self.set_status(Status::CatchingUp { epoch });
                return;
            }
            // The server had it removed, or closed the group: what it had is worth nothing now.
            self.forget_membership();
        }
        if group.is_none() {
            self.notices.clear_changes();
        }
        match (group, create) {
            (_, true) => self.create(moment),
            (Some(_), false) => self.join(moment),
            (None, false) => {
                self.way = Way::Idle;
                self.set_status(Status::WaitingForGroup);
            }
        }
    }

    /// Tells the media keys who has the receive keys of an epoch.
    fn peers_ready(&mut self, epoch: u64, leaves: Vec<u32>) {
        if let Some(own) = self.own_leaf() {
            let others = leaves.into_iter().filter(|leaf| *leaf != own);
            self.outputs.extend(others.map(|leaf| Output::PeerReady { leaf, epoch }));
        }
    }

    fn may_commit(&self) -> bool {
        self.connected && matches!(self.status, Status::Member { .. })
    }

    /// Gives the request's number.
    fn ask(&mut self, purpose: Purpose, body: DeliveryRequest) -> Option<u64> {
        let message = self.requests.ask(purpose, body);
        let id = message.id;
        self.outputs.push_back(Output::Send(message));
        id
    }

    /// Says that an epoch's receive keys are live. A reply would tell nothing: the server repeats it to everybody.
    fn acknowledge(&mut self, epoch: u64) {
        let membership = self.membership.as_ref();
        let external_pub = membership.and_then(Membership::external_pub_hash).map(Into::into);
        let message = ClientMessage::event(DeliveryRequest::Ack { epoch, external_pub });
        self.outputs.push_back(Output::Send(message));
    }

    fn event(&mut self, event: SessionEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn set_status(&mut self, status: Status) {
        if self.status != status {
            self.status = status.clone();
            self.event(SessionEvent::StatusChanged(status));
        }
    }

    fn forget_membership(&mut self) {
        self.way = Way::Idle;
        if self.membership.take().is_some() {
            self.outputs.push_back(Output::End);
        }
    }

    fn end(&mut self, status: Status) {
        self.forget_membership();
        self.set_status(status);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("identity", &self.config.identity)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
