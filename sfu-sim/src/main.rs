//! The SFU and delivery service as a program.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use sfu_sim::config::{Config, LogConfig, LogFormat};
use sfu_sim::server::Server;
use sfu_sim::token::Claims;
use tracing_subscriber::EnvFilter;

/// An SFU and MLS delivery service that never hold a key.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server until SIGTERM or ctrl-c.
    Serve {
        /// The configuration file; configs/sfu.toml documents it.
        config: PathBuf,
        /// Where logs are kept, instead of what the file says: nats://host:port (several with commas) for
        /// servers that share their calls, a directory, or "memory".
        #[arg(long, value_name = "WHERE", env = "FRAMELOCK_STORAGE", hide_env_values = true)]
        storage: Option<String>,
        /// The directory of the built page, instead of what the file says; guests get in.
        #[arg(long, value_name = "DIR")]
        page: Option<PathBuf>,
    },
    /// Print a token that lets one participant into one room.
    Token {
        /// The configuration file of the server.
        config: PathBuf,
        /// The room.
        #[arg(long)]
        room: String,
        /// The participant's identity, unique in the room.
        #[arg(long)]
        identity: String,
        /// The name that others see; the identity if it is left out.
        #[arg(long)]
        name: Option<String>,
        /// Let the participant remove others.
        #[arg(long)]
        moderator: bool,
        /// How long the token is good, in seconds.
        #[arg(long, default_value_t = 3600)]
        ttl: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { config, storage, page } => {
            let mut config = Config::load(&config)?;
            if let Some(place) = storage {
                config.store_in(&place);
            }
            if page.is_some() {
                config.page.directory = page;
                config.page.guests = true;
            }
            start_logging(&config.log)?;
            tokio::runtime::Runtime::new()?.block_on(serve(config))
        }
        Command::Token { config, room, identity, name, moderator, ttl } => {
            let config = Config::load(&config)?;
            let mut claims = Claims::new(room, identity, Duration::from_secs(ttl));
            if let Some(name) = name {
                claims = claims.with_name(name);
            }
            if moderator {
                claims = claims.as_moderator();
            }
            let token = config.token_key()?.issue(&claims)?;
            writeln!(std::io::stdout(), "{token}")?;
            Ok(())
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let server = Server::start(config).await?;
    stop_signal().await?;
    server.shutdown().await;
    Ok(())
}

#[cfg(unix)]
async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result.context("cannot listen for ctrl-c")?,
    }
    Ok(())
}

#[cfg(not(unix))]
async fn stop_signal() -> anyhow::Result<()> {
    tokio::signal::ctrl_c().await.context("cannot listen for ctrl-c")
}

fn start_logging(config: &LogConfig) -> anyhow::Result<()> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => EnvFilter::try_new(text).context("RUST_LOG is no filter")?,
        Err(_) => EnvFilter::try_new(&config.filter).context("log.filter is no filter")?,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
