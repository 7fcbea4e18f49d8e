//! The report and what is done with it, and the simulation.
//!
//! Exit codes: 0 done; 1 could not be carried out; 2 wrong command line; 3 `compare` found figures that are worse;
//! 4 `simulate` missed a target.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use media_bench::report::{self, Comparison, Document, Extent, Section};
use media_bench::simulate::{self, Scenario};

/// Benchmarks beside the peers.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures this project beside its peers and writes report.json and report.html.
    Report(ReportArguments),
    /// Shows what is worse in the newer of two reports. Exit code 3 when something is.
    Compare(CompareArguments),
    /// Plays a call under virtual time. Exit code 4 when a target of the scenario is missed.
    Simulate(SimulateArguments),
}

#[derive(Debug, clap::Args)]
struct ReportArguments {
    /// The folder for the report.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A short run with rough figures.
    #[arg(long)]
    quick: bool,
    /// Only this section; may be given more than once.
    #[arg(long, value_name = "SECTION")]
    only: Vec<Section>,
}

#[derive(Debug, clap::Args)]
struct CompareArguments {
    /// The older report.json.
    old: PathBuf,
    /// The newer report.json.
    new: PathBuf,
    /// By how many percent a figure has to be worse to be shown.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    threshold: f64,
    /// Compares the absolute times too: only between runs on the same idle machine.
    #[arg(long)]
    times: bool,
}

#[derive(Debug, clap::Args)]
struct SimulateArguments {
    /// The scenario.
    scenario: PathBuf,
    /// The seed; the same one gives the same report.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many seeds are played, from that one on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    runs: u64,
    /// Where the report goes: one JSON object, or one on each line where several seeds are played.
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Report(arguments) => report(&arguments),
        Command::Compare(arguments) => compare(&arguments),
        Command::Simulate(arguments) => simulate(&arguments),
    };
    done.unwrap_or_else(|error| {
        // With standard error closed there is nobody to tell; the exit code says it.
        let _ = writeln!(io::stderr(), "media-bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn report(arguments: &ReportArguments) -> Result<ExitCode> {
    let ReportArguments { out, quick, only } = arguments;
    fs::create_dir_all(out).with_context(|| format!("{}", out.display()))?;
    let extent = if *quick { Extent::Quick } else { Extent::Full };
    let document = report::run(extent, only, true)?;
    document.write(&out.join("report.json"))?;
    let page = out.join("report.html");
    fs::write(&page, report::html(&document)?).with_context(|| format!("{}", page.display()))?;
    writeln!(io::stdout(), "{}\n{}", report::summary(&document), page.display())?;
    Ok(ExitCode::SUCCESS)
}

fn compare(arguments: &CompareArguments) -> Result<ExitCode> {
    let CompareArguments { old, new, threshold, times } = arguments;
    let (old, new) = (Document::read(old)?, Document::read(new)?);
    let comparison = Comparison::new(&old, &new, threshold / 100.0, *times);
    write!(io::stdout(), "{}", comparison.show())?;
    Ok(if comparison.slower.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn simulate(arguments: &SimulateArguments) -> Result<ExitCode> {
    let SimulateArguments { scenario, seed, runs, report } = arguments;
    let scenario = Scenario::load(scenario)?;
    let mut out = String::new();
    let mut met = true;
    for seed in *seed..seed.saturating_add(*runs) {
        let began = Instant::now();
        let found = simulate::play(&scenario, seed)?;
        out += &if *runs == 1 { found.to_json()? } else { found.to_json_line()? };
        met &= found.targets_met;
        writeln!(io::stdout(), "{}", simulate::summary(&found, began.elapsed()))?;
    }
    if let Some(path) = report {
        fs::write(path, out).with_context(|| format!("{}", path.display()))?;
    }
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::from(4) })
}
