//! A client in tokio: connects, drives session and media, and comes back when the connection breaks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mls::UnixTime;
use sframe_bridge::{EpochError, Event};
use sfu_sim::protocol::{
    ClientMessage, Identity, ServerBody, ServerMessage, SessionEvent as ServerSession,
    SessionRequest,
};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::datagrams::Ways;
use super::keys::MediaKeys;
use super::media::{Media, Publication};
use super::observer::Observer;
use super::packets::MediaOptions;
use super::peer::{PeerError, PeerEvent};
use super::report::{self, Reporting};
use super::signalling::{Signalling, SignallingError};
use call_session::{Moment, Output, Session, SessionConfig, SessionError, SessionEvent, Status};

/// How long a client tries to come back after its connection broke.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// How long the client is silent at most, so that the server knows that it is there.
const PING: Duration = Duration::from_secs(5);

/// When media is tried again after the server refused it.
const MEDIA_RETRY: Duration = Duration::from_millis(300);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Everything that a client needs.
pub struct ClientConfig {
    /// The WebSockets of the servers that serve the call, without the token; at least one. They are tried in
    /// turn until one answers.
    pub urls: Vec<String>,
    /// The token.
    pub token: String,
    /// The local address for media: a concrete one, port 0 for any.
    pub bind: SocketAddr,
    /// What it sends.
    pub publications: Vec<Publication>,
    /// Where what it receives is recorded.
    pub record: Option<PathBuf>,
    /// Its keys.
    pub session: SessionConfig,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// Where its clock starts.
    pub origin: Instant,
}

/// Why a client could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The session could not start.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The server cannot be reached.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// The peer connection could not be opened.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// How a client ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The session's last status.
    pub status: Status,
}

enum Command {
    Leave,
    Remove(Identity),
    LoseSignalling(Duration),
    LoseDatagrams(bool),
}

/// A handle to a client that runs.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
}

impl Client {
    /// A client and the future that runs it. Dropping the future in the middle is a crash: nothing is
    /// said to anybody.
    ///
    /// # Errors
    ///
    /// [`ClientError::Session`] if the keys cannot be made.
    pub fn new(
        config: ClientConfig,
    ) -> Result<(Self, impl Future<Output = Result<Ending, ClientError>> + Send), ClientError> {
        Self::with_media(config, MediaOptions::default())
    }

    /// The same with media by these options. Where browsers take part, the packetization has to be
    /// [`Packetization::Codec`](super::Packetization::Codec).
    ///
    /// # Errors
    ///
    /// [`ClientError::Session`] if the keys cannot be made.
    pub fn with_media(
        config: ClientConfig,
        options: MediaOptions,
    ) -> Result<(Self, impl Future<Output = Result<Ending, ClientError>> + Send), ClientError> {
        let (commands, inbox) = mpsc::channel(16);
        let keys = MediaKeys::new(config.origin);
        let reporting = Reporting::new(config.observer);
        let session = Session::new(config.session, Box::new(mls::crypto::os_rng()))?;
        let media = Media::new(
            Arc::clone(&keys),
            Arc::clone(&reporting) as _,
            config.bind,
            config.publications,
            config.record,
            options,
        );
        let driver = Driver {
            urls: config.urls,
            server: 0,
            token: config.token,
            observer: reporting,
            keys,
            session,
            media,
            ways: Ways::new(config.origin),
            inbox,
            goodbye: None,
            media_due: None,
        };
        Ok((Self { commands }, driver.run()))
    }

    /// Leaves the call in order.
    pub async fn leave(&self) {
        self.command(Command::Leave).await;
    }

    /// Removes somebody, as a moderator.
    pub async fn remove(&self, identity: Identity) {
        self.command(Command::Remove(identity)).await;
    }

    /// Cuts the signalling connection without a word and stays away for so long; media goes on.
    /// For trying out what happens then.
    pub async fn lose_signalling(&self, away: Duration) {
        self.command(Command::LoseSignalling(away)).await;
    }

    /// Loses every datagram of the signalling path, or no longer. For trying out what happens then.
    pub async fn lose_datagrams(&self, lose: bool) {
        self.command(Command::LoseDatagrams(lose)).await;
    }

    async fn command(&self, command: Command) {
        // A client that has ended needs no commands.
        let _ = self.commands.send(command).await;
    }
}

struct Driver {
    urls: Vec<String>,
    /// Which of them is used, counted round and round.
    server: usize,
    token: String,
    observer: Arc<Reporting>,
    keys: Arc<MediaKeys>,
    session: Session,
    media: Media,
    ways: Ways,
    inbox: mpsc::Receiver<Command>,
    goodbye: Option<tokio::time::Instant>,
    /// When a fresh media connection is to be tried.
    media_due: Option<tokio::time::Instant>,
}

/// Why one connection is over.
enum Interruption {
    /// Everything has been said.
    Over,
    /// It broke.
    Broken(SignallingError),
    /// It was cut on purpose.
    Cut(Duration),
}

