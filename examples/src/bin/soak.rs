//! Signalling clients that come and go for a long time, and what that does to the server's memory.
//!
//! The server runs in a process of its own; the clients are real members without media, each under a name of its
//! own. Half of them leave in order, half fall silent. Exit codes: 0 the memory stayed flat and all went well,
//! 1 not, 2 wrong command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use call_session::{Invite, Moment, Output, Session, SessionConfig, SessionEvent, Status};
use clap::Parser;
use examples::client::signalling::Signalling;
use mls::UnixTime;
use sfu_sim::config::SecretText;
use sfu_sim::protocol::{ClientMessage, Identity, SessionRequest};
use sfu_sim::token::{Claims, TokenKey};
use sfu_sim::{Config, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Of the processes of one run only: the server listens on loopback.
const SECRET: &str = "the secret of a soak, known to both of its processes";

/// Lets clients come and go, and watches the server's memory.
#[derive(Clone, Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many clients are there at a time.
    #[arg(long, default_value_t = 200)]
    clients: u64,
    /// Over how many rooms they spread.
    #[arg(long, default_value_t = 10)]
    rooms: u64,
    /// How long, in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// How long a client stays on average, in seconds.
    #[arg(long, default_value_t = 60)]
    stay: u64,
    /// How much the memory may grow from the second quarter to the last, in per cent.
    #[arg(long, default_value_t = 10)]
    growth: u64,
    /// Runs the server instead, and writes its URL into this file.
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Counts {
    joined: AtomicU64,
    left: AtomicU64,
    silent: AtomicU64,
    failed: AtomicU64,
    epochs: AtomicU64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| {
        runtime.block_on(async {
            match &arguments.serve {
                Some(file) => serve(file).await,
                None => soak(&arguments).await,
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody to tell; the exit code says it.
            let _ = writeln!(std::io::stderr(), "soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(file: &std::path::Path) -> anyhow::Result<()> {
    let mut config = Config::ephemeral();
    config.tokens.secret = Some(SecretText::new(SECRET));
    config.rooms.max_participants = 4096;
    config.delivery.max_members = 4096;
    // What is kept of the log for members that were away, and of key packages, is full early in the run.
    config.delivery.log_bytes = 64 << 10;
    config.delivery.used_key_packages = 64;
    let folder = file.with_extension("data");
    config.storage.path = Some(folder);
    let server = Server::start(config).await?;
    let whole = file.with_extension("new");
    std::fs::write(&whole, server.url())?;
    std::fs::rename(whole, file)?;
    std::future::pending().await
}

struct ServerProcess {
    process: Child,
    folder: PathBuf,
    url: String,
}

impl ServerProcess {
    async fn start() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("framelock-soak-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("url");
        let process = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg(&file)
            .env_remove("FRAMELOCK_TOKEN_SECRET")
            .stdin(Stdio::null())
            .spawn()?;
        let mut server = Self { process, folder, url: String::new() };
        let given_up = Instant::now() + Duration::from_secs(60);
        while server.url.is_empty() {
            ensure!(Instant::now() < given_up, "the server does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.url = std::fs::read_to_string(&file).unwrap_or_default();
        }
        Ok(server)
    }

    /// One of its counters.
    async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let address = self.url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = "GET /metrics HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).with_context(|| format!("no {name}"))
    }

    /// Its resident memory, in KiB.
    fn resident(&self) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.context("the process has no resident memory")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn soak(arguments: &Arguments) -> anyhow::Result<()> {
    let server = ServerProcess::start().await?;
    let counts = Arc::new(Counts::default());
    let started = Instant::now();
    let until = started + Duration::from_secs(arguments.seconds);
    for seat in 0..arguments.clients {
        let seat = Seat {
            number: seat,
            room: format!("soak-{}", seat % arguments.rooms.max(1)),
            url: server.url.clone(),
            stay: arguments.stay,
            until,
        };
        tokio::spawn(occupy(seat, Arc::clone(&counts)));
    }
    let mut samples = Vec::new();
    let mut logs = Vec::new();
    let step = Duration::from_millis((arguments.seconds * 1000 / 120).clamp(100, 5_000));
    while Instant::now() < until {
        tokio::time::sleep(step).await;
        samples.push(server.resident()?);
        logs.push(server.metric("framelock_log_bytes").await? / 1024);
    }
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or(0)
    };
    let quarter = samples.len() / 4;
    let early = |all: &[u64]| median(all.get(quarter..2 * quarter).unwrap_or_default());
    let late = |all: &[u64]| median(all.get(3 * quarter..).unwrap_or_default());
    let (log, log_later) = (early(&logs), late(&logs));
    let (early, late) = (early(&samples), late(&samples));
    let most = samples.iter().max().copied().unwrap_or(0);
    writeln!(
        std::io::stdout(),
        "{} clients, {} s: {} joined, {} left, {} fell silent, {} failed, {} epochs entered\n\
         resident memory of the server: second quarter {early} KiB, last quarter {late} KiB, most {most} KiB\n\
         logs in it: second quarter {log} KiB, last quarter {log_later} KiB",
        arguments.clients,
        arguments.seconds,
        get(&counts.joined),
        get(&counts.left),
        get(&counts.silent),
        get(&counts.failed),
        get(&counts.epochs),
    )?;
    if get(&counts.joined) < arguments.clients {
        bail!("not everybody came in");
    }
    if get(&counts.failed) > 0 {
        bail!("clients failed");
    }
    if late > early + early * arguments.growth / 100 {
        bail!("the memory grew by more than {} %", arguments.growth);
    }
    Ok(())
}

/// A place that is taken by one client after the other.
struct Seat {
    number: u64,
    room: String,
    url: String,
    stay: u64,
    until: Instant,
}

async fn occupy(seat: Seat, counts: Arc<Counts>) {
    // Not all at once: a room that fills up has its own test.
    tokio::time::sleep(Duration::from_millis(seat.number * 50)).await;
    for turn in 0u64.. {
        // Between half and one and a half of the average, spread evenly over seats and turns.
        let spread = (seat.number * 7919 + turn * 104_729) % 1000;
        let span = Duration::from_millis(seat.stay * (500 + spread));
        let falls_silent = (seat.number + turn).is_multiple_of(2);
        let name = format!("seat-{}-{turn}", seat.number);
        if let Err(error) = visit(&name, &seat, span, falls_silent, &counts).await
            && Instant::now() < seat.until
        {
            if counts.failed.fetch_add(1, Ordering::Relaxed) < 10 {
                let _ = writeln!(std::io::stderr(), "{name}: {error:#}");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn visit(
    name: &str,
    seat: &Seat,
    span: Duration,
    falls_silent: bool,
    counts: &Counts,
) -> anyhow::Result<()> {
    let claims = Claims::new(seat.room.as_str(), name, Duration::from_secs(3600));
    let token = TokenKey::new(SECRET.as_bytes())?.issue(&claims)?;
    let mut config = SessionConfig::new(Identity::new(name));
    config.invite = Some(Invite::new(b"the invite link of a soak"));
    let mut session = Session::new(config, Box::new(mls::crypto::os_rng()))?;
    let mut signalling = Signalling::connect(&seat.url, &token).await?;
    let origin = Instant::now();
    let moment = || Moment {
        now: sframe_bridge::Now::from_micros(origin.elapsed().as_micros().try_into().unwrap_or(0)),
        unix: UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |at| at.as_secs())),
    };
    let mut ping = tokio::time::interval(Duration::from_secs(4));
    let mut leaving = None;
    let mut member = false;
    loop {
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(message) => signalling.send(&message).await?,
                Output::Event(SessionEvent::EpochBegan { .. }) => {
                    counts.epochs.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut member, true) {
                        counts.joined.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // Without media there are no keys to install.
                _ => {}
            }
        }
        match session.status() {
            Status::Left => {
                counts.left.fetch_add(1, Ordering::Relaxed);
                let _ = signalling.send(&ClientMessage::event(SessionRequest::Bye)).await;
                signalling.close().await;
                return Ok(());
            }
            Status::Failed { reason } => bail!("{reason}"),
            _ => {}
        }
        let elapsed = origin.elapsed();
        if elapsed >= span && leaving.is_none() {
            if falls_silent {
                counts.silent.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            leaving = Some(Instant::now());
            session.leave();
            continue;
        }
        ensure!(
            leaving.is_none_or(|since| since.elapsed() < Duration::from_secs(30)),
            "the server does not take the goodbye"
        );
        let wait = session.next_deadline(moment().now).map_or(Duration::from_secs(1), |due| {
            Duration::from_micros(due.as_micros().saturating_sub(moment().now.as_micros()))
        });
        let wait = wait.min(span.saturating_sub(elapsed).max(Duration::from_millis(50)));
        tokio::select! {
            message = signalling.receive() => session.handle_message(message?, moment()),
            _ = ping.tick() => signalling.send(&ClientMessage::event(SessionRequest::Ping)).await?,
            () = tokio::time::sleep(wait) => session.handle_timeout(moment()),
        }
    }
}
