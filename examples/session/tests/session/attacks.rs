//! A lying server, and members that keep to no rule: what sessions refuse, count, and go on after.

mod histories;
mod reports;

use std::cell::RefCell;
use std::rc::Rc;

use call_session::{Session, SessionError, SessionStats, Status};
use mls::ExternalJoinOptions;
use mls::crypto::os_rng;
use mls::wire::{
    Extension, ExtensionType, Extensions, ExternalPub, MlsMessageBody, RequiredCapabilities,
};
use sframe_bridge::committer::CommitAlarm;
use sframe_bridge::{CallParameters, CipherSuite, ParameterFloor};
use sfu_protocol::{
    Blob, ChangeKind, DeliveryEvent, DeliveryRequest, EXTERNAL_PUB_HASH, EXTERNAL_PUB_LABEL,
    EntryKind, Identity, LogEntry, RemovalReason,
};

use crate::call;
use crate::evil::Deceit;
use crate::rogue::Rogue;
use crate::world::{World, decode};

pub(super) const INVITE: &str = "secret of the link";

/// What must not change: epoch, roster, key, status.
pub(super) fn state(world: &World, name: &str) -> impl PartialEq + std::fmt::Debug + use<> {
    let session = &world.members[name].session;
    let key = session.base_key_for_audit().map(|key| key.expose_secret().to_vec());
    (session.epoch(), session.roster(), key, session.status().clone(), session.own_leaf())
}

pub(super) fn stats(world: &World, name: &str) -> SessionStats {
    *world.members[name].session.stats()
}

pub(super) fn session<'a>(world: &'a mut World, name: &str) -> &'a mut Session {
    &mut world.members.get_mut(name).unwrap().session
}

/// The server announces somebody whom it made up, and so gets it into the tree: everybody sees it, and it has no key,
/// as it lacks the secret of the invite.
#[test]
fn a_ghost_participant_that_the_server_announces() {
    let mut world = call(&["alice", "bob"]);
    let mut ghost = Rogue::new("ghost", None);
    world.wires.insert("ghost".to_owned(), Vec::new());
    let key_package = ghost.key_package(&world).into();
    ghost.ask(&mut world, DeliveryRequest::Join { key_package }).unwrap();
    world.run(1_000);
    let roster = world.members["alice"].session.roster();
    assert!(roster.iter().any(|member| member.identity == Identity::new("ghost")), "it shows");
    let (epoch, welcome) = ghost.welcome(&world).unwrap();
    let tree = world.trees[&epoch].clone();
    let error = ghost.try_join(&world, &welcome, &tree).unwrap_err();
    assert!(matches!(error, mls::JoinError::PskUnknown(_)), "{error}");
    // With the psk of another invite it gets no further.
    let mut guessing = Rogue::new("guess", Some("another secret"));
    world.wires.insert("guess".to_owned(), Vec::new());
    let key_package = guessing.key_package(&world).into();
    guessing.ask(&mut world, DeliveryRequest::Join { key_package }).unwrap();
    world.run(1_000);
    let (epoch, welcome) = guessing.welcome(&world).unwrap();
    let tree = world.trees[&epoch].clone();
    let error = guessing.try_join(&world, &welcome, &tree).unwrap_err();
    assert_eq!(error, mls::JoinError::EncryptedGroupInfo);
    assert_eq!(stats(&world, "alice"), SessionStats::default());
}

/// The server has no signature key of a member: what it puts into the log itself is no commit and no proposal.
#[test]
fn a_ghost_participant_that_the_server_puts_into_the_log() {
    let mut world = call(&["alice", "bob"]);
    let before = ["alice", "bob"].map(|name| state(&world, name));
    let epoch = world.group.as_ref().unwrap().epoch;
    let unix = world.moment().unix;
    let ghost = Rogue::new("ghost", Some(INVITE));
    let tree = world.trees[&epoch].clone();
    let options = ExternalJoinOptions::default();
    let joining =
        ghost.client.join_external(&world.info, Some(&tree), options, &mut os_rng(), unix).unwrap();
    let bundle = ghost.client.key_package(&mut os_rng(), unix).unwrap();
    let id = mls::GroupId(world.group.as_ref().unwrap().group_id.to_vec());
    let proposing = ghost.client.propose_join(id, epoch, &bundle).unwrap();
    let seq = world.log.len() as u64;
    for (kind, message) in
        [(EntryKind::Commit, joining.commit().to_vec()), (EntryKind::Proposal, proposing.message)]
    {
        let seq = seq + u64::from(kind == EntryKind::Proposal);
        let entry = LogEntry { seq, epoch, kind, sender: None, message: message.into() };
        world.tell_members(&DeliveryEvent::Entry { entry });
        world.run(10);
    }
    for (name, before) in ["alice", "bob"].into_iter().zip(before) {
        assert_eq!(state(&world, name), before);
        let expected = SessionStats { ignored: 2, ..SessionStats::default() };
        for rule in ["external-commit-is-no-resync", "proposer-is-no-member"] {
            let told = &world.members[name].ignored;
            assert!(told.iter().any(|reason| reason.contains(rule)), "{rule}: {told:?}");
        }
        assert_eq!(stats(&world, name), expected);
    }
    world.agree(&["alice", "bob"]);
}

