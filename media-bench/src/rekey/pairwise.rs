//! Messages that are encrypted once for each receiver.

use anyhow::{Context, Result, ensure};
use mls::crypto::{Secret, Suite, os_rng};

use super::{MESSAGE, Row, suite};
use crate::measure::once;

/// A direction of a session: each message has a key of its own, of which the next cannot be guessed backwards.
struct Chain(Secret);

impl Chain {
    fn next(&mut self, suite: &Suite) -> Result<(Secret, [u8; 12])> {
        let key = suite.derive_tree_secret(&self.0, "key", 0, suite.aead.key_length())?;
        let nonce = suite.derive_tree_secret(&self.0, "nonce", 0, suite.aead.nonce_length())?;
        self.0 = suite.derive_secret(&self.0, "secret")?;
        Ok((key, *nonce.as_bytes().first_chunk().context("a nonce of 12 bytes")?))
    }
}

/// The sessions of one sender with all others.
pub struct Pairwise {
    suite: &'static Suite,
    sending: Vec<Chain>,
    receiving: Vec<Chain>,
}

impl Pairwise {
    /// A sender in a group of `members`.
    ///
    /// # Errors
    /// When the backend lacks the suite.
    pub fn new(members: u32) -> Result<Self> {
        let suite = suite()?;
        let (mut sending, mut receiving) = (Vec::new(), Vec::new());
        for _ in 1..members {
            let root = Secret::random(suite.hash_length(), &mut os_rng());
            sending.push(Chain(root.duplicate()));
            receiving.push(Chain(root));
        }
        Ok(Self { suite, sending, receiving })
    }

    /// The sender says the same to everybody. All of it is carried out.
    ///
    /// # Errors
    /// When it does not arrive.
    pub fn message(&mut self) -> Result<Row> {
        let Self { suite, sending, receiving } = self;
        let plain = vec![7; MESSAGE];
        let sent = once(|| {
            let each = sending.iter_mut().map(|chain| {
                let (key, nonce) = chain.next(suite)?;
                Ok(suite.aead.seal(key.as_bytes(), &nonce, b"", &plain)?)
            });
            each.collect::<Result<Vec<_>>>()
        });
        let messages = sent.value?;
        let opened = once(|| {
            receiving.iter_mut().zip(&messages).try_for_each(|(chain, message)| {
                let (key, nonce) = chain.next(suite)?;
                let opened = suite.aead.open(key.as_bytes(), &nonce, b"", message)?;
                ensure!(opened == plain, "another message arrived");
                anyhow::Ok(())
            })
        });
        opened.value?;
        let members = u32::try_from(messages.len())? + 1;
        let bytes = f64::from(u32::try_from(messages.iter().map(Vec::len).sum::<usize>())?);
        Ok(Row {
            scheme: "pairwise".to_owned(),
            event: "message".to_owned(),
            members,
            operations: 2.0 * f64::from(members - 1),
            bytes_sent: bytes,
            bytes_received: bytes,
            cpu_ns: sent.cost.cpu + opened.cost.cpu,
            cpu_ns_busiest: sent.cost.cpu,
            measured: "all of it".to_owned(),
        })
    }

    /// The same message under one key that everybody has, as with MLS and with sender keys: sealed once, opened by each. One
    /// opening is carried out.
    ///
    /// # Errors
    /// When it does not arrive.
    pub fn shared_key_message(&self, scheme: &str) -> Result<Row> {
        let suite = self.suite;
        let (key, nonce, plain) = ([7; 16], [7; 12], vec![7; MESSAGE]);
        let sent = once(|| suite.aead.seal(&key, &nonce, b"", &plain));
        let message = sent.value?;
        let opened = once(|| suite.aead.open(&key, &nonce, b"", &message));
        ensure!(opened.value? == plain, "another message arrived");
        let receivers = u32::try_from(self.receiving.len())?;
        let others = f64::from(receivers);
        let bytes = f64::from(u32::try_from(message.len())?);
        Ok(Row {
            scheme: scheme.to_owned(),
            event: "message".to_owned(),
            members: receivers + 1,
            operations: 1.0 + others,
            bytes_sent: bytes,
            bytes_received: bytes * others,
            cpu_ns: sent.cost.cpu + opened.cost.cpu * others,
            cpu_ns_busiest: sent.cost.cpu,
            measured: "sealing, and opening by one member".to_owned(),
        })
    }
}
