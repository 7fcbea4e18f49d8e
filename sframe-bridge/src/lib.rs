//! SFrame media keys (RFC 9605) from an MLS group.
//!
//! Every epoch of the call's group gives one base key; [`CallKeys`] makes of it the keys of all
//! senders, opens what they send, and moves one's own senders from epoch to epoch so that nobody's
//! picture freezes: the receive keys of an epoch are live as soon as its commit is processed, and
//! sending switches when everybody has acknowledged it, or at a deadline.
//!
//! The crate is sans-IO: time comes in as [`Now`], nothing is read or sent, no thread is started.
//!
//! ```
//! use sframe_bridge::{BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Now, TrackId, crypto};
//!
//! let suite = crypto::default_provider().suite(CipherSuite::Aes128GcmSha256_128).unwrap();
//! let mut alice = CallKeys::new(CallKeysConfig::new(suite));
//! let mut bob = CallKeys::new(CallKeysConfig::new(suite));
//!
//! // Both have processed the commit that begins epoch 7 and exported the base key from it.
//! let now = Now::from_millis(0);
//! let exported = || BaseKey::new(vec![0x42; 16]);
//! alice.install_epoch(Epoch::new(7, exported(), 0, vec![0, 1]), now)?;
//! bob.install_epoch(Epoch::new(7, exported(), 1, vec![0, 1]), now)?;
//!
//! let mut camera = alice.sender(TrackId(1))?;
//! let mut wire = Vec::new();
//! camera.protect_into(b"an encoded frame", b"metadata", &mut wire)?;
//!
//! let opened = bob.receiver().unprotect_in_place(&mut wire, b"metadata", now)?;
//! assert_eq!(&wire[opened.plain], b"an encoded frame");
//! assert_eq!((opened.sender.leaf, opened.sender.epoch), (0, 7));
//!
//! // Alice commits: epoch 8. Her old key stays in use until Bob has the new one.
//! let exported = || BaseKey::new(vec![0x43; 16]);
//! alice.install_epoch(Epoch::new(8, exported(), 0, vec![0, 1]), now)?;
//! assert_eq!(alice.send_epoch(), Some(7));
//! bob.install_epoch(Epoch::new(8, exported(), 1, vec![0, 1]), now)?;
//! alice.peer_ready(1, 8, now);
//! assert_eq!(alice.send_epoch(), Some(8));
//!
//! // Her camera's sender follows by itself.
//! wire.clear();
//! camera.protect_into(b"the next frame", b"", &mut wire)?;
//! let opened = bob.receiver().unprotect_in_place(&mut wire, b"", now)?;
//! assert_eq!(opened.sender.epoch, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! - No (key, counter) is used twice: a context is issued once for an (epoch, leaf), a [`Sender`]
//!   cannot be cloned, its counter is reserved before the cipher runs, and a
//!   [restored](CallKeys::restored) member sends under no epoch that it may have used before.
//! - Nothing is allocated, kept or changed for a frame before its tag is verified, and keys are
//!   derived only for kept epochs, live leaves and allowed contexts.
//! - Without a key nothing is sent and nothing is shown.
//!
//! By itself it does not authenticate the sender inside the group: any member can forge frames as
//! another one (RFC 9605 section 7.2). [`authentication`] adds that, for those who ask for it.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test fails by panicking"
    )
)]

pub mod authentication;
pub mod codec;
pub mod committer;
pub mod crypto;
pub mod per_packet;
pub mod sender_keys;
#[cfg(feature = "sframe-crate")]
pub mod sframe_crate;
pub mod verification;
pub mod vp8;

mod admission;
mod call_keys;
mod call_parameters;
mod epoch;
mod epoch_window;
mod error;
mod group;
mod header;
mod installed_epoch;
mod key_derivation;
mod kid;
mod open_epochs;
mod reassembler;
mod receive_stats;
mod receiver;
mod replay;
mod rtp_payload;
mod send_switch;
mod sender;
mod stream;
mod suite;
mod time;
mod wait_buffer;

pub use admission::ReceiveLimits;
pub use call_keys::{CallKeys, CallKeysConfig, Event, TrackId};
pub use call_parameters::{
    CallParameters, ChangeRight, MediaPolicy, MembershipPolicy, Packetization, ParameterFloor,
    ParametersError,
};
pub use epoch::Epoch;
pub use epoch_window::{FUTURE_EPOCHS, Retention};
pub use error::{Action, EpochError, Fault, ReceiveError, SendError};
pub use group::{CALL_PARAMETERS, CallRules};
pub use header::{EncodedHeader, Header, HeaderError, MAX_HEADER_LENGTH, Peeked, peek};
pub use key_derivation::{BASE_KEY_LABEL, BaseKey, FrameKey, SframeSecret};
pub use kid::{Kid, KidError, KidLayout, KidParts};
pub use reassembler::{
    Loss, Reassembled, ReassembledFrame, Reassembler, ReassemblyLimits, ReassemblyStats, RtpPacket,
};
pub use receive_stats::{ReceiveStats, StreamState};
pub use receiver::{
    IncomingFrame, MAX_METADATA_LENGTH, Opened, Receiver, SenderInfo, receiver_index,
};
pub use replay::{Freshness, REPLAY_WINDOW, ReplayWindow};
pub use rtp_payload::{Fragment, Fragmenter, PayloadError, RtpDescriptor, parse_payload};
pub use send_switch::{SwitchCause, SwitchTiming};
pub use sender::{CounterLimits, HEADROOM, OutgoingFrame, Sender};
pub use suite::{CipherSuite, UnknownSuite};
pub use time::Now;
pub use wait_buffer::{WaitBuffer, WaitLimits, Waiting};
