//! The delivery service of a room: it orders the handshake messages of a call's MLS group.
//!
//! [`DeliveryService`] is a sans-IO core. It follows the group's public state, checks what members submit, asks
//! the storage for one append at a time, and tells the members only what the log has. Members trust it with
//! delivery and nothing else: it holds no secret of the group.
//!
//! **One commit for each epoch.** An append names the turn of the log that it belongs to, and the storage lets
//! one commit win it. If its answer is lost, the log is read again: what stands there counts.
//!
//! **What is durable.** Groups, commits with their Welcomes, logged proposals, bans. Everything else (who is
//! connected, who wants to join or has said that it leaves, acknowledgements) is asked for again by clients
//! that connect again, or replaced by the end of a grace period.
//!
//! **Several processes** may serve one call on one storage. What stands in the log they read there
//! ([`DeliveryService::records_available`]); who is connected, wants in or has acknowledged they tell each other
//! in [`Note`]s.
//!
//! **Bounds.** Every list has a limit in [`DeliveryConfig`] or grows with the number of participants, which the
//! server limits.

mod acks;
mod append;
mod apply;
mod bucket;
mod config;
mod confirmations;
mod effects;
mod group;
mod log;
mod metrics;
mod nodes;
mod pending;
mod people;
mod record;
mod requests;
mod restore;
mod service;
pub mod storage;
mod submit;
mod tell;
mod time;

pub use bucket::Rate;
pub(crate) use bucket::TokenBucket;
pub use config::DeliveryConfig;
pub use effects::{Output, StorageDone, StorageEffect};
pub use metrics::{DeliveryMetrics, LATENCY_BOUNDS, LatencyHistogram};
pub use nodes::{Login, NodeId, Note, NoteBody, Present};
pub use record::CloseCause;
pub use restore::Loaded;
pub use service::DeliveryService;
pub use storage::{
    CallId, MemoryStorage, NatsOptions, NatsStorage, SqliteStorage, Storage, purge_stale,
};
pub use time::Now;

/// Names a connection of a client; later ones have greater numbers, and none is used twice. Those that a driver
/// names are below 2^63; the others stand for connections to other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    const REMOTE: u64 = 1 << 63;

    /// Whether the client is connected to another process.
    pub fn is_remote(self) -> bool {
        self.0 >= Self::REMOTE
    }
}
