//! A selective forwarding unit and MLS delivery service that never hold a key.

pub mod delivery;
pub mod protocol;
