//! A client: an identity with its options, which makes key packages and creates, joins and restores groups.

mod create;
mod external_join;
mod external_proposal;
mod identity;
mod join;
mod key_package;
mod save_external_join;

pub use create::GroupOptions;
pub use external_join::{ExternalJoinOptions, PendingExternalJoin};
pub use external_proposal::ExternalProposer;
pub use identity::{Identity, SignatureKeyPair};
pub use join::StagedJoin;
pub use key_package::KeyPackageBundle;

use std::sync::Arc;

use crate::{
    crypto::Suite,
    framing::Padding,
    group::{HandshakeFormat, HandshakePolicy, NoPsks, PskStore, state::Policy},
    schedule::RatchetLimits,
    validation::{
        CredentialValidator, CustomProposalType, CustomTypes, GroupRules, LeafNodeViolation,
        NoFurtherRules,
    },
    wire::{
        Capabilities, CipherSuite, CredentialType, ExtensionType, Extensions, ProposalType,
        ProtocolVersion,
    },
};

/// Settings of a client. Start from [`ClientOptions::new`] and change what should differ.
#[derive(Clone)]
pub struct ClientOptions {
    /// What the client supports beyond the defaults. The protocol version, the client's suite, its credential type, the
    /// registered proposal types and, where public messages are [accepted](Self::accept), SelfRemove are put in where they are missing.
    pub capabilities: Capabilities,
    /// Extensions of the client's leaf node. Their types are listed in the capabilities.
    pub leaf_extensions: Extensions,
    /// Extensions of the client's key packages. Their types are listed in the capabilities.
    pub key_package_extensions: Extensions,
    /// How long key packages are valid, in seconds.
    pub lifetime: u64,
    /// The longest lifetime that is accepted of others, in seconds; without one, any. All who validate one group must agree on it.
    pub max_lifetime: Option<u64>,
    /// Decides which credentials are accepted. All who validate one group must decide alike.
    pub validator: Arc<dyn CredentialValidator>,
    /// Rules of the application on commits. All who validate one group must have the same.
    pub rules: Arc<dyn GroupRules>,
    /// Proposal types that the application defines. They are listed in the capabilities. All who validate one group must have
    /// the same.
    pub proposal_types: Vec<CustomProposalType>,
    /// Where pre-shared keys come from.
    pub psks: Arc<dyn PskStore>,
    /// How handshake messages are sent.
    pub handshake: HandshakeFormat,
    /// Which handshake messages are accepted. All members of a group must have the same.
    pub accept: HandshakePolicy,
    /// How far a sender's ratchet may run ahead, and how many skipped keys are kept.
    pub ratchets: RatchetLimits,
    /// How private messages are padded.
    pub padding: Padding,
    /// For how many past epochs late application data can still be read. It trades forward secrecy for delivery.
    pub past_epochs: usize,
    /// For how many past epochs the resumption key is kept.
    pub resumption_epochs: usize,
    /// How many proposals of one epoch are kept.
    pub max_proposals: usize,
    /// Puts values into capabilities that exist to be ignored (RFC 9420 section 13.5).
    pub grease: bool,
}

impl ClientOptions {
    /// The defaults: key packages valid for 90 days, private handshake messages, both formats accepted, three past epochs.
    pub fn new(validator: impl CredentialValidator + 'static) -> Self {
        Self {
            capabilities: Capabilities::default(),
            leaf_extensions: Extensions::new(),
            key_package_extensions: Extensions::new(),
            lifetime: 90 * 86_400,
            max_lifetime: Some(400 * 86_400),
            validator: Arc::new(validator),
            rules: Arc::new(NoFurtherRules),
            proposal_types: Vec::new(),
            psks: Arc::new(NoPsks),
            handshake: HandshakeFormat::default(),
            accept: HandshakePolicy::default(),
            ratchets: RatchetLimits::default(),
            padding: Padding::default(),
            past_epochs: 3,
            resumption_epochs: 8,
            max_proposals: 4096,
            grease: true,
        }
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("capabilities", &self.capabilities)
            .field("lifetime", &self.lifetime)
            .field("handshake", &self.handshake)
            .field("accept", &self.accept)
            .field("past_epochs", &self.past_epochs)
            .finish_non_exhaustive()
    }
}

/// An identity with its options, for one cipher suite. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    suite: &'static Suite,
    identity: Identity,
    options: ClientOptions,
    policy: Policy,
}

impl Client {
    /// A client of one suite. A device that supports several has one client for each.
    #[must_use]
    pub fn new(suite: &'static Suite, identity: Identity, options: ClientOptions) -> Self {
        let policy = Policy {
            validator: Arc::clone(&options.validator),
            rules: Arc::clone(&options.rules),
            max_lifetime: options.max_lifetime,
            custom: CustomTypes(options.proposal_types.clone()),
        };
        Self { inner: Arc::new(Inner { suite, identity, options, policy }) }
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> &'static Suite {
        self.inner.suite
    }

    /// Who the client is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// The same client under another identity.
    ///
    /// # Errors
    /// [`LeafNodeViolation::SignatureKeyMalformed`] when the signature key is none of the suite.
    pub(crate) fn renamed(&self, identity: Identity) -> Result<Self, LeafNodeViolation> {
        let key = self.suite().signature.verifying_key(identity.public().as_bytes());
        key.map_err(|_| LeafNodeViolation::SignatureKeyMalformed)?;
        Ok(Self::new(self.suite(), identity, self.options().clone()))
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// The capabilities that the client has in earnest: without the values that exist to be ignored.
    pub(crate) fn supported(&self) -> Capabilities {
        let mut capabilities = self.options().capabilities.clone();
        fill(&mut capabilities.versions, ProtocolVersion::MLS10);
        fill(&mut capabilities.cipher_suites, self.suite().id);
        let options = self.options();
        for own in options.leaf_extensions.iter().chain(options.key_package_extensions.iter()) {
            if !own.extension_type.is_default() {
                fill(&mut capabilities.extensions, own.extension_type);
            }
        }
        if options.accept.public() {
            fill(&mut capabilities.proposals, ProposalType::SELF_REMOVE);
        }
        for custom in &self.options().proposal_types {
            fill(&mut capabilities.proposals, custom.proposal_type);
        }
        fill(&mut capabilities.credentials, self.identity().credential().credential_type());
        capabilities
    }

    /// The capabilities that the client's leaves list.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.supported();
        if self.options().grease {
            // Any value of the pattern serves; one derived from the key differs between clients and not between leaves.
            let digit = self.identity().public().0.last().copied().unwrap_or_default() % 15;
            let value = u16::from(digit) * 0x1010 + 0x0a0a;
            capabilities.cipher_suites.push(CipherSuite(value));
            capabilities.extensions.push(ExtensionType(value));
            capabilities.proposals.push(ProposalType(value));
            capabilities.credentials.push(CredentialType(value));
        }
        capabilities
    }
}

fn fill<T: PartialEq>(list: &mut Vec<T>, needed: T) {
    if !list.contains(&needed) {
        list.push(needed);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("suite", self.suite())
            .field("identity", self.identity())
            .finish_non_exhaustive()
    }
}
