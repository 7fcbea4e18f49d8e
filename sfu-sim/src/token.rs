//! Tokens: who may enter which room.
//!
//! A token is a JWT (RFC 7519), HS256, with the claims `room`, `sub` (the identity), `name`, `moderator` and
//! `exp`. Whoever has the secret can let anybody into any room, so it stays on the server and with the
//! application that issues tokens.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::protocol::{Identity, Refusal, RefusalCode, RoomName};

/// The shortest secret that is taken, in bytes.
pub const MIN_SECRET_LEN: usize = 32;

/// The longest room, identity or name in a token, in bytes.
pub const MAX_NAME_LEN: usize = 128;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The room it opens.
    pub room: RoomName,
    /// The participant's identity, unique in the room.
    #[serde(rename = "sub")]
    pub identity: Identity,
    /// The name that others see.
    #[serde(default)]
    pub name: String,
    /// Whether the participant may remove others.
    #[serde(default)]
    pub moderator: bool,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
}

impl Claims {
    /// Claims that end `ttl` from now, of a participant whose name is its identity and who is no moderator.
    pub fn new(room: impl Into<String>, identity: impl Into<String>, ttl: Duration) -> Self {
        let identity = identity.into();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            room: RoomName::new(room),
            name: identity.clone(),
            identity: Identity::new(identity),
            moderator: false,
            exp: now.saturating_add(ttl).as_secs(),
        }
    }

    /// The same with another name to show.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same for a moderator.
    pub fn as_moderator(mut self) -> Self {
        self.moderator = true;
        self
    }

    fn check(&self) -> Result<(), &'static str> {
        for (text, fault) in [
            (self.room.as_str(), "expected a room of 1 to 128 bytes"),
            (self.identity.as_str(), "expected an identity (sub) of 1 to 128 bytes"),
        ] {
            if text.is_empty() || text.len() > MAX_NAME_LEN || text.chars().any(char::is_control) {
                return Err(fault);
            }
        }
        if self.name.len() > MAX_NAME_LEN || self.name.chars().any(char::is_control) {
            return Err("expected a name of at most 128 bytes");
        }
        Ok(())
    }
}

/// Why a token cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The secret is shorter than [`MIN_SECRET_LEN`].
    #[error("expected a token secret of at least {MIN_SECRET_LEN} bytes")]
    ShortSecret,
    /// A claim is empty, too long or holds control characters.
    #[error("{0}")]
    BadClaims(&'static str),
    /// The signature could not be made.
    #[error("the token could not be signed")]
    Signing,
}

/// The secret that signs and checks tokens. `Debug` does not show it.
#[derive(Clone)]
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl TokenKey {
    /// The key of a secret.
    ///
    /// # Errors
    /// [`TokenError::ShortSecret`].
    pub fn new(secret: &[u8]) -> Result<Self, TokenError> {
        if secret.len() < MIN_SECRET_LEN {
            return Err(TokenError::ShortSecret);
        }
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        })
    }

    /// Issues a token.
    ///
    /// # Errors
    /// [`TokenError::BadClaims`] for empty or overlong names.
    pub fn issue(&self, claims: &Claims) -> Result<String, TokenError> {
        claims.check().map_err(TokenError::BadClaims)?;
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
            .map_err(|_| TokenError::Signing)
    }

    /// Reads a token and checks its signature and its end.
    ///
    /// # Errors
    /// A refusal with [`RefusalCode::ExpiredToken`] or [`RefusalCode::BadToken`].
    pub fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => {
                    Refusal::new(RefusalCode::ExpiredToken, "the token has expired")
                }
                ErrorKind::InvalidSignature => Refusal::new(
                    RefusalCode::BadToken,
                    "expected a token signed with this server's secret",
                ),
                _ => Refusal::new(
                    RefusalCode::BadToken,
                    "expected a JWT (HS256) with room, sub and exp",
                ),
            })?
            .claims;
        claims.check().map_err(|fault| Refusal::new(RefusalCode::BadToken, fault))?;
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        TokenKey::new(&[7; 32]).unwrap()
    }

    fn claims() -> Claims {
        Claims::new("lobby", "alice", Duration::from_secs(60)).with_name("Alice")
    }

    #[test]
    fn issued_tokens_are_read_back() {
        let claims = claims().as_moderator();
        let token = key().issue(&claims).unwrap();
        assert_eq!(key().verify(&token).unwrap(), claims);
    }

    #[test]
    fn forged_expired_and_mangled_tokens_are_refused() {
        let other = TokenKey::new(&[8; 32]).unwrap().issue(&claims()).unwrap();
        assert_eq!(key().verify(&other).unwrap_err().code, RefusalCode::BadToken);

        let mut old = claims();
        old.exp = 1_000;
        let token = key().issue(&old).unwrap();
        assert_eq!(key().verify(&token).unwrap_err().code, RefusalCode::ExpiredToken);

        let good = key().issue(&claims()).unwrap();
        for bad in ["", "a.b.c", &good[..good.len() - 2], &good[1..]] {
            assert_eq!(key().verify(bad).unwrap_err().code, RefusalCode::BadToken, "{bad}");
        }
        // alg "none".
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
        assert_eq!(key().verify(&unsigned).unwrap_err().code, RefusalCode::BadToken);
    }

    #[test]
    fn odd_names_are_neither_issued_nor_taken() {
        for claims in [
            Claims::new("", "alice", Duration::from_secs(60)),
            Claims::new("lobby", "x".repeat(129), Duration::from_secs(60)),
            Claims::new("lobby", "a\nb", Duration::from_secs(60)),
        ] {
            assert!(key().issue(&claims).is_err());
            let token = jsonwebtoken::encode(
                &Header::new(Algorithm::HS256),
                &claims,
                &EncodingKey::from_secret(&[7; 32]),
            )
            .unwrap();
            assert_eq!(key().verify(&token).unwrap_err().code, RefusalCode::BadToken);
        }
    }

    #[test]
    fn secrets_are_long_and_never_shown() {
        assert!(TokenKey::new(&[1; 31]).is_err());
        assert!(!format!("{:?}", key()).contains('7'));
    }
}
