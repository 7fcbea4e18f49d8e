//! The ratchet tree and TreeKEM (RFC 9420 sections 4 and 7).
//!
//! A [`RatchetTree`] never changes step by step. A commit is carried out on a [`TreeOverlay`], which holds only the
//! nodes that differ and reads through to the tree for all others; [`TreeOverlay::finish`] turns it into a
//! [`StagedTree`] that owns the differences, and [`RatchetTree::apply`] puts them in place. Dropping either leaves the
//! tree as it was. Work is proportional to the number of changed nodes and the depth of the tree.
//!
//! [`TreeView`] is what can be read of all three. The private keys of a member stand apart, in [`TreePrivateKeys`],
//! so that a server which follows the group uses the same code without them.
//!
//! # What a commit costs
//!
//! In a full tree of N members, creating and applying, or processing and merging, a commit without newcomers takes O(log N)
//! work and memory:
//!
//! - Nothing is copied: an overlay holds what differs, merging moves it into the arena, and a commit that is given up is dropped.
//! - Leaves are kept encoded, and every node's tree hash is kept: a commit hashes the nodes above the changed leaves again,
//!   and reads the hashes beside them.
//! - An index from keys to nodes answers whether a key stands elsewhere in the tree, and counters answer what all members
//!   support, both without a walk.
//! - Private keys stay parsed from one epoch to the next; the secret tree, the external key pair and a GroupInfo are derived
//!   or made when they are asked for.
//!
//! What is left is the cryptography: two signatures and log2 N encryptions for the committer, two signature checks and
//! one decryption for a receiver. Linear in N are joining (each leaf's signature is checked, each parent hash
//! computed once for either side), encoding the tree, and saving.
//!
//! A blank parent costs more: the committer encrypts to every node that stands in for it. Right after N members were added at
//! once the tree is blank, and the next commit encrypts to each of them, which is O(N) in time and bytes. Every commit fills
//! the committer's path, so that the cost falls quickly when different members commit, best of all members far apart
//! in the tree. So let newcomers commit soon after they have joined, at different moments; add members in groups as they come
//! rather than all in one commit; and after a bulk add let the members refresh their keys in turn, in the order of
//! their leaves' bits reversed (0, N/2, N/4, 3N/4, ...), until every other leaf has committed. With the feature `threads` the encryptions of
//! a commit and of its Welcome, and the signature checks of a join, use all threads of the machine.
//!
//! What makes a leaf acceptable to a group (RFC 9420 section 7.3) is not decided here, with two exceptions: keys are
//! unique, and signatures can be verified.

mod error;
mod hash;
mod key_index;
mod leaf;
mod math;
mod merge_path;
mod overlay;
mod path_secret;
mod private_keys;
mod ratchet_tree;
mod staged;
mod support;
mod update_path;
mod validation;
mod view;

pub use error::{TreeError, UpdatePathError};
pub use leaf::LeafRef;
pub use math::{NodeIndex, TreeSize};
pub use merge_path::{DecryptedPath, MergedPath};
pub use overlay::TreeOverlay;
pub use path_secret::{NodeSecret, PathSecret};
pub use private_keys::{SavedKey, TreePrivateKeys};
pub use ratchet_tree::RatchetTree;
pub use staged::{StagedTree, StagedView};
pub use support::Feature;
pub use update_path::{EncryptedPath, JoinerPathSecret, NewLeaf, NewPath};
pub use validation::{sign_leaf_node, verify_leaf_node_signature, verify_leaf_signature};
pub use view::{PathStep, TreeView};
