//! A client of a call: signalling, keys and media.

mod keyframe_requests;
pub mod peer;
pub mod tracks;
