//! What a server does when more is asked of it than it may give.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Signal, claims, http_get, refusal, server};
use futures_util::{SinkExt as _, StreamExt as _};
use sfu_sim::protocol::{
    ClientMessage, ClientReport, RefusalCode, ServerBody, SessionEvent, SessionRequest,
    UndecryptableCause,
};
use sfu_sim::{Config, Server};
use tokio_tungstenite::tungstenite::{Error, Message};

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away_at_the_door() {
    let mut config = Config::ephemeral();
    config.signalling.max_connections = 2;
    let server = Server::start(config).await.unwrap();
    let (first, _) = Signal::join(&server, &claims("room", "alice")).await;
    let (_second, _) = Signal::join(&server, &claims("room", "bob")).await;
    let token = server.token(&claims("room", "carol")).unwrap();
    let url = format!("{}?token={token}", server.url());
    match tokio_tungstenite::connect_async(&url).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 503),
        other => panic!("expected status 503, found {other:?}"),
    }
    // A place becomes free when somebody goes.
    drop(first);
    let end = tokio::time::Instant::now() + common::PATIENCE;
    while tokio_tungstenite::connect_async(&url).await.is_err() {
        assert!(tokio::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn reports_are_counted_within_reason_and_not_too_often() {
    let server = server().await;
    let (mut alice, _) = Signal::join(&server, &claims("room", "alice")).await;
    let report = ClientReport {
        join_to_first_frame_ms: Some(250),
        rotations_ms: vec![80; 1_000],
        undecryptable: BTreeMap::from([(UndecryptableCause::NoKey, u64::MAX)]),
        resyncs: 2,
    };
    let report = SessionRequest::Report { report };
    assert_eq!(alice.ask(report.clone()).await, ServerBody::Session(SessionEvent::Done));
    let refused = refusal(alice.ask(report).await);
    assert!(matches!(refused.code, RefusalCode::RateLimited { .. }), "{refused:?}");
    let metrics = http_get(&server, "/metrics").await;
    for line in [
        "framelock_client_join_to_first_frame_seconds_count 1",
        "framelock_client_rotation_seconds_count 64",
        "framelock_client_undecryptable_total{cause=\"no_key\"} 1000000",
        "framelock_client_undecryptable_total{cause=\"refused\"} 0",
        "framelock_client_resyncs_total 2",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    server.shutdown().await;
}

/// Somebody asks and asks and never reads an answer: what waits for it is bounded, then it is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_cut_off() {
    let mut config = Config::ephemeral();
    config.limits.messages_per_second = 10_000_000;
    config.limits.outgoing_messages = 64;
    let server = Server::start(config).await.unwrap();
    let (mut bob, _) = Signal::join(&server, &claims("room", "bob")).await;
    let token = server.token(&claims("room", "alice")).unwrap();
    let url = format!("{}?token={token}", server.url());
    let (socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let (mut sink, _unread) = socket.split();
    let slow = server.metrics().closed.with_label_values(&["slow_consumer"]);
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut id = 0;
    while slow.get() == 0 {
        assert!(tokio::time::Instant::now() < end, "{id} requests and still there");
        id += 1;
        let ping = ClientMessage::request(id, SessionRequest::Ping).to_text();
        if sink.send(Message::text(ping)).await.is_err() {
            break;
        }
    }
    while slow.get() == 0 {
        assert!(tokio::time::Instant::now() < end, "closed for another reason");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The others notice nothing.
    assert_eq!(bob.ask(SessionRequest::Ping).await, ServerBody::Session(SessionEvent::Done));
    server.shutdown().await;
}
