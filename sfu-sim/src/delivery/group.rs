//! The group as the delivery service follows it: MLS validation, and who sits at which leaf.

use std::collections::BTreeMap;

use bytes::Bytes;
use mls::codec::Decode;
use mls::wire::{
    Content, Credential, Envelope, ExtensionType, ExternalPub, GroupInfo, KeyPackage, LeafIndex,
    MessageKind, MlsMessage, MlsMessageBody, Proposal, PublicMessage, Sender, UnixTime,
};
use mls::{
    AcceptAnyCredential, Changes, Member, ProcessError, PublicGroup, PublicGroupOptions,
    PublicProcessed, ReceivedProposal, StagedPublicCommit,
};

use crate::protocol::{EXTERNAL_PUB_HASH, EXTERNAL_PUB_LABEL, Identity, Refusal, RefusalCode};

use super::record::Bundle;
use super::service::refusal;

/// A member and its leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat<'a> {
    pub(super) leaf: u32,
    pub(super) identity: &'a Identity,
}

/// A leaf that a commit fills or blanks, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedSeat {
    pub(super) leaf: u32,
    pub(super) identity: Identity,
}

/// Somebody whom a commit adds by key package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joiner {
    pub(super) identity: Identity,
    pub(super) reference: Bytes,
}

/// What a commit changes, in the delivery service's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// The committer's leaf after the commit.
    pub(super) committer: u32,
    /// Whether it is a resync.
    pub(super) external: bool,
    pub(super) joiners: Vec<Joiner>,
    pub(super) removed: Vec<OwnedSeat>,
}

/// A bundle that is valid by all public rules.
#[derive(Debug)]
pub(super) struct StagedBundle {
    commit: Box<StagedPublicCommit>,
    pub(super) changed: Changed,
}

/// A proposal that is valid by all public rules.
#[derive(Debug)]
pub(super) struct CheckedProposal {
    received: ReceivedProposal,
}

impl CheckedProposal {
    pub(super) fn proposal(&self) -> &Proposal {
        &self.received.proposal
    }

    /// The leaf of the member who sent it.
    pub(super) fn sender(&self) -> Option<u32> {
        match self.received.sender {
            Sender::Member(leaf) => Some(leaf.0),
            _ => None,
        }
    }
}

/// A handshake message whose addressing fits the group's present epoch.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) message: PublicMessage,
}

/// The public state of the group, and the identity at each leaf.
#[derive(Debug)]
pub(super) struct GroupState {
    group: PublicGroup,
    seats: BTreeMap<u32, Identity>,
    leaves: BTreeMap<Identity, u32>,
}

impl GroupState {
    /// Starts from a GroupInfo and its tree, in whichever epoch.
    pub(super) fn open(
        suites: &[u16],
        group_info: &[u8],
        ratchet_tree: &[u8],
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let invalid = |message: String| refusal(RefusalCode::InvalidGroup, message);
        let info = parse_group_info(group_info)
            .ok_or_else(|| invalid("expected a GroupInfo as an MLSMessage".to_owned()))?;
        let suite = info.group_context.cipher_suite;
        let suite = Some(suite)
            .filter(|suite| suites.contains(&suite.0))
            .and_then(|suite| mls::crypto::default_provider().suite(suite))
            .ok_or_else(|| invalid(format!("expected one of the cipher suites {suites:?}")))?;
        if info.extensions.find(ExtensionType::EXTERNAL_PUB).is_none()
            || info.extensions.find(ExtensionType::RATCHET_TREE).is_some()
        {
            return Err(invalid("expected external_pub and no ratchet_tree inside".to_owned()));
        }
        let options = PublicGroupOptions::new(AcceptAnyCredential);
        let group = PublicGroup::new(suite, group_info, Some(ratchet_tree), options, now)
            .map_err(|error| invalid(error.to_string()))?;
        let mut state = Self { group, seats: BTreeMap::new(), leaves: BTreeMap::new() };
        state.read_roster()?;
        Ok(state)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.group.epoch()
    }