/// Who joins is handed somebody else's Welcome.
#[test]
fn a_swapped_welcome() {
    let mut world = call(&["alice", "bob"]);
    let kept: Rc<RefCell<Option<DeliveryEvent>>> = Rc::default();
    let swap = Rc::clone(&kept);
    world.censor = Some(Box::new(move |name, event| match (&event, name) {
        (DeliveryEvent::Welcome { .. }, "carol") => {
            *swap.borrow_mut() = Some(event.clone());
            Some(event)
        }
        (DeliveryEvent::Welcome { .. }, "dave") => swap.borrow().clone(),
        _ => Some(event),
    }));
    world.arrive("carol", INVITE);
    world.run(1_000);
    world.agree(&["alice", "bob", "carol"]);
    world.arrive("dave", INVITE);
    world.run(1_000);
    assert_eq!(*world.status("dave"), Status::Joining);
    let expected = SessionStats { joins_refused: 1, ignored: 1, ..SessionStats::default() };
    assert_eq!(stats(&world, "dave"), expected);
    assert_eq!(world.members["dave"].ignored, ["a welcome for another key package"]);
    assert!(world.members["dave"].keys.is_empty());
    assert_eq!(stats(&world, "alice"), SessionStats::default());
    // An honest server has it come back, and then its own Welcome serves.
    world.censor = None;
    world.disconnect("dave");
    world.connect("dave");
    world.run(1_500);
    world.agree(&["alice", "bob", "carol", "dave"]);
}

/// The server sets the member that comes back into an epoch in which somebody sits who was removed since, and whose
/// keys it may have.
#[test]
fn an_old_group_info() {
    let mut world = call(&["alice", "bob", "carol"]);
    let epoch = world.group.as_ref().unwrap().epoch;
    let old = DeliveryEvent::GroupInfo {
        epoch,
        group_info: world.info.clone(),
        ratchet_tree: world.trees[&epoch].clone(),
    };
    session(&mut world, "bob").leave();
    world.run(1_000);
    let epoch = world.agree(&["alice", "carol"]);
    world.censor = Some(Box::new(move |name, event| match &event {
        DeliveryEvent::GroupInfo { .. } if name == "carol" => Some(old.clone()),
        _ => Some(event),
    }));
    fall_out_of_step(&mut world, "carol", refresh);
    let carol = stats(&world, "carol");
    assert_eq!((carol.joins_refused, carol.resyncs), (1, 1));
    let expected = SessionError::OldState { expected: epoch }.to_string();
    assert_eq!(world.members["carol"].ignored, [expected]);
    // It came back by a fresh key package instead.
    let epoch = world.agree(&["alice", "carol"]);
    assert_eq!(world.members["carol"].epochs.last(), Some(&epoch));
}

#[test]
fn an_altered_group_info() {
    for part in ["info", "tree"] {
        let mut world = call(&["alice", "bob", "carol"]);
        world.censor = Some(Box::new(move |name, event| match event {
            DeliveryEvent::GroupInfo { epoch, group_info, ratchet_tree } if name == "carol" => {
                let (mut info, mut tree) = (group_info.to_vec(), ratchet_tree.to_vec());
                let altered = if part == "info" { &mut info } else { &mut tree };
                let middle = altered.len() / 2;
                altered[middle] ^= 4;
                let (group_info, ratchet_tree) = (info.into(), tree.into());
                Some(DeliveryEvent::GroupInfo { epoch, group_info, ratchet_tree })
            }
            _ => Some(event),
        }));
        fall_out_of_step(&mut world, "carol", refresh);
        assert_eq!(stats(&world, "carol").joins_refused, 1, "{part}");
        world.agree(&["alice", "bob", "carol"]);
    }
}

