//! Signalling with a running server: joins, refusals, farewells, and what stands around them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::{Signal, claims, http_get, refusal, server};
use sfu_sim::protocol::{
    ClientMessage, CloseReason, RefusalCode, ServerBody, SessionEvent, SessionRequest,
};
use sfu_sim::token::{Claims, TokenKey};
use sfu_sim::{Config, Server};

fn closing(body: ServerBody) -> Option<CloseReason> {
    match body {
        ServerBody::Session(SessionEvent::Closing { reason, .. }) => Some(reason),
        _ => None,
    }
}

async fn refused_at_the_door(server: &sfu_sim::RunningServer, token: &str) -> RefusalCode {
    let mut signal = Signal::connect(server, token).await;
    let code = refusal(signal.next().await.unwrap().body).code;
    assert!(signal.next().await.is_none(), "the connection closes");
    code
}

#[tokio::test]
async fn bad_tokens_are_refused_with_a_code() {
    let server = server().await;
    let mut old = claims("room", "alice");
    old.exp = 1;
    let forged = TokenKey::new(&[1; 32]).unwrap().issue(&claims("room", "alice")).unwrap();
    assert_eq!(refused_at_the_door(&server, "").await, RefusalCode::BadToken);
    assert_eq!(refused_at_the_door(&server, "nonsense").await, RefusalCode::BadToken);
    assert_eq!(refused_at_the_door(&server, &"x".repeat(6000)).await, RefusalCode::BadToken);
    assert_eq!(refused_at_the_door(&server, &forged).await, RefusalCode::BadToken);
    let old = server.token(&old).unwrap();
    assert_eq!(refused_at_the_door(&server, &old).await, RefusalCode::ExpiredToken);
    assert_eq!(server.metrics().refusals.with_label_values(&["bad_token"]).get(), 4);
    server.shutdown().await;
}

#[tokio::test]
async fn rooms_that_are_unknown_full_or_too_many_are_refused() {
    let mut config = Config::ephemeral();
    config.rooms.open = false;
    config.rooms.names = vec!["a".to_owned(), "b".to_owned()];
    config.rooms.max_rooms = 1;
    config.rooms.max_participants = 2;
    let server = Server::start(config).await.unwrap();
    let token = |room: &str, identity: &str| server.token(&claims(room, identity)).unwrap();
    assert_eq!(refused_at_the_door(&server, &token("c", "x")).await, RefusalCode::UnknownRoom);
    let (_x, _) = Signal::join(&server, &claims("a", "x")).await;
    let (mut y, _) = Signal::join(&server, &claims("a", "y")).await;
    assert_eq!(refused_at_the_door(&server, &token("a", "z")).await, RefusalCode::RoomFull);
    assert_eq!(refused_at_the_door(&server, &token("b", "z")).await, RefusalCode::TooManyRooms);
    assert_eq!(y.ask(SessionRequest::Ping).await, ServerBody::Session(SessionEvent::Done));
    server.shutdown().await;
}

#[tokio::test]
async fn malformed_and_oversize_messages_are_refused_and_the_connection_survives() {
    let mut config = Config::ephemeral();
    config.limits.message_bytes = 5000;
    config.limits.hard_message_bytes = 100_000;
    let server = Server::start(config).await.unwrap();
    let (mut alice, _) = Signal::join(&server, &claims("room", "alice")).await;
    for text in ["", "{", "null", r#"{"family":"session","type":"dance"}"#, "\u{1}\u{2}"] {
        alice.send_text(text).await;
        let code = alice.wait_for(refusal_code).await;
        assert_eq!(code, RefusalCode::Malformed, "{text:?}");
    }
    alice.send_binary(vec![0; 10]).await;
    assert_eq!(alice.wait_for(refusal_code).await, RefusalCode::Malformed);
    alice.send_text("x".repeat(50_000)).await;
    assert_eq!(alice.wait_for(refusal_code).await, RefusalCode::TooLarge { limit: 5000 });
    assert_eq!(alice.ask(SessionRequest::Ping).await, ServerBody::Session(SessionEvent::Done));
    // Beyond the hard limit nothing is read any more.
    alice.send_text("x".repeat(200_000)).await;
    while alice.next().await.is_some() {}
    server.shutdown().await;
}

fn refusal_code(body: ServerBody) -> Option<RefusalCode> {
    match body {
        ServerBody::Session(SessionEvent::Refused(refusal)) => Some(refusal.code),
        _ => None,
    }
}

