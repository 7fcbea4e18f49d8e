//! Random histories of commits.

use mls::{
    crypto::{self, Suite},
    wire::LeafIndex,
};
use proptest::prelude::*;

use super::group::{Plan, World, suite_1};

/// A step, in numbers that are mapped to whoever is a member at that time.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    committer: usize,
    updates: Vec<usize>,
    removes: Vec<usize>,
    adds: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let few = || prop::collection::vec(any::<usize>(), 0..3);
    (0u8..8, any::<usize>(), few(), few(), 0usize..4).prop_map(
        |(kind, committer, updates, removes, adds)| Step {
            kind,
            committer,
            updates,
            removes,
            adds,
        },
    )
}

fn pick(from: &[LeafIndex], number: usize) -> Option<LeafIndex> {
    from.get(number.checked_rem(from.len())?).copied()
}

fn play(world: &mut World, step: &Step) {
    let mut free = world.leaf_indices();
    let committer = pick(&free, step.committer).unwrap();
    match step.kind {
        0 => return world.external_commit(None),
        1 => return world.external_commit(Some(committer)),
        _ => {}
    }
    free.retain(|index| *index != committer);
    let mut draw = |numbers: &[usize]| {
        let mut drawn = Vec::new();
        for number in numbers {
            if let Some(index) = pick(&free, *number) {
                free.retain(|other| *other != index);
                drawn.push(index);
            }
        }
        drawn
    };
    let only_adds = step.kind == 2;
    let plan = Plan {
        updates: if only_adds { Vec::new() } else { draw(&step.updates) },
        removes: if only_adds { Vec::new() } else { draw(&step.removes) },
        adds: step.adds,
        path: !only_adds,
    };
    world.commit(committer, &plan);
}

/// Every suite of every backend.
fn suites() -> Vec<&'static Suite> {
    let providers = [
        #[cfg(feature = "aws-lc-rs")]
        &crypto::AWS_LC_RS,
        #[cfg(feature = "rust-crypto")]
        &crypto::RUST_CRYPTO,
    ];
    providers.into_iter().flat_map(|provider| provider.suites).collect()
}

fn any_suite() -> impl Strategy<Value = &'static Suite> {
    prop_oneof![Just(suite_1()), prop::sample::select(suites())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// After every commit the staged tree, the changed tree and a tree read from its encoding are the same, valid, and
    /// every member holds exactly the keys it should.
    #[test]
    fn views_and_keys_agree(
        suite in any_suite(),
        seed: u64,
        start in 1usize..12,
        steps in prop::collection::vec(step(), 1..16),
    ) {
        let mut world = World::new(suite, seed);
        world.commit(LeafIndex(0), &Plan { adds: start - 1, path: seed % 2 == 0, ..Plan::default() });
        for step in &steps {
            play(&mut world, step);
        }
    }
}

#[test]
fn a_full_tree_of_every_suite_on_every_backend() {
    for suite in suites() {
        let mut world = World::full(suite, 1, 6);
        world.external_commit(Some(LeafIndex(5)));
        world.external_commit(None);
    }
}

#[test]
fn shrinking_to_one_and_growing_again_in_one_commit() {
    let mut world = World::full(suite_1(), 2, 17);
    let all = world.leaf_indices();
    let removes = all.iter().copied().filter(|index| index.0 != 3).collect();
    world.commit(LeafIndex(3), &Plan { removes, adds: 40, path: true, ..Plan::default() });
    let removes = world.leaf_indices().into_iter().filter(|index| index.0 != 0).collect();
    world.commit(LeafIndex(0), &Plan { removes, path: true, ..Plan::default() });
    assert_eq!(world.members.len(), 1);
    world.external_commit(Some(LeafIndex(0)));
    world.commit(LeafIndex(0), &Plan { adds: 1, path: false, ..Plan::default() });
}

#[test]
fn a_key_may_pass_from_a_removed_leaf_to_an_added_one() {
    use mls::tree::{TreeError, TreeOverlay, TreeView};
    let world = World::full(suite_1(), 3, 4);
    let leaf = world.tree.leaf(LeafIndex(2)).unwrap().to_leaf_node();
    let mut overlay = TreeOverlay::new(&world.tree);
    overlay.remove(LeafIndex(2)).unwrap();
    assert_eq!(overlay.add(&leaf), Ok(LeafIndex(2)));
    assert_eq!(overlay.check_unique_keys(), Ok(()));
    assert!(matches!(
        {
            overlay.add(&leaf).unwrap();
            overlay.check_unique_keys()
        },
        Err(TreeError::DuplicateEncryptionKey { .. })
    ));
}
