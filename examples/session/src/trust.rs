//! Whom a member believes: credentials, the call's parameters, the invite secret.

use std::sync::Arc;

use mls::codec::Encode;
use mls::schedule::Psk;
use mls::wire::{Credential, Extension, ExtensionType, Extensions, PskSource, SignaturePublicKey};
use mls::{CredentialRejected, CredentialValidator, MemoryPskStore, PskStore, UnixTime};
use sframe_bridge::{CallParameters, ParameterFloor, ParametersError};
use sfu_protocol::Identity;

/// The name under which the invite secret stands in the group (RFC 9420, section 8.4).
const INVITE_ID: &[u8] = b"framelock invite";

/// The longest identity in a credential, in bytes.
const MAX_IDENTITY: usize = 255;

/// The secret of an invite link. Each commit that adds mixes it in, so that a server that does not
/// have it can add nobody, itself included.
#[derive(Clone)]
pub struct Invite(Arc<MemoryPskStore>);

impl Invite {
    /// An invite with this secret.
    pub fn new(secret: &[u8]) -> Self {
        let store = MemoryPskStore::new();
        store.insert(INVITE_ID, Psk::from_slice(secret));
        Self(Arc::new(store))
    }

    pub(super) fn source(&self) -> PskSource {
        PskSource::External { psk_id: INVITE_ID.to_vec() }
    }

    pub(super) fn store(&self) -> Arc<dyn PskStore> {
        Arc::clone(&self.0) as Arc<dyn PskStore>
    }
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Invite(redacted)")
    }
}

/// Accepts basic credentials whose identity is a name. That the name belongs to the key is for the
/// members to verify, by comparing codes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamedMembers;

impl CredentialValidator for NamedMembers {
    fn validate(
        &self,
        credential: &Credential,
        _: &SignaturePublicKey,
        _: UnixTime,
    ) -> Result<(), CredentialRejected> {
        let Credential::Basic(identity) = credential else {
            return Err(CredentialRejected::new("expected a basic credential"));
        };
        let name = std::str::from_utf8(identity)
            .map_err(|_| CredentialRejected::new("expected a name in UTF-8"))?;
        if name.is_empty() || name.len() > MAX_IDENTITY || name.chars().any(char::is_control) {
            return Err(CredentialRejected::new("expected a name of 1 to 255 bytes"));
        }
        Ok(())
    }
}

/// The identity in a credential.
pub(super) fn identity_of(credential: &Credential) -> Identity {
    match credential {
        Credential::Basic(identity) => Identity::new(String::from_utf8_lossy(identity)),
        _ => Identity::new(""),
    }
}

pub(super) fn encoded(credential: &Credential) -> Vec<u8> {
    credential.to_bytes()
}

/// The type of the GroupContext extension with the call's parameters.
pub(super) fn parameters_type() -> ExtensionType {
    ExtensionType(CallParameters::EXTENSION_TYPE)
}

/// The GroupContext extension with the call's parameters.
pub(super) fn parameters_extension(parameters: &CallParameters) -> Extension {
    Extension { extension_type: parameters_type(), data: parameters.encode() }
}

/// Reads the call's parameters out of the group and checks them against what one accepts.
pub(super) fn call_parameters(
    extensions: &Extensions,
    floor: &ParameterFloor,
) -> Result<CallParameters, ParametersError> {
    let bytes = extensions.find(parameters_type()).ok_or(ParametersError::Truncated)?;
    let parameters = CallParameters::decode(bytes)?;
    parameters.check_floor(floor)?;
    Ok(parameters)
}
