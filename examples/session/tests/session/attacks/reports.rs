//! Reports that a commit failed for somebody: members believe the ones that are signed by whom they name, once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use call_session::HistoryAlarm;
use sfu_protocol::{Blob, DeliveryEvent};

use super::{INVITE, state, stats};
use crate::call;
use crate::evil::Deceit;
use crate::rogue::Rogue;
use crate::world::World;

const LABEL: &str = "Framelock failed commit";
const HASH: usize = 32;

/// A call in which mallory has just made a commit that failed for alice and bob, and the reports of those two.
fn two_reports(keep_from_carol: bool) -> (World, Vec<Blob>) {
    let mut world = call(&["alice", "bob", "carol"]);
    let mut mallory = Rogue::new("mallory", Some(INVITE));
    mallory.join(&mut world);
    let reports: Rc<RefCell<BTreeSet<Vec<u8>>>> = Rc::default();
    let catch = Rc::clone(&reports);
    world.censor = Some(Box::new(move |name, event| {
        let DeliveryEvent::FailureReported { report, .. } = &event else { return Some(event) };
        catch.borrow_mut().insert(report.to_vec());
        (name != "carol" || !keep_from_carol).then_some(event)
    }));
    mallory.commit(&mut world, Deceit::FailsAfter(1), Deceit::None, |commit| commit).unwrap();
    world.run(5);
    world.censor = None;
    let reports: Vec<Blob> = reports.borrow().iter().map(|it| it.clone().into()).collect();
    assert_eq!(reports.len(), 2);
    (world, reports)
}

fn tell(world: &mut World, name: &str, report: impl Into<Blob>) {
    let report = report.into();
    world.tell(name, DeliveryEvent::FailureReported { epoch: 0, leaf: 0, report });
}

fn heard(world: &World, name: &str) -> (u64, u64) {
    let stats = stats(world, name);
    (stats.failures_heard, stats.failures_ignored)
}

/// What mallory says and signs, whoever's leaf it names.
fn forged(mallory: &mut Rogue, leaf: u32, epoch: u64) -> Vec<u8> {
    let group = mallory.group();
    let mut statement = vec![1];
    statement.extend(leaf.to_be_bytes());
    statement.extend(epoch.to_be_bytes());
    statement.extend([7; HASH]);
    let id = group.id().as_bytes();
    let length = u8::try_from(id.len()).unwrap();
    let content = [&[length][..], id, &statement].concat();
    statement.extend(group.sign_for_application(LABEL, &content).unwrap().0);
    statement
}

#[test]
fn a_failed_commit_is_heard_of_once_from_each_member() {
    let (mut world, reports) = two_reports(false);
    let epoch = world.group.as_ref().unwrap().epoch - 1;
    let expected: BTreeSet<_> =
        ["alice", "bob"].iter().map(|name| (world.leaves[*name], epoch)).collect();
    let failed: BTreeSet<_> = world.members["carol"].failed.iter().copied().collect();
    assert_eq!(failed, expected);
    assert_eq!(heard(&world, "carol"), (2, 0));
    for report in reports {
        tell(&mut world, "carol", report);
    }
    world.run(1_000);
    assert_eq!(heard(&world, "carol"), (2, 2));
    assert_eq!(world.members["carol"].failed.len(), 2);
    // Those for whom it failed hear of each other; what comes back of one's own says nothing.
    for name in ["alice", "bob"] {
        assert_eq!(stats(&world, name).failures_reported, 1, "{name}");
        assert_eq!(heard(&world, name), (1, 1), "{name}");
    }
    for name in ["alice", "bob", "carol"] {
        assert_eq!(world.members[name].history, [], "{name}");
    }
}

#[test]
fn a_report_in_another_members_name() {
    let mut world = call(&["alice", "bob"]);
    let mut mallory = Rogue::new("mallory", Some(INVITE));
    mallory.join(&mut world);
    mallory.plainly(&mut world, |commit| commit).unwrap();
    world.run(100);
    let epoch = world.group.as_ref().unwrap().epoch;
    let before = state(&world, "bob");
    for leaf in [world.leaves["alice"], world.leaves["bob"], 17, u32::MAX] {
        tell(&mut world, "bob", forged(&mut mallory, leaf, epoch));
    }
    world.run(5);
    assert_eq!(heard(&world, "bob"), (0, 4));
    // Epochs before mallory came, and epochs to come, are none of its business.
    let own = mallory.group().own_leaf().0;
    for epoch in [0, epoch - 2, epoch + 1, u64::MAX] {
        tell(&mut world, "bob", forged(&mut mallory, own, epoch));
    }
    world.run(5);
    assert_eq!(heard(&world, "bob"), (0, 8));
    let bob = &world.members["bob"];
    assert_eq!((bob.failed.len(), bob.history.len()), (0, 0));
    // In its own name it may say what it likes. What it says of a commit that the log did not have shows.
    tell(&mut world, "bob", forged(&mut mallory, own, epoch));
    tell(&mut world, "bob", forged(&mut mallory, own, epoch - 1));
    world.run(5);
    assert_eq!(heard(&world, "bob"), (1, 8));
    let other = HistoryAlarm::OtherHistory { leaf: own, epoch: epoch - 1 };
    assert_eq!(world.members["bob"].history, [other]);
    assert_eq!(world.members["bob"].failed, [(own, epoch)]);
    assert_eq!(state(&world, "bob"), before);
}

#[test]
fn reports_that_are_altered_or_cut() {
    let (mut world, reports) = two_reports(true);
    assert_eq!(heard(&world, "carol"), (0, 0));
    let report = reports[0].to_vec();
    for byte in 0..report.len() {
        let mut altered = report.clone();
        altered[byte] ^= 1;
        tell(&mut world, "carol", altered);
        tell(&mut world, "carol", report[..byte].to_vec());
    }
    let ignored = 2 * report.len() as u64;
    // The true one, which none of them kept out.
    tell(&mut world, "carol", report);
    world.run(5);
    assert_eq!(heard(&world, "carol"), (1, ignored));
    assert_eq!(world.members["carol"].failed.len(), 1);
    assert_eq!(world.members["carol"].history, []);
}
