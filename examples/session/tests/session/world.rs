//! A call in memory: members, a server in a few lines, and a clock that is turned by hand.

use std::collections::{BTreeMap, BTreeSet};

use call_session::{Invite, Moment, Output, Session, SessionConfig, SessionEvent, Status};
use mls::UnixTime;
use sframe_bridge::Now;
use sfu_protocol::{
    Blob, ChangeId, ChangeKind, ClientBody, ClientMessage, DeliveryEvent, DeliveryRequest,
    EntryKind, GroupSummary, Identity, Limits, LogEntry, Participant, PendingChange, Refusal,
    RefusalCode, RemovalReason, RoomName, ServerBody, ServerMessage, SessionEvent as ServerSession,
};

use crate::member::Member;

/// What becomes of an event on its way to somebody.
type Censor = Box<dyn FnMut(&str, DeliveryEvent) -> Option<DeliveryEvent>>;

/// Orders commits, keeps the log, and believes everybody.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) group: Option<GroupSummary>,
    pub(crate) log: Vec<LogEntry>,
    /// By the epoch, its tree and GroupInfo.
    pub(crate) trees: BTreeMap<u64, Blob>,
    pub(crate) info: Blob,
    pub(crate) pending: BTreeMap<u64, PendingChange>,
    pub(crate) leaves: BTreeMap<String, u32>,
    /// Whom a moderator removed.
    pub(crate) banned: BTreeSet<String>,
    pub(crate) next_change: u64,
    pub(crate) lose_next_commit_reply: bool,
    /// Commits of sessions get lost on their way.
    pub(crate) lose_submissions: bool,
    /// So do groups that are made.
    pub(crate) lose_create: bool,
    /// The storage does not answer: of the first commit nobody knows whether it is in the log, others are not taken.
    pub(crate) storage_away: bool,
    /// What commits of sessions got lost, with whose they were.
    pub(crate) lost: Vec<(String, DeliveryRequest)>,
    /// Heartbeats are passed on.
    pub(crate) relays: bool,
    /// Drops or alters what the server says.
    pub(crate) censor: Option<Censor>,
    /// What those got who have no session.
    pub(crate) wires: BTreeMap<String, Vec<DeliveryEvent>>,
    pub(crate) commits: usize,
    pub(crate) stale: usize,
    /// What members said of the external key of an epoch.
    pub(crate) external_pubs: BTreeMap<(String, u64), Option<Blob>>,
}

impl World {
    pub(crate) fn moment(&self) -> Moment {
        Moment { now: Now::from_millis(self.now), unix: UnixTime(1_790_000_000 + self.now / 1000) }
    }

    pub(crate) fn arrive(&mut self, name: &str, invite: &str) {
        self.arrive_with(name, invite, |_| {});
    }

    pub(crate) fn arrive_with(
        &mut self,
        name: &str,
        invite: &str,
        alter: impl FnOnce(&mut SessionConfig),
    ) {
        let mut config = SessionConfig::new(Identity::new(name));
        config.invite = Some(Invite::new(invite.as_bytes()));
        alter(&mut config);
        let session = Session::new(config, Box::new(mls::crypto::os_rng())).unwrap();
        self.members.insert(name.to_owned(), Member::new(session));
        self.connect(name);
    }

    pub(crate) fn connect(&mut self, name: &str) {
        let you = Participant {
            identity: Identity::new(name),
            name: name.to_owned(),
            moderator: false,
            connected: true,
        };
        let welcome = ServerSession::Welcome {
            protocol: 1,
            room: RoomName::new("room"),
            you,
            participants: Vec::new(),
            resumed: false,
            media: false,
            limits: Limits {
                message_bytes: 1,
                hard_message_bytes: 1,
                messages_per_second: 1,
                report_interval_ms: 1,
            },
            datagrams: None,
        };
        let create = self.group.is_none();
        let state = DeliveryEvent::State {
            group: self.group.clone(),
            leaf: self.leaves.get(name).copied(),
            create,
        };
        let member = self.members.get_mut(name).unwrap();
        member.online = true;
        member.inbox.push_back(ServerMessage::event(welcome));
        member.inbox.push_back(ServerMessage::event(state));
        if self.leaves.contains_key(name) {
            let added = self.pending.values().cloned().collect();
            self.tell(name, DeliveryEvent::PendingChanged { added, resolved: Vec::new() });
        }
    }

    /// Connects, and is refused instead of welcomed.
    pub(crate) fn turn_away(&mut self, name: &str, refusal: Refusal) {
        let member = self.members.get_mut(name).unwrap();
        member.online = true;
        member.inbox.push_back(ServerMessage::refusal(None, refusal));
    }

    pub(crate) fn disconnect(&mut self, name: &str) {
        let member = self.members.get_mut(name).unwrap();
        member.online = false;
        member.inbox.clear();
        member.session.disconnected();
    }

