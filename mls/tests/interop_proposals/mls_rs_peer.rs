//! mls-rs with its RustCrypto provider.

use mls::wire::{LeafIndex, Sender};
use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage,
    client_builder::MlsConfig,
    crypto::SignatureSecretKey,
    external_client::ExternalClient,
    group::{
        ReceivedMessage,
        proposal::{CustomProposal, ProposalType},
    },
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use crate::scene::{CUSTOM, Peer, custom_proposals, proposals_from_outside};

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

fn identity(name: &str) -> (SignatureSecretKey, SigningIdentity) {
    let crypto = RustCryptoProvider::new();
    let (secret, public) =
        crypto.cipher_suite_provider(SUITE).unwrap().signature_key_generate().unwrap();
    let credential = BasicCredential::new(name.as_bytes().to_vec()).into_credential();
    (secret, SigningIdentity::new(credential, public))
}

fn client(name: &str) -> Client<impl MlsConfig + 'static> {
    let (secret, identity) = identity(name);
    Client::builder()
        .crypto_provider(RustCryptoProvider::new())
        .identity_provider(BasicIdentityProvider::new())
        .custom_proposal_type(ProposalType::new(CUSTOM.0))
        .signing_identity(identity, secret, SUITE)
        .build()
}

struct MlsRs<C: MlsConfig> {
    client: Client<C>,
    group: Option<Group<C>>,
    outside: (SignatureSecretKey, SigningIdentity),
}

fn peer() -> MlsRs<impl MlsConfig + 'static> {
    MlsRs { client: client("peer"), group: None, outside: identity("outside") }
}

fn parse(message: &[u8]) -> MlsMessage {
    MlsMessage::from_bytes(message).unwrap()
}

impl<C: MlsConfig + 'static> MlsRs<C> {
    fn group(&mut self) -> &mut Group<C> {
        self.group.as_mut().unwrap()
    }
}

impl<C: MlsConfig + 'static> Peer for MlsRs<C> {
    fn key_package(&mut self) -> Vec<u8> {
        let (context, leaf) = (ExtensionList::new(), ExtensionList::new());
        let message = self.client.generate_key_package_message(context, leaf, None).unwrap();
        message.to_bytes().unwrap()
    }

    fn join(&mut self, welcome: &[u8]) {
        self.group = Some(self.client.join_group(None, &parse(welcome), None).unwrap().0);
    }

    fn receive(&mut self, message: &[u8]) {
        let received = self.group().process_incoming_message(parse(message)).unwrap();
        assert!(matches!(received, ReceivedMessage::Proposal(_) | ReceivedMessage::Commit(_)));
    }

    fn commit(&mut self) -> (Vec<u8>, Option<Vec<u8>>) {
        let output = self.group().commit(Vec::new()).unwrap();
        self.group().apply_pending_commit().unwrap();
        let welcome = output.welcome_messages().first().map(|welcome| welcome.to_bytes().unwrap());
        (output.commit_message().to_bytes().unwrap(), welcome)
    }

    fn propose_custom(&mut self, data: &[u8]) -> Vec<u8> {
        let proposal = CustomProposal::new(ProposalType::new(CUSTOM.0), data.to_vec());
        self.group().propose_custom(proposal, Vec::new()).unwrap().to_bytes().unwrap()
    }

    fn authenticator(&self) -> Vec<u8> {
        self.group.as_ref().unwrap().epoch_authenticator().unwrap().to_vec()
    }

    fn external_sender(&self) -> (Vec<u8>, Vec<u8>) {
        (b"outside".to_vec(), self.outside.1.signature_key.to_vec())
    }

    fn propose_remove_from_outside(&mut self, group_info: &[u8], _: u32, leaf: u32) -> Vec<u8> {
        let (secret, identity) = self.outside.clone();
        let observer = ExternalClient::builder()
            .crypto_provider(RustCryptoProvider::new())
            .identity_provider(BasicIdentityProvider::new())
            .signer(secret, identity)
            .build();
        let mut observed = observer.observe_group(parse(group_info), None, None).unwrap();
        observed.propose_remove(leaf, Vec::new()).unwrap().to_bytes().unwrap()
    }

    fn propose_join(&mut self, group_info: &[u8]) -> Vec<u8> {
        let (context, leaf) = (ExtensionList::new(), ExtensionList::new());
        client("another peer")
            .external_add_proposal(&parse(group_info), None, Vec::new(), context, leaf, None)
            .unwrap()
            .to_bytes()
            .unwrap()
    }
}

#[test]
fn mls_rs_and_proposals_from_outside() {
    proposals_from_outside(300, peer());
}

#[test]
fn mls_rs_and_custom_proposals() {
    custom_proposals(301, peer(), Sender::Member(LeafIndex(2)));
}
