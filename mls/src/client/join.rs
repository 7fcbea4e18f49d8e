//! Joining a group by Welcome (RFC 9420 section 12.4.3.1).

use crate::{
    codec::{Decode, Encode},
    error::JoinError,
    group::{
        Group, Member,
        next_epoch::MemberSecrets,
        psk::{from_store, psk_secret},
        state::PublicState,
        succession::{Linked, find_link},
    },
    schedule::{JoinerSecret, SecretTree},
    tree::{LeafRef, PathSecret, TreePrivateKeys, TreeView},
    validation::{
        GroupInfoViolation, LeafNodeViolation, ProposalListViolation, SuccessionViolation,
        check_requirements,
    },
    wire::{
        EncryptedGroupSecrets, Extensions, GroupContext, GroupInfo, GroupSecrets, KeyPackageRef,
        LeafIndex, MlsMessage, MlsMessageBody, PreSharedKeyId, RequiredCapabilities,
        ResumptionPskUsage, UnixTime, Welcome,
    },
};

use super::{Client, KeyPackageBundle};

/// A group that this client has been invited to and can inspect before it accepts.
#[must_use = "the group is joined by `accept`"]
pub struct StagedJoin {
    group: Group,
    sender: LeafIndex,
    key_package: KeyPackageRef,
    continues: Option<ResumptionPskUsage>,
    extensions: Extensions,
}

impl StagedJoin {
    /// The members, this client included.
    pub fn roster(&self) -> impl Iterator<Item = Member> + '_ {
        self.group.roster()
    }

    /// The state of the group.
    #[must_use]
    pub fn context(&self) -> &GroupContext {
        self.group.context()
    }

    /// The member who sent the invitation.
    #[must_use]
    pub fn sender(&self) -> Option<Member> {
        self.group.member(self.sender)
    }

    /// The extensions of the GroupInfo that came with the invitation. Those that are not known are to be ignored (RFC 9420
    /// section 13.4). The sender of the invitation alone vouches for them.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// This client's leaf.
    #[must_use]
    pub fn own_leaf(&self) -> LeafIndex {
        self.group.own_leaf()
    }

    /// The key package that was used. Its bundle has served and is to be dropped.
    #[must_use]
    pub fn key_package(&self) -> &KeyPackageRef {
        &self.key_package
    }

    /// How the group continues the one that it was compared with: in its place
    /// ([`ReInit`](ResumptionPskUsage::ReInit)) or beside it ([`Branch`](ResumptionPskUsage::Branch)).
    #[must_use]
    pub fn continues(&self) -> Option<ResumptionPskUsage> {
        self.continues
    }

    /// Becomes a member.
    #[must_use]
    pub fn accept(self) -> Group {
        self.group
    }
}

