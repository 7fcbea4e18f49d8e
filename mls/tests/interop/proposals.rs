//! What the proposals of an epoch are.

use std::collections::BTreeSet;

use rand::{RngExt, seq::IndexedRandom};

use super::{
    member::{Change, EXTENSION, Extensions, Received},
    schedule::{FULL, Newcomer, Step, World},
};

const REQUIRED_CAPABILITIES: u16 = 3;

/// Proposals under way in one epoch, and what they touch.
#[derive(Default)]
pub(super) struct Proposed {
    pub(super) newcomers: Vec<Newcomer>,
    pub(super) removed: Vec<usize>,
    pub(super) updated: Vec<usize>,
    pub(super) psks: BTreeSet<Vec<u8>>,
    pub(super) extensions: Option<Extensions>,
}

impl Proposed {
    pub(super) fn is_empty(&self) -> bool {
        self.newcomers.is_empty()
            && self.removed.is_empty()
            && self.updated.is_empty()
            && self.psks.is_empty()
            && self.extensions.is_none()
    }

    pub(super) fn touches(&self, seat: usize) -> bool {
        self.removed.contains(&seat) || self.updated.contains(&seat)
    }
}

impl World {
    pub(super) fn choose_by_value(
        &mut self,
        step: Step,
        committer: usize,
        proposed: &mut Proposed,
        changes: &mut Vec<Change>,
    ) {
        match step {
            Step::Add => {
                let room = FULL.saturating_sub(self.seats.len() + proposed.newcomers.len());
                for _ in 0..self.rng.random_range(0..=room.min(3)).max(room.min(1)) {
                    let mut newcomer = self.newcomer();
                    changes.push(Change::Add(newcomer.client.key_package()));
                    proposed.newcomers.push(newcomer);
                }
            }
            Step::Remove => {
                for _ in 0..self.rng.random_range(1..=2) {
                    if let Some(seat) = self.untouched(committer, proposed) {
                        changes.push(Change::Remove(self.seats[seat].member.leaf()));
                        proposed.removed.push(seat);
                    }
                }
            }
            Step::Psk => {
                let author = self.seats[committer].implementation;
                if !proposed.psks.is_empty() && !author.orders_psks_as_listed() {
                    return;
                }
                if let Some(id) = self.unused_psk(proposed) {
                    changes.push(Change::Psk(id));
                }
            }
            Step::Extensions => {
                let extensions = self.some_extensions();
                changes.push(Change::Extensions(extensions.clone()));
                proposed.extensions = Some(extensions);
            }
            Step::Path | Step::ByReference | Step::External | Step::Resync => {}
        }
    }

    /// One proposal of a random member, if the kind that comes up is still possible.
    pub(super) fn propose(&mut self, committer: usize, proposed: &mut Proposed) {
        let anybody = self.rng.random_range(0..self.seats.len());
        let full = self.seats.len() + proposed.newcomers.len() >= FULL;
        let (proposer, change) = match self.rng.random_range(0..6) {
            0 if !full => {
                let mut newcomer = self.newcomer();
                let change = Change::Add(newcomer.client.key_package());
                proposed.newcomers.push(newcomer);
                (anybody, change)
            }
            1 => {
                let Some(seat) = self.untouched(committer, proposed) else { return };
                proposed.removed.push(seat);
                (anybody, Change::Remove(self.seats[seat].member.leaf()))
            }
            2 => {
                let Some(id) = self.unused_psk(proposed) else { return };
                (anybody, Change::Psk(id))
            }
            3 if proposed.extensions.is_none() => {
                let extensions = self.some_extensions();
                proposed.extensions = Some(extensions.clone());
                (anybody, Change::Extensions(extensions))
            }
            _ => {
                let Some(seat) = self.untouched(committer, proposed) else { return };
                proposed.updated.push(seat);
                (seat, Change::Update)
            }
        };
        self.send_proposal(proposer, &change);
    }

    pub(super) fn send_proposal(&mut self, proposer: usize, change: &Change) {
        let seat = &mut self.seats[proposer];
        let message = seat.member.propose(change);
        let (implementation, private) = (seat.implementation, seat.private);
        let deed = match change {
            Change::Add(_) => "proposes an addition",
            Change::Remove(_) => "proposes a removal",
            Change::Update => "proposes an update",
            Change::Psk(_) => "proposes an external PSK",
            Change::Extensions(_) => "proposes extensions",
        };
        self.note(format!("  {} {deed}", self.seats[proposer].name));
        self.did(deed, implementation);
        self.sent_handshake(implementation, private, &message);
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if index != proposer {
                self.trace.lines.push(format!("    for {}", seat.name));
                assert_eq!(seat.member.receive(&message), Received::Proposal);
                self.trace.lines.pop();
            }
        }
    }

    fn untouched(&mut self, committer: usize, proposed: &Proposed) -> Option<usize> {
        let free = |seat: &usize| *seat != committer && !proposed.touches(*seat);
        let free: Vec<usize> = (0..self.seats.len()).filter(free).collect();
        free.choose(&mut self.rng).copied()
    }

    /// A PSK that the commit does not mix in already.
    pub(super) fn unused_psk(&mut self, proposed: &mut Proposed) -> Option<Vec<u8>> {
        let unused = self.psks.keys().filter(|id| !proposed.psks.contains(*id));
        let id = unused.cloned().collect::<Vec<_>>().choose(&mut self.rng).cloned()?;
        proposed.psks.insert(id.clone());
        Some(id)
    }

    /// Extensions for the group context: none, the demand that members know the application's, or that one as well.
    ///
    /// The RFC lets a group use an extension that all members support (section 13.4) and judges GroupContextExtensions by
    /// the capabilities required in it alone (section 12.1.7). OpenMLS 0.9.2 rejects in addition every type beyond the
    /// RFC's own that `required_capabilities` does not list (`ExtensionNotInRequiredCapabilities`), so it is listed here.
    fn some_extensions(&mut self) -> Extensions {
        let mut extensions = Extensions::new();
        if self.rng.random_ratio(3, 4) {
            let [high, low] = EXTENSION.to_be_bytes();
            let basic_credential = [2, 0, 1];
            let required = [[2, high, low].as_slice(), &[0], &basic_credential].concat();
            extensions.insert(REQUIRED_CAPABILITIES, required);
            if self.rng.random() {
                let length = self.rng.random_range(0..100);
                extensions.insert(EXTENSION, (0..length).map(|_| self.rng.random()).collect());
            }
        }
        extensions
    }
}
