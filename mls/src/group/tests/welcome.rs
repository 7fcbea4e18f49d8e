//! The rules on Welcomes (RFC 9420 section 12.4.3.1): taken apart, altered, signed and sealed again.

use super::*;
use crate::{
    JoinError,
    crypto::{KemPrivateKey, Secret},
    schedule::{JoinerSecret, MemberSecret, PskSecret},
    tree::{NodeIndex, UpdatePathError},
    validation::GroupInfoViolation,
    wire::{
        CipherSuite, Extension, ExtensionType, GroupInfo, GroupInfoTbs, GroupSecrets,
        HpkePublicKey, KeyPackageTbs, PathSecretBytes, PreSharedKeyId, ProtocolVersion, PskSource,
        ResumptionPskUsage, Welcome,
    },
};

/// A key package whose private keys are known to the test.
struct OpenBundle {
    bundle: KeyPackageBundle,
    init_key: Box<dyn KemPrivateKey>,
}

fn open_bundle(client: &Client, rng: &mut StdRng) -> OpenBundle {
    let mut package = key_package(client, rng).key_package().clone();
    let (init_key, leaf_key) =
        (suite().kem.generate(rng).unwrap(), suite().kem.generate(rng).unwrap());
    package.init_key = HpkePublicKey::from(init_key.public());
    package.leaf_node.encryption_key = HpkePublicKey::from(leaf_key.public());
    let nowhere = crate::GroupId::default();
    client.identity().sign_leaf(suite(), &mut package.leaf_node, &nowhere, LeafIndex(0)).unwrap();
    let signed = KeyPackageTbs(&package).to_bytes();
    let signer = client.identity().signer();
    package.signature = suite().sign_with_label(signer, "KeyPackageTBS", &signed).unwrap();
    let (init, leaf) = (init_key.export().unwrap(), leaf_key.export().unwrap());
    let bundle = KeyPackageBundle::from_parts(suite(), package, &init, &leaf).unwrap();
    OpenBundle { bundle, init_key }
}

/// A Welcome taken apart.
pub(super) struct Parts {
    welcome: Welcome,
    pub(super) info: GroupInfo,
    joiner_secret: Vec<u8>,
    path_secret: Option<Vec<u8>>,
    psks: Vec<PreSharedKeyId>,
    /// Who signs the altered GroupInfo.
    pub(super) signer: Client,
    /// Alters the sealed GroupInfo before the secrets are bound to it.
    broken: bool,
}

pub(super) struct Invitation {
    scene: Scene,
    pub(super) client: Client,
    open: OpenBundle,
    message: Vec<u8>,
    commit: Vec<u8>,
}

fn invitation(seed: u64, path: bool) -> Invitation {
    invitation_to(scene(seed), path)
}

pub(super) fn invitation_to(mut scene: Scene, path: bool) -> Invitation {
    let client = scene.client("newcomer");
    let open = open_bundle(&client, &mut scene.rng);
    let builder = scene.groups[0].commit().add(open.bundle.key_package().clone());
    let builder = if path { builder } else { builder.omit_path() };
    let pending = builder.build(&mut scene.rng, NOW).unwrap();
    let message = pending.welcome().unwrap().to_vec();
    let commit = support::settle(&mut scene.groups, 0, pending).commit;
    Invitation { scene, client, open, message, commit }
}

fn welcome_in(message: &[u8]) -> Welcome {
    match MlsMessage::from_bytes(message).unwrap().0 {
        MlsMessageBody::Welcome(welcome) => welcome,
        other => panic!("expected a welcome, not {other:?}"),
    }
}

fn member(joiner_secret: &[u8]) -> MemberSecret {
    let none = PskSecret::compute(suite(), &[]).unwrap();
    JoinerSecret::from_slice(joiner_secret).member(suite(), &none)
}

impl Invitation {
    fn parts(&self) -> Parts {
        let welcome = welcome_in(&self.message);
        let (init, entry) = (&*self.open.init_key, &welcome.secrets[0].encrypted_group_secrets);
        let context = &welcome.encrypted_group_info;
        let secrets = suite().decrypt_with_label(init, "Welcome", context, entry).unwrap();
        let secrets = GroupSecrets::from_bytes(secrets.as_bytes()).unwrap();
        let joiner_secret = secrets.expose_joiner_secret().to_vec();
        let keys = member(&joiner_secret).welcome(suite()).unwrap().keys(suite()).unwrap();
        let info = keys.open(&welcome.encrypted_group_info).unwrap();
        Parts {
            info: GroupInfo::from_bytes(&info).unwrap(),
            joiner_secret,
            path_secret: secrets.path_secret.as_ref().map(|secret| secret.expose().to_vec()),
            psks: secrets.psks.clone(),
            signer: self.scene.groups[0].client().clone(),
            broken: false,
            welcome,
        }
    }

