//! The rules on groups that continue another one (RFC 9420 sections 11.2, 11.3, 12.4.3.1): a member who makes such a group
//! breaks one of them, and whoever is invited names it.

use super::*;
use crate::{
    Action, CommitError, Fault, GroupId, GroupOptions, JoinError,
    group::succession::Link,
    validation::SuccessionViolation as Violation,
    wire::{
        CipherSuite, Extension, ExtensionType, Extensions, GroupSecrets, PreSharedKeyId,
        ProtocolVersion, PskSource, ReInit, ResumptionPskUsage,
    },
};

const NEW_ID: &[u8] = b"successor";
const KIND: ExtensionType = ExtensionType(0xff05);

fn extensions(value: u8) -> Extensions {
    Extensions::from_iter([Extension { extension_type: KIND, data: vec![value] }])
}

fn reinit() -> ReInit {
    ReInit {
        group_id: GroupId(NEW_ID.to_vec()),
        version: ProtocolVersion::MLS10,
        cipher_suite: suite().id,
        extensions: extensions(1),
    }
}

/// A group of four, closed by a ReInit of member 1, in which each has a client for what comes next.
struct Succession {
    scene: Scene,
    clients: Vec<Client>,
}

fn able_scene(seed: u64) -> Succession {
    let mut options = public_options();
    options.capabilities.extensions.push(KIND);
    options.validator = std::sync::Arc::new(SameName);
    let mut scene = scene_with(seed, options);
    let clients = (0..4).map(|index| scene.client(&format!("member {index}"))).collect();
    Succession { scene, clients }
}

/// A member keeps the name in its credential, whatever its key.
struct SameName;

impl crate::CredentialValidator for SameName {
    fn validate(
        &self,
        _: &crate::wire::Credential,
        _: &crate::wire::SignaturePublicKey,
        _: crate::UnixTime,
    ) -> Result<(), crate::CredentialRejected> {
        Ok(())
    }
}

fn closed(seed: u64) -> Succession {
    let mut this = able_scene(seed);
    let scene = &mut this.scene;
    let pending = scene.groups[1].commit().reinit(reinit()).build(&mut scene.rng, NOW).unwrap();
    scene.settle(1, pending);
    this
}

/// How the maker of a group deviates from what it should make.
struct Made {
    id: &'static [u8],
    extensions: Extensions,
    /// Who is in beside the maker.
    members: Vec<Client>,
    usages: Vec<ResumptionPskUsage>,
    of_group: GroupId,
    /// How many epochs the PSK lies ahead of the old group's present one.
    ahead: i64,
    /// Commits before the one that adds the others.
    late: bool,
    /// Does not have the old group's resumption key.
    outsider: bool,
}

impl Succession {
    fn made(&self, usage: ResumptionPskUsage) -> Made {
        let parent = usage == ResumptionPskUsage::Branch;
        Made {
            id: NEW_ID,
            extensions: if parent { Extensions::new() } else { extensions(1) },
            members: self.clients[1..].to_vec(),
            usages: vec![usage],
            of_group: self.scene.groups[0].id().clone(),
            ahead: 0,
            late: false,
            outsider: false,
        }
    }

    /// Member 0 makes the group; the first of those who are in it tries to join.
    fn join(&mut self, made: Made) -> Result<crate::StagedJoin, JoinError> {
        let rng = &mut self.scene.rng;
        let old = &self.scene.groups[0];
        let options = GroupOptions { extensions: made.extensions, ..GroupOptions::default() };
        let id = GroupId(made.id.to_vec());
        let mut new = self.clients[0].create_group(id, options, rng, NOW).unwrap();
        if made.late {
            let pending = new.commit().build(rng, NOW).unwrap();
            new.confirm(pending).unwrap();
        }
        let bundles: Vec<_> = made.members.iter().map(|client| key_package(client, rng)).collect();
        let mut commit = new.commit();
        let mut proposals = Vec::new();
        for usage in made.usages {
            let source = PskSource::Resumption {
                usage,
                psk_group_id: made.of_group.clone(),
                psk_epoch: old.epoch().checked_add_signed(made.ahead).unwrap(),
            };
            proposals.push(PreSharedKeyId { source, psk_nonce: vec![7; 32] });
        }
        if let Some(id) = proposals.first().cloned() {
            let psk = match made.outsider {
                true => crate::schedule::Psk::from_slice(&[1; 32]),
                false => old.resumption_psk().unwrap(),
            };
            commit = commit.linked(Link { id, psk });
        }
        for bundle in &bundles {
            commit = commit.add(bundle.key_package().clone());
        }
        let pending = commit.build(rng, NOW).unwrap();
        let mut welcome = pending.welcome().unwrap().to_vec();
        if proposals.len() > 1 {
            welcome = with_psks(&welcome, &bundles[0], proposals, rng);
        }
        let old = &self.scene.groups[1];
        let before = old.encode_state().unwrap();
        let joined = made.members[0].join_from(old, &welcome, [&bundles[0]], None, NOW);
        assert_eq!(*old.encode_state().unwrap(), *before);
        joined
    }

