//! A selective forwarding unit and MLS delivery service that never hold a key.
//!
//! [`Server::start`] runs both in this process: clients signal over a WebSocket in the [`protocol`], send media
//! to one UDP socket ([`media`]), and the [`router`] decides who gets what. Payloads are opaque to all of it. The
//! [`delivery`] service orders the MLS commits of each call.

pub mod config;
pub mod delivery;
pub mod frame_info;
pub mod media;
pub mod metrics;
pub use sfu_protocol as protocol;
mod rate;
pub mod router;
pub mod server;
pub mod token;

pub use config::Config;
pub use server::{RunningServer, Server, StartError};