    fn altered(&self, alter: impl FnOnce(&mut Parts)) -> Vec<u8> {
        let mut parts = self.parts();
        alter(&mut parts);
        let signed = GroupInfoTbs(&parts.info).to_bytes();
        let signer = parts.signer.identity().signer();
        parts.info.signature = suite().sign_with_label(signer, "GroupInfoTBS", &signed).unwrap();
        let keys = member(&parts.joiner_secret).welcome(suite()).unwrap().keys(suite()).unwrap();
        let mut welcome = parts.welcome;
        welcome.encrypted_group_info = keys.seal(&parts.info.to_bytes()).unwrap();
        if parts.broken {
            welcome.encrypted_group_info[0] ^= 1;
        }
        let path_secret = parts.path_secret.map(PathSecretBytes::new);
        let secrets = GroupSecrets::new(parts.joiner_secret, path_secret, parts.psks).to_bytes();
        let init_key = suite().kem.public_key(self.open.init_key.public()).unwrap();
        let context = &welcome.encrypted_group_info;
        let mut rng = rng(1);
        welcome.secrets[0].encrypted_group_secrets =
            suite().encrypt_with_label(&*init_key, "Welcome", context, &secrets, &mut rng).unwrap();
        MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes()
    }

    fn join(&self, message: &[u8]) -> Result<Group, JoinError> {
        Ok(self.client.join(message, [&self.open.bundle], None, NOW)?.accept())
    }

    pub(super) fn refused(&self, expected: JoinError, alter: impl FnOnce(&mut Parts)) {
        assert_eq!(self.join(&self.altered(alter)).unwrap_err(), expected);
    }

    /// The bundle is as before: the genuine Welcome still works.
    pub(super) fn goes_on(self) {
        let joined = self.join(&self.message).unwrap();
        self.goes_on_with(joined);
    }

    fn goes_on_with(mut self, joined: Group) {
        follow(&mut self.scene.service, &self.commit);
        self.scene.groups.push(joined);
        self.scene.goes_on();
    }
}

#[test]
fn a_welcome_taken_apart_and_put_together_again_is_valid() {
    let invitation = invitation(80, true);
    let joined = invitation.join(&invitation.altered(|_| {})).unwrap();
    invitation.goes_on_with(joined);
}

#[test]
fn path_secrets_that_are_missing_wrong_or_superfluous() {
    let with_path = invitation(81, true);
    let path = JoinError::Path;
    let root = NodeIndex(7);
    with_path.refused(path(UpdatePathError::PublicKeyMismatch { node: root }), |parts| {
        parts.path_secret.as_mut().unwrap()[0] ^= 1;
    });
    for actual in [0, 31, 33] {
        let length = UpdatePathError::PathSecretLength { expected: 32, actual };
        with_path.refused(path(length), |parts| {
            parts.path_secret.as_mut().unwrap().resize(actual, 0);
        });
    }
    // The field is optional (section 12.4.3.1): without it the newcomer knows its own leaf's key only.
    let joined = with_path.join(&with_path.altered(|parts| parts.path_secret = None)).unwrap();
    with_path.goes_on_with(joined);

    let without = invitation(82, false);
    without.refused(path(UpdatePathError::BlankNode { node: root }), |parts| {
        parts.path_secret = Some(vec![1; 32]);
    });
    // A signer that is the newcomer itself has no ancestor in common with it below the leaf.
    let own = without.client.clone();
    without.refused(path(UpdatePathError::BlankNode { node: NodeIndex(8) }), |parts| {
        parts.path_secret = Some(vec![1; 32]);
        parts.info.signer = LeafIndex(4);
        parts.signer = own;
    });
    without.goes_on();
}

