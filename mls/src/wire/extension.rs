//! Extensions (RFC 9420 section 13) and the contents of those that the RFC defines.

use crate::codec::{Decode, DecodeError, Encode, Reader, newtype_codec, struct_codec};

use super::{
    credential::Credential,
    registry::{CredentialType, ExtensionType, ProposalType},
    types::{HpkePublicKey, SignaturePublicKey},
};

/// One extension: a type and its content, not yet interpreted.
///
/// An application may define types of its own; 0xF000 to 0xFFFF are for private use (RFC 9420 section 17.3). They go
///
/// - into the GroupContext, which all members agree on: [`GroupOptions::extensions`](crate::GroupOptions::extensions), later
///   [`CommitBuilder::extensions`](crate::CommitBuilder::extensions). Every member has to list the type in its capabilities, or it cannot be in
///   the group (section 13.4). What may change is for [`GroupRules`](crate::GroupRules) to say, who see the extensions before and after.
/// - into one's leaf and key packages: [`ClientOptions::leaf_extensions`](crate::ClientOptions::leaf_extensions) and
///   [`key_package_extensions`](crate::ClientOptions::key_package_extensions). The client lists their types by itself; others need not know them.
/// - into a Welcome or GroupInfo, for those who join: [`CommitBuilder::welcome_extensions`](crate::CommitBuilder::welcome_extensions),
///   [`Group::group_info_with`](crate::Group::group_info_with), read by [`StagedJoin::extensions`](crate::StagedJoin::extensions).
///
/// ```
/// use mls::{
///     AcceptAnyCredential, CipherSuite, Client, ClientOptions, GroupId, GroupOptions, Identity, UnixTime, crypto,
///     wire::{Extension, ExtensionType, Extensions},
/// };
///
/// const TOPIC: ExtensionType = ExtensionType(0xf0b1);
///
/// let suite = crypto::default_provider().suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519).ok_or("no suite")?;
/// let (rng, now) = (&mut crypto::os_rng(), UnixTime(1_800_000_000));
/// let mut options = ClientOptions::new(AcceptAnyCredential);
/// options.capabilities.extensions.push(TOPIC);
/// let alice = Client::new(suite, Identity::basic("alice", suite, rng)?, options);
/// let topic = Extension { extension_type: TOPIC, data: b"weather".to_vec() };
/// let options = GroupOptions { extensions: Extensions::from_iter([topic]), ..GroupOptions::default() };
/// let mut group = alice.create_group(GroupId(b"call".to_vec()), options, rng, now)?;
/// assert_eq!(group.context().extensions.find(TOPIC), Some(b"weather".as_slice()));
///
/// // Whoever does not list the type cannot be added.
/// let bob = Client::new(suite, Identity::basic("bob", suite, rng)?, ClientOptions::new(AcceptAnyCredential));
/// let bundle = bob.key_package(rng, now)?;
/// assert!(group.commit().add(bundle.key_package().clone()).build(rng, now).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// What the content means.
    pub extension_type: ExtensionType,
    /// The content.
    pub data: Vec<u8>,
}

struct_codec!(Extension { extension_type, data });

impl Extension {
    /// An extension that carries an encoded value.
    pub fn new(extension_type: ExtensionType, content: &impl Encode) -> Self {
        Self { extension_type, data: content.to_bytes() }
    }
}

/// A list of extensions in which no type stands twice (RFC 9420 section 13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<Extension>);

impl Encode for Extensions {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Extensions {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let list: Vec<Extension> = Decode::decode(reader)?;
        let mut types: Vec<_> = list.iter().map(|e| e.extension_type).collect();
        types.sort_unstable();
        if types.is_sorted_by(|a, b| a < b) {
            Ok(Self(list))
        } else {
            Err(DecodeError::Malformed("an extension type stands twice in a list"))
        }
    }
}

impl Extensions {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an extension in, replacing one of the same type.
    pub fn set(&mut self, extension: Extension) {
        match self.0.iter_mut().find(|e| e.extension_type == extension.extension_type) {
            Some(present) => *present = extension,
            None => self.0.push(extension),
        }
    }

    /// The content of the extension of this type, if present.
    #[must_use]
    pub fn find(&self, extension_type: ExtensionType) -> Option<&[u8]> {
        self.0.iter().find(|e| e.extension_type == extension_type).map(|e| e.data.as_slice())
    }

    /// The decoded content of the extension of this type, if present.
    ///
    /// # Errors
    /// [`DecodeError`] when it is present and not well formed.
    pub fn parse<T: Decode>(
        &self,
        extension_type: ExtensionType,
    ) -> Result<Option<T>, DecodeError> {
        self.find(extension_type).map(T::from_bytes).transpose()
    }

    /// The extensions in order.
    pub fn iter(&self) -> impl Iterator<Item = &Extension> {
        self.0.iter()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Extension> for Extensions {
    fn from_iter<I: IntoIterator<Item = Extension>>(iter: I) -> Self {
        let mut extensions = Self::new();
        for extension in iter {
            extensions.set(extension);
        }
        extensions
    }
}

/// Content of `application_id` (RFC 9420 section 5.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationId(pub Vec<u8>);

newtype_codec!(ApplicationId);

/// Content of `required_capabilities` (RFC 9420 section 11.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredCapabilities {
    /// Extension types that every member must support.
    pub extension_types: Vec<ExtensionType>,
    /// Proposal types that every member must support.
    pub proposal_types: Vec<ProposalType>,
    /// Credential types that every member must support.
    pub credential_types: Vec<CredentialType>,
}

struct_codec!(RequiredCapabilities { extension_types, proposal_types, credential_types });

/// Content of `external_pub` (RFC 9420 section 12.4.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalPub {
    /// The public key whose private half is derived from the epoch's external secret.
    pub external_pub: HpkePublicKey,
}

struct_codec!(ExternalPub { external_pub });

/// One sender outside the group that may propose (RFC 9420 section 12.1.8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSender {
    /// The key that its proposals are signed with.
    pub signature_key: SignaturePublicKey,
    /// Who it is.
    pub credential: Credential,
}

struct_codec!(ExternalSender { signature_key, credential });

/// Content of `external_senders` (RFC 9420 section 12.1.8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSenders(pub Vec<ExternalSender>);

newtype_codec!(ExternalSenders);
