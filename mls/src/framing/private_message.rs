//! Messages that are authenticated and encrypted (RFC 9420 section 6.3).

use zeroize::Zeroizing;

use crate::{
    codec::{Decode, DecodeError, Encode, MAX_VARINT, Reader},
    crypto::{CryptoRng, TAG_LENGTH, VerifyingKey},
    schedule::{Derived, RatchetKind, SecretTree, SenderDataSecret, TreeChange},
    wire::{
        AuthenticatedContent, Content, ContentType, FramedContent, FramedContentAuthData,
        LeafIndex, PrivateMessage, Sender, SenderData, WireFormat,
    },
};

use super::{
    FramingError, Padding, UnverifiedContent, VerifiedContent,
    content::{check_confirmation_tag, check_content, to_be_signed},
};

/// Encrypts signed content with the next key of one's own ratchet. The key is used up even where encryption fails.
///
/// # Errors
/// [`FramingError::WrongWireFormat`], [`FramingError::SenderNotMember`], [`FramingError::NotOwnLeaf`],
/// [`FramingError::TooLong`], [`FramingError::SecretTree`] when the ratchet has come to its end.
pub fn seal_private(
    tree: &mut SecretTree,
    sender_data_secret: &SenderDataSecret,
    authenticated: &AuthenticatedContent,
    padding: Padding,
    rng: &mut dyn CryptoRng,
) -> Result<PrivateMessage, FramingError> {
    let AuthenticatedContent { wire_format, content, auth } = authenticated;
    if *wire_format != WireFormat::PrivateMessage {
        return Err(FramingError::WrongWireFormat);
    }
    check_content(*wire_format, content)?;
    check_confirmation_tag(content, auth)?;
    let leaf_index = match content.sender {
        Sender::Member(leaf) if leaf == tree.own_leaf() => leaf,
        Sender::Member(leaf) => return Err(FramingError::NotOwnLeaf(leaf)),
        _ => return Err(FramingError::SenderNotMember),
    };
    let mut sealed = encode_padded(content, auth, padding)?;

    let content_type = content.content.content_type();
    let mut sent = tree.next_send_key(RatchetKind::from(content_type))?;
    let mut reuse_guard = [0; 4];
    rng.fill_bytes(&mut reuse_guard);
    sent.key.guard(reuse_guard);

    let mut message = PrivateMessage {
        group_id: content.group_id.clone(),
        epoch: content.epoch,
        content_type,
        authenticated_data: content.authenticated_data.clone(),
        encrypted_sender_data: Vec::new(),
        ciphertext: Vec::new(),
    };
    let aead = tree.suite().aead;
    let (key, nonce) = (sent.key.key(), sent.key.nonce());
    let tag = aead.seal_in_place(key, nonce, &message.content_aad(), &mut sealed)?;
    sealed.extend_from_slice(&tag);
    message.ciphertext = std::mem::take(&mut *sealed);

    let sender_data = SenderData { leaf_index, generation: sent.generation, reuse_guard };
    let keys = sender_data_secret.keys(tree.suite(), &message.ciphertext)?;
    let aad = message.sender_data_aad();
    message.encrypted_sender_data =
        aead.seal(keys.key(), keys.nonce(), &aad, &sender_data.to_bytes())?;
    Ok(message)
}

/// `PrivateMessageContent`, with room for the tag.
fn encode_padded(
    content: &FramedContent,
    auth: &FramedContentAuthData,
    padding: Padding,
) -> Result<Zeroizing<Vec<u8>>, FramingError> {
    let mut plaintext = Zeroizing::new(Vec::new());
    if let Content::Application(data) = &content.content {
        // Only application data are worth hiding from memory that a growing vector gives up.
        let bound = data.len().saturating_add(256);
        let room = padding.padded(bound).ok_or(FramingError::TooLong(data.len()))?;
        if room > MAX_VARINT {
            return Err(FramingError::TooLong(data.len()));
        }
        plaintext.reserve_exact(room.saturating_add(TAG_LENGTH));
    }
    content.content.encode_untagged(&mut plaintext);
    auth.encode(&mut plaintext);
    let length = plaintext.len();
    match padding.padded(length) {
        Some(padded) if padded.saturating_add(TAG_LENGTH) <= MAX_VARINT => {
            plaintext.resize(padded, 0);
            Ok(plaintext)
        }
        _ => Err(FramingError::TooLong(length)),
    }
}

