//! What a group needs of an implementation: a client that is not a member yet, and a member.

use std::{collections::BTreeMap, fmt, time::SystemTime};

/// The implementations that meet in a group. Ours counts once for each of its backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Implementation {
    MlsAwsLc,
    MlsRustCrypto,
    OpenMls,
    MlsRs,
}

impl Implementation {
    pub(crate) const ALL: [Self; 4] =
        [Self::MlsAwsLc, Self::OpenMls, Self::MlsRustCrypto, Self::MlsRs];

    /// OpenMLS 0.9.2 puts received proposals before its own into the Commit and derives `psk_secret` the other way round
    /// (`load_psks` in `commit_builder.rs`), so that nobody, OpenMLS included, accepts a commit with PSKs of both kinds. RFC
    /// 9420 section 12.4.1: the order of PSKs in the derivation is that of the proposals in the `proposals` vector.
    pub(crate) fn orders_psks_as_listed(self) -> bool {
        self != Self::OpenMls
    }

    /// mls-rs 0.57 refuses data of an earlier epoch when its sender has left since (`MemberNotFound`). It keeps of past
    /// epochs the signature keys alone and could not say who it was; the RFC leaves to the application how long data of
    /// earlier epochs is read.
    pub(crate) fn reads_data_of_departed(self) -> bool {
        self != Self::MlsRs
    }
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MlsAwsLc => "mls (aws-lc-rs)",
            Self::MlsRustCrypto => "mls (rust-crypto)",
            Self::OpenMls => "openmls 0.9.2",
            Self::MlsRs => "mls-rs 0.57.0",
        })
    }
}

/// The type of the application's extension in group contexts, from the private range.
pub(crate) const EXTENSION: u16 = 0xff01;

/// Everything that an implementation has to know about a client.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) implementation: Implementation,
    pub(crate) name: String,
    /// The registered number of the cipher suite.
    pub(crate) suite: u16,
    /// Sends proposals and commits as PrivateMessage.
    pub(crate) private: bool,
    /// Pads private messages, in the implementation's manner.
    pub(crate) padded: bool,
    /// The external pre-shared keys that everybody has, by identifier.
    pub(crate) psks: BTreeMap<Vec<u8>, [u8; 32]>,
    /// Where the implementation lets its randomness be given.
    pub(crate) seed: u64,
}

/// An extension of a group context, by type.
pub(crate) type Extensions = BTreeMap<u16, Vec<u8>>;

/// What a proposal changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Adds the client of a key package (an MLSMessage).
    Add(Vec<u8>),
    /// Removes the member at a leaf.
    Remove(u32),
    /// Renews the proposer's own leaf. Only by reference.
    Update,
    /// Mixes an external pre-shared key in.
    Psk(Vec<u8>),
    /// Replaces the extensions of the group context.
    Extensions(Extensions),
}

/// How to commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitOptions {
    /// Proposals by value, beside all received by reference.
    pub(crate) changes: Vec<Change>,
    /// Brings a path also where none is required.
    pub(crate) path: bool,
    /// The Welcome carries the ratchet tree.
    pub(crate) tree_in_welcome: bool,
}

/// A commit that its author has not applied yet.
pub(crate) struct Committed {
    pub(crate) commit: Vec<u8>,
    pub(crate) welcome: Option<Vec<u8>>,
}

/// A member that joined by external commit, and the commit.
pub(crate) struct JoinedExternally {
    pub(crate) member: Box<dyn Member>,
    pub(crate) commit: Vec<u8>,
}

/// How to join by external commit.
pub(crate) struct ExternalJoin<'a> {
    pub(crate) group_info: &'a [u8],
    /// The ratchet tree, if the GroupInfo lacks it.
    pub(crate) tree: Option<&'a [u8]>,
    /// The leaf of the client's former self, which is removed.
    pub(crate) former: Option<u32>,
    pub(crate) psk: Option<Vec<u8>>,
}

/// What a message turned out to be. A commit has been applied, a proposal has been stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Proposal,
    Commit,
    Data { sender: u32, data: Vec<u8>, authenticated_data: Vec<u8> },
}

/// A member as others see it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) leaf: u32,
    pub(crate) name: String,
    pub(crate) signature_key: Vec<u8>,
}

/// All that two members of one epoch must agree on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) epoch: u64,
    pub(crate) epoch_authenticator: Vec<u8>,
    pub(crate) tree_hash: Vec<u8>,
    /// The GroupContext as encoded by the implementation.
    pub(crate) context: Vec<u8>,
    /// The ratchet tree as encoded by the implementation.
    pub(crate) tree: Vec<u8>,
    pub(crate) roster: Vec<Listed>,
    pub(crate) exported: Vec<u8>,
}

/// A client that may become a member.
pub(crate) trait Outsider {
    /// A key package, as an MLSMessage. Its private keys stay with the client.
    fn key_package(&mut self) -> Vec<u8>;
    fn create(self: Box<Self>, group_id: &[u8]) -> Box<dyn Member>;
    fn join(self: Box<Self>, welcome: &[u8], tree: Option<&[u8]>) -> Box<dyn Member>;
    fn join_external(self: Box<Self>, join: &ExternalJoin<'_>) -> JoinedExternally;
}

/// A member. Whatever fails panics: nothing in a schedule may be refused.
pub(crate) trait Member {
    fn leaf(&self) -> u32;
    fn is_active(&self) -> bool;
    /// A proposal by reference, which the proposer keeps too.
    fn propose(&mut self, change: &Change) -> Vec<u8>;
    /// A commit that covers all proposals received.
    fn commit(&mut self, options: &CommitOptions) -> Committed;
    /// Applies the commit that was made last.
    fn confirm(&mut self);
    /// Forgets the commit that was made last.
    fn abandon(&mut self);
    fn receive(&mut self, message: &[u8]) -> Received;
    fn protect(&mut self, data: &[u8], authenticated_data: &[u8]) -> Vec<u8>;
    /// A GroupInfo by which others can join, with or without the ratchet tree.
    fn group_info(&mut self, tree: bool) -> Vec<u8>;
    fn view(&self) -> View;
    /// The same client with its long-term keys, having lost the group.
    fn lose(self: Box<Self>) -> Box<dyn Outsider>;
}

/// Label, context and length of the secret that all members export.
pub(crate) const EXPORT_LABEL: &str = "framelock interop";
pub(crate) const EXPORT_CONTEXT: &[u8] = b"any context";
pub(crate) const EXPORT_LENGTH: usize = 32;

/// The time of day, in seconds: the peers read it themselves.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn outsider(profile: Profile) -> Box<dyn Outsider> {
    match profile.implementation {
        Implementation::MlsAwsLc | Implementation::MlsRustCrypto => super::ours::outsider(profile),
        Implementation::OpenMls => super::openmls_peer::outsider(profile),
        Implementation::MlsRs => super::mls_rs_peer::outsider(profile),
    }
}
