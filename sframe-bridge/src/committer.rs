//! Who commits a pending change, and when.
//!
//! Every member sees what is pending and decides by itself, from the same facts, so that usually
//! one of them commits and the others wait. The delivery service settles the rest: it takes one
//! commit for each epoch.

use crate::time::Now;
use core::time::Duration;
use std::collections::BTreeSet;

/// When members commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitterConfig {
    /// Time between commits that only add. Default 500 ms.
    pub add_spacing: Duration,
    /// How long the next in line waits for the one before it, when somebody is to be removed: longer
    /// than a commit takes to come back to it, or most commits would be built in vain.
    /// Default 250 ms.
    pub removal_stagger: Duration,
    /// The same for commits that only add. Default 400 ms.
    pub add_stagger: Duration,
    /// How old an epoch must be for those who have not acknowledged it to stand at the end of the line.
    /// Before that members know of different acknowledgements, and many would each be the first in a
    /// line of its own. Default 600 ms.
    pub acknowledgement_grace: Duration,
    /// How many build a commit that removes at the same time. Default 2.
    pub removal_builders: usize,
    /// After how long without a commit the group is refreshed. Default 60 s.
    pub refresh_after: Duration,
    /// How long the next in line waits for the one before it to refresh. Default 2 s.
    pub refresh_stagger: Duration,
    /// How long a commit that was submitted may stay unanswered. Default 2 s.
    pub answer_timeout: Duration,
    /// How old a logged removal must be for a commit without it to be an alarm. Default 300 ms.
    pub removal_grace: Duration,
}

impl Default for CommitterConfig {
    fn default() -> Self {
        Self {
            add_spacing: Duration::from_millis(500),
            removal_stagger: Duration::from_millis(250),
            add_stagger: Duration::from_millis(400),
            acknowledgement_grace: Duration::from_millis(600),
            removal_builders: 2,
            refresh_after: Duration::from_secs(60),
            refresh_stagger: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(2),
            removal_grace: Duration::from_millis(300),
        }
    }
}

/// A member as the committer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The member's leaf.
    pub leaf: u32,
    /// Whether it has acknowledged the current epoch.
    pub acknowledged: bool,
}

/// A change that waits for a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingChange {
    /// What is to change.
    pub kind: ChangeKind,
    /// Since when it is known here.
    pub since: Now,
}

/// What a pending change does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeKind {
    /// Somebody wants to join.
    Add,
    /// The member at this leaf leaves, is gone, or is to be removed.
    Remove {
        /// The leaf.
        leaf: u32,
    },
    /// This member needs a new epoch, for example because a counter runs low.
    NewEpoch,
}

/// What a member knows when it decides.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// One's own leaf.
    pub own_leaf: u32,
    /// The current epoch's number.
    pub epoch: u64,
    /// When the current epoch began here.
    pub epoch_began: Now,
    /// Whether the commit that began it did nothing but add.
    pub epoch_only_added: bool,
    /// All members of the current epoch, by ascending leaf, oneself included.
    pub members: &'a [Member],
    /// All changes that wait.
    pub pending: &'a [PendingChange],
    /// Since when a commit of one's own for this epoch awaits its answer.
    pub submitted: Option<Now>,
}

/// Why a commit is due.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CommitCause {
    /// Somebody is to be removed.
    Removal,
    /// Somebody joins.
    Add,
    /// This member needs a new epoch.
    NewEpoch,
    /// Nothing happened for long.
    Refresh,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Build a commit that takes in everything pending, all leaves included, and submit it.
    Commit {
        /// Why.
        cause: CommitCause,
    },
    /// Nothing, and ask again at this time at the latest, or when something changes.
    Wait {
        /// The time.
        until: Now,
    },
    /// Nothing: this member is leaving, or no member at all.
    Abstain,
}

/// Why a commit that came in should alarm its receivers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CommitAlarm {
    /// Its committer is itself to be removed.
    CommitterIsLeaving {
        /// The committer's leaf.
        leaf: u32,
    },
    /// It leaves somebody in whose removal has been known for longer than the grace time.
    OmitsRemoval {
        /// The leaf that should have gone.
        leaf: u32,
    },
}

/// The policy of commits. Holds settings, no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Committer {
    config: CommitterConfig,
}

impl Committer {
    /// A policy with these settings. All members of a call use the same ones.
    pub fn new(config: CommitterConfig) -> Self {
        Self { config }
    }

    /// What this member does at `now`.
    pub fn decide(&self, view: &View<'_>, now: Now) -> Decision {
        let is_member = view.members.iter().any(|member| member.leaf == view.own_leaf);
        let leaving = leaving(view.pending);
        if !is_member || leaving.contains(&view.own_leaf) {
            return Decision::Abstain;
        }
        if let Some(submitted) = view.submitted {
            let answered = submitted + self.config.answer_timeout;
            if now < answered {
                return Decision::Wait { until: answered };
            }
        }
        let due = [self.change_due(view, &leaving, now), Some(self.refresh_due(view))];
        let Some(next) = due.into_iter().flatten().min_by_key(|due| due.at) else {
            return Decision::Abstain;
        };
        if next.at <= now {
            Decision::Commit { cause: next.cause }
        } else {
            Decision::Wait { until: next.at }
        }
    }