#[tokio::test]
async fn floods_are_refused_and_in_the_end_cut_off() {
    let mut config = Config::ephemeral();
    config.limits.messages_per_second = 5;
    let server = Server::start(config).await.unwrap();
    let (mut alice, _) = Signal::join(&server, &claims("room", "alice")).await;
    for _ in 0..30 {
        alice.request(SessionRequest::Ping).await;
    }
    let (mut answered, mut limited) = (0, 0);
    while answered < 30 {
        // Refusals overtake the answers of the room.
        let message = alice.next().await.unwrap();
        answered += u32::from(message.re.is_some());
        match refusal_code(message.body) {
            Some(RefusalCode::RateLimited { .. }) => limited += 1,
            Some(code) => panic!("unexpected refusal {code:?}"),
            None => {}
        }
    }
    assert!(limited >= 15, "{limited}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(alice.ask(SessionRequest::Ping).await, ServerBody::Session(SessionEvent::Done));
    for _ in 0..300 {
        alice.send_text(ClientMessage::event(SessionRequest::Ping).to_text()).await;
    }
    while alice.next().await.is_some() {}
    assert_eq!(server.metrics().closed.with_label_values(&["misbehaving"]).get(), 1);
    server.shutdown().await;
}

#[tokio::test]
async fn participants_see_each_other_come_and_go() {
    let mut config = Config::ephemeral();
    config.delivery.grace_ms = 200;
    let server = Server::start(config).await.unwrap();
    let moderator = claims("room", "alice").with_name("Alice").as_moderator();
    let (mut alice, welcome) = Signal::join(&server, &moderator).await;
    let SessionEvent::Welcome { you, participants, resumed, .. } = welcome else { unreachable!() };
    assert!(you.moderator && you.connected && !resumed && participants.is_empty());
    assert_eq!(you.name, "Alice");
    let (mut bob, welcome) = Signal::join(&server, &claims("room", "bob")).await;
    let SessionEvent::Welcome { participants, .. } = welcome else { unreachable!() };
    assert_eq!(participants, [you]);
    // Another room knows nothing of it.
    let (_carol, welcome) = Signal::join(&server, &claims("other", "carol")).await;
    let SessionEvent::Welcome { participants, .. } = welcome else { unreachable!() };
    assert!(participants.is_empty());
    bob.request(SessionRequest::Bye).await;
    assert_eq!(bob.wait_for(closing).await, CloseReason::Bye);
    let mut seen = Vec::new();
    alice
        .wait_for(|body| match body {
            ServerBody::Session(SessionEvent::ParticipantChanged { participant }) => {
                seen.push(participant.connected);
                None
            }
            ServerBody::Session(SessionEvent::ParticipantLeft { identity }) => {
                assert_eq!(identity.as_str(), "bob");
                Some(())
            }
            _ => None,
        })
        .await;
    assert_eq!(seen, [true, false]);
    server.shutdown().await;
}

#[tokio::test]
async fn a_newer_connection_replaces_the_older_one() {
    let server = server().await;
    let (mut first, _) = Signal::join(&server, &claims("room", "alice")).await;
    let (mut second, welcome) = Signal::join(&server, &claims("room", "alice")).await;
    assert!(matches!(welcome, SessionEvent::Welcome { resumed: true, media: false, .. }));
    assert_eq!(first.wait_for(closing).await, CloseReason::Replaced);
    assert!(first.next().await.is_none());
    assert_eq!(second.ask(SessionRequest::Ping).await, ServerBody::Session(SessionEvent::Done));
    assert_eq!(server.metrics().participants.get(), 1);
    server.shutdown().await;
}

#[tokio::test]
async fn empty_rooms_are_closed() {
    let mut config = Config::ephemeral();
    config.delivery.grace_ms = 50;
    config.timeouts.empty_room_ms = 50;
    config.rooms.max_rooms = 1;
    let server = Server::start(config).await.unwrap();
    let (alice, _) = Signal::join(&server, &claims("one", "alice")).await;
    drop(alice);
    let end = tokio::time::Instant::now() + common::PATIENCE;
    while server.metrics().rooms.get() > 0 {
        assert!(tokio::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (_bob, _) = Signal::join(&server, &claims("two", "bob")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let mut config = Config::ephemeral();
    config.timeouts.idle_ms = 300;
    let server = Server::start(config).await.unwrap();
    let (mut alice, _) = Signal::join(&server, &claims("room", "alice")).await;
    let (mut bob, _) = Signal::join(&server, &claims("room", "bob")).await;
    // Alice answers pings while she waits; Bob does nothing at all.
    let waiting = async {
        alice
            .wait_for(|body| match body {
                ServerBody::Session(SessionEvent::ParticipantChanged { participant })
                    if participant.identity.as_str() == "bob" && !participant.connected =>
                {
                    Some(())
                }
                _ => None,
            })
            .await;
    };
    waiting.await;
    assert_eq!(server.metrics().closed.with_label_values(&["idle"]).get(), 1);
    while bob.next().await.is_some() {}
    assert_eq!(alice.ask(SessionRequest::Ping).await, ServerBody::Session(SessionEvent::Done));
    server.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_tells_everybody() {
    let server = server().await;
    let (mut alice, _) = Signal::join(&server, &claims("a", "alice")).await;
    let (mut bob, _) = Signal::join(&server, &claims("b", "bob")).await;
    let (reason, other, ()) =
        tokio::join!(alice.wait_for(closing), bob.wait_for(closing), server.shutdown());
    assert_eq!((reason, other), (CloseReason::ShuttingDown, CloseReason::ShuttingDown));
}

#[tokio::test]
async fn metrics_and_health_are_served_and_hold_no_names() {
    let server = server().await;
    let (_alice, _) = Signal::join(&server, &claims("secret-room", "alice-identity")).await;
    let health = http_get(&server, "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("ok\n"), "{health}");
    let metrics = http_get(&server, "/metrics").await;
    assert!(metrics.contains("framelock_participants 1"), "{metrics}");
    assert!(metrics.contains("framelock_rooms 1"));
    assert!(!metrics.contains("secret-room") && !metrics.contains("alice-identity"));
    assert!(http_get(&server, "/nothing").await.starts_with("HTTP/1.1 404"));
    server.shutdown().await;
}

#[tokio::test]
async fn a_token_may_come_in_a_header() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let server = server().await;
    let token = server.token(&Claims::new("room", "alice", Duration::from_secs(60))).unwrap();
    let mut request = server.url().into_client_request().unwrap();
    request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let welcome = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap();
    assert!(welcome.to_text().unwrap().contains("\"welcome\""));
    server.shutdown().await;
}