fn refresh(world: &mut World) {
    session(world, "alice").want_new_epoch(sframe_bridge::Now::from_millis(0));
}

/// The log does not lead where the server says the call is: somebody misses this commit.
fn fall_out_of_step(world: &mut World, name: &str, commit: impl FnOnce(&mut World)) {
    world.disconnect(name);
    let unheard = world.log.len();
    commit(world);
    world.run(500);
    let lost = world.log.split_off(unheard);
    assert!(!lost.is_empty());
    world.connect(name);
    world.run(20);
    world.log.extend(lost);
    world.run(2_000);
}

/// A call whose parameters its creator made weak, or whom the server picked for that.
#[test]
fn a_downgrade_of_call_parameters() {
    let mut world = World::default();
    world.arrive_with("alice", INVITE, |config| {
        config.parameters.suite = CipherSuite::Aes128CtrHmacSha256_32;
        config.floor = ParameterFloor { tag_length: 4, ..ParameterFloor::default() };
    });
    world.run(1_000);
    world.agree(&["alice"]);
    world.arrive("bob", INVITE);
    world.run(1_000);
    let Status::Failed { reason } = world.status("bob") else {
        panic!("found {:?}", world.status("bob"));
    };
    assert!(reason.contains("tag length"), "{reason}");
    assert_eq!(stats(&world, "bob"), SessionStats { joins_refused: 1, ..SessionStats::default() });
    assert!(world.members["bob"].keys.is_empty());
}

/// Nothing but one suite is spoken here: a key package, and so a Welcome, for another one is none.
#[test]
fn a_downgrade_of_the_suite() {
    let mut world = call(&["alice", "bob"]);
    let before = state(&world, "alice");
    let suite = mls::crypto::default_provider()
        .suite(mls::CipherSuite::X25519_AES128GCM_SHA256_ED25519)
        .unwrap();
    let identity = mls::Identity::basic("carol", suite, &mut os_rng()).unwrap();
    let mut options = mls::ClientOptions::new(call_session::NamedMembers);
    let parameters = ExtensionType(CallParameters::EXTENSION_TYPE);
    options.capabilities.extensions.push(parameters);
    let weaker = mls::Client::new(suite, identity, options);
    let bundle = weaker.key_package(&mut os_rng(), world.moment().unix).unwrap();
    world.wires.insert("carol".to_owned(), Vec::new());
    let key_package = bundle.message().into();
    let identity = Identity::new("carol");
    world.change(ChangeKind::Add { identity, name: "carol".to_owned(), key_package });
    world.run(1_000);
    assert_eq!(state(&world, "alice"), before, "nobody adds it");
    assert_eq!(stats(&world, "alice"), SessionStats::default());
    assert!(world.wires["carol"].is_empty());
}

/// A commit that leaves the one who made it in the call, although it was to go.
#[test]
fn a_member_about_to_be_removed_that_commits_without_its_own_removal() {
    let mut world = call(&["alice", "bob"]);
    let mut mallory = Rogue::new("mallory", Some(INVITE));
    mallory.join(&mut world);
    let leaf = mallory.group().own_leaf().0;
    // Mallory is quicker than those who are to remove it.
    world.gone("mallory", RemovalReason::Moderator);
    mallory.plainly(&mut world, |commit| commit).unwrap();
    world.run(5);
    for name in ["alice", "bob"] {
        assert_eq!(
            world.members[name].alarms,
            [CommitAlarm::CommitterIsLeaving { leaf }],
            "{name}"
        );
        assert_eq!(stats(&world, name).alarms, 1);
    }
    // It counts, as the log has it; and then it goes.
    world.run(1_000);
    for name in ["alice", "bob"] {
        world.members.get_mut(name).unwrap().alarms.clear();
    }
    world.agree(&["alice", "bob"]);
}