impl std::fmt::Debug for StagedJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedJoin")
            .field("group", &self.group)
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Reads a Welcome for one of the key packages given. `tree` is the ratchet tree (the content of a `ratchet_tree`
    /// extension) for a Welcome that does not carry it.
    ///
    /// That the group is not one which the client is in already (section 12.4.3) is for the caller to check.
    ///
    /// # Errors
    /// [`JoinError`]; the bundles are as before. [`JoinError::PskUsage`] for a group that continues another one.
    pub fn join<'b>(
        &self,
        welcome: &[u8],
        bundles: impl IntoIterator<Item = &'b KeyPackageBundle>,
        tree: Option<&[u8]>,
        now: UnixTime,
    ) -> Result<StagedJoin, JoinError> {
        self.open_welcome(None, welcome, bundles, tree, now)
    }

    /// Reads a Welcome to a group that continues `old`: to its successor after a ReInit (RFC 9420 section 11.2), or to a
    /// branch of it (section 11.3), as [`StagedJoin::continues`] tells. The rest is as for [`Client::join`].
    ///
    /// # Errors
    /// [`JoinError::Succession`] when the group does not continue `old` by the rules. Its
    /// [`action`](JoinError::action) is [`WaitForKey`](crate::Action::WaitForKey) where `old` lacks commits, that of the ReInit,
    /// say.
    pub fn join_from<'b>(
        &self,
        old: &Group,
        welcome: &[u8],
        bundles: impl IntoIterator<Item = &'b KeyPackageBundle>,
        tree: Option<&[u8]>,
        now: UnixTime,
    ) -> Result<StagedJoin, JoinError> {
        self.open_welcome(Some(old), welcome, bundles, tree, now)
    }

    fn open_welcome<'b>(
        &self,
        old: Option<&Group>,
        welcome: &[u8],
        bundles: impl IntoIterator<Item = &'b KeyPackageBundle>,
        tree: Option<&[u8]>,
        now: UnixTime,
    ) -> Result<StagedJoin, JoinError> {
        let MlsMessage(MlsMessageBody::Welcome(welcome)) = MlsMessage::from_bytes(welcome)? else {
            return Err(JoinError::WrongKind);
        };
        let suite = self.suite();
        if welcome.cipher_suite != suite.id {
            return Err(JoinError::CipherSuite);
        }
        let (bundle, entry) =
            find_entry(&welcome, bundles).ok_or(JoinError::NoMatchingKeyPackage)?;
        let secrets = self.open_group_secrets(&welcome, bundle, entry)?;

        let psks: Vec<&PreSharedKeyId> = secrets.psks.iter().collect();
        check_psks(&psks, suite.hash_length()).map_err(JoinError::Psks)?;
        let linked = match (old, find_link(&psks)?) {
            (None, None) => None,
            (None, Some(_)) => return Err(JoinError::PskUsage),
            (Some(_), None) => return Err(SuccessionViolation::LinkCount.into()),
            (Some(old), Some(link)) => Some((old, old.check_link(link)?)),
        };
        let store = &*self.options().psks;
        let psk_secret = psk_secret(suite, &psks, |source| {
            old.and_then(|old| old.find_psk(source)).or_else(|| from_store(store, source))
        })?;
        let joiner = JoinerSecret::from_slice(secrets.expose_joiner_secret());
        let member = joiner.member(suite, &psk_secret);
        let info = member
            .welcome(suite)?
            .keys(suite)?
            .open(&welcome.encrypted_group_info)
            .map_err(|_| JoinError::EncryptedGroupInfo)?;
        let info = GroupInfo::from_bytes(&info)?;
        self.check_supported(&info)?;
        let state = PublicState::from_group_info(suite, &info, tree, self.policy(), now)?;

        let own_leaf = find_own_leaf(&state, bundle).ok_or(JoinError::OwnLeafMissing)?;
        if self.identity().public() != bundle.key_package().leaf_node.signature_key {
            return Err(JoinError::OtherIdentity);
        }
        let path_secret = match &secrets.path_secret {
            Some(secret) => Some(PathSecret::received(
                suite,
                crate::crypto::Secret::from_slice(secret.expose()),
            )?),
            None => None,
        };
        let leaf_key = suite.kem.private_key(bundle.leaf_key.export()?.as_bytes())?;
        let private =
            TreePrivateKeys::join(&state.tree, own_leaf, leaf_key, info.signer, path_secret)?;
        let derived = member.epoch(suite, &state.context_bytes)?.derive(suite)?;
        derived
            .secrets
            .check_confirmation_tag(
                &state.context.confirmed_transcript_hash,
                &state.confirmation_tag,
            )
            .map_err(|_| JoinError::ConfirmationTag)?;
        let width = state.tree.size().leaves();
        let limits = self.options().ratchets;
        let secret_tree = SecretTree::new(suite, derived.encryption, width, own_leaf, limits)?;
        let secrets = MemberSecrets { private, epoch: derived.secrets, secret_tree };
        let group = Group::new(self.clone(), state, secrets, own_leaf);
        if let Some((old, Linked { usage, epoch })) = &linked {
            old.check_continued_by(&group, *usage, *epoch)?;
        }
        Ok(StagedJoin {
            group,
            sender: info.signer,
            key_package: bundle.reference().clone(),
            continues: linked.map(|(_, linked)| linked.usage),
            extensions: info.extensions,
        })
    }

    fn open_group_secrets(
        &self,
        welcome: &Welcome,
        bundle: &KeyPackageBundle,
        entry: &EncryptedGroupSecrets,
    ) -> Result<GroupSecrets, JoinError> {
        let opened = self
            .suite()
            .decrypt_with_label(
                &*bundle.init_key,
                "Welcome",
                &welcome.encrypted_group_info,
                &entry.encrypted_group_secrets,
            )
            .map_err(|_| JoinError::GroupSecrets)?;
        Ok(GroupSecrets::from_bytes(opened.as_bytes())?)
    }

    /// The client supports every extension of the group (section 13.4).
    pub(super) fn check_supported(&self, info: &GroupInfo) -> Result<(), JoinError> {
        let extensions = &info.group_context.extensions;
        let nothing = RequiredCapabilities::default();
        match check_requirements(&self.supported(), &nothing, extensions) {
            Ok(()) => Ok(()),
            Err(LeafNodeViolation::GroupExtension(unsupported)) => {
                Err(JoinError::ExtensionUnsupported(unsupported))
            }
            Err(_) => Err(GroupInfoViolation::ExtensionMalformed.into()),
        }
    }
}

fn find_entry<'w, 'b>(
    welcome: &'w Welcome,
    bundles: impl IntoIterator<Item = &'b KeyPackageBundle>,
) -> Option<(&'b KeyPackageBundle, &'w EncryptedGroupSecrets)> {
    bundles.into_iter().find_map(|bundle| {
        let entry = welcome.secrets.iter().find(|e| e.new_member == *bundle.reference())?;
        Some((bundle, entry))
    })
}

/// The PSKs of a Welcome are those of its commit (section 8.4), and are held to the same rules.
fn check_psks(psks: &[&PreSharedKeyId], nonce_length: usize) -> Result<(), ProposalListViolation> {
    let mut seen = std::collections::HashSet::new();
    for psk in psks {
        if psk.psk_nonce.len() != nonce_length {
            return Err(ProposalListViolation::PskNonceLength);
        }
        if !seen.insert(psk) {
            return Err(ProposalListViolation::PskTwice);
        }
    }
    if psks.len() > usize::from(u16::MAX) {
        return Err(ProposalListViolation::TooManyPsks);
    }
    Ok(())
}

/// The leaf that is identical to the one in the key package.
fn find_own_leaf(state: &PublicState, bundle: &KeyPackageBundle) -> Option<LeafIndex> {
    let leaf_node = &bundle.key_package().leaf_node;
    let leaf = state.tree.find_signature_key(leaf_node.signature_key.as_bytes())?;
    let same = |found: LeafRef<'_>| found.as_bytes() == leaf_node.to_bytes();
    state.tree.leaf(leaf).is_some_and(same).then_some(leaf)
}