    pub(crate) fn tell(&mut self, name: &str, event: DeliveryEvent) {
        let Some(event) = self.censored(name, event) else { return };
        if let Some(wire) = self.wires.get_mut(name) {
            wire.push(event);
            return;
        }
        if let Some(member) = self.members.get_mut(name).filter(|member| member.online) {
            member.inbox.push_back(ServerMessage::event(event));
        }
    }

    fn censored(&mut self, name: &str, event: DeliveryEvent) -> Option<DeliveryEvent> {
        match &mut self.censor {
            Some(censor) => censor(name, event),
            None => Some(event),
        }
    }

    pub(crate) fn tell_members(&mut self, event: &DeliveryEvent) {
        for name in self.leaves.keys().cloned().collect::<Vec<_>>() {
            self.tell(&name, event.clone());
        }
    }

    pub(crate) fn change(&mut self, kind: ChangeKind) {
        self.next_change += 1;
        let change = PendingChange { id: ChangeId(self.next_change), age_ms: 0, kind };
        self.pending.insert(self.next_change, change.clone());
        let added = vec![change];
        self.tell_members(&DeliveryEvent::PendingChanged { added, resolved: Vec::new() });
    }

    pub(crate) fn gone(&mut self, name: &str, reason: RemovalReason) {
        let leaf = self.leaves[name];
        self.change(ChangeKind::Remove {
            leaf,
            identity: Identity::new(name),
            reason,
            proposal: None,
        });
    }

    fn request(&mut self, name: &str, message: ClientMessage) {
        let ClientBody::Delivery(request) = message.body else {
            return;
        };
        if self.lose_create && matches!(request, DeliveryRequest::Create { .. }) {
            return;
        }
        if self.lose_submissions && matches!(request, DeliveryRequest::Submit { .. }) {
            self.lost.push((name.to_owned(), request));
            return;
        }
        if self.storage_away && matches!(request, DeliveryRequest::Submit { .. }) {
            let code = match self.lost.is_empty() {
                true => RefusalCode::Undecided,
                false => RefusalCode::Unavailable,
            };
            self.lost.push((name.to_owned(), request));
            let refusal = ServerMessage::refusal(message.id, Refusal::new(code, "away"));
            self.members.get_mut(name).unwrap().inbox.push_back(refusal);
            return;
        }
        let reply = match self.answer(name, request) {
            Some(Ok(ServerBody::Delivery(event))) => {
                self.censored(name, event).map(|event| Ok(event.into()))
            }
            other => other,
        };
        if let (Some(id), Some(reply)) = (message.id, reply) {
            let member = self.members.get_mut(name).unwrap();
            if member.online {
                let reply = match reply {
                    Ok(body) => ServerMessage::reply(Some(id), body),
                    Err(refusal) => ServerMessage::refusal(Some(id), refusal),
                };
                member.inbox.push_back(reply);
            }
        }
    }

