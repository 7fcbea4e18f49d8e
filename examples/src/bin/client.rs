//! Joins a running call: sends a file or the bundled clip, records what it receives, and shows who is
//! there, the epoch, the verification code, and what is wrong when something is.
//!
//! Exit codes: 0 left in order; 1 something went wrong, in words on standard error; 2 wrong command
//! line.

use std::io::{Cursor, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use call_session::{Invite, SessionConfig, Status};
use clap::Parser;
use examples::client::peer::TrackSpec;
use examples::client::{Client, ClientConfig, MediaOptions, Packetization, Publication};
use examples::media::{CLIP_AUDIO, CLIP_VIDEO, Clip, ivf, opus};
use examples::view::{View, claims_of};
use sfu_sim::protocol::{Identity, MediaKind};

/// Joins an encrypted call on a running server.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The server's WebSocket, for example ws://127.0.0.1:7880/v1/ws; given several times, for servers that
    /// share their calls, another one is used when one does not answer.
    #[arg(long, value_name = "URL", required = true)]
    url: Vec<String>,
    /// The token; `sfu-sim token` issues one.
    #[arg(long, env = "FRAMELOCK_TOKEN", hide_env_values = true)]
    token: String,
    /// The secret of the invite link, the same for all. Without it a server could add itself.
    #[arg(long, env = "FRAMELOCK_INVITE", hide_env_values = true)]
    invite: Option<String>,
    /// A VP8 file in IVF to send in a loop; the bundled clip if left out.
    #[arg(long, value_name = "FILE.ivf")]
    video: Option<PathBuf>,
    /// An Opus file in Ogg to send in a loop; the bundled clip if left out.
    #[arg(long, value_name = "FILE.ogg")]
    audio: Option<PathBuf>,
    /// Sends nothing.
    #[arg(long)]
    listen_only: bool,
    /// The folder for recordings, a file for each track.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Leaves after so many seconds; without it, at Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    leave_after: Option<f64>,
    /// Packetizes by codec instead of in the SFrame payload format. Needed where browsers take part.
    #[arg(long)]
    for_browsers: bool,
    /// The local address for media, a concrete one.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("FRAMELOCK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody to tell; the exit code says it.
            let _ = writeln!(std::io::stderr(), "client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let leave_after = match arguments.leave_after {
        Some(seconds) => Some(
            Duration::try_from_secs_f64(seconds).context("--leave-after expects some seconds")?,
        ),
        None => None,
    };
    let publications = publications(&arguments)?;
    if let Some(folder) = &arguments.record {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let name = claims_of(&arguments.token).context("the token is not one of a server's")?;
    let view = Arc::new(View::new(name.as_str()));
    let mut session = SessionConfig::new(Identity::new(name));
    session.invite = arguments.invite.as_ref().map(|secret| Invite::new(secret.as_bytes()));
    let packetization =
        if arguments.for_browsers { Packetization::Codec } else { Packetization::SFrame };
    let config = ClientConfig {
        urls: arguments.url,
        token: arguments.token,
        bind: SocketAddr::new(arguments.bind, 0),
        publications,
        record: arguments.record,
        session,
        observer: Arc::clone(&view) as _,
        origin: Instant::now(),
    };
    let (client, driver) = {
        let options = MediaOptions { packetization, ..MediaOptions::default() };
        Client::with_media(config, options)?
    };

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ending = runtime.block_on(async move {
        let mut driver = std::pin::pin!(driver);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut over = std::pin::pin!(async {
            match leave_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        });
        let mut leaving = false;
        loop {
            tokio::select! {
                ending = &mut driver => return ending,
                _ = tick.tick() => view.show(),
                () = &mut over, if !leaving => {
                    leaving = true;
                    client.leave().await;
                }
                _ = tokio::signal::ctrl_c(), if !leaving => {
                    leaving = true;
                    client.leave().await;
                }
            }
        }
    })?;
    match ending.status {
        Status::Failed { reason } => bail!(reason),
        Status::Removed => bail!("a moderator removed us from the call"),
        _ => Ok(()),
    }
}

fn publications(arguments: &Arguments) -> anyhow::Result<Vec<Publication>> {
    if arguments.listen_only {
        return Ok(Vec::new());
    }
    let video = match &arguments.video {
        Some(path) => ivf::read(open(path)?).with_context(|| path.display().to_string())?,
        None => ivf::read(CLIP_VIDEO)?,
    };
    let audio = match &arguments.audio {
        Some(path) => opus::read(open(path)?).with_context(|| path.display().to_string())?,
        None => opus::read(Cursor::new(CLIP_AUDIO))?,
    };
    let publication = |kind, label: &str, clip: Clip| Publication {
        track: TrackSpec { kind, label: label.to_owned() },
        clip: Arc::new(clip),
        first: 0,
    };
    Ok(vec![
        publication(MediaKind::Video, "camera", video),
        publication(MediaKind::Audio, "microphone", audio),
    ])
}

fn open(path: &Path) -> anyhow::Result<std::io::BufReader<std::fs::File>> {
    let file = std::fs::File::open(path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(std::io::BufReader::new(file))
}
