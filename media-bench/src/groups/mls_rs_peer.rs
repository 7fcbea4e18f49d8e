//! mls-rs over either of its providers.

use anyhow::{Context, Result, bail};
use mls::CipherSuite;
use mls_rs::{
    CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, GroupStateStorage,
    MlsMessage,
    client_builder::{ClientBuilder, MlsConfig},
    group::ReceivedMessage,
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{CommitOptions, DefaultMlsRules},
    storage_provider::in_memory::InMemoryGroupStateStorage,
};

use super::member::{Committed, Member, Outsider, Saved};

struct MlsRsClient<C: MlsConfig> {
    client: Client<C>,
    storage: InMemoryGroupStateStorage,
}

struct MlsRsMember<C: MlsConfig> {
    client: Client<C>,
    storage: InMemoryGroupStateStorage,
    group: Group<C>,
}

pub(super) fn client<P>(crypto: P, suite: CipherSuite, name: &str) -> Result<Box<dyn Outsider>>
where
    P: CryptoProvider + Clone + 'static,
{
    let suite = mls_rs::CipherSuite::new(suite.0);
    let provider = crypto.cipher_suite_provider(suite).context("the backend lacks the suite")?;
    let (secret, public) =
        provider.signature_key_generate().ok().context("no signature key pair")?;
    let credential = BasicCredential::new(name.as_bytes().to_vec()).into_credential();
    let storage = InMemoryGroupStateStorage::new();
    let options = CommitOptions::new().with_path_required(true).with_ratchet_tree_extension(true);
    let client = ClientBuilder::new()
        .crypto_provider(crypto)
        .identity_provider(BasicIdentityProvider::new())
        .group_state_storage(storage.clone())
        .mls_rules(DefaultMlsRules::new().with_commit_options(options))
        .signing_identity(SigningIdentity::new(credential, public), secret, suite)
        .build();
    Ok(Box::new(MlsRsClient { client, storage }))
}

impl<C: MlsConfig + 'static> MlsRsClient<C> {
    fn member(self, group: Group<C>) -> Box<dyn Member> {
        Box::new(MlsRsMember { client: self.client, storage: self.storage, group })
    }
}

impl<C: MlsConfig + 'static> Outsider for MlsRsClient<C> {
    fn key_package(&mut self) -> Result<Vec<u8>> {
        let (package, leaf) = (ExtensionList::new(), ExtensionList::new());
        Ok(self.client.generate_key_package_message(package, leaf, None)?.to_bytes()?)
    }

    fn create(self: Box<Self>, group_id: &[u8]) -> Result<Box<dyn Member>> {
        let (context, leaf) = (ExtensionList::new(), ExtensionList::new());
        let group = self.client.create_group_with_id(group_id.to_vec(), context, leaf, None)?;
        Ok(self.member(group))
    }

    fn join(self: Box<Self>, welcome: &[u8]) -> Result<Box<dyn Member>> {
        let welcome = MlsMessage::from_bytes(welcome)?;
        let (group, _) = self.client.join_group(None, &welcome, None)?;
        Ok(self.member(group))
    }
}

impl<C: MlsConfig> Member for MlsRsMember<C> {
    fn commit(&mut self) -> Result<Vec<u8>> {
        Ok(self.group.commit(Vec::new())?.commit_message().to_bytes()?)
    }

    fn add(&mut self, key_packages: &[Vec<u8>]) -> Result<Committed> {
        let mut builder = self.group.commit_builder();
        for message in key_packages {
            builder = builder.add_member(MlsMessage::from_bytes(message)?)?;
        }
        let output = builder.build()?;
        let welcome = output.welcome_messages().first().map(MlsMessage::to_bytes).transpose()?;
        Ok(Committed { commit: output.commit_message().to_bytes()?, welcome })
    }

    fn apply(&mut self) -> Result<()> {
        self.group.apply_pending_commit()?;
        Ok(())
    }

    fn abandon(&mut self) -> Result<()> {
        self.group.clear_pending_commit();
        Ok(())
    }

    fn receive(&mut self, commit: &[u8]) -> Result<()> {
        let message = MlsMessage::from_bytes(commit)?;
        match self.group.process_incoming_message(message)? {
            ReceivedMessage::Commit(_) => Ok(()),
            _ => bail!("expected a commit"),
        }
    }

    fn export(&mut self) -> Result<Vec<u8>> {
        Ok(self.group.export_secret(b"report", b"", 32)?.as_bytes().to_vec())
    }

    fn epoch_authenticator(&self) -> Result<Vec<u8>> {
        Ok(self.group.epoch_authenticator()?.as_bytes().to_vec())
    }

    fn save(&mut self) -> Result<Saved> {
        self.group.write_to_storage()?;
        let stored = self.storage.state(self.group.group_id())?.context("nothing was stored")?;
        Ok(Saved { bytes: stored.len(), at_once: true })
    }

    fn load(&self) -> Result<()> {
        std::hint::black_box(self.client.load_group(self.group.group_id())?);
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.group.write_to_storage()?;
        Ok(())
    }
}
