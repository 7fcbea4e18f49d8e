//! One participant: its session, its media keys, and what it saw.

use std::collections::BTreeMap;

use call_session::{Invite, Moment, Output, Session, SessionConfig, SessionEvent, Status};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sframe_bridge::{
    CallKeys, CallKeysConfig, ReceiveError, Sender, TrackId, WaitBuffer, WaitLimits, crypto,
};
use sfu_sim::delivery::ConnectionId;
use sfu_sim::protocol::{ClientMessage, Identity};

pub const INVITE: &str = "the secret of the link to this call";

pub struct Member {
    pub name: String,
    pub session: Session,
    pub connection: Option<ConnectionId>,
    keys: Option<CallKeys>,
    sender: Option<Sender>,
    waiting: WaitBuffer<()>,
    /// It neither hears nor does anything, though it is connected.
    pub asleep: bool,
    /// It hears, and commits nothing.
    pub hangs: bool,
    /// The base key of each epoch that it was in.
    pub base_keys: BTreeMap<(Vec<u8>, u64), Vec<u8>>,
    pub rejected: BTreeMap<&'static str, u64>,
    pub alarms: Vec<String>,
    /// What it was told to do, as debug output.
    pub shown: Vec<u8>,
}

impl Member {
    pub fn new(name: &str, seed: u64) -> Self {
        let mut config = SessionConfig::new(Identity::new(name));
        config.invite = Some(Invite::new(INVITE.as_bytes()));
        let session = Session::new(config, Box::new(StdRng::seed_from_u64(seed))).unwrap();
        Self {
            name: name.to_owned(),
            session,
            connection: None,
            keys: None,
            sender: None,
            waiting: WaitBuffer::new(WaitLimits::default()),
            asleep: false,
            hangs: false,
            base_keys: BTreeMap::new(),
            rejected: BTreeMap::new(),
            alarms: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// Does what is due and what the session wants. Gives what is to be sent.
    pub fn settle(&mut self, moment: Moment) -> Vec<ClientMessage> {
        if self.asleep {
            return Vec::new();
        }
        if !self.hangs {
            self.session.handle_timeout(moment);
        }
        let mut sent = Vec::new();
        while let Some(output) = self.session.poll_output() {
            self.shown.extend(format!("{output:?}").bytes());
            match output {
                Output::Send(message) => sent.push(message),
                Output::Begin(parameters) => {
                    self.end();
                    let provider = crypto::default_provider();
                    let config = CallKeysConfig::from_parameters(provider, &parameters).unwrap();
                    self.keys = Some(CallKeys::new(config));
                }
                Output::Install(epoch) => {
                    let keys = self.keys.as_mut().unwrap();
                    if let Err(error) = keys.install_epoch(*epoch, moment.now) {
                        self.session.install_failed(error);
                    } else if let Some(key) = self.session.base_key_for_audit()
                        && let Some(epoch) = self.session.epoch()
                    {
                        // The session may be further already, or out of the call.
                        let epoch = (self.group(), epoch);
                        self.base_keys.insert(epoch, key.expose_secret().to_vec());
                    }
                }
                Output::PeerReady { leaf, epoch } => {
                    if let Some(keys) = &mut self.keys {
                        keys.peer_ready(leaf, epoch, moment.now);
                    }
                }
                Output::Sending { .. } => {}
                Output::End => self.end(),
                Output::Event(SessionEvent::Alarm(alarm)) => {
                    self.alarms.push(format!("{alarm:?}"));
                }
                Output::Event(event) => {
                    tracing::trace!(who = self.name, ?event, "told");
                }
            }
        }
        if let Some(keys) = &mut self.keys {
            keys.handle_timeout(moment.now);
            while keys.poll().is_some() {}
            let newest = keys.newest_epoch().unwrap_or_default();
            for waiting in self.waiting.take_ready(newest) {
                let _ = self.open(waiting.frame, moment);
            }
        }
        drop(self.waiting.expire(moment.now));
        sent
    }

    fn end(&mut self) {
        self.sender = None;
        if let Some(mut keys) = self.keys.take() {
            keys.close();
        }
    }

    /// The group that it is in, by what all members of an epoch agree on and no other group has.
    pub fn group(&self) -> Vec<u8> {
        self.session.group_id().unwrap_or_default()
    }

    /// A frame, if there is a key for it.
    pub fn protect(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.as_mut().filter(|_| !self.asleep)?;
        let sender = match &mut self.sender {
            Some(sender) => sender,
            None => self.sender.insert(keys.sender(TrackId(1)).ok()?),
        };
        let mut frame = Vec::new();
        sender.protect_into(plain, b"", &mut frame).ok()?;
        Some(frame)
    }

    /// Opens a frame, or lets it wait. Gives the plaintext.
    pub fn open(&mut self, frame: Vec<u8>, moment: Moment) -> Option<Vec<u8>> {
        let keys = self.keys.as_mut().filter(|_| !self.asleep)?;
        let mut bytes = frame;
        match keys.receiver().unprotect_in_place(&mut bytes, b"", moment.now) {
            Ok(opened) => Some(bytes[opened.plain].to_vec()),
            Err(ReceiveError::FutureEpoch { epoch }) => {
                drop(self.waiting.push(epoch, bytes, (), moment.now));
                None
            }
            Err(error) => {
                *self.rejected.entry(error.reason()).or_default() += 1;
                None
            }
        }
    }

    pub fn keys(&self) -> impl std::fmt::Debug + '_ {
        (&self.keys, &self.sender)
    }

    pub fn is_member(&self) -> bool {
        matches!(self.session.status(), Status::Member { .. })
    }
}
