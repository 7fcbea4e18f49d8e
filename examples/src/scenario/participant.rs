//! One participant of a run, in a thread of its own, so that it can crash.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sfu_sim::protocol::{Identity, MediaKind};
use tokio::sync::oneshot;

use super::book::Watcher;
use super::file::ParticipantSpec;
use super::ledger::MemberId;
use crate::client::peer::TrackSpec;
use crate::client::{Client, ClientConfig, ClientError, Ending, Publication};
use crate::media::Clip;
use call_session::{Invite, SessionConfig};

/// What all participants of a run share.
pub struct Stage {
    /// The server's WebSocket.
    pub url: String,
    /// The local address for media.
    pub bind: SocketAddr,
    /// The picture.
    pub video: Arc<Clip>,
    /// The sound.
    pub audio: Arc<Clip>,
    /// Where recordings go.
    pub record: Option<PathBuf>,
    /// The secret of the call's invite link.
    pub invite: Invite,
    /// Where time starts.
    pub origin: Instant,
}

/// A participant that plays its part.
pub struct Participant {
    client: Client,
    member: MemberId,
    crash: Option<oneshot::Sender<()>>,
    thread: JoinHandle<Result<Option<Ending>, ClientError>>,
}

/// Why a participant could not take part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParticipantError {
    /// The thread or its runtime could not be made.
    #[error("a participant's thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The client could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Participant {
    /// Joins with this token. `first` is the frame of the clip to start with, so that not all send
    /// the same at the same time.
    ///
    /// # Errors
    ///
    /// [`ParticipantError`] if it cannot even try.
    pub fn join(
        stage: &Stage,
        spec: &ParticipantSpec,
        token: String,
        watcher: Watcher,
        first: usize,
    ) -> Result<Self, ParticipantError> {
        let member = watcher.member();
        let mut session = SessionConfig::new(Identity::new(spec.name.as_str()));
        session.invite = Some(stage.invite.clone());
        let record = match &stage.record {
            Some(folder) => {
                // Somebody who joins again must not overwrite what it recorded before.
                let folder = folder.join(format!("{}-{}", spec.name, member.0));
                std::fs::create_dir_all(&folder)?;
                Some(folder)
            }
            None => None,
        };
        let config = ClientConfig {
            urls: vec![stage.url.clone()],
            token,
            bind: stage.bind,
            publications: publications(stage, spec, first),
            record,
            session,
            observer: Arc::new(watcher),
            origin: stage.origin,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, run) = Client::new(config)?;
        let (crash, crashed) = oneshot::channel();
        let thread = std::thread::Builder::new().name(spec.name.clone()).spawn(move || {
            let outcome = runtime.block_on(async {
                tokio::select! {
                    ending = run => ending.map(Some),
                    Ok(()) = crashed => Ok(None),
                }
            });
            // Whatever still runs stops in the middle, as with a machine that lost its power.
            runtime.shutdown_background();
            outcome
        })?;
        Ok(Self { client, member, crash: Some(crash), thread })
    }

    /// The participation.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// Falls silent at once.
    pub fn crash(&mut self) {
        if let Some(crash) = self.crash.take() {
            // A participant that has ended cannot crash.
            let _ = crash.send(());
        }
    }

    /// Leaves in order.
    pub async fn leave(&self) {
        self.client.leave().await;
    }

    /// Removes somebody.
    pub async fn remove(&self, name: &str) {
        self.client.remove(Identity::new(name)).await;
    }

    /// Loses its signalling connection for a while.
    pub async fn lose_signalling(&self, away: Duration) {
        self.client.lose_signalling(away).await;
    }

    /// Waits for its end, at most so long; then it crashes. Returns what went wrong, in words.
    pub async fn finish(mut self, patience: Duration) -> Option<String> {
        let until = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let late = !self.thread.is_finished();
        self.crash();
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        match joined {
            Ok(Ok(Ok(_))) if late => Some("did not end in time".to_owned()),
            Ok(Ok(Ok(_))) => None,
            Ok(Ok(Err(error))) => Some(error.to_string()),
            Ok(Err(_)) | Err(_) => Some("its thread panicked".to_owned()),
        }
    }
}

fn publications(stage: &Stage, spec: &ParticipantSpec, first: usize) -> Vec<Publication> {
    let track = |kind, label: &str, clip: &Arc<Clip>| Publication {
        track: TrackSpec { kind, label: label.to_owned() },
        clip: Arc::clone(clip),
        first,
    };
    let video = spec.video.then(|| track(MediaKind::Video, "camera", &stage.video));
    let audio = spec.audio.then(|| track(MediaKind::Audio, "microphone", &stage.audio));
    video.into_iter().chain(audio).collect()
}
