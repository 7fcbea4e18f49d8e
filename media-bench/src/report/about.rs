//! Where the figures come from.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use procfs::Current;
use serde::{Deserialize, Serialize};

/// CPU features that decide how fast the ciphers are.
const FEATURES: [&str; 11] = [
    "aes",
    "pclmulqdq",
    "vaes",
    "vpclmulqdq",
    "avx2",
    "avx512f",
    "avx512vl",
    "sha_ni",
    "adx",
    "bmi2",
    "asimd",
];

/// The packages whose versions are told.
const PACKAGES: [&str; 10] = [
    "mls-rs",
    "mls-rs-crypto-awslc",
    "mls-rs-crypto-rustcrypto",
    "openmls",
    "openmls_rust_crypto",
    "aws-lc-rs",
    "ring",
    "aes-gcm",
    "sframe",
    "p256",
];

/// Machine, build and versions of a report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// When the run began, UTC.
    pub date: String,
    /// The commit of the sources, with a `+` when they had been changed since; empty when unknown.
    pub commit: String,
    /// True for a short run, whose figures are rough.
    pub quick: bool,
    /// The processor.
    pub cpu: String,
    /// Those of its features that decide how fast ciphers are.
    pub cpu_features: Vec<String>,
    /// Processors that were available.
    pub threads: usize,
    /// The load average of the last minute when the run began. Far from 0: something else was running.
    pub load: f64,
    /// The load average of the last minute when the run ended.
    pub load_at_end: f64,
    /// Kernel and architecture.
    pub system: String,
    /// The compiler.
    pub rustc: String,
    /// The target triple.
    pub target: String,
    /// Optimisation level of this program.
    pub opt_level: String,
    /// Flags given to the compiler beyond the profile's.
    pub rustflags: String,
    /// Seconds that the run took.
    pub seconds: f64,
    /// Versions of the peers and of the cryptographic libraries, as locked.
    pub versions: BTreeMap<String, String>,
}

impl About {
    /// What can be found out when a run begins.
    #[must_use]
    pub fn gather(quick: bool) -> Self {
        let cpu = procfs::CpuInfo::current().ok();
        let features = cpu.as_ref().and_then(|cpu| cpu.flags(0)).unwrap_or_default();
        let listed = |name: &&str| features.contains(name);
        let model = cpu.as_ref().and_then(|cpu| cpu.model_name(0)).unwrap_or("unknown");
        let kernel = procfs::sys::kernel::Version::current();
        let kernel = kernel.map(|v| format!("Linux {}.{}", v.major, v.minor));
        Self {
            date: date(SystemTime::now()),
            commit: commit(),
            quick,
            cpu: model.to_owned(),
            cpu_features: FEATURES.iter().filter(|f| listed(f)).map(ToString::to_string).collect(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            load: load(),
            load_at_end: 0.0,
            system: format!("{}, {}", kernel.unwrap_or_default(), std::env::consts::ARCH),
            rustc: env!("MEDIA_BENCH_RUSTC").to_owned(),
            target: env!("MEDIA_BENCH_TARGET").to_owned(),
            opt_level: env!("MEDIA_BENCH_OPT_LEVEL").to_owned(),
            rustflags: env!("MEDIA_BENCH_RUSTFLAGS").to_owned(),
            seconds: 0.0,
            versions: versions(include_str!("../../../Cargo.lock")),
        }
    }

    /// Adds what is known when the run has ended.
    pub fn finish(&mut self, seconds: f64) {
        self.seconds = seconds;
        self.load_at_end = load();
    }
}

fn load() -> f64 {
    procfs::LoadAverage::current().map_or(0.0, |load| f64::from(load.one))
}

/// The commit of the sources that the program was built from, if they are still there.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return String::new() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":/*.rs"]);
    if changed.is_some_and(|changed| !changed.is_empty()) { commit + "+" } else { commit }
}

/// The versions that a Cargo.lock holds. A package that is there twice has both.
fn versions(lock: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        let value = |line: &str, key: &str| {
            Some(line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned())
        };
        let Some(name) = value(line, "name").filter(|name| PACKAGES.contains(&name.as_str()))
        else {
            continue;
        };
        if let Some(version) = lines.next().and_then(|line| value(line, "version")) {
            let known = found.entry(name).or_default();
            if !known.is_empty() {
                known.push_str(", ");
            }
            known.push_str(&version);
        }
    }
    found
}

/// `2026-01-31 12:00 UTC`.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    // Days are counted from 1 March of year 0, so that leap days come last in their year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let year = era * 400 + year;
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01 00:00 UTC");
        assert_eq!(at(951_825_599), "2000-02-29 11:59 UTC");
        assert_eq!(at(951_868_800), "2000-03-01 00:00 UTC");
        assert_eq!(at(1_798_761_599), "2026-12-31 23:59 UTC");
    }

    #[test]
    fn every_package_is_locked() {
        let found = versions(include_str!("../../../Cargo.lock"));
        assert_eq!(found.len(), PACKAGES.len(), "{found:?}");
        assert!(found["aes-gcm"].contains(", "), "{found:?}");
    }
}
