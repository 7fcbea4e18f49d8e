//! Plays a scenario: the server in this process, the participants over UDP on loopback.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sfu_sim::protocol::RoomName;
use sfu_sim::token::{Claims, TokenError};
use sfu_sim::{Config, RunningServer, Server, StartError};

use super::book::Book;
use super::file::{Action, ParticipantSpec, Scenario, Step};
use super::ledger::IN_FLIGHT;
use super::participant::{Participant, ParticipantError, Stage};
use super::progress::Progress;
use super::report::{Measured, Report};
use super::usage::usage;
use crate::media::{CLIP_AUDIO, CLIP_VIDEO, MediaError, ivf, opus};
use call_session::Invite;

/// How often the display is renewed and news are looked for.
const TICK: Duration = Duration::from_millis(100);

/// How long a participant may take to end.
const FAREWELL: Duration = Duration::from_secs(4);

/// Why a run could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The server did not start.
    #[error("the server did not start: {0}")]
    Server(#[from] StartError),
    /// No token.
    #[error("no token could be issued: {0}")]
    Token(#[from] TokenError),
    /// A participant could not be started.
    #[error(transparent)]
    Participant(#[from] ParticipantError),
    /// The bundled clip cannot be read.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A file or a socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The operating system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// Plays the scenario and reports. `record` is the folder for recordings.
///
/// # Errors
///
/// [`RunError`] if the run cannot be carried out at all; everything else is in the report.
pub async fn run(scenario: &Scenario, record: Option<PathBuf>) -> Result<Report, RunError> {
    let server = start_server(scenario).await?;
    let origin = Instant::now();
    let book = Book::new(origin);
    let stage = Stage {
        url: server.url(),
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        video: Arc::new(ivf::read(CLIP_VIDEO)?),
        audio: Arc::new(opus::read(Cursor::new(CLIP_AUDIO))?),
        record,
        invite: Invite::new(&random()?),
        origin,
    };
    let progress = Progress::new(scenario.duration);
    let mut play = Play {
        scenario,
        server: &server,
        stage,
        book: &book,
        progress: &progress,
        present: BTreeMap::new(),
        leaving: Vec::new(),
    };
    for step in &scenario.steps {
        play.wait_until(step.at).await;
        play.step(step).await?;
    }
    play.wait_until(scenario.duration).await;
    let duration = book.now();
    play.hang_up().await;
    server.shutdown().await;
    progress.finish();

    let pages = book.pages();
    let tally = pages.ledger.tally();
    let audit = pages.audit.run(&pages.ledger, &pages.timeline);
    let mut mishaps = pages.mishaps.clone();
    if audit.control.opened == 0 {
        mishaps
            .push("the attempts with wrong keys prove nothing: right keys failed too".to_owned());
    }
    Ok(Report::new(&Measured {
        scenario: &scenario.name,
        participants: scenario.participants.len(),
        expected_changes: scenario.roster_changes(),
        limits: &scenario.limits,
        duration,
        tally: &tally,
        timeline: &pages.timeline,
        after_leave: audit.after_leave,
        before_join: audit.before_join,
        usage: usage(),
        mishaps: &mishaps,
    }))
}

async fn start_server(scenario: &Scenario) -> Result<RunningServer, RunError> {
    let mut config = Config::ephemeral();
    config.delivery.grace_ms = u64::try_from(scenario.grace.as_millis()).unwrap_or(u64::MAX);
    Ok(Server::start(config).await?)
}

fn random() -> Result<[u8; 32], RunError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| RunError::Random(error.to_string()))?;
    Ok(bytes)
}

struct Play<'a> {
    scenario: &'a Scenario,
    server: &'a RunningServer,
    stage: Stage,
    book: &'a Book,
    progress: &'a Progress,
    present: BTreeMap<String, Participant>,
    /// Those who have left or crashed, until their threads have ended.
    leaving: Vec<(String, Participant)>,
}

