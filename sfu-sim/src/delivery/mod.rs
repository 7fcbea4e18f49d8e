//! The delivery service of a room.

mod acks;
mod bucket;
mod config;
mod log;
mod metrics;
mod pending;
mod people;
mod record;
pub mod storage;
mod time;

pub use bucket::Rate;
pub use config::DeliveryConfig;
pub use metrics::{DeliveryMetrics, LATENCY_BOUNDS, LatencyHistogram};
pub use record::CloseCause;
pub use time::Now;

/// Names a connection of a client; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);
