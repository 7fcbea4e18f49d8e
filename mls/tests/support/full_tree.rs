//! Large groups in a moment: a full ratchet tree put together by hand, which two clients join by Welcome.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up fails"
)]

use mls::{
    Client, Group, KeyPackageBundle,
    codec::Encode,
    crypto::{Secret, SigningKey, Suite},
    schedule::{JoinerSecret, PskSecret},
    tree::{NewLeaf, RatchetTree, TreeOverlay, TreeView, sign_leaf_node},
    wire::{
        Capabilities, Credential, EncryptedGroupSecrets, Extension, ExtensionType, Extensions,
        GroupContext, GroupId, GroupInfo, GroupInfoTbs, GroupSecrets, HpkePublicKey, LeafIndex,
        LeafNode, LeafNodeSource, Lifetime, MlsMessage, MlsMessageBody, PathSecretBytes,
        ProtocolVersion, Signature, SignaturePublicKey, TreePosition, UnixTime, Welcome,
    },
};
use rand::rngs::StdRng;

use crate::support::{NOW, client, key_package, merge, public_options};

/// The first and the last leaf of a full tree, each with its member's state.
pub(crate) struct Ends {
    pub(crate) first: Group,
    pub(crate) last: Group,
}

/// What is needed to join a group of `members` at its first and its last leaf.
pub(crate) struct Invitation {
    pub(crate) clients: [Client; 2],
    pub(crate) bundles: [KeyPackageBundle; 2],
    pub(crate) welcome: Vec<u8>,
}

impl Invitation {
    pub(crate) fn join(&self, end: usize) -> Group {
        let staged = self.clients[end].join(&self.welcome, [&self.bundles[end]], None, NOW);
        staged.unwrap().accept()
    }
}

/// A group in which every parent node is filled. `members` is at least 4.
pub(crate) fn ends(members: u32, suite: &'static Suite, rng: &mut StdRng) -> Ends {
    let invitation = invite(members, suite, rng);
    let (mut first, mut last) = (invitation.join(0), invitation.join(1));
    rotate(&mut first, &mut last, rng);
    rotate(&mut last, &mut first, rng);
    Ends { first, last }
}

pub(crate) fn rotate(committer: &mut Group, receiver: &mut Group, rng: &mut StdRng) {
    let pending = committer.commit().build(rng, NOW).unwrap();
    merge(receiver, pending.commit());
    committer.confirm(pending).unwrap();
}

struct Built {
    tree: RatchetTree,
    keys: Vec<Box<dyn SigningKey>>,
    capabilities: Capabilities,
    group_id: GroupId,
}

impl Built {
    /// What a member puts into its leaf when it commits.
    fn leaf(&self, index: u32) -> NewLeaf<'_> {
        NewLeaf {
            signer: &*self.keys[index as usize],
            credential: self.tree.leaf(LeafIndex(index)).unwrap().credential(),
            capabilities: self.capabilities.clone(),
            extensions: Extensions::default(),
        }
    }
}

/// All members are there, and every other one has committed.
fn build(members: u32, suite: &'static Suite, rng: &mut StdRng) -> Built {
    let capabilities = client("anybody", suite, public_options(), rng).capabilities();
    let group_id = GroupId(b"a full group".to_vec());
    let (mut keys, mut leaves) = (Vec::new(), Vec::new());
    for index in 0..members {
        let signer = suite.signature.generate(rng).unwrap();
        let lifetime =
            Lifetime { not_before: UnixTime(NOW.0 - 60), not_after: UnixTime(NOW.0 + 60) };
        let mut leaf = LeafNode {
            encryption_key: HpkePublicKey::from(suite.kem.generate(rng).unwrap().public()),
            signature_key: SignaturePublicKey::from(signer.public()),
            credential: Credential::basic(format!("member {index:06}")),
            capabilities: capabilities.clone(),
            source: LeafNodeSource::KeyPackage(lifetime),
            extensions: Extensions::default(),
            signature: Signature::default(),
        };
        let position = TreePosition { group_id: &group_id, leaf_index: LeafIndex(index) };
        sign_leaf_node(suite, &mut leaf, position, &*signer).unwrap();
        keys.push(signer);
        leaves.push(leaf);
    }
    let mut tree = RatchetTree::new(suite, &leaves[0]);
    let mut overlay = TreeOverlay::new(&tree);
    for leaf in &leaves[1..] {
        overlay.add(leaf).unwrap();
    }
    let staged = overlay.finish();
    tree.apply(staged);
    let mut built = Built { tree, keys, capabilities, group_id };
    for index in (0..members).step_by(2) {
        let mut overlay = TreeOverlay::new(&built.tree);
        overlay.new_path(LeafIndex(index), built.leaf(index), &built.group_id, rng).unwrap();
        let staged = overlay.finish();
        built.tree.apply(staged);
    }
    built
}

