use crate::common::at;
use sframe_bridge::Now;
use sframe_bridge::committer::{
    ChangeKind, CommitAlarm, CommitCause, Committer, Decision, Member, PendingChange, View,
};

fn members(leaves: &[u32]) -> Vec<Member> {
    leaves.iter().map(|&leaf| Member { leaf, acknowledged: true }).collect()
}

fn view<'a>(own_leaf: u32, members: &'a [Member], pending: &'a [PendingChange]) -> View<'a> {
    View {
        own_leaf,
        epoch: 4,
        epoch_began: at(0),
        epoch_only_added: false,
        members,
        pending,
        submitted: None,
    }
}

fn remove(leaf: u32, millis: u64) -> PendingChange {
    PendingChange { kind: ChangeKind::Remove { leaf }, since: at(millis) }
}

fn add(millis: u64) -> PendingChange {
    PendingChange { kind: ChangeKind::Add, since: at(millis) }
}

/// When each member would commit.
fn times(
    members: &[Member],
    pending: &[PendingChange],
    only_added: bool,
    now: Now,
) -> Vec<(u32, u64)> {
    let committer = Committer::default();
    let mut times = Vec::new();
    for member in members {
        let mut view = view(member.leaf, members, pending);
        view.epoch_only_added = only_added;
        let time = match committer.decide(&view, now) {
            Decision::Commit { .. } => now,
            Decision::Wait { until } => until,
            Decision::Abstain => continue,
        };
        times.push((member.leaf, time.as_millis() - at(0).as_millis()));
    }
    times.sort_by_key(|&(leaf, time)| (time, leaf));
    times
}

#[test]
fn two_nearest_commit_a_removal_at_once_and_the_others_step_in() {
    let members = members(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let times = times(&members, &[remove(5, 1_000)], false, at(1_000));
    // The sibling of leaf 5, then the other half of its quarter, then the rest.
    assert_eq!(times[..4], [(4, 1_000), (7, 1_000), (6, 1_250), (1, 1_500)]);
    assert!(times.iter().all(|&(leaf, _)| leaf != 5), "who leaves does not commit");
    assert_eq!(times.len(), 7);
}

#[test]
fn members_that_have_not_acknowledged_come_last() {
    let mut members = members(&[0, 1, 2, 3]);
    members[2].acknowledged = false;
    let order = times(&members, &[remove(3, 1_000)], false, at(0));
    assert_eq!(order, [(0, 1_000), (1, 1_000), (2, 1_250)]);
    // Nobody has acknowledged yet: the nearest one goes ahead all the same.
    members.iter_mut().for_each(|member| member.acknowledged = false);
    assert_eq!(times(&members, &[remove(3, 1_000)], false, at(0))[2], (0, 1_250));
}

#[test]
fn a_young_epoch_has_one_line_whoever_is_known_to_have_acknowledged() {
    let mut members = members(&[0, 1, 2, 3]);
    let everybody = times(&members, &[remove(3, 100)], false, at(100));
    assert_eq!(everybody, [(1, 100), (2, 100), (0, 350)]);
    for unknown in 0..3 {
        members[unknown].acknowledged = false;
        assert_eq!(times(&members, &[remove(3, 100)], false, at(100)), everybody);
    }
    members[0].acknowledged = true;
    assert_eq!(times(&members, &[remove(3, 100)], false, at(600))[0], (0, 600));
}

#[test]
fn additions_are_spaced_but_the_first_is_not_delayed() {
    let members = members(&[0, 1, 3]);
    // Leaf 2 is free: its sibling is 3.
    let first = times(&members, &[add(1_000)], false, at(1_000));
    assert_eq!(first, [(3, 1_000), (0, 1_400), (1, 1_800)]);
    // The epoch began with an addition at 0: the next one at 500 at the earliest.
    let next = times(&members, &[add(100)], true, at(100));
    assert_eq!(next[0], (3, 500));
    let much_later = times(&members, &[add(900)], true, at(900));
    assert_eq!(much_later[0], (3, 900));
    // A removal takes the additions with it, at once.
    let both = times(&members, &[add(100), remove(1, 120)], true, at(120));
    assert_eq!(both[..2], [(0, 120), (3, 120)]);
}

#[test]
fn causes_and_in_flight_commits() {
    let committer = Committer::default();
    let members = members(&[0, 1]);
    let needed = [PendingChange { kind: ChangeKind::NewEpoch, since: at(10) }];
    let mut view = view(0, &members, &needed);
    assert_eq!(committer.decide(&view, at(10)), Decision::Commit { cause: CommitCause::NewEpoch });
    view.submitted = Some(at(10));
    assert_eq!(committer.decide(&view, at(11)), Decision::Wait { until: at(2_010) });
    assert_eq!(
        committer.decide(&view, at(2_010)),
        Decision::Commit { cause: CommitCause::NewEpoch }
    );
    view.own_leaf = 7;
    assert_eq!(committer.decide(&view, at(10)), Decision::Abstain);
}

#[test]
fn an_idle_group_is_refreshed_in_turn() {
    let members = members(&[0, 2, 5]);
    // Epoch 4 of 3 members: the second one's turn, then the third, then the first.
    assert_eq!(times(&members, &[], false, at(0)), [(2, 60_000), (5, 62_000), (0, 64_000)]);
    let committer = Committer::default();
    let decision = committer.decide(&view(2, &members, &[]), at(60_000));
    assert_eq!(decision, Decision::Commit { cause: CommitCause::Refresh });
}

#[test]
fn commits_that_should_alarm() {
    let committer = Committer::default();
    let pending = [remove(3, 1_000), add(0)];
    assert_eq!(committer.check_commit(1, &[3], &pending, at(5_000)), Ok(()));
    assert_eq!(committer.check_commit(1, &[], &pending, at(1_300)), Ok(()));
    let omits = committer.check_commit(1, &[], &pending, at(1_301));
    assert_eq!(omits, Err(CommitAlarm::OmitsRemoval { leaf: 3 }));
    let leaving = committer.check_commit(3, &[3], &pending, at(1_000));
    assert_eq!(leaving, Err(CommitAlarm::CommitterIsLeaving { leaf: 3 }));
}
