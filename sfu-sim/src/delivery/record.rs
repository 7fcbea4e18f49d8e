//! What stands in the log, and in a snapshot of a room, as bytes.
//!
//! The encoding is the TLS presentation language (RFC 9420 section 2), preceded by a version.

use bytes::Bytes;
use mls::codec::{Decode, DecodeError, Encode, Reader, encode_opaque};

use crate::protocol::Identity;

const VERSION: u8 = 1;

/// Why a group ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// Every member left, was gone or came back without its state, so that nobody can commit.
    Abandoned,
    /// Too many members could not process a commit (RFC 9420 section 16.12).
    Failed,
    /// The log cannot be replayed.
    Damaged,
}

/// Who submitted something, as its token said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submitter {
    pub(super) identity: Identity,
    pub(super) moderator: bool,
}

/// A commit with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    pub(super) proposals: Vec<Bytes>,
    pub(super) commit: Bytes,
    pub(super) welcome: Option<Bytes>,
    pub(super) group_info: Bytes,
}

/// One record of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A group begins.
    Created { creator: Identity, group_info: Bytes, ratchet_tree: Bytes },
    /// A proposal that a commit of its epoch may refer to.
    Proposal { from: Submitter, message: Bytes },
    /// A commit. `evicted` are the leaves that it removes because a moderator wants it.
    Commit { from: Submitter, bundle: Bundle, evicted: Vec<u32> },
    /// The group ends.
    Closed { cause: CloseCause },
}

impl Record {
    /// Whether it ends the log's turn.
    pub(super) fn ends_turn(&self) -> bool {
        !matches!(self, Self::Proposal { .. })
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Self::Created { creator, group_info, ratchet_tree } => {
                out.push(1);
                encode_opaque(creator.as_str().as_bytes(), &mut out);
                encode_opaque(group_info, &mut out);
                encode_opaque(ratchet_tree, &mut out);
            }
            Self::Proposal { from, message } => {
                out.push(2);
                from.encode(&mut out);
                encode_opaque(message, &mut out);
            }
            Self::Commit { from, bundle, evicted } => {
                out.push(3);
                from.encode(&mut out);
                bundle.encode(&mut out);
                evicted.encode(&mut out);
            }
            Self::Closed { cause } => {
                out.push(4);
                out.push(match cause {
                    CloseCause::Abandoned => 1,
                    CloseCause::Failed => 2,
                    CloseCause::Damaged => 3,
                });
            }
        }
        out.into()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_version(&mut reader)?;
        let record = match u8::decode(&mut reader)? {
            1 => Self::Created {
                creator: identity(&mut reader)?,
                group_info: blob(&mut reader)?,
                ratchet_tree: blob(&mut reader)?,
            },
            2 => Self::Proposal {
                from: Submitter::decode(&mut reader)?,
                message: blob(&mut reader)?,
            },
            3 => Self::Commit {
                from: Submitter::decode(&mut reader)?,
                bundle: Bundle::decode(&mut reader)?,
                evicted: Decode::decode(&mut reader)?,
            },
            4 => Self::Closed {
                cause: match u8::decode(&mut reader)? {
                    1 => CloseCause::Abandoned,
                    2 => CloseCause::Failed,
                    3 => CloseCause::Damaged,
                    other => return Err(unknown("cause", other)),
                },
            },
            other => return Err(unknown("record", other)),
        };
        reader.finish()?;
        Ok(record)
    }
}

/// The state of a room between two records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Identities that a moderator had removed.
    pub(super) banned: Vec<Identity>,
    /// The group, if there is one.
    pub(super) group: Option<GroupSnapshot>,
}

/// A group's part of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupSnapshot {
    pub(super) group_info: Bytes,
    pub(super) ratchet_tree: Bytes,
    /// Leaves that a moderator wants removed and that are still there.
    pub(super) condemned: Vec<u32>,
    /// References of the key packages used so far, the most recent ones.
    pub(super) used_key_packages: Vec<Bytes>,
}

impl Snapshot {
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut out = vec![VERSION];
        let banned: Vec<Vec<u8>> =
            self.banned.iter().map(|identity| identity.as_str().as_bytes().to_vec()).collect();
        banned.encode(&mut out);
        self.group.encode(&mut out);
        out.into()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_version(&mut reader)?;
        let banned = list(&mut reader, identity)?;
        let group = Decode::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { banned, group })
    }
}

