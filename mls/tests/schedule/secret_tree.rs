//! What the secret tree deletes, what it refuses, and what it costs.

use mls::{
    codec::{Encode, Reader},
    schedule::{
        EncryptionSecret, RatchetKind, RatchetLimits, SecretTree, SecretTreeError, SendKey,
    },
    wire::LeafIndex,
};

use crate::{
    any_suite,
    model::{key_and_nonce, path_secrets, ratchet_secrets},
    suites,
};

const ROOT: [u8; 64] = [0x5a; 64];
const APPLICATION: RatchetKind = RatchetKind::Application;

fn tree(leaves: u32, own: u32) -> SecretTree {
    tree_with(leaves, own, RatchetLimits::default())
}

fn tree_with(leaves: u32, own: u32, limits: RatchetLimits) -> SecretTree {
    let secret = EncryptionSecret::from_slice(&ROOT);
    SecretTree::new(any_suite(), secret, leaves, LeafIndex(own), limits).unwrap()
}

fn open(tree: &mut SecretTree, leaf: u32, generation: u32) -> Result<(), SecretTreeError> {
    tree.use_key(LeafIndex(leaf), APPLICATION, generation, |_| Ok(()))
}

fn saved(tree: &SecretTree) -> Vec<u8> {
    let mut out = Vec::new();
    tree.save(&mut out);
    out
}

fn holds(state: &[u8], secret: &[u8]) -> bool {
    state.windows(secret.len()).any(|window| window == secret)
}

/// RFC 9420 section 9.2, with its own example: D is the fourth of four members and sends generation 1.
#[test]
fn consumed_values_are_deleted_and_the_others_kept() {
    for suite in suites() {
        let secret = EncryptionSecret::from_slice(&ROOT);
        let limits = RatchetLimits::default();
        let mut tree = SecretTree::new(suite, secret, 4, LeafIndex(0), limits).unwrap();
        assert!(holds(&saved(&tree), &ROOT));
        tree.use_key(LeafIndex(3), APPLICATION, 1, |_| Ok::<_, SecretTreeError>(())).unwrap();
        let state = saved(&tree);

        let to_d = path_secrets(suite, &ROOT, 2, 3);
        let application = ratchet_secrets(suite, &to_d[2], APPLICATION, 2);
        let handshake = ratchet_secrets(suite, &to_d[2], RatchetKind::Handshake, 0);
        let (k1, n1) = key_and_nonce(suite, &ROOT, 2, 3, APPLICATION, 1);
        for (name, gone) in [
            ("G", to_d[0].as_bytes()),
            ("F", to_d[1].as_bytes()),
            ("D", to_d[2].as_bytes()),
            ("AR0", application[0].as_bytes()),
            ("AR1", application[1].as_bytes()),
            ("K1", &k1),
            ("N1", &n1),
        ] {
            assert!(!holds(&state, gone), "{name} must be deleted");
        }
        let (k0, n0) = key_and_nonce(suite, &ROOT, 2, 3, APPLICATION, 0);
        let e = &path_secrets(suite, &ROOT, 2, 0)[1];
        let c = &path_secrets(suite, &ROOT, 2, 2)[2];
        for (name, kept) in [
            ("K0", &*k0),
            ("N0", &*n0),
            ("AR2", application[2].as_bytes()),
            ("HR0", handshake[0].as_bytes()),
            ("E", e.as_bytes()),
            ("C", c.as_bytes()),
        ] {
            assert!(holds(&state, kept), "{name} is not consumed");
        }
    }
}

#[test]
fn reaching_a_leaf_keeps_only_its_copath() {
    let mut tree = tree(1 << 31, 0);
    assert_eq!(open(&mut tree, (1 << 31) - 1, 0), Ok(()));
    let nodes = 31 * (8 + 32);
    let ratchets = 4 + 2 * (32 + 12);
    assert_eq!(tree.saved_length(), 16 + nodes + ratchets);
}

#[test]
fn sizes_that_are_no_tree_are_refused() {
    let build = |leaves, own| {
        let secret = EncryptionSecret::from_slice(&ROOT);
        SecretTree::new(any_suite(), secret, leaves, LeafIndex(own), RatchetLimits::default())
            .map(|_| ())
    };
    assert_eq!(build(0, 0), Err(SecretTreeError::BadSize(0)));
    assert_eq!(build(u32::MAX, 0), Err(SecretTreeError::BadSize(u32::MAX)));
    assert_eq!(build(1, 0), Ok(()));
    assert_eq!(build(3, 3), Ok(()), "three leaves are a tree of four");
    let outside = SecretTreeError::NoSuchLeaf { leaf: LeafIndex(4), leaves: 4 };
    assert_eq!(build(3, 4), Err(outside));
}

