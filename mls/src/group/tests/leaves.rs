//! The rules on leaf nodes and key packages (RFC 9420 sections 7.3, 10.1, 12.4.2).

use super::*;
use crate::{
    Fault,
    framing::FramingError,
    tree::UpdatePathError,
    validation::{KeyPackageViolation, LeafNodeViolation as Leaf},
    wire::{
        CipherSuite, Credential, CredentialType, Extension, ExtensionType, HpkeCiphertext,
        KeyPackageTbs, LeafNode, LeafNodeSource, Lifetime, ParentHash, ProtocolVersion, UnixTime,
    },
};
use ProposalListViolation as Violation;

/// A key package of a newcomer, altered and signed again.
pub(super) fn altered(scene: &mut Scene, alter: impl FnOnce(&mut KeyPackage)) -> KeyPackage {
    let newcomer = scene.client("newcomer");
    let mut key_package = key_package(&newcomer, &mut scene.rng).key_package().clone();
    alter(&mut key_package);
    let nowhere = crate::GroupId::default();
    newcomer
        .identity()
        .sign_leaf(suite(), &mut key_package.leaf_node, &nowhere, LeafIndex(0))
        .unwrap();
    let signed = KeyPackageTbs(&key_package).to_bytes();
    key_package.signature =
        suite().sign_with_label(newcomer.identity().signer(), "KeyPackageTBS", &signed).unwrap();
    key_package
}

fn add_refused(violation: KeyPackageViolation, alter: impl FnOnce(&mut KeyPackage)) {
    let mut scene = scene(30);
    let key_package = altered(&mut scene, alter);
    let bytes = scene.forge(vec![add(&key_package)]);
    scene.refuse(&bytes, &Violation::Add(violation.clone()));
    let error = scene.groups[1].propose_add(key_package, &mut scene.rng, NOW).unwrap_err();
    assert_eq!(error, crate::CommitError::Invalid(Violation::Add(violation)));
    scene.goes_on();
}

fn leaf_refused(violation: Leaf, alter: impl FnOnce(&mut LeafNode)) {
    add_refused(KeyPackageViolation::LeafNode(violation), |package| {
        alter(&mut package.leaf_node);
    });
}

#[test]
fn key_packages_that_break_a_rule() {
    add_refused(KeyPackageViolation::Version, |package| package.version = ProtocolVersion(2));
    add_refused(KeyPackageViolation::CipherSuite, |package| {
        package.cipher_suite = CipherSuite::X25519_CHACHA20POLY1305_SHA256_ED25519;
    });
    add_refused(KeyPackageViolation::InitKeyIsEncryptionKey, |package| {
        package.init_key = package.leaf_node.encryption_key.clone();
    });
    add_refused(KeyPackageViolation::InitKeyMalformed, |package| {
        package.init_key.0.pop();
    });
    // Of small order: nobody could encrypt a Welcome to it.
    add_refused(KeyPackageViolation::InitKeyMalformed, |package| {
        package.init_key.0.fill(0);
    });
    let kind = ExtensionType(0xff05);
    add_refused(KeyPackageViolation::ExtensionUnlisted(kind), |package| {
        package.extensions.set(Extension { extension_type: kind, data: Vec::new() });
    });
}

#[test]
fn leaves_of_key_packages_that_break_a_rule() {
    leaf_refused(Leaf::VersionUnsupported, |leaf| leaf.capabilities.versions.clear());
    leaf_refused(Leaf::CipherSuiteUnsupported, |leaf| leaf.capabilities.cipher_suites.clear());
    leaf_refused(Leaf::OwnCredentialTypeUnlisted(CredentialType::BASIC), |leaf| {
        leaf.capabilities.credentials.clear();
    });
    let kind = ExtensionType(0xff05);
    leaf_refused(Leaf::ExtensionUnlisted(kind), |leaf| {
        leaf.extensions.set(Extension { extension_type: kind, data: Vec::new() });
    });
    leaf_refused(Leaf::Source { expected: "key_package" }, |leaf| {
        leaf.source = LeafNodeSource::Update;
    });
    leaf_refused(Leaf::LifetimeTooLong, |leaf| {
        let not_before = UnixTime(0);
        let lifetime = Lifetime { not_before, not_after: UnixTime(u64::MAX) };
        leaf.source = LeafNodeSource::KeyPackage(lifetime);
    });
    leaf_refused(Leaf::EncryptionKeyMalformed, |leaf| {
        leaf.encryption_key.0.pop();
    });
    // Of small order: from the moment it is in the tree, nobody could encrypt a path to it.
    leaf_refused(Leaf::EncryptionKeyMalformed, |leaf| leaf.encryption_key.0.fill(0));
}

