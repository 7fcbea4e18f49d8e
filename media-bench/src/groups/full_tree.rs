//! A group of any size whose ratchet tree has no blank node.
//!
//! Thousands of members who commit in turn would cost what the measurement is about. So the tree is filled from outside: every
//! leaf's keys are made here, and every other leaf sets its path with the tree operations that a commit uses, signatures and
//! parent hashes included. Nobody follows; an epoch begins when the host, one of the leaves, comes back by an external commit
//! and knows its secrets. From then on it is an ordinary group, which others join by Welcome and validate.

use anyhow::{Context, Result, ensure};
use mls::{
    CipherSuite, Client, ExternalJoinOptions, Group, GroupId, LeafIndex,
    codec::Encode,
    crypto::{AWS_LC_RS, SigningKey, Suite, os_rng},
    tree::{NewLeaf, RatchetTree, TreeOverlay, TreeView, sign_leaf_node},
    wire::{
        Capabilities, ConfirmationTag, Credential, Extension, ExtensionType, Extensions,
        ExternalPub, GroupContext, GroupInfo, GroupInfoTbs, HpkePublicKey, LeafNode,
        LeafNodeSource, Lifetime, MlsMessage, MlsMessageBody, ProtocolVersion, Signature,
        SignaturePublicKey, TreePosition, UnixTime,
    },
};

use super::{now, ours};

/// The leaf of the host. Its sibling is the seat that others take, so that the host's path refills what replacing them blanks.
const HOST: LeafIndex = LeafIndex(1);
const SIBLING: LeafIndex = LeafIndex(0);
const DAY: u64 = 24 * 3600;

/// A group with a full ratchet tree, and a member in it who invites others.
pub struct FullTree {
    suite: CipherSuite,
    members: u32,
    client: Client,
    group_info: Vec<u8>,
    tree: Vec<u8>,
    host: Group,
}

impl FullTree {
    /// Fills a tree of `members` leaves, at least 2.
    ///
    /// # Errors
    /// When the backend lacks the suite, or `members` is out of range.
    pub fn build(suite: CipherSuite, members: u32) -> Result<Self> {
        ensure!(members >= 2, "a tree of {members} leaves has no host with a sibling");
        let client = ours::plain_client(&AWS_LC_RS, suite, "host")?;
        let resolved = client.suite();
        let group_id = GroupId(b"full tree".to_vec());
        let leaves = Leaves::generate(&client, members)?;
        let tree = leaves.fill(resolved, &group_id)?;
        let group_info = leaves.group_info(resolved, group_id, &tree)?;
        let tree = tree.encode_tree();
        let host = enter(&client, &group_info, &tree)?;
        Ok(Self { suite, members, client, group_info, tree, host })
    }

    /// The suite of the group.
    #[must_use]
    pub fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// The number of leaves, all occupied.
    #[must_use]
    pub fn members(&self) -> u32 {
        self.members
    }

    /// A Welcome for the owner of a key package, who takes the seat beside the host. The group itself goes on as it
    /// was, so that any number of clients can be invited to a full group of the same size.
    ///
    /// # Errors
    /// When the key package is not acceptable.
    pub fn invite(&mut self, key_package: &[u8]) -> Result<Vec<u8>> {
        let added = self.client.read_key_package(key_package, now())?;
        let commit = self.host.commit().remove(SIBLING).add(added);
        let pending = commit.build(&mut os_rng(), now())?;
        Ok(pending.welcome().context("somebody was added")?.to_vec())
    }

    /// A Welcome for two: the first takes the first leaf, the second the last one, at the far end of the tree. The last
    /// leaf's path is blank until its owner commits. At least 3 members.
    ///
    /// # Errors
    /// When a key package is not acceptable.
    pub fn invite_pair(&self, near: &[u8], far: &[u8]) -> Result<Vec<u8>> {
        ensure!(self.members >= 3, "host, near and far member are three");
        let mut host = enter(&self.client, &self.group_info, &self.tree)?;
        let near = self.client.read_key_package(near, now())?;
        let far = self.client.read_key_package(far, now())?;
        let commit = host.commit().remove(SIBLING).remove(LeafIndex(self.members - 1));
        let pending = commit.add(near).add(far).build(&mut os_rng(), now())?;
        Ok(pending.welcome().context("somebody was added")?.to_vec())
    }
}

impl std::fmt::Debug for FullTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FullTree").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The host takes its leaf back by an external commit.
fn enter(client: &Client, group_info: &[u8], tree: &[u8]) -> Result<Group> {
    let options = ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
    let joined =
        client.join_external(group_info, Some(tree), options, &mut os_rng(), now())?.confirm();
    ensure!(joined.own_leaf() == HOST, "the host came back to another leaf");
    Ok(joined)
}

