//! A member dies at any point between building, sending, confirming and merging a commit: what it saved brings it back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use mls::{
    Client, ClientOptions, ExternalJoinOptions, Group, GroupInfoOptions, MergeError, PendingCommit,
    ProcessError, Processed, SnapshotError, SnapshotKey, wire::LeafIndex,
};
use rand::rngs::StdRng;
use support::*;

/// What a member has on disk. Both change in one transaction.
struct Disk {
    key: SnapshotKey,
    client: Client,
    group: Vec<u8>,
    pending: Option<Vec<u8>>,
}

impl Disk {
    fn new(group: &Group, rng: &mut StdRng) -> Self {
        let key = SnapshotKey::generate(rng);
        let saved = group.save(&key, rng).unwrap();
        Self { key, client: group.client().clone(), group: saved, pending: None }
    }

    fn save(&mut self, group: &Group, pending: Option<&PendingCommit>, rng: &mut StdRng) {
        self.group = group.save(&self.key, rng).unwrap();
        self.pending = pending.map(|pending| pending.save(group, &self.key, rng).unwrap());
    }

    fn restart(&self) -> (Group, Option<PendingCommit>) {
        let group = self.client.restore(&self.group, &self.key).unwrap();
        let pending = self.pending.as_ref();
        let pending = pending.map(|bytes| group.restore_pending(bytes, &self.key).unwrap());
        (group, pending)
    }
}

/// What the delivery service has ordered: the commit that starts each epoch from `first` on.
struct Log {
    first: u64,
    commits: Vec<Vec<u8>>,
}

impl Log {
    /// Accepts a commit of the epoch that the log has come to.
    fn submit(&mut self, epoch: u64, commit: &[u8]) -> bool {
        let open = epoch == self.first + self.commits.len() as u64;
        if open {
            self.commits.push(commit.to_vec());
        }
        open
    }

    /// Brings a member up to date. Gives what was left to do of a pending commit that lost.
    fn catch_up(
        &self,
        group: &mut Group,
        mut pending: Option<PendingCommit>,
    ) -> Option<mls::Reclaimed> {
        let mut reclaimed = None;
        while let Some(commit) = self.commits.get((group.epoch() + 1 - self.first) as usize) {
            match pending.take() {
                Some(own) if own.is_echo(commit) => drop(group.confirm(own).unwrap()),
                own => {
                    merge(group, commit);
                    reclaimed = own.map(|own| group.reclaim(own).unwrap());
                }
            }
        }
        reclaimed
    }
}

/// Where the committer dies.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Crash {
    BeforeBuilding,
    Built,
    Saved,
    Sent,
    Echoed,
    Confirmed,
    ConfirmedAndSaved,
}

const POINTS: [Crash; 7] = [
    Crash::BeforeBuilding,
    Crash::Built,
    Crash::Saved,
    Crash::Sent,
    Crash::Echoed,
    Crash::Confirmed,
    Crash::ConfirmedAndSaved,
];

/// Member 0 commits the removal of the last one and dies at the point given; `wins` tells whether its commit was the first.
fn committer_dies(options: &ClientOptions, crash: Crash, wins: bool) {
    let rng = &mut rng(40);
    let mut groups = group_of(4, suite(), options, rng);
    let others = groups.split_off(1);
    let mut group = groups.pop().unwrap();
    let mut groups = others;
    let mut log = Log { first: group.epoch() + 1, commits: Vec::new() };
    let mut disk = Disk::new(&group, rng);

    if crash > Crash::BeforeBuilding {
        let pending = group.commit().remove(LeafIndex(3)).build(rng, NOW).unwrap();
        if crash > Crash::Built {
            disk.save(&group, Some(&pending), rng);
        }
        if !wins {
            let rival = groups[0].commit().build(rng, NOW).unwrap();
            assert!(log.submit(rival.epoch(), rival.commit()));
            groups[0].confirm(rival).unwrap();
        }
        if crash > Crash::Saved {
            assert_eq!(log.submit(pending.epoch(), pending.commit()), wins);
        }
        if crash > Crash::Echoed && wins {
            group.confirm(pending).unwrap();
            if crash == Crash::ConfirmedAndSaved {
                disk.save(&group, None, rng);
            }
        }
    }
    drop(group);

    let (mut group, pending) = disk.restart();
    assert!(group.is_restored());
    if let Some(pending) = &pending {
        // Whether it was sent is not known, and the same bytes twice do no harm.
        log.submit(pending.epoch(), pending.commit());
    }
    let reclaimed = log.catch_up(&mut group, pending);
    assert!(group.is_restored(), "no key of this life is part of the epoch yet");
    let mut builder = group.commit();
    if let Some(reclaimed) = reclaimed {
        assert_eq!(reclaimed.own.len(), 1);
        for proposal in reclaimed.own {
            builder = builder.proposal(proposal);
        }
    }
    let pending = builder.build(rng, NOW).unwrap();
    assert!(log.submit(pending.epoch(), pending.commit()));
    group.confirm(pending).unwrap();
    assert!(!group.is_restored());
    for other in &mut groups {
        if other.is_active() {
            log_up_to_date(&log, other);
        }
    }
    groups.insert(0, group);
    assert_agreement(&groups);
    let removed = crash > Crash::Built;
    assert_eq!(groups[3].is_active(), !removed, "{crash:?}, wins: {wins}");
    everybody_talks(&mut groups, rng);
}

