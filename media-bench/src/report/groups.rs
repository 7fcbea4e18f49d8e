//! The section on MLS groups.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use mls::CipherSuite;

use super::{Document, Extent, run::Step};
use crate::{
    groups::{FullTree, Implementation, Newborn, Pair},
    measure::{Cost, Effort, Samples, Unit, memory, once, repeated},
};

const P256: CipherSuite = CipherSuite::P256_AES128GCM_SHA256_P256;
const X25519: CipherSuite = CipherSuite::X25519_AES128GCM_SHA256_ED25519;

/// How often something short is repeated for one sample.
const SHORT: u32 = 50;

/// Suites and sizes, and the size of the group that has just been born.
struct Plan {
    groups: Vec<(CipherSuite, u32)>,
    newborns: Vec<(CipherSuite, u32)>,
    rotations: Effort,
    joins: Effort,
}

fn plan(extent: Extent) -> Plan {
    let sizes = |suite, sizes: &[u32]| sizes.iter().map(|n| (suite, *n)).collect::<Vec<_>>();
    let effort = |least, most, seconds| Effort { least, most, time: Duration::from_secs(seconds) };
    match extent {
        Extent::Tiny => Plan {
            groups: [sizes(X25519, &[2]), sizes(P256, &[2, 10])].concat(),
            newborns: sizes(P256, &[10]),
            rotations: effort(1, 1, 0),
            joins: effort(1, 1, 0),
        },
        Extent::Quick => Plan {
            groups: [sizes(X25519, &[2, 1000]), sizes(P256, &[2, 100, 1000])].concat(),
            newborns: sizes(P256, &[1000]),
            rotations: effort(15, 400, 3),
            joins: effort(3, 50, 2),
        },
        Extent::Full => Plan {
            groups: [
                sizes(X25519, &[2, 10, 100, 1000, 5000]),
                sizes(P256, &[2, 10, 100, 1000, 5000, 10_000]),
            ]
            .concat(),
            newborns: [sizes(X25519, &[1000]), sizes(P256, &[1000])].concat(),
            rotations: effort(25, 1000, 12),
            joins: effort(5, 200, 6),
        },
    }
}

/// Who takes part: beyond a few thousand members, one peer on each backend, or the run would take hours.
fn field(members: u32) -> &'static [Implementation] {
    use Implementation::{MlsRsAwsLc, OpenMls, OursAwsLc};
    if members < 5000 { &Implementation::ALL } else { &[OursAwsLc, MlsRsAwsLc, OpenMls] }
}

pub(super) fn steps<'a>(extent: Extent) -> Vec<Step<'a>> {
    let Plan { groups, newborns, rotations, joins } = plan(extent);
    let mut steps = Vec::new();
    for (suite, members) in groups {
        let setting_up =
            Duration::from_millis(u64::from(members) * 5 * (field(members).len() as u64) / 2);
        steps.push(Step {
            name: format!("suite {}, {members} members", suite.0),
            expected: rotations.time + joins.time + setting_up,
            work: Box::new(move |document| {
                let mut tree = FullTree::build(suite, members)?;
                measure_pairs(document, &tree, rotations)?;
                measure_joins(document, &mut tree, joins)
            }),
        });
    }
    for (suite, members) in newborns {
        steps.push(Step {
            name: format!("suite {}, {members} members just added", suite.0),
            expected: joins.time + Duration::from_millis(u64::from(members) * 10),
            work: Box::new(move |document| measure_newborns(document, suite, members, joins)),
        });
    }
    steps
}

