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