impl Encode for GroupSnapshot {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_opaque(&self.group_info, out);
        encode_opaque(&self.ratchet_tree, out);
        self.condemned.encode(out);
        let used: Vec<Vec<u8>> = self.used_key_packages.iter().map(|used| used.to_vec()).collect();
        used.encode(out);
    }
}

impl Decode for GroupSnapshot {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            group_info: blob(reader)?,
            ratchet_tree: blob(reader)?,
            condemned: Decode::decode(reader)?,
            used_key_packages: list(reader, blob)?,
        })
    }
}

impl Encode for Submitter {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_opaque(self.identity.as_str().as_bytes(), out);
        out.push(self.moderator.into());
    }
}

impl Decode for Submitter {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let identity = identity(reader)?;
        let moderator = match u8::decode(reader)? {
            0 => false,
            1 => true,
            other => return Err(unknown("moderator", other)),
        };
        Ok(Self { identity, moderator })
    }
}

impl Encode for Bundle {
    fn encode(&self, out: &mut Vec<u8>) {
        let proposals: Vec<Vec<u8>> = self.proposals.iter().map(|bytes| bytes.to_vec()).collect();
        proposals.encode(out);
        encode_opaque(&self.commit, out);
        self.welcome.as_ref().map(|welcome| welcome.to_vec()).encode(out);
        encode_opaque(&self.group_info, out);
    }
}

impl Decode for Bundle {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            proposals: list(reader, blob)?,
            commit: blob(reader)?,
            welcome: Option::<Vec<u8>>::decode(reader)?.map(Bytes::from),
            group_info: blob(reader)?,
        })
    }
}

fn expect_version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match u8::decode(reader)? {
        VERSION => Ok(()),
        other => Err(unknown("version of a record", other)),
    }
}

fn unknown(what: &'static str, value: u8) -> DecodeError {
    DecodeError::UnknownValue { what, value: value.into() }
}

fn blob(reader: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    reader.opaque().map(Bytes::copy_from_slice)
}

fn identity(reader: &mut Reader<'_>) -> Result<Identity, DecodeError> {
    let text = std::str::from_utf8(reader.opaque()?)
        .map_err(|_| DecodeError::Malformed("an identity is not UTF-8"))?;
    Ok(Identity::new(text))
}

fn list<T>(
    reader: &mut Reader<'_>,
    item: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut inner = reader.prefixed()?;
    let mut items = Vec::new();
    while !inner.is_empty() {
        items.push(item(&mut inner)?);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let from = Submitter { identity: Identity::new("álice"), moderator: true };
        vec![
            Record::Created {
                creator: Identity::new("alice"),
                group_info: Bytes::from_static(b"info"),
                ratchet_tree: Bytes::from(vec![7; 70_000]),
            },
            Record::Proposal { from: from.clone(), message: Bytes::from_static(b"proposal") },
            Record::Commit {
                from,
                bundle: Bundle {
                    proposals: vec![Bytes::from_static(b"one"), Bytes::new()],
                    commit: Bytes::from_static(b"commit"),
                    welcome: Some(Bytes::from_static(b"welcome")),
                    group_info: Bytes::from_static(b"info"),
                },
                evicted: vec![4],
            },
            Record::Closed { cause: CloseCause::Failed },
        ]
    }

    #[test]
    fn records_come_back_as_they_were() {
        for record in records() {
            assert_eq!(Record::parse(&record.to_bytes()), Ok(record));
        }
    }

    #[test]
    fn cut_or_lengthened_records_are_refused() {
        for record in records() {
            let bytes = record.to_bytes();
            for len in 0..bytes.len().min(200) {
                assert!(Record::parse(bytes.get(..len).unwrap()).is_err());
            }
            let mut longer = bytes.to_vec();
            longer.push(0);
            assert_eq!(Record::parse(&longer), Err(DecodeError::TrailingBytes(1)));
        }
    }

    #[test]
    fn snapshots_come_back_as_they_were() {
        let full = Snapshot {
            banned: vec![Identity::new("mallory")],
            group: Some(GroupSnapshot {
                group_info: Bytes::from_static(b"info"),
                ratchet_tree: Bytes::from_static(b"tree"),
                condemned: vec![3, 9],
                used_key_packages: vec![Bytes::from_static(b"reference")],
            }),
        };
        for snapshot in [full, Snapshot { banned: Vec::new(), group: None }] {
            assert_eq!(Snapshot::parse(&snapshot.to_bytes()), Ok(snapshot));
        }
    }
}