struct Leaves {
    signers: Vec<Box<dyn SigningKey>>,
    credentials: Vec<Credential>,
    capabilities: Capabilities,
}

impl Leaves {
    fn generate(host: &Client, members: u32) -> Result<Self> {
        let suite = host.suite();
        let mut signers = Vec::new();
        let mut credentials = Vec::new();
        for leaf in 0..members {
            if leaf == HOST.0 {
                let private = host.identity().keys().export_private()?;
                signers.push(suite.signature.signing_key(private.as_bytes())?);
                credentials.push(host.identity().credential().clone());
            } else {
                signers.push(suite.signature.generate(&mut os_rng())?);
                credentials.push(Credential::Basic(format!("member {leaf}").into_bytes()));
            }
        }
        Ok(Self { signers, credentials, capabilities: host.capabilities() })
    }

    fn each(&self) -> impl Iterator<Item = (LeafIndex, &dyn SigningKey, &Credential)> {
        let named = self.signers.iter().zip(&self.credentials);
        (0..)
            .map(LeafIndex)
            .zip(named)
            .map(|(leaf, (signer, credential))| (leaf, &**signer, credential))
    }

    /// All leaves, then the paths of every other one.
    fn fill(&self, suite: &'static Suite, group_id: &GroupId) -> Result<RatchetTree> {
        let mut nodes =
            self.each().map(|(_, signer, credential)| self.leaf_node(suite, signer, credential));
        let mut tree = RatchetTree::new(suite, &nodes.next().context("no leaf")??);
        let mut overlay = TreeOverlay::new(&tree);
        for node in nodes {
            overlay.add(&node?)?;
        }
        let staged = overlay.finish();
        tree.apply(staged);
        for (leaf, signer, credential) in self.each().filter(|(leaf, ..)| leaf.0 % 2 == 0) {
            let mut overlay = TreeOverlay::new(&tree);
            let content = NewLeaf {
                signer,
                credential: credential.clone(),
                capabilities: self.capabilities.clone(),
                extensions: Extensions::new(),
            };
            overlay.new_path(leaf, content, group_id, &mut os_rng())?;
            let staged = overlay.finish();
            tree.apply(staged);
        }
        Ok(tree)
    }

    fn leaf_node(
        &self,
        suite: &'static Suite,
        signer: &dyn SigningKey,
        credential: &Credential,
    ) -> Result<LeafNode> {
        let UnixTime(now) = now();
        let lifetime = Lifetime {
            not_before: UnixTime(now.saturating_sub(DAY)),
            not_after: UnixTime(now.saturating_add(30 * DAY)),
        };
        let mut node = LeafNode {
            encryption_key: HpkePublicKey::from(suite.kem.generate(&mut os_rng())?.public()),
            signature_key: SignaturePublicKey::from(signer.public()),
            credential: credential.clone(),
            capabilities: self.capabilities.clone(),
            source: LeafNodeSource::KeyPackage(lifetime),
            extensions: Extensions::new(),
            signature: Signature::default(),
        };
        // The position is no part of what the signature of a key package's leaf covers.
        let position = TreePosition { group_id: &GroupId::default(), leaf_index: LeafIndex(0) };
        sign_leaf_node(suite, &mut node, position, signer)?;
        Ok(node)
    }

    /// What the host needs to come back. Nobody knows the secrets of the epoch that it describes, and nobody needs them: the
    /// external commit starts the next one from a secret of its own.
    fn group_info(
        &self,
        suite: &'static Suite,
        group_id: GroupId,
        tree: &RatchetTree,
    ) -> Result<Vec<u8>> {
        let (signer, host, _) = self.each().find(|(leaf, ..)| *leaf == HOST).context("no host")?;
        let external_pub = HpkePublicKey::from(suite.kem.generate(&mut os_rng())?.public());
        let mut extensions = Extensions::new();
        let content = ExternalPub { external_pub };
        extensions.set(Extension::new(ExtensionType::EXTERNAL_PUB, &content));
        let mut info = GroupInfo {
            group_context: GroupContext {
                version: ProtocolVersion::MLS10,
                cipher_suite: suite.id,
                group_id,
                epoch: 1,
                tree_hash: tree.tree_hash(),
                confirmed_transcript_hash: vec![0; suite.hash_length()],
                extensions: Extensions::new(),
            },
            extensions,
            confirmation_tag: ConfirmationTag(vec![0; suite.hash_length()]),
            signer,
            signature: Signature::default(),
        };
        let content = GroupInfoTbs(&info).to_bytes();
        info.signature = suite.sign_with_label(host, "GroupInfoTBS", &content)?;
        Ok(MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes())
    }
}
