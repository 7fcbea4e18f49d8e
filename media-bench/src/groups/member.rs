//! What a measurement needs of an implementation: a client that is not a member yet, and a member.

use anyhow::Result;
use mls::CipherSuite;

use super::{mls_rs_peer, openmls_peer, ours};

/// An implementation of RFC 9420 over a cryptographic backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Implementation {
    /// This project over aws-lc-rs.
    OursAwsLc,
    /// This project over RustCrypto.
    OursRustCrypto,
    /// mls-rs over aws-lc.
    MlsRsAwsLc,
    /// mls-rs over RustCrypto.
    MlsRsRustCrypto,
    /// OpenMLS over RustCrypto.
    OpenMls,
}

impl Implementation {
    /// All of them, ours first.
    pub const ALL: [Self; 5] = [
        Self::OursAwsLc,
        Self::OursRustCrypto,
        Self::MlsRsAwsLc,
        Self::MlsRsRustCrypto,
        Self::OpenMls,
    ];

    /// The peers.
    pub const PEERS: [Self; 3] = [Self::MlsRsAwsLc, Self::MlsRsRustCrypto, Self::OpenMls];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OursAwsLc => "ours_awslc",
            Self::OursRustCrypto => "ours_rustcrypto",
            Self::MlsRsAwsLc => "mls_rs_awslc",
            Self::MlsRsRustCrypto => "mls_rs_rustcrypto",
            Self::OpenMls => "openmls",
        }
    }

    /// A client of this implementation with a basic credential of that name. Its handshake messages are
    /// PublicMessage.
    ///
    /// # Errors
    /// When the implementation lacks the suite.
    pub fn client(self, suite: CipherSuite, name: &str) -> Result<Box<dyn Outsider>> {
        match self {
            Self::OursAwsLc => ours::client(&mls::crypto::AWS_LC_RS, suite, name),
            Self::OursRustCrypto => ours::client(&mls::crypto::RUST_CRYPTO, suite, name),
            Self::MlsRsAwsLc => mls_rs_peer::client(
                mls_rs_crypto_awslc::AwsLcCryptoProvider::default(),
                suite,
                name,
            ),
            Self::MlsRsRustCrypto => mls_rs_peer::client(
                mls_rs_crypto_rustcrypto::RustCryptoProvider::default(),
                suite,
                name,
            ),
            Self::OpenMls => openmls_peer::client(suite, name),
        }
    }
}

/// A commit that its author has not applied yet.
#[derive(Debug)]
pub struct Committed {
    /// The commit, for the members.
    pub commit: Vec<u8>,
    /// The Welcome, if somebody was added.
    pub welcome: Option<Vec<u8>>,
}

/// How a member's state was stored.
#[derive(Clone, Copy, Debug)]
pub struct Saved {
    /// Bytes in storage.
    pub bytes: usize,
    /// True when the call stored all of it. OpenMLS stores piece by piece with each operation instead.
    pub at_once: bool,
}

/// A client that is not a member yet. Errors are those of the implementation.
pub trait Outsider {
    /// A fresh key package, as an MLSMessage.
    fn key_package(&mut self) -> Result<Vec<u8>>;

    /// Creates a group.
    fn create(self: Box<Self>, group_id: &[u8]) -> Result<Box<dyn Member>>;

    /// Joins by a Welcome that carries the ratchet tree.
    fn join(self: Box<Self>, welcome: &[u8]) -> Result<Box<dyn Member>>;
}

/// A member of a group. Errors are those of the implementation.
pub trait Member {
    /// A commit with nothing but a path.
    fn commit(&mut self) -> Result<Vec<u8>>;

    /// A commit that adds the clients of these key packages.
    fn add(&mut self, key_packages: &[Vec<u8>]) -> Result<Committed>;

    /// Applies the member's own commit.
    fn apply(&mut self) -> Result<()>;

    /// Forgets the member's own commit.
    fn abandon(&mut self) -> Result<()>;

    /// Processes somebody else's commit and merges it.
    fn receive(&mut self, commit: &[u8]) -> Result<()>;

    /// 32 bytes from the exporter.
    fn export(&mut self) -> Result<Vec<u8>>;

    /// What all members of an epoch have in common.
    fn epoch_authenticator(&self) -> Result<Vec<u8>>;

    /// Stores the state.
    fn save(&mut self) -> Result<Saved>;

    /// Loads what was stored last and drops it.
    fn load(&self) -> Result<()>;

    /// What an application does now and then, outside the measurements: mls-rs keeps what it would write for every epoch
    /// until it is told to store it.
    fn settle(&mut self) -> Result<()>;
}
