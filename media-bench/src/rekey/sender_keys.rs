//! Sender keys, distributed pairwise over HPKE.

use anyhow::{Context, Result, ensure};
use mls::{
    codec::Encode,
    crypto::{KemPrivateKey, KemPublicKey, Secret, Suite, os_rng},
    wire::HpkeCiphertext,
};

use super::{Row, suite};
use crate::measure::once;

/// What an AES-128 sender key has: the key itself and the chain key that the next ones come from.
const KEY_LENGTH: usize = 32;
const INFO: &[u8] = b"sender key";

/// A group whose members know each other's public keys.
pub struct SenderKeys {
    suite: &'static Suite,
    members: Vec<Member>,
}

struct Member {
    private: Box<dyn KemPrivateKey>,
    public: Box<dyn KemPublicKey>,
}

/// A sender key on its way to one member.
struct Distributed {
    sender: u32,
    receiver: u32,
    epoch: u64,
    sealed: HpkeCiphertext,
}

impl Distributed {
    fn authenticated(sender: u32, receiver: u32, epoch: u64) -> [u8; 16] {
        let words = u128::from(sender) << 96 | u128::from(receiver) << 64 | u128::from(epoch);
        words.to_be_bytes()
    }

    fn length(&self) -> usize {
        let names = Self::authenticated(self.sender, self.receiver, self.epoch);
        names.len() + self.sealed.to_bytes().len()
    }
}

/// What a member's share of a rekey cost.
struct Share {
    cpu: f64,
    bytes: usize,
    messages: u32,
}

impl SenderKeys {
    /// A group of `members`.
    ///
    /// # Errors
    /// When the backend lacks the suite.
    pub fn new(members: u32) -> Result<Self> {
        let suite = suite()?;
        let member = |_| {
            let private = suite.kem.generate(&mut os_rng())?;
            let public = suite.kem.public_key(private.public())?;
            anyhow::Ok(Member { private, public })
        };
        Ok(Self { suite, members: (0..members).map(member).collect::<Result<_>>()? })
    }

    /// Everybody gets a new key to everybody. Of so many members at most the share is carried out, each sending to and receiving
    /// from all others; the shares are alike.
    ///
    /// # Errors
    /// When a key does not arrive.
    pub fn rekey(&self, shares: u32) -> Result<Row> {
        let members = u32::try_from(self.members.len())?;
        let done = shares.clamp(1, members);
        let (mut cpu, mut busiest, mut bytes, mut messages) = (0.0, 0.0_f64, 0, 0);
        for sender in 0..done {
            let share = self.share(sender, members)?;
            cpu += share.cpu;
            busiest = busiest.max(share.cpu);
            bytes += share.bytes;
            messages += share.messages;
        }
        let scale = f64::from(members) / f64::from(done);
        let bytes = f64::from(u32::try_from(bytes)?) * scale;
        Ok(Row {
            scheme: "sender_keys".to_owned(),
            event: "rekey".to_owned(),
            members,
            operations: 2.0 * f64::from(messages) * scale,
            bytes_sent: bytes,
            bytes_received: bytes,
            cpu_ns: cpu * scale,
            cpu_ns_busiest: busiest,
            measured: format!("the shares of {done} of {members} members"),
        })
    }

    /// One member sends its key to all others. As many keys reach each member as it sends, so the cost of opening these
    /// stands for that of opening the others'.
    fn share(&self, sender: u32, members: u32) -> Result<Share> {
        let receivers = || (0..members).filter(|receiver| *receiver != sender);
        let sent = once(|| {
            let key = Secret::random(KEY_LENGTH, &mut os_rng());
            let sealed = receivers().map(|receiver| self.seal(sender, receiver, &key));
            anyhow::Ok((sealed.collect::<Result<Vec<_>>>()?, key))
        });
        let (distributed, key) = sent.value?;
        let opened = once(|| {
            distributed.iter().try_for_each(|message| {
                ensure!(self.open(message)? == key, "another key arrived");
                Ok(())
            })
        });
        opened.value?;
        Ok(Share {
            cpu: sent.cost.cpu + opened.cost.cpu,
            bytes: distributed.iter().map(Distributed::length).sum(),
            messages: u32::try_from(distributed.len())?,
        })
    }

    fn seal(&self, sender: u32, receiver: u32, key: &Secret) -> Result<Distributed> {
        let epoch = 1;
        let aad = Distributed::authenticated(sender, receiver, epoch);
        let public = &self.member(receiver)?.public;
        let sealed = self.suite.hpke_seal(&**public, INFO, &aad, key.as_bytes(), &mut os_rng())?;
        Ok(Distributed { sender, receiver, epoch, sealed })
    }

    fn open(&self, message: &Distributed) -> Result<Secret> {
        let aad = Distributed::authenticated(message.sender, message.receiver, message.epoch);
        let private = &self.member(message.receiver)?.private;
        Ok(self.suite.hpke_open(&**private, INFO, &aad, &message.sealed)?)
    }

    fn member(&self, index: u32) -> Result<&Member> {
        self.members.get(index as usize).context("no such member")
    }
}
