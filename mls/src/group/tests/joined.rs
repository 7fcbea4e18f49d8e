//! Trees with a leaf that breaks a rule (RFC 9420 sections 7.3, 12.4.3.1): whoever joins by Welcome or by external commit, and a
//! delivery service that starts, must refuse the group. Everything else about the GroupInfo is right: tree hash, signatures.

use std::sync::Arc;

use super::{
    leaf_rules::{BadLeaf, able_options, bad_by_themselves, bad_in_a_demanding_group, demands},
    welcome::{Invitation, invitation_to},
    *,
};
use crate::{
    ExternalJoinOptions, GroupId, JoinError, UnixTime,
    crypto::CryptoError,
    tree::{NodeIndex, RatchetTree, TreeError},
    validation::{GroupInfoViolation, LeafNodeViolation as Leaf},
    wire::{
        Credential, CredentialType, Extension, ExtensionType, Extensions, ExternalPub,
        GroupContext, GroupInfo, GroupInfoTbs, Lifetime, Node, ProtocolVersion, Signature,
    },
};

const ID: &[u8] = b"a group in which not all is well";

/// Somebody in the tree, with a leaf that is signed for its place.
struct Occupant {
    client: Client,
    leaf: LeafNode,
}

struct Stage {
    invitation: Invitation,
    rng: StdRng,
    extensions: Extensions,
}

fn stage(seed: u64, extensions: Extensions) -> Stage {
    let invitation = invitation_to(scene_with(seed, able_options()), true);
    Stage { invitation, rng: rng(seed), extensions }
}

impl Stage {
    fn occupant(&mut self, name: &str, alter: impl FnOnce(&mut LeafNode)) -> Occupant {
        let client = client(name, suite(), able_options(), &mut self.rng);
        let mut leaf = key_package(&client, &mut self.rng).key_package().leaf_node.clone();
        alter(&mut leaf);
        Occupant { client, leaf }
    }

    /// A GroupInfo of a group of these, by the first one. Parents are blank; leaf n is signed for leaf n of the group `id`.
    fn info(&mut self, occupants: &mut [Occupant], id: &[u8]) -> GroupInfo {
        let mut nodes = Vec::new();
        for (index, occupant) in (0u32..).zip(occupants.iter_mut()) {
            let (identity, id) = (occupant.client.identity(), GroupId(id.to_vec()));
            identity.sign_leaf(suite(), &mut occupant.leaf, &id, LeafIndex(index)).unwrap();
            if index > 0 {
                nodes.push(None);
            }
            nodes.push(Some(Node::Leaf(Box::new(occupant.leaf.clone()))));
        }
        let tree = nodes.to_bytes();
        let group_context = GroupContext {
            version: ProtocolVersion::MLS10,
            cipher_suite: suite().id,
            group_id: GroupId(ID.to_vec()),
            epoch: 7,
            tree_hash: RatchetTree::from_bytes(suite(), &tree).unwrap().tree_hash(),
            confirmed_transcript_hash: vec![1; 32],
            extensions: self.extensions.clone(),
        };
        let external = suite().kem.generate(&mut self.rng).unwrap();
        let external_pub = HpkePublicKey::from(external.public());
        let mut info = GroupInfo {
            group_context,
            extensions: Extensions::from_iter([
                Extension { extension_type: ExtensionType::RATCHET_TREE, data: tree },
                Extension::new(ExtensionType::EXTERNAL_PUB, &ExternalPub { external_pub }),
            ]),
            confirmation_tag: ConfirmationTag(vec![2; 32]),
            signer: LeafIndex(0),
            signature: Signature::default(),
        };
        let signer = occupants[0].client.identity().signer();
        let signed = GroupInfoTbs(&info).to_bytes();
        info.signature = suite().sign_with_label(signer, "GroupInfoTBS", &signed).unwrap();
        info
    }

    fn public_group(bytes: &[u8]) -> Result<PublicGroup, JoinError> {
        let options = PublicGroupOptions::new(AcceptAnyCredential);
        PublicGroup::new(suite(), bytes, None, options, NOW)
    }

    /// Nobody joins a group of these.
    fn refused(&mut self, violation: &GroupInfoViolation, mut occupants: Vec<Occupant>) {
        self.refused_in(violation, &mut occupants, ID);
    }

