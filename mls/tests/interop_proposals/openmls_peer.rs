//! OpenMLS with its RustCrypto provider.

use mls::{
    ExternalJoinOptions, Processed,
    wire::{LeafIndex, Sender},
};
use openmls::{
    extensions::SenderExtensionIndex,
    messages::external_proposals::{ExternalProposal, JoinProposal},
    prelude::{tls_codec::DeserializeBytes as _, *},
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

use crate::scene::{CUSTOM, Peer, Scene, custom_proposals, now, proposals_from_outside};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

struct OpenMls {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    outside: SignatureKeyPair,
    group: Option<MlsGroup>,
}

fn signer() -> SignatureKeyPair {
    SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap()
}

fn peer() -> OpenMls {
    let provider = OpenMlsRustCrypto::default();
    OpenMls { provider, signer: signer(), outside: signer(), group: None }
}

fn key_package(name: &str, provider: &OpenMlsRustCrypto, signer: &SignatureKeyPair) -> KeyPackage {
    let credential = CredentialWithKey {
        credential: BasicCredential::new(name.as_bytes().to_vec()).into(),
        signature_key: signer.public().into(),
    };
    let proposals = [ProposalType::SelfRemove, ProposalType::Custom(CUSTOM.0)];
    let capabilities = Capabilities::new(None, Some(&[SUITE]), None, Some(&proposals), None);
    let builder = KeyPackage::builder().leaf_node_capabilities(capabilities);
    builder.build(SUITE, provider, signer, credential).unwrap().key_package().clone()
}

fn read(message: &[u8]) -> MlsMessageIn {
    MlsMessageIn::tls_deserialize_exact_bytes(message).unwrap()
}

/// Group identifier and epoch, as a client outside the group learns them.
fn place(group_info: &[u8]) -> (GroupId, GroupEpoch) {
    let MlsMessageBodyIn::GroupInfo(info) = read(group_info).extract() else {
        panic!("expected a GroupInfo")
    };
    (info.group_id().clone(), info.epoch())
}

impl Peer for OpenMls {
    fn key_package(&mut self) -> Vec<u8> {
        let key_package = key_package("peer", &self.provider, &self.signer);
        MlsMessageOut::from(key_package).to_bytes().unwrap()
    }

    fn join(&mut self, welcome: &[u8]) {
        let MlsMessageBodyIn::Welcome(welcome) = read(welcome).extract() else {
            panic!("expected a Welcome")
        };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .build();
        let staged = StagedWelcome::new_from_welcome(&self.provider, &config, welcome, None);
        self.group = Some(staged.unwrap().into_group(&self.provider).unwrap());
    }

    fn receive(&mut self, message: &[u8]) {
        let group = self.group.as_mut().unwrap();
        let message = read(message).try_into_protocol_message().unwrap();
        match group.process_message(&self.provider, message).unwrap().into_content() {
            ProcessedMessageContent::ProposalMessage(proposal)
            | ProcessedMessageContent::ExternalJoinProposalMessage(proposal) => {
                group.store_pending_proposal(self.provider.storage(), *proposal).unwrap();
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                group.merge_staged_commit(&self.provider, *staged).unwrap();
            }
            _ => panic!("expected a proposal or a commit"),
        }
    }

    fn commit(&mut self) -> (Vec<u8>, Option<Vec<u8>>) {
        let (provider, group) = (&self.provider, self.group.as_mut().unwrap());
        let (commit, welcome, _) =
            group.commit_to_pending_proposals(provider, &self.signer).unwrap();
        group.merge_pending_commit(provider).unwrap();
        (commit.to_bytes().unwrap(), welcome.map(|welcome| welcome.to_bytes().unwrap()))
    }

    fn propose_custom(&mut self, data: &[u8]) -> Vec<u8> {
        let proposal = CustomProposal::new(CUSTOM.0, data.to_vec());
        let group = self.group.as_mut().unwrap();
        let (message, _) = group
            .propose_custom_proposal_by_reference(&self.provider, &self.signer, proposal)
            .unwrap();
        message.to_bytes().unwrap()
    }

    fn authenticator(&self) -> Vec<u8> {
        self.group.as_ref().unwrap().epoch_authenticator().as_slice().to_vec()
    }

    fn external_sender(&self) -> (Vec<u8>, Vec<u8>) {
        (b"outside".to_vec(), self.outside.public().to_vec())
    }

    fn propose_remove_from_outside(&mut self, group_info: &[u8], index: u32, leaf: u32) -> Vec<u8> {
        let (id, epoch) = place(group_info);
        let (removed, index) = (LeafNodeIndex::new(leaf), SenderExtensionIndex::new(index));
        let outside = &self.outside;
        ExternalProposal::new_remove::<OpenMlsRustCrypto>(removed, id, epoch, outside, index)
            .unwrap()
            .to_bytes()
            .unwrap()
    }

    fn propose_join(&mut self, group_info: &[u8]) -> Vec<u8> {
        let (id, epoch) = place(group_info);
        let (provider, signer) = (OpenMlsRustCrypto::default(), signer());
        let key_package = key_package("another peer", &provider, &signer);
        type Storage = <OpenMlsRustCrypto as OpenMlsProvider>::StorageProvider;
        JoinProposal::new::<Storage>(key_package, id, epoch, &signer).unwrap().to_bytes().unwrap()
    }
}

#[test]
fn openmls_and_proposals_from_outside() {
    proposals_from_outside(310, peer());
}

#[test]
fn openmls_and_custom_proposals() {
    custom_proposals(311, peer(), Sender::Member(LeafIndex(2)));
}

#[test]
fn openmls_commits_our_self_remove() {
    let mut scene = Scene::new(312, peer());
    let message = scene.second.propose_self_remove(&mut scene.rng).unwrap().message;
    let _ = scene.creator.process(&message, now()).unwrap();
    scene.peer.receive(&message);
    let (changes, _) = scene.peer_commits();
    assert_eq!(changes.removed[0].leaf, LeafIndex(1));
    assert!(!scene.second.is_active());
}

#[test]
fn we_commit_a_self_remove_of_openmls() {
    let mut scene = Scene::new(313, peer());
    let group = scene.peer.group.as_mut().unwrap();
    let message =
        group.leave_group_via_self_remove(&scene.peer.provider, &scene.peer.signer).unwrap();
    scene.ours_keep(&message.to_bytes().unwrap());
    let pending = scene.creator.commit().build(&mut scene.rng, now()).unwrap();
    let commit = pending.commit().to_vec();
    assert_eq!(pending.changes().removed[0].leaf, LeafIndex(2));
    scene.peer.receive(&commit);
    assert!(!scene.peer.group.as_ref().unwrap().is_active());
    let Processed::Commit(staged) = scene.second.process(&commit, now()).unwrap() else {
        panic!("expected a commit")
    };
    scene.second.merge(*staged).unwrap();
    scene.creator.confirm(pending).unwrap();
    assert_eq!(
        scene.creator.epoch_authenticator().unwrap(),
        scene.second.epoch_authenticator().unwrap()
    );
}

#[test]
fn openmls_follows_an_external_commit_that_covers_a_self_remove() {
    let mut scene = Scene::new(314, peer());
    let message = scene.second.propose_self_remove(&mut scene.rng).unwrap().message;
    let _ = scene.creator.process(&message, now()).unwrap();
    scene.peer.receive(&message);
    let (_, joiner, _) = scene.asks("joiner");
    let options =
        ExternalJoinOptions { self_removes: vec![message], ..ExternalJoinOptions::default() };
    let info = scene.group_info();
    let pending = joiner.join_external(&info, None, options, &mut scene.rng, now()).unwrap();
    let commit = pending.commit().to_vec();
    for group in [&mut scene.creator, &mut scene.second] {
        let Processed::Commit(staged) = group.process(&commit, now()).unwrap() else {
            panic!("expected a commit")
        };
        group.merge(*staged).unwrap();
    }
    scene.peer.receive(&commit);
    assert!(!scene.second.is_active());
    scene.agree();
    assert_eq!(
        pending.confirm().epoch_authenticator().unwrap(),
        scene.creator.epoch_authenticator().unwrap()
    );
}