    fn refused(&mut self, violation: Violation, made: Made) {
        let expected = JoinError::Succession(violation);
        let error = self.join(made).unwrap_err();
        assert_eq!(error, expected);
    }
}

/// A Welcome that tells the first of those invited of other PSKs. What follows from them is not tested here.
fn with_psks(
    message: &[u8],
    bundle: &KeyPackageBundle,
    psks: Vec<PreSharedKeyId>,
    rng: &mut StdRng,
) -> Vec<u8> {
    let MlsMessageBody::Welcome(mut welcome) = MlsMessage::from_bytes(message).unwrap().0 else {
        panic!("expected a welcome");
    };
    let secrets = GroupSecrets::new(vec![1; 32], None, psks).to_bytes();
    let init_key = suite().kem.public_key(bundle.key_package().init_key.as_bytes()).unwrap();
    let context = &welcome.encrypted_group_info;
    let sealed = suite().encrypt_with_label(&*init_key, "Welcome", context, &secrets, rng).unwrap();
    welcome.secrets[0].encrypted_group_secrets = sealed;
    MlsMessage(MlsMessageBody::Welcome(welcome)).to_bytes()
}

#[test]
fn a_successor_by_the_rules_is_joined() {
    let mut this = closed(1);
    let made = this.made(ResumptionPskUsage::ReInit);
    let joined = this.join(made).unwrap();
    assert_eq!(joined.continues(), Some(ResumptionPskUsage::ReInit));
}

#[test]
fn a_successor_with_other_parameters_than_those_of_the_reinit() {
    let mut this = closed(2);
    let right = |this: &Succession| this.made(ResumptionPskUsage::ReInit);
    let made = Made { id: b"another", ..right(&this) };
    this.refused(Violation::GroupId, made);
    let made = Made { extensions: extensions(2), ..right(&this) };
    this.refused(Violation::Extensions, made);
    let made = Made { late: true, ..right(&this) };
    this.refused(Violation::Epoch(2), made);
    for (version, cipher_suite, violation) in [
        (ProtocolVersion(2), suite().id, Violation::Version),
        (
            ProtocolVersion::MLS10,
            CipherSuite::X25519_CHACHA20POLY1305_SHA256_ED25519,
            Violation::CipherSuite,
        ),
    ] {
        let asked = ReInit { version, cipher_suite, ..reinit() };
        this.scene.groups[1].closed = Some(asked);
        let made = right(&this);
        this.refused(violation, made);
    }
}

#[test]
fn a_successor_with_other_members() {
    let mut this = closed(3);
    let right = |this: &Succession| this.made(ResumptionPskUsage::ReInit);
    let at = |this: &Succession, leaf: u32| {
        Box::new(this.scene.groups[0].member(LeafIndex(leaf)).unwrap())
    };
    let made = Made { members: this.clients[1..3].to_vec(), ..right(&this) };
    this.refused(Violation::MemberMissing(at(&this, 3)), made);

    let stranger = this.scene.client("stranger");
    let mut made = right(&this);
    made.members.push(stranger.clone());
    let error = this.join(made).unwrap_err();
    assert_eq!(error.fault(), Fault::MisbehavingPeer);
    let JoinError::Succession(Violation::Stranger(found)) = error else { panic!("{error}") };
    assert_eq!(&found.credential, stranger.identity().credential());

    // One who takes the place of another.
    let mut made = right(&this);
    made.members[2] = stranger;
    this.refused(Violation::MemberMissing(at(&this, 3)), made);
    // One who stands there twice does not stand for two.
    let twin = this.scene.client("member 2");
    let mut made = right(&this);
    made.members[2] = twin;
    this.refused(Violation::MemberMissing(at(&this, 3)), made);
}

#[test]
fn a_successor_that_is_tied_to_something_else() {
    let mut this = closed(4);
    let right = |this: &Succession| this.made(ResumptionPskUsage::ReInit);
    let made = Made { of_group: GroupId(b"elsewhere".to_vec()), ..right(&this) };
    this.refused(Violation::OtherPredecessor, made);
    let made = Made { ahead: -1, ..right(&this) };
    this.refused(Violation::OtherPredecessor, made);
    let made = Made { usages: Vec::new(), ..right(&this) };
    this.refused(Violation::LinkCount, made);
    let made = Made {
        usages: vec![ResumptionPskUsage::ReInit, ResumptionPskUsage::Branch],
        ..right(&this)
    };
    this.refused(Violation::LinkCount, made);
    // Who only names the old group, and lacks its key, makes a Welcome that does not open.
    let made = Made { outsider: true, ..right(&this) };
    assert_eq!(this.join(made).unwrap_err(), JoinError::EncryptedGroupInfo);
    // Who has been removed from the old group has no key to compare with.
    let made = right(&this);
    let kept = this.scene.groups[1].secrets.take();
    let error = this.join(made).unwrap_err();
    assert!(matches!(error, JoinError::PskUnknown(_)), "{error}");
    this.scene.groups[1].secrets = kept;
}

