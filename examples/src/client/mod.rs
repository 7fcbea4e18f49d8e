//! A client of a call: signalling, keys and media.
//!
//! [`call_session`] is the key management, sans-IO; [`peer`] and [`tracks`] carry opaque packets over
//! webrtc-rs; the tasks in between encrypt what is due and open what comes. [`Client`] is the thin
//! layer that ties them to tokio.

mod channel;
mod codecs;
mod datagrams;
mod driver;
mod keyframe_requests;
mod keys;
mod media;
pub mod observer;
mod packets;
pub mod peer;
mod receive;
mod report;
mod send;
pub mod signalling;
pub mod tracks;

pub use driver::{Client, ClientConfig, ClientError, Ending};
pub use media::Publication;
pub use packets::{MediaOptions, Packetization};
