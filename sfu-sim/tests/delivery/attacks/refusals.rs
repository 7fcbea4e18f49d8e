//! Every refusal by its name, with the state as it was before.

use std::sync::Arc;
use std::time::Duration;

use mls::client::ExternalJoinOptions;
use mls::group::GroupInfoOptions;
use mls::wire::{Extension, ExtensionType, Extensions, LeafIndex};
use mls::{HandshakeFormat, UnixTime};
use sfu_sim::delivery::{DeliveryConfig, MemoryStorage, Output, Rate};
use sfu_sim::protocol::{Blob, DeliveryRequest, RefusalCode, ServerBody, SessionEvent};

use crate::client::mls_client;
use crate::world::{Bundle, INFO, World, bundle_of};

/// The request is refused with `code`, nothing changes, and it is counted.
#[track_caller]
pub fn refused(
    world: &mut World,
    name: &str,
    request: impl Into<DeliveryRequest>,
    code: RefusalCode,
) {
    let before = world.fingerprint();
    let counted = world.service.metrics().refused.get(code.name()).copied().unwrap_or(0);
    assert_eq!(world.ask(name, request), Err(code.clone()));
    assert_eq!(world.fingerprint(), before);
    assert_eq!(world.service.metrics().refused[code.name()], counted + 1);
}

/// What was refused has not done any harm.
#[track_caller]
pub fn still_works(world: &mut World, names: &[&str]) {
    for name in names {
        world.client(name).committing = None;
    }
    world.commit(names[0]).unwrap();
    world.assert_agree(names);
}

#[test]
fn stale_and_future_epochs() {
    let names = ["alice", "bob"];
    let mut world = World::with_members(&names);
    let stale = world.build("bob", |_| true);
    world.client("bob").committing = None;
    world.commit("alice").unwrap();
    refused(&mut world, "bob", stale, RefusalCode::StaleEpoch { head: 2 });
    // Bob runs ahead of the log.
    world.client("bob").acknowledges = false;
    world.build("bob", |_| true);
    let bob = world.client("bob");
    let ahead = bob.committing.take().unwrap();
    let time = UnixTime(0);
    let group = bob.group.as_mut().unwrap();
    group.confirm(ahead).unwrap();
    let pending = group.commit().build(&mut mls::crypto::os_rng(), time).unwrap();
    let future = bundle_of(&pending, bob.group.as_ref().unwrap());
    refused(&mut world, "bob", future, RefusalCode::FutureEpoch { head: 2 });
    refused(
        &mut world,
        "bob",
        DeliveryRequest::Ack { epoch: 3, external_pub: None },
        RefusalCode::FutureEpoch { head: 2 },
    );
    still_works(&mut world, &["alice"]);
}

#[test]
fn those_who_are_not_members() {
    let mut world = World::with_members(&["alice", "bob"]);
    world.add_client("eve", true);
    let bundle = world.build("alice", |_| true);
    refused(&mut world, "eve", bundle.clone(), RefusalCode::NotAMember);
    refused(&mut world, "bob", bundle, RefusalCode::WrongIdentity);
    for request in [
        DeliveryRequest::Ack { epoch: 1, external_pub: None },
        DeliveryRequest::FetchLog { since_epoch: 0 },
        DeliveryRequest::FetchGroupInfo,
        DeliveryRequest::FetchTree { epoch: 1 },
        DeliveryRequest::Heartbeat { epoch: 1, heartbeat: vec![1].into() },
        DeliveryRequest::ReportFailure { epoch: 1, report: vec![1].into() },
    ] {
        refused(&mut world, "eve", request, RefusalCode::NotAMember);
    }
    still_works(&mut world, &["alice", "bob"]);
}

fn external(world: &mut World, by: mls::Client, options: ExternalJoinOptions) -> Bundle {
    let (group_info, tree) = world.fetch_group_info("alice").unwrap();
    let rng = &mut mls::crypto::os_rng();
    let time = world.now.unix_time();
    let joining = by.join_external(&group_info, Some(&tree), options, rng, time).unwrap();
    Bundle {
        proposals: Vec::new(),
        commit: joining.commit().into(),
        welcome: None,
        group_info: joining.group_info(INFO).unwrap().into(),
    }
}

