//! Creating a commit (RFC 9420 section 12.4.1), for members and for those who join by external commit.

use crate::{
    client::{Client, Identity},
    codec::Encode,
    crypto::{CryptoError, CryptoRng, Suite},
    error::CommitError,
    framing::{SignedContent, sign},
    parallel::try_map_with_rng,
    schedule::{CommitSecret, InitSecret, JoinerSecret, Psk, WelcomeKeys},
    tree::{NewLeaf, PathSecret, TreePrivateKeys, TreeView},
    wire::{
        AuthenticatedContent, Capabilities, Commit, Content, EncryptedGroupSecrets, Extensions,
        FramedContent, GroupSecrets, KeyPackageRef, MlsMessage, MlsMessageBody, PathSecretBytes,
        PreSharedKey, PreSharedKeyId, Proposal, ProposalOrRef, PskSource, UpdatePath, Welcome,
        WireFormat,
    },
};

use super::{
    group_info::{GroupInfoParts, sign_group_info},
    next_epoch::{Advanced, MemberSecrets, NextPublic, ScheduleInput},
    psk::psk_secret,
    stage::{Applied, Proposed, apply_proposals},
    state::PublicState,
};

/// What the committer's leaf holds beside keys.
pub(crate) struct LeafContent<'a> {
    /// Who the committer is from then on.
    pub(crate) identity: &'a Identity,
    pub(crate) capabilities: Capabilities,
    pub(crate) extensions: Extensions,
}

/// Everything that goes into a commit.
pub(crate) struct CommitInput<'a> {
    pub(crate) state: &'a PublicState,
    pub(crate) client: &'a Client,
    pub(crate) entries: &'a [ProposalOrRef],
    /// The resumption key that ties a new group to another one. It has no place among the proposals of any other commit,
    /// so it comes beside them.
    pub(crate) link: Option<&'a PreSharedKeyId>,
    pub(crate) proposed: Proposed<'a>,
    /// A path even where none is required.
    pub(crate) path: bool,
    pub(crate) leaf: LeafContent<'a>,
    pub(crate) private: Option<&'a TreePrivateKeys>,
    pub(crate) init: &'a InitSecret,
    pub(crate) find_psk: &'a dyn Fn(&PskSource) -> Option<Psk>,
    pub(crate) wire_format: WireFormat,
    pub(crate) authenticated_data: Vec<u8>,
    pub(crate) welcome_tree: bool,
    /// Extensions of the application in the GroupInfo of the Welcome.
    pub(crate) welcome_extensions: Extensions,
}

/// A commit, and the epoch that it starts.
pub(crate) struct BuiltCommit {
    pub(crate) authenticated: AuthenticatedContent,
    pub(crate) next: NextPublic,
    pub(crate) secrets: MemberSecrets,
    pub(crate) welcome: Option<Vec<u8>>,
}

/// One joiner of the commit, as the Welcome needs it.
struct Joiner {
    init_key: Vec<u8>,
    path_secret: Option<PathSecret>,
}

/// The path of a commit, or what stands in for it.
struct PathPart {
    update_path: Option<UpdatePath>,
    commit_secret: CommitSecret,
    private: TreePrivateKeys,
    joiner_secrets: Vec<Option<PathSecret>>,
}

