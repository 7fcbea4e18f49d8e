//! Which rule of RFC 9420 a tree, a change to it or an update path broke.

use thiserror::Error;

use super::NodeIndex;
use crate::{codec::DecodeError, crypto::CryptoError, wire::LeafIndex};

/// Why a ratchet tree, or a change to one, is not acceptable.
///
/// The bytes of a tree and the proposals that change it come from others, so each variant but the last two tells
/// of a peer that sent something invalid: drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The encoding is malformed.
    #[error("the ratchet tree is malformed: {0}")]
    Decode(#[from] DecodeError),
    /// There is no node at all.
    #[error("the ratchet tree is empty")]
    Empty,
    /// The last entry is blank (section 12.4.3.3).
    #[error("the last node of the ratchet tree must not be blank")]
    TrailingBlank,
    /// The last entry is a parent: the number of entries must be odd (section 12.4.3.3).
    #[error("the last node of the ratchet tree must be a leaf")]
    TrailingParent,
    /// A leaf stands at the position of a parent, or the reverse (section 12.4.3.3).
    #[error("node {node} has the wrong type for its position")]
    WrongNodeType {
        /// Where.
        node: NodeIndex,
    },
    /// The unmerged leaves are not in strictly increasing order (section 7.1).
    #[error("the unmerged leaves of node {node} are not in increasing order")]
    UnmergedLeavesNotSorted {
        /// The parent.
        node: NodeIndex,
    },
    /// An unmerged leaf is not below the parent (section 12.4.3.1).
    #[error("unmerged leaf {leaf} is not below node {node}")]
    UnmergedLeafNotBelow {
        /// The parent.
        node: NodeIndex,
        /// The entry.
        leaf: LeafIndex,
    },
    /// An unmerged leaf is blank (section 12.4.3.1).
    #[error("unmerged leaf {leaf} of node {node} is blank")]
    UnmergedLeafBlank {
        /// The parent.
        node: NodeIndex,
        /// The entry.
        leaf: LeafIndex,
    },
    /// A parent between an unmerged leaf and the node that lists it does not list it (section 12.4.3.1).
    #[error("node {node} does not list leaf {leaf} as unmerged, but an ancestor does")]
    UnmergedLeafNotListed {
        /// The parent between.
        node: NodeIndex,
        /// The leaf that it lacks.
        leaf: LeafIndex,
    },
    /// Two nodes have the same encryption key (sections 7.3, 12.4.3.1).
    #[error("nodes {first} and {second} have the same encryption key")]
    DuplicateEncryptionKey {
        /// One of them.
        first: NodeIndex,
        /// The other.
        second: NodeIndex,
    },
    /// Two leaves have the same signature key (section 7.3).
    #[error("leaves {first} and {second} have the same signature key")]
    DuplicateSignatureKey {
        /// One of them.
        first: LeafIndex,
        /// The other.
        second: LeafIndex,
    },
    /// A parent's key cannot be traced to a member by parent hashes (section 7.9.2).
    #[error("node {node} is not parent-hash valid")]
    ParentHash {
        /// The parent.
        node: NodeIndex,
    },
    /// The signature of a leaf does not verify (section 7.3).
    #[error("leaf {leaf}: {error}")]
    LeafSignature {
        /// Whose.
        leaf: LeafIndex,
        /// What is wrong with the key or the signature.
        error: CryptoError,
    },
    /// The leaf to change is blank or outside the tree (sections 12.1.2, 12.1.3).
    #[error("there is no member at leaf {leaf}")]
    NoMember {
        /// Which.
        leaf: LeafIndex,
    },
    /// The tree has 2^30 leaves and cannot grow.
    #[error("the ratchet tree cannot grow further")]
    Full,
}

