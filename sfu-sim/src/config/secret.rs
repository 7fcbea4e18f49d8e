//! Where the token secret comes from.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Deserialize;

use super::{Config, ConfigError};
use crate::token::TokenKey;

/// The environment variable that holds the token secret, before anything the file says.
pub const SECRET_VARIABLE: &str = "FRAMELOCK_TOKEN_SECRET";

/// A secret in the configuration. `Debug` does not show it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub(super) String);

impl SecretText {
    /// Takes a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl Config {
    /// The token secret: of the environment, the file's `tokens.secret`, or the secret's file (by default
    /// `token.secret` in the storage directory), which is made if it is missing. Without a storage directory
    /// one of the first three is needed.
    ///
    /// # Errors
    /// [`ConfigError::SecretFile`], [`ConfigError::Token`], or [`ConfigError::Invalid`] if there is none.
    pub fn token_key(&self) -> Result<TokenKey, ConfigError> {
        if let Ok(secret) = std::env::var(SECRET_VARIABLE) {
            return Ok(TokenKey::new(secret.trim().as_bytes())?);
        }
        if let Some(SecretText(secret)) = &self.tokens.secret {
            return Ok(TokenKey::new(secret.as_bytes())?);
        }
        let default = self.storage.path.as_ref().map(|path| path.join("token.secret"));
        let path = self.tokens.secret_file.clone().or(default).ok_or(ConfigError::Invalid(
            "expected a token secret: FRAMELOCK_TOKEN_SECRET, tokens.secret or tokens.secret_file",
        ))?;
        let secret = read_or_make_secret(&path)
            .map_err(|source| ConfigError::SecretFile { path: path.clone(), source })?;
        Ok(TokenKey::new(secret.trim().as_bytes())?)
    }
}

fn read_or_make_secret(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let secret = random_secret();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            file.write_all(secret.as_bytes())?;
            file.sync_all()?;
            tracing::warn!(path = %path.display(), "made a random token secret");
            Ok(secret)
        }
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error),
    }
}

/// A few letters that make a name unique in a room.
pub(crate) fn random_name() -> String {
    hex::encode(mls::crypto::Secret::random(4, &mut mls::crypto::os_rng()).as_bytes())
}

/// 256 random bits in hexadecimal.
pub(super) fn random_secret() -> String {
    hex::encode(mls::crypto::Secret::random(32, &mut mls::crypto::os_rng()).as_bytes())
}
