//! OpenMLS with its RustCrypto provider and its memory storage.

use anyhow::{Context, Result, anyhow, bail};
use openmls::prelude::{tls_codec::DeserializeBytes as _, *};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

use super::member::{self, Committed, Outsider, Saved};

struct Session {
    suite: Ciphersuite,
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    name: Vec<u8>,
}

struct OpenMlsMember {
    session: Session,
    group: MlsGroup,
}

pub(super) fn client(suite: mls::CipherSuite, name: &str) -> Result<Box<dyn Outsider>> {
    let suite = Ciphersuite::try_from(suite.0).map_err(|_| anyhow!("no such suite"))?;
    let signer = SignatureKeyPair::new(suite.signature_algorithm())
        .map_err(|_| anyhow!("no signature key pair"))?;
    let provider = OpenMlsRustCrypto::default();
    Ok(Box::new(Session { suite, provider, signer, name: name.as_bytes().to_vec() }))
}

impl Session {
    fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.name.clone()).into(),
            signature_key: self.signer.public().into(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(None, Some(&[self.suite]), None, None, None)
    }
}

fn parse(message: &[u8]) -> Result<MlsMessageBodyIn> {
    Ok(MlsMessageIn::tls_deserialize_exact_bytes(message)?.extract())
}

impl Outsider for Session {
    fn key_package(&mut self) -> Result<Vec<u8>> {
        let bundle = KeyPackage::builder().leaf_node_capabilities(self.capabilities()).build(
            self.suite,
            &self.provider,
            &self.signer,
            self.credential(),
        )?;
        Ok(MlsMessageOut::from(bundle.key_package().clone()).to_bytes()?)
    }

    fn create(self: Box<Self>, group_id: &[u8]) -> Result<Box<dyn member::Member>> {
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(group_id))
            .ciphersuite(self.suite)
            .with_capabilities(self.capabilities())
            .with_wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .build(&self.provider, &self.signer, self.credential())?;
        Ok(Box::new(OpenMlsMember { session: *self, group }))
    }

    fn join(self: Box<Self>, welcome: &[u8]) -> Result<Box<dyn member::Member>> {
        let MlsMessageBodyIn::Welcome(welcome) = parse(welcome)? else {
            bail!("expected a Welcome");
        };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .build();
        let group = StagedWelcome::new_from_welcome(&self.provider, &config, welcome, None)?
            .into_group(&self.provider)?;
        Ok(Box::new(OpenMlsMember { session: *self, group }))
    }
}

impl member::Member for OpenMlsMember {
    fn commit(&mut self) -> Result<Vec<u8>> {
        let Session { provider, signer, .. } = &self.session;
        let bundle = self
            .group
            .commit_builder()
            .force_self_update(true)
            .load_psks(provider.storage())?
            .build(provider.rand(), provider.crypto(), signer, |_| true)?
            .stage_commit(provider)?;
        Ok(bundle.commit().to_bytes()?)
    }

    fn add(&mut self, key_packages: &[Vec<u8>]) -> Result<Committed> {
        let Session { provider, signer, .. } = &self.session;
        let mut added = Vec::with_capacity(key_packages.len());
        for message in key_packages {
            let MlsMessageBodyIn::KeyPackage(key_package) = parse(message)? else {
                bail!("expected a key package");
            };
            added.push(key_package.validate(provider.crypto(), ProtocolVersion::Mls10)?);
        }
        let bundle = self
            .group
            .commit_builder()
            .force_self_update(true)
            .propose_adds(added)
            .load_psks(provider.storage())?
            .use_ratchet_tree_extension(true)
            .build(provider.rand(), provider.crypto(), signer, |_| true)?
            .stage_commit(provider)?;
        let welcome = bundle.to_welcome_msg().map(|welcome| welcome.to_bytes()).transpose()?;
        Ok(Committed { commit: bundle.commit().to_bytes()?, welcome })
    }

    fn apply(&mut self) -> Result<()> {
        self.group.merge_pending_commit(&self.session.provider)?;
        Ok(())
    }

    fn abandon(&mut self) -> Result<()> {
        self.group
            .clear_pending_commit(self.session.provider.storage())
            .map_err(|error| anyhow!("{error}"))
    }

    fn receive(&mut self, commit: &[u8]) -> Result<()> {
        let provider = &self.session.provider;
        let message = MlsMessageIn::tls_deserialize_exact_bytes(commit)?;
        let message = message.try_into_protocol_message()?;
        match self.group.process_message(provider, message)?.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                self.group.merge_staged_commit(provider, *staged)?;
                Ok(())
            }
            _ => bail!("expected a commit"),
        }
    }

    fn export(&mut self) -> Result<Vec<u8>> {
        Ok(self.group.export_secret(self.session.provider.crypto(), "report", b"", 32)?)
    }

    fn epoch_authenticator(&self) -> Result<Vec<u8>> {
        Ok(self.group.epoch_authenticator().as_slice().to_vec())
    }

    fn save(&mut self) -> Result<Saved> {
        let stored = self.session.provider.storage().values.read();
        let stored = stored.map_err(|_| anyhow!("the storage is poisoned"))?;
        let bytes = stored.iter().map(|(key, value)| key.len() + value.len()).sum();
        Ok(Saved { bytes, at_once: false })
    }

    fn load(&self) -> Result<()> {
        let storage = self.session.provider.storage();
        let loaded = MlsGroup::load(storage, self.group.group_id());
        let loaded = loaded.map_err(|error| anyhow!("{error}"))?;
        std::hint::black_box(loaded.context("nothing was stored")?);
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}
