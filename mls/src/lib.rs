//! Messaging Layer Security (RFC 9420): continuous group key agreement, sans-IO.

#![forbid(unsafe_code)]

pub mod codec;
pub mod crypto;
pub mod framing;
pub mod schedule;
pub mod tree;
pub mod wire;
