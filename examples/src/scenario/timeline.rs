//! When things happened: changes of the roster, switches of the send keys, first pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sfu_sim::protocol::RemovalReason;

use super::ledger::MemberId;

/// Messages of a stream and datagrams overtake one another; a commit comes at most so long after the word that it is done.
const COMMIT_ARRIVES: Duration = Duration::from_secs(2);

/// A roster change that a commit carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RosterChange {
    /// Somebody was added.
    Added(String),
    /// Somebody was removed.
    Removed(String),
}

/// A removal and how long it took until everybody's keys were out of its reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Removal {
    /// Who.
    pub name: String,
    /// Why.
    pub reason: RemovalReason,
    /// When the delivery service had it, from the start.
    pub at: Duration,
    /// The epoch without it.
    pub epoch: Option<u64>,
    /// How long until the last remaining sender switched to that epoch or a later one; nothing if
    /// one never did.
    pub switched_after: Option<Duration>,
    /// Who had not switched when the call was over.
    pub never_switched: Vec<String>,
}

/// A join and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who.
    pub name: String,
    /// When it was asked for, from the start.
    pub at: Duration,
    /// The first opened video frame of any publisher, counted from the request.
    pub first_frame_after: Option<Duration>,
    /// Whether anybody was there who could have sent one.
    pub somebody_sent: bool,
}

#[derive(Debug)]
struct Participation {
    name: String,
    asked: Duration,
    first_video: Option<Duration>,
    somebody_sent: bool,
    sends: bool,
    ended: Option<Duration>,
    crashed: Option<Duration>,
    epochs: BTreeMap<u64, Duration>,
    switches: BTreeMap<u64, Duration>,
}

#[derive(Clone, Debug)]
struct PendingRemoval {
    name: String,
    reason: RemovalReason,
    at: Duration,
    before_epoch: u64,
    /// When a member was first told that it is no longer pending.
    resolved: Option<Duration>,
}

/// The book of what happened when. All times count from the start of the scenario.
#[derive(Debug, Default)]
pub struct Timeline {
    participations: BTreeMap<MemberId, Participation>,
    /// By the delivery service's number of the change.
    removals: BTreeMap<u64, PendingRemoval>,
    /// By epoch, what its commit changed.
    commits: BTreeMap<u64, BTreeSet<RosterChange>>,
}

impl Timeline {
    /// Somebody asks to join. `sends` says whether it will send anything, `somebody_sent` whether
    /// anybody is in the call who sends video.
    pub fn asked_to_join(
        &mut self,
        member: MemberId,
        name: &str,
        at: Duration,
        sends: bool,
        somebody_sent: bool,
    ) {
        let participation = Participation {
            name: name.to_owned(),
            asked: at,
            first_video: None,
            somebody_sent,
            sends,
            ended: None,
            crashed: None,
            epochs: BTreeMap::new(),
            switches: BTreeMap::new(),
        };
        self.participations.insert(member, participation);
    }

    /// A member opened a video frame.
    pub fn video_opened(&mut self, member: MemberId, at: Duration) {
        if let Some(participation) = self.participations.get_mut(&member) {
            participation.first_video.get_or_insert(at);
        }
    }

    /// A member has an epoch, whose commit made these changes (nothing for the epoch it joined
    /// with, or created).
    pub fn epoch_began(
        &mut self,
        member: MemberId,
        epoch: u64,
        changes: impl IntoIterator<Item = RosterChange>,
        at: Duration,
    ) {
        if let Some(participation) = self.participations.get_mut(&member) {
            participation.epochs.entry(epoch).or_insert(at);
        }
        self.commits.entry(epoch).or_default().extend(changes);
    }

    /// A member sends under this epoch from now on.
    pub fn switched(&mut self, member: MemberId, epoch: u64, at: Duration) {
        if let Some(participation) = self.participations.get_mut(&member) {
            participation.switches.entry(epoch).or_insert(at);
        }
    }