    fn refused_in(
        &mut self,
        violation: &GroupInfoViolation,
        occupants: &mut [Occupant],
        signed_for: &[u8],
    ) {
        let info = self.info(occupants, signed_for);
        let expected = JoinError::GroupInfo(violation.clone());
        self.invitation.refused(expected.clone(), |parts| {
            parts.info = info.clone();
            parts.signer = occupants[0].client.clone();
        });
        let bytes = MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes();
        assert_eq!(Self::public_group(&bytes).unwrap_err(), expected);
        let join = ExternalJoinOptions::default();
        let joiner = &self.invitation.client;
        let joined = joiner.join_external(&bytes, None, join, &mut self.rng, NOW);
        assert_eq!(joined.unwrap_err(), expected);
    }

    /// The same without the fault is joined: nothing else was wrong.
    fn goes_on(mut self) {
        let mut occupants = vec![self.occupant("first", |_| {}), self.occupant("second", |_| {})];
        let info = self.info(&mut occupants, ID);
        let bytes = MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes();
        assert!(Self::public_group(&bytes).is_ok());
        let join = ExternalJoinOptions::default();
        let joiner = &self.invitation.client;
        assert!(joiner.join_external(&bytes, None, join, &mut self.rng, NOW).is_ok());
        self.invitation.goes_on();
    }
}

fn at(leaf: u32, violation: Leaf) -> GroupInfoViolation {
    GroupInfoViolation::Leaf { leaf: LeafIndex(leaf), violation }
}

#[test]
fn a_member_whose_leaf_breaks_a_rule() {
    let mut stage = stage(120, demands());
    for BadLeaf { violation, alter } in
        bad_by_themselves().into_iter().chain(bad_in_a_demanding_group())
    {
        let occupants = vec![stage.occupant("bad", alter), stage.occupant("good", |_| {})];
        stage.refused(&at(0, violation), occupants);
    }
    let long = Lifetime { not_before: UnixTime(0), not_after: UnixTime(u64::MAX) };
    let alter = |leaf: &mut LeafNode| leaf.source = LeafNodeSource::KeyPackage(long);
    let occupants = vec![stage.occupant("bad", alter), stage.occupant("good", |_| {})];
    stage.refused(&at(0, Leaf::LifetimeTooLong), occupants);
    stage.goes_on();
}

#[test]
fn a_member_whose_credential_type_not_all_support() {
    let mut stage = stage(121, Extensions::new());
    let kind = CredentialType(0xff61);
    let alter = |leaf: &mut LeafNode| {
        leaf.credential = Credential::Other(kind, vec![1]);
        leaf.capabilities.credentials.push(kind);
    };
    let occupants = vec![stage.occupant("good", |_| {}), stage.occupant("other", alter)];
    stage.refused(&at(1, Leaf::CredentialTypeNotShared(kind)), occupants);
    stage.goes_on();
}

#[test]
fn two_members_with_one_key() {
    let mut stage = stage(122, Extensions::new());
    let first = stage.occupant("first", |_| {});
    let taken = first.leaf.encryption_key.clone();
    let other = stage.occupant("other", |leaf| leaf.encryption_key = taken);
    let error = TreeError::DuplicateEncryptionKey { first: NodeIndex(0), second: NodeIndex(2) };
    stage.refused(&GroupInfoViolation::Tree(error), vec![first, other]);

    let first = stage.occupant("first", |_| {});
    let mut other =
        stage.occupant("other", |leaf| leaf.signature_key = first.client.identity().public());
    other.client = first.client.clone();
    let error = TreeError::DuplicateSignatureKey { first: LeafIndex(0), second: LeafIndex(1) };
    stage.refused(&GroupInfoViolation::Tree(error), vec![first, other]);
    stage.goes_on();
}

#[test]
fn a_member_whose_signature_is_not_for_its_place() {
    let mut stage = stage(123, Extensions::new());
    let invalid = |leaf, error| {
        GroupInfoViolation::Tree(TreeError::LeafSignature { leaf: LeafIndex(leaf), error })
    };
    let update = |leaf: &mut LeafNode| leaf.source = LeafNodeSource::Update;
    // Signed for another group.
    let mut occupants = vec![stage.occupant("good", |_| {}), stage.occupant("moved", update)];
    let error = CryptoError::InvalidSignature;
    stage.refused_in(&invalid(1, error), &mut occupants, b"another group");
    // Signed by somebody else.
    let mut bad = stage.occupant("bad", |_| {});
    bad.client = stage.occupant("forger", |_| {}).client;
    let occupants = vec![stage.occupant("good", |_| {}), bad];
    stage.refused(&invalid(1, error), occupants);
    // A key that is none.
    let small = |leaf: &mut LeafNode| {
        leaf.signature_key.0.fill(0);
        leaf.signature_key.0[0] = 1;
    };
    let occupants = vec![stage.occupant("good", |_| {}), stage.occupant("bad", small)];
    stage.refused(&invalid(1, CryptoError::InvalidPublicKey), occupants);
    stage.goes_on();
}