#[test]
fn an_expired_key_package_is_not_sent() {
    let mut scene = scene(31);
    let late = UnixTime(NOW.0 + 91 * 86_400);
    let bundle = scene.key_package("newcomer");
    let violation = Violation::Add(KeyPackageViolation::LeafNode(Leaf::OutsideLifetime));
    let package = bundle.key_package().clone();
    let error = scene.groups[0].commit().add(package).build(&mut scene.rng, late).unwrap_err();
    assert_eq!(error, crate::CommitError::Invalid(violation));
    let error = scene.client("x").read_key_package(&bundle.message(), late).unwrap_err();
    let violation = KeyPackageViolation::LeafNode(Leaf::OutsideLifetime);
    assert_eq!(error, crate::ClientError::KeyPackage(violation));
    assert!(scene.service.check_key_package(bundle.key_package(), late).is_err());
    assert_eq!(scene.service.check_key_package(bundle.key_package(), NOW), Ok(()));
    // Members who see the commit late accept it all the same: they must not come to different verdicts.
    let package = bundle.key_package().clone();
    let pending = scene.groups[0].commit().add(package).build(&mut scene.rng, NOW).unwrap();
    assert!(scene.groups[1].process(pending.commit(), late).is_ok());
}

#[test]
fn a_credential_type_that_not_all_support() {
    let mut scene = scene(32);
    let kind = CredentialType(0xff06);
    let package = altered(&mut scene, |package| {
        package.leaf_node.credential = Credential::Other(kind, vec![1]);
        package.leaf_node.capabilities.credentials.push(kind);
    });
    let bytes = scene.forge(vec![add(&package)]);
    let violation = Leaf::CredentialTypeNotShared(kind);
    scene.refuse(&bytes, &Violation::Add(KeyPackageViolation::LeafNode(violation)));
    // The reverse: the newcomer supports its own type only.
    let package = altered(&mut scene, |package| {
        package.leaf_node.credential = Credential::Other(kind, vec![1]);
        package.leaf_node.capabilities.credentials = vec![kind];
    });
    let bytes = scene.forge(vec![add(&package)]);
    let violation = Leaf::CredentialTypeNotShared(CredentialType::BASIC);
    scene.refuse(&bytes, &Violation::Add(KeyPackageViolation::LeafNode(violation)));
    scene.goes_on();
}

#[test]
fn an_add_with_an_encryption_key_of_the_tree() {
    let mut scene = scene(33);
    let taken = own_leaf_node(&scene.groups[2]).encryption_key;
    let package = altered(&mut scene, |package| package.leaf_node.encryption_key = taken);
    let bytes = scene.forge(vec![add(&package)]);
    let error = scene.groups[1].process(&bytes, NOW).unwrap_err();
    let ProcessError::InvalidCommit(violation @ Violation::Tree(_)) = error else {
        panic!("unexpected {error}");
    };
    scene.refuse(&bytes, &violation);
    scene.goes_on();
}

/// A commit of member 0 whose path is altered; the leaf is signed again where `sign` says so.
fn path_refused(violation: Violation, sign: bool, alter: impl FnOnce(&mut Scene, &mut UpdatePath)) {
    let mut scene = scene(34);
    let mut path = scene.valid_path();
    alter(&mut scene, &mut path);
    if sign {
        let group = &scene.groups[0];
        let identity = group.client.identity();
        identity.sign_leaf(suite(), &mut path.leaf_node, group.id(), LeafIndex(0)).unwrap();
    }
    let bytes = scene.forge_commit(Commit { proposals: Vec::new(), path: Some(path) });
    scene.refuse(&bytes, &violation);
    scene.goes_on();
}

