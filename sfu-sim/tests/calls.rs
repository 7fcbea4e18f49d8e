//! A call's group through a running server: commits over real connections, and what they do to media.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::media::{self, Client};
use common::member::{self, Member, in_epoch, run_until};
use common::{Signal, claims, refusal, server};
use sfu_sim::protocol::{
    ChangeKind, DeliveryEvent, DeliveryRequest, MediaRequest, RefusalCode, RemovalReason,
    ServerBody,
};
use sfu_sim::{Config, RunningServer, Server};
use str0m::media::MediaKind::Video;

async fn call_of(server: &RunningServer, names: &[&str]) -> Vec<Member> {
    let places: Vec<_> = names.iter().map(|name| (server, *name)).collect();
    member::call_of(&places).await
}

#[tokio::test]
async fn members_join_and_acknowledgements_are_aggregated() {
    let server = server().await;
    let mut members = call_of(&server, &["alice", "bob", "carol"]).await;
    let mut all: Vec<_> = members.iter_mut().collect();
    run_until(&mut all, "acknowledgements", |members| {
        members.iter().all(|member| {
            let mut leaves: Vec<_> = member
                .acknowledged
                .iter()
                .filter(|(epoch, _)| *epoch == 2)
                .flat_map(|(_, leaves)| leaves.clone())
                .collect();
            leaves.sort_unstable();
            leaves.dedup();
            leaves == [0, 1, 2]
        })
    })
    .await;
    in_epoch(&mut members, 2).await;
    assert_eq!(server.metrics().commits.get(), 2);
    assert_eq!(server.metrics().group_members.get(), 3);
    server.shutdown().await;
}

#[tokio::test]
async fn the_second_commit_of_an_epoch_is_refused_and_the_call_goes_on() {
    let server = server().await;
    let mut members = call_of(&server, &["alice", "bob"]).await;
    let late = members[1].build();
    members[0].commit().await.unwrap();
    let refusal = members[1].ask(late).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::StaleEpoch { head: 2 });
    assert_eq!(members[1].epoch(), Some(2), "the winner came before the refusal");
    members[1].commit().await.unwrap();
    in_epoch(&mut members, 3).await;
    let garbage = DeliveryRequest::Submit {
        proposals: vec![],
        commit: vec![1, 2, 3].into(),
        welcome: None,
        group_info: vec![].into(),
    };
    assert!(members[0].ask(garbage).await.is_err());
    let log = members[0].ask(DeliveryRequest::FetchLog { since_epoch: 2 }).await.unwrap();
    let ServerBody::Delivery(DeliveryEvent::Log { entries, head, more }) = log else {
        panic!("expected the log")
    };
    assert_eq!((entries.len(), head, more), (1, 3, false));
    server.shutdown().await;
}

#[tokio::test]
async fn whoever_leaves_is_cut_off_at_once_and_removed_by_a_commit() {
    let server = server().await;
    let mut members = call_of(&server, &["alice", "bob"]).await;
    let (alice, bob) = members.split_at_mut(1);
    let (alice, bob) = (&mut alice[0], &mut bob[0]);
    // Media of both, on connections of their own identities.
    let mut carol = Client::join(&server, &claims("room", "carol"), &[Video]).await;
    media::run_until(&mut [&mut carol], "media", |clients| clients[0].connected).await;
    assert_eq!(server.metrics().media_peers.get(), 1);
    bob.ask(DeliveryRequest::Leave).await.unwrap();
    let offer = MediaRequest::Offer { sdp: String::new(), tracks: vec![], fresh: true };
    assert_eq!(refusal(bob.signal.ask(offer).await).code, RefusalCode::RemovalPending);
    run_until(&mut [alice], "a pending removal", |members| {
        members[0].pending.iter().any(|change| {
            matches!(&change.kind, ChangeKind::Remove { leaf: 1, reason, .. }
                if *reason == RemovalReason::Left)
        })
    })
    .await;
    alice.commit().await.unwrap();
    assert_eq!(alice.group().member_count(), 1);
    server.shutdown().await;
}

