//! What stands in subjects and headers.

use std::fmt::Write as _;

use async_nats::HeaderMap;
use mls::wire::UnixTime;

use super::{Message, engine};
use crate::delivery::storage::{Append, AppendId, StorageError, StoredSnapshot};

/// The header of a record: `seq turn ends_turn boot count at`, in decimal.
pub(super) const RECORD: &str = "Framelock-Record";
/// The header of a snapshot: `next_seq turn`.
pub(super) const SNAPSHOT: &str = "Framelock-Snapshot";
/// More than all headers of a message need, in bytes.
pub(super) const HEADER_ROOM: usize = 512;

/// A record without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) turn: u64,
    pub(super) ends_turn: bool,
    pub(super) id: AppendId,
    pub(super) at: UnixTime,
}

impl Place {
    pub(super) fn of(append: &Append, seq: u64) -> Self {
        let Append { id, turn, ends_turn, at, .. } = *append;
        Self { seq, turn, ends_turn, id, at }
    }

    /// The log's turn after the record.
    pub(super) fn next_turn(&self) -> u64 {
        self.turn + u64::from(self.ends_turn)
    }

    pub(super) fn header(&self) -> String {
        let Self { seq, turn, ends_turn, id: AppendId { boot, count }, at } = self;
        format!("{seq} {turn} {} {boot} {count} {}", u8::from(*ends_turn), at.0)
    }
}

pub(super) fn place_of(headers: &HeaderMap) -> Result<Place, StorageError> {
    let [seq, turn, ends_turn, boot, count, at] = numbers(headers, RECORD)?;
    let id = AppendId { boot, count };
    Ok(Place { seq, turn, ends_turn: ends_turn != 0, id, at: UnixTime(at) })
}

pub(super) fn snapshot_header(snapshot: &StoredSnapshot) -> String {
    format!("{} {}", snapshot.next_seq, snapshot.turn)
}

pub(super) fn snapshot_of(message: &Message) -> Result<StoredSnapshot, StorageError> {
    let [next_seq, turn] = numbers(&message.headers, SNAPSHOT)?;
    Ok(StoredSnapshot { next_seq, turn, bytes: message.payload.clone() })
}

fn numbers<const N: usize>(headers: &HeaderMap, name: &str) -> Result<[u64; N], StorageError> {
    let text = headers.get(name).map_or("", |value| value.as_str());
    let numbers: Option<Vec<u64>> = text.split(' ').map(|number| number.parse().ok()).collect();
    numbers
        .and_then(|numbers| <[u64; N]>::try_from(numbers).ok())
        .ok_or_else(|| engine(format!("a message of the stream lacks a good {name} header")))
}

/// A call's name as one token of a subject: what a token cannot hold is written as `=` and two hexadecimal
/// digits.
pub(super) fn token(call: &str) -> String {
    let mut token = String::with_capacity(call.len());
    for byte in call.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(token, "={byte:02x}");
        }
    }
    // A token is not empty.
    if token.is_empty() { "=".to_owned() } else { token }
}

/// The call whose log has this subject.
pub(super) fn call_of(subject: &str) -> Option<String> {
    let token = subject.rsplit('.').next()?;
    if token == "=" {
        return Some(String::new());
    }
    let mut parts = token.split('=');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_calls_become_tokens_and_come_back() {
        for call in ["", "stand-up", "a.b", "a b*>", "größe", "a=2e", "\n"] {
            let token = token(call);
            assert!(!token.contains(['.', '*', '>', ' ', '\n']) && !token.is_empty(), "{token}");
            assert_eq!(call_of(&format!("framelock.log.{token}")).as_deref(), Some(call));
        }
        assert_eq!(call_of("framelock.log.a=zz"), None);
        assert_eq!(call_of("framelock.log.a=f"), None);
    }

    #[test]
    fn headers_come_back_and_bad_ones_are_refused() {
        let place = Place {
            seq: 7,
            turn: 3,
            ends_turn: true,
            id: AppendId { boot: u64::MAX, count: 9 },
            at: UnixTime(1_800_000_000),
        };
        let mut headers = HeaderMap::new();
        assert!(place_of(&headers).is_err());
        headers.insert(RECORD, place.header().as_str());
        assert_eq!(place_of(&headers), Ok(place));
        headers.insert(RECORD, "1 2 3");
        assert!(place_of(&headers).is_err());
        headers.insert(RECORD, "1 2 1 x 5 6");
        assert!(place_of(&headers).is_err());
    }
}
