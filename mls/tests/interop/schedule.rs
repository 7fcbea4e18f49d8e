//! A random history of one group, which members of all implementations follow.

use std::{collections::BTreeMap, thread};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedMutRandom, seq::IndexedRandom};

use super::{
    member::{
        Change, CommitOptions, Extensions, ExternalJoin, Implementation, Member, Outsider, Received,
    },
    proposals::Proposed,
};

/// The most members that a group gets.
pub(super) const FULL: usize = 12;
const GROUP_ID: &[u8] = b"a mixed group";

/// How often each implementation did what.
pub(crate) type Deeds = BTreeMap<(&'static str, Implementation), u32>;

/// All that an implementation can do in a schedule.
pub(crate) const DEEDS: [&str; 24] = [
    "abandons a commit",
    "commits a removal by value",
    "commits an addition by value",
    "commits an external PSK by value",
    "commits extensions by value",
    "commits nothing but a path",
    "commits proposals by reference",
    "commits without a path",
    "creates a group",
    "gives a GroupInfo",
    "is removed",
    "joins by Welcome with the tree",
    "joins by Welcome without the tree",
    "joins by external commit",
    "joins by external commit with a PSK",
    "proposes a removal",
    "proposes an addition",
    "proposes an external PSK",
    "proposes an update",
    "proposes extensions",
    "resyncs by external commit",
    "sends PrivateMessage handshakes",
    "sends PublicMessage handshakes",
    "sends data",
];

/// How the members of a group send handshake messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Formats {
    Public,
    Private,
    /// Each member as it likes.
    Mixed,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Add,
    Remove,
    Path,
    Psk,
    Extensions,
    ByReference,
    External,
    Resync,
}

pub(super) struct Seat {
    pub(super) implementation: Implementation,
    pub(super) name: String,
    pub(super) private: bool,
    /// The first epoch that the member knows.
    pub(super) since: u64,
    pub(super) member: Box<dyn Member>,
}

pub(super) struct Newcomer {
    pub(super) implementation: Implementation,
    pub(super) name: String,
    pub(super) private: bool,
    pub(super) client: Box<dyn Outsider>,
}

/// The schedule so far; it is printed when something in it fails.
pub(super) struct Trace {
    title: String,
    pub(super) lines: Vec<String>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}\n{}", self.title, self.lines.join("\n"));
        }
    }
}

/// A group, and what its members should agree on.
pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) suite: u16,
    pub(super) formats: Formats,
    pub(super) psks: BTreeMap<Vec<u8>, [u8; 32]>,
    pub(super) seats: Vec<Seat>,
    pub(super) clients: u32,
    pub(super) epoch: u64,
    pub(super) extensions: Extensions,
    pub(super) deeds: Deeds,
    pub(super) trace: Trace,
}

/// Plays one schedule. The seed fixes it; the randomness of the peers' keys it cannot fix. Any 36 seeds in a row have every
/// combination of suite, creator and formats.
pub(crate) fn play(seed: u64, steps: usize) -> Deeds {
    let pick = |from: u64, length: usize| usize::try_from(from).unwrap() % length;
    let suite = [1, 2, 3][pick(seed, 3)];
    let creator = Implementation::ALL[pick(seed, 4)];
    let formats = [Formats::Public, Formats::Private, Formats::Mixed][pick(seed / 12, 3)];
    let mut rng = StdRng::seed_from_u64(seed);
    let psks = (0..4_u8).map(|id| (vec![b'k', id], rng.random())).collect();
    let title = format!("seed {seed}, suite {suite}, {formats:?} handshakes, created by {creator}");
    let mut world = World {
        rng,
        suite,
        formats,
        psks,
        seats: Vec::new(),
        clients: 0,
        epoch: 0,
        extensions: Extensions::new(),
        deeds: Deeds::new(),
        trace: Trace { title, lines: Vec::new() },
    };
    world.create(creator);
    for _ in 0..steps {
        world.step();
    }
    std::mem::take(&mut world.deeds)
}

impl World {
    fn create(&mut self, implementation: Implementation) {
        let Newcomer { implementation, name, private, client } = self.newcomer_of(implementation);
        self.did("creates a group", implementation);
        let member = client.create(GROUP_ID);
        self.seats.push(Seat { implementation, name, private, since: 0, member });
        self.check();
    }

    fn step(&mut self) {
        let members = self.seats.len();
        let step = loop {
            let step = *[
                Step::Add,
                Step::Add,
                Step::Add,
                Step::Remove,
                Step::Path,
                Step::Path,
                Step::Psk,
                Step::Extensions,
                Step::ByReference,
                Step::ByReference,
                Step::ByReference,
                Step::External,
                Step::Resync,
            ]
            .choose(&mut self.rng)
            .unwrap();
            let possible = match step {
                Step::Add | Step::External => members < FULL,
                Step::Remove | Step::Resync => members > 1,
                Step::ByReference => members > 1,
                Step::Path | Step::Psk | Step::Extensions => true,
            };
            if possible {
                break step;
            }
        };
        self.note(format!("epoch {}, {members} members: {step:?}", self.epoch));
        let late = (members > 1 && self.rng.random_ratio(1, 4)).then(|| self.send());
        match step {
            Step::External => self.join_externally(),
            Step::Resync => self.resync(),
            _ => self.change(step),
        }
        self.epoch += 1;
        self.check();
        if let Some(message) = late {
            self.deliver_data(&message);
        }
        if self.seats.len() > 1 && self.rng.random() {
            let mut messages = [self.send(), self.send()];
            if self.rng.random() {
                messages.reverse();
            }
            for message in &messages {
                self.deliver_data(message);
            }
        }
    }

