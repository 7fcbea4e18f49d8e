//! What happens to the roster and to members: the scenario's processes.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;
use sframe_bridge::Now;

use super::{
    scenario::{Process, Scenario},
    world::{What, World},
};

/// A step of a process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The process' next occurrence.
    Occurs { process: usize, count: u64 },
    /// Somebody leaves.
    Leaves,
}

impl Scenario {
    /// How many members there can be over the whole time, at most.
    pub(super) fn most_members(&self) -> u32 {
        let joins = self.process.iter().map(|process| match process {
            Process::Churn { every_s } => (self.duration_s / every_s / 2.0).ceil() as u32,
            Process::Storm { members, .. } => *members,
            _ => 0,
        });
        self.members + joins.sum::<u32>()
    }
}

impl World<'_> {
    pub(super) fn plan_processes(&mut self, begin: Now) {
        let seconds = Duration::from_secs_f64;
        for (index, process) in self.scenario.process.iter().enumerate() {
            match *process {
                Process::Churn { every_s }
                | Process::Flaky { every_s, .. }
                | Process::Crash { every_s }
                | Process::Sleep { every_s, .. } => {
                    let step = Step::Occurs { process: index, count: 0 };
                    self.queue.at(begin + seconds(every_s), What::Process(step));
                }
                Process::Storm { at_s, over_s, members } => {
                    for _ in 0..members {
                        let at = at_s + over_s * self.rng.random::<f64>();
                        self.queue.at(begin + seconds(at), What::Arrives);
                    }
                }
                Process::Exodus { at_s, over_s, members } => {
                    for _ in 0..members {
                        let at = at_s + over_s * self.rng.random::<f64>();
                        self.queue.at(begin + seconds(at), What::Process(Step::Leaves));
                    }
                }
                Process::Partition { at_s, .. } => {
                    let step = Step::Occurs { process: index, count: 0 };
                    self.queue.at(begin + seconds(at_s), What::Process(step));
                }
            }
        }
    }

    pub(super) fn process(&mut self, step: Step) -> Result<()> {
        let (index, count) = match step {
            Step::Occurs { process, count } => (process, count),
            Step::Leaves => return self.somebody_leaves(),
        };
        let scenario = self.scenario;
        let Some(process) = scenario.process.get(index) else { return Ok(()) };
        if !self.goes_on() {
            return Ok(());
        }
        let now = self.now();
        let seconds = Duration::from_secs_f64;
        match *process {
            Process::Churn { every_s } => {
                self.again(index, count, every_s);
                if count % 2 == 0 {
                    return self.somebody_leaves();
                }
                self.queue.at(now, What::Arrives);
            }
            Process::Flaky { every_s, away_s } => {
                self.again(index, count, every_s);
                if let Some(member) = self.somebody() {
                    self.loses_network(member, now + seconds(away_s))?;
                }
            }
            Process::Crash { every_s } => {
                self.again(index, count, every_s);
                if let Some(member) = self.somebody() {
                    self.end(member)?;
                }
            }
            Process::Sleep { every_s, asleep_s } => {
                self.again(index, count, every_s);
                if let Some(member) = self.somebody() {
                    let until = now + seconds(asleep_s);
                    if let Some(entry) = self.members.get_mut(member) {
                        entry.asleep_until = until;
                    }
                    self.cut(member, until);
                }
            }
            Process::Partition { for_s, share, .. } => {
                for member in 0..self.members.len() {
                    if self.rng.random::<f64>() < share {
                        self.cut(member, now + seconds(for_s));
                    }
                }
            }
            Process::Storm { .. } | Process::Exodus { .. } => {}
        }
        Ok(())
    }

    fn again(&mut self, process: usize, count: u64, every_s: f64) {
        let step = Step::Occurs { process, count: count + 1 };
        self.queue.after(Duration::from_secs_f64(every_s), What::Process(step));
    }

    /// Somebody who is in the call and can be reached; presenters, where there are such, stay.
    fn somebody(&mut self) -> Option<usize> {
        let now = self.now();
        let stay = self.scenario.media.presenters as usize;
        let there: Vec<usize> = self
            .members
            .iter()
            .enumerate()
            .filter(|(index, member)| {
                *index >= stay
                    && !member.is_over
                    && !member.is_leaving
                    && member.is_member()
                    && member.can_reach_others(now)
            })
            .map(|(index, _)| index)
            .collect();
        let place = self.rng.random_range(0..there.len().max(1));
        there.get(place).copied()
    }

    fn somebody_leaves(&mut self) -> Result<()> {
        let now = self.now();
        let Some(member) = self.somebody() else { return Ok(()) };
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        let acts = entry.leave(now)?;
        self.acts(member, acts);
        self.tracker.dropped(member, now);
        self.after_member(member)
    }

    /// The operating system says that the network is gone: the program connects again when it is back.
    fn loses_network(&mut self, member: usize, until: Now) -> Result<()> {
        self.cut(member, until);
        let connection = self.members.get(member).and_then(|entry| entry.connection.as_ref());
        let Some(connection) = connection.map(|connection| connection.id) else { return Ok(()) };
        self.finds_out(member, connection)
    }
}
