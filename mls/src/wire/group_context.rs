//! The state that all members of a group share (RFC 9420 section 8.1).

use crate::codec::struct_codec;

use super::{
    extension::Extensions,
    registry::{CipherSuite, ProtocolVersion},
    types::{GroupId, TreeHash},
};

/// Public summary of a group's state in one epoch (RFC 9420 section 8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupContext {
    /// Protocol version.
    pub version: ProtocolVersion,
    /// Cipher suite.
    pub cipher_suite: CipherSuite,
    /// The group.
    pub group_id: GroupId,
    /// Number of commits since the group was made.
    pub epoch: u64,
    /// Hash of the ratchet tree.
    pub tree_hash: TreeHash,
    /// Hash of the history of commits, `Nh` bytes, empty in epoch 0.
    pub confirmed_transcript_hash: Vec<u8>,
    /// Extensions that the members agreed on.
    pub extensions: Extensions,
}

struct_codec!(GroupContext {
    version,
    cipher_suite,
    group_id,
    epoch,
    tree_hash,
    confirmed_transcript_hash,
    extensions,
});
