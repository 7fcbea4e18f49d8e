//! Messages that are authenticated, not encrypted (RFC 9420 section 6.2).

use zeroize::Zeroizing;

use crate::{
    codec::Encode,
    crypto::Suite,
    schedule::MembershipKey,
    wire::{AuthenticatedContent, FramedContent, MembershipTag, PublicMessage, Sender, WireFormat},
};

use super::{
    FramingError, UnverifiedContent,
    content::{check_confirmation_tag, check_content, to_be_signed},
};

/// Makes a public message of signed content, with a membership tag when a member sends it.
///
/// # Errors
/// [`FramingError::MembershipKeyMissing`], [`FramingError::WrongWireFormat`], and the rules on who may send what.
pub fn protect_public(
    suite: &Suite,
    authenticated: AuthenticatedContent,
    membership_key: Option<&MembershipKey>,
    group_context: &[u8],
) -> Result<PublicMessage, FramingError> {
    let AuthenticatedContent { wire_format, content, auth } = authenticated;
    if wire_format != WireFormat::PublicMessage {
        return Err(FramingError::WrongWireFormat);
    }
    check_content(wire_format, &content)?;
    check_confirmation_tag(&content, &auth)?;
    let membership_tag = match (content.sender, membership_key) {
        (Sender::Member(_), Some(key)) => {
            let tbs = to_be_signed(wire_format, &content, group_context);
            Some(MembershipTag(suite.mac(key.as_secret(), &[&tbs, &auth.to_bytes()])))
        }
        (Sender::Member(_), None) => return Err(FramingError::MembershipKeyMissing),
        _ => None,
    };
    Ok(PublicMessage { content, auth, membership_tag })
}

/// A public message that keeps the rules of form; nothing in it is verified.
pub struct ReceivedPublicMessage {
    suite: &'static Suite,
    authenticated: AuthenticatedContent,
    membership_tag: Option<MembershipTag>,
    tbs: Zeroizing<Vec<u8>>,
}

impl ReceivedPublicMessage {
    /// Checks who may send what, and which tags stand where (RFC 9420 sections 6, 6.1, 6.2).
    ///
    /// `group_context` is the encoded GroupContext of the epoch that the message names.
    ///
    /// # Errors
    /// [`FramingError`] names the rule.
    pub fn new(
        suite: &'static Suite,
        message: PublicMessage,
        group_context: &[u8],
    ) -> Result<Self, FramingError> {
        let PublicMessage { content, auth, membership_tag } = message;
        let wire_format = WireFormat::PublicMessage;
        check_content(wire_format, &content)?;
        check_confirmation_tag(&content, &auth)?;
        match (content.sender, &membership_tag) {
            (Sender::Member(_), None) => return Err(FramingError::MembershipTagMissing),
            (Sender::Member(_), Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(FramingError::MembershipTagUnexpected),
        }
        let tbs = to_be_signed(wire_format, &content, group_context);
        let authenticated = AuthenticatedContent { wire_format, content, auth };
        Ok(Self { suite, authenticated, membership_tag, tbs })
    }

    /// Who claims to have sent it.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.authenticated.content.sender
    }

    /// What it claims to say.
    #[must_use]
    pub fn content(&self) -> &FramedContent {
        &self.authenticated.content
    }

    /// Checks in constant time that a member made the message. Messages from outside the group carry no tag and pass:
    /// their signature alone vouches for them.
    ///
    /// # Errors
    /// [`FramingError::MembershipTagMismatch`].
    pub fn verify_membership(self, key: &MembershipKey) -> Result<UnverifiedContent, FramingError> {
        self.check_membership(key)?;
        Ok(self.without_membership_check())
    }

    /// The check of [`ReceivedPublicMessage::verify_membership`] by itself.
    pub(crate) fn check_membership(&self, key: &MembershipKey) -> Result<(), FramingError> {
        let Some(tag) = &self.membership_tag else { return Ok(()) };
        let auth = self.authenticated.auth.to_bytes();
        self.suite
            .verify_mac(key.as_secret(), &[&self.tbs, &auth], tag.as_bytes())
            .map_err(|_| FramingError::MembershipTagMismatch)
    }

    /// Leaves the membership tag unchecked, for those who follow a group without its secrets. A holder of a member's
    /// signature key who is not a member then passes for one.
    #[must_use]
    pub fn without_membership_check(self) -> UnverifiedContent {
        UnverifiedContent::new(self.suite, self.authenticated, self.tbs)
    }
}

impl std::fmt::Debug for ReceivedPublicMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceivedPublicMessage")
            .field("sender", &self.sender())
            .field("epoch", &self.content().epoch)
            .finish_non_exhaustive()
    }
}
