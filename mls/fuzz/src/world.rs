//! The group that is attacked. It is the same in every run: all randomness comes from one seed.

use std::sync::{Arc, LazyLock};

use mls::{
    AcceptAnyCredential, Client, ClientOptions, Group, GroupId, GroupInfoOptions, GroupOptions,
    HandshakeFormat, Identity, KeyPackageBundle, MemoryPskStore, Processed, PublicGroup,
    PublicGroupOptions, SignatureKeyPair, SnapshotKey, UnixTime,
    crypto::{self, SigningKey, Suite},
    schedule::{MembershipKey, Psk},
    wire::{
        CipherSuite, Credential, Extension, ExtensionType, Extensions, ExternalSender,
        ExternalSenders, LeafIndex, ProposalType,
    },
};
use rand::{SeedableRng, rngs::StdRng};

use super::glass;

pub const NOW: UnixTime = UnixTime(1_800_000_000);

/// An extension and a proposal of the application that everybody supports.
pub const EXTENSION: ExtensionType = ExtensionType(0xff01);
pub const PROPOSAL: ProposalType = ProposalType(0xff02);

/// The name of an external PSK that everybody has, and of one that only the attacker has.
pub const SHARED_PSK: &[u8] = b"shared";
pub const ATTACKERS_PSK: &[u8] = b"attacker's";

/// The suite of all targets, made of glass.
pub fn suite() -> &'static Suite {
    static SUITE: LazyLock<&'static Suite> = LazyLock::new(|| {
        let suite = CipherSuite::X25519_AES128GCM_SHA256_ED25519;
        glass::glass(crypto::default_provider().suite(suite).unwrap(), None)
    });
    *SUITE
}

/// Somebody, with the keys that the forger needs.
pub struct Person {
    pub client: Client,
    pub signer: Box<dyn SigningKey>,
}

impl Person {
    fn new(name: &str, store: &Arc<MemoryPskStore>, rng: &mut StdRng) -> Self {
        let keys = SignatureKeyPair::generate(suite(), rng).unwrap();
        let signer =
            suite().signature.signing_key(keys.export_private().unwrap().as_bytes()).unwrap();
        let mut options = ClientOptions::new(AcceptAnyCredential);
        options.handshake = HandshakeFormat::Public;
        options.psks = Arc::<MemoryPskStore>::clone(store);
        options.max_proposals = 16;
        options.capabilities.extensions.push(EXTENSION);
        options.capabilities.proposals.extend([PROPOSAL, ProposalType::SELF_REMOVE]);
        let identity = Identity::new(Credential::basic(name), keys);
        Self { client: Client::new(suite(), identity, options), signer }
    }
}

/// Somebody who is not in the group, and the key package that the group may add.
pub struct Outsider {
    pub person: Person,
    pub bundle: KeyPackageBundle,
}

/// A member who must not be harmed.
pub struct Victim {
    pub group: Group,
    /// What it is put back to after each run.
    pub saved: Vec<u8>,
}

impl Victim {
    /// Another copy of the victim as it was at the beginning.
    pub fn fresh(&self) -> Group {
        self.group.client().restore(&self.saved, &snapshot_key()).unwrap()
    }

    pub fn reset(&mut self) {
        self.group = self.fresh();
    }
}

/// Leaves 0 and 4 are victims, 1 and 2 belong to the attacker, 3 is blank, 5 has never committed.
pub struct World {
    pub rng: StdRng,
    pub attacker: Victim,
    pub people: Vec<Person>,
    pub victims: Vec<Victim>,
    pub outsiders: Vec<Outsider>,
    pub external: Box<dyn SigningKey>,
    pub service: PublicGroup,
    pub group_info: Vec<u8>,
    pub membership_key: MembershipKey,
}

pub const ATTACKER: LeafIndex = LeafIndex(1);

pub fn snapshot_key() -> SnapshotKey {
    SnapshotKey::new(&[7; SnapshotKey::LENGTH])
}

/// The state of a member, comparable: the randomness of the encryption is fixed.
pub fn state(group: &Group) -> Vec<u8> {
    group.save(&snapshot_key(), &mut StdRng::seed_from_u64(0)).unwrap()
}

pub fn service_options() -> PublicGroupOptions {
    PublicGroupOptions::new(AcceptAnyCredential)
}

