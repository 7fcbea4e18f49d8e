//! The report and what is done with it.
//!
//! Exit codes: 0 done; 1 could not be carried out; 2 wrong command line; 3 `compare` found figures that are worse.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use media_bench::report::{self, Comparison, Document, Extent, Section};

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

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Report(arguments) => report(&arguments),
        Command::Compare(arguments) => compare(&arguments),
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
