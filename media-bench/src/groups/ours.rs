//! This project's `mls`, over either of its backends.

use anyhow::{Context, Result, bail};
use mls::{
    AcceptAnyCredential, CipherSuite, Client, ClientOptions, Group, GroupId, GroupOptions,
    HandshakeFormat, Identity, KeyPackageBundle, PendingCommit, Processed, SnapshotKey,
    crypto::{CryptoProvider, os_rng},
};

use super::{
    member::{Committed, Member, Outsider, Saved},
    now,
};

struct OurClient {
    client: Client,
    bundle: Option<KeyPackageBundle>,
}

struct OurMember {
    group: Group,
    pending: Option<PendingCommit>,
    key: SnapshotKey,
    saved: Vec<u8>,
}

pub(super) fn client(
    provider: &'static CryptoProvider,
    suite: CipherSuite,
    name: &str,
) -> Result<Box<dyn Outsider>> {
    Ok(Box::new(OurClient { client: plain_client(provider, suite, name)?, bundle: None }))
}

/// A client whose handshake messages are PublicMessage, as in a call.
pub(crate) fn plain_client(
    provider: &'static CryptoProvider,
    suite: CipherSuite,
    name: &str,
) -> Result<Client> {
    let suite = provider.suite(suite).context("the backend lacks the suite")?;
    let identity = Identity::basic(name, suite, &mut os_rng())?;
    let mut options = ClientOptions::new(AcceptAnyCredential);
    options.handshake = HandshakeFormat::Public;
    Ok(Client::new(suite, identity, options))
}

fn member(group: Group) -> Box<dyn Member> {
    let key = SnapshotKey::generate(&mut os_rng());
    Box::new(OurMember { group, pending: None, key, saved: Vec::new() })
}

impl Outsider for OurClient {
    fn key_package(&mut self) -> Result<Vec<u8>> {
        let bundle = self.client.key_package(&mut os_rng(), now())?;
        Ok(self.bundle.insert(bundle).message())
    }

    fn create(self: Box<Self>, group_id: &[u8]) -> Result<Box<dyn Member>> {
        let id = GroupId(group_id.to_vec());
        Ok(member(self.client.create_group(id, GroupOptions::default(), &mut os_rng(), now())?))
    }

    fn join(self: Box<Self>, welcome: &[u8]) -> Result<Box<dyn Member>> {
        let staged = self.client.join(welcome, &self.bundle, None, now())?;
        Ok(member(staged.accept()))
    }
}

impl Member for OurMember {
    fn commit(&mut self) -> Result<Vec<u8>> {
        let pending = self.group.commit().build(&mut os_rng(), now())?;
        Ok(self.pending.insert(pending).commit().to_vec())
    }

    fn add(&mut self, key_packages: &[Vec<u8>]) -> Result<Committed> {
        let client = self.group.client().clone();
        let mut commit = self.group.commit();
        for message in key_packages {
            commit = commit.add(client.read_key_package(message, now())?);
        }
        let pending = self.pending.insert(commit.build(&mut os_rng(), now())?);
        let welcome = pending.welcome().map(<[u8]>::to_vec);
        Ok(Committed { commit: pending.commit().to_vec(), welcome })
    }

    fn apply(&mut self) -> Result<()> {
        self.group.confirm(self.pending.take().context("nothing is pending")?)?;
        Ok(())
    }

    fn abandon(&mut self) -> Result<()> {
        drop(self.pending.take().context("nothing is pending")?);
        Ok(())
    }

    fn receive(&mut self, commit: &[u8]) -> Result<()> {
        let Processed::Commit(staged) = self.group.process(commit, now())? else {
            bail!("expected a commit");
        };
        self.group.merge(*staged)?;
        Ok(())
    }

    fn export(&mut self) -> Result<Vec<u8>> {
        Ok(self.group.export("report", b"", 32)?.as_bytes().to_vec())
    }

    fn epoch_authenticator(&self) -> Result<Vec<u8>> {
        Ok(self.group.epoch_authenticator()?.as_bytes().to_vec())
    }

    fn save(&mut self) -> Result<Saved> {
        self.saved = self.group.save(&self.key, &mut os_rng())?;
        Ok(Saved { bytes: self.saved.len(), at_once: true })
    }

    fn load(&self) -> Result<()> {
        std::hint::black_box(self.group.client().restore(&self.saved, &self.key)?);
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}