/// Why an update path cannot be made or is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpdatePathError {
    /// The sender is not a member and not the sender of an external commit.
    #[error("there is no member at leaf {leaf} to send an update path")]
    NoSender {
        /// Which.
        leaf: LeafIndex,
    },
    /// The new leaf node does not have the source `commit` (section 12.4.2).
    #[error("the leaf node of an update path must have the source commit")]
    LeafSource,
    /// The new leaf has the encryption key of the old one (section 12.4.2).
    #[error("the leaf node of an update path must have a fresh encryption key")]
    LeafKeyUnchanged,
    /// The new leaf has the signature key of another member (section 7.3).
    #[error("the signature key of the update path's leaf is that of leaf {leaf}")]
    SignatureKeyInUse {
        /// The other member.
        leaf: LeafIndex,
    },
    /// The path does not have one node for each node of the filtered direct path (section 7.6).
    #[error("the update path must have {expected} nodes, not {actual}")]
    WrongLength {
        /// The length of the filtered direct path.
        expected: usize,
        /// The length of the path.
        actual: usize,
    },
    /// A node does not have one ciphertext for each node of the copath child's resolution (section 7.6).
    #[error("node {node} of the update path must have {expected} ciphertexts, not {actual}")]
    WrongCiphertextCount {
        /// The node of the path.
        node: NodeIndex,
        /// The length of the resolution without new leaves.
        expected: usize,
        /// The number of ciphertexts.
        actual: usize,
    },
    /// A key of the path stands in the tree already (section 12.4.2).
    #[error("a key of the update path stands already at node {node}")]
    KeyInUse {
        /// Where.
        node: NodeIndex,
    },
    /// Two nodes of the path have the same key.
    #[error("two nodes of the update path have the same key")]
    RepeatedKey,
    /// A key of the path is not a public key of the suite.
    #[error("the key for node {node} of the update path: {error}")]
    InvalidPublicKey {
        /// For which node.
        node: NodeIndex,
        /// What is wrong with it.
        error: CryptoError,
    },
    /// The leaf's parent hash is not the one computed over the new tree (section 7.9.2).
    #[error("the parent hash of the update path's leaf does not match the tree")]
    ParentHash,
    /// The receiver has no place under the path: it is the sender, was removed or joins with this commit.
    #[error("leaf {leaf} is not a receiver of this update path")]
    NotAReceiver {
        /// The receiver's leaf.
        leaf: LeafIndex,
    },
    /// None of the ciphertexts is for a key that the receiver holds. The private state does not belong to the tree.
    #[error("no private key for any ciphertext of the update path")]
    NoPrivateKey,
    /// A path secret does not decrypt (section 7.6).
    #[error("the path secret for node {node}: {error}")]
    Decrypt {
        /// The node whose path secret was encrypted.
        node: NodeIndex,
        /// Why it does not.
        error: CryptoError,
    },
    /// A path secret does not have `Nh` bytes.
    #[error("a path secret must be {expected} bytes long, not {actual}")]
    PathSecretLength {
        /// `Nh`.
        expected: usize,
        /// The length that came.
        actual: usize,
    },
    /// The key derived from a path secret is not the public key in the tree (sections 7.5, 12.4.3.1).
    #[error("the path secret does not give the public key of node {node}")]
    PublicKeyMismatch {
        /// Which.
        node: NodeIndex,
    },
    /// The node that a path secret belongs to is blank (section 12.4.3.1).
    #[error("node {node} has a path secret but is blank")]
    BlankNode {
        /// Which.
        node: NodeIndex,
    },
    /// The member's own leaf in the tree does not have the public key of its private key.
    #[error("the private key of leaf {leaf} does not belong to its public key")]
    OwnLeafKey {
        /// The member's leaf.
        leaf: LeafIndex,
    },
    /// A public key in the tree cannot be encrypted to.
    #[error("cannot encrypt to node {node}: {error}")]
    Encrypt {
        /// Which.
        node: NodeIndex,
        /// Why not.
        error: CryptoError,
    },
    /// A cryptographic operation on data of one's own failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}
