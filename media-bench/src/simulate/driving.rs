//! Driving the members and the server: their timers, their reading, and what they do.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use sfu_sim::protocol::{DeliveryEvent, EntryKind, Identity, ServerBody, ServerMessage};

use super::{
    connections::MEDIA_HANDSHAKE,
    costs,
    member::Act,
    scenario::Fidelity,
    server,
    tracker::Followers,
    world::{What, World},
};

impl World<'_> {
    pub(super) fn plan_reading(&mut self, member: usize) {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return };
        if entry.reading {
            return;
        }
        let Some(message) = entry.inbox.front() else { return };
        let cost = costs::of_message(message, entry.members);
        let begin = entry.busy.max(entry.asleep_until).max(now);
        entry.busy = begin + entry.compute(cost);
        entry.reading = true;
        self.queue.at(entry.busy, What::Read { member });
    }

    pub(super) fn read(&mut self, member: usize) -> Result<()> {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        entry.reading = false;
        let acts = entry.read(now)?;
        self.acts(member, acts);
        self.plan_reading(member);
        self.after_member(member)
    }

    pub(super) fn timer(&mut self, member: usize) -> Result<()> {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        if entry.is_over || entry.timer.take_if(|due| *due <= now).is_none() {
            return Ok(());
        }
        if now < entry.asleep_until {
            entry.timer = Some(entry.asleep_until);
            self.queue.at(entry.asleep_until, What::Timer { member });
            return Ok(());
        }
        let acts = entry.timeout(now)?;
        self.acts(member, acts);
        self.after_member(member)
    }

    /// Sets the timer; ends a program that has nothing more to do.
    pub(super) fn after_member(&mut self, member: usize) -> Result<()> {
        let now = self.now();
        let Some(entry) = self.members.get_mut(member) else { return Ok(()) };
        if entry.has_ended() && !entry.is_over {
            return self.end(member);
        }
        if let Some(due) = entry.next_deadline(now)
            && entry.timer.is_none_or(|set| due < set)
        {
            // What is due at once waits for the next tick of the clock.
            let due = due.max(now + Duration::from_micros(1));
            entry.timer = Some(due);
            self.queue.at(due, What::Timer { member });
        }
        Ok(())
    }

    /// Carries out what a member does.
    pub(super) fn acts(&mut self, member: usize, acts: Vec<Act>) {
        let now = self.now();
        for act in acts {
            match act {
                Act::Send { message, after } if after.is_zero() => self.send(member, message),
                Act::Send { message, after } => {
                    let Some(entry) = self.members.get_mut(member) else { return };
                    let Some(connection) = &entry.connection else { continue };
                    let connection = connection.id;
                    entry.busy = entry.busy.max(now) + after;
                    let message = Box::new(message);
                    self.queue.after(after, What::Computed { member, connection, message });
                }
                Act::Installed { epoch } => self.tracker.installed(member, epoch, now),
                Act::Switched { epoch, first } => {
                    if first {
                        self.tracker.begins(member, epoch);
                    }
                    self.tracker.switched(member, epoch, now);
                    if self.server.service.epoch() == Some(epoch)
                        && let Some(entry) = self.members.get_mut(member)
                        && entry.can_reach_others(now)
                    {
                        entry.is_behind = false;
                    }
                }
                Act::Began => self.stage.forget_senders(member),
                Act::Ended => self.tracker.dropped(member, now),
                Act::Frames(fates) => {
                    for fate in fates {
                        self.fate(member, fate, now);
                    }
                }
                Act::Counted(what) => *self.counts.noticed.entry(what).or_default() += 1,
            }
        }
    }

    /// Carries out what the server does.
    pub(super) fn server_acts(&mut self, acts: Vec<server::Act>) -> Result<()> {
        let now = self.now();
        for act in acts {
            match act {
                server::Act::Tell { to, message, forms, at } => {
                    if let ServerBody::Delivery(event) = &message.body {
                        let commits = matches!(event, DeliveryEvent::Entry { entry }
                            if entry.kind == EntryKind::Commit);
                        let followers = if commits { Some(self.followers()) } else { None };
                        self.tracker.told(event, followers, now);
                    }
                    if self.scenario.fidelity == Fidelity::Sample {
                        self.chronicle.borrow_mut().told(&message, now)?;
                    }
                    if self.measuring {
                        let told = self.counts.told.entry(name_of(&message)).or_default();
                        *told += (forms.text * to.len()) as u64;
                    }
                    for (place, connection) in (0..).zip(to) {
                        self.tell(connection, &message, &forms, at + costs::FAN_OUT * place);
                    }
                }
                server::Act::Stored { done, at } => self.queue.at(at, What::Stored(done)),
                server::Act::CutOff(identity) => {
                    if let Some(member) = member_named(identity.as_str()) {
                        self.stage.cut_off(member);
                        self.close_paths(member);
                    }
                }
                server::Act::Restored(identity) => {
                    if let Some(member) = member_named(identity.as_str())
                        && let Some(entry) = self.members.get(member)
                        && let Some(connection) = &entry.connection
                    {
                        let connection = connection.id;
                        let after = entry.link.round_trip() * MEDIA_HANDSHAKE;
                        self.queue.after(after, What::MediaReady { member, connection });
                    }
                }
            }
        }
        self.tracker.end_of_turn(now);
        let metrics = self.server.service.metrics();
        self.counts.log_bytes = self.counts.log_bytes.max(metrics.log_bytes);
        self.counts.most_members = self.counts.most_members.max(self.server.service.members());
        if let Some(due) = self.server.next_deadline()
            && self.server_timer.is_none_or(|set| due < set)
        {
            self.server_timer = Some(due.max(now));
            self.queue.at(due, What::ServerTimer);
        }
        Ok(())
    }

    /// Who has to follow a commit: whoever has been in the group since before it, is there, and stays.
    fn followers(&mut self) -> Followers {
        let now = self.now();
        let mut followers = Followers { senders: BTreeSet::new(), receivers: BTreeSet::new() };
        for (index, (member, seated)) in self.members.iter_mut().zip(&mut self.seated).enumerate() {
            let before = *seated;
            let identity = Identity::new(member.name.as_str());
            *seated = !member.is_over && self.server.service.leaf_of(&identity).is_some();
            let there = member.epoch().is_some() && member.can_reach_others(now);
            member.is_behind |= !there;
            if before && *seated && !member.is_leaving && there {
                followers.receivers.insert(index);
                if member.presents && member.send_epoch.is_some() {
                    followers.senders.insert(index);
                }
            }
        }
        followers
    }
}

fn name_of(message: &ServerMessage) -> &'static str {
    match &message.body {
        ServerBody::Delivery(DeliveryEvent::Entry { .. }) => "entry",
        ServerBody::Delivery(DeliveryEvent::PendingChanged { .. }) => "pending_changed",
        ServerBody::Delivery(DeliveryEvent::Acknowledged { .. }) => "acknowledged",
        ServerBody::Delivery(DeliveryEvent::Welcome { .. }) => "welcome",
        ServerBody::Delivery(DeliveryEvent::Tree { .. }) => "tree",
        ServerBody::Delivery(DeliveryEvent::Heartbeats { .. }) => "heartbeats",
        _ => "other",
    }
}

fn member_named(name: &str) -> Option<usize> {
    name.strip_prefix("member-")?.parse().ok()
}
