//! Extensions (RFC 9420 section 13) and the contents of those that the RFC defines.

use crate::codec::{Decode, DecodeError, Encode, Reader, newtype_codec, struct_codec};

use super::{
    credential::Credential,
    registry::{CredentialType, ExtensionType, ProposalType},
    types::{HpkePublicKey, SignaturePublicKey},
};

/// One extension: a type and its content, not yet interpreted.
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
