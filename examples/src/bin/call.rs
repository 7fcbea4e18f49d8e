//! Plays an encrypted call from a scenario file and checks every promise.
//!
//! Exit codes: 0 all promises held; 1 the run could not be carried out; 2 wrong command line or
//! scenario file; 3 frames that could not be opened; 4 frames that differ from what was sent;
//! 5 somebody who had left could open later frames; 6 a newcomer could open earlier frames; 7 a
//! counter was used twice under one key; 8 a time or the loss is beyond the scenario's limits; 9 the
//! call did not go as the scenario says. If several apply, the gravest counts: 5, 6, 7, 4, 3, 9, 8.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use examples::scenario::file::Scenario;
use examples::scenario::report::{Report, Verdict};
use examples::scenario::{run, table};

/// The scenario that is played without arguments.
const DEFAULT: &str = "configs/scenarios/default.toml";

/// Plays an encrypted call from a scenario file and checks every promise.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 all promises held, 1 not carried out, 2 bad input, \
    3 undecryptable frames, 4 altered frames, 5 opened after leaving, 6 opened from before joining, \
    7 reused counter, 8 limit exceeded, 9 off script"
)]
struct Arguments {
    /// The scenario file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    scenario: PathBuf,
    /// Where the JSON report goes.
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// The folder for recordings of what every participant receives.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("FRAMELOCK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let scenario = match read(&arguments.scenario) {
        Ok(scenario) => scenario,
        Err(error) => return failed(&error, Verdict::BadInput),
    };
    match play(&arguments, &scenario) {
        Ok(report) => ExitCode::from(report.exit_code),
        Err(error) => failed(&error, Verdict::Broken),
    }
}

fn failed(error: &anyhow::Error, verdict: Verdict) -> ExitCode {
    // With standard error closed there is nobody to tell; the exit code says it.
    let _ = writeln!(std::io::stderr(), "call: {error:#}");
    ExitCode::from(verdict as u8)
}

fn read(path: &PathBuf) -> anyhow::Result<Scenario> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the scenario {} cannot be read", path.display()))?;
    Scenario::parse(&text).with_context(|| path.display().to_string())
}

fn play(arguments: &Arguments, scenario: &Scenario) -> anyhow::Result<Report> {
    if let Some(folder) = &arguments.record {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = run::run(scenario, arguments.record.clone()) => report.map_err(Into::into),
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })?;
    if let Some(path) = &arguments.report {
        std::fs::write(path, report.to_json()?)
            .with_context(|| format!("the report {} cannot be written", path.display()))?;
    }
    write!(std::io::stdout(), "{}", table::render(&report))?;
    Ok(report)
}
