//! The file that says what is simulated.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sfu_sim::delivery::DeliveryConfig;

/// A call, its network, what happens in it, and what is expected of it. Read from TOML; README.md beside this
/// crate and `SIMULATION.md` say what the settings mean.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// How long it is played and measured, after the first members have come, in seconds.
    pub duration_s: f64,
    /// How many members there are at the start.
    pub members: u32,
    /// The time in which they come, in seconds. It is not measured.
    pub arrival_s: f64,
    /// Which members run all of the real code.
    #[serde(default)]
    pub fidelity: Fidelity,
    /// The network of every member.
    #[serde(default)]
    pub network: NetworkSpec,
    /// How signalling travels.
    #[serde(default)]
    pub signalling: SignallingSpec,
    /// What computing costs.
    #[serde(default)]
    pub computing: ComputingSpec,
    /// What is sent and to whom.
    #[serde(default)]
    pub media: MediaSpec,
    /// What happens to the roster and to members.
    #[serde(default)]
    pub process: Vec<Process>,
    /// How the delivery service is set up.
    #[serde(default)]
    pub delivery: DeliveryConfig,
    /// What has to be reached.
    #[serde(default)]
    pub targets: Targets,
}

/// Which members run all of the real code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// All of them.
    #[default]
    Full,
    /// The presenters and those who are asked to commit; the others are stand-ins.
    Sample,
}

/// A member's way to the server; everybody draws its own latency.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// The median over the members of the latency one way, without jitter, in milliseconds.
    pub latency_ms: f64,
    /// The geometric standard deviation of that latency over the members, from 1.
    pub latency_spread: f64,
    /// The median jitter of a packet, in milliseconds.
    pub jitter_ms: f64,
    /// The geometric standard deviation of the jitter, from 1.
    pub jitter_spread: f64,
    /// The share of packets lost each way.
    pub loss: f64,
    /// The mean length of a burst of losses in milliseconds; 0 for independent losses.
    pub burst_ms: f64,
    /// The share of packets that come later by [`reorder_ms`](Self::reorder_ms).
    pub reorder: f64,
    /// By how much, in milliseconds.
    pub reorder_ms: f64,
    /// The share of datagrams that come twice.
    pub duplicate: f64,
    /// A member's bandwidth to the server for signalling, in kbit/s.
    pub up_kbit_s: f64,
    /// The same from the server.
    pub down_kbit_s: f64,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            latency_ms: 47.0,
            latency_spread: 1.35,
            jitter_ms: 3.0,
            jitter_spread: 2.0,
            loss: 0.02,
            burst_ms: 0.0,
            reorder: 0.0,
            reorder_ms: 20.0,
            duplicate: 0.0,
            up_kbit_s: 1_000.0,
            down_kbit_s: 4_000.0,
        }
    }
}

/// How signalling travels.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignallingSpec {
    /// The path.
    pub path: SignallingPath,
    /// How long a connection may be silent before the server gives it up, in milliseconds.
    pub idle_ms: u64,
    /// How long a durable append takes, in milliseconds.
    pub append_ms: f64,
}

impl Default for SignallingSpec {
    fn default() -> Self {
        Self { path: SignallingPath::Stream, idle_ms: 15_000, append_ms: 4.0 }
    }
}

/// The way of a message between member and server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignallingPath {
    /// One TCP connection.
    #[default]
    Stream,
    /// The same messages over two TCP connections; what comes first counts.
    TwoStreams,
    /// One TCP connection, and beside it datagrams for what is urgent.
    Datagrams,
}

/// What computing costs, as multiples of the costs measured on the reference machine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComputingSpec {
    /// Of most members.
    pub factor: f64,
    /// The share of members that are slow.
    pub slow_share: f64,
    /// The multiple of those.
    pub slow_factor: f64,
}

impl Default for ComputingSpec {
    fn default() -> Self {
        Self { factor: 2.0, slow_share: 0.05, slow_factor: 10.0 }
    }
}

