//! Sets of leaves on the wire: where the set begins, and a bit for each leaf from there on. In a large call
//! acknowledgements are most of what the server says, and numbers in decimal would be six times as long.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::Blob;

/// Leaves beyond this are not read: what a message makes a reader allocate is bounded.
const MAX_LEAF: u32 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Bits {
    from: u32,
    bits: Blob,
}

pub(super) fn serialize<S: Serializer>(leaves: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    let from = leaves.iter().min().map_or(0, |least| least / 8 * 8);
    let mut bits: Vec<u8> = Vec::new();
    for leaf in leaves {
        let place = (leaf - from) as usize;
        if bits.len() <= place / 8 {
            bits.resize(place / 8 + 1, 0);
        }
        if let Some(byte) = bits.get_mut(place / 8) {
            *byte |= 1 << (place % 8);
        }
    }
    Bits { from, bits: bits.into() }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<u32>, D::Error> {
    let Bits { from, bits } = Bits::deserialize(deserializer)?;
    let length = u32::try_from(bits.len()).ok().and_then(|bytes| bytes.checked_mul(8));
    let end = length.and_then(|length| from.checked_add(length));
    if end.is_none_or(|end| end > MAX_LEAF + 8) {
        return Err(D::Error::custom(format!("expected leaves up to {MAX_LEAF}")));
    }
    let starts = (from..).step_by(8);
    let set = starts.zip(bits.iter()).flat_map(|(start, byte)| {
        (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| start + bit)
    });
    Ok(set.collect())
}

#[cfg(test)]
mod tests {
    use crate::{DeliveryEvent, ServerMessage};

    fn text(leaves: Vec<u32>) -> String {
        ServerMessage::event(DeliveryEvent::Acknowledged { epoch: 7, leaves }).to_text()
    }

    #[test]
    fn leaves_come_back_in_order_and_once() {
        for (leaves, expected) in [
            (vec![], vec![]),
            (vec![0], vec![0]),
            (vec![9, 3, 200, 3], vec![3, 9, 200]),
            (vec![1_000_001, 1_000_000], vec![1_000_000, 1_000_001]),
        ] {
            let back = ServerMessage::parse(&text(leaves)).unwrap();
            let event = DeliveryEvent::Acknowledged { epoch: 7, leaves: expected };
            assert_eq!(back, ServerMessage::event(event));
        }
        assert!(text((0..200).collect()).len() < 150);
    }

    #[test]
    fn leaves_beyond_any_call_are_refused() {
        let text = text(vec![8]).replace("\"from\":8", "\"from\":4294967295");
        assert!(text.contains("4294967295") && ServerMessage::parse(&text).is_err());
    }
}