#[test]
fn demands_that_are_not_well_formed() {
    let kinds = [ExtensionType::REQUIRED_CAPABILITIES, ExtensionType::EXTERNAL_SENDERS];
    for kind in kinds {
        let broken = Extension { extension_type: kind, data: vec![9] };
        let mut stage = stage(124, Extensions::from_iter([broken]));
        let occupants = vec![stage.occupant("good", |_| {})];
        stage.refused(&GroupInfoViolation::ExtensionMalformed, occupants);
    }
}

#[test]
fn an_extension_of_the_group_that_the_joiner_does_not_support() {
    let kind = ExtensionType(0xff62);
    let extension = Extension { extension_type: kind, data: Vec::new() };
    let mut stage = stage(125, Extensions::from_iter([extension]));
    let lists = |leaf: &mut LeafNode| leaf.capabilities.extensions.push(kind);
    let mut occupants = vec![stage.occupant("first", lists)];
    let info = stage.info(&mut occupants, ID);
    stage.invitation.refused(JoinError::ExtensionUnsupported(kind), |parts| {
        parts.info = info.clone();
        parts.signer = occupants[0].client.clone();
    });
    let bytes = MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes();
    let join = ExternalJoinOptions::default();
    let joiner = stage.invitation.client.clone();
    let joined = joiner.join_external(&bytes, None, join.clone(), &mut stage.rng, NOW);
    assert_eq!(joined.unwrap_err(), JoinError::ExtensionUnsupported(kind));
    // One that supports it joins the very same group.
    let mut options = able_options();
    options.capabilities.extensions.push(kind);
    options.validator = Arc::new(AcceptAnyCredential);
    let able = client("able", suite(), options, &mut stage.rng);
    assert!(able.join_external(&bytes, None, join, &mut stage.rng, NOW).is_ok());
    assert!(Stage::public_group(&bytes).is_ok());
}

#[test]
fn an_external_public_key_that_is_none() {
    let mut stage = stage(126, Extensions::new());
    let mut occupants = vec![stage.occupant("first", |_| {})];
    let mut info = stage.info(&mut occupants, ID);
    let join = |info: &GroupInfo, rng: &mut StdRng, client: &Client| {
        let mut info = info.clone();
        let signer = occupants[0].client.identity().signer();
        let signed = GroupInfoTbs(&info).to_bytes();
        info.signature = suite().sign_with_label(signer, "GroupInfoTBS", &signed).unwrap();
        let bytes = MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes();
        let options = ExternalJoinOptions::default();
        client.join_external(&bytes, None, options, rng, NOW).map(|_| ()).unwrap_err()
    };
    let client = stage.invitation.client.clone();
    for key in [vec![0; 32], vec![1; 31], Vec::new()] {
        let external_pub = HpkePublicKey(key);
        let extension = Extension::new(ExtensionType::EXTERNAL_PUB, &ExternalPub { external_pub });
        info.extensions.set(extension);
        let error = join(&info, &mut stage.rng, &client);
        assert_eq!(error, JoinError::GroupInfo(GroupInfoViolation::ExternalPub));
        // Somebody else may give a better one.
        assert_eq!((error.fault(), error.action()), (crate::Fault::MisbehavingPeer, Action::Drop));
    }
    let broken = Extension { extension_type: ExtensionType::EXTERNAL_PUB, data: vec![5] };
    info.extensions.set(broken);
    let error = join(&info, &mut stage.rng, &client);
    assert_eq!(error, JoinError::GroupInfo(GroupInfoViolation::ExtensionMalformed));
    let kept = info.extensions.iter().filter(|e| e.extension_type != ExtensionType::EXTERNAL_PUB);
    info.extensions = kept.cloned().collect();
    let error = join(&info, &mut stage.rng, &client);
    assert_eq!(error, JoinError::GroupInfo(GroupInfoViolation::ExternalPubMissing));
    stage.goes_on();
}