#[test]
fn a_successor_before_the_reinit_has_arrived_can_wait() {
    let mut this = able_scene(5);
    let made = this.made(ResumptionPskUsage::ReInit);
    this.refused(Violation::NotReinitialized, made);
    let rng = &mut this.scene.rng;
    let pending = this.scene.groups[0].commit().reinit(reinit()).build(rng, NOW).unwrap();
    let commit = pending.commit().to_vec();
    this.scene.groups[0].confirm(pending).unwrap();
    let epoch = this.scene.groups[0].epoch();
    let made = this.made(ResumptionPskUsage::ReInit);
    let error = this.join(made).unwrap_err();
    assert_eq!(error, Violation::Early { epoch, current: epoch - 1 }.into());
    assert_eq!((error.fault(), error.action()), (Fault::Timing, Action::WaitForKey));
    support::deliver(&mut this.scene.groups, &commit, 0);
    let made = this.made(ResumptionPskUsage::ReInit);
    let _ = this.join(made).unwrap();
}

#[test]
fn a_group_that_continues_another_one_is_not_joined_without_it() {
    let mut this = closed(6);
    let rng = &mut this.scene.rng;
    let bundles: Vec<_> = this.clients[1..].iter().map(|client| key_package(client, rng)).collect();
    let mut builder = this.scene.groups[0].successor(&this.clients[0]);
    for bundle in &bundles {
        builder = builder.add(bundle.key_package().clone());
    }
    let new = builder.build(rng, NOW).unwrap();
    let joined = this.clients[1].join(new.welcome().unwrap(), [&bundles[0]], None, NOW);
    assert_eq!(joined.unwrap_err(), JoinError::PskUsage);
}

#[test]
fn a_branch_by_the_rules_and_against_them() {
    let mut this = able_scene(7);
    let right = |this: &Succession| this.made(ResumptionPskUsage::Branch);
    let made = Made { members: this.clients[1..3].to_vec(), ..right(&this) };
    let joined = this.join(made).unwrap();
    assert_eq!(joined.continues(), Some(ResumptionPskUsage::Branch));

    let made = Made { late: true, ..right(&this) };
    this.refused(Violation::Epoch(2), made);
    let made = Made { id: b"test group", ..right(&this) };
    this.refused(Violation::GroupIdInUse, made);
    let made = Made { of_group: GroupId(b"elsewhere".to_vec()), ..right(&this) };
    this.refused(Violation::OtherPredecessor, made);
    let epoch = this.scene.groups[0].epoch();
    let made = Made { ahead: 1, ..right(&this) };
    this.refused(Violation::Early { epoch: epoch + 1, current: epoch }, made);
    let stranger = this.scene.client("stranger");
    let mut made = right(&this);
    made.members.push(stranger);
    let error = this.join(made).unwrap_err();
    assert!(matches!(error, JoinError::Succession(Violation::Stranger(_))), "{error}");
    // An epoch that is not kept any more: neither its key nor its roster is known.
    this.scene.groups[1].past.clear();
    let made = Made { ahead: -1, ..right(&this) };
    let error = this.join(made).unwrap_err();
    assert!(matches!(error, JoinError::PskUnknown(_)), "{error}");
}

#[test]
fn a_branch_of_another_suite() {
    let mut this = able_scene(8);
    let other = crate::crypto::default_provider()
        .suite(CipherSuite::X25519_CHACHA20POLY1305_SHA256_ED25519)
        .unwrap();
    let options = this.scene.options.clone();
    let rng = &mut this.scene.rng;
    this.clients = (0..4)
        .map(|index| client(&format!("member {index}"), other, options.clone(), rng))
        .collect();
    let made = this.made(ResumptionPskUsage::Branch);
    this.refused(Violation::CipherSuite, made);
}

