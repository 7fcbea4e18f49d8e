//! mls-rs with its RustCrypto provider.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, Extension, ExtensionList, Group,
    MlsMessage, MlsRules,
    client_builder::{ClientBuilder, MlsConfig, PaddingMode},
    extension::ExtensionType,
    group::{CommitEffect, ExportedTree, GroupContext, ReceivedMessage, Roster},
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rs_codec::MlsEncode,
    mls_rules::{CommitDirection, CommitSource, EncryptionOptions, ProposalBundle},
    psk::{ExternalPskId, PreSharedKey},
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use super::member::{
    self, Change, CommitOptions, Committed, EXPORT_CONTEXT, EXPORT_LABEL, EXPORT_LENGTH, EXTENSION,
    ExternalJoin, JoinedExternally, Listed, Member, Outsider, Profile, Received, View,
};

/// mls-rs asks its rules how to commit, at each commit.
#[derive(Clone)]
struct Rules {
    private: bool,
    padding: PaddingMode,
    path: Arc<AtomicBool>,
    tree_in_welcome: Arc<AtomicBool>,
}

impl MlsRules for Rules {
    type Error = Infallible;

    fn filter_proposals(
        &self,
        _: CommitDirection,
        _: CommitSource,
        _: &Roster<'_>,
        _: &GroupContext,
        proposals: ProposalBundle,
    ) -> Result<ProposalBundle, Infallible> {
        Ok(proposals)
    }

    fn commit_options(
        &self,
        _: &Roster<'_>,
        _: &GroupContext,
        _: &ProposalBundle,
    ) -> Result<mls_rs::mls_rules::CommitOptions, Infallible> {
        Ok(mls_rs::mls_rules::CommitOptions::new()
            .with_path_required(self.path.load(Ordering::Relaxed))
            .with_ratchet_tree_extension(self.tree_in_welcome.load(Ordering::Relaxed)))
    }

    fn encryption_options(
        &self,
        _: &Roster<'_>,
        _: &GroupContext,
    ) -> Result<EncryptionOptions, Infallible> {
        Ok(EncryptionOptions::new(self.private, self.padding))
    }
}

struct MlsRsClient<C: MlsConfig> {
    client: Client<C>,
    rules: Rules,
}

struct MlsRsMember<C: MlsConfig> {
    client: Client<C>,
    rules: Rules,
    group: Group<C>,
    active: bool,
}

pub(crate) fn outsider(profile: Profile) -> Box<dyn Outsider> {
    let suite = CipherSuite::new(profile.suite);
    let crypto = RustCryptoProvider::new();
    let (secret, public) =
        crypto.cipher_suite_provider(suite).unwrap().signature_key_generate().unwrap();
    let credential = BasicCredential::new(profile.name.into_bytes()).into_credential();
    let rules = Rules {
        private: profile.private,
        padding: if profile.padded { PaddingMode::StepFunction } else { PaddingMode::None },
        path: Arc::default(),
        tree_in_welcome: Arc::default(),
    };
    let mut builder = ClientBuilder::new()
        .crypto_provider(crypto)
        .identity_provider(BasicIdentityProvider::new())
        .mls_rules(rules.clone())
        .extension_type(ExtensionType::new(EXTENSION))
        .signing_identity(SigningIdentity::new(credential, public), secret, suite);
    for (id, psk) in profile.psks {
        builder = builder.psk(ExternalPskId::new(id), PreSharedKey::new(psk.to_vec()));
    }
    Box::new(MlsRsClient { client: builder.build(), rules })
}

impl<C: MlsConfig + 'static> MlsRsClient<C> {
    fn member(self, group: Group<C>) -> Box<MlsRsMember<C>> {
        Box::new(MlsRsMember { client: self.client, rules: self.rules, group, active: true })
    }
}

fn parse(message: &[u8]) -> MlsMessage {
    MlsMessage::from_bytes(message).unwrap()
}

fn ratchet_tree(bytes: &[u8]) -> ExportedTree<'static> {
    ExportedTree::from_bytes(bytes).unwrap()
}

fn extensions(content: &member::Extensions) -> ExtensionList {
    content
        .iter()
        .map(|(kind, data)| Extension::new(ExtensionType::new(*kind), data.clone()))
        .collect::<Vec<_>>()
        .into()
}

