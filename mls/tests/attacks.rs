//! Messages that cost whoever receives them nothing, whatever numbers they claim.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

mod attacks {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use mls::codec::{DecodeError, Encode, write_varint};
    use mls::crypto::{Aead, CryptoError, Suite, TAG_LENGTH};
    use mls::framing::FramingError;
    use mls::schedule::SecretTreeError;
    use mls::tree::TreeError;
    use mls::validation::GroupInfoViolation;
    use mls::wire::{LeafIndex, Proposal, Remove};
    use mls::{
        Action, ExternalJoinOptions, Group, GroupInfoOptions, JoinError, ProcessError, Processed,
    };

    use crate::support::{NOW, client, group_of, private_options, public_options, rng, suite};

    thread_local! {
        static JUMP: Cell<bool> = const { Cell::new(false) };
    }

    /// Names the last generation there is in the sender data that it encrypts.
    struct Jumping(&'static dyn Aead);

    impl Aead for Jumping {
        fn key_length(&self) -> usize {
            self.0.key_length()
        }

        fn seal_in_place(
            &self,
            key: &[u8],
            nonce: &[u8],
            aad: &[u8],
            buffer: &mut [u8],
        ) -> Result<[u8; TAG_LENGTH], CryptoError> {
            // Leaf, generation, reuse guard: four bytes each (RFC 9420 section 6.3.2).
            if JUMP.get() && buffer.len() == 12 {
                buffer[4..8].fill(0xff);
            }
            self.0.seal_in_place(key, nonce, aad, buffer)
        }

        fn open_in_place(
            &self,
            key: &[u8],
            nonce: &[u8],
            aad: &[u8],
            buffer: &mut [u8],
            tag: &[u8; TAG_LENGTH],
        ) -> Result<(), CryptoError> {
            self.0.open_in_place(key, nonce, aad, buffer, tag)
        }
    }

    fn jumping() -> &'static Suite {
        static SUITE: OnceLock<Suite> = OnceLock::new();
        let honest = suite();
        SUITE.get_or_init(|| Suite { aead: Box::leak(Box::new(Jumping(honest.aead))), ..*honest })
    }

    fn opens(group: &mut Group, message: &[u8]) -> Result<(), ProcessError> {
        match group.process(message, NOW)? {
            Processed::Application(_) => Ok(()),
            other => panic!("expected data, got {other:?}"),
        }
    }

    #[test]
    fn a_generation_jump_of_two_to_the_32() {
        let rng = &mut rng(1);
        let mut groups = group_of(3, jumping(), &private_options(), rng);
        JUMP.set(true);
        let far = groups[0].protect(b"far", b"", rng).unwrap();
        JUMP.set(false);
        // Computing the keys between would take minutes.
        for _ in 0..10_000 {
            let error = opens(&mut groups[1], &far).unwrap_err();
            let generation = u32::MAX;
            let expected =
                SecretTreeError::GenerationTooFarAhead { generation, next: 0, limit: 1000 };
            let expected = FramingError::SecretTree(expected);
            assert_eq!(error, ProcessError::Framing(expected));
            assert_eq!(error.action(), Action::Drop);
        }
        let near = groups[0].protect(b"near", b"", rng).unwrap();
        assert_eq!(opens(&mut groups[1], &near), Ok(()));
    }

    #[test]
    fn a_tree_that_claims_two_to_the_31_leaves() {
        let rng = &mut rng(2);
        let groups = group_of(3, suite(), &public_options(), rng);
        let joiner = client("joiner", suite(), public_options(), rng);
        let options = GroupInfoOptions { tree: false, external_pub: true };
        let info = groups[0].group_info(options).unwrap();
        let tree = groups[0].ratchet_tree();
        // The longest length that there is: 2^30 bytes, one for each blank node.
        let mut claims = Vec::new();
        write_varint((1 << 30) - 1, &mut claims);
        claims.extend_from_slice(&tree);
        let join = |tree: &[u8]| {
            let options = ExternalJoinOptions::default();
            let mut rng = crate::support::rng(3);
            joiner.join_external(&info, Some(tree), options, &mut rng, NOW).unwrap_err()
        };
        let tree_error = |error| JoinError::GroupInfo(GroupInfoViolation::Tree(error));
        assert_eq!(join(&claims), tree_error(TreeError::Decode(DecodeError::Truncated)));
        // Blanks up to a leaf far to the right.
        let sparse = vec![0_u8; 1 << 20].to_bytes();
        assert_eq!(join(&sparse), tree_error(TreeError::TrailingBlank));
        assert!(
            joiner
                .join_external(&info, Some(&tree), ExternalJoinOptions::default(), rng, NOW)
                .is_ok()
        );
    }

    #[test]
    fn leaves_beyond_two_to_the_31() {
        let rng = &mut rng(4);
        let mut groups = group_of(3, suite(), &public_options(), rng);
        for leaf in [1 << 31, u32::MAX].map(LeafIndex) {
            let removal = Proposal::Remove(Remove { removed: leaf });
            let error = groups[0].propose(removal, rng, NOW).unwrap_err();
            let violation = mls::validation::ProposalListViolation::RemovedLeafBlank(leaf);
            assert_eq!(error, mls::CommitError::Invalid(violation));
        }
    }

    #[test]
    fn a_header_of_one_mebibyte() {
        let rng = &mut rng(5);
        let mut groups = group_of(3, suite(), &public_options(), rng);
        let data = vec![7; 1 << 20];
        let pending = groups[0].commit().authenticated_data(data).build(rng, NOW).unwrap();
        let whole = pending.commit().to_vec();
        let before = groups[1].epoch_authenticator().unwrap().as_bytes().to_vec();
        // The header says a mebibyte, of which most is missing.
        for length in [16, 100, 1 << 10, (1 << 20) - 1] {
            let error = groups[1].process(&whole[..length], NOW).unwrap_err();
            assert_eq!(error, ProcessError::Malformed(DecodeError::Truncated));
            assert_eq!(error.action(), Action::Drop);
        }
        assert_eq!(groups[1].epoch_authenticator().unwrap().as_bytes(), before);
        crate::support::deliver(&mut groups, &whole, 0);
        groups[0].confirm(pending).unwrap();
        crate::support::assert_agreement(&groups);
    }
}