/// The second member puts newcomers in the place of the first and the last one.
pub(crate) fn invite(members: u32, suite: &'static Suite, rng: &mut StdRng) -> Invitation {
    let built = build(members, suite, rng);
    let clients = ["first", "last"].map(|name| client(name, suite, public_options(), rng));
    let bundles = [key_package(&clients[0], rng), key_package(&clients[1], rng)];
    let signer = LeafIndex(1);
    let mut overlay = TreeOverlay::new(&built.tree);
    for index in [0, members - 1] {
        overlay.remove(LeafIndex(index)).unwrap();
    }
    for bundle in &bundles {
        overlay.add(&bundle.key_package().leaf_node).unwrap();
    }
    assert_eq!(overlay.added(), [LeafIndex(0), LeafIndex(members - 1)]);
    let path = overlay.new_path(signer, built.leaf(signer.0), &built.group_id, rng).unwrap();
    let context = GroupContext {
        version: ProtocolVersion::MLS10,
        cipher_suite: suite.id,
        group_id: built.group_id.clone(),
        epoch: 1,
        tree_hash: overlay.tree_hash(),
        confirmed_transcript_hash: vec![0; suite.hash_length()],
        extensions: Extensions::default(),
    };
    let path = path.encrypt(&overlay, &context.to_bytes(), rng).unwrap();
    let tree =
        Extension { extension_type: ExtensionType::RATCHET_TREE, data: overlay.encode_tree() };

    let joiner = Secret::random(suite.hash_length(), rng).as_bytes().to_vec();
    let no_psks = PskSecret::compute(suite, &[]).unwrap();
    let member = JoinerSecret::from_slice(&joiner).member(suite, &no_psks);
    let seal = member.welcome(suite).unwrap().keys(suite).unwrap();
    let epoch = member.epoch(suite, &context.to_bytes()).unwrap().derive(suite).unwrap().secrets;
    let mut extensions = Extensions::default();
    extensions.set(tree);
    let mut info = GroupInfo {
        confirmation_tag: epoch.confirmation_tag(&context.confirmed_transcript_hash),
        group_context: context,
        extensions,
        signer,
        signature: Signature::default(),
    };
    let key = &*built.keys[signer.0 as usize];
    let content = GroupInfoTbs(&info).to_bytes();
    info.signature = suite.sign_with_label(key, "GroupInfoTBS", &content).unwrap();
    let encrypted_group_info = seal.seal(&info.to_bytes()).unwrap();
    let secrets = bundles.iter().zip(&path.joiners).map(|(bundle, of_joiner)| {
        let path_secret = PathSecretBytes::new(of_joiner.path_secret.as_bytes().to_vec());
        let secrets = GroupSecrets::new(joiner.clone(), Some(path_secret), Vec::new());
        let init_key = suite.kem.public_key(bundle.key_package().init_key.as_bytes()).unwrap();
        let content = secrets.to_secret_bytes();
        let sealed =
            suite.encrypt_with_label(&*init_key, "Welcome", &encrypted_group_info, &content, rng);
        EncryptedGroupSecrets {
            new_member: bundle.reference().clone(),
            encrypted_group_secrets: sealed.unwrap(),
        }
    });
    let secrets = secrets.collect();
    let welcome = Welcome { cipher_suite: suite.id, secrets, encrypted_group_info };
    let welcome = MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes();
    Invitation { clients, bundles, welcome }
}
