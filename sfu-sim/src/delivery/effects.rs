use crate::protocol::{Identity, RemovalReason, ServerMessage};

use super::ConnectionId;
use super::storage::{
    Append, AppendId, Appended, CallId, Storage, StorageError, StoredRecord, StoredSnapshot,
};

/// How many records one read asks for.
const READ_RECORDS: usize = 256;

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a message on a connection.
    Send {
        /// To whom.
        to: ConnectionId,
        /// What.
        message: ServerMessage,
    },
    /// Send one message on several connections.
    Broadcast {
        /// To whom.
        to: Vec<ConnectionId>,
        /// What.
        message: ServerMessage,
    },
    /// Stop at once to forward media from this participant and to it.
    MediaCutOff {
        /// Whose.
        identity: Identity,
        /// Why.
        reason: RemovalReason,
    },
    /// Forward media of this participant again.
    MediaRestored {
        /// Whose.
        identity: Identity,
    },
    /// A commit has removed this participant. After a moderator's decision its connection is to be closed.
    Removed {
        /// Who.
        identity: Identity,
        /// Why.
        reason: RemovalReason,
    },
    /// Have the storage do this, and hand the answer to
    /// [`DeliveryService::storage_done`](super::DeliveryService::storage_done).
    Storage(StorageEffect),
}

/// What the core wants of the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageEffect {
    /// Append a record.
    Append(Append),
    /// Read the records from `seq` on.
    Read {
        /// The log.
        call: CallId,
        /// The first record wanted.
        seq: u64,
    },
    /// Keep a snapshot.
    PutSnapshot {
        /// The log.
        call: CallId,
        /// The snapshot.
        snapshot: StoredSnapshot,
    },
    /// Forget the records before `seq`.
    Purge {
        /// The log.
        call: CallId,
        /// The first record to be kept.
        seq: u64,
    },
}

/// What became of a [`StorageEffect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageDone {
    /// Of [`StorageEffect::Append`].
    Appended {
        /// Which append.
        id: AppendId,
        /// The answer.
        result: Result<Appended, StorageError>,
    },
    /// Of [`StorageEffect::Read`].
    Records {
        /// The answer.
        result: Result<Vec<StoredRecord>, StorageError>,
    },
    /// Of [`StorageEffect::PutSnapshot`].
    SnapshotKept {
        /// The answer.
        result: Result<(), StorageError>,
    },
    /// Of [`StorageEffect::Purge`].
    Purged {
        /// The answer.
        result: Result<(), StorageError>,
    },
}

impl StorageEffect {
    /// Has the storage do it.
    pub async fn run(self, storage: &dyn Storage) -> StorageDone {
        match self {
            Self::Append(append) => {
                let id = append.id;
                StorageDone::Appended { id, result: storage.append(append).await }
            }
            Self::Read { call, seq } => {
                StorageDone::Records { result: storage.read(&call, seq, READ_RECORDS).await }
            }
            Self::PutSnapshot { call, snapshot } => {
                StorageDone::SnapshotKept { result: storage.put_snapshot(&call, snapshot).await }
            }
            Self::Purge { call, seq } => {
                StorageDone::Purged { result: storage.purge(&call, seq).await }
            }
        }
    }
}
