//! Key packages (RFC 9420 section 10).

use crate::codec::{Encode, struct_codec};

use super::{
    extension::Extensions,
    leaf_node::LeafNode,
    registry::{CipherSuite, ProtocolVersion},
    types::{HpkePublicKey, Signature},
};

/// What a client publishes so that others can add it to a group (RFC 9420 section 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPackage {
    /// Protocol version.
    pub version: ProtocolVersion,
    /// Cipher suite of the groups that it can join.
    pub cipher_suite: CipherSuite,
    /// KEM key to which the Welcome is encrypted; differs from the leaf's key.
    pub init_key: HpkePublicKey,
    /// The leaf node that enters the tree.
    pub leaf_node: LeafNode,
    /// Extensions of the key package.
    pub extensions: Extensions,
    /// Signature by the leaf's signature key over [`KeyPackageTbs`].
    pub signature: Signature,
}

struct_codec!(KeyPackage { version, cipher_suite, init_key, leaf_node, extensions, signature });

/// `KeyPackageTBS`: what the signature of a key package covers (RFC 9420 section 10).
#[derive(Clone, Copy, Debug)]
pub struct KeyPackageTbs<'a>(pub &'a KeyPackage);

impl Encode for KeyPackageTbs<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.version.encode(out);
        self.0.cipher_suite.encode(out);
        self.0.init_key.encode(out);
        self.0.leaf_node.encode(out);
        self.0.extensions.encode(out);
    }
}
