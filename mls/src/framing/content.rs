//! Content and its authentication (RFC 9420 section 6.1).

use zeroize::Zeroizing;

use crate::{
    codec::Encode,
    crypto::{CryptoError, SigningKey, Suite, VerifyingKey},
    wire::{
        AuthenticatedContent, ConfirmationTag, Content, ContentType, FramedContent,
        FramedContentAuthData, FramedContentTbs, Proposal, ProposalRef, ProposalType, Sender,
        Signature, WireFormat,
    },
};

use super::FramingError;

const LABEL: &str = "FramedContentTBS";

/// Most commits without newcomers are not longer, in bytes.
const USUAL_HANDSHAKE: usize = 4096;

/// What a signature over content covers, encoded once. It may hold application data, so it is overwritten when dropped.
pub(super) fn to_be_signed(
    wire_format: WireFormat,
    content: &FramedContent,
    group_context: &[u8],
) -> Zeroizing<Vec<u8>> {
    let length = match &content.content {
        Content::Application(data) => data.len(),
        Content::Proposal(_) | Content::Commit(_) => USUAL_HANDSHAKE,
    };
    let length = length + content.authenticated_data.len() + group_context.len() + 128;
    let mut tbs = Zeroizing::new(Vec::with_capacity(length));
    FramedContentTbs { wire_format, content, group_context }.encode(&mut tbs);
    tbs
}

/// Which content a sender may send, and how (RFC 9420 sections 6, 6.1).
pub(super) fn check_content(
    wire_format: WireFormat,
    content: &FramedContent,
) -> Result<(), FramingError> {
    match wire_format {
        WireFormat::PublicMessage => {
            if content.content.content_type() == ContentType::Application {
                return Err(FramingError::ApplicationNotEncrypted);
            }
        }
        WireFormat::PrivateMessage => {
            if !matches!(content.sender, Sender::Member(_)) {
                return Err(FramingError::SenderNotMember);
            }
        }
        WireFormat::Welcome | WireFormat::GroupInfo | WireFormat::KeyPackage => {
            return Err(FramingError::WrongWireFormat);
        }
    }
    match (content.sender, &content.content) {
        (Sender::Member(_), _) | (Sender::NewMemberCommit, Content::Commit(_)) => Ok(()),
        (Sender::NewMemberProposal, Content::Proposal(Proposal::Add(_))) => Ok(()),
        (Sender::External(_), Content::Proposal(proposal)) => match proposal.proposal_type() {
            ProposalType::ADD
            | ProposalType::REMOVE
            | ProposalType::PSK
            | ProposalType::REINIT
            | ProposalType::GROUP_CONTEXT_EXTENSIONS => Ok(()),
            // Whether an application's own type may come from outside is known where it is registered.
            other if !other.is_default() && other != ProposalType::SELF_REMOVE => Ok(()),
            other => Err(FramingError::ProposalNotAllowed(other)),
        },
        (sender, _) => Err(FramingError::ContentNotAllowed(sender)),
    }
}

/// A confirmation tag stands on commits and on nothing else (RFC 9420 section 6.1).
pub(super) fn check_confirmation_tag(
    content: &FramedContent,
    auth: &FramedContentAuthData,
) -> Result<(), FramingError> {
    let is_commit = content.content.content_type() == ContentType::Commit;
    match (is_commit, auth.confirmation_tag.is_some()) {
        (true, false) => Err(FramingError::ConfirmationTagMissing),
        (false, true) => Err(FramingError::ConfirmationTagUnexpected),
        _ => Ok(()),
    }
}

/// Signs content for a wire format, with the key that RFC 9420 section 6.1 names for the sender.
///
/// `group_context` is the encoded GroupContext of the current epoch; it is covered for members and external commits.
///
/// # Errors
/// [`FramingError::ApplicationNotEncrypted`], [`FramingError::SenderNotMember`], [`FramingError::ContentNotAllowed`],
/// [`FramingError::ProposalNotAllowed`], [`FramingError::Crypto`].
pub fn sign(
    suite: &Suite,
    wire_format: WireFormat,
    content: FramedContent,
    group_context: &[u8],
    key: &dyn SigningKey,
) -> Result<SignedContent, FramingError> {
    check_content(wire_format, &content)?;
    let tbs = to_be_signed(wire_format, &content, group_context);
    let signature = suite.sign_with_label(key, LABEL, &tbs)?;
    Ok(SignedContent { wire_format, content, signature })
}