#[test]
fn external_commits_that_are_no_resync() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.add_client("eve", false);
    let resync = || ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
    let not_allowed = RefusalCode::ExternalCommitNotAllowed;
    // A stranger joins.
    let stranger = external(&mut world, mls_client("eve"), ExternalJoinOptions::default());
    refused(&mut world, "eve", stranger.clone(), RefusalCode::NotAMember);
    refused(&mut world, "bob", stranger, not_allowed.clone());
    // A member joins a second time, with other keys.
    let second = external(&mut world, mls_client("bob"), ExternalJoinOptions::default());
    refused(&mut world, "bob", second, not_allowed.clone());
    // A commit that takes the place of somebody else's leaf.
    let carols = world.client("carol").mls.clone();
    let evicting = external(&mut world, carols, resync());
    refused(&mut world, "bob", evicting, not_allowed);
    still_works(&mut world, &["alice", "bob", "carol"]);
}

#[test]
fn a_commit_that_omits_a_due_removal() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.ask("bob", DeliveryRequest::Leave).unwrap();
    world.pass(Duration::from_millis(299));
    let without = world.build("alice", |_| false);
    world.ask("alice", without).unwrap();
    world.pass(Duration::from_millis(1));
    let without = world.build("alice", |_| false);
    refused(&mut world, "alice", without, RefusalCode::OmitsRemoval { leaves: vec![1] });
    still_works(&mut world, &["alice", "carol"]);
}

#[test]
fn a_committer_whose_own_removal_is_pending() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    world.ask("bob", DeliveryRequest::Leave).unwrap();
    let bundle = world.build("bob", |_| false);
    refused(&mut world, "bob", bundle, RefusalCode::RemovalPending);
    let (resync, _) = world.build_resync("bob");
    refused(&mut world, "bob", resync, RefusalCode::RemovalPending);
    still_works(&mut world, &["alice", "carol"]);
}

#[test]
fn what_is_too_large() {
    let names = ["alice", "bob"];
    let mut world = World::with_members(&names);
    let config = DeliveryConfig::default();
    let sized = |limit: usize| (Blob::from(vec![0; limit + 1]), limit as u64);
    let bundle = world.build("alice", |_| true);
    let (commit, limit) = sized(config.max_commit);
    let large = Bundle { commit, ..bundle.clone() };
    refused(&mut world, "alice", large, RefusalCode::TooLarge { limit });
    let (welcome, limit) = sized(config.max_welcome);
    let large = Bundle { welcome: Some(welcome), ..bundle.clone() };
    refused(&mut world, "alice", large, RefusalCode::TooLarge { limit });
    let (group_info, limit) = sized(config.max_group_info);
    let large = Bundle { group_info, ..bundle };
    refused(&mut world, "alice", large, RefusalCode::TooLarge { limit });
    let (proposal, limit) = sized(config.max_proposal);
    let large = DeliveryRequest::Propose { proposal };
    refused(&mut world, "alice", large, RefusalCode::TooLarge { limit });
    let (key_package, limit) = sized(config.max_key_package);
    let large = DeliveryRequest::Join { key_package };
    refused(&mut world, "alice", large, RefusalCode::TooLarge { limit });
    let (report, limit) = sized(config.max_report);
    let large = DeliveryRequest::ReportFailure { epoch: 1, report };
    refused(&mut world, "alice", large, RefusalCode::TooLarge { limit });
    still_works(&mut world, &names);
}

#[test]
fn commits_and_resyncs_above_their_rate() {
    let rate = Rate { burst: 2, per_second: 1.0 };
    let config = DeliveryConfig {
        commits: rate,
        resyncs: rate,
        grace_ms: 60_000,
        ..DeliveryConfig::default()
    };
    let mut world = World::with(config, Arc::new(MemoryStorage::new()));
    world.add_members(&["alice", "bob"]);
    world.commit("alice").unwrap();
    let bundle = world.build("alice", |_| true);
    let id = world.post("alice", bundle.clone());
    let reply = world.reply("alice", id).unwrap();
    assert!(
        matches!(reply, Err(RefusalCode::RateLimited { retry_after_ms }) if retry_after_ms <= 1_001)
    );
    world.pass(Duration::from_secs(1));
    world.ask("alice", bundle).unwrap();
    // Connecting anew does not fill the ration.
    world.disconnect("alice");
    world.connect("alice");
    let bundle = world.build("alice", |_| true);
    assert!(matches!(world.ask("alice", bundle), Err(RefusalCode::RateLimited { .. })));
    world.client("bob").follows = false;
    for _ in 0..2 {
        let (bundle, joining) = world.build_resync("bob");
        world.ask("bob", bundle).unwrap();
        world.client("bob").group = Some(joining.confirm());
        world.pass(Duration::from_millis(20));
    }
    let (bundle, _) = world.build_resync("bob");
    assert!(matches!(world.ask("bob", bundle), Err(RefusalCode::RateLimited { .. })));
}