#[test]
fn group_infos_in_a_welcome_that_break_a_rule() {
    let invitation = invitation(83, true);
    let info = JoinError::GroupInfo;
    for leaf in [5, 7, 8, u32::MAX].map(LeafIndex) {
        invitation.refused(info(GroupInfoViolation::SignerBlank), |parts| {
            parts.info.signer = leaf;
        });
    }
    invitation.refused(info(GroupInfoViolation::Signature), |parts| {
        parts.info.signer = LeafIndex(1);
    });
    invitation.refused(info(GroupInfoViolation::TreeHash), |parts| {
        parts.info.group_context.tree_hash.0[0] ^= 1;
    });
    invitation.refused(info(GroupInfoViolation::Parameters), |parts| {
        parts.info.group_context.version = ProtocolVersion(2);
    });
    invitation.refused(info(GroupInfoViolation::Parameters), |parts| {
        parts.info.group_context.cipher_suite = CipherSuite::P256_AES128GCM_SHA256_P256;
    });
    invitation.refused(info(GroupInfoViolation::TreeMissing), |parts| {
        parts.info.extensions = crate::wire::Extensions::new();
    });
    invitation.refused(JoinError::ConfirmationTag, |parts| {
        parts.info.confirmation_tag.0[0] ^= 1;
    });
    // Everything but the secrets agrees: the epoch of another group's history.
    invitation.refused(JoinError::ConfirmationTag, |parts| {
        parts.info.group_context.epoch += 1;
    });
    let kind = ExtensionType(0xff21);
    invitation.refused(JoinError::ExtensionUnsupported(kind), |parts| {
        let extension = Extension { extension_type: kind, data: Vec::new() };
        parts.info.group_context.extensions.set(extension);
    });
    // An extension of the GroupInfo that nobody knows is ignored.
    let greased = invitation.altered(|parts| {
        parts.info.extensions.set(Extension { extension_type: kind, data: vec![1, 2, 3] });
    });
    assert!(invitation.join(&greased).is_ok());
    invitation.goes_on();
}

#[test]
fn secrets_in_a_welcome_that_do_not_serve() {
    let invitation = invitation(84, true);
    invitation.refused(JoinError::EncryptedGroupInfo, |parts| parts.broken = true);
    // Another secret opens this GroupInfo and leads to another epoch.
    invitation.refused(JoinError::ConfirmationTag, |parts| parts.joiner_secret[0] ^= 1);
    let external = PskSource::External { psk_id: b"unknown".to_vec() };
    invitation.refused(JoinError::PskUnknown(external.clone()), |parts| {
        parts.psks.push(PreSharedKeyId { source: external, psk_nonce: vec![0; 32] });
    });
    let named = |length| {
        let source = PskSource::External { psk_id: b"name".to_vec() };
        PreSharedKeyId { source, psk_nonce: vec![0; length] }
    };
    for length in [0, 31, 33] {
        let violation = ProposalListViolation::PskNonceLength;
        invitation.refused(JoinError::Psks(violation), |parts| parts.psks.push(named(length)));
    }
    invitation.refused(JoinError::Psks(ProposalListViolation::PskTwice), |parts| {
        parts.psks.extend([named(32), named(32)]);
    });
    invitation.refused(JoinError::Psks(ProposalListViolation::TooManyPsks), |parts| {
        parts.psks.extend((0..=65_535u32).map(|index| {
            let source = PskSource::External { psk_id: index.to_be_bytes().to_vec() };
            PreSharedKeyId { source, psk_nonce: vec![0; 32] }
        }));
    });
    for usage in [ResumptionPskUsage::ReInit, ResumptionPskUsage::Branch] {
        invitation.refused(JoinError::PskUsage, |parts| {
            let psk_group_id = parts.info.group_context.group_id.clone();
            let source = PskSource::Resumption { usage, psk_group_id, psk_epoch: 1 };
            parts.psks.push(PreSharedKeyId { source, psk_nonce: vec![0; 32] });
        });
    }
    invitation.goes_on();
}