/// The server announces the removal of a leaf at which nobody is: nobody commits for it, and others go all the same.
#[test]
fn a_removal_of_nobody() {
    let mut world = call(&["alice", "bob", "carol"]);
    let epoch = world.agree(&["alice", "bob", "carol"]);
    let identity = Identity::new("nobody");
    let reason = RemovalReason::Gone;
    world.change(ChangeKind::Remove { leaf: 999, identity, reason, proposal: None });
    world.run(2_000);
    assert_eq!(world.agree(&["alice", "bob", "carol"]), epoch);
    session(&mut world, "bob").leave();
    world.run(500);
    world.agree(&["alice", "carol"]);
    assert_eq!(stats(&world, "alice"), SessionStats::default());
}

/// A commit that leaves somebody in for longer than messages take.
#[test]
fn a_commit_that_omits_a_removal() {
    let mut world = call(&["alice", "bob", "carol"]);
    let mut mallory = Rogue::new("mallory", Some(INVITE));
    mallory.join(&mut world);
    // The honest ones cannot commit: their answers do not come.
    world.lose_submissions = true;
    session(&mut world, "carol").leave();
    world.run(400);
    world.lose_submissions = false;
    let leaf = world.leaves["carol"];
    mallory.plainly(&mut world, |commit| commit).unwrap();
    world.run(5);
    for name in ["alice", "bob"] {
        assert_eq!(world.members[name].alarms, [CommitAlarm::OmitsRemoval { leaf }], "{name}");
        assert_eq!(stats(&world, name).alarms, 1);
        world.members.get_mut(name).unwrap().alarms.clear();
    }
    world.run(3_000);
    assert!(!world.leaves.contains_key("carol"));
}

/// The server lets it pass; members do not. It is no commit for anybody, so that nobody moves.
#[test]
fn a_commit_that_alters_the_call_parameters() {
    let mut world = call(&["alice", "bob"]);
    let mut mallory = Rogue::new("mallory", Some(INVITE));
    mallory.join(&mut world);
    let before = ["alice", "bob"].map(|name| state(&world, name));
    let weaker =
        CallParameters { suite: CipherSuite::Aes128CtrHmacSha256_32, ..CallParameters::default() };
    let parameters = ExtensionType(CallParameters::EXTENSION_TYPE);
    let required = RequiredCapabilities {
        extension_types: vec![parameters],
        ..RequiredCapabilities::default()
    };
    let mut extensions = Extensions::new();
    extensions.set(Extension { extension_type: parameters, data: weaker.encode() });
    extensions.set(Extension::new(ExtensionType::REQUIRED_CAPABILITIES, &required));
    mallory.plainly(&mut world, |commit| commit.extensions(extensions)).unwrap();
    world.run(5);
    for (name, before) in ["alice", "bob"].into_iter().zip(before) {
        assert_eq!(state(&world, name), before);
        assert_eq!(stats(&world, name), SessionStats { ignored: 1, ..SessionStats::default() });
        let [reason] = &world.members[name].ignored[..] else { panic!("expected one reason") };
        assert!(reason.contains("call-parameters-changed"), "{reason}");
    }
}

/// An external commit in the name of a member, which its keys have not signed.
#[test]
fn an_external_commit_that_evicts_somebody() {
    let world = call(&["alice", "bob"]);
    let before = ["alice", "bob"].map(|name| state(&world, name));
    let epoch = world.group.as_ref().unwrap().epoch;
    let unix = world.moment().unix;
    let impostor = Rogue::new("bob", Some(INVITE));
    let tree = world.trees[&epoch].clone();
    let options = ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
    let joining =
        impostor.client.join_external(&world.info, Some(&tree), options, &mut os_rng(), unix);
    // Without bob's key it finds no leaf of its own to take, and so evicts nobody.
    let error = joining.unwrap_err();
    assert_eq!(error, mls::JoinError::OwnLeafMissing);
    for (name, before) in ["alice", "bob"].into_iter().zip(before) {
        assert_eq!(state(&world, name), before);
    }
}

/// Without acknowledgements the others go by their own clocks: nobody stays in the call for it.
#[test]
fn a_server_that_withholds_acknowledgements() {
    let mut world = call(&["alice", "bob", "carol"]);
    world.censor = Some(Box::new(|_, event| match event {
        DeliveryEvent::Acknowledged { .. } => None,
        other => Some(other),
    }));
    for name in ["dave", "erin"] {
        world.arrive(name, INVITE);
        world.run(2_000);
    }
    session(&mut world, "bob").leave();
    world.run(500);
    world.agree(&["alice", "carol", "dave", "erin"]);
    for name in ["alice", "carol", "dave", "erin"] {
        assert_eq!(stats(&world, name), SessionStats::default(), "{name}");
    }
}

