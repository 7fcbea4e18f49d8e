//! The public half of processing a commit (RFC 9420 section 12.4.2), shared by members and delivery services.

use crate::{
    error::ProcessError,
    tree::MergedPath,
    validation::ProposalListViolation,
    wire::{AuthenticatedContent, Commit, LeafIndex, UnixTime},
};

use super::{
    changes::Changes,
    proposal_cache::ProposalCache,
    stage::{Applied, Proposed, apply_proposals},
    state::{Policy, PublicState},
};

/// A received commit whose public checks have passed.
pub(crate) struct PublicCommit<'a> {
    /// Proposals and path in effect on the overlay; the GroupContext is that of the next epoch.
    pub(crate) applied: Applied<'a, 'a>,
    pub(crate) merged: Option<MergedPath<'a>>,
    /// The GroupContext that the path secrets were encrypted under, encoded.
    pub(crate) provisional: Vec<u8>,
    pub(crate) changes: Changes,
}

/// Judges a commit whose signature has been verified. `own` is the leaf of the member who judges.
pub(crate) fn check_commit<'a>(
    state: &'a PublicState,
    cache: &'a ProposalCache,
    authenticated: &'a AuthenticatedContent,
    commit: &'a Commit,
    own: Option<LeafIndex>,
    policy: &Policy,
    now: UnixTime,
) -> Result<PublicCommit<'a>, ProcessError> {
    let committer = authenticated.content.sender;
    let list = cache.resolve(&commit.proposals, committer)?;
    let proposed = Proposed { list, committer, own, now };
    let mut applied = apply_proposals(state, &proposed, policy)?;
    if applied.proposals.path_required && commit.path.is_none() {
        return Err(ProposalListViolation::PathMissing.into());
    }
    let replaced = applied.replaced_leaf(state, committer);
    let check = policy.leaf_check(state.suite, now);
    let merged = match &commit.path {
        Some(path) => Some(applied.merge_path(path, replaced, &check)?),
        None => None,
    };
    let provisional = applied.provisional_context();
    let changes = applied.changes(state, committer, own, commit.path.is_some())?;
    applied.check_rules(state, &proposed, &changes, policy)?;
    applied.context.confirmed_transcript_hash = state.interim.confirm(
        state.suite,
        authenticated.wire_format,
        &authenticated.content,
        &authenticated.auth.signature,
    )?;
    Ok(PublicCommit { applied, merged, provisional, changes })
}
