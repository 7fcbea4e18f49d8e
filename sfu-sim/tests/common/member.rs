//! An MLS member on a signalling connection.

use std::time::{SystemTime, UNIX_EPOCH};

use mls::{
    AcceptAnyCredential, CipherSuite, Client, ClientOptions, Group, GroupId, GroupInfoOptions,
    GroupOptions, HandshakeFormat, HandshakePolicy, Identity, KeyPackage, KeyPackageBundle,
    LeafIndex, PendingCommit, Processed, UnixTime,
};
use sfu_sim::RunningServer;
use sfu_sim::protocol::{
    ChangeKind, DeliveryEvent, DeliveryRequest, EntryKind, GroupSummary, PendingChange, Refusal,
    ServerBody, SessionEvent,
};
use sfu_sim::token::Claims;

use super::Signal;

const INFO: GroupInfoOptions = GroupInfoOptions { tree: false, external_pub: true };

pub fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

pub struct Member {
    pub signal: Signal,
    pub client: Client,
    pub group: Option<Group>,
    bundle: Option<KeyPackageBundle>,
    /// Commits that may come back in the log.
    committing: Vec<PendingCommit>,
    pub pending: Vec<PendingChange>,
    pub state: Option<(Option<GroupSummary>, Option<u32>, bool)>,
    pub acknowledged: Vec<(u64, Vec<u32>)>,
    pub closing: bool,
    replies: Vec<(u64, ServerBody)>,
}

impl Member {
    pub async fn connect(server: &RunningServer, claims: &Claims) -> Self {
        let (signal, _) = Signal::join(server, claims).await;
        let suite = mls::crypto::default_provider()
            .suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519)
            .unwrap();
        let name = claims.identity.as_str().as_bytes();
        let identity = Identity::basic(name, suite, &mut mls::crypto::os_rng()).unwrap();
        let mut options = ClientOptions::new(AcceptAnyCredential);
        options.handshake = HandshakeFormat::Public;
        options.accept = HandshakePolicy::PublicOnly;
        Self {
            signal,
            client: Client::new(suite, identity, options),
            group: None,
            bundle: None,
            committing: Vec::new(),
            pending: Vec::new(),
            state: None,
            acknowledged: Vec::new(),
            closing: false,
            replies: Vec::new(),
        }
    }

    pub fn group(&mut self) -> &mut Group {
        self.group.as_mut().unwrap()
    }

    pub fn epoch(&self) -> Option<u64> {
        self.group.as_ref().map(Group::epoch)
    }

    /// Takes what has come.
    pub async fn step(&mut self) {
        while let Some(message) = self.signal.try_next() {
            self.take(message.re, message.body).await;
        }
    }

    async fn take(&mut self, re: Option<u64>, body: ServerBody) {
        match body {
            ServerBody::Delivery(DeliveryEvent::State { group, leaf, create }) => {
                self.state = Some((group, leaf, create));
            }
            ServerBody::Delivery(DeliveryEvent::Entry { entry }) => {
                if let Some(group) = &mut self.group
                    && entry.epoch == group.epoch()
                {
                    let own = self.committing.iter().position(|it| it.is_echo(&entry.message));
                    if let Some(own) = own {
                        group.confirm(self.committing.swap_remove(own)).unwrap();
                        self.committing.clear();
                    } else {
                        match group.process(&entry.message, now()).unwrap() {
                            Processed::Commit(staged) => {
                                self.committing.clear();
                                group.merge(*staged).unwrap();
                            }
                            Processed::Proposal(_) => assert_eq!(entry.kind, EntryKind::Proposal),
                            Processed::Application(_) => panic!("application data in the log"),
                        }
                    }
                    let epoch = group.epoch();
                    if group.is_active() {
                        self.signal
                            .request(DeliveryRequest::Ack { epoch, external_pub: None })
                            .await;
                    }
                }
            }
            ServerBody::Delivery(DeliveryEvent::Welcome { epoch, welcome }) => {
                if self.group.is_none() {
                    self.accept_welcome(epoch, &welcome).await;
                }
            }
            ServerBody::Delivery(DeliveryEvent::PendingChanged { added, resolved }) => {
                self.pending.retain(|change| !resolved.contains(&change.id));
                self.pending.extend(added);
            }
            ServerBody::Delivery(DeliveryEvent::Acknowledged { epoch, leaves }) => {
                self.acknowledged.push((epoch, leaves));
            }
            ServerBody::Session(SessionEvent::Closing { .. }) => self.closing = true,
            body => self.replies.extend(re.map(|re| (re, body))),
        }
    }

    async fn accept_welcome(&mut self, epoch: u64, welcome: &[u8]) {
        let id = self.signal.request(DeliveryRequest::FetchTree { epoch }).await;
        let tree = loop {
            let message = self.signal.next().await.unwrap();
            match message.body {
                ServerBody::Delivery(DeliveryEvent::Tree { ratchet_tree, .. })
                    if message.re == Some(id) =>
                {
                    break ratchet_tree;
                }
                body => Box::pin(self.take(message.re, body)).await,
            }
        };
        let bundle = self.bundle.take().unwrap();
        let staged = self.client.join(welcome, [&bundle], Some(&tree), now()).unwrap();
        self.group = Some(staged.accept());
        self.signal.request(DeliveryRequest::Ack { epoch, external_pub: None }).await;
    }

    /// Sends a request and waits for its reply, taking everything else meanwhile.
    pub async fn ask(&mut self, request: DeliveryRequest) -> Result<ServerBody, Refusal> {
        let id = self.signal.request(request).await;
        loop {
            if let Some(at) = self.replies.iter().position(|(re, _)| *re == id) {
                return match self.replies.swap_remove(at).1 {
                    ServerBody::Session(SessionEvent::Refused(refusal)) => Err(refusal),
                    body => Ok(body),
                };
            }
            let message = self.signal.next().await.expect("a reply before the end");
            self.take(message.re, message.body).await;
        }
    }

    pub async fn create(&mut self) {
        let options = GroupOptions::default();
        let rng = &mut mls::crypto::os_rng();
        let id = GroupId::from(b"call".to_vec());
        let group = self.client.create_group(id, options, rng, now()).unwrap();
        let request = DeliveryRequest::Create {
            group_info: group.group_info(INFO).unwrap().into(),
            ratchet_tree: group.ratchet_tree().into(),
        };
        self.ask(request).await.unwrap();
        self.group = Some(group);
        self.signal.request(DeliveryRequest::Ack { epoch: 0, external_pub: None }).await;
    }

    pub async fn want_in(&mut self) {
        let bundle = self.client.key_package(&mut mls::crypto::os_rng(), now()).unwrap();
        let key_package = bundle.message().into();
        self.bundle = Some(bundle);
        self.ask(DeliveryRequest::Join { key_package }).await.unwrap();
    }

    /// Commits everything pending.
    pub async fn commit(&mut self) -> Result<ServerBody, Refusal> {
        let request = self.build();
        self.ask(request).await
    }

    pub fn build(&mut self) -> DeliveryRequest {
        let client = self.client.clone();
        let group = self.group.as_mut().unwrap();
        let mut builder = group.commit().welcome_tree(false);
        for change in &self.pending {
            builder = match &change.kind {
                ChangeKind::Add { key_package, .. } => {
                    let package: KeyPackage = client.read_key_package(key_package, now()).unwrap();
                    builder.add(package)
                }
                ChangeKind::Remove { leaf, proposal: None, .. } => builder.remove(LeafIndex(*leaf)),
                ChangeKind::Remove { .. } | ChangeKind::Proposal { .. } => builder,
            };
        }
        let pending = builder.build(&mut mls::crypto::os_rng(), now()).unwrap();
        let group_info = pending.group_info(self.group.as_ref().unwrap(), INFO).unwrap();
        let request = DeliveryRequest::Submit {
            proposals: Vec::new(),
            commit: pending.commit().into(),
            welcome: pending.welcome().map(Into::into),
            group_info: group_info.into(),
        };
        self.committing.push(pending);
        request
    }
}