fn log_up_to_date(log: &Log, group: &mut Group) {
    while group.is_active()
        && let Some(commit) = log.commits.get((group.epoch() + 1 - log.first) as usize)
    {
        merge(group, commit);
    }
}

fn everybody_talks(groups: &mut [Group], rng: &mut StdRng) {
    groups.iter_mut().for_each(Group::clear_proposals);
    for from in 0..groups.len() {
        if !groups[from].is_active() {
            continue;
        }
        let message = groups[from].protect(b"data", b"", rng).unwrap();
        for to in (0..groups.len()).filter(|to| *to != from) {
            if groups[to].is_active() {
                let processed = groups[to].process(&message, NOW).unwrap();
                assert!(matches!(processed, Processed::Application(m) if m.data == b"data"));
            }
        }
    }
}

#[test]
fn a_committer_dies_at_any_point_and_goes_on() {
    for options in [public_options(), private_options()] {
        for crash in POINTS {
            for wins in [true, false] {
                println!("{:?}, {crash:?}, wins: {wins}", options.handshake);
                committer_dies(&options, crash, wins);
            }
        }
    }
}

#[test]
fn a_receiver_dies_at_any_point_and_goes_on() {
    for options in [public_options(), private_options()] {
        for (staged, merged, saved) in
            [(false, false, false), (true, false, false), (true, true, false), (true, true, true)]
        {
            let rng = &mut rng(41);
            let mut groups = group_of(3, suite(), &options, rng);
            let mut disk = Disk::new(&groups[0], rng);
            let pending = groups[1].commit().build(rng, NOW).unwrap();
            let commit = settle(&mut groups[1..], 0, pending).commit;
            if staged {
                let Processed::Commit(commit) = groups[0].process(&commit, NOW).unwrap() else {
                    panic!("expected a commit");
                };
                if merged {
                    groups[0].merge(*commit).unwrap();
                }
                if saved {
                    disk.save(&groups[0], None, rng);
                }
            }
            let (mut group, _) = disk.restart();
            if !saved {
                merge(&mut group, &commit);
            }
            assert!(group.is_restored(), "the commit may have been merged before");
            groups[0] = group;
            assert_agreement(&groups);
            commit_by(&mut groups, 0, rng);
            everybody_talks(&mut groups, rng);
        }
    }
}

#[test]
fn a_committer_that_saved_nothing_comes_back_by_an_external_commit() {
    let rng = &mut rng(42);
    let mut groups = group_of(3, suite(), &public_options(), rng);
    let disk = Disk::new(&groups[0], rng);
    let lost = groups[0].commit().build(rng, NOW).unwrap().commit().to_vec();
    deliver(&mut groups, &lost, 0);
    let (mut group, none) = disk.restart();
    assert!(none.is_none());
    let error = group.process(&lost, NOW).unwrap_err();
    assert_eq!(error, ProcessError::OwnCommit);
    assert_eq!(error.action(), mls::Action::Resync);
    let info = groups[1].group_info(GroupInfoOptions::default()).unwrap();
    let options = ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
    let pending = disk.client.join_external(&info, None, options, rng, NOW).unwrap();
    let commit = pending.commit().to_vec();
    deliver(&mut groups[1..], &commit, usize::MAX);
    groups[0] = pending.confirm();
    assert_agreement(&groups);
    everybody_talks(&mut groups, rng);
}

#[test]
fn an_external_joiner_dies_at_any_point_and_goes_on() {
    for (resync, won, entered) in
        [(false, false, false), (false, true, false), (false, true, true), (true, true, false)]
    {
        let rng = &mut rng(46);
        let mut groups = group_of(3, suite(), &public_options(), rng);
        let joiner = match resync {
            true => groups.pop().unwrap().client().clone(),
            false => client("joiner", suite(), public_options(), rng),
        };
        let leaving = groups[1].propose_self_remove(rng).unwrap().message;
        let info = groups[0].group_info(GroupInfoOptions::default()).unwrap();
        let self_removes = vec![leaving.clone()];
        let options = ExternalJoinOptions { resync, self_removes, ..Default::default() };
        let pending = joiner.join_external(&info, None, options, rng, NOW).unwrap();
        let key = SnapshotKey::generate(rng);
        let saved = pending.save(&key, rng).unwrap();

        let restored = joiner.restore_external_join(&saved, &key).unwrap();
        assert!(restored.is_echo(pending.commit()));
        assert_eq!(restored.changes(), pending.changes());
        assert_eq!(restored.changes().removed.len(), 1 + usize::from(resync));
        assert_eq!(restored.epoch(), pending.epoch());
        let commit = pending.commit().to_vec();
        if entered {
            let mut before = pending.confirm();
            assert!(!before.is_restored());
            before.protect(b"sent before the crash", b"", rng).unwrap();
        }
        if won {
            propose_to(&mut groups, &leaving, 1);
            deliver(&mut groups, &commit, usize::MAX);
            groups.truncate(1);
            groups.push(restored.confirm());
            assert!(groups[1].is_restored(), "it may have been entered before");
            assert_agreement(&groups);
            everybody_commits(&mut groups, rng);
            assert!(!groups[1].is_restored());
            everybody_talks(&mut groups, rng);
        }

        let other = SnapshotKey::generate(rng);
        let refused = |client: &Client, saved: &[u8], key| {
            client.restore_external_join(saved, key).unwrap_err()
        };
        assert_eq!(refused(&joiner, &saved, &other), SnapshotError::Key);
        assert_eq!(refused(groups[0].client(), &saved, &key), SnapshotError::OtherClient);
        let group = groups[0].save(&key, rng).unwrap();
        assert_eq!(refused(groups[0].client(), &group, &key), SnapshotError::Key);
        for index in 0..saved.len() {
            let mut altered = saved.clone();
            altered[index] ^= 1;
            assert!(joiner.restore_external_join(&altered, &key).is_err(), "byte {index}");
            assert!(joiner.restore_external_join(&saved[..index], &key).is_err());
        }
    }
}