/// Whoever cannot open what a valid commit holds for it says so and comes back by itself; nobody takes another commit.
#[test]
fn a_commit_whose_path_fails_for_a_chosen_half() {
    let mut world = call(&["alice", "bob", "carol"]);
    let mut mallory = Rogue::new("mallory", Some(INVITE));
    mallory.join(&mut world);
    // One path secret is good, the other one for nobody.
    mallory.commit(&mut world, Deceit::FailsAfter(1), Deceit::None, |commit| commit).unwrap();
    world.run(3_000);
    let failed = |name: &&str| stats(&world, name).failures_reported == 1;
    let half: Vec<_> = ["alice", "bob", "carol"].into_iter().filter(failed).collect();
    assert_eq!(half, ["alice", "bob"]);
    for name in half {
        let stats = stats(&world, name);
        assert_eq!((stats.ignored, stats.joins_refused), (1, 0), "{name}");
        // Of the two that come back at the same time one is first.
        assert!((1..=2).contains(&stats.resyncs), "{name}");
    }
    mallory.follow(&world);
    assert_agree_with(&mut world, &mut mallory);
}

/// What a member said of an epoch's external key when it acknowledged the epoch.
fn said(world: &World, name: &str, epoch: u64) -> Blob {
    world.external_pubs[&(name.to_owned(), epoch)].clone().unwrap()
}

/// What it should have said of the key in this GroupInfo.
fn external_pub_hash(info: &[u8]) -> Vec<u8> {
    let MlsMessageBody::GroupInfo(info) = decode(info) else { panic!("expected a GroupInfo") };
    let key: ExternalPub = info.extensions.parse(ExtensionType::EXTERNAL_PUB).unwrap().unwrap();
    let suite = mls::CipherSuite::P256_AES128GCM_SHA256_P256;
    let suite = mls::crypto::default_provider().suite(suite).unwrap();
    let hash = suite.ref_hash(EXTERNAL_PUB_LABEL, key.external_pub.as_bytes()).unwrap();
    hash.as_bytes()[..EXTERNAL_PUB_HASH].to_vec()
}

/// A committer gives those who come back a key that belongs to nothing: whoever follows it is not understood, and
/// everybody else comes back to where it stands.
#[test]
fn a_false_external_pub() {
    let mut world = call(&["alice", "bob", "carol"]);
    let mut mallory = Rogue::new("mallory", Some(INVITE));
    mallory.join(&mut world);
    let epoch = world.group.as_ref().unwrap().epoch;
    assert_eq!(said(&world, "alice", epoch)[..], external_pub_hash(&world.info));
    let mut published = None;
    fall_out_of_step(&mut world, "carol", |world| {
        mallory.commit(world, Deceit::None, Deceit::FalseKeys, |commit| commit).unwrap();
        published = Some((world.group.as_ref().unwrap().epoch, world.info.clone()));
    });
    // Those who are in the epoch say which key it has, so that the server can tell.
    let (epoch, info) = published.unwrap();
    assert_eq!(said(&world, "alice", epoch), said(&world, "bob", epoch));
    assert_ne!(said(&world, "alice", epoch)[..], external_pub_hash(&info));
    world.run(3_000);
    let counts = |name| (stats(&world, name).failures_reported, stats(&world, name).joins_refused);
    assert_eq!(["alice", "bob", "carol"].map(counts), [(1, 0), (1, 0), (0, 0)]);
    let epoch = world.group.as_ref().unwrap().epoch;
    let key = &world.members["carol"].keys[&epoch];
    for name in ["alice", "bob", "carol"] {
        assert_eq!(*world.status(name), Status::Member { epoch }, "{name}");
        assert_eq!(world.members[name].keys[&epoch], *key, "{name}");
    }
}

fn assert_agree_with(world: &mut World, rogue: &mut Rogue) {
    let epoch = world.group.as_ref().unwrap().epoch;
    let key = rogue.group().export(sframe_bridge::BASE_KEY_LABEL, b"", 16).unwrap();
    for name in ["alice", "bob", "carol"] {
        let member = &world.members[name];
        assert_eq!(*world.status(name), Status::Member { epoch }, "{name}");
        assert_eq!(member.keys[&epoch], key.as_bytes(), "{name}");
    }
}