/// Decrypts a private message. `occupied` says whether a leaf holds a member (RFC 9420 section 6.3.2);
/// `group_context` is the encoded GroupContext of the epoch that the message names.
///
/// Nothing changes until [`OpenedMessage::verify_signature`] succeeds.
///
/// # Errors
/// [`FramingError`] names the rule.
pub fn open_private<'tree>(
    tree: &'tree mut SecretTree,
    sender_data_secret: &SenderDataSecret,
    message: PrivateMessage,
    group_context: &[u8],
    occupied: impl FnOnce(LeafIndex) -> bool,
) -> Result<OpenedMessage<'tree>, FramingError> {
    let SenderData { leaf_index, generation, reuse_guard } =
        open_sender_data(tree, sender_data_secret, &message)?;
    if !occupied(leaf_index) {
        return Err(FramingError::BlankSender(leaf_index));
    }
    let kind = RatchetKind::from(message.content_type);
    let Derived { mut key, change } = tree.derive(leaf_index, kind, generation)?;
    key.guard(reuse_guard);
    let suite = tree.suite();
    let plaintext = suite
        .aead
        .open(key.key(), key.nonce(), &message.content_aad(), &message.ciphertext)
        .map(Zeroizing::new)
        .map_err(|_| FramingError::ContentUndecryptable)?;
    let Plaintext { content, auth } = Plaintext::decode(message.content_type, &plaintext)?;

    let wire_format = WireFormat::PrivateMessage;
    let content = FramedContent {
        group_id: message.group_id,
        epoch: message.epoch,
        sender: Sender::Member(leaf_index),
        authenticated_data: message.authenticated_data,
        content,
    };
    let tbs = to_be_signed(wire_format, &content, group_context);
    let authenticated = AuthenticatedContent { wire_format, content, auth };
    let content = UnverifiedContent::new(suite, authenticated, tbs);
    Ok(OpenedMessage { tree, change, sender: leaf_index, generation, content })
}

fn open_sender_data(
    tree: &SecretTree,
    secret: &SenderDataSecret,
    message: &PrivateMessage,
) -> Result<SenderData, FramingError> {
    let keys = secret.keys(tree.suite(), &message.ciphertext)?;
    let aad = message.sender_data_aad();
    let plaintext = tree
        .suite()
        .aead
        .open(keys.key(), keys.nonce(), &aad, &message.encrypted_sender_data)
        .map_err(|_| FramingError::SenderDataUndecryptable)?;
    SenderData::from_bytes(&plaintext).map_err(FramingError::SenderDataMalformed)
}

/// A decrypted `PrivateMessageContent`.
struct Plaintext {
    content: Content,
    auth: FramedContentAuthData,
}

impl Plaintext {
    fn decode(content_type: ContentType, bytes: &[u8]) -> Result<Self, FramingError> {
        let mut reader = Reader::new(bytes);
        let mut decode = || -> Result<Self, DecodeError> {
            let content = Content::decode_untagged(content_type, &mut reader)?;
            let auth = FramedContentAuthData::decode_for(content_type, &mut reader)?;
            Ok(Self { content, auth })
        };
        let plaintext = decode().map_err(FramingError::ContentMalformed)?;
        if reader.rest().iter().any(|&byte| byte != 0) {
            return Err(FramingError::NonZeroPadding);
        }
        Ok(plaintext)
    }
}

/// A private message that decrypts; its signature has not been verified.
///
/// Any member can encrypt under another member's key, so a message that decrypts may still be a forgery. The key is therefore
/// consumed together with the check of the signature: a forgery leaves the key to the genuine message.
#[must_use]
pub struct OpenedMessage<'tree> {
    tree: &'tree mut SecretTree,
    change: TreeChange,
    sender: LeafIndex,
    generation: u32,
    content: UnverifiedContent,
}

impl OpenedMessage<'_> {
    /// The member who claims to have sent it.
    #[must_use]
    pub fn sender(&self) -> LeafIndex {
        self.sender
    }

    /// The generation of the sender's ratchet.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What it claims to say.
    #[must_use]
    pub fn content(&self) -> &FramedContent {
        self.content.content()
    }

    /// Verifies the signature with the key in the sender's leaf, and consumes the message's key.
    ///
    /// # Errors
    /// [`FramingError::InvalidSignature`]; the secret tree is then unchanged.
    pub fn verify_signature(self, key: &dyn VerifyingKey) -> Result<VerifiedContent, FramingError> {
        let verified = self.content.verify_signature(key)?;
        self.tree.consume(self.change);
        Ok(verified)
    }
}

impl std::fmt::Debug for OpenedMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedMessage")
            .field("sender", &self.sender)
            .field("generation", &self.generation)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}
