//! What members send to each other, and what they must agree on after each step.

use std::collections::BTreeSet;

use mls::{codec::Decode, wire::GroupContext};
use rand::{RngExt, seq::IndexedRandom};

use super::{
    member::{CommitOptions, Extensions, Implementation, Profile, Received, View, outsider},
    schedule::{Formats, Newcomer, World},
};

const PUBLIC_MESSAGE: u8 = 1;
const PRIVATE_MESSAGE: u8 = 2;

/// Application data on its way.
pub(super) struct Sent {
    message: Vec<u8>,
    received: Received,
    sender: String,
    epoch: u64,
}

impl World {
    pub(super) fn send(&mut self) -> Sent {
        let mut data = vec![0; self.rng.random_range(0..600)];
        self.rng.fill(data.as_mut_slice());
        let authenticated_data = self.rng.random::<[u8; 8]>().to_vec();
        let index = self.rng.random_range(0..self.seats.len());
        let seat = &mut self.seats[index];
        let message = seat.member.protect(&data, &authenticated_data);
        assert_eq!(wire_format(&message), PRIVATE_MESSAGE);
        let (sender, implementation) = (seat.name.clone(), seat.implementation);
        let received = Received::Data { sender: seat.member.leaf(), data, authenticated_data };
        self.note(format!("  {sender} sends data"));
        self.did("sends data", implementation);
        Sent { message, received, sender, epoch: self.epoch }
    }

    /// Everybody reads it who was a member and has been one since.
    pub(super) fn deliver_data(&mut self, sent: &Sent) {
        let origin = self.seats.iter().find(|seat| seat.name == sent.sender);
        let departed = origin.is_none_or(|seat| seat.since > sent.epoch);
        for seat in &mut self.seats {
            let reads = !departed || seat.implementation.reads_data_of_departed();
            if seat.name != sent.sender && seat.since <= sent.epoch && reads {
                self.trace.lines.push(format!("  data of {} reaches {}", sent.sender, seat.name));
                assert_eq!(seat.member.receive(&sent.message), sent.received);
                self.trace.lines.pop();
            }
        }
    }

    /// Every member agrees with every other, and with what the schedule did.
    pub(super) fn check(&mut self) {
        self.note("  agreement".to_owned());
        let views: Vec<View> = self.seats.iter().map(|seat| seat.member.view()).collect();
        for (seat, view) in self.seats.iter().zip(&views) {
            assert_eq!(view, &views[0], "{} and {}", seat.name, self.seats[0].name);
            let own = view.roster.iter().find(|listed| listed.name == seat.name).unwrap();
            assert_eq!(own.leaf, seat.member.leaf(), "{}", seat.name);
        }
        let view = &views[0];
        let listed: BTreeSet<&str> =
            view.roster.iter().map(|listed| listed.name.as_str()).collect();
        let expected: BTreeSet<&str> = self.seats.iter().map(|seat| seat.name.as_str()).collect();
        assert_eq!(listed, expected);
        assert_eq!(view.roster.len(), self.seats.len());
        assert_eq!(view.epoch, self.epoch);
        let context = GroupContext::from_bytes(&view.context).unwrap();
        let extensions = context
            .extensions
            .iter()
            .map(|extension| (extension.extension_type.0, extension.data.clone()))
            .collect::<Extensions>();
        assert_eq!(extensions, self.extensions);
        assert_eq!(context.tree_hash.0, view.tree_hash);
        self.trace.lines.pop();
    }

    pub(super) fn sent_handshake(
        &mut self,
        implementation: Implementation,
        private: bool,
        message: &[u8],
    ) {
        let (format, deed) = if private {
            (PRIVATE_MESSAGE, "sends PrivateMessage handshakes")
        } else {
            (PUBLIC_MESSAGE, "sends PublicMessage handshakes")
        };
        assert_eq!(wire_format(message), format);
        self.did(deed, implementation);
    }

    /// External commits cannot be encrypted (RFC 9420 section 12.4.3.2).
    pub(super) fn sent_external_commit(message: &[u8]) {
        assert_eq!(wire_format(message), PUBLIC_MESSAGE);
    }

    pub(super) fn newcomer(&mut self) -> Newcomer {
        let implementation = *Implementation::ALL.choose(&mut self.rng).unwrap();
        self.newcomer_of(implementation)
    }

    pub(super) fn newcomer_of(&mut self, implementation: Implementation) -> Newcomer {
        self.clients += 1;
        let name = format!("{implementation} {}", self.clients);
        let private = match self.formats {
            Formats::Public => false,
            Formats::Private => true,
            Formats::Mixed => self.rng.random(),
        };
        let client = outsider(Profile {
            implementation,
            name: name.clone(),
            suite: self.suite,
            private,
            padded: self.rng.random(),
            psks: self.psks.clone(),
            seed: self.rng.random(),
        });
        Newcomer { implementation, name, private, client }
    }

    pub(super) fn did(&mut self, deed: &'static str, implementation: Implementation) {
        *self.deeds.entry((deed, implementation)).or_default() += 1;
    }

    pub(super) fn did_commit(
        &mut self,
        author: Implementation,
        options: &CommitOptions,
        by_reference: bool,
    ) {
        use super::member::Change;
        for change in &options.changes {
            self.did(
                match change {
                    Change::Add(_) => "commits an addition by value",
                    Change::Remove(_) => "commits a removal by value",
                    Change::Psk(_) => "commits an external PSK by value",
                    Change::Extensions(_) => "commits extensions by value",
                    Change::Update => panic!("an update is never committed by value"),
                },
                author,
            );
        }
        if by_reference {
            self.did("commits proposals by reference", author);
        }
        if options.changes.is_empty() && !by_reference {
            self.did("commits nothing but a path", author);
        }
        let needs_path = |change: &Change| !matches!(change, Change::Add(_) | Change::Psk(_));
        if !options.path && !by_reference && !options.changes.iter().any(needs_path) {
            self.did("commits without a path", author);
        }
    }

    pub(super) fn note(&mut self, line: String) {
        self.trace.lines.push(line);
    }
}

/// The wire format of an MLSMessage: the low byte of its second field.
fn wire_format(message: &[u8]) -> u8 {
    message[3]
}