    pub(super) fn group_id(&self) -> &[u8] {
        self.group.id().as_bytes()
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn leaf_of(&self, identity: &Identity) -> Option<u32> {
        self.leaves.get(identity).copied()
    }

    pub(super) fn identity_of(&self, leaf: u32) -> Option<&Identity> {
        self.seats.get(&leaf)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = Seat<'_>> {
        self.seats.iter().map(|(leaf, identity)| Seat { leaf: *leaf, identity })
    }

    /// What members hash of the external public key in a GroupInfo of this group.
    pub(super) fn external_pub_hash(&self, group_info: &[u8]) -> Option<Vec<u8>> {
        let info = parse_group_info(group_info)?;
        let key: ExternalPub = info.extensions.parse(ExtensionType::EXTERNAL_PUB).ok()??;
        let key = key.external_pub;
        let hash = self.group.suite().ref_hash(EXTERNAL_PUB_LABEL, key.as_bytes()).ok()?;
        Some(hash.as_bytes().get(..EXTERNAL_PUB_HASH)?.to_vec())
    }

    pub(super) fn ratchet_tree(&self) -> Vec<u8> {
        self.group.ratchet_tree()
    }

    /// Reads a key package that `identity` wants to be added with, and gives its reference.
    pub(super) fn check_key_package(
        &self,
        bytes: &[u8],
        identity: &Identity,
        now: UnixTime,
    ) -> Result<Bytes, Refusal> {
        let invalid = |message: String| refusal(RefusalCode::InvalidKeyPackage, message);
        let Ok(MlsMessage(MlsMessageBody::KeyPackage(package))) = MlsMessage::from_bytes(bytes)
        else {
            return Err(invalid("expected a KeyPackage as an MLSMessage".to_owned()));
        };
        if identity_in(&package.leaf_node.credential).as_ref() != Some(identity) {
            let message = "expected the token's identity in the key package's basic credential";
            return Err(refusal(RefusalCode::WrongIdentity, message));
        }
        self.group
            .check_key_package(&package, now)
            .map_err(|violation| invalid(violation.to_string()))?;
        self.reference(&package).ok_or_else(|| invalid("expected a key package".to_owned()))
    }

    fn reference(&self, package: &KeyPackage) -> Option<Bytes> {
        let encoded = mls::codec::Encode::to_bytes(package);
        Some(self.group.suite().key_package_ref(&encoded).ok()?.0.into())
    }

    /// Reads a handshake message of the present epoch. Neither its signature nor its content is checked.
    pub(super) fn read_handshake(&self, bytes: &[u8]) -> Result<Handshake, Refusal> {
        let malformed = || refusal(RefusalCode::Malformed, "expected an MLSMessage");
        let envelope = Envelope::peek(bytes).map_err(|_| malformed())?;
        match envelope.kind {
            MessageKind::Public(_) => {}
            MessageKind::Private(_) => {
                let message = "expected a PublicMessage, found a PrivateMessage";
                return Err(refusal(RefusalCode::PrivateMessage, message));
            }
            _ => return Err(malformed()),
        }
        if envelope.group_id.as_ref() != Some(self.group.id()) {
            let message = "expected a message for the call's group";
            return Err(refusal(RefusalCode::InvalidCommit, message));
        }
        self.check_epoch(envelope.epoch.unwrap_or(0))?;
        match MlsMessage::from_bytes(bytes) {
            Ok(MlsMessage(MlsMessageBody::PublicMessage(message))) => Ok(Handshake { message }),
            _ => Err(malformed()),
        }
    }

    /// Refuses what does not belong to the present epoch.
    fn check_epoch(&self, epoch: u64) -> Result<(), Refusal> {
        let head = self.epoch();
        match epoch.cmp(&head) {
            std::cmp::Ordering::Less => Err(refusal(
                RefusalCode::StaleEpoch { head },
                format!("epoch {epoch} has ended, the call is in epoch {head}"),
            )),
            std::cmp::Ordering::Greater => Err(refusal(
                RefusalCode::FutureEpoch { head },
                format!("epoch {epoch} has not begun, the call is in epoch {head}"),
            )),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    /// Whether an external commit is a resync of the member `identity`: exactly one Remove, of its own leaf, and
    /// the same credential and signature key.
    pub(super) fn is_resync_of(&self, handshake: &Handshake, identity: &Identity) -> bool {
        let Content::Commit(commit) = &handshake.message.content.content else { return false };
        let Some(member) =
            self.leaf_of(identity).and_then(|leaf| self.group.member(LeafIndex(leaf)))
        else {
            return false;
        };
        let mut removed = Vec::new();
        for proposal in &commit.proposals {
            match proposal {
                mls::wire::ProposalOrRef::Proposal(Proposal::Remove(remove)) => {
                    removed.push(remove.removed);
                }
                mls::wire::ProposalOrRef::Proposal(
                    Proposal::ExternalInit(_) | Proposal::PreSharedKey(_),
                ) => {}
                _ => return false,
            }
        }
        removed == [member.leaf]
            && commit.path.as_ref().is_some_and(|path| {
                path.leaf_node.credential == member.credential
                    && path.leaf_node.signature_key == member.signature_key
            })
    }

    /// Checks a proposal by the rules of RFC 9420; nothing is kept.
    pub(super) fn check_proposal(
        &self,
        bytes: &[u8],
        now: UnixTime,
    ) -> Result<CheckedProposal, Refusal> {
        match self.group.process(bytes, now) {
            Ok(PublicProcessed::Proposal(received)) => Ok(CheckedProposal { received }),
            Ok(PublicProcessed::Commit(_)) => {
                Err(refusal(RefusalCode::InvalidProposal, "expected a proposal, found a commit"))
            }
            Err(error) => Err(explain(RefusalCode::InvalidProposal, &error)),
        }
    }

    /// Keeps a proposal for the commits that refer to it.
    pub(super) fn keep_proposal(&mut self, proposal: CheckedProposal) -> Result<(), Refusal> {
        self.group
            .store_proposal(proposal.received)
            .map_err(|error| explain(RefusalCode::InvalidProposal, &error))
    }

    /// Checks a bundle by the rules of RFC 9420 and those of every call; the state stays as it is.
    pub(super) fn stage(
        &mut self,
        bundle: &Bundle,
        now: UnixTime,
    ) -> Result<StagedBundle, Refusal> {
        let mut references = Vec::new();
        let staged = self.stage_with(bundle, now, &mut references);
        for reference in &references {
            self.group.forget_proposal(reference);
        }
        staged
    }

    fn stage_with(
        &mut self,
        bundle: &Bundle,
        now: UnixTime,
        references: &mut Vec<mls::wire::ProposalRef>,
    ) -> Result<StagedBundle, Refusal> {
        for message in &bundle.proposals {
            let proposal = self.check_proposal(message, now)?;
            // One that is in the log already stays when the bundle's own are forgotten.
            let reference = &proposal.received.reference;
            if !self.group.proposals().any(|kept| kept.reference == *reference) {
                references.push(reference.clone());
                self.keep_proposal(proposal)?;
            }
        }
        let commit = match self.group.process(&bundle.commit, now) {
            Ok(PublicProcessed::Commit(commit)) => commit,
            Ok(PublicProcessed::Proposal(_)) => {
                let message = "expected a commit, found a proposal";
                return Err(refusal(RefusalCode::InvalidCommit, message));
            }
            Err(error) => return Err(explain(RefusalCode::InvalidCommit, &error)),
        };
        let changed = self.judge(commit.changes())?;
        self.check_attachments(&commit, bundle, &changed)?;
        Ok(StagedBundle { commit, changed })
    }

    /// The rules of every call on what a commit may change.
    fn judge(&self, changes: &Changes) -> Result<Changed, Refusal> {
        let invalid = |message| refusal(RefusalCode::InvalidCommit, message);
        if changes.extensions_changed || changes.reinit.is_some() {
            return Err(invalid("expected the group's extensions and parameters to stay"));
        }
        let seat = |member: &Member| {
            identity_in(&member.credential)
                .map(|identity| OwnedSeat { leaf: member.leaf.0, identity })
                .ok_or_else(|| invalid("expected basic credentials in UTF-8"))
        };
        let removed = changes.removed.iter().map(seat).collect::<Result<Vec<_>, _>>()?;
        let stays = |identity: &Identity| {
            self.leaf_of(identity).is_some_and(|leaf| removed.iter().all(|seat| seat.leaf != leaf))
        };
        let mut joiners = Vec::new();
        if !changes.external {
            for (member, reference) in changes.added.iter().zip(&changes.welcomed) {
                let identity = seat(member)?.identity;
                let twice = joiners.iter().any(|joiner: &Joiner| joiner.identity == identity);
                if twice || stays(&identity) {
                    return Err(invalid("expected each identity once in the group"));
                }
                let reference = Bytes::copy_from_slice(reference.as_bytes());
                joiners.push(Joiner { identity, reference });
            }
            let committer = std::iter::once(&changes.committer);
            for member in changes.updated.iter().chain(committer) {
                let OwnedSeat { leaf, identity } = seat(member)?;
                if self.identity_of(leaf) != Some(&identity) {
                    return Err(invalid("expected every leaf to keep its identity"));
                }
            }
        }
        let committer = changes.committer.leaf.0;
        Ok(Changed { committer, external: changes.external, joiners, removed })
    }

    /// The Welcome and the GroupInfo have to fit the commit.
    fn check_attachments(
        &self,
        commit: &StagedPublicCommit,
        bundle: &Bundle,
        changed: &Changed,
    ) -> Result<(), Refusal> {
        let mismatched = |message: String| refusal(RefusalCode::MismatchedWelcome, message);
        match &bundle.welcome {
            Some(welcome) => commit
                .check_welcome(welcome)
                .map_err(|mismatch| mismatched(mismatch.to_string()))?,
            None if changed.joiners.is_empty() => {}
            None => return Err(mismatched("expected a welcome for those added".to_owned())),
        }
        let mismatched = |message: String| refusal(RefusalCode::MismatchedGroupInfo, message);
        let info = commit
            .check_group_info(&self.group, &bundle.group_info)
            .map_err(|violation| mismatched(violation.to_string()))?;
        if info.has_tree || !info.has_external_pub {
            let message = "expected external_pub and no ratchet_tree inside".to_owned();
            return Err(mismatched(message));
        }
        if info.signer.0 != changed.committer {
            return Err(mismatched("expected the committer's signature".to_owned()));
        }
        Ok(())
    }

    /// Puts a bundle into effect.
    pub(super) fn merge(&mut self, staged: StagedBundle) -> Result<Changed, Refusal> {
        self.group
            .merge(*staged.commit)
            .map_err(|error| refusal(RefusalCode::InvalidCommit, error.to_string()))?;
        self.read_roster()?;
        Ok(staged.changed)
    }

    fn read_roster(&mut self) -> Result<(), Refusal> {
        self.seats.clear();
        self.leaves.clear();
        for member in self.group.roster() {
            let known = identity_in(&member.credential).is_some_and(|identity| {
                self.seats.insert(member.leaf.0, identity.clone());
                self.leaves.insert(identity, member.leaf.0).is_none()
            });
            if !known {
                let message = "expected basic credentials in UTF-8, each identity once";
                return Err(refusal(RefusalCode::InvalidGroup, message));
            }
        }
        Ok(())
    }
}

/// The identity in a basic credential.
fn identity_in(credential: &Credential) -> Option<Identity> {
    match credential {
        Credential::Basic(bytes) => std::str::from_utf8(bytes).ok().map(Identity::new),
        _ => None,
    }
}

fn parse_group_info(bytes: &[u8]) -> Option<GroupInfo> {
    match MlsMessage::from_bytes(bytes) {
        Ok(MlsMessage(MlsMessageBody::GroupInfo(info))) => Some(info),
        _ => None,
    }
}

fn explain(code: RefusalCode, error: &ProcessError) -> Refusal {
    let code = match error {
        ProcessError::HandshakeFormat => RefusalCode::PrivateMessage,
        ProcessError::StaleEpoch { current, .. } => RefusalCode::StaleEpoch { head: *current },
        ProcessError::FutureEpoch { current, .. } => RefusalCode::FutureEpoch { head: *current },
        _ => code,
    };
    refusal(code, error.to_string())
}
