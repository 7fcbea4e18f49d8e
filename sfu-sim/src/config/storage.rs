//! Where logs and groups are kept.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Config, SecretText};
use crate::delivery::NatsOptions;

/// Where logs and groups are kept: on NATS if it has servers, else in the directory, else in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// The directory of the log and of the token secret.
    pub path: Option<PathBuf>,
    /// Logs of calls in which nothing has happened for so many days are deleted at start.
    pub keep_days: u32,
    /// For several servers that serve the same calls.
    pub nats: NatsConfig,
}

/// A NATS JetStream that several servers share.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// Its addresses, which may hold a password. None: NATS is not used.
    pub servers: Vec<SecretText>,
    /// A credentials file.
    pub credentials: Option<PathBuf>,
    /// How the names of subjects and streams begin.
    pub prefix: String,
    /// On how many servers of a cluster each record is kept.
    pub replicas: usize,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { path: None, keep_days: 7, nats: NatsConfig::default() }
    }
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self { servers: Vec::new(), credentials: None, prefix: "framelock".to_owned(), replicas: 1 }
    }
}

impl NatsConfig {
    /// The options of the storage; none if NATS is not used.
    pub fn options(&self) -> Option<NatsOptions> {
        let servers: Vec<String> = self.servers.iter().map(|server| server.0.clone()).collect();
        let Self { credentials, prefix, replicas, .. } = self.clone();
        (!servers.is_empty()).then_some(NatsOptions { servers, credentials, prefix, replicas })
    }
}

impl Config {
    /// Takes a place on the command line instead of the file's: `nats://...` or `tls://...` (several with
    /// commas), `memory`, or a directory. A directory of the file stays that of the token secret.
    pub fn store_in(&mut self, place: &str) {
        let secret = self.storage.path.as_ref().map(|path| path.join("token.secret"));
        self.tokens.secret_file = self.tokens.secret_file.take().or(secret);
        self.storage.path = None;
        self.storage.nats.servers.clear();
        if place.starts_with("nats://") || place.starts_with("tls://") {
            self.storage.nats.servers = place.split(',').map(SecretText::new).collect();
        } else if place != "memory" {
            self.storage.path = Some(place.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_on_the_command_line_replaces_that_of_the_file() {
        let mut config = Config::default();
        config.storage.path = Some("data".into());
        config.store_in("nats://user:hush@a:4222,nats://b:4222");
        assert!(config.storage.path.is_none() && !format!("{config:?}").contains("hush"));
        let options = config.storage.nats.options().unwrap();
        assert_eq!(options.servers, ["nats://user:hush@a:4222", "nats://b:4222"]);
        assert!(!format!("{options:?}").contains("hush"));
        assert_eq!(config.tokens.secret_file, Some("data/token.secret".into()));
        config.store_in("other");
        assert_eq!(config.storage.path, Some("other".into()));
        config.store_in("memory");
        assert!(config.storage.path.is_none() && config.storage.nats.options().is_none());
    }
}
