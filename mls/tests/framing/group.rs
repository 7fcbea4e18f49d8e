//! A group of four leaves, the last one blank, as the framing layer sees it.

use mls::{
    codec::Encode,
    crypto::{SigningKey, Suite, VerifyingKey, os_rng},
    framing::{
        FramingError, OpenedMessage, Padding, ReceivedPublicMessage, SignedContent,
        UnverifiedContent, open_private, protect_public, seal_private, sign,
    },
    schedule::{EncryptionSecret, MembershipKey, RatchetLimits, SecretTree, SenderDataSecret},
    wire::{
        AuthenticatedContent, Commit, ConfirmationTag, Content, Extensions, FramedContent,
        GroupContext, GroupId, LeafIndex, PrivateMessage, Proposal, ProtocolVersion, PublicMessage,
        Remove, Sender, TreeHash, WireFormat,
    },
};

pub(crate) const ALICE: LeafIndex = LeafIndex(0);
pub(crate) const BOB: LeafIndex = LeafIndex(1);
pub(crate) const CAROL: LeafIndex = LeafIndex(2);
pub(crate) const NOBODY: LeafIndex = LeafIndex(3);
pub(crate) const EPOCH: u64 = 5;

/// One member's view of the group.
pub(crate) struct Member {
    pub(crate) suite: &'static Suite,
    pub(crate) tree: SecretTree,
    pub(crate) sender_data: SenderDataSecret,
    pub(crate) membership: MembershipKey,
    pub(crate) context: Vec<u8>,
    pub(crate) leaf: LeafIndex,
    pub(crate) key: Box<dyn SigningKey>,
    keys: Vec<Box<dyn VerifyingKey>>,
}

/// The three members.
pub(crate) struct Group {
    pub(crate) alice: Member,
    pub(crate) bob: Member,
    pub(crate) carol: Member,
}

pub(crate) fn group(suite: &'static Suite) -> Group {
    let signing: Vec<_> =
        (0..3).map(|_| suite.signature.generate(&mut os_rng()).unwrap()).collect();
    let public: Vec<Vec<u8>> = signing.iter().map(|key| key.public().to_vec()).collect();
    let mut members = (0..).zip(signing).map(|(leaf, key)| Member {
        suite,
        tree: SecretTree::new(
            suite,
            EncryptionSecret::from_slice(&vec![1; suite.hash_length()]),
            4,
            LeafIndex(leaf),
            RatchetLimits::default(),
        )
        .unwrap(),
        sender_data: SenderDataSecret::from_slice(&vec![2; suite.hash_length()]),
        membership: MembershipKey::from_slice(&vec![3; suite.hash_length()]),
        context: context(suite, EPOCH),
        leaf: LeafIndex(leaf),
        key,
        keys: public.iter().map(|key| suite.signature.verifying_key(key).unwrap()).collect(),
    });
    let mut next = || members.next().unwrap();
    Group { alice: next(), bob: next(), carol: next() }
}

pub(crate) fn context(suite: &Suite, epoch: u64) -> Vec<u8> {
    GroupContext {
        version: ProtocolVersion::MLS10,
        cipher_suite: suite.id,
        group_id: GroupId(b"group".to_vec()),
        epoch,
        tree_hash: TreeHash(vec![4; 32]),
        confirmed_transcript_hash: vec![5; 32],
        extensions: Extensions::default(),
    }
    .to_bytes()
}

pub(crate) fn application(data: &[u8]) -> Content {
    Content::Application(data.to_vec())
}

pub(crate) fn proposal() -> Content {
    Content::Proposal(Proposal::Remove(Remove { removed: CAROL }))
}

pub(crate) fn commit() -> Content {
    Content::Commit(Box::new(Commit { proposals: Vec::new(), path: None }))
}

pub(crate) fn framed(sender: Sender, content: Content) -> FramedContent {
    FramedContent {
        group_id: GroupId(b"group".to_vec()),
        epoch: EPOCH,
        sender,
        authenticated_data: b"for all to see".to_vec(),
        content,
    }
}

/// Completes content, with some confirmation tag where one belongs.
pub(crate) fn complete(signed: SignedContent) -> AuthenticatedContent {
    if matches!(signed.content().content, Content::Commit(_)) {
        signed.confirmed(ConfirmationTag(vec![6; 32])).unwrap()
    } else {
        signed.finish().unwrap()
    }
}

impl Member {
    pub(crate) fn signed(&self, format: WireFormat, content: Content) -> AuthenticatedContent {
        let content = framed(Sender::Member(self.leaf), content);
        complete(sign(self.suite, format, content, &self.context, &*self.key).unwrap())
    }

    pub(crate) fn public(&self, content: Content) -> PublicMessage {
        let signed = self.signed(WireFormat::PublicMessage, content);
        protect_public(self.suite, signed, Some(&self.membership), &self.context).unwrap()
    }

    pub(crate) fn private(&mut self, content: Content, padding: Padding) -> PrivateMessage {
        let signed = self.signed(WireFormat::PrivateMessage, content);
        let rng = &mut os_rng();
        seal_private(&mut self.tree, &self.sender_data, &signed, padding, rng).unwrap()
    }

    pub(crate) fn key_of(&self, leaf: LeafIndex) -> &dyn VerifyingKey {
        &*self.keys[leaf.0 as usize]
    }

    /// From the wire to verified content, all checks done.
    pub(crate) fn read_public(&self, message: PublicMessage) -> Result<Content, FramingError> {
        let received = ReceivedPublicMessage::new(self.suite, message, &self.context)?;
        let unverified: UnverifiedContent = received.verify_membership(&self.membership)?;
        let Sender::Member(leaf) = unverified.sender() else { panic!("not from a member") };
        let verified = unverified.verify_signature(self.key_of(leaf))?;
        Ok(verified.into_authenticated().content.content)
    }

    pub(crate) fn open(
        &mut self,
        message: PrivateMessage,
    ) -> Result<OpenedMessage<'_>, FramingError> {
        let occupied = |leaf| leaf != NOBODY;
        open_private(&mut self.tree, &self.sender_data, message, &self.context, occupied)
    }

    /// From the wire to verified content, all checks done.
    pub(crate) fn read_private(
        &mut self,
        message: PrivateMessage,
    ) -> Result<Content, FramingError> {
        let keys: Vec<_> =
            (0..3).map(|leaf| self.key_of(LeafIndex(leaf)).as_bytes().to_vec()).collect();
        let suite = self.suite;
        let opened = self.open(message)?;
        let key = suite.signature.verifying_key(&keys[opened.sender().0 as usize]).unwrap();
        Ok(opened.verify_signature(&*key)?.into_authenticated().content.content)
    }

    pub(crate) fn state(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.tree.save(&mut out);
        out
    }
}