/// What is sent and to whom, as an SFU with active speakers and last-N forwards it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaSpec {
    /// How many members are heard at a time.
    pub speakers: u32,
    /// How many are seen at a time; the first of them in the high layer of their simulcast.
    pub videos: u32,
    /// The mean time that somebody stays among them, in seconds.
    pub turn_s: f64,
    /// Only so many members, the first to come, ever send; 0 for all.
    pub presenters: u32,
    /// So many members open every frame that reaches them with the real cryptography.
    pub samples: u32,
}

impl Default for MediaSpec {
    fn default() -> Self {
        Self { speakers: 3, videos: 9, turn_s: 5.0, presenters: 0, samples: 4 }
    }
}

/// Something that happens again and again, or once.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Process {
    /// Somebody joins or leaves, in turn, each so many seconds.
    Churn {
        /// The time between two changes, in seconds.
        every_s: f64,
    },
    /// Many join.
    Storm {
        /// When it begins, in seconds.
        at_s: f64,
        /// How long it takes, in seconds.
        over_s: f64,
        /// How many join.
        members: u32,
    },
    /// Many leave.
    Exodus {
        /// When it begins, in seconds.
        at_s: f64,
        /// How long it takes, in seconds.
        over_s: f64,
        /// How many leave.
        members: u32,
    },
    /// Each so many seconds somebody's network is gone for a while.
    Flaky {
        /// The time between two such events, in seconds.
        every_s: f64,
        /// For how long, in seconds.
        away_s: f64,
    },
    /// Each so many seconds somebody's program dies.
    Crash {
        /// The time between two crashes, in seconds.
        every_s: f64,
    },
    /// Each so many seconds somebody's computer sleeps.
    Sleep {
        /// The time between two such events, in seconds.
        every_s: f64,
        /// For how long, in seconds.
        asleep_s: f64,
    },
    /// A share of the members cannot reach the server for a while.
    Partition {
        /// When it begins, in seconds.
        at_s: f64,
        /// For how long, in seconds.
        for_s: f64,
        /// The share of the members.
        share: f64,
    },
}

/// What has to be reached; what is left out is not asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Targets {
    /// Frames undecryptable for lack of a key, at most.
    pub undecryptable_no_key: Option<u64>,
    /// The 99th percentile of a rotation, in milliseconds, below.
    pub rotation_p99_ms: Option<f64>,
    /// The 99th percentile of the exposure after a removal, in milliseconds, below.
    pub exposure_p99_ms: Option<f64>,
    /// Key traffic of a member, in kbit/s, below.
    pub key_traffic_kbit_s: Option<f64>,
    /// The 99th percentile from joining to the first frame, in milliseconds, below.
    pub join_to_first_frame_p99_ms: Option<f64>,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or makes no sense.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    /// Reads a scenario.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text)?;
        ensure!(
            !table.contains_key("participant"),
            "this scenario has a cast of its own: play it with `call --scenario`"
        );
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.members > 0, "expected at least one member");
        ensure!(self.duration_s > 0.0 && self.arrival_s >= 0.0, "expected times from 0");
        let network = &self.network;
        ensure!((0.0..=0.9).contains(&network.loss), "expected a loss from 0 to 0.9");
        ensure!(
            network.latency_spread >= 1.0 && network.jitter_spread >= 1.0,
            "expected spreads from 1"
        );
        ensure!(network.up_kbit_s > 0.0 && network.down_kbit_s > 0.0, "expected some bandwidth");
        let period = |process: &Process| match process {
            Process::Churn { every_s }
            | Process::Flaky { every_s, .. }
            | Process::Crash { every_s }
            | Process::Sleep { every_s, .. } => *every_s,
            _ => 1.0,
        };
        ensure!(self.process.iter().all(|it| period(it) > 0.0), "expected periods above 0");
        ensure!(
            self.fidelity == Fidelity::Full || self.media.presenters > 0,
            "expected a number of presenters: stand-ins send nothing"
        );
        Ok(())
    }

    /// When measuring begins.
    pub(super) fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.arrival_s) + SETTLING
    }

    /// When it ends.
    pub(super) fn end(&self) -> Duration {
        self.warm_up() + Duration::from_secs_f64(self.duration_s)
    }
}

/// The time after the first members have come in which the call comes to rest.
const SETTLING: Duration = Duration::from_secs(10);

/// The same after the end: TCP may have backed off for long.
pub(super) const REST: Duration = Duration::from_secs(30);
