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

use common::{Signal, claims, http, http_get, refusal, server};
use futures_util::{SinkExt as _, StreamExt as _};
use sfu_sim::delivery::Rate;
use sfu_sim::protocol::{
    ClientMessage, ClientReport, MediaRequest, PublishedTrack, RefusalCode, ServerBody,
    SessionEvent, SessionRequest, UndecryptableCause,
};
use sfu_sim::{Config, RunningServer, Server};
use tokio::net::TcpSocket;
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

/// Asks for a guest's token from an address of this machine: the status, and the body.
async fn ask_as_guest(
    server: &RunningServer,
    from: &str,
    body: &str,
) -> (u16, serde_json::Value, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(server.addr()).await.unwrap();
    let head = "POST /v1/guest HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length";
    let answer = http(stream, &format!("{head}: {}\r\n\r\n{body}", body.len())).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap(), head.to_ascii_lowercase())
}

const ALICE: &str = r#"{"room": "lobby", "name": " Alice Müller "}"#;
const HERE: &str = "127.0.0.1";

async fn server_with_guests(change: impl FnOnce(&mut Config)) -> RunningServer {
    let mut config = Config::ephemeral();
    config.page.guests = true;
    change(&mut config);
    Server::start(config).await.unwrap()
}

#[tokio::test]
async fn a_guest_gets_a_token_under_a_name_that_nobody_else_has() {
    let server = server_with_guests(|_| {}).await;
    let mut identities = Vec::new();
    for _ in 0..2 {
        let (status, answer, head) = ask_as_guest(&server, HERE, ALICE).await;
        assert_eq!(status, 200);
        assert!(head.contains("cache-control: no-store"), "{head}");
        let url = format!("{}?token={}", server.url(), answer["token"].as_str().unwrap());
        let mut signal = Signal::connect_url(&url).await;
        let welcome = signal.next().await.unwrap().body;
        let ServerBody::Session(SessionEvent::Welcome { room, you, .. }) = welcome else {
            panic!("expected a welcome, found {welcome:?}");
        };
        assert_eq!((room.as_str(), you.name.as_str()), ("lobby", "Alice Müller"));
        assert!(you.identity.as_str().starts_with("AliceMüller-") && !you.moderator);
        identities.push(you.identity);
    }
    assert_ne!(identities[0], identities[1]);
    assert_eq!(server.metrics().guests.get(), 2);
    server.shutdown().await;
}

#[tokio::test]
async fn guests_beyond_the_rate_are_sent_away() {
    let rate = |burst| Rate { burst, per_second: 0.001 };
    let server = server_with_guests(|config| {
        config.page.guests_per_address = rate(2);
        config.page.guests_overall = rate(3);
    })
    .await;
    for expected in [200, 200, 429, 429] {
        let (status, answer, head) = ask_as_guest(&server, HERE, ALICE).await;
        assert_eq!(status, expected);
        if status == 429 {
            assert_eq!(answer["code"], "rate_limited");
            assert!(answer["retry_after_ms"].as_u64().unwrap() > 900_000, "{answer}");
            assert!(head.contains("retry-after: 1000"), "{head}");
        }
    }
    // Another address has a ration of its own, until all together have used up theirs.
    for expected in [200, 429] {
        let (status, ..) = ask_as_guest(&server, "127.0.0.2", ALICE).await;
        assert_eq!(status, expected);
    }
    assert_eq!(server.metrics().guests.get(), 3);
    assert_eq!(server.metrics().refusals.with_label_values(&["rate_limited"]).get(), 3);
    server.shutdown().await;
}

