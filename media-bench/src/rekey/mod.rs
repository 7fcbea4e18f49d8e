//! What it takes to give a whole group new keys, and to send it a message, in three ways.
//!
//! - **MLS**: one member commits, everybody else follows.
//! - **Sender keys**, as conference products distribute them: each member makes a key of its own and sends it to each other
//!   member, encrypted to that member by HPKE. When somebody leaves, everybody does so. The key travels unsigned, though
//!   products authenticate it: that flatters them.
//! - **Pairwise** encryption: there is no key of the group. Each message is encrypted once for each receiver, in a session with
//!   a key chain for each direction. Nothing is to be done when somebody leaves; every message pays.

mod pairwise;
mod sender_keys;

pub use pairwise::Pairwise;
pub use sender_keys::SenderKeys;

use anyhow::Result;
use mls::{CipherSuite, crypto::Suite};
use serde::{Deserialize, Serialize};

use crate::{
    groups::{FullTree, Implementation, Pair},
    measure::{Effort, Samples, Unit, once},
};

/// The suite of all three ways: that of today's products, X25519 and AES-128-GCM.
pub const SUITE: CipherSuite = CipherSuite::X25519_AES128GCM_SHA256_ED25519;
/// Bytes of the message that is sent to everybody.
pub const MESSAGE: usize = 1_200;

/// The cost of one event in a group of one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `mls`, `sender_keys` or `pairwise`.
    pub scheme: String,
    /// `rekey`, or `message`: of 1200 bytes from one to all.
    pub event: String,
    /// Members of the group.
    pub members: u32,
    /// Encryptions and decryptions to or with somebody's key, everybody's taken together: HPKE for `rekey`, the message's
    /// cipher for `message`.
    pub operations: f64,
    /// Bytes that the members send.
    pub bytes_sent: f64,
    /// Bytes that the members receive, with a server that fans out where one message is for all.
    pub bytes_received: f64,
    /// CPU nanoseconds, everybody's taken together.
    pub cpu_ns: f64,
    /// CPU nanoseconds of the member that has most to do.
    pub cpu_ns_busiest: f64,
    /// Which part of it was carried out; the rest is that part multiplied.
    pub measured: String,
}

fn suite() -> Result<&'static Suite> {
    let suite = mls::crypto::AWS_LC_RS.suite(SUITE);
    suite.ok_or_else(|| anyhow::anyhow!("the backend lacks the suite"))
}

/// A commit in a full tree and its reception at the far end.
///
/// # Errors
/// When a member refuses.
pub fn mls(members: u32, effort: Effort) -> Result<Row> {
    let tree = FullTree::build(SUITE, members)?;
    let mut pair = Pair::seat(&tree, Implementation::OursAwsLc)?;
    let (mut created, mut received) = (Samples::default(), Samples::default());
    let mut bytes = 0;
    effort.rounds(|_| {
        let commit = once(|| {
            let commit = pair.committer.commit()?;
            pair.committer.apply()?;
            anyhow::Ok(commit)
        });
        let message = commit.value?;
        created.push(commit.cost.cpu);
        bytes = message.len();
        let processed = once(|| pair.receiver.receive(&message));
        processed.value?;
        received.push(processed.cost.cpu);
        pair.check()
    })?;
    let median = |samples: &Samples| samples.figure(Unit::CpuNs).map_or(0.0, |it| it.median);
    let (created, received) = (median(&created), median(&received));
    let others = f64::from(members - 1);
    let bytes = f64::from(u32::try_from(bytes)?);
    // One encryption for each node of the copath, one decryption for each other member.
    let depth = f64::from(members.next_power_of_two().trailing_zeros());
    Ok(Row {
        scheme: "mls".to_owned(),
        event: "rekey".to_owned(),
        members,
        operations: depth + others,
        bytes_sent: bytes,
        bytes_received: bytes * others,
        cpu_ns: created + received * others,
        cpu_ns_busiest: created.max(received),
        measured: "the commit, and its reception by one of the farthest members".to_owned(),
    })
}