impl Driver {
    async fn run(mut self) -> Result<Ending, ClientError> {
        let outcome = self.stay_connected().await;
        self.keys.end();
        self.media.close().await;
        outcome.map(|()| Ending { status: self.session.status().clone() })
    }

    async fn stay_connected(&mut self) -> Result<(), ClientError> {
        let mut broken_since = None;
        loop {
            let url = self.urls.get(self.server % self.urls.len().max(1));
            let url = url.map_or("", String::as_str);
            let signalling = match Signalling::connect(url, &self.token).await {
                Ok(signalling) => signalling,
                Err(error) => {
                    if broken_since.is_none() {
                        self.observer.trouble(&error.to_string());
                    }
                    let since = *broken_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE || self.goodbye.is_some() {
                        return Err(error.into());
                    }
                    self.server += 1;
                    self.offline(RETRY).await?;
                    continue;
                }
            };
            broken_since = None;
            let interruption = self.converse(signalling).await?;
            self.session.disconnected();
            self.ways.end();
            match interruption {
                Interruption::Over => {
                    self.report_events();
                    return Ok(());
                }
                Interruption::Broken(error) => {
                    self.observer.trouble(&error.to_string());
                    self.offline(RETRY).await?;
                }
                Interruption::Cut(away) => self.offline(away).await?,
            }
        }
    }

