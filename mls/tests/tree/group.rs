//! Members of a group with nothing but a ratchet tree: commits without a key schedule.

use std::{collections::BTreeMap, sync::Arc};

use mls::{
    codec::Encode,
    crypto::{self, KemPrivateKey, SigningKey, Suite},
    schedule::CommitSecret,
    tree::{
        NewLeaf, NodeIndex, PathSecret, RatchetTree, TreeOverlay, TreePrivateKeys, TreeView,
        sign_leaf_node, verify_leaf_node_signature,
    },
    wire::{
        Capabilities, CipherSuite, Credential, CredentialType, ExtensionType, Extensions, GroupId,
        HpkePublicKey, LeafIndex, LeafNode, LeafNodeSource, Lifetime, ProtocolVersion, Signature,
        SignaturePublicKey, TreePosition, UnixTime,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub(crate) struct Member {
    pub(crate) signer: Arc<dyn SigningKey>,
    pub(crate) private: TreePrivateKeys,
}

/// A leaf node with its private keys, not yet in a tree.
pub(crate) struct Candidate {
    pub(crate) signer: Arc<dyn SigningKey>,
    pub(crate) leaf_key: Box<dyn KemPrivateKey>,
    pub(crate) leaf_node: LeafNode,
}

pub(crate) struct World {
    pub(crate) suite: &'static Suite,
    pub(crate) group_id: GroupId,
    pub(crate) rng: StdRng,
    pub(crate) tree: RatchetTree,
    pub(crate) members: BTreeMap<LeafIndex, Member>,
    pub(crate) epoch: u64,
}

/// What a commit does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) updates: Vec<LeafIndex>,
    pub(crate) removes: Vec<LeafIndex>,
    pub(crate) adds: usize,
    pub(crate) path: bool,
}

pub(crate) fn suite(id: CipherSuite) -> &'static Suite {
    crypto::default_provider().suite(id).unwrap()
}

pub(crate) fn suite_1() -> &'static Suite {
    suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519)
}

pub(crate) fn suite_2() -> &'static Suite {
    suite(CipherSuite::P256_AES128GCM_SHA256_P256)
}

pub(crate) fn capabilities(rng: &mut StdRng) -> Capabilities {
    let grease = ExtensionType(0x0a0a + 0x1010 * rng.random_range(0..15));
    Capabilities {
        versions: vec![ProtocolVersion::MLS10],
        cipher_suites: vec![CipherSuite::X25519_AES128GCM_SHA256_ED25519],
        extensions: vec![grease, grease, ExtensionType(0xf000)],
        proposals: Vec::new(),
        credentials: vec![CredentialType::BASIC],
    }
}

pub(crate) fn candidate(
    suite: &Suite,
    rng: &mut StdRng,
    source: LeafNodeSource,
    signer: Option<Arc<dyn SigningKey>>,
    position: TreePosition<'_>,
) -> Candidate {
    let signer = signer.unwrap_or_else(|| suite.signature.generate(rng).unwrap().into());
    let leaf_key = suite.kem.generate(rng).unwrap();
    let mut leaf_node = LeafNode {
        encryption_key: HpkePublicKey::from(leaf_key.public()),
        signature_key: SignaturePublicKey::from(signer.public()),
        credential: Credential::basic(rng.random::<[u8; 16]>()),
        capabilities: capabilities(rng),
        source,
        extensions: Extensions::new(),
        signature: Signature::default(),
    };
    sign_leaf_node(suite, &mut leaf_node, position, &*signer).unwrap();
    Candidate { signer, leaf_key, leaf_node }
}

pub(crate) fn key_package_source() -> LeafNodeSource {
    LeafNodeSource::KeyPackage(Lifetime { not_before: UnixTime(0), not_after: UnixTime(1000) })
}

impl World {
    /// A group of one.
    pub(crate) fn new(suite: &'static Suite, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let group_id = GroupId(b"tree tests".to_vec());
        let position = TreePosition { group_id: &group_id, leaf_index: LeafIndex(0) };
        let first = candidate(suite, &mut rng, key_package_source(), None, position);
        let tree = RatchetTree::new(suite, &first.leaf_node);
        let private = TreePrivateKeys::new(LeafIndex(0), first.leaf_key);
        let members = BTreeMap::from([(LeafIndex(0), Member { signer: first.signer, private })]);
        Self { suite, group_id, rng, tree, members, epoch: 0 }
    }

    /// A group whose every member has committed once: no node is blank but for the empty places.
    pub(crate) fn full(suite: &'static Suite, seed: u64, members: usize) -> Self {
        let mut world = Self::new(suite, seed);
        world.commit(LeafIndex(0), &Plan { adds: members - 1, path: true, ..Plan::default() });
        for index in world.leaf_indices() {
            world.commit(index, &Plan { path: true, ..Plan::default() });
        }
        world
    }

    pub(crate) fn leaf_indices(&self) -> Vec<LeafIndex> {
        self.members.keys().copied().collect()
    }