/// Builds the commit. Nothing is changed by it.
pub(crate) fn create_commit(
    input: CommitInput<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<BuiltCommit, CommitError> {
    let CommitInput { state, client, proposed, .. } = &input;
    let suite = state.suite;
    let mut applied = apply_proposals(state, proposed, client.policy())?;
    let committer = applied.committer;
    applied.proposals.psks.extend(input.link);

    let path = make_path(&mut applied, &input, rng)?;
    if let Some(path) = &path.update_path {
        applied.check_own_path_leaf(state, proposed, &path.leaf_node, client.policy())?;
    }
    let changes = applied.changes(state, proposed.committer, None, path.update_path.is_some())?;
    applied.check_rules(state, proposed, &changes, client.policy())?;

    let psks: Vec<&PreSharedKeyId> = applied.proposals.psks.clone();
    let psk_secret = psk_secret(suite, &psks, input.find_psk)?;
    let signed = sign_commit(&input, path.update_path)?;
    applied.context.confirmed_transcript_hash =
        state.interim.confirm(suite, input.wire_format, signed.content(), signed.signature())?;
    let context_bytes = applied.context.to_bytes();
    let Advanced { epoch, secret_tree, joiner, welcome } = ScheduleInput {
        suite,
        init: input.init,
        commit_secret: path.commit_secret,
        psk_secret: &psk_secret,
        context: &context_bytes,
        tree_width: applied.overlay.size().leaves(),
        own_leaf: committer,
        limits: client.options().ratchets,
    }
    .advance()?;
    let tag = epoch.confirmation_tag(&applied.context.confirmed_transcript_hash);

    let joiners: Vec<Joiner> = applied
        .proposals
        .adds
        .iter()
        .zip(path.joiner_secrets.into_iter().chain(std::iter::repeat_with(|| None)))
        .map(|(add, path_secret)| Joiner {
            init_key: add.key_package.init_key.0.clone(),
            path_secret,
        })
        .collect();
    let welcome = if joiners.is_empty() {
        None
    } else {
        let tree = input.welcome_tree.then(|| applied.overlay.encode_tree());
        let info = sign_group_info(
            suite,
            input.leaf.identity,
            GroupInfoParts {
                context: applied.context.clone(),
                confirmation_tag: tag.clone(),
                signer: committer,
                tree,
                external_pub: None,
                extensions: input.welcome_extensions.clone(),
            },
        )?;
        let material = WelcomeMaterial {
            joiner: &joiner,
            keys: welcome,
            group_info: info.to_bytes(),
            psks: psks.into_iter().cloned().collect(),
        };
        Some(make_welcome(suite, material, &joiners, &changes.welcomed, rng)?)
    };
    let authenticated = signed.confirmed(tag.clone())?;
    let context = applied.context;
    let next = NextPublic::new(state, applied.overlay.finish(), context, tag, changes);
    let secrets = MemberSecrets { private: path.private, epoch, secret_tree };
    Ok(BuiltCommit { authenticated, next, secrets, welcome })
}

/// Makes the path if there is to be one, and fixes the tree hash of the next epoch.
fn make_path(
    applied: &mut Applied<'_, '_>,
    input: &CommitInput<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<PathPart, CommitError> {
    let suite = input.state.suite;
    if !(input.path || applied.proposals.path_required) {
        applied.provisional_context();
        let private = input.private.ok_or(CommitError::Inactive)?.retained(&applied.overlay);
        return Ok(PathPart {
            update_path: None,
            commit_secret: CommitSecret::zero(suite),
            private,
            joiner_secrets: Vec::new(),
        });
    }
    let identity = input.leaf.identity;
    let leaf = NewLeaf {
        signer: identity.signer(),
        credential: identity.credential().clone(),
        capabilities: input.leaf.capabilities.clone(),
        extensions: input.leaf.extensions.clone(),
    };
    let group_id = applied.context.group_id.clone();
    let new_path = applied.overlay.new_path(applied.committer, leaf, &group_id, rng)?;
    let context = applied.provisional_context();
    let encrypted = new_path.encrypt(&applied.overlay, &context, rng)?;
    Ok(PathPart {
        update_path: Some(encrypted.update_path),
        commit_secret: encrypted.commit_secret.into_secret().into(),
        private: encrypted.private,
        joiner_secrets: encrypted
            .joiners
            .into_iter()
            .map(|joiner| Some(joiner.path_secret))
            .collect(),
    })
}

fn sign_commit(
    input: &CommitInput<'_>,
    path: Option<UpdatePath>,
) -> Result<SignedContent, CommitError> {
    let mut proposals = input.entries.to_vec();
    proposals.extend(input.link.map(|psk| {
        ProposalOrRef::Proposal(Proposal::PreSharedKey(PreSharedKey { psk: psk.clone() }))
    }));
    let commit = Commit { proposals, path };
    let content = FramedContent {
        group_id: input.state.context.group_id.clone(),
        epoch: input.state.context.epoch,
        sender: input.proposed.committer,
        authenticated_data: input.authenticated_data.clone(),
        content: Content::Commit(Box::new(commit)),
    };
    Ok(sign(
        input.state.suite,
        input.wire_format,
        content,
        &input.state.context_bytes,
        input.client.identity().signer(),
    )?)
}

/// What a Welcome is made of, apart from its receivers.
struct WelcomeMaterial<'a> {
    joiner: &'a JoinerSecret,
    keys: WelcomeKeys,
    group_info: Vec<u8>,
    psks: Vec<PreSharedKeyId>,
}

/// One Welcome for all joiners (RFC 9420 section 12.4.3.1).
fn make_welcome(
    suite: &'static Suite,
    material: WelcomeMaterial<'_>,
    joiners: &[Joiner],
    references: &[KeyPackageRef],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, CommitError> {
    let encrypted_group_info = material.keys.seal(&material.group_info)?;
    let receivers: Vec<_> = joiners.iter().zip(references).collect();
    let seal = |(joiner, reference): &(&Joiner, &KeyPackageRef), rng: &mut dyn CryptoRng| {
        let path_secret = joiner
            .path_secret
            .as_ref()
            .map(|secret| PathSecretBytes::new(secret.as_bytes().to_vec()));
        let group_secrets = GroupSecrets::new(
            material.joiner.as_bytes().to_vec(),
            path_secret,
            material.psks.clone(),
        );
        let plaintext = group_secrets.to_secret_bytes();
        let init_key = suite.kem.public_key(&joiner.init_key)?;
        let encrypted_group_secrets = suite.encrypt_with_label(
            &*init_key,
            "Welcome",
            &encrypted_group_info,
            &plaintext,
            rng,
        )?;
        let new_member = (*reference).clone();
        Ok::<_, CryptoError>(EncryptedGroupSecrets { new_member, encrypted_group_secrets })
    };
    let secrets = try_map_with_rng(suite, &receivers, rng, seal)?;
    let welcome = Welcome { cipher_suite: suite.id, secrets, encrypted_group_info };
    Ok(MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes())
}

/// A PSK's name with a fresh nonce (RFC 9420 section 8.4).
pub(crate) fn fresh_psk_id(
    suite: &'static Suite,
    source: PskSource,
    rng: &mut dyn CryptoRng,
) -> PreSharedKeyId {
    let mut psk_nonce = vec![0; suite.hash_length()];
    rng.fill_bytes(&mut psk_nonce);
    PreSharedKeyId { source, psk_nonce }
}