    /// The delivery service has a removal. Told by several members; the earliest time counts.
    pub fn removal_pending(
        &mut self,
        change: u64,
        name: &str,
        reason: RemovalReason,
        at: Duration,
        current_epoch: u64,
    ) {
        let removal = self.removals.entry(change).or_insert(PendingRemoval {
            name: name.to_owned(),
            reason,
            at,
            before_epoch: current_epoch,
            resolved: None,
        });
        removal.at = removal.at.min(at);
        removal.before_epoch = removal.before_epoch.min(current_epoch);
    }

    /// A member was told that a removal is no longer pending: a commit has carried it out, which may still be on its way to
    /// everybody, or the delivery service took it back, because the one to be removed came back in time.
    pub fn removal_resolved(&mut self, change: u64, at: Duration) {
        if let Some(removal) = self.removals.get_mut(&change) {
            removal.resolved.get_or_insert(at);
        }
    }

    /// A member crashed.
    pub fn crashed(&mut self, member: MemberId, at: Duration) {
        if let Some(participation) = self.participations.get_mut(&member) {
            participation.crashed = Some(at);
        }
        self.ended(member, at);
    }

    /// A member is no longer there.
    pub fn ended(&mut self, member: MemberId, at: Duration) {
        if let Some(participation) = self.participations.get_mut(&member) {
            participation.ended.get_or_insert(at);
        }
    }

    /// All removals in order, with the time until the last remaining sender switched.
    pub fn removals(&self) -> Vec<Removal> {
        let carried_out = self.removals.values().filter(|removal| !self.was_taken_back(removal));
        let mut removals: Vec<_> = carried_out.map(|removal| self.removal(removal)).collect();
        removals.sort_by_key(|removal| removal.at);
        removals
    }

    /// All joins in order.
    pub fn joins(&self) -> Vec<Join> {
        let mut joins: Vec<_> = self
            .participations
            .values()
            .map(|participation| Join {
                name: participation.name.clone(),
                at: participation.asked,
                first_frame_after: participation
                    .first_video
                    .map(|first| first.saturating_sub(participation.asked)),
                somebody_sent: participation.somebody_sent,
            })
            .collect();
        joins.sort_by_key(|join| join.at);
        joins
    }

    /// How long after each crash the delivery service decided that the member is gone.
    pub fn crash_detection(&self) -> Vec<Duration> {
        let mut delays = Vec::new();
        for participation in self.participations.values() {
            let Some(crashed) = participation.crashed else { continue };
            let decided = self
                .removals
                .values()
                .filter(|r| r.name == participation.name && r.reason == RemovalReason::Gone)
                .map(|r| r.at)
                .filter(|at| *at >= crashed)
                .min();
            delays.extend(decided.map(|at| at - crashed));
        }
        delays
    }

    /// How many roster changes commits carried out.
    pub fn roster_changes(&self) -> usize {
        self.commits.values().map(BTreeSet::len).sum()
    }

    /// How many epochs the call had.
    pub fn epochs(&self) -> usize {
        self.commits.len()
    }

    /// The epoch without the member of this name that was in the call in `since`: the first one
    /// after it whose commit removed the name.
    pub fn removed_in(&self, name: &str, since: u64) -> Option<u64> {
        let removed = RosterChange::Removed(name.to_owned());
        self.commits
            .range(since + 1..)
            .find(|(_, changes)| changes.contains(&removed))
            .map(|(epoch, _)| *epoch)
    }

    /// Whether it was resolved without a commit that removed the member, even one that came late.
    fn was_taken_back(&self, removal: &PendingRemoval) -> bool {
        let Some(resolved) = removal.resolved else {
            return false;
        };
        let began = self.removed_in(&removal.name, removal.before_epoch).and_then(|epoch| {
            self.participations.values().filter_map(|member| member.epochs.get(&epoch)).min()
        });
        began.is_none_or(|began| *began > resolved + COMMIT_ARRIVES)
    }