#[tokio::test]
async fn guests_with_bad_names_or_rooms_are_refused_by_name() {
    let server = server_with_guests(|config| {
        config.rooms.open = false;
        config.rooms.names = vec!["lobby".to_owned()];
    })
    .await;
    let long = "x".repeat(129);
    let request =
        |room: &str, name: &str| serde_json::json!({"room": room, "name": name}).to_string();
    for (body, status, code) in [
        (request("attic", "Alice"), 403, "unknown_room"),
        (request("lobby", ""), 400, "malformed"),
        (request("lobby", " \t"), 400, "malformed"),
        (request("lobby", &long), 400, "malformed"),
        (request("lobby", "Al\u{7}ice"), 400, "malformed"),
        (request("lobby", &"x".repeat(2_048)), 413, "too_large"),
        ("{\"room\": \"lobby\"}".to_owned(), 400, "malformed"),
        ("[".to_owned(), 400, "malformed"),
        (String::new(), 400, "malformed"),
    ] {
        let (found, answer, _) = ask_as_guest(&server, HERE, &body).await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{body}: {answer}");
        assert!(answer.get("token").is_none());
    }
    assert_eq!(server.metrics().guests.get(), 0);
    server.shutdown().await;
    let open = server_with_guests(|_| {}).await;
    for room in ["", &long, "a\nb"] {
        let (status, answer, _) = ask_as_guest(&open, HERE, &request(room, "Alice")).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some("malformed")), "{room:?}");
    }
    open.shutdown().await;
}

#[tokio::test]
async fn a_server_without_guests_says_so() {
    let server = server().await;
    let (status, answer, _) = ask_as_guest(&server, HERE, ALICE).await;
    assert_eq!((status, answer["code"].as_str()), (404, Some("no_guests")));
    assert_eq!(server.metrics().guests.get(), 0);
    server.shutdown().await;
}

/// Offers, answers and candidates wait for one engine, which may be busy.
#[tokio::test]
async fn media_requests_that_wait_are_bounded() {
    let server_with = async |requests, bytes| {
        let mut config = Config::ephemeral();
        config.limits.media_requests = requests;
        config.limits.media_bytes = bytes;
        Server::start(config).await.unwrap()
    };
    let candidate = |length: usize| MediaRequest::Candidate { candidate: "c".repeat(length) };
    let code = async |signal: &mut Signal, request| refusal(signal.ask(request).await).code;
    // One at a time may wait, and none waits once it is answered.
    let server = server_with(1, 100).await;
    let (mut alice, _) = Signal::join(&server, &claims("room", "alice")).await;
    for _ in 0..20 {
        assert_eq!(code(&mut alice, candidate(100)).await, RefusalCode::NoMedia);
    }
    assert_eq!(code(&mut alice, candidate(101)).await, RefusalCode::Unavailable);
    assert_eq!(code(&mut alice, candidate(9)).await, RefusalCode::NoMedia);
    server.shutdown().await;
    let server = server_with(0, 100).await;
    let (mut alice, _) = Signal::join(&server, &claims("room", "alice")).await;
    let refused = code(&mut alice, candidate(9)).await;
    assert!(matches!(refused, RefusalCode::RateLimited { .. }), "{refused:?}");
    server.shutdown().await;
}

/// Everybody is told what a track is called.
#[tokio::test]
async fn labels_of_tracks_are_short() {
    let server = server().await;
    let (mut alice, _) = Signal::join(&server, &claims("room", "alice")).await;
    let track = |label: &str| PublishedTrack {
        mid: "0".to_owned(),
        label: label.to_owned(),
        sframe: true,
        codec: None,
    };
    let long = "x".repeat(129);
    for tracks in [vec![track(&long)], vec![track("camera"); 65]] {
        let offer = MediaRequest::Offer { sdp: "v=0".to_owned(), tracks, fresh: true };
        assert_eq!(refusal(alice.ask(offer).await).code, RefusalCode::Malformed);
    }
    let tracks = vec![track(&long[1..]); 64];
    let offer = MediaRequest::Offer { sdp: "v=0".to_owned(), tracks, fresh: true };
    assert_eq!(refusal(alice.ask(offer).await).code, RefusalCode::InvalidSdp);
    server.shutdown().await;
}
