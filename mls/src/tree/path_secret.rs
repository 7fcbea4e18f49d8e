//! The secrets of TreeKEM (RFC 9420 section 7.4).

use super::UpdatePathError;
use crate::{
    crypto::{CryptoError, CryptoRng, KemPrivateKey, Secret, Suite, secret_types},
    schedule::CommitSecret,
};

secret_types! {
    /// The secret from which the key pair of a node and the path secrets above it are derived, `Nh` bytes
    /// (RFC 9420 section 7.4).
    pub struct PathSecret;

    /// The input from which the key pair of a node is derived, `Nh` bytes (RFC 9420 section 7.4).
    pub struct NodeSecret;
}

impl PathSecret {
    /// Takes a path secret that came from a peer.
    ///
    /// # Errors
    /// [`UpdatePathError::PathSecretLength`].
    pub fn received(suite: &Suite, secret: Secret) -> Result<Self, UpdatePathError> {
        let (expected, actual) = (suite.hash_length(), secret.length());
        if actual == expected {
            Ok(Self(secret))
        } else {
            Err(UpdatePathError::PathSecretLength { expected, actual })
        }
    }

    pub(super) fn random(suite: &Suite, rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(suite.hash_length(), rng))
    }

    /// The path secret of the next node on the filtered direct path.
    pub(super) fn next(&self, suite: &Suite) -> Result<Self, CryptoError> {
        suite.derive_secret(&self.0, "path").map(Self)
    }

    pub(super) fn node_secret(&self, suite: &Suite) -> Result<NodeSecret, CryptoError> {
        suite.derive_secret(&self.0, "node").map(NodeSecret)
    }

    /// The key pair of the node.
    pub(super) fn key_pair(&self, suite: &Suite) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        suite.kem.derive_key_pair(self.node_secret(suite)?.as_bytes())
    }

    /// The path secret behind the last one of a path is the commit secret.
    pub(super) fn into_commit_secret(self) -> CommitSecret {
        self.0.into()
    }

    pub(super) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}
