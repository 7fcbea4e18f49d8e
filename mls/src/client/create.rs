//! Creating a group (RFC 9420 section 11).

use crate::{
    crypto::CryptoRng,
    error::ClientError,
    group::{Group, next_epoch::MemberSecrets, state::PublicState},
    schedule::{EpochSecret, SecretTree},
    tree::{RatchetTree, TreePrivateKeys},
    validation::{check_requirements, required_capabilities},
    wire::{
        Extension, ExtensionType, Extensions, GroupContext, GroupId, LeafIndex, ProtocolVersion,
        RequiredCapabilities, UnixTime,
    },
};

use super::Client;

/// What a group starts with.
#[derive(Clone, Debug, Default)]
pub struct GroupOptions {
    /// Extensions of the GroupContext.
    pub extensions: Extensions,
    /// What every member must support. The types of non-default `extensions` need not be repeated here.
    pub required_capabilities: Option<RequiredCapabilities>,
}

impl Client {
    /// Creates a group of one member, in epoch 0.
    ///
    /// # Errors
    /// [`ClientError::Requirements`] when the client itself lacks what the group demands.
    pub fn create_group(
        &self,
        group_id: GroupId,
        options: GroupOptions,
        rng: &mut dyn CryptoRng,
        now: UnixTime,
    ) -> Result<Group, ClientError> {
        let suite = self.suite();
        let leaf_key = suite.kem.generate(rng)?;
        let leaf_node = self.leaf_node(leaf_key.public(), now)?;
        let mut extensions = options.extensions;
        if let Some(required) = &options.required_capabilities {
            extensions.set(Extension::new(ExtensionType::REQUIRED_CAPABILITIES, required));
        }
        let required = required_capabilities(&extensions)?;
        check_requirements(&self.supported(), &required, &extensions)
            .map_err(ClientError::Requirements)?;
        let tree = RatchetTree::new(suite, &leaf_node);
        let context = GroupContext {
            version: ProtocolVersion::MLS10,
            cipher_suite: suite.id,
            group_id,
            epoch: 0,
            tree_hash: tree.tree_hash(),
            confirmed_transcript_hash: Vec::new(),
            extensions,
        };
        let own_leaf = LeafIndex(0);
        let epoch = EpochSecret::random(suite, rng).derive(suite)?;
        let limits = self.options().ratchets;
        let secret_tree = SecretTree::new(suite, epoch.encryption, 1, own_leaf, limits)?;
        let tag = epoch.secrets.confirmation_tag(&[]);
        let state = PublicState::new(suite, context, tree, tag);
        let private = TreePrivateKeys::new(own_leaf, leaf_key);
        let secrets = MemberSecrets { private, epoch: epoch.secrets, secret_tree };
        Ok(Group::new(self.clone(), state, secrets, own_leaf))
    }
}
