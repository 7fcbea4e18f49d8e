//! The server's configuration file (TOML). `configs/sfu.toml` documents every line of it.

mod page;
mod secret;
mod storage;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::page::PageConfig;
pub(crate) use self::secret::random_name;
use self::secret::random_secret;
pub use self::secret::{SECRET_VARIABLE, SecretText};
pub use self::storage::{NatsConfig, StorageConfig};
use crate::delivery::DeliveryConfig;
use crate::token::TokenError;

/// Everything that can be set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The WebSocket side.
    pub signalling: SignallingConfig,
    /// The UDP side.
    pub media: MediaConfig,
    /// Who may enter.
    pub tokens: TokenConfig,
    /// Which rooms there are.
    pub rooms: RoomConfig,
    /// What a client may do.
    pub limits: LimitConfig,
    /// How long things may take.
    pub timeouts: TimeoutConfig,
    /// Where logs and groups are kept.
    pub storage: StorageConfig,
    /// How the delivery service behaves. Its `grace_ms` is also how long a participant without connection keeps
    /// its place in the room.
    pub delivery: DeliveryConfig,
    /// The page for people.
    pub page: PageConfig,
    /// What the server writes to its standard error.
    pub log: LogConfig,
}

/// The WebSocket side.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignallingConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The certificate chain (PEM). With it and the key the server speaks TLS only.
    pub tls_certificate: Option<PathBuf>,
    /// The private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Signalling connections at a time.
    pub max_connections: usize,
}

/// The UDP side.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The addresses at which clients reach the socket, if `listen` is not one.
    pub public_addresses: Vec<IpAddr>,
    /// The port that goes with them, if a NAT changes it.
    pub public_port: Option<u16>,
    /// A publisher is asked for a keyframe at most this often, in milliseconds.
    pub keyframe_interval_ms: u64,
    /// Whether clients may use datagrams for urgent messages ([`datagrams`](crate::protocol::datagrams)).
    pub datagrams: bool,
}

/// Who may enter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// The secret itself, at least 32 bytes.
    pub secret: Option<SecretText>,
    /// A file with the secret. Made with a random one if it does not exist.
    pub secret_file: Option<PathBuf>,
}

/// Which rooms there are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomConfig {
    /// Whether any room that a good token names is opened; else only those in `names`.
    pub open: bool,
    /// The rooms there are if `open` is false.
    pub names: Vec<String>,
    /// Rooms at a time.
    pub max_rooms: usize,
    /// Participants in a room.
    pub max_participants: usize,
}

/// What a client may do.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// The longest message that is read, in bytes.
    pub message_bytes: usize,
    /// The longest message that is refused rather than answered by closing the connection, in bytes.
    pub hard_message_bytes: usize,
    /// Messages a second of one client, averaged.
    pub messages_per_second: u32,
    /// The least time between two reports of a client, in milliseconds.
    pub report_interval_ms: u64,
    /// Messages that may wait for a client that reads slowly.
    pub outgoing_messages: usize,
    /// Their bytes.
    pub outgoing_bytes: usize,
    /// Tracks that one participant may publish.
    pub tracks_per_participant: usize,
    /// Media requests of one participant that may wait for the engine.
    pub media_requests: usize,
    /// The bytes of all participants' media requests that may wait for the engine.
    pub media_bytes: usize,
}

/// How long things may take, in milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutConfig {
    /// How long a connection may be silent; the server asks for a sign of life three times as often.
    pub idle_ms: u64,
    /// How long one message may take to be written to a client.
    pub write_ms: u64,
    /// How long an empty room is kept.
    pub empty_room_ms: u64,
    /// How long a shutdown waits for clients to take their farewell.
    pub shutdown_ms: u64,
}

/// What the server writes to its standard error.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Lines for people or JSON for machines.
    pub format: LogFormat,
    /// Which events, as in `info` or `sfu_sim=debug,str0m=warn`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each event.
    Json,
}

impl Default for SignallingConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7880)),
            tls_certificate: None,
            tls_key: None,
            max_connections: 4096,
        }
    }
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7882)),
            public_addresses: Vec::new(),
            public_port: None,
            keyframe_interval_ms: 200,
            datagrams: true,
        }
    }
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self { open: true, names: Vec::new(), max_rooms: 256, max_participants: 256 }
    }
}