    /// A commit of a member, with whatever goes before it.
    fn change(&mut self, step: Step) {
        let committer = self.rng.random_range(0..self.seats.len());
        let mut proposed = Proposed::default();
        if matches!(step, Step::ByReference) {
            for _ in 0..self.rng.random_range(1..=4) {
                self.propose(committer, &mut proposed);
            }
        }
        let by_reference = !proposed.is_empty();
        let mut changes = Vec::new();
        let by_value = match step {
            Step::ByReference => {
                [Step::Add, Step::Remove, Step::Psk, Step::Path].choose(&mut self.rng).copied()
            }
            step => Some(step),
        };
        self.choose_by_value(by_value.unwrap(), committer, &mut proposed, &mut changes);
        let options = CommitOptions {
            path: (changes.is_empty() && !by_reference) || self.rng.random(),
            tree_in_welcome: self.rng.random(),
            changes,
        };
        self.note(format!(
            "  {} commits {} by value{}{}",
            self.seats[committer].name,
            options.changes.len(),
            if options.path { ", with a path" } else { "" },
            if options.tree_in_welcome { ", the tree in the Welcome" } else { "" },
        ));

        let loser = self.rng.random_range(0..self.seats.len());
        let race = loser != committer && !proposed.touches(loser) && self.rng.random_ratio(1, 5);
        if race {
            self.note(format!("  {} loses the race", self.seats[loser].name));
            self.did("abandons a commit", self.seats[loser].implementation);
            let lost = CommitOptions { path: true, ..CommitOptions::default() };
            self.seats[loser].member.commit(&lost);
        }
        let seat = &mut self.seats[committer];
        let committed = seat.member.commit(&options);
        let (author, private) = (seat.implementation, seat.private);
        self.did_commit(author, &options, by_reference);
        self.sent_handshake(author, private, &committed.commit);
        if race {
            self.seats[loser].member.abandon();
        }

        self.apply(&committed.commit, Some(committer), &proposed.removed);
        assert_eq!(committed.welcome.is_some(), !proposed.newcomers.is_empty());
        if let Some(extensions) = proposed.extensions {
            self.extensions = extensions;
        }
        let tree = (!options.tree_in_welcome).then(|| self.tree());
        for newcomer in proposed.newcomers {
            let Newcomer { implementation, name, private, client } = newcomer;
            self.did(
                if tree.is_none() {
                    "joins by Welcome with the tree"
                } else {
                    "joins by Welcome without the tree"
                },
                implementation,
            );
            self.note(format!("  {name} joins"));
            let member = client.join(committed.welcome.as_deref().unwrap(), tree.as_deref());
            self.seats.push(Seat { implementation, name, private, since: self.epoch + 1, member });
        }
    }

    fn join_externally(&mut self) {
        // Proposals that an external commit overtakes are void.
        if self.seats.len() > 1 && self.rng.random_ratio(1, 3) {
            let proposer = self.rng.random_range(0..self.seats.len());
            self.send_proposal(proposer, &Change::Update);
        }
        let newcomer = self.newcomer();
        let psk = self.rng.random_ratio(1, 2).then(|| self.unused_psk(&mut Proposed::default()));
        self.external_commit(newcomer, None, psk.flatten());
    }

    fn resync(&mut self) {
        let index = self.rng.random_range(0..self.seats.len());
        let Seat { implementation, name, private, member, .. } = self.seats.remove(index);
        let former = member.leaf();
        let client = member.lose();
        self.external_commit(
            Newcomer { implementation, name, private, client },
            Some(former),
            None,
        );
    }

    fn external_commit(&mut self, newcomer: Newcomer, former: Option<u32>, psk: Option<Vec<u8>>) {
        let Newcomer { implementation, name, private, client } = newcomer;
        let tree_inside: bool = self.rng.random();
        let seat = self.seats.choose_mut(&mut self.rng).unwrap();
        let group_info = seat.member.group_info(tree_inside);
        let (helper, helper_name) = (seat.implementation, seat.name.clone());
        self.did("gives a GroupInfo", helper);
        let with_psk = if psk.is_some() { " with a PSK" } else { "" };
        self.note(format!("  {name} joins{with_psk} by a GroupInfo of {helper_name}"));
        self.did(
            match (former, &psk) {
                (Some(_), _) => "resyncs by external commit",
                (None, Some(_)) => "joins by external commit with a PSK",
                (None, None) => "joins by external commit",
            },
            implementation,
        );
        let tree = (!tree_inside).then(|| self.tree());
        let join = ExternalJoin { group_info: &group_info, tree: tree.as_deref(), former, psk };
        let joined = client.join_external(&join);
        Self::sent_external_commit(&joined.commit);
        self.apply(&joined.commit, None, &[]);
        let (since, member) = (self.epoch + 1, joined.member);
        self.seats.push(Seat { implementation, name, private, since, member });
    }

    /// The commit takes effect with everybody; those it removes leave the group.
    fn apply(&mut self, commit: &[u8], committer: Option<usize>, removed: &[usize]) {
        for (index, seat) in self.seats.iter_mut().enumerate() {
            self.trace.lines.push(format!("  the commit takes effect with {}", seat.name));
            if Some(index) == committer {
                seat.member.confirm();
            } else {
                assert_eq!(seat.member.receive(commit), Received::Commit);
            }
            assert_eq!(seat.member.is_active(), !removed.contains(&index));
            self.trace.lines.pop();
        }
        let mut gone = removed.to_vec();
        gone.sort_unstable();
        for index in gone.into_iter().rev() {
            let seat = self.seats.remove(index);
            self.did("is removed", seat.implementation);
        }
    }

    fn tree(&mut self) -> Vec<u8> {
        self.seats.choose(&mut self.rng).unwrap().member.view().tree
    }
}
