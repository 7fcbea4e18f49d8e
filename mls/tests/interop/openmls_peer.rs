//! OpenMLS with its RustCrypto provider.

use openmls::{
    messages::proposals::PreSharedKeyProposal,
    prelude::{
        tls_codec::{DeserializeBytes as _, Serialize as _},
        *,
    },
    schedule::{
        PreSharedKeyId,
        psk::{ExternalPsk, Psk},
    },
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

use super::member::{
    self, Change, CommitOptions, Committed, EXPORT_CONTEXT, EXPORT_LABEL, EXPORT_LENGTH, EXTENSION,
    ExternalJoin, JoinedExternally, Listed, Outsider, Profile, Received, View,
};

struct Session {
    profile: Profile,
    suite: Ciphersuite,
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
}

struct OpenMlsMember {
    session: Session,
    group: MlsGroup,
}

pub(crate) fn outsider(profile: Profile) -> Box<dyn Outsider> {
    let suite = Ciphersuite::try_from(profile.suite).unwrap();
    let signer = SignatureKeyPair::new(suite.signature_algorithm()).unwrap();
    Box::new(Session::new(profile, suite, signer))
}

impl Session {
    fn new(profile: Profile, suite: Ciphersuite, signer: SignatureKeyPair) -> Self {
        let session = Self { profile, suite, provider: OpenMlsRustCrypto::default(), signer };
        for (id, psk) in &session.profile.psks {
            session.psk(id).store(&session.provider, psk).unwrap();
        }
        session
    }

    fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.profile.name.clone().into_bytes()).into(),
            signature_key: self.signer.public().into(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        let extensions = [ExtensionType::Unknown(EXTENSION)];
        Capabilities::new(None, Some(&[self.suite]), Some(&extensions), None, None)
    }

    fn format(&self) -> WireFormatPolicy {
        if self.profile.private {
            MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY
        } else {
            MIXED_PLAINTEXT_WIRE_FORMAT_POLICY
        }
    }

    fn padding(&self) -> usize {
        if self.profile.padded { 64 } else { 0 }
    }

    fn join_config(&self) -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(self.format())
            .padding_size(self.padding())
            .max_past_epochs(3)
            .build()
    }

    fn psk(&self, id: &[u8]) -> PreSharedKeyId {
        let psk = Psk::External(ExternalPsk::new(id.to_vec()));
        PreSharedKeyId::new(self.suite, self.provider.rand(), psk).unwrap()
    }

    fn key_package_of(&self, message: &[u8]) -> KeyPackage {
        let MlsMessageBodyIn::KeyPackage(key_package) = parse(message) else {
            panic!("expected a key package");
        };
        key_package.validate(self.provider.crypto(), ProtocolVersion::Mls10).unwrap()
    }
}

fn parse(message: &[u8]) -> MlsMessageBodyIn {
    MlsMessageIn::tls_deserialize_exact_bytes(message).unwrap().extract()
}

fn ratchet_tree(bytes: &[u8]) -> RatchetTreeIn {
    RatchetTreeIn::tls_deserialize_exact_bytes(bytes).unwrap()
}

/// Read from the RFC's encoding, so that this test depends on no typed extension.
fn extensions(content: &member::Extensions) -> Extensions<GroupContext> {
    let mut encoded = Vec::new();
    for (kind, data) in content {
        encoded.extend(kind.to_be_bytes());
        encoded.extend(VLBytes::from(data.clone()).tls_serialize_detached().unwrap());
    }
    let encoded = VLBytes::from(encoded).tls_serialize_detached().unwrap();
    Extensions::tls_deserialize_exact_bytes(&encoded).unwrap()
}

impl Outsider for Session {
    fn key_package(&mut self) -> Vec<u8> {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(self.capabilities())
            .build(self.suite, &self.provider, &self.signer, self.credential())
            .unwrap();
        MlsMessageOut::from(bundle.key_package().clone()).to_bytes().unwrap()
    }

    fn create(self: Box<Self>, group_id: &[u8]) -> Box<dyn member::Member> {
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(group_id))
            .ciphersuite(self.suite)
            .with_capabilities(self.capabilities())
            .with_wire_format_policy(self.format())
            .padding_size(self.padding())
            .max_past_epochs(3)
            .build(&self.provider, &self.signer, self.credential())
            .unwrap();
        Box::new(OpenMlsMember { session: *self, group })
    }

    fn join(self: Box<Self>, welcome: &[u8], tree: Option<&[u8]>) -> Box<dyn member::Member> {
        let MlsMessageBodyIn::Welcome(welcome) = parse(welcome) else {
            panic!("expected a Welcome");
        };
        let config = self.join_config();
        let tree = tree.map(ratchet_tree);
        let group = StagedWelcome::new_from_welcome(&self.provider, &config, welcome, tree)
            .unwrap()
            .into_group(&self.provider)
            .unwrap();
        Box::new(OpenMlsMember { session: *self, group })
    }

    /// OpenMLS finds the former leaf by its signature key.
    fn join_external(self: Box<Self>, join: &ExternalJoin<'_>) -> JoinedExternally {
        let MlsMessageBodyIn::GroupInfo(info) = parse(join.group_info) else {
            panic!("expected a GroupInfo");
        };
        let mut builder = MlsGroup::external_commit_builder().with_config(self.join_config());
        if let Some(tree) = join.tree {
            builder = builder.with_ratchet_tree(ratchet_tree(tree));
        }
        let leaf = LeafNodeParameters::builder().with_capabilities(self.capabilities()).build();
        let psks = join.psk.iter().map(|id| PreSharedKeyProposal::new(self.psk(id)));
        let (group, bundle) = builder
            .build_group(&self.provider, info, self.credential())
            .unwrap()
            .add_psk_proposals(psks)
            .leaf_node_parameters(leaf)
            .load_psks(self.provider.storage())
            .unwrap()
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .finalize(&self.provider)
            .unwrap();
        let commit = bundle.commit().to_bytes().unwrap();
        JoinedExternally { member: Box::new(OpenMlsMember { session: *self, group }), commit }
    }
}