#[test]
fn leaves_of_paths_that_break_a_rule() {
    let leaf = Violation::PathLeaf;
    path_refused(leaf(Leaf::Signature), false, |_, path| {
        path.leaf_node.capabilities.extensions.push(ExtensionType(0xff07));
    });
    path_refused(leaf(Leaf::Source { expected: "commit" }), true, |_, path| {
        path.leaf_node.source = LeafNodeSource::Update;
    });
    path_refused(leaf(Leaf::EncryptionKeyUnchanged), true, |scene, path| {
        path.leaf_node.encryption_key = own_leaf_node(&scene.groups[0]).encryption_key;
    });
    path_refused(leaf(Leaf::EncryptionKeyMalformed), true, |_, path| {
        path.leaf_node.encryption_key.0.fill(0);
    });
    let (node, error) = (crate::tree::NodeIndex(3), crate::crypto::CryptoError::InvalidPublicKey);
    let violation = Violation::Path(UpdatePathError::InvalidPublicKey { node, error });
    path_refused(violation, true, |_, path| path.nodes[1].encryption_key.0.fill(0));
    path_refused(Violation::PathKeyInUse, true, |scene, path| {
        path.leaf_node.encryption_key = own_leaf_node(&scene.groups[1]).encryption_key;
    });
    path_refused(Violation::PathKeyInUse, true, |scene, path| {
        path.nodes[0].encryption_key = own_leaf_node(&scene.groups[1]).encryption_key;
    });
    path_refused(Violation::PathKeyInUse, true, |_, path| {
        path.nodes[1].encryption_key = path.nodes[0].encryption_key.clone();
    });
    path_refused(Violation::Path(UpdatePathError::ParentHash), true, |_, path| {
        path.leaf_node.source = LeafNodeSource::Commit(ParentHash(vec![1; 32]));
    });
    path_refused(
        Violation::Path(UpdatePathError::WrongLength { expected: 2, actual: 1 }),
        true,
        |_, path| {
            path.nodes.pop();
        },
    );
    let node = crate::tree::NodeIndex(1);
    path_refused(
        Violation::Path(UpdatePathError::WrongCiphertextCount { node, expected: 1, actual: 2 }),
        true,
        |_, path| {
            let empty = HpkeCiphertext { kem_output: Vec::new(), ciphertext: Vec::new() };
            path.nodes[0].encrypted_path_secret.push(empty);
        },
    );
}

#[test]
fn a_path_whose_secrets_do_not_open_asks_for_a_resync() {
    let mut scene = scene(35);
    let mut path = scene.valid_path();
    path.nodes[1].encrypted_path_secret[0].ciphertext[0] ^= 1;
    let bytes = scene.forge_commit(Commit { proposals: Vec::new(), path: Some(path) });
    // Leaves 2 and 3 receive this secret; the service cannot tell.
    for group in &mut scene.groups[2..] {
        let before = group.encode_state().unwrap();
        let error = group.process(&bytes, NOW).unwrap_err();
        assert!(matches!(error, ProcessError::PathSecret(_)));
        assert_eq!(error.action(), Action::Resync);
        assert_eq!(*group.encode_state().unwrap(), *before);
    }
    // For leaf 1 the path opens, but the confirmation tag is not the committer's.
    let error = scene.groups[1].process(&bytes, NOW).unwrap_err();
    assert_eq!(error, ProcessError::ConfirmationTag);
    assert_eq!(error.action(), Action::Resync);
    assert!(scene.service.process(&bytes, NOW).is_ok());
    scene.goes_on();
}

#[test]
fn a_signed_commit_with_a_wrong_membership_tag_asks_for_a_resync() {
    let mut scene = scene(36);
    let with_wrong_tag = |bytes: &[u8]| {
        let MlsMessageBody::PublicMessage(mut message) = MlsMessage::from_bytes(bytes).unwrap().0
        else {
            panic!("expected a public message")
        };
        message.membership_tag.as_mut().unwrap().0[0] ^= 1;
        MlsMessage(MlsMessageBody::PublicMessage(message)).to_bytes()
    };
    let pending = scene.groups[0].commit().build(&mut scene.rng, NOW).unwrap();
    let commit = with_wrong_tag(pending.commit());
    let removal = scene.groups[0].propose_remove(LAST, &mut scene.rng).unwrap().message;
    let proposal = with_wrong_tag(&removal);
    // A delivery service cannot tell and lets the commit win its epoch: whoever waited for another one would wait forever.
    assert!(scene.service.process(&commit, NOW).is_ok());
    for group in &mut scene.groups[1..] {
        let before = group.encode_state().unwrap();
        let error = group.process(&commit, NOW).unwrap_err();
        assert_eq!(error, ProcessError::MembershipTag);
        assert_eq!((error.action(), error.fault()), (Action::Resync, Fault::MisbehavingPeer));
        // A proposal that nobody takes can be ignored.
        let error = group.process(&proposal, NOW).unwrap_err();
        assert_eq!(error, ProcessError::Framing(FramingError::MembershipTagMismatch));
        assert_eq!(error.action(), Action::Drop);
        // Nor does a tag matter on what nobody signed.
        let mut unsigned = commit.clone();
        let place = unsigned.len() - 80;
        unsigned[place] ^= 1;
        assert_eq!(group.process(&unsigned, NOW).unwrap_err().action(), Action::Drop);
        assert_eq!(*group.encode_state().unwrap(), *before);
    }
    scene.goes_on();
}