#[test]
fn private_handshakes() {
    let names = ["alice", "bob"];
    let mut world = World::with_members(&names);
    let group = world.client("alice").group.as_mut().unwrap();
    group.set_handshake_format(HandshakeFormat::Private);
    let bundle = world.build("alice", |_| true);
    refused(&mut world, "alice", bundle, RefusalCode::PrivateMessage);
    let group = world.client("alice").group.as_mut().unwrap();
    let update = group.propose_update(&mut mls::crypto::os_rng()).unwrap();
    group.clear_proposals();
    group.set_handshake_format(HandshakeFormat::Public);
    let proposal = update.message.into();
    let request = DeliveryRequest::Propose { proposal };
    refused(&mut world, "alice", request, RefusalCode::PrivateMessage);
    still_works(&mut world, &names);
}

#[test]
fn a_commit_that_alters_the_call_parameters() {
    let names = ["alice", "bob"];
    let mut world = World::with_members(&names);
    let alice = world.client("alice");
    let group = alice.group.as_mut().unwrap();
    let capabilities = mls::wire::RequiredCapabilities::default();
    let required = ExtensionType::REQUIRED_CAPABILITIES;
    let extensions: Extensions = [Extension::new(required, &capabilities)].into_iter().collect();
    let rng = &mut mls::crypto::os_rng();
    let pending = group.commit().extensions(extensions).build(rng, UnixTime(0)).unwrap();
    let bundle = bundle_of(&pending, alice.group.as_ref().unwrap());
    refused(&mut world, "alice", bundle, RefusalCode::InvalidCommit);
    still_works(&mut world, &names);
}

#[test]
fn proposals_that_are_not_acceptable() {
    let mut world = World::with_members(&["alice", "bob", "carol"]);
    let time = world.now.unix_time();
    let rng = &mut mls::crypto::os_rng();
    let ghost = mls_client("ghost").key_package(rng, time).unwrap();
    let group = world.client("alice").group.as_mut().unwrap();
    let add = group.propose_add(ghost.key_package().clone(), rng, time).unwrap().message;
    let remove = group.propose_remove(LeafIndex(1), rng).unwrap().message;
    let update = group.propose_update(rng).unwrap().message;
    group.clear_proposals();
    let propose = |message: &[u8]| DeliveryRequest::Propose { proposal: Blob::from(message) };
    refused(&mut world, "alice", propose(&add), RefusalCode::InvalidProposal);
    refused(&mut world, "alice", propose(&remove), RefusalCode::NotModerator);
    refused(&mut world, "bob", propose(&update), RefusalCode::WrongIdentity);
    refused(&mut world, "alice", propose(&[7; 50]), RefusalCode::Malformed);
    let mut forged = update.clone();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    assert!(world.ask("alice", propose(&forged)).is_err());
    world.client("alice").follows = false;
    world.ask("alice", propose(&update)).unwrap();
    world.client("alice").follows = true;
    refused(&mut world, "alice", propose(&update), RefusalCode::InvalidProposal);
    let commit = world.build("bob", |_| false);
    let as_proposal = propose(&commit.commit);
    refused(&mut world, "bob", as_proposal, RefusalCode::InvalidProposal);
}