/// The samples of each implementation for each operation.
#[derive(Default)]
struct Table(BTreeMap<(&'static str, Implementation), (Samples, Unit)>);

impl Table {
    fn push(&mut self, operation: &'static str, who: Implementation, sample: f64, unit: Unit) {
        let entry = self.0.entry((operation, who));
        entry.or_insert_with(|| (Samples::default(), unit)).0.push(sample);
    }

    fn cpu(&mut self, operation: &'static str, who: Implementation, cost: Cost) {
        self.push(operation, who, cost.cpu, Unit::CpuNs);
    }

    fn wall(&mut self, operation: &'static str, who: Implementation, cost: Cost) {
        self.push(operation, who, cost.wall, Unit::WallNs);
    }

    /// Writes all times, and the ratios of ours to the peers': aws-lc-rs, which is the default, against everybody, and
    /// RustCrypto against those on RustCrypto.
    fn write(&self, document: &mut Document, place: &str) {
        use Implementation::{MlsRsRustCrypto, OpenMls, OursAwsLc, OursRustCrypto};
        let name = |operation, who: Implementation| format!("{place}/{operation}/{}", who.name());
        for ((operation, who), (samples, unit)) in &self.0 {
            document.time(name(operation, *who), samples, *unit);
        }
        for (operation, peer) in self.0.keys() {
            let theirs = name(operation, *peer);
            if Implementation::PEERS.contains(peer) {
                let ratio = format!("{place}/{operation}/vs_{}", peer.name());
                document.ratio(ratio, &name(operation, OursAwsLc), &theirs);
            }
            if [MlsRsRustCrypto, OpenMls].contains(peer) {
                let ratio = format!("{place}/{operation}/rustcrypto_vs_{}", peer.name());
                document.ratio(ratio, &name(operation, OursRustCrypto), &theirs);
            }
        }
    }
}

/// Numbers of which the smallest seen is kept: what varies beyond it is not the operation's.
fn least(document: &mut Document, name: String, count: f64) {
    let known = document.counts.entry(name).or_insert(count);
    *known = known.min(count);
}

fn place(suite: CipherSuite, members: u32) -> String {
    format!("mls/suite{}/n{members}", suite.0)
}

/// Commits, their reception, exports and snapshots.
fn measure_pairs(document: &mut Document, tree: &FullTree, effort: Effort) -> Result<()> {
    let place = place(tree.suite(), tree.members());
    let mut pairs = Vec::new();
    for who in field(tree.members()) {
        pairs.push((*who, Pair::seat(tree, *who)?));
    }
    let mut table = Table::default();
    effort.rounds(|_| {
        for (who, pair) in &mut pairs {
            let who = *who;
            let mut count = |operation: &str, count: f64| {
                least(document, format!("{place}/{operation}/{}", who.name()), count);
            };
            let created = once(|| {
                let commit = pair.committer.commit()?;
                pair.committer.apply()?;
                anyhow::Ok(commit)
            });
            let commit = created.value?;
            table.cpu("commit_apply", who, created.cost);
            count("commit_apply_allocations", as_f64(created.cost.allocations));
            count("commit_bytes", as_f64(commit.len() as u64));
            let received = once(|| pair.receiver.receive(&commit));
            received.value?;
            table.cpu("receive_merge", who, received.cost);
            count("receive_merge_allocations", as_f64(received.cost.allocations));
            pair.check()?;
            table.cpu("export", who, repeated(SHORT, || pair.receiver.export().map(drop))?);
            pair.committer.settle()?;
            pair.receiver.settle()?;
        }
        anyhow::Ok(())
    })?;
    let snapshots = Effort { time: effort.time / 4, ..effort };
    snapshots.rounds(|_| {
        for (who, pair) in &mut pairs {
            let saved = once(|| pair.receiver.save());
            let stored = saved.value?;
            if stored.at_once {
                table.cpu("save", *who, saved.cost);
            }
            let bytes = as_f64(stored.bytes as u64);
            least(document, format!("{place}/snapshot_bytes/{}", who.name()), bytes);
            let loaded = once(|| pair.receiver.load());
            loaded.value?;
            table.cpu("load", *who, loaded.cost);
        }
        anyhow::Ok(())
    })?;
    table.write(document, &place);
    Ok(())
}

/// Joins by Welcome, what they must cost, and the memory that a member holds.
fn measure_joins(document: &mut Document, tree: &mut FullTree, effort: Effort) -> Result<()> {
    let (suite, members) = (tree.suite(), tree.members());
    let place = place(suite, members);
    let (mut table, mut checks) = (Table::default(), Samples::default());
    effort.rounds(|_| {
        for who in field(members).iter().copied() {
            let mut client = who.client(suite, "joiner")?;
            let welcome = tree.invite(&client.key_package()?)?;
            let (joined, held) = memory::held_by(|| once(|| client.join(&welcome)));
            let member = joined.value?;
            table.cpu("join", who, joined.cost);
            table.wall("join_wall", who, joined.cost);
            let mut count = |operation: &str, count: f64| {
                least(document, format!("{place}/{operation}/{}", who.name()), count);
            };
            count("join_allocations", as_f64(joined.cost.allocations));
            count("welcome_bytes", as_f64(welcome.len() as u64));
            if let Some(held) = held {
                count("held_per_member_bytes", as_f64(held) / f64::from(members));
            }
            drop(member);
        }
        checks.push(signature_checks(suite, members)?);
        anyhow::Ok(())
    })?;
    table.write(document, &place);
    let (ours, floor) =
        (format!("{place}/join/ours_awslc"), format!("{place}/join/signature_checks"));
    document.time(floor.clone(), &checks, Unit::CpuNs);
    document.ratio(format!("{place}/join/vs_signature_checks"), &ours, &floor);
    Ok(())
}

/// What verifying as many signatures as a joiner has to costs with aws-lc-rs alone. Each is of another key: where the same
/// one is verified again and again, the processor learns its branches and is faster than any joiner can be.
fn signature_checks(suite: CipherSuite, members: u32) -> Result<f64> {
    const MOST: u32 = 1000;
    // About as long as what a leaf's signature covers.
    let content = [7; 250];
    let rng = SystemRandom::new();
    let algorithm: &'static dyn VerificationAlgorithm = match suite {
        P256 => &ECDSA_P256_SHA256_ASN1,
        _ => &ED25519,
    };
    let sign = |_| {
        anyhow::Ok(if suite == P256 {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
            (key.public_key().as_ref().to_vec(), key.sign(&rng, &content)?.as_ref().to_vec())
        } else {
            let key = Ed25519KeyPair::generate()?;
            (key.public_key().as_ref().to_vec(), key.sign(&content).as_ref().to_vec())
        })
    };
    let signed: Vec<(Vec<u8>, Vec<u8>)> =
        (0..members.min(MOST)).map(sign).collect::<Result<_>>()?;
    let mut each = signed.iter().cycle();
    let check = || match each.next() {
        Some((public, signature)) => {
            UnparsedPublicKey::new(algorithm, public).verify(&content, signature)
        }
        None => Ok(()),
    };
    Ok(repeated(members.min(MOST), check)?.cpu * f64::from(members))
}

/// A commit right after everybody was added at once, when each member's leaf stands alone.
fn measure_newborns(
    document: &mut Document,
    suite: CipherSuite,
    members: u32,
    effort: Effort,
) -> Result<()> {
    let key_packages = Newborn::key_packages(suite, members)?;
    let mut creators = Vec::new();
    for who in Implementation::ALL {
        creators.push((who, Newborn::create(who, suite, &key_packages)?));
    }
    let mut table = Table::default();
    effort.rounds(|_| {
        for (who, Newborn(creator)) in &mut creators {
            let created = once(|| creator.commit());
            created.value?;
            creator.abandon()?;
            table.cpu("commit_blank_tree", *who, created.cost);
            table.wall("commit_blank_tree_wall", *who, created.cost);
        }
        anyhow::Ok(())
    })?;
    table.write(document, &place(suite, members));
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
