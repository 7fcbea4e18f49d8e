//! Credentials (RFC 9420 section 5.3).

use crate::codec::{Decode, DecodeError, Encode, Reader};

use super::registry::CredentialType;

/// What ties a signature key to an identity of the application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A bare identity, to be checked by means outside MLS.
    Basic(Vec<u8>),
    /// A certificate chain, DER, the leaf first.
    X509(Vec<Vec<u8>>),
    /// A type that this library does not know. Its content is taken to be one `opaque<V>`. A type that it does know is
    /// encoded as the variant of that type, with the content as the identity or as a chain of one certificate.
    Other(CredentialType, Vec<u8>),
}

impl Credential {
    /// A basic credential.
    #[must_use]
    pub fn basic(identity: impl Into<Vec<u8>>) -> Self {
        Self::Basic(identity.into())
    }

    /// The type that capabilities must list.
    #[must_use]
    pub fn credential_type(&self) -> CredentialType {
        match self {
            Self::Basic(_) => CredentialType::BASIC,
            Self::X509(_) => CredentialType::X509,
            Self::Other(credential_type, _) => *credential_type,
        }
    }
}

impl Encode for Credential {
    fn encode(&self, out: &mut Vec<u8>) {
        self.credential_type().encode(out);
        match self {
            Self::Other(CredentialType::X509, certificate) => [certificate].encode(out),
            Self::Basic(bytes) | Self::Other(_, bytes) => bytes.encode(out),
            Self::X509(chain) => chain.encode(out),
        }
    }
}

impl Decode for Credential {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match CredentialType::decode(reader)? {
            CredentialType::BASIC => Decode::decode(reader).map(Self::Basic),
            CredentialType::X509 => Decode::decode(reader).map(Self::X509),
            other => Ok(Self::Other(other, Decode::decode(reader)?)),
        }
    }
}