impl RoomConfig {
    /// Whether there is a room of this name, or may be.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.open || self.names.iter().any(|known| known == name)
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            message_bytes: 2 << 20,
            hard_message_bytes: 8 << 20,
            messages_per_second: 100,
            report_interval_ms: 5_000,
            outgoing_messages: 4096,
            outgoing_bytes: 32 << 20,
            tracks_per_participant: 8,
            media_requests: 64,
            media_bytes: 64 << 20,
        }
    }
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self { idle_ms: 15_000, write_ms: 10_000, empty_room_ms: 30_000, shutdown_ms: 3_000 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info,str0m=warn,dimpl=warn,is=warn".to_owned() }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not what is expected.
    #[error("{path}: {fault}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why, without quoting the file, which may hold a secret.
        fault: String,
    },
    /// Two settings do not go together, or one makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The secret's file cannot be read or made.
    #[error("cannot read or make the token secret's file {path}")]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no good secret.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Config {
    /// Reads and checks a file. Relative paths in it count from the directory of the process.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
            .map_err(|fault| ConfigError::Parse { path: path.to_owned(), fault })
            .and_then(|config| config.check().map(|()| config))
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.matches('\n').count() + 1);
            format!("line {line}: {}", error.message())
        })
    }

    /// A server for this process and machine only: loopback, free ports, nothing on disk, a random secret.
    pub fn ephemeral() -> Self {
        let mut config = Self::default();
        config.signalling.listen.set_port(0);
        config.media.listen.set_port(0);
        config.tokens.secret = Some(SecretText(random_secret()));
        config
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let checks = [
            (
                self.signalling.tls_certificate.is_some() == self.signalling.tls_key.is_some(),
                "expected both signalling.tls_certificate and signalling.tls_key, or neither",
            ),
            (
                !self.media.listen.ip().is_unspecified() || !self.media.public_addresses.is_empty(),
                "expected media.public_addresses, as media.listen is no address that clients can reach",
            ),
            (
                self.media.public_addresses.iter().all(|address| !address.is_unspecified()),
                "expected real addresses in media.public_addresses",
            ),
            (
                self.storage.nats.replicas > 0 && !self.storage.nats.prefix.is_empty(),
                "expected storage.nats.replicas above 0 and a storage.nats.prefix",
            ),
            (self.limits.message_bytes >= 4096, "expected limits.message_bytes of at least 4096"),
            (
                self.limits.hard_message_bytes >= self.limits.message_bytes,
                "expected limits.hard_message_bytes not below limits.message_bytes",
            ),
            (self.limits.messages_per_second > 0, "expected limits.messages_per_second above 0"),
            (self.limits.outgoing_messages > 0, "expected limits.outgoing_messages above 0"),
            (self.timeouts.idle_ms >= 300, "expected timeouts.idle_ms of at least 300"),
        ];
        match checks.iter().find(|(good, _)| !good) {
            Some((_, fault)) => Err(ConfigError::Invalid(fault)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_documented_file_is_the_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sfu.toml");
        let config = Config::load(&path).unwrap();
        let mut default = Config::default();
        default.storage.path = Some(PathBuf::from("framelock-data"));
        assert_eq!(format!("{config:?}"), format!("{default:?}"));
    }

    #[test]
    fn faults_are_named_without_quoting_the_file() {
        let fault = Config::parse("[tokens]\nsecret = \"hush\nfoo").unwrap_err();
        assert!(fault.starts_with("line ") && !fault.contains("hush"), "{fault}");
        let fault = Config::parse("[media]\nspeed = 3").unwrap_err();
        assert!(fault.contains("speed"), "{fault}");
        let mut config = Config::ephemeral();
        assert!(config.check().is_ok());
        config.media.listen = "0.0.0.0:0".parse().unwrap();
        assert!(config.check().is_err());
        config.media.public_addresses = vec!["192.0.2.1".parse().unwrap()];
        assert!(config.check().is_ok());
        config.signalling.tls_key = Some(PathBuf::from("key.pem"));
        assert!(config.check().is_err());
    }

    #[test]
    fn a_missing_secret_file_is_made_once_and_is_private() {
        let directory = std::env::temp_dir().join(format!("framelock-{}", random_secret()));
        let mut config = Config::default();
        assert!(config.token_key().is_err());
        config.storage.path = Some(directory.clone());
        let token = config
            .token_key()
            .unwrap()
            .issue(&crate::token::Claims::new("r", "a", Duration::from_secs(9)))
            .unwrap();
        assert!(config.token_key().unwrap().verify(&token).is_ok());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(directory.join("token.secret")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let config = Config::ephemeral();
        let Some(SecretText(secret)) = &config.tokens.secret else { panic!("no secret") };
        assert!(!format!("{config:?}").contains(secret.as_str()));
    }
}