    /// Without signalling the media goes on, and the keys' timers run.
    async fn offline(&mut self, away: Duration) -> Result<(), ClientError> {
        let until = tokio::time::Instant::now() + away;
        loop {
            self.report_events();
            let deadline = self.drive_keys();
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                () = sleep_until(deadline) => {}
                event = self.media.next_event() => {
                    // What would be said to the server waits for a fresh offer after coming back.
                    self.media.happened(event).await?;
                }
            }
        }
    }

    async fn converse(&mut self, mut signalling: Signalling) -> Result<Interruption, ClientError> {
        let mut ping = tokio::time::interval(PING);
        let mut report = tokio::time::interval(report::INTERVAL);
        // The first tick comes at once, and right after a connection there is nothing to tell.
        report.reset();
        loop {
            if let Err(error) = self.settle(&mut signalling).await {
                return Ok(Interruption::Broken(error));
            }
            if self.session.status().is_over() {
                let _ = signalling.send(&ClientMessage::event(SessionRequest::Bye)).await;
                signalling.close().await;
                return Ok(Interruption::Over);
            }
            let deadline = self.deadline();
            tokio::select! {
                message = signalling.receive() => match message {
                    Ok(message) => {
                        if let Err(error) = self.handle(message, &mut signalling).await? {
                            return Ok(Interruption::Broken(error));
                        }
                    }
                    Err(error) if self.goodbye.is_some() => {
                        tracing::debug!(%error, "the connection broke while saying goodbye");
                        return Ok(Interruption::Over);
                    }
                    Err(error) => return Ok(Interruption::Broken(error)),
                },
                event = self.media.next_event() => match event {
                    PeerEvent::Datagram(bytes) => {
                        if let Some(message) = self.ways.receive(&bytes) {
                            self.session.handle_message(message, self.moment());
                        }
                    }
                    event => {
                        if let Some(message) = self.media.happened(event).await?
                            && let Err(error) = signalling.send(&message).await
                        {
                            return Ok(Interruption::Broken(error));
                        }
                    }
                },
                command = self.inbox.recv() => match command {
                    Some(Command::LoseSignalling(away)) => return Ok(Interruption::Cut(away)),
                    Some(Command::LoseDatagrams(lose)) => self.ways.losing = lose,
                    Some(Command::Remove(identity)) => {
                        if let Err(error) = self.session.remove(&identity) {
                            self.observer.trouble(&format!("cannot remove {identity}: {error}"));
                        }
                    }
                    Some(Command::Leave) | None => {
                        if self.goodbye.is_none() {
                            self.media.stop_sending();
                            self.session.leave();
                            self.goodbye = Some(tokio::time::Instant::now() + GOODBYE);
                        }
                    }
                },
                _ = report.tick() => {
                    if let Some(report) = self.observer.take() {
                        let message = ClientMessage::event(SessionRequest::Report { report });
                        if let Err(error) = signalling.send(&message).await {
                            return Ok(Interruption::Broken(error));
                        }
                    }
                }
                _ = ping.tick() => {
                    let message = ClientMessage::event(SessionRequest::Ping);
                    if let Err(error) = signalling.send(&message).await {
                        return Ok(Interruption::Broken(error));
                    }
                }
                () = sleep_until(deadline) => {
                    if self.goodbye.is_some_and(|until| until <= tokio::time::Instant::now()) {
                        return Ok(Interruption::Over);
                    }
                    self.session.handle_timeout(self.moment());
                    let media_due = self.media_due.is_some_and(|due| due <= tokio::time::Instant::now());
                    if media_due {
                        self.media_due = None;
                        let offer = self.media.open().await?;
                        if let Err(error) = signalling.send(&offer).await {
                            return Ok(Interruption::Broken(error));
                        }
                    }
                }
            }
        }
    }

    async fn handle(
        &mut self,
        message: ServerMessage,
        signalling: &mut Signalling,
    ) -> Result<Result<(), SignallingError>, ClientError> {
        if !self.ways.is_news(&message) {
            return Ok(Ok(()));
        }
        if let ServerBody::Media(event) = message.body {
            if self.goodbye.is_some() {
                return Ok(Ok(()));
            }
            return Ok(match self.media.handle(message.re, event).await? {
                Some(reply) => signalling.send(&reply).await,
                None => Ok(()),
            });
        }
        if let (Some(re), ServerBody::Session(ServerSession::Refused(_))) =
            (message.re, &message.body)
            && self.media.refused(re).await
            && self.goodbye.is_none()
        {
            // A removal is pending, or the server is busy. If we are let in again, so is our media.
            self.media_due = Some(tokio::time::Instant::now() + MEDIA_RETRY);
        }
        let fresh = match &message.body {
            ServerBody::Session(ServerSession::Welcome { media, .. }) => {
                !(*media && self.media.is_open())
            }
            _ => false,
        };
        let moment = self.moment();
        self.session.handle_message(message, moment);
        if fresh {
            // The way in for media is paved while the group lets us in: without keys it carries nothing.
            let offer = self.media.open().await?;
            return Ok(signalling.send(&offer).await);
        }
        Ok(Ok(()))
    }

    /// Does everything that is to be done, in the session's order, and lets the keys do theirs.
    async fn settle(&mut self, signalling: &mut Signalling) -> Result<(), SignallingError> {
        loop {
            while let Some(output) = self.session.poll_output() {
                if let Output::Send(message) = output {
                    self.ways.send(message, signalling).await?;
                } else {
                    self.carry_out(output);
                }
            }
            self.drive_keys();
            // Driving the keys may have asked the session for an epoch.
            self.session.handle_timeout(self.moment());
            match self.session.poll_output() {
                Some(Output::Send(message)) => self.ways.send(message, signalling).await?,
                Some(output) => self.carry_out(output),
                None => return self.ways.settle(&self.media, signalling).await,
            }
        }
    }

    /// What can be done without a connection.
    fn report_events(&mut self) {
        while let Some(output) = self.session.poll_output() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        let now = self.keys.now();
        match output {
            // Only `settle` has a connection; without one, the session starts anew after the next.
            Output::Send(_) => {}
            Output::Begin(parameters) => {
                if !self.keys.begin(&parameters) {
                    self.session.install_failed(EpochError::Closed);
                }
            }
            Output::Install(epoch) => {
                if let Err(error) = self.keys.install(*epoch, now) {
                    self.session.install_failed(error);
                }
            }
            Output::PeerReady { leaf, epoch } => self.keys.peer_ready(leaf, epoch, now),
            Output::Sending { allowed } => self.keys.allow_sending(allowed),
            Output::End => self.keys.end(),
            Output::Event(event) => {
                if let SessionEvent::EpochBegan { epoch, roster, .. } = &event {
                    self.keys.roster(*epoch, roster);
                    if self.observer.audits_keys()
                        && self.session.epoch() == Some(*epoch)
                        && let Some(key) = self.session.base_key_for_audit()
                    {
                        self.observer.base_key(*epoch, key);
                    }
                }
                self.observer.session(&event);
                if let SessionEvent::EpochBegan { epoch, .. } = event
                    && self.session.epoch() == Some(epoch)
                    && let Some(code) = self.session.verification_code()
                {
                    self.observer.verification_code(epoch, &code.to_string());
                }
            }
        }
    }

    /// Lets the keys do what is due. Returns when they want to be driven again.
    fn drive_keys(&mut self) -> tokio::time::Instant {
        let now = self.keys.now();
        let driven = self.keys.drive(now);
        for event in driven.events {
            match event {
                Event::SwitchSend { epoch, cause } => self.observer.switched(epoch, cause),
                Event::CounterLow { .. } => self.session.want_new_epoch(now),
                Event::RequestKeyframe { .. }
                | Event::EpochExpired { .. }
                | Event::MissingKey { .. } => {}
                other => tracing::debug!(?other, "an event of the media keys"),
            }
        }
        let far = tokio::time::Instant::now() + Duration::from_secs(3600);
        driven.deadline.map_or(far, |due| self.keys.instant(due))
    }

    fn deadline(&mut self) -> tokio::time::Instant {
        let keys = self.drive_keys();
        let session = self.session.next_deadline(self.keys.now());
        let session = session.map(|due| self.keys.instant(due));
        [session, self.goodbye, self.media_due, self.ways.deadline()]
            .into_iter()
            .flatten()
            .fold(keys, tokio::time::Instant::min)
    }

    fn moment(&self) -> Moment {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Moment { now: self.keys.now(), unix: UnixTime(unix) }
    }
}