    pub(crate) fn answer(
        &mut self,
        name: &str,
        request: DeliveryRequest,
    ) -> Option<Result<ServerBody, Refusal>> {
        match request {
            DeliveryRequest::Create { group_info, ratchet_tree } => {
                let mls::wire::MlsMessageBody::GroupInfo(info) = decode(&group_info) else {
                    panic!("expected a GroupInfo");
                };
                let group_id = info.group_context.group_id.0.into();
                let group = GroupSummary { group_id, epoch: 0, members: 1 };
                self.group = Some(group.clone());
                self.trees.insert(0, ratchet_tree);
                self.info = group_info;
                self.leaves.insert(name.to_owned(), 0);
                return Some(Ok(DeliveryEvent::Created { group }.into()));
            }
            DeliveryRequest::Join { .. } if self.banned.contains(name) => {
                return Some(Err(Refusal::new(RefusalCode::Removed, "removed")));
            }
            DeliveryRequest::Join { key_package } => {
                if self.leaves.contains_key(name) {
                    self.gone(name, RemovalReason::Rejoins);
                }
                let identity = Identity::new(name);
                self.change(ChangeKind::Add { identity, name: name.to_owned(), key_package });
            }
            DeliveryRequest::Submit { commit, welcome, group_info, .. } => {
                return self.submit(name, commit, welcome, group_info);
            }
            DeliveryRequest::Propose { proposal } => {
                let epoch = self.group.as_ref().unwrap().epoch;
                let mls::wire::MlsMessageBody::PublicMessage(message) = decode(&proposal) else {
                    panic!("expected a PublicMessage");
                };
                let mls::wire::Content::Proposal(mls::wire::Proposal::Remove(remove)) =
                    message.content.content
                else {
                    panic!("expected a Remove");
                };
                self.append(name, epoch, EntryKind::Proposal, proposal.clone());
                let leaf = remove.removed.0;
                let who = self.leaves.iter().find(|(_, known)| **known == leaf).unwrap().0.clone();
                self.change(ChangeKind::Remove {
                    leaf,
                    identity: Identity::new(who),
                    reason: RemovalReason::Moderator,
                    proposal: Some(proposal),
                });
            }
            DeliveryRequest::Leave => {
                self.gone(name, RemovalReason::Left);
            }
            DeliveryRequest::Ack { epoch, external_pub } => {
                self.external_pubs.insert((name.to_owned(), epoch), external_pub);
                if let Some(leaf) = self.leaves.get(name) {
                    let leaves = vec![*leaf];
                    self.tell_members(&DeliveryEvent::Acknowledged { epoch, leaves });
                }
            }
            DeliveryRequest::FetchLog { since_epoch } => {
                let entries = self.log.iter().filter(|e| e.epoch >= since_epoch).cloned().collect();
                let head = self.group.as_ref().unwrap().epoch;
                return Some(Ok(DeliveryEvent::Log { entries, head, more: false }.into()));
            }
            DeliveryRequest::FetchTree { epoch } => {
                let ratchet_tree = self.trees[&epoch].clone();
                return Some(Ok(DeliveryEvent::Tree { epoch, ratchet_tree }.into()));
            }
            DeliveryRequest::FetchGroupInfo => {
                let epoch = self.group.as_ref().unwrap().epoch;
                let group_info = self.info.clone();
                let ratchet_tree = self.trees[&epoch].clone();
                return Some(Ok(
                    DeliveryEvent::GroupInfo { epoch, group_info, ratchet_tree }.into()
                ));
            }
            DeliveryRequest::Heartbeat { heartbeat, .. } => {
                if self.relays {
                    let heartbeats = vec![heartbeat];
                    self.tell_members(&DeliveryEvent::Heartbeats { heartbeats });
                }
            }
            DeliveryRequest::ReportFailure { epoch, report } => {
                let leaf = self.leaves[name];
                self.tell_members(&DeliveryEvent::FailureReported { epoch, leaf, report });
            }
        }
        Some(Ok(ServerSession::Done.into()))
    }

    fn append(&mut self, name: &str, epoch: u64, kind: EntryKind, message: Blob) {
        let seq = self.log.len() as u64;
        let entry = LogEntry { seq, epoch, kind, sender: Some(Identity::new(name)), message };
        self.log.push(entry.clone());
        self.tell_members(&DeliveryEvent::Entry { entry });
    }

    pub(crate) fn submit(
        &mut self,
        name: &str,
        commit: Blob,
        welcome: Option<Blob>,
        group_info: Blob,
    ) -> Option<Result<ServerBody, Refusal>> {
        let head = self.group.as_ref().unwrap().epoch;
        let epoch = mls::Envelope::peek(&commit).unwrap().epoch;
        if epoch != Some(head) {
            self.stale += 1;
            return Some(Err(Refusal::new(RefusalCode::StaleEpoch { head }, "stale")));
        }
        self.commits += 1;
        // Follows the group as a delivery service does.
        let suite = mls::crypto::default_provider()
            .suite(mls::CipherSuite::P256_AES128GCM_SHA256_P256)
            .unwrap();
        let options = mls::PublicGroupOptions::new(call_session::NamedMembers);
        let moment = self.moment();
        let mut public = mls::PublicGroup::new(
            suite,
            &self.info,
            Some(&self.trees[&head]),
            options,
            moment.unix,
        )
        .unwrap();
        for entry in self.log.iter().filter(|e| e.epoch == head) {
            if let Ok(mls::PublicProcessed::Proposal(proposal)) =
                public.process(&entry.message, moment.unix)
            {
                public.store_proposal(proposal).unwrap();
            }
        }
        let mls::PublicProcessed::Commit(staged) = public.process(&commit, moment.unix).unwrap()
        else {
            panic!("expected a commit");
        };
        staged.check_group_info(&public, &group_info).unwrap();
        let changes = staged.changes().clone();
        public.merge(*staged).unwrap();

        let before: BTreeSet<_> = self.leaves.keys().cloned().collect();
        let name_of = |member: &mls::Member| match &member.credential {
            mls::wire::Credential::Basic(identity) => String::from_utf8(identity.clone()).unwrap(),
            _ => panic!("expected a basic credential"),
        };
        self.append(name, head, EntryKind::Commit, commit);
        for member in &changes.removed {
            self.leaves.remove(&name_of(member));
            let moderated = |change: &PendingChange| {
                matches!(change.kind, ChangeKind::Remove { leaf, reason, .. }
                    if leaf == member.leaf.0 && reason == RemovalReason::Moderator)
            };
            if self.pending.values().any(moderated) {
                self.banned.insert(name_of(member));
            }
        }
        for member in &changes.added {
            self.leaves.insert(name_of(member), member.leaf.0);
        }
        let group = self.group.as_mut().unwrap();
        group.epoch = head + 1;
        group.members = public.member_count();
        self.trees.insert(head + 1, public.ratchet_tree().into());
        self.info = group_info;
        let resolved: Vec<_> = self
            .pending
            .values()
            .filter(|change| match &change.kind {
                ChangeKind::Add { identity, .. } => self.leaves.contains_key(identity.as_str()),
                ChangeKind::Remove { leaf, .. } => {
                    changes.removed.iter().any(|member| member.leaf.0 == *leaf)
                }
                ChangeKind::Proposal { .. } => true,
            })
            .map(|change| change.id)
            .collect();
        self.pending.retain(|id, _| !resolved.contains(&ChangeId(*id)));
        let told: BTreeSet<_> = before.iter().chain(self.leaves.keys()).cloned().collect();
        for name in told {
            let (added, resolved) = (Vec::new(), resolved.clone());
            self.tell(&name, DeliveryEvent::PendingChanged { added, resolved });
        }
        if let Some(welcome) = welcome {
            for joiner in self.leaves.keys().cloned().collect::<Vec<_>>() {
                if !before.contains(&joiner) || changes.added.iter().any(|m| name_of(m) == joiner) {
                    let welcome = welcome.clone();
                    self.tell(&joiner, DeliveryEvent::Welcome { epoch: head + 1, welcome });
                }
            }
        }
        if std::mem::take(&mut self.lose_next_commit_reply) {
            return None;
        }
        Some(Ok(DeliveryEvent::Appended { seq: self.log.len() as u64 - 1, head: head + 1 }.into()))
    }