/// The reference of a proposal, from the content that carried it (RFC 9420 section 5.2).
///
/// # Errors
/// [`CryptoError::InputTooLong`].
pub fn proposal_ref(
    suite: &Suite,
    authenticated: &AuthenticatedContent,
) -> Result<ProposalRef, CryptoError> {
    suite.proposal_ref(&authenticated.to_bytes())
}

/// Content with its signature; a commit still lacks its confirmation tag.
pub struct SignedContent {
    wire_format: WireFormat,
    content: FramedContent,
    signature: Signature,
}

impl SignedContent {
    /// How the content will travel.
    #[must_use]
    pub fn wire_format(&self) -> WireFormat {
        self.wire_format
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &FramedContent {
        &self.content
    }

    /// The signature, which enters the confirmed transcript hash.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Completes a proposal or application data.
    ///
    /// # Errors
    /// [`FramingError::ConfirmationTagMissing`] for a commit.
    pub fn finish(self) -> Result<AuthenticatedContent, FramingError> {
        self.complete(None)
    }

    /// Completes a commit with the confirmation tag of the epoch that it starts.
    ///
    /// # Errors
    /// [`FramingError::ConfirmationTagUnexpected`] for anything but a commit.
    pub fn confirmed(self, tag: ConfirmationTag) -> Result<AuthenticatedContent, FramingError> {
        self.complete(Some(tag))
    }

    fn complete(
        self,
        confirmation_tag: Option<ConfirmationTag>,
    ) -> Result<AuthenticatedContent, FramingError> {
        let auth = FramedContentAuthData { signature: self.signature, confirmation_tag };
        check_confirmation_tag(&self.content, &auth)?;
        Ok(AuthenticatedContent { wire_format: self.wire_format, content: self.content, auth })
    }
}

/// Content whose signature has not been verified. It is good for finding the sender's key, and for nothing else.
pub struct UnverifiedContent {
    suite: &'static Suite,
    authenticated: AuthenticatedContent,
    tbs: Zeroizing<Vec<u8>>,
}

impl UnverifiedContent {
    pub(super) fn new(
        suite: &'static Suite,
        authenticated: AuthenticatedContent,
        tbs: Zeroizing<Vec<u8>>,
    ) -> Self {
        Self { suite, authenticated, tbs }
    }

    /// Who claims to have sent it.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.authenticated.content.sender
    }

    /// What it claims to say. The key of an external commit or proposal stands in it (RFC 9420 section 6.1).
    #[must_use]
    pub fn content(&self) -> &FramedContent {
        &self.authenticated.content
    }

    /// Verifies the signature with the key that RFC 9420 section 6.1 names for the sender.
    ///
    /// # Errors
    /// [`FramingError::InvalidSignature`].
    pub fn verify_signature(self, key: &dyn VerifyingKey) -> Result<VerifiedContent, FramingError> {
        self.suite
            .verify_with_label(key, LABEL, &self.tbs, &self.authenticated.auth.signature)
            .map_err(|_| FramingError::InvalidSignature)?;
        Ok(VerifiedContent { suite: self.suite, authenticated: self.authenticated })
    }
}

/// Content that its sender signed, in this group and epoch. A commit's confirmation tag is yet to be checked.
pub struct VerifiedContent {
    suite: &'static Suite,
    authenticated: AuthenticatedContent,
}

impl VerifiedContent {
    /// How it travelled.
    #[must_use]
    pub fn wire_format(&self) -> WireFormat {
        self.authenticated.wire_format
    }

    /// Who sent it.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.authenticated.content.sender
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &FramedContent {
        &self.authenticated.content
    }

    /// Signature and confirmation tag.
    #[must_use]
    pub fn auth(&self) -> &FramedContentAuthData {
        &self.authenticated.auth
    }

    /// The reference by which a commit names the proposal in it.
    ///
    /// # Errors
    /// [`CryptoError::InputTooLong`].
    pub fn proposal_ref(&self) -> Result<ProposalRef, CryptoError> {
        proposal_ref(self.suite, &self.authenticated)
    }

    /// Gives up the mark of having been verified.
    #[must_use]
    pub fn into_authenticated(self) -> AuthenticatedContent {
        self.authenticated
    }
}

/// Sender and kind; never the content, which may be application data.
macro_rules! redacted_debug {
    ($($name:ident => $($field:ident).+;)*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let content = &self.$($field).+;
                f.debug_struct(stringify!($name))
                    .field("sender", &content.sender)
                    .field("epoch", &content.epoch)
                    .field("content_type", &content.content.content_type())
                    .finish_non_exhaustive()
            }
        }
    )*};
}

redacted_debug! {
    SignedContent => content;
    UnverifiedContent => authenticated.content;
    VerifiedContent => authenticated.content;
}
