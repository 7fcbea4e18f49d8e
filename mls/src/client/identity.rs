//! Who a client is.

use std::sync::Arc;

use crate::{
    codec::Encode,
    crypto::{CryptoError, CryptoRng, SignaturePrivateKey, SigningKey, Suite},
    error::ClientError,
    wire::{
        Credential, GroupId, LeafIndex, LeafNode, LeafNodeTbs, SignaturePublicKey, TreePosition,
    },
};

/// A signature key pair. The private key is kept ready for use and can only be taken out by name.
#[derive(Clone)]
pub struct SignatureKeyPair {
    /// Twice behind a pointer: to turn the box itself into an `Arc` would leave a copy of the key behind.
    key: Arc<Box<dyn SigningKey>>,
}

impl SignatureKeyPair {
    /// Makes a key pair.
    ///
    /// # Errors
    /// [`ClientError::Local`] when the library fails.
    pub fn generate(suite: &Suite, rng: &mut dyn CryptoRng) -> Result<Self, ClientError> {
        Ok(Self { key: Arc::new(suite.signature.generate(rng)?) })
    }

    /// Imports a key pair and checks that both halves belong together.
    ///
    /// # Errors
    /// [`ClientError::Key`] when they do not, or when one is not a key of the suite.
    pub fn import(
        suite: &Suite,
        private: &SignaturePrivateKey,
        public: &SignaturePublicKey,
    ) -> Result<Self, ClientError> {
        let key = suite.signature_key_pair(private.as_bytes(), public.as_bytes());
        let key = key.map_err(ClientError::Key)?;
        Ok(Self { key: Arc::new(key) })
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> SignaturePublicKey {
        SignaturePublicKey::from(self.key.public())
    }

    /// The private key, for storage.
    ///
    /// # Errors
    /// [`ClientError::Local`] when the library fails.
    pub fn export_private(&self) -> Result<SignaturePrivateKey, ClientError> {
        Ok(self.key.export()?)
    }
}

impl std::fmt::Debug for SignatureKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SignatureKeyPair").field(&self.public()).finish()
    }
}

/// A credential, and the key pair that it speaks for.
#[derive(Clone, Debug)]
pub struct Identity {
    credential: Credential,
    keys: SignatureKeyPair,
}

impl Identity {
    /// Ties a credential to a key pair. Whether the two belong together is for the peers' validators to judge.
    #[must_use]
    pub fn new(credential: Credential, keys: SignatureKeyPair) -> Self {
        Self { credential, keys }
    }

    /// A basic credential with a fresh key pair.
    ///
    /// # Errors
    /// [`ClientError::Local`] when the library fails.
    pub fn basic(
        name: impl Into<Vec<u8>>,
        suite: &Suite,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ClientError> {
        Ok(Self::new(Credential::basic(name), SignatureKeyPair::generate(suite, rng)?))
    }

    /// Who it is.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The key that verifies what it signs.
    #[must_use]
    pub fn public(&self) -> SignaturePublicKey {
        self.keys.public()
    }

    /// The key pair.
    #[must_use]
    pub fn keys(&self) -> &SignatureKeyPair {
        &self.keys
    }

    pub(crate) fn signer(&self) -> &dyn SigningKey {
        &**self.keys.key
    }

    /// Signs a leaf node for its place (RFC 9420 section 7.2).
    pub(crate) fn sign_leaf(
        &self,
        suite: &Suite,
        leaf_node: &mut LeafNode,
        group_id: &GroupId,
        leaf_index: LeafIndex,
    ) -> Result<(), CryptoError> {
        let position = TreePosition { group_id, leaf_index };
        let signed = LeafNodeTbs { leaf_node, position }.to_bytes();
        leaf_node.signature = suite.sign_with_label(self.signer(), "LeafNodeTBS", &signed)?;
        Ok(())
    }
}
