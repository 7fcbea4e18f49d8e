//! Any single change to the bytes of a message is noticed, and leaves the receiver as it was.

use mls::{
    codec::{Decode, Encode},
    framing::Padding,
    wire::{PrivateMessage, PublicMessage},
};
use proptest::prelude::*;

use crate::{
    any_suite,
    group::{application, commit, group, proposal},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn private_messages(
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
        cut in any::<prop::sample::Index>(),
        data in any::<Vec<u8>>(),
    ) {
        let mut group = group(any_suite());
        let message = group.alice.private(application(&data), Padding::None);
        let good = message.to_bytes();
        let before = group.bob.state();

        prop_assert!(PrivateMessage::from_bytes(&good[..cut.index(good.len())]).is_err());
        let mut flipped = good.clone();
        flipped[at.index(good.len())] ^= 1 << bit;
        if let Ok(altered) = PrivateMessage::from_bytes(&flipped) {
            prop_assert!(group.bob.read_private(altered).is_err());
        }
        prop_assert_eq!(group.bob.state(), before);
        prop_assert_eq!(group.bob.read_private(message).unwrap(), application(&data));
    }

    #[test]
    fn public_messages(
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
        cut in any::<prop::sample::Index>(),
        is_commit in any::<bool>(),
    ) {
        let group = group(any_suite());
        let content = if is_commit { commit() } else { proposal() };
        let good = group.alice.public(content).to_bytes();

        prop_assert!(PublicMessage::from_bytes(&good[..cut.index(good.len())]).is_err());
        let mut flipped = good.clone();
        flipped[at.index(good.len())] ^= 1 << bit;
        if let Ok(altered) = PublicMessage::from_bytes(&flipped)
            && matches!(altered.content.sender, mls::wire::Sender::Member(_))
        {
            prop_assert!(group.bob.read_public(altered).is_err());
        }
    }
}