#[test]
fn a_welcome_for_another_key_package_suite_or_client() {
    let mut invitation = invitation(85, true);
    let second = open_bundle(&invitation.client, &mut invitation.scene.rng);
    let join = |client: &Client, message: &[u8], bundle: &KeyPackageBundle| {
        client.join(message, [bundle], None, NOW).map(|staged| staged.accept()).unwrap_err()
    };
    let error = join(&invitation.client, &invitation.message, &second.bundle);
    assert_eq!(error, JoinError::NoMatchingKeyPackage);
    let error = invitation.client.join(&invitation.message, [], None, NOW).unwrap_err();
    assert_eq!(error, JoinError::NoMatchingKeyPackage);

    // The name of one key package over the secrets of another.
    let mut welcome = welcome_in(&invitation.message);
    welcome.secrets[0].new_member = second.bundle.reference().clone();
    let bytes = MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes();
    assert_eq!(join(&invitation.client, &bytes, &second.bundle), JoinError::GroupSecrets);

    // Secrets for a key package that no Add carried.
    let parts = invitation.parts();
    let mut welcome = parts.welcome;
    welcome.secrets[0].new_member = second.bundle.reference().clone();
    let path_secret = parts.path_secret.map(PathSecretBytes::new);
    let secrets = GroupSecrets::new(parts.joiner_secret, path_secret, Vec::new());
    let init_key = suite().kem.public_key(second.init_key.public()).unwrap();
    welcome.secrets[0].encrypted_group_secrets = suite()
        .encrypt_with_label(
            &*init_key,
            "Welcome",
            &welcome.encrypted_group_info,
            &secrets.to_bytes(),
            &mut invitation.scene.rng,
        )
        .unwrap();
    let bytes = MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes();
    assert_eq!(join(&invitation.client, &bytes, &second.bundle), JoinError::OwnLeafMissing);

    let mut welcome = welcome_in(&invitation.message);
    welcome.cipher_suite = CipherSuite::X25519_CHACHA20POLY1305_SHA256_ED25519;
    let bytes = MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes();
    let bundle = &invitation.open.bundle;
    assert_eq!(join(&invitation.client, &bytes, bundle), JoinError::CipherSuite);

    let other = invitation.scene.client("other");
    let bundle = &invitation.open.bundle;
    assert_eq!(join(&other, &invitation.message, bundle), JoinError::OtherIdentity);
    let error = join(&invitation.client, &invitation.commit, bundle);
    assert_eq!(error, JoinError::WrongKind);
    invitation.goes_on();
}

#[test]
fn several_entries_of_one_reference() {
    let invitation = invitation(86, true);
    let welcome = welcome_in(&invitation.message);
    let mut broken = welcome.secrets[0].clone();
    broken.encrypted_group_secrets.ciphertext[0] ^= 1;
    // The first one counts.
    for (first, second, works) in [
        (&broken, &welcome.secrets[0], false),
        (&welcome.secrets[0], &broken, true),
        (&welcome.secrets[0], &welcome.secrets[0], true),
    ] {
        let mut welcome = welcome.clone();
        welcome.secrets = vec![first.clone(), second.clone()];
        let bytes = MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes();
        let joined = invitation.join(&bytes);
        assert_eq!(joined.is_ok(), works);
        assert!(works || joined.unwrap_err() == JoinError::GroupSecrets);
        // A delivery service lets none of them pass.
        let PublicProcessed::Commit(staged) =
            invitation.scene.service.process(&invitation.commit, NOW).unwrap()
        else {
            panic!("expected a commit")
        };
        assert_eq!(staged.check_welcome(&bytes), Err(crate::WelcomeMismatch::Joiners));
        assert_eq!(staged.check_welcome(&invitation.message), Ok(()));
    }
    invitation.goes_on();
}

#[test]
fn a_tree_beside_the_welcome() {
    let mut scene = scene(87);
    let client = scene.client("newcomer");
    let bundle = key_package(&client, &mut scene.rng);
    let old_tree = scene.groups[0].ratchet_tree();
    let builder = scene.groups[0].commit().add(bundle.key_package().clone());
    let pending = builder.welcome_tree(false).build(&mut scene.rng, NOW).unwrap();
    let welcome = scene.settle(0, pending).welcome.unwrap();
    let tree = scene.groups[0].ratchet_tree();
    let join = |tree: Option<&[u8]>| client.join(&welcome, [&bundle], tree, NOW);
    let error = |violation| JoinError::GroupInfo(violation);
    assert_eq!(join(None).unwrap_err(), error(GroupInfoViolation::TreeMissing));
    assert_eq!(join(Some(&old_tree)).unwrap_err(), error(GroupInfoViolation::TreeHash));
    assert!(join(Some(&[])).is_err() && join(Some(&tree[1..])).is_err());
    let joined = join(Some(&tree)).unwrap().accept();
    scene.groups.push(joined);
    scene.goes_on();
}

#[test]
fn a_group_secret_is_not_printed() {
    let secrets = GroupSecrets::new(vec![0xab; 32], None, Vec::new());
    assert!(!format!("{secrets:?}").contains("171"));
    assert_eq!(format!("{:?}", Secret::from_slice(&[0xab; 4])), "Secret(redacted)");
}