    pub(crate) fn candidate(&mut self) -> Candidate {
        let position = TreePosition { group_id: &self.group_id, leaf_index: LeafIndex(0) };
        candidate(self.suite, &mut self.rng, key_package_source(), None, position)
    }

    /// The bytes that stand for the provisional GroupContext: any bytes all agree on.
    pub(crate) fn context(&self, tree_hash: &[u8]) -> Vec<u8> {
        [&self.epoch.to_be_bytes(), tree_hash].concat()
    }

    pub(crate) fn new_leaf<'a>(&self, of: LeafIndex, signer: &'a dyn SigningKey) -> NewLeaf<'a> {
        let leaf = self.tree.leaf(of).unwrap();
        NewLeaf {
            signer,
            credential: leaf.credential(),
            capabilities: leaf.capabilities(),
            extensions: leaf.extensions(),
        }
    }

    /// One member commits, all others receive, those who are added join; then everything is compared.
    pub(crate) fn commit(&mut self, committer: LeafIndex, plan: &Plan) {
        let mut new_leaf_keys = BTreeMap::new();
        let mut updates = Vec::new();
        for index in plan.updates.iter().copied() {
            let position = TreePosition { group_id: &self.group_id, leaf_index: index };
            let signer = Some(Arc::clone(&self.members[&index].signer));
            let new =
                candidate(self.suite, &mut self.rng, LeafNodeSource::Update, signer, position);
            new_leaf_keys.insert(index, Arc::<dyn KemPrivateKey>::from(new.leaf_key));
            updates.push((index, new.leaf_node));
        }
        let adds: Vec<_> = (0..plan.adds).map(|_| self.candidate()).collect();

        let apply = |overlay: &mut TreeOverlay<'_>| {
            for (index, leaf_node) in &updates {
                overlay.update(*index, leaf_node).unwrap();
            }
            for index in &plan.removes {
                overlay.remove(*index).unwrap();
            }
            for candidate in &adds {
                overlay.add(&candidate.leaf_node).unwrap();
            }
            overlay.check_unique_keys().unwrap();
        };
        let mut theirs = TreeOverlay::new(&self.tree);
        apply(&mut theirs);
        let keys_before = |index: &LeafIndex, member: &Member| match new_leaf_keys.get(index) {
            Some(key) => member.private.with_leaf_key(Arc::clone(key)),
            None => member.private.retained(&self.tree),
        };
        let staying = self.members.iter().filter(|(index, _)| !plan.removes.contains(index));

        let mut private = BTreeMap::new();
        let mut path_secrets: BTreeMap<LeafIndex, PathSecret> = BTreeMap::new();
        if plan.path {
            let mut ours = TreeOverlay::new(&self.tree);
            apply(&mut ours);
            let signer = Arc::clone(&self.members[&committer].signer);
            let leaf = self.new_leaf(committer, &*signer);
            let new = ours.new_path(committer, leaf, &self.group_id, &mut self.rng).unwrap();
            let tree_hash = ours.tree_hash();
            let context = self.context(tree_hash.as_bytes());
            let path = new.encrypt(&ours, &context, &mut self.rng).unwrap();

            let position = TreePosition { group_id: &self.group_id, leaf_index: committer };
            verify_leaf_node_signature(self.suite, &path.update_path.leaf_node, position).unwrap();
            let merged = theirs.merge_path(committer, &path.update_path).unwrap();
            assert_eq!(theirs.tree_hash(), tree_hash);
            for (index, member) in staying.filter(|(index, _)| **index != committer) {
                let keys = keys_before(index, member);
                let decrypted = merged.decrypt(&theirs, &context, &keys).unwrap();
                assert_same(&decrypted.commit_secret, &path.commit_secret);
                private.insert(*index, decrypted.private);
            }
            private.insert(committer, path.private);
            path_secrets.extend(path.joiners.into_iter().map(|j| (j.leaf, j.path_secret)));
            assert_eq!(path_secrets.len(), adds.len());
        } else {
            for (index, member) in staying {
                private.insert(*index, keys_before(index, member).retained(&theirs));
            }
        }

        let added = theirs.added().to_vec();
        let staged = theirs.finish();
        assert!(staged.belongs_to(&self.tree));
        let tree_hash = staged.tree_hash().clone();
        let encoded = staged.view(&self.tree).encode_tree();
        let rebuilt = RatchetTree::from_bytes(self.suite, &encoded).unwrap();
        assert_eq!(rebuilt.tree_hash(), tree_hash);
        rebuilt.validate(&self.group_id).unwrap();
        assert_alike(&staged.view(&self.tree), &rebuilt);
        self.tree.apply(staged);
        assert_eq!(self.tree, rebuilt);
        assert_alike(&self.tree, &rebuilt);
        for node in (0..rebuilt.size().nodes()).map(NodeIndex) {
            assert_eq!(self.tree.node_hash(node), rebuilt.node_hash(node));
        }

        self.members.retain(|index, _| !plan.removes.contains(index));
        for (index, keys) in private {
            self.members.get_mut(&index).unwrap().private = keys;
        }
        for (leaf, joiner) in added.into_iter().zip(adds) {
            let secret = path_secrets.remove(&leaf);
            let private =
                TreePrivateKeys::join(&self.tree, leaf, joiner.leaf_key, committer, secret);
            let member = Member { signer: joiner.signer, private: private.unwrap() };
            self.members.insert(leaf, member);
        }
        self.epoch += 1;
        self.check_private_keys();
    }

    /// A new client joins by external commit, or, when `replacing`, a member takes its place anew.
    pub(crate) fn external_commit(&mut self, replacing: Option<LeafIndex>) {
        let stranger = self.candidate();
        let signer = match replacing {
            Some(index) => Arc::clone(&self.members[&index].signer),
            None => stranger.signer,
        };
        let apply = |overlay: &mut TreeOverlay<'_>| {
            if let Some(index) = replacing {
                overlay.remove(index).unwrap();
            }
            overlay.external_leaf().unwrap()
        };
        let mut ours = TreeOverlay::new(&self.tree);
        let own_leaf = apply(&mut ours);
        let leaf = NewLeaf {
            signer: &*signer,
            credential: stranger.leaf_node.credential,
            capabilities: stranger.leaf_node.capabilities,
            extensions: Extensions::new(),
        };
        let new = ours.new_path(own_leaf, leaf, &self.group_id, &mut self.rng).unwrap();
        let tree_hash = ours.tree_hash();
        let context = self.context(tree_hash.as_bytes());
        let path = new.encrypt(&ours, &context, &mut self.rng).unwrap();

        let mut theirs = TreeOverlay::new(&self.tree);
        assert_eq!(apply(&mut theirs), own_leaf);
        let merged = theirs.merge_path(own_leaf, &path.update_path).unwrap();
        if let Some(index) = replacing {
            self.members.remove(&index);
        }
        for member in self.members.values_mut() {
            let decrypted = merged.decrypt(&theirs, &context, &member.private).unwrap();
            assert_same(&decrypted.commit_secret, &path.commit_secret);
            member.private = decrypted.private;
        }
        let staged = theirs.finish();
        assert_eq!(staged.tree_hash(), &tree_hash);
        self.tree.apply(staged);
        let rebuilt = RatchetTree::from_bytes(self.suite, &self.tree.encode_tree()).unwrap();
        rebuilt.validate(&self.group_id).unwrap();
        assert_alike(&self.tree, &rebuilt);
        self.members.insert(own_leaf, Member { signer, private: path.private });
        self.epoch += 1;
        self.check_private_keys();
    }

    /// Each member holds exactly the private keys that the tree invariant gives it (RFC 9420 section 4.2).
    fn check_private_keys(&self) {
        assert_eq!(self.members.len(), self.tree.member_count() as usize);
        for (index, member) in &self.members {
            member.private.check(&self.tree).unwrap();
            let own = NodeIndex::from(*index);
            let mut expected = vec![own];
            expected.extend(own.direct_path(self.tree.size()).filter(|node| {
                self.tree.parent(*node).is_some_and(|p| !p.unmerged_leaves.contains(index))
            }));
            expected.sort_unstable();
            let saved = member.private.export().unwrap();
            let held: Vec<_> = saved.iter().map(|saved| saved.node).collect();
            assert_eq!(held, expected, "keys of leaf {index}");
            TreePrivateKeys::import(self.suite, *index, saved).unwrap().check(&self.tree).unwrap();
        }
    }
}

