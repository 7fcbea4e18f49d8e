//! GroupInfo and Welcome (RFC 9420 section 12.4.3).

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::codec::{Decode, DecodeError, Encode, Reader, struct_codec};

use super::{
    commit::HpkeCiphertext,
    extension::Extensions,
    group_context::GroupContext,
    psk::PreSharedKeyId,
    registry::CipherSuite,
    types::{ConfirmationTag, KeyPackageRef, LeafIndex, Signature},
};

/// What a joiner needs to know of a group (RFC 9420 section 12.4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// The group's state.
    pub group_context: GroupContext,
    /// Extensions, for example the ratchet tree or the external public key.
    pub extensions: Extensions,
    /// Confirms the epoch to whoever holds its secrets.
    pub confirmation_tag: ConfirmationTag,
    /// The member who signed.
    pub signer: LeafIndex,
    /// Signature over [`GroupInfoTbs`].
    pub signature: Signature,
}

struct_codec!(GroupInfo { group_context, extensions, confirmation_tag, signer, signature });

/// `GroupInfoTBS`: what the signature of a GroupInfo covers (RFC 9420 section 12.4.3).
#[derive(Clone, Copy, Debug)]
pub struct GroupInfoTbs<'a>(pub &'a GroupInfo);

impl Encode for GroupInfoTbs<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.group_context.encode(out);
        self.0.extensions.encode(out);
        self.0.confirmation_tag.encode(out);
        self.0.signer.encode(out);
    }
}

/// A path secret on the wire; zeroized when dropped, never printed.
pub struct PathSecretBytes(Vec<u8>);

impl PathSecretBytes {
    /// Takes over the bytes of a path secret, `Nh` long.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

crate::codec::newtype_codec!(PathSecretBytes);

/// In constant time for equal lengths.
impl PartialEq for PathSecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PathSecretBytes {}

impl Drop for PathSecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for PathSecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PathSecretBytes(..)")
    }
}

/// What a Welcome encrypts to one joiner (RFC 9420 section 12.4.3.1).
pub struct GroupSecrets {
    /// The joiner secret of the epoch, `Nh` bytes.
    joiner_secret: Vec<u8>,
    /// Path secret of the lowest common ancestor of joiner and committer, when the commit had a
    /// path.
    pub path_secret: Option<PathSecretBytes>,
    /// Pre-shared keys that went into the epoch.
    pub psks: Vec<PreSharedKeyId>,
}

impl Encode for GroupSecrets {
    fn encode(&self, out: &mut Vec<u8>) {
        self.joiner_secret.encode(out);
        self.path_secret.encode(out);
        self.psks.encode(out);
    }
}

impl Decode for GroupSecrets {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // Overwritten also when what follows does not decode.
        let mut joiner_secret: Zeroizing<Vec<u8>> = Zeroizing::new(Decode::decode(reader)?);
        let path_secret = Decode::decode(reader)?;
        let psks = Decode::decode(reader)?;
        Ok(Self { joiner_secret: std::mem::take(&mut *joiner_secret), path_secret, psks })
    }
}

/// In constant time for secrets of equal lengths.
impl PartialEq for GroupSecrets {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.joiner_secret.ct_eq(&other.joiner_secret))
            && self.path_secret == other.path_secret
            && self.psks == other.psks
    }
}

impl Eq for GroupSecrets {}

impl GroupSecrets {
    /// Takes over the joiner secret.
    #[must_use]
    pub fn new(
        joiner_secret: Vec<u8>,
        path_secret: Option<PathSecretBytes>,
        psks: Vec<PreSharedKeyId>,
    ) -> Self {
        Self { joiner_secret, path_secret, psks }
    }

    /// The encoding, in memory that is overwritten when it is dropped.
    #[must_use]
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let path_secret = self.path_secret.as_ref().map_or(0, |secret| secret.0.len());
        let psks = self.psks.to_bytes().len();
        // A vector that grows leaves copies of secrets behind.
        let headers = 16;
        let capacity = [self.joiner_secret.len(), path_secret, psks, headers];
        let mut out = Zeroizing::new(Vec::with_capacity(capacity.into_iter().sum()));
        self.encode(&mut out);
        out
    }

    /// The secret bytes of the joiner secret.
    #[must_use]
    pub fn expose_joiner_secret(&self) -> &[u8] {
        &self.joiner_secret
    }
}

impl Drop for GroupSecrets {
    fn drop(&mut self) {
        self.joiner_secret.zeroize();
    }
}

impl std::fmt::Debug for GroupSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupSecrets").field("psks", &self.psks).finish_non_exhaustive()
    }
}

/// The group secrets for one joiner (RFC 9420 section 12.4.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedGroupSecrets {
    /// Whose: the reference of the key package that was added.
    pub new_member: KeyPackageRef,
    /// [`GroupSecrets`], encrypted to that key package's init key.
    pub encrypted_group_secrets: HpkeCiphertext,
}

struct_codec!(EncryptedGroupSecrets { new_member, encrypted_group_secrets });

/// Lets those whom a commit adds join the group (RFC 9420 section 12.4.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The group's suite.
    pub cipher_suite: CipherSuite,
    /// One entry for each joiner.
    pub secrets: Vec<EncryptedGroupSecrets>,
    /// The [`GroupInfo`], encrypted under a key from the joiner secret.
    pub encrypted_group_info: Vec<u8>,
}

struct_codec!(Welcome { cipher_suite, secrets, encrypted_group_info });