fn commit_by(groups: &mut [Group], committer: usize, rng: &mut StdRng) {
    let pending = groups[committer].commit().build(rng, NOW).unwrap();
    let commit = pending.commit().to_vec();
    for (index, group) in groups.iter_mut().enumerate() {
        if index != committer && group.is_active() {
            let Processed::Commit(staged) = group.process(&commit, NOW).unwrap() else {
                panic!("expected a commit")
            };
            group.merge(*staged).unwrap();
        }
    }
    groups[committer].confirm(pending).unwrap();
}

impl World {
    pub fn new() -> Self {
        glass::record();
        let mut seeded = StdRng::seed_from_u64(9420);
        let rng = &mut seeded;
        let (shared, attackers) =
            (Arc::new(MemoryPskStore::new()), Arc::new(MemoryPskStore::new()));
        for store in [&shared, &attackers] {
            store.insert(SHARED_PSK, Psk::from_slice(&[1; 32]));
        }
        attackers.insert(ATTACKERS_PSK, Psk::from_slice(&[2; 32]));
        let people: Vec<Person> = (0..6)
            .map(|leaf| {
                let store = if leaf == 1 { &attackers } else { &shared };
                Person::new(&format!("member {leaf}"), store, rng)
            })
            .collect();
        let external = SignatureKeyPair::generate(suite(), rng).unwrap();
        let sender = ExternalSender {
            signature_key: external.public(),
            credential: Credential::basic("external sender"),
        };
        let extensions = Extensions::from_iter([
            Extension::new(ExtensionType::EXTERNAL_SENDERS, &ExternalSenders(vec![sender])),
            Extension { extension_type: EXTENSION, data: vec![1] },
        ]);
        let options = GroupOptions { extensions, ..GroupOptions::default() };
        let id = GroupId(b"fuzz".to_vec());
        let mut first = people[0].client.create_group(id, options, rng, NOW).unwrap();
        let bundles: Vec<_> =
            people[1..].iter().map(|person| person.client.key_package(rng, NOW).unwrap()).collect();
        let mut builder = first.commit();
        for bundle in &bundles {
            builder = builder.add(bundle.key_package().clone());
        }
        let pending = builder.build(rng, NOW).unwrap();
        let welcome = pending.welcome().unwrap().to_vec();
        first.confirm(pending).unwrap();
        let mut groups = vec![first];
        for (person, bundle) in people[1..].iter().zip(&bundles) {
            groups.push(person.client.join(&welcome, [bundle], None, NOW).unwrap().accept());
        }
        for committer in [0, 1, 2, 4] {
            commit_by(&mut groups, committer, rng);
        }
        let removal = groups[5].propose_remove(LeafIndex(3), rng).unwrap().message;
        for group in &mut groups[..5] {
            let _ = group.process(&removal, NOW).unwrap();
        }
        commit_by(&mut groups, 1, rng);

        let group_info = groups[0].group_info(GroupInfoOptions::default()).unwrap();
        let service = PublicGroup::new(suite(), &group_info, None, service_options(), NOW).unwrap();
        // The last MAC of a proposal is its membership tag.
        let _ = groups[1].propose_update(rng).unwrap();
        let membership_key = MembershipKey::from_slice(&glass::last_mac().0);
        groups[1].clear_proposals();
        let outsiders = (0..4)
            .map(|index| {
                let person = Person::new(&format!("outsider {index}"), &shared, rng);
                let bundle = person.client.key_package(rng, NOW).unwrap();
                Outsider { person, bundle }
            })
            .collect();
        let mut victims = groups.into_iter().map(|group| {
            let saved = state(&group);
            let mut victim = Victim { group, saved };
            // A restored group differs from a fresh one by its flag only; all runs begin alike.
            victim.reset();
            victim
        });
        let (zero, attacker) = (victims.next().unwrap(), victims.next().unwrap());
        let four = victims.nth(2).unwrap();
        let external =
            suite().signature.signing_key(external.export_private().unwrap().as_bytes()).unwrap();
        Self {
            rng: seeded,
            attacker,
            people,
            victims: vec![zero, four],
            outsiders,
            external,
            service,
            group_info,
            membership_key,
        }
    }
}