    /// Checks a commit that came in against what was pending for its epoch: `committer` is the
    /// leaf that made it, `removed` the leaves that it removes.
    ///
    /// # Errors
    ///
    /// [`CommitAlarm`], when the delivery service should have refused the commit.
    pub fn check_commit(
        &self,
        committer: u32,
        removed: &[u32],
        pending: &[PendingChange],
        now: Now,
    ) -> Result<(), CommitAlarm> {
        for change in pending {
            let ChangeKind::Remove { leaf } = change.kind else { continue };
            if leaf == committer {
                return Err(CommitAlarm::CommitterIsLeaving { leaf });
            }
            let old = now.saturating_since(change.since) > self.config.removal_grace;
            if old && !removed.contains(&leaf) {
                return Err(CommitAlarm::OmitsRemoval { leaf });
            }
        }
        Ok(())
    }

    fn change_due(&self, view: &View<'_>, leaving: &BTreeSet<u32>, now: Now) -> Option<Due> {
        let settled = view.epoch_began + self.config.acknowledgement_grace;
        let early = self.change_due_by(view, leaving, false)?;
        if now < settled && early.at < settled {
            return Some(early);
        }
        let due = self.change_due_by(view, leaving, true)?;
        Some(Due { at: due.at.max(settled), ..due })
    }

    fn change_due_by(
        &self,
        view: &View<'_>,
        leaving: &BTreeSet<u32>,
        settled: bool,
    ) -> Option<Due> {
        let oldest = |wanted: fn(&ChangeKind) -> bool| {
            let matching = view.pending.iter().filter(move |change| wanted(&change.kind));
            matching.min_by_key(|change| change.since)
        };
        // The leaf is chosen by number, not by age: every member knows the same numbers.
        if let Some(&leaf) = leaving.first()
            && let Some(removal) = oldest(|kind| matches!(kind, ChangeKind::Remove { .. }))
        {
            let place = place_in_line(view, leaving, leaf, settled);
            let steps = place.saturating_sub(self.config.removal_builders.saturating_sub(1));
            let from = removal.since.max(view.epoch_began);
            let at = from + times(self.config.removal_stagger, steps);
            return Some(Due { at, cause: CommitCause::Removal });
        }
        if let Some(needed) = oldest(|kind| *kind == ChangeKind::NewEpoch) {
            let at = needed.since.max(view.epoch_began);
            return Some(Due { at, cause: CommitCause::NewEpoch });
        }
        let add = oldest(|kind| *kind == ChangeKind::Add)?;
        let spaced = if view.epoch_only_added {
            view.epoch_began + self.config.add_spacing
        } else {
            view.epoch_began
        };
        let place = place_in_line(view, leaving, first_free_leaf(view), settled);
        let at = add.since.max(spaced) + times(self.config.add_stagger, place);
        Some(Due { at, cause: CommitCause::Add })
    }

    /// Members refresh in turn: the epoch's number says whose turn it is.
    fn refresh_due(&self, view: &View<'_>) -> Due {
        let count = view.members.len().max(1) as u64;
        let own = view.members.iter().take_while(|member| member.leaf < view.own_leaf).count();
        let turn = view.epoch % count;
        let place = (own as u64 + count - turn) % count;
        let stagger = times(self.config.refresh_stagger, place as usize);
        let at = view.epoch_began + self.config.refresh_after + stagger;
        Due { at, cause: CommitCause::Refresh }
    }
}

struct Due {
    at: Now,
    cause: CommitCause,
}

/// How far two leaves are apart in the tree: those with the nearest common ancestor come first,
/// and the order inside a subtree is total, so that all members compute the same line.
fn distance(a: u32, b: u32) -> u32 {
    a ^ b
}

/// How many come before this member: acknowledged ones first once that is `settled`, then by nearness
/// to the changed leaf, whose blanked path the nearest member's own path refills.
fn place_in_line(view: &View<'_>, leaving: &BTreeSet<u32>, changed: u32, settled: bool) -> usize {
    let rank = |member: &Member| (settled && !member.acknowledged, distance(member.leaf, changed));
    let own = view.members.iter().find(|member| member.leaf == view.own_leaf).map(rank);
    let before = view.members.iter().filter(|member| Some(rank(member)) < own);
    before.filter(|member| !leaving.contains(&member.leaf)).count()
}

/// The leaves that are to be removed.
fn leaving(pending: &[PendingChange]) -> BTreeSet<u32> {
    let leaf = |change: &PendingChange| match change.kind {
        ChangeKind::Remove { leaf } => Some(leaf),
        _ => None,
    };
    pending.iter().filter_map(leaf).collect()
}

/// Where a joiner will sit: the leftmost blank leaf (RFC 9420 section 12.1.1).
fn first_free_leaf(view: &View<'_>) -> u32 {
    let taken = (0..).zip(view.members).take_while(|(index, member)| *index == member.leaf);
    taken.count() as u32
}

fn times(step: Duration, count: usize) -> Duration {
    step.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}