/// Whoever has not saved an external commit joins anew, as a resync when it had won.
#[test]
fn an_external_joiner_that_saved_nothing_joins_anew() {
    for won in [true, false] {
        let rng = &mut rng(43);
        let mut groups = group_of(2, suite(), &public_options(), rng);
        let joiner = client("joiner", suite(), public_options(), rng);
        let mut attempts = Vec::new();
        for resync in [false, won] {
            let info = groups[0].group_info(GroupInfoOptions::default()).unwrap();
            let options = ExternalJoinOptions { resync, ..ExternalJoinOptions::default() };
            let pending = joiner.join_external(&info, None, options, rng, NOW).unwrap();
            if won || !attempts.is_empty() {
                let commit = pending.commit().to_vec();
                deliver(&mut groups, &commit, usize::MAX);
            }
            attempts.push(pending);
        }
        groups.push(attempts.pop().unwrap().confirm());
        assert_eq!(groups[0].member_count(), 3);
        assert_agreement(&groups);
        everybody_talks(&mut groups, rng);
    }
}

#[test]
fn a_saved_commit_belongs_to_its_group_state_member_and_key() {
    for options in [public_options(), private_options()] {
        let rng = &mut rng(44);
        let mut groups = group_of(3, suite(), &options, rng);
        let key = SnapshotKey::generate(rng);
        // Proposals by reference, and somebody who is added, are part of it.
        let update = groups[1].propose_update(rng).unwrap().message;
        propose_to(&mut groups, &update, 1);
        let newcomer = client("newcomer", suite(), options.clone(), rng);
        let bundle = key_package(&newcomer, rng);
        let pending = groups[0].commit().add(bundle.key_package().clone()).build(rng, NOW).unwrap();
        let saved = pending.save(&groups[0], &key, rng).unwrap();
        assert_eq!(
            pending.save(&group_of(2, suite(), &options, rng)[0], &key, rng).unwrap_err(),
            SnapshotError::OtherState
        );

        let other = SnapshotKey::generate(rng);
        assert_eq!(groups[0].restore_pending(&saved, &other).unwrap_err(), SnapshotError::Key);
        let snapshot = groups[0].save(&key, rng).unwrap();
        let kind = groups[0].restore_pending(&snapshot, &key).unwrap_err();
        assert_eq!(kind, SnapshotError::Key);
        let stranger = groups[1].restore_pending(&saved, &key).unwrap_err();
        assert!(matches!(stranger, SnapshotError::Inconsistent(_)), "{stranger}");
        for index in (0..saved.len()).step_by(7) {
            let mut altered = saved.clone();
            altered[index] ^= 1;
            assert!(groups[0].restore_pending(&altered, &key).is_err(), "byte {index}");
            assert!(groups[0].restore_pending(&saved[..index], &key).is_err(), "length {index}");
        }

        let restored = groups[0].restore_pending(&saved, &key).unwrap();
        assert_eq!(restored.commit(), pending.commit());
        assert_eq!(restored.welcome(), pending.welcome());
        assert_eq!(restored.changes(), pending.changes());
        let info = |pending: &PendingCommit| {
            pending.group_info(&groups[0], GroupInfoOptions::default()).unwrap()
        };
        assert_eq!(info(&restored), info(&pending));
        let welcome = settle(&mut groups, 0, restored).welcome.unwrap();
        groups.push(newcomer.join(&welcome, [&bundle], None, NOW).unwrap().accept());
        assert_agreement(&groups);

        // The group has moved on.
        let stale = groups[0].restore_pending(&saved, &key).unwrap_err();
        assert_eq!(stale, SnapshotError::OtherState);
        assert_eq!(stale.action(), mls::Action::Drop);
        assert_eq!(groups[0].confirm(pending).unwrap_err(), MergeError::Superseded);
        everybody_talks(&mut groups, rng);
    }
}
