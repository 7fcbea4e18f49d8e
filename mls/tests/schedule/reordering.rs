//! Messages late, early, twice, forged or not at all, against the reference model.

use mls::{
    codec::Reader,
    schedule::{
        EncryptionSecret, MessageKey, RatchetKind, RatchetLimits, SecretTree, SecretTreeError,
    },
    wire::LeafIndex,
};
use proptest::{collection::vec, prelude::*};

use crate::{
    any_suite,
    model::{Model, key_and_nonce},
};

const LEAVES: u32 = 5;
const DEPTH: u32 = 3;
const OWN: u32 = 2;

#[derive(Clone, Debug)]
enum Operation {
    /// A message arrives; a forged one fails after its key has been derived.
    Receive { leaf: u32, kind: RatchetKind, generation: u32, genuine: bool },
    /// The member sends.
    Send { kind: RatchetKind },
    /// The state goes through a snapshot.
    Restart,
}

#[derive(Debug, PartialEq)]
enum Failure {
    Forged,
    Tree(SecretTreeError),
}

impl From<SecretTreeError> for Failure {
    fn from(error: SecretTreeError) -> Self {
        Self::Tree(error)
    }
}

fn kinds() -> impl Strategy<Value = RatchetKind> {
    prop_oneof![Just(RatchetKind::Handshake), Just(RatchetKind::Application)]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let others = prop_oneof![Just(0), Just(1), Just(3), Just(4)];
    let generations = prop_oneof![8 => 0..40u32, 1 => Just(u32::MAX)];
    let receive = (others, kinds(), generations, prop::bool::weighted(0.7)).prop_map(
        |(leaf, kind, generation, genuine)| Operation::Receive { leaf, kind, generation, genuine },
    );
    let send = kinds().prop_map(|kind| Operation::Send { kind });
    vec(prop_oneof![10 => receive, 2 => send, 1 => Just(Operation::Restart)], 1..60)
}

fn saved(tree: &SecretTree) -> Vec<u8> {
    let mut out = Vec::new();
    tree.save(&mut out);
    assert_eq!(out.len(), tree.saved_length());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_tree_follows_the_model(
        operations in operations(),
        max_forward in 0..20u32,
        max_kept in 0..8u32,
        root in any::<[u8; 32]>(),
    ) {
        let suite = any_suite();
        let limits = RatchetLimits { max_forward, max_kept };
        let secret = EncryptionSecret::from_slice(&root);
        let mut tree = SecretTree::new(suite, secret, LEAVES, LeafIndex(OWN), limits).unwrap();
        let mut model = Model::new(limits);
        let mut sent = [0u32; 2];
        for operation in operations {
            let before = saved(&tree);
            match operation {
                Operation::Receive { leaf, kind, generation, genuine } => {
                    let expected = model.receive(leaf, kind, generation, genuine);
                    let mut seen = None;
                    let outcome = tree.use_key(LeafIndex(leaf), kind, generation, |key: &MessageKey| {
                        seen = Some((key.key().to_vec(), key.nonce().to_vec()));
                        if genuine { Ok(()) } else { Err(Failure::Forged) }
                    });
                    match expected {
                        Ok(()) => {
                            let key = key_and_nonce(suite, &root, DEPTH, leaf, kind, generation);
                            prop_assert_eq!(seen, Some(key));
                            prop_assert_eq!(outcome.is_ok(), genuine);
                        }
                        Err(error) => {
                            prop_assert_eq!(seen, None);
                            prop_assert_eq!(outcome, Err(Failure::Tree(error)));
                        }
                    }
                    prop_assert_eq!(saved(&tree) == before, expected.is_err() || !genuine);
                }
                Operation::Send { kind } => {
                    let counter = &mut sent[usize::from(kind == RatchetKind::Handshake)];
                    let key = tree.next_send_key(kind).unwrap();
                    prop_assert_eq!(key.generation, *counter);
                    let expected = key_and_nonce(suite, &root, DEPTH, OWN, kind, *counter);
                    prop_assert_eq!((key.key.key(), key.key.nonce()), (&*expected.0, &*expected.1));
                    *counter += 1;
                }
                Operation::Restart => {
                    let mut reader = Reader::new(&before);
                    tree = SecretTree::restore(suite, limits, &mut reader).unwrap();
                    prop_assert!(reader.is_empty());
                    prop_assert_eq!(saved(&tree), before);
                }
            }
        }
    }

    #[test]
    fn a_damaged_snapshot_never_panics(
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
        cut in any::<prop::sample::Index>(),
    ) {
        let suite = any_suite();
        let limits = RatchetLimits::default();
        let secret = EncryptionSecret::from_slice(&[7; 32]);
        let mut tree = SecretTree::new(suite, secret, LEAVES, LeafIndex(OWN), limits).unwrap();
        tree.use_key(LeafIndex(4), RatchetKind::Application, 3, |_| Ok::<_, Failure>(())).unwrap();
        let good = saved(&tree);

        let short = &good[..cut.index(good.len())];
        prop_assert!(SecretTree::restore(suite, limits, &mut Reader::new(short)).is_err());

        let mut flipped = good.clone();
        flipped[at.index(good.len())] ^= 1 << bit;
        if let Ok(mut tree) = SecretTree::restore(suite, limits, &mut Reader::new(&flipped)) {
            for leaf in 0..8 {
                let _ = tree.use_key(LeafIndex(leaf), RatchetKind::Application, 3, |_| {
                    Ok::<_, Failure>(())
                });
            }
            let _ = tree.next_send_key(RatchetKind::Handshake);
        }
    }
}
