//! Benchmarks of this project beside its peers, and the report that is made of them.
//!
//! - [`measure`]: CPU time, allocations and memory of a piece of work, C libraries included.
//! - [`groups`]: MLS groups of any size with a full ratchet tree, in which this project's `mls`, mls-rs and OpenMLS hold the
//!   same seats.
//! - [`frames`]: frame protection of this project, of bare ciphers and of the `sframe` crate.
//! - [`rekey`]: what new keys for everybody cost with MLS, with sender keys and with pairwise encryption.
//! - [`rotation`]: from a commit to the switch of the send keys, under virtual time.
//! - [`simulate`]: whole calls of any size under virtual time.
//! - [`report`]: runs the sections, and writes report.json, report.html and a summary.
//!
//! The criterion benches use the same set-up code. How to read what comes out stands in `README.md` beside this crate.

pub mod frames;
pub mod groups;
pub mod measure;
pub mod rekey;
pub mod report;
pub mod rotation;
pub mod simulate;