#[test]
fn the_maker_is_held_to_the_same_rules() {
    let mut this = able_scene(9);
    let rng = &mut this.scene.rng;
    let (own, old) = (&this.clients[0], &this.scene.groups[0]);
    let refused = |built: Result<crate::NewGroup, CommitError>, violation: Violation| {
        assert_eq!(built.unwrap_err(), CommitError::Succession(violation));
    };
    refused(old.successor(own).build(rng, NOW), Violation::NotReinitialized);
    refused(old.branch(old.id().clone()).build(rng, NOW), Violation::GroupIdInUse);

    let mut this = closed(10);
    let stranger = this.scene.client("stranger");
    let rng = &mut this.scene.rng;
    let (own, old) = (&this.clients[0], &this.scene.groups[0]);
    let missing = Violation::MemberMissing(Box::new(old.member(LeafIndex(1)).unwrap()));
    refused(old.successor(own).build(rng, NOW), missing.clone());
    let missing = Violation::MemberMissing(Box::new(old.member(LeafIndex(0)).unwrap()));
    let mut builder = old.successor(&stranger);
    for client in &this.clients[1..] {
        builder = builder.add(key_package(client, rng).key_package().clone());
    }
    refused(builder.build(rng, NOW), missing);
    let branch = old.branch(GroupId(b"branch".to_vec())).build(rng, NOW);
    assert_eq!(branch.unwrap_err(), CommitError::Inactive);
}

#[test]
fn a_delivery_service_checks_what_it_can_see_of_a_successor() {
    let mut this = closed(11);
    assert_eq!(this.scene.service.reinit(), Some(&reinit()));
    let options = || PublicGroupOptions::new(SameName);
    let rng = &mut this.scene.rng;
    let mut builder = this.scene.groups[2].successor(&this.clients[2]);
    for index in [0, 1, 3] {
        let bundle = key_package(&this.clients[index], rng);
        builder = builder.add(bundle.key_package().clone());
    }
    let new = builder.welcome_tree(false).build(rng, NOW).unwrap();
    let info = new.group_info(GroupInfoOptions { tree: false, external_pub: true }).unwrap();
    let tree = new.ratchet_tree();
    let service = &this.scene.service;
    let followed = service.successor(suite(), &info, Some(&tree), options(), NOW).unwrap();
    assert_eq!(followed.context(), new.context());

    let mut other = this.clients[2]
        .create_group(GroupId(NEW_ID.to_vec()), GroupOptions::default(), rng, NOW)
        .unwrap();
    let refused = |group: &Group, violation| {
        let info = group.group_info(GroupInfoOptions::default()).unwrap();
        let error = service.successor(suite(), &info, None, options(), NOW).unwrap_err();
        assert_eq!(error, JoinError::Succession(violation));
    };
    refused(&other, Violation::Epoch(0));
    let pending = other.commit().extensions(extensions(1)).build(rng, NOW).unwrap();
    other.confirm(pending).unwrap();
    let missing = this.scene.groups[0].member(LeafIndex(0)).unwrap();
    refused(&other, Violation::MemberMissing(Box::new(missing)));
    let open = &scene(12).service;
    let info = other.group_info(GroupInfoOptions::default()).unwrap();
    assert_eq!(
        open.successor(suite(), &info, None, options(), NOW).unwrap_err(),
        JoinError::Succession(Violation::NotReinitialized)
    );
}

#[test]
fn a_closed_group_sends_and_takes_nothing_more() {
    let mut this = able_scene(13);
    // Two who have not heard of the ReInit, and one who ignores it.
    let rng = &mut this.scene.rng;
    let late = this.scene.groups[2].protect(b"late", b"", rng).unwrap();
    let pending = this.scene.groups[1].commit().reinit(reinit()).build(rng, NOW).unwrap();
    this.scene.settle(1, pending);
    let rng = &mut this.scene.rng;
    let defiant = &mut this.scene.groups[2];
    defiant.closed = None;
    let data = defiant.protect(b"data", b"", rng).unwrap();
    let proposal = defiant.propose_update(rng).unwrap().message;
    let commit = defiant.commit().without_received().build(rng, NOW).unwrap().commit().to_vec();
    defiant.set_handshake_format(crate::HandshakeFormat::Private);
    let private = defiant.commit().without_received().build(rng, NOW).unwrap().commit().to_vec();
    let old = &mut this.scene.groups[0];
    let before = old.encode_state().unwrap();
    for message in [&data, &proposal, &commit, &private] {
        assert_eq!(old.process(message, NOW).unwrap_err(), ProcessError::Inactive);
        assert_eq!(*old.encode_state().unwrap(), *before);
    }
    assert_eq!(ProcessError::Inactive.action(), Action::Stop);
    assert_eq!(old.protect(b"data", b"", rng).unwrap_err(), crate::ExportError::Inactive);
    assert_eq!(old.propose_update(rng).unwrap_err(), CommitError::Inactive);
    assert_eq!(old.commit().build(rng, NOW).unwrap_err(), CommitError::Inactive);
    // What was sent before the ReInit may still come.
    assert!(matches!(old.process(&late, NOW), Ok(crate::Processed::Application(_))));
}
