//! The `sframe` crate, in a process of its own for each backend.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::Subject;

/// A backend of the `sframe` crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// ring.
    Ring,
    /// RustCrypto.
    RustCrypto,
    /// OpenSSL.
    OpenSsl,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ring, Self::RustCrypto, Self::OpenSsl];

    /// The crate's feature for it.
    #[must_use]
    pub const fn feature(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::RustCrypto => "rust-crypto",
            Self::OpenSsl => "openssl",
        }
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "sframe_ring",
            Self::RustCrypto => "sframe_rustcrypto",
            Self::OpenSsl => "sframe_openssl",
        }
    }

    /// Builds the peer's program for this backend, beside the folder of this program. OpenSSL is the system's: the
    /// crate's own copy takes minutes to compile.
    ///
    /// # Errors
    /// When cargo fails; the error has the end of what it said.
    pub fn build(self) -> Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/sframe");
        let program = env::current_exe()?;
        let profile = program.ancestors().find(|folder| folder.ends_with("release"));
        let target = profile.and_then(Path::parent).unwrap_or(&folder);
        let target = target.join("media-bench-peers").join(self.name());
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
            .current_dir(&folder)
            .args(["build", "--release", "--locked", "--features", self.feature()])
            .arg("--target-dir")
            .arg(&target)
            .env("OPENSSL_NO_VENDOR", "1")
            .output()
            .context("cargo could not be run")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let end = said.lines().rev().take(3).collect::<Vec<_>>();
            bail!("sframe with {}: {}", self.feature(), end.join("; "));
        }
        Ok(target.join("release").join("sframe-peer"))
    }
}

/// A running peer, for one suite.
pub struct SframePeer {
    name: &'static str,
    suite: &'static str,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Cost { cpu_ns: f64 },
    Error { error: String },
}

impl SframePeer {
    /// Starts the program that [`Backend::build`] made. `suite` is `aes128gcm` or `aes256gcm`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, backend: Backend, suite: &'static str) -> Result<Self> {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", program.display()))?;
        let requests = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { name: backend.name(), suite, child, requests, answers })
    }

    fn ask(&mut self, operation: &str, size: usize, frames: u32) -> Result<f64> {
        writeln!(self.requests, "{operation} {} {size} {frames}", self.suite)?;
        self.requests.flush()?;
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "{} has ended", self.name);
        match serde_json::from_str(&line)? {
            Answer::Cost { cpu_ns } => Ok(cpu_ns),
            Answer::Error { error } => bail!("{}: {error}", self.name),
        }
    }
}

impl Drop for SframePeer {
    fn drop(&mut self) {
        // It ends by itself when its input does; whether it was there to be ended does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Subject for SframePeer {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn protect(&mut self, size: usize, frames: u32) -> Result<f64> {
        self.ask("protect", size, frames)
    }

    fn unprotect(&mut self, size: usize, frames: u32) -> Result<f64> {
        self.ask("unprotect", size, frames)
    }
}