#[test]
fn groups_that_are_not_acceptable() {
    let mut world = World::new();
    world.add_client("alice", false);
    world.add_client("bob", false);
    let by_bob = world.create_request("bob");
    refused(&mut world, "bob", by_bob.clone(), RefusalCode::NotCreator);
    refused(&mut world, "alice", by_bob.clone(), RefusalCode::WrongIdentity);
    let DeliveryRequest::Create { group_info, ratchet_tree } = world.create_request("alice") else {
        panic!("expected a request to create");
    };
    let DeliveryRequest::Create { ratchet_tree: other_tree, .. } = by_bob else {
        panic!("expected a request to create");
    };
    let full = GroupInfoOptions { tree: true, external_pub: true };
    let with_tree: Blob = world.group("alice").group_info(full).unwrap().into();
    let mut forged = group_info.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    world.pass(Duration::from_secs(1));
    for (group_info, ratchet_tree) in [
        (group_info.clone(), other_tree),
        (with_tree, ratchet_tree.clone()),
        (forged.into(), ratchet_tree.clone()),
    ] {
        let spoilt = DeliveryRequest::Create { group_info, ratchet_tree };
        refused(&mut world, "alice", spoilt, RefusalCode::InvalidGroup);
    }
    world.pass(Duration::from_millis(1_900));
    let good = DeliveryRequest::Create { group_info, ratchet_tree };
    world.ask("alice", good.clone()).unwrap();
    refused(&mut world, "alice", good.clone(), RefusalCode::GroupExists);
    refused(&mut world, "bob", good, RefusalCode::GroupExists);
    still_works(&mut world, &["alice"]);
}

#[test]
fn reports_on_epochs_to_come() {
    let mut world = World::with_members(&["alice", "bob"]);
    let heartbeat = Blob::from(vec![1]);
    let request = DeliveryRequest::Heartbeat { epoch: 2, heartbeat: heartbeat.clone() };
    refused(&mut world, "alice", request, RefusalCode::InvalidReport);
    let request = DeliveryRequest::ReportFailure { epoch: 2, report: heartbeat };
    refused(&mut world, "alice", request, RefusalCode::InvalidReport);
}

#[test]
fn a_log_that_no_longer_reaches_back() {
    let config = DeliveryConfig { log_bytes: 4_000, ..DeliveryConfig::default() };
    let mut world = World::with(config, Arc::new(MemoryStorage::new()));
    world.add_members(&["alice", "bob"]);
    for _ in 0..10 {
        world.commit("alice").unwrap();
    }
    assert!(world.service.metrics().log_bytes <= 4_000);
    let answer = world.ask("bob", DeliveryRequest::FetchLog { since_epoch: 1 });
    assert!(matches!(answer, Err(RefusalCode::LogTruncated { first }) if first > 2));
}

#[test]
fn a_call_that_is_full() {
    let config = DeliveryConfig { max_members: 3, ..DeliveryConfig::default() };
    let mut world = World::with(config, Arc::new(MemoryStorage::new()));
    world.add_members(&["alice", "bob"]);
    world.add_client("carol", false);
    world.add_client("dave", false);
    world.join("carol").unwrap();
    let key_package = world.key_package("dave");
    let request = DeliveryRequest::Join { key_package };
    refused(&mut world, "dave", request.clone(), RefusalCode::RoomFull);
    // Who joins anew takes no place of another.
    world.join("bob").unwrap();
    world.commit("alice").unwrap();
    world.assert_agree(&["alice", "bob", "carol"]);
    refused(&mut world, "dave", request, RefusalCode::RoomFull);
}

#[test]
fn requests_on_a_connection_that_was_replaced() {
    let mut world = World::with_members(&["alice", "bob"]);
    let former = world.client("bob").connection.unwrap();
    world.connect("bob");
    world.service.request(former, Some(1), DeliveryRequest::Leave, world.now);
    let output = world.service.poll_output();
    let Some(Output::Send { to, message }) = output else { panic!("found {output:?}") };
    assert_eq!(to, former);
    assert!(matches!(message.body, ServerBody::Session(SessionEvent::Refused(refusal))
        if refusal.code == RefusalCode::Unavailable));
    still_works(&mut world, &["alice", "bob"]);
}

#[test]
fn more_submissions_than_may_wait() {
    let config = DeliveryConfig { max_queued: 1, ..DeliveryConfig::default() };
    let mut world = World::with(config, Arc::new(MemoryStorage::new()));
    world.add_members(&["alice", "bob", "carol"]);
    let bundles = ["alice", "bob", "carol"].map(|name| (name, world.build(name, |_| true)));
    world.hold_storage = true;
    let ids = bundles.map(|(name, bundle)| (name, world.post(name, bundle)));
    assert_eq!(world.reply("carol", ids[2].1), Some(Err(RefusalCode::Unavailable)));
    world.release_storage();
    assert!(world.reply("alice", ids[0].1).unwrap().is_ok());
    assert_eq!(world.reply("bob", ids[1].1), Some(Err(RefusalCode::StaleEpoch { head: 2 })));
}