    fn removal(&self, pending: &PendingRemoval) -> Removal {
        let epoch = self.removed_in(&pending.name, pending.before_epoch);
        let mut last = Some(Duration::ZERO);
        let mut never_switched = Vec::new();
        if let Some(epoch) = epoch {
            for member in self.participations.values() {
                // Remaining: it had keys before the removal and has the epoch without the member.
                let remains = member.sends
                    && member.epochs.contains_key(&epoch)
                    && member.epochs.range(..epoch).next().is_some();
                if !remains {
                    continue;
                }
                let switched = member.switches.range(epoch..).map(|(_, at)| *at).min();
                match (switched, member.ended) {
                    (Some(at), _) => {
                        last = last.map(|last| last.max(at.saturating_sub(pending.at)));
                    }
                    // It ended with the old key, so it sends nothing that would need a new one.
                    (None, Some(_)) => {}
                    (None, None) => {
                        never_switched.push(member.name.clone());
                        last = None;
                    }
                }
            }
        } else {
            last = None;
        }
        Removal {
            name: pending.name.clone(),
            reason: pending.reason,
            at: pending.at,
            epoch,
            switched_after: last,
            never_switched,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn measures_a_leave_until_the_last_remaining_sender_switched() {
        let mut timeline = Timeline::default();
        let names = ["alice", "bob", "carol", "dave"];
        for (index, name) in names.iter().enumerate() {
            let member = MemberId(index);
            timeline.asked_to_join(member, name, ms(index as u64 * 100), true, index > 0);
            timeline.epoch_began(member, 3, [], ms(1000));
            timeline.switched(member, 3, ms(1000));
        }
        // Bob leaves; dave joins the call anew in the same commit and does not count.
        timeline.removal_pending(7, "bob", RemovalReason::Left, ms(2010), 3);
        timeline.removal_pending(7, "bob", RemovalReason::Left, ms(2000), 3);
        timeline.ended(MemberId(1), ms(2005));
        let changes =
            || [RosterChange::Removed("bob".to_owned()), RosterChange::Added("erin".to_owned())];
        for member in [0, 2] {
            timeline.epoch_began(MemberId(member), 4, changes(), ms(2040));
        }
        timeline.asked_to_join(MemberId(4), "erin", ms(1900), true, true);
        timeline.epoch_began(MemberId(4), 4, [], ms(2050));
        timeline.switched(MemberId(4), 4, ms(2900));
        timeline.switched(MemberId(0), 4, ms(2090));
        timeline.ended(MemberId(3), ms(2020));
        timeline.crashed(MemberId(3), ms(2020));
        timeline.removal_pending(8, "dave", RemovalReason::Gone, ms(4020), 4);

        let removals = timeline.removals();
        assert_eq!(removals[0].epoch, Some(4));
        assert_eq!(removals[0].switched_after, None);
        assert_eq!(removals[0].never_switched, ["carol"]);
        // Carol skips epoch 4 and switches to 5 at once.
        timeline.epoch_began(MemberId(2), 5, [RosterChange::Removed("dave".to_owned())], ms(4100));
        timeline.switched(MemberId(2), 5, ms(4150));
        let removals = timeline.removals();
        assert_eq!(removals[0].switched_after, Some(ms(2150)));
        assert_eq!(removals[1].epoch, Some(5));
        assert_eq!(timeline.crash_detection(), [ms(2000)]);
        assert_eq!(timeline.roster_changes(), 3);
        assert_eq!(timeline.epochs(), 3);

        // A removal that is resolved before or after its commit comes stays; one without a commit was taken back, even if
        // another removes the same member later.
        timeline.removal_resolved(7, ms(2060));
        timeline.removal_resolved(8, ms(4090));
        assert_eq!(timeline.removals().len(), 2);
        timeline.removal_pending(9, "carol", RemovalReason::Gone, ms(4200), 5);
        assert_eq!(timeline.removals().len(), 3);
        timeline.removal_resolved(9, ms(4300));
        assert_eq!(timeline.removals().len(), 2);
        timeline.epoch_began(MemberId(0), 6, [RosterChange::Removed("carol".to_owned())], ms(7000));
        assert_eq!(timeline.removals().len(), 2);

        timeline.video_opened(MemberId(4), ms(2400));
        timeline.video_opened(MemberId(4), ms(2500));
        let joins = timeline.joins();
        assert_eq!(joins[4].first_frame_after, Some(ms(500)));
        assert_eq!(joins[0].first_frame_after, None);
        assert!(!joins[0].somebody_sent);
    }
}