fn assert_same(a: &CommitSecret, b: &CommitSecret) {
    assert_eq!(a.as_bytes(), b.as_bytes());
}

/// Both views answer every question alike.
fn assert_alike(a: &dyn TreeView, b: &dyn TreeView) {
    assert_eq!(a.size(), b.size());
    assert_eq!(a.member_count(), b.member_count());
    assert_eq!(a.encode_tree(), b.encode_tree());
    assert_eq!(a.credential_types_in_use(), b.credential_types_in_use());
    for node in (0..a.size().nodes() + 4).map(NodeIndex) {
        assert_eq!(a.parent(node), b.parent(node));
        assert_eq!(a.encryption_key(node), b.encryption_key(node));
        if let Some(key) = a.encryption_key(node) {
            assert_eq!(a.find_encryption_key(key), Some(node));
            assert_eq!(b.find_encryption_key(key), Some(node));
        }
    }
    for leaf in a.leaves() {
        assert_eq!(b.leaf(leaf.index()), Some(leaf));
        assert_eq!(leaf.to_leaf_node().to_bytes(), leaf.as_bytes());
        assert_eq!(a.find_signature_key(leaf.signature_key()), Some(leaf.index()));
        assert_eq!(b.find_signature_key(leaf.signature_key()), Some(leaf.index()));
        for extension in leaf.capabilities().extensions {
            let feature = mls::tree::Feature::Extension(extension);
            assert_eq!(a.count(feature), b.count(feature));
        }
    }
    assert!(a.all_support(mls::tree::Feature::Credential(CredentialType::BASIC)));
    assert_eq!(a.find_encryption_key(b"no such key"), None);
}