#[test]
fn what_cannot_be_opened_says_why_and_changes_nothing() {
    let limits = RatchetLimits { max_forward: 10, max_kept: 3 };
    let mut tree = tree_with(4, 0, limits);
    open(&mut tree, 1, 7).unwrap();
    open(&mut tree, 1, 5).unwrap();
    let state = saved(&tree);
    for (leaf, generation, error) in [
        (0, 0, SecretTreeError::OwnLeaf),
        (4, 0, SecretTreeError::NoSuchLeaf { leaf: LeafIndex(4), leaves: 4 }),
        (u32::MAX, 0, SecretTreeError::NoSuchLeaf { leaf: LeafIndex(u32::MAX), leaves: 4 }),
        (1, 7, SecretTreeError::KeyConsumed { generation: 7 }),
        (1, 5, SecretTreeError::KeyConsumed { generation: 5 }),
        (1, 3, SecretTreeError::GenerationTooOld { generation: 3, oldest: 4 }),
        (1, 19, SecretTreeError::GenerationTooFarAhead { generation: 19, next: 8, limit: 10 }),
        (2, 11, SecretTreeError::GenerationTooFarAhead { generation: 11, next: 0, limit: 10 }),
    ] {
        assert_eq!(open(&mut tree, leaf, generation), Err(error));
        assert_eq!(saved(&tree), state);
    }
    assert_eq!(open(&mut tree, 1, 4), Ok(()));
    assert_eq!(open(&mut tree, 1, 18), Ok(()));
}

#[test]
fn the_last_generation_is_out_of_reach_and_costs_nothing() {
    let mut tree = tree(4, 0);
    let state = saved(&tree);
    let error =
        SecretTreeError::GenerationTooFarAhead { generation: u32::MAX, next: 0, limit: 1000 };
    for _ in 0..1_000_000 {
        assert_eq!(open(&mut tree, 1, u32::MAX), Err(error));
    }
    assert_eq!(saved(&tree), state);

    let mut tree = tree_with(4, 0, RatchetLimits { max_forward: u32::MAX, max_kept: 1 });
    assert_eq!(open(&mut tree, 1, u32::MAX), Err(SecretTreeError::RatchetExhausted));
}

#[test]
fn a_ratchet_at_its_end_sends_no_more() {
    let mut one = tree(1, 0);
    let SendKey { generation, .. } = one.next_send_key(RatchetKind::Handshake).unwrap();
    assert_eq!(generation, 0);
    let mut state = saved(&one);
    // Four numbers and the leaf come first, then the secret, then the next generation of the handshake ratchet.
    let next = 20 + 32;
    assert_eq!(state[next..next + 4], [0, 0, 0, 1]);
    state[next..next + 4].fill(0xff);
    let limits = RatchetLimits::default();
    let mut last = SecretTree::restore(any_suite(), limits, &mut Reader::new(&state)).unwrap();
    let refused = last.next_send_key(RatchetKind::Handshake).map(|_| ());
    assert_eq!(refused, Err(SecretTreeError::RatchetExhausted));
    assert_eq!(saved(&last), state);
    assert!(last.next_send_key(APPLICATION).is_ok());
}

#[test]
fn memory_for_skipped_keys_is_bounded() {
    let limits = RatchetLimits { max_forward: 1000, max_kept: 16 };
    let mut tree = tree_with(2, 0, limits);
    for jump in 1..50 {
        open(&mut tree, 1, jump * 1000).unwrap();
    }
    let kept = 16 * (4 + 16 + 12);
    assert_eq!(tree.saved_length(), 16 + (8 + 32) + 4 + 2 * (32 + 12) + kept);
}

#[test]
fn a_snapshot_that_contradicts_itself_is_refused() {
    let secret = [1u8; 32];
    let build = |own: u32, nodes: &[u64], leaves: &[u32]| {
        let mut state = Vec::new();
        2u32.encode(&mut state);
        own.encode(&mut state);
        (nodes.len() as u32).encode(&mut state);
        for node in nodes {
            node.encode(&mut state);
            state.extend_from_slice(&secret);
        }
        (leaves.len() as u32).encode(&mut state);
        for leaf in leaves {
            leaf.encode(&mut state);
            for _ in 0..2 {
                state.extend_from_slice(&secret);
                state.extend_from_slice(&[0; 12]);
            }
        }
        let limits = RatchetLimits::default();
        SecretTree::restore(any_suite(), limits, &mut Reader::new(&state)).is_ok()
    };
    assert!(build(0, &[1], &[]));
    assert!(build(3, &[2, 6], &[3]));
    assert!(!build(4, &[1], &[]), "own leaf outside");
    assert!(!build(0, &[], &[]), "nothing covered");
    assert!(!build(0, &[2], &[]), "half covered");
    assert!(!build(0, &[2, 3, 3], &[]), "a node twice");
    assert!(!build(0, &[2, 4, 5], &[]), "a node above another");
    assert!(!build(0, &[2, 6, 7], &[3]), "a leaf twice");
    assert!(!build(0, &[2, 3], &[0]), "a used leaf below a secret");
    assert!(!build(0, &[0, 1], &[]), "node 0");
    assert!(!build(0, &[8], &[]), "a node below the leaves");
    assert!(!build(0, &[2], &[2, 9]), "a leaf outside");
    assert!(!build(0, &[2], &[2, 2]), "a leaf twice");
}

#[test]
fn nothing_secret_is_printed() {
    let mut tree = tree(4, 0);
    open(&mut tree, 1, 3).unwrap();
    let sent = tree.next_send_key(APPLICATION).unwrap();
    let printed = format!("{tree:?} {sent:?}");
    assert_eq!(
        printed,
        "SecretTree { leaves: 4, leaves_used: 2, .. } SendKey { generation: 0, key: MessageKey(redacted) }"
    );
}
