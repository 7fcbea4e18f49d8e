//! The frames' way through the world.

use std::rc::Rc;

use rand::RngExt;
use rand_distr::{Distribution, Exp1};
use sframe_bridge::Now;

use super::{
    network::Way,
    reception::Frame,
    stage::Outgoing,
    world::{What, World},
};

/// Tries to find somebody for a place.
const TRIES: usize = 20;

impl World<'_> {
    /// A place goes to somebody else who is there.
    pub(super) fn turn(&mut self, place: usize) {
        let now = self.now();
        let mut next = None;
        for _ in 0..TRIES {
            let member = self.rng.random_range(0..self.members.len().max(1));
            let Some(entry) = self.members.get(member) else { continue };
            let able = entry.presents
                && entry.send_epoch.is_some()
                && !entry.is_leaving
                && entry.can_reach_others(now);
            if able && self.stage.suits(place, member) {
                next = Some(member);
                break;
            }
        }
        if next.is_some() || self.stage.member(place).is_none() {
            self.stage.take(place, next, now);
        }
        let share: f64 = Exp1.sample(&mut self.rng);
        let seconds = (self.scenario.media.turn_s * share).clamp(0.2, 60.0);
        self.queue.after(std::time::Duration::from_secs_f64(seconds), What::Turn { place });
    }

    pub(super) fn frame_due(&mut self, place: usize) {
        if !self.goes_on() {
            return;
        }
        self.queue.after(self.stage.period(place), What::FrameDue { place });
        let (now, measured) = (self.now(), self.is_measuring());
        let Some(member) = self.stage.member(place) else { return };
        let Some(entry) = self.members.get_mut(member) else { return };
        if !entry.can_reach_others(now) || entry.is_leaving {
            return;
        }
        let Some(keys) = &mut entry.keys else { return };
        let Some(outgoing) = self.stage.send(place, keys, measured, now) else { return };
        // Whoever was removed with a later epoch knows the key.
        let readers = self.tracker.removed_since(outgoing.frame.epoch);
        if entry.is_behind {
            self.counts.after_leave_of_late += readers;
        } else {
            self.counts.after_leave_opened += readers;
        }
        if let Some(at) = entry.link.frame(Way::Up, outgoing.packets, now) {
            self.queue.at(at, What::FrameUp { place, outgoing });
        }
    }

    pub(super) fn frame_up(&mut self, place: usize, outgoing: &Outgoing) {
        let now = self.now();
        let measured = outgoing.frame.measured;
        let mut departures = Vec::new();
        self.stage.arrive(place, outgoing, &mut departures);
        for departure in departures {
            let member = departure.subscriber.0 as usize;
            let Some(entry) = self.members.get_mut(member) else { continue };
            let arrives = entry.link.frame(Way::Down, outgoing.packets, now);
            if !measured {
                // The receivers' state goes on, nothing is counted.
                if let Some(at) = arrives.filter(|_| !entry.reception.sees) {
                    let frame = Rc::clone(&outgoing.frame);
                    self.queue.at(at, What::FrameDown { member, frame });
                }
                continue;
            }
            let epoch = outgoing.frame.epoch;
            if entry.reception.is_before_join(epoch) {
                self.counts.frames.before_join += 1;
                continue;
            }
            self.counts.frames.sent += 1;
            match arrives {
                None => self.counts.frames.lost_in_transport += 1,
                Some(at) if entry.reception.holds(epoch) && !entry.reception.samples => {
                    self.counts.frames.received += 1;
                    if !entry.reception.sees {
                        self.sees(member, at);
                    }
                }
                Some(at) => {
                    let frame = Rc::clone(&outgoing.frame);
                    self.queue.at(at, What::FrameDown { member, frame });
                }
            }
        }
    }

    pub(super) fn frame_down(&mut self, member: usize, frame: &Rc<Frame>) {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return };
        if entry.is_over {
            if frame.measured {
                self.counts.frames.on_the_way += 1;
                self.counts.frames.sent = self.counts.frames.sent.saturating_sub(1);
            }
            return;
        }
        let fates = entry.reception.take(frame, entry.keys.as_mut(), None, now);
        for fate in fates {
            self.fate(member, fate, now);
        }
    }

    pub(super) fn sees(&mut self, member: usize, now: Now) {
        let Some(entry) = self.members.get_mut(member) else { return };
        if !std::mem::replace(&mut entry.reception.sees, true) {
            self.counts.first_frame.add(now.saturating_since(entry.started));
        }
    }
}