    /// Lets messages flow and time pass for so long.
    pub(crate) fn run(&mut self, millis: u64) {
        for _ in 0..millis / 5 {
            self.now += 5;
            for name in self.members.keys().cloned().collect::<Vec<_>>() {
                let moment = self.moment();
                let member = self.members.get_mut(&name).unwrap();
                member.session.handle_timeout(moment);
                let inbox = std::mem::take(&mut member.inbox);
                for message in inbox {
                    self.members.get_mut(&name).unwrap().session.handle_message(message, moment);
                    self.collect(&name);
                }
                self.collect(&name);
            }
        }
    }

    fn collect(&mut self, name: &str) {
        while let Some(output) = self.members.get_mut(name).unwrap().session.poll_output() {
            let member = self.members.get_mut(name).unwrap();
            match output {
                Output::Send(message) if member.online => {
                    self.request(name, message);
                }
                Output::Send(_) => {}
                Output::Install(_) => {
                    let epoch = member.session.epoch().unwrap();
                    member.epochs.push(epoch);
                    let key = member.session.base_key_for_audit().unwrap();
                    member.keys.insert(epoch, key.expose_secret().to_vec());
                    let code = member.session.verification_code().unwrap().to_string();
                    member.code.insert(epoch, code);
                }
                Output::Event(SessionEvent::Ignored { reason }) => member.ignored.push(reason),
                Output::Event(SessionEvent::History(alarm)) => member.history.push(alarm),
                Output::Event(SessionEvent::CommitFailed { leaf, epoch }) => {
                    member.failed.push((leaf, epoch));
                }
                Output::Sending { allowed } => member.sending = allowed,
                Output::End => member.ended = true,
                Output::Event(SessionEvent::Alarm(alarm)) => member.alarms.push(alarm),
                Output::Begin(_) => member.begun += 1,
                Output::PeerReady { .. } | Output::Event(_) => {}
            }
        }
    }

    pub(crate) fn status(&self, name: &str) -> &Status {
        self.members[name].session.status()
    }

    /// All who should be in are in one epoch, and agree on its key, code and roster.
    pub(crate) fn agree(&self, names: &[&str]) -> u64 {
        let epoch = self.group.as_ref().unwrap().epoch;
        let first = &self.members[names[0]];
        let mut roster: Vec<_> =
            first.session.roster().iter().map(|m| m.identity.to_string()).collect();
        roster.sort();
        let mut expected: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        expected.sort();
        assert_eq!(roster, expected);
        for name in names {
            let member = &self.members[*name];
            assert_eq!(*self.status(name), Status::Member { epoch }, "{name}");
            assert_eq!(member.alarms, [], "{name}");
            assert_eq!(member.keys[&epoch], first.keys[&epoch], "{name}");
            assert_eq!(member.code[&epoch], first.code[&epoch], "{name}");
        }
        epoch
    }
}

pub(crate) fn decode(bytes: &[u8]) -> mls::wire::MlsMessageBody {
    use mls::codec::Decode;
    mls::wire::MlsMessage::from_bytes(bytes).unwrap().0
}