impl<C: MlsConfig + 'static> Outsider for MlsRsClient<C> {
    fn key_package(&mut self) -> Vec<u8> {
        self.client
            .generate_key_package_message(ExtensionList::new(), ExtensionList::new(), None)
            .unwrap()
            .to_bytes()
            .unwrap()
    }

    fn create(self: Box<Self>, group_id: &[u8]) -> Box<dyn Member> {
        let (context, leaf) = (ExtensionList::new(), ExtensionList::new());
        let group =
            self.client.create_group_with_id(group_id.to_vec(), context, leaf, None).unwrap();
        self.member(group)
    }

    fn join(self: Box<Self>, welcome: &[u8], tree: Option<&[u8]>) -> Box<dyn Member> {
        let tree = tree.map(ratchet_tree);
        let (group, _) = self.client.join_group(tree, &parse(welcome), None).unwrap();
        self.member(group)
    }

    fn join_external(self: Box<Self>, join: &ExternalJoin<'_>) -> JoinedExternally {
        let mut builder = self.client.external_commit_builder().unwrap();
        if let Some(tree) = join.tree {
            builder = builder.with_tree_data(ratchet_tree(tree));
        }
        if let Some(former) = join.former {
            builder = builder.with_removal(former);
        }
        if let Some(id) = &join.psk {
            builder = builder.with_external_psk(ExternalPskId::new(id.clone()));
        }
        let (group, commit) = builder.build(parse(join.group_info)).unwrap();
        JoinedExternally { member: self.member(group), commit: commit.to_bytes().unwrap() }
    }
}

impl<C: MlsConfig + 'static> Member for MlsRsMember<C> {
    fn leaf(&self) -> u32 {
        self.group.current_member_index()
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn propose(&mut self, change: &Change) -> Vec<u8> {
        let group = &mut self.group;
        let message = match change {
            Change::Add(message) => group.propose_add(parse(message), Vec::new()),
            Change::Remove(leaf) => group.propose_remove(*leaf, Vec::new()),
            Change::Update => group.propose_update(Vec::new()),
            Change::Psk(id) => {
                group.propose_external_psk(ExternalPskId::new(id.clone()), Vec::new())
            }
            Change::Extensions(content) => {
                group.propose_group_context_extensions(extensions(content), Vec::new())
            }
        };
        message.unwrap().to_bytes().unwrap()
    }

    fn commit(&mut self, options: &CommitOptions) -> Committed {
        self.rules.path.store(options.path, Ordering::Relaxed);
        self.rules.tree_in_welcome.store(options.tree_in_welcome, Ordering::Relaxed);
        let mut builder = self.group.commit_builder();
        for change in &options.changes {
            builder = match change {
                Change::Add(message) => builder.add_member(parse(message)),
                Change::Remove(leaf) => builder.remove_member(*leaf),
                Change::Update => panic!("an update is never committed by value"),
                Change::Psk(id) => builder.add_external_psk(ExternalPskId::new(id.clone())),
                Change::Extensions(content) => builder.set_group_context_ext(extensions(content)),
            }
            .unwrap();
        }
        let output = builder.build().unwrap();
        let mut welcomes = output.welcome_messages().iter();
        let welcome = welcomes.next().map(|welcome| welcome.to_bytes().unwrap());
        assert!(welcomes.next().is_none(), "one Welcome serves all");
        Committed { commit: output.commit_message().to_bytes().unwrap(), welcome }
    }

    fn confirm(&mut self) {
        self.group.apply_pending_commit().unwrap();
    }

    fn abandon(&mut self) {
        self.group.clear_pending_commit();
    }

    fn receive(&mut self, message: &[u8]) -> Received {
        match self.group.process_incoming_message(parse(message)).unwrap() {
            ReceivedMessage::Proposal(_) => Received::Proposal,
            ReceivedMessage::Commit(commit) => {
                self.active = !matches!(commit.effect, CommitEffect::Removed { .. });
                Received::Commit
            }
            ReceivedMessage::ApplicationMessage(message) => Received::Data {
                sender: message.sender_index,
                data: message.data().to_vec(),
                authenticated_data: message.authenticated_data,
            },
            other => panic!("expected a proposal, a commit or data, got {other:?}"),
        }
    }

    fn protect(&mut self, data: &[u8], authenticated_data: &[u8]) -> Vec<u8> {
        self.group
            .encrypt_application_message(data, authenticated_data.to_vec())
            .unwrap()
            .to_bytes()
            .unwrap()
    }

    fn group_info(&mut self, tree: bool) -> Vec<u8> {
        self.group.group_info_message_allowing_ext_commit(tree).unwrap().to_bytes().unwrap()
    }

    fn view(&self) -> View {
        let group = &self.group;
        let listed = |member: mls_rs::group::Member| Listed {
            leaf: member.index,
            name: String::from_utf8(
                member.signing_identity.credential.as_basic().unwrap().identifier.clone(),
            )
            .unwrap(),
            signature_key: member.signing_identity.signature_key.to_vec(),
        };
        let exported =
            group.export_secret(EXPORT_LABEL.as_bytes(), EXPORT_CONTEXT, EXPORT_LENGTH).unwrap();
        View {
            epoch: group.current_epoch(),
            epoch_authenticator: group.epoch_authenticator().unwrap().to_vec(),
            tree_hash: group.context().tree_hash.clone(),
            context: group.context().mls_encode_to_vec().unwrap(),
            tree: group.export_tree().to_bytes().unwrap(),
            roster: group.roster().members_iter().map(listed).collect(),
            exported: exported.to_vec(),
        }
    }

    fn lose(self: Box<Self>) -> Box<dyn Outsider> {
        Box::new(MlsRsClient { client: self.client, rules: self.rules })
    }
}