impl member::Member for OpenMlsMember {
    fn leaf(&self) -> u32 {
        self.group.own_leaf_index().u32()
    }

    fn is_active(&self) -> bool {
        self.group.is_active()
    }

    fn propose(&mut self, change: &Change) -> Vec<u8> {
        let Self { session, group } = self;
        let (provider, signer) = (&session.provider, &session.signer);
        let (message, _) = match change {
            Change::Add(message) => {
                let key_package = session.key_package_of(message);
                group.propose_add_member(provider, signer, &key_package).unwrap()
            }
            Change::Remove(leaf) => {
                group.propose_remove_member(provider, signer, LeafNodeIndex::new(*leaf)).unwrap()
            }
            Change::Update => {
                group.propose_self_update(provider, signer, LeafNodeParameters::default()).unwrap()
            }
            Change::Psk(id) => {
                group.propose_pre_shared_key(provider, signer, session.psk(id)).unwrap()
            }
            Change::Extensions(content) => group
                .propose_group_context_extensions(provider, extensions(content), signer)
                .unwrap(),
        };
        message.to_bytes().unwrap()
    }

    fn commit(&mut self, options: &CommitOptions) -> Committed {
        let Self { session, group } = self;
        let mut builder = group.commit_builder().force_self_update(options.path);
        for change in &options.changes {
            builder = match change {
                Change::Add(message) => builder.propose_adds([session.key_package_of(message)]),
                Change::Remove(leaf) => builder.propose_removals([LeafNodeIndex::new(*leaf)]),
                Change::Update => panic!("an update is never committed by value"),
                Change::Psk(id) => {
                    let psk = PreSharedKeyProposal::new(session.psk(id));
                    builder.add_proposal(Proposal::PreSharedKey(Box::new(psk)))
                }
                Change::Extensions(content) => {
                    builder.propose_group_context_extensions(extensions(content)).unwrap()
                }
            };
        }
        let provider = &session.provider;
        let bundle = builder
            .load_psks(provider.storage())
            .unwrap()
            .use_ratchet_tree_extension(options.tree_in_welcome)
            .build(provider.rand(), provider.crypto(), &session.signer, |_| true)
            .unwrap()
            .stage_commit(provider)
            .unwrap();
        Committed {
            commit: bundle.commit().to_bytes().unwrap(),
            welcome: bundle.to_welcome_msg().map(|welcome| welcome.to_bytes().unwrap()),
        }
    }

    fn confirm(&mut self) {
        self.group.merge_pending_commit(&self.session.provider).unwrap();
    }

    fn abandon(&mut self) {
        self.group.clear_pending_commit(self.session.provider.storage()).unwrap();
    }

    fn receive(&mut self, message: &[u8]) -> Received {
        let Self { session, group } = self;
        let provider = &session.provider;
        let message = MlsMessageIn::tls_deserialize_exact_bytes(message).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        let processed = group.process_message(provider, message).unwrap();
        let sender = processed.sender().clone();
        let authenticated_data = processed.aad().to_vec();
        match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(proposal) => {
                group.store_pending_proposal(provider.storage(), *proposal).unwrap();
                Received::Proposal
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                group.merge_staged_commit(provider, *staged).unwrap();
                Received::Commit
            }
            ProcessedMessageContent::ApplicationMessage(message) => {
                let Sender::Member(sender) = sender else {
                    panic!("expected a member, got {sender:?}");
                };
                let data = message.into_bytes();
                Received::Data { sender: sender.u32(), data, authenticated_data }
            }
            _ => panic!("expected a proposal, a commit or data"),
        }
    }

    fn protect(&mut self, data: &[u8], authenticated_data: &[u8]) -> Vec<u8> {
        self.group.set_aad(authenticated_data.to_vec());
        let Session { provider, signer, .. } = &self.session;
        self.group.create_message(provider, signer, data).unwrap().to_bytes().unwrap()
    }

    fn group_info(&mut self, tree: bool) -> Vec<u8> {
        let Session { provider, signer, .. } = &self.session;
        let info = self.group.export_group_info(provider.crypto(), signer, tree).unwrap();
        info.to_bytes().unwrap()
    }

    fn view(&self) -> View {
        let group = &self.group;
        let listed = |member: Member| Listed {
            leaf: member.index.u32(),
            name: String::from_utf8(
                BasicCredential::try_from(member.credential).unwrap().identity().to_vec(),
            )
            .unwrap(),
            signature_key: member.signature_key,
        };
        let crypto = self.session.provider.crypto();
        let context = group.public_group().group_context();
        View {
            epoch: group.epoch().as_u64(),
            epoch_authenticator: group.epoch_authenticator().as_slice().to_vec(),
            tree_hash: context.tree_hash().to_vec(),
            context: context.tls_serialize_detached().unwrap(),
            tree: group.export_ratchet_tree().tls_serialize_detached().unwrap(),
            roster: group.members().map(listed).collect(),
            exported: group
                .export_secret(crypto, EXPORT_LABEL, EXPORT_CONTEXT, EXPORT_LENGTH)
                .unwrap(),
        }
    }

    fn lose(self: Box<Self>) -> Box<dyn Outsider> {
        let Session { profile, suite, signer, .. } = self.session;
        Box::new(Session::new(profile, suite, signer))
    }
}