/// Lets all members run until `done`, and fails if that takes too long.
pub async fn run_until(
    members: &mut [&mut Member],
    what: &str,
    mut done: impl FnMut(&mut [&mut Member]) -> bool,
) {
    let end = std::time::Instant::now() + super::PATIENCE;
    loop {
        for member in members.iter_mut() {
            member.step().await;
        }
        if done(members) {
            return;
        }
        assert!(std::time::Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// A call of these members, the first of them its creator, each at its server.
pub async fn call_of(places: &[(&RunningServer, &str)]) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for (index, (server, name)) in places.iter().enumerate() {
        let mut member = Member::connect(server, &super::claims("room", name).as_moderator()).await;
        run_until(&mut [&mut member], "state", |members| members[0].state.is_some()).await;
        if index == 0 {
            assert!(member.state.as_ref().unwrap().2, "the first one creates the group");
            member.create().await;
            members.push(member);
            continue;
        }
        // Another server may have to read first that there is a group.
        run_until(&mut [&mut member], "a group", |members| {
            members[0].state.as_ref().is_some_and(|(group, ..)| group.is_some())
        })
        .await;
        member.want_in().await;
        members.push(member);
        let mut all: Vec<_> = members.iter_mut().collect();
        run_until(&mut all, "a pending change", |members| members[0].pending.len() == 1).await;
        members[0].commit().await.unwrap();
        in_epoch(&mut members, index as u64).await;
    }
    members
}

/// Waits until all are in this epoch, and checks that it is the same one.
pub async fn in_epoch(members: &mut [Member], epoch: u64) {
    let mut all: Vec<_> = members.iter_mut().collect();
    run_until(&mut all, "an epoch", |members| members.iter().all(|it| it.epoch() == Some(epoch)))
        .await;
    let authenticators: Vec<_> = members
        .iter_mut()
        .map(|member| member.group().epoch_authenticator().unwrap().as_bytes().to_vec())
        .collect();
    assert!(authenticators.windows(2).all(|pair| pair[0] == pair[1]));
}