impl Play<'_> {
    async fn wait_until(&mut self, at: Duration) {
        loop {
            self.show();
            let now = self.book.now();
            if now >= at {
                return;
            }
            tokio::time::sleep(TICK.min(at - now)).await;
        }
    }

    fn show(&self) {
        let now = self.book.now();
        let mut pages = self.book.pages();
        for news in pages.news.drain(..) {
            self.progress.line(now, &news);
        }
        let state = format!(
            "{} in the call, epoch {}, {} frames opened, {} not",
            self.present.len(),
            pages.epoch,
            pages.opened,
            pages.unopened
        );
        drop(pages);
        self.progress.tick(now, &state);
    }

    async fn step(&mut self, step: &Step) -> Result<(), RunError> {
        for name in &step.who {
            self.progress.line(self.book.now(), &words(&step.action, name));
            match &step.action {
                Action::Join => self.join(name)?,
                Action::Leave => {
                    if let Some(participant) = self.present.remove(name) {
                        self.ends(&participant, false);
                        participant.leave().await;
                        self.leaving.push((name.clone(), participant));
                    }
                }
                Action::Crash => {
                    if let Some(mut participant) = self.present.remove(name) {
                        self.ends(&participant, true);
                        participant.crash();
                        self.leaving.push((name.clone(), participant));
                    }
                }
                Action::Reconnect { away } => {
                    if let Some(participant) = self.present.get(name) {
                        participant.lose_signalling(*away).await;
                    }
                }
                Action::Remove { by } => {
                    if let Some(participant) = self.present.remove(name) {
                        self.ends(&participant, false);
                        if let Some(by) = self.present.get(by) {
                            by.remove(name).await;
                        }
                        self.leaving.push((name.clone(), participant));
                    }
                }
            }
        }
        Ok(())
    }

    fn join(&mut self, name: &str) -> Result<(), RunError> {
        let Some(spec) = self.scenario.participant(name) else {
            return Ok(());
        };
        let mut claims = Claims::new(self.scenario.name.as_str(), name, Duration::from_secs(3600));
        claims.room = RoomName::new(self.scenario.name.as_str());
        claims.moderator = spec.moderator;
        let token = self.server.token(&claims)?;
        let somebody_sends = |other: &ParticipantSpec| {
            other.video && other.name != name && self.present.contains_key(&other.name)
        };
        let somebody_sent = self.scenario.participants.iter().any(somebody_sends);
        let watcher = self.book.join(name, spec.video || spec.audio, somebody_sent);
        let place = self.scenario.participants.iter().position(|known| known.name == name);
        let first = place.unwrap_or_default() * 31;
        let participant = Participant::join(&self.stage, spec, token, watcher, first)?;
        self.present.insert(name.to_owned(), participant);
        Ok(())
    }

    fn ends(&self, participant: &Participant, crashes: bool) {
        let now = self.book.now();
        let mut pages = self.book.pages();
        pages.ledger.end(participant.member(), now);
        if crashes {
            pages.timeline.crashed(participant.member(), now);
        } else {
            pages.timeline.ended(participant.member(), now);
        }
    }

    /// The scenario is over: what was sent until now may still arrive, then everybody leaves.
    async fn hang_up(&mut self) {
        for participant in self.present.values() {
            self.book.pages().ledger.end(participant.member(), self.book.now());
        }
        tokio::time::sleep(IN_FLIGHT).await;
        self.show();
        self.book.close();
        let present = std::mem::take(&mut self.present);
        for participant in present.values() {
            participant.leave().await;
        }
        let leaving = std::mem::take(&mut self.leaving);
        for (name, participant) in leaving.into_iter().chain(present) {
            if let Some(fault) = participant.finish(FAREWELL).await {
                self.book.pages().mishaps.push(format!("{name}: {fault}"));
            }
        }
    }
}

fn words(action: &Action, name: &str) -> String {
    match action {
        Action::Join => format!("{name} joins"),
        Action::Leave => format!("{name} leaves"),
        Action::Crash => format!("{name} crashes without goodbye"),
        Action::Reconnect { away } => {
            format!("{name} loses the connection for {:.1} s", away.as_secs_f64())
        }
        Action::Remove { by } => format!("{by} removes {name}"),
    }
}