#[tokio::test]
async fn a_vanished_member_is_gone_after_the_grace_period() {
    let mut config = Config::ephemeral();
    config.delivery.grace_ms = 200;
    let server = Server::start(config).await.unwrap();
    let mut members = call_of(&server, &["alice", "bob"]).await;
    drop(members.pop());
    let alice = &mut members[0];
    run_until(&mut [alice], "a pending removal", |members| {
        members[0].pending.iter().any(|change| {
            matches!(&change.kind, ChangeKind::Remove { reason, .. }
                if *reason == RemovalReason::Gone)
        })
    })
    .await;
    members[0].commit().await.unwrap();
    assert_eq!(members[0].group().member_count(), 1);
    server.shutdown().await;
}

#[tokio::test]
async fn a_moderator_removes_somebody_for_good() {
    let server = server().await;
    let mut members = call_of(&server, &["alice", "bob"]).await;
    let rng = &mut mls::crypto::os_rng();
    let proposal = members[0].group().propose_remove(mls::LeafIndex(1), rng).unwrap();
    let proposal = proposal.message.as_slice().into();
    members[0].ask(DeliveryRequest::Propose { proposal }).await.unwrap();
    members[0].commit().await.unwrap();
    let bob = &mut members[1];
    run_until(&mut [bob], "the end of the connection", |members| members[0].closing).await;
    let token = server.token(&claims("room", "bob")).unwrap();
    let mut again = Signal::connect(&server, &token).await;
    let code = refusal(again.next().await.unwrap().body).code;
    assert_eq!(code, RefusalCode::Removed);
    server.shutdown().await;
}

#[tokio::test]
async fn media_of_somebody_who_leaves_stops_in_both_directions() {
    let server = server().await;
    let mut members = call_of(&server, &["alice", "bob"]).await;
    let mut bob = members.pop().unwrap();
    let mut publisher = Client::join(&server, &claims("room", "carol"), &[Video]).await;
    // Bob's media runs on a second connection, as the test's two halves do not share one.
    let leaver = Signal::join(&server, &claims("room", "bob")).await.0;
    let mut leaver = Client::publish(leaver, &[Video]).await;
    media::run_until(&mut [&mut publisher, &mut leaver], "both", |clients| {
        clients.iter().all(|client| client.connected && client.tracks.len() == 1)
    })
    .await;
    media::run_for(&mut [&mut publisher, &mut leaver], Duration::from_millis(100)).await;
    publisher.send(0, b"one");
    leaver.send(0, b"two");
    media::run_until(&mut [&mut publisher, &mut leaver], "packets", |clients| {
        clients.iter().all(|client| client.received.len() == 1)
    })
    .await;
    leaver.signal.ask(DeliveryRequest::Leave).await;
    publisher.send(0, b"three");
    leaver.send(0, b"four");
    media::run_until(&mut [&mut publisher], "the track is gone", |clients| {
        clients[0].tracks.is_empty()
    })
    .await;
    media::run_for(&mut [&mut publisher], Duration::from_millis(200)).await;
    assert_eq!(publisher.received.len(), 1);
    assert_eq!(leaver.received.len(), 1);
    bob.step().await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_call_survives_a_restart_of_the_server() {
    let directory = std::env::temp_dir().join(format!("framelock-calls-{}", std::process::id()));
    let mut config = Config::ephemeral();
    config.storage.path = Some(directory.clone());
    let server = Server::start(config.clone()).await.unwrap();
    let mut members = call_of(&server, &["alice", "bob"]).await;
    server.shutdown().await;
    let server = Server::start(config).await.unwrap();
    for member in &mut members {
        let name = if member.group().own_leaf() == mls::LeafIndex(0) { "alice" } else { "bob" };
        member.signal = Signal::join(&server, &claims("room", name).as_moderator()).await.0;
        member.pending.clear();
    }
    members[0].commit().await.unwrap();
    in_epoch(&mut members, 2).await;
    server.shutdown().await;
    std::fs::remove_dir_all(directory).unwrap();
}
