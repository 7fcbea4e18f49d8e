//! Calls of any size under virtual time.
//!
//! A simulation drives the real code: the members' `call_session::Session` and `sframe_bridge::CallKeys`, the
//! delivery service, the SFU's router. Network, clocks, computing time and media sources are models. The same scenario
//! and seed give the same report, byte for byte. `SIMULATION.md` beside this crate describes the models.

mod chronicle;
mod connections;
mod costs;
mod driving;
mod frames;
mod member;
mod network;
mod outcome;
mod path;
mod process;
mod queue;
mod reception;
mod report;
mod scenario;
mod server;
mod stage;
mod stand_in;
mod stream;
mod summary;
mod tracker;
mod world;

pub use report::{Frames, Memory, Percentiles, Report, Target};
pub use scenario::{
    ComputingSpec, Fidelity, MediaSpec, NetworkSpec, Process, Scenario, SignallingPath,
    SignallingSpec, Targets,
};

pub use summary::summary;

use anyhow::Result;

use world::World;

/// Plays a scenario.
///
/// # Errors
/// When the real code refuses what it must not refuse.
pub fn play(scenario: &Scenario, seed: u64) -> Result<Report> {
    let mut world = World::new(scenario, seed)?;
    world.run()?;
    world.report()
}
