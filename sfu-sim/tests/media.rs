//! Media through a running server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::media::{Client, run_for, run_until};
use common::{Signal, claims, server};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use sfu_sim::protocol::{MediaRequest, RefusalCode, ServerBody, SessionEvent};
use sfu_sim::{Config, RunningServer, Server};
use str0m::media::MediaKind::{Audio, Video};

fn noise(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let mut bytes = vec![0; rng.random_range(1..1150)];
            rng.fill_bytes(&mut bytes);
            bytes
        })
        .collect()
}

/// Two participants of whom the first publishes; both are connected and the second has the first one's tracks.
async fn pair(server: &RunningServer, kinds: &[str0m::media::MediaKind]) -> (Client, Client) {
    let mut alice = Client::join(server, &claims("room", "alice"), kinds).await;
    let mut bob = Client::join(server, &claims("room", "bob"), &[]).await;
    run_until(&mut [&mut alice, &mut bob], "a connected pair", |clients| {
        clients.iter().all(|client| client.connected) && clients[1].tracks.len() == kinds.len()
    })
    .await;
    // The last answer is on its way to the server.
    run_for(&mut [&mut alice, &mut bob], Duration::from_millis(100)).await;
    (alice, bob)
}

#[tokio::test]
async fn arbitrary_bytes_arrive_as_they_were_sent() {
    let server = server().await;
    let (mut alice, mut bob) = pair(&server, &[Audio, Video]).await;
    let (audio, video) = (noise(700, 1), noise(700, 2));
    for (audio, video) in audio.iter().zip(&video) {
        alice.send(0, audio);
        alice.send(1, video);
        run_for(&mut [&mut alice, &mut bob], Duration::from_millis(1)).await;
    }
    run_until(&mut [&mut alice, &mut bob], "all packets", |clients| {
        clients[1].received.len() >= 1400
    })
    .await;
    let mids: Vec<_> = alice.published.iter().map(ToString::to_string).collect();
    assert_eq!(bob.payloads_of("alice", &mids[0]), audio);
    assert_eq!(bob.payloads_of("alice", &mids[1]), video);
    assert!(bob.received.iter().all(|packet| packet.marker));
    let levels = bob.received.iter().filter(|packet| packet.audio_level == Some(-42)).count();
    assert_eq!(levels, 700, "the audio level passes");
    let labels: Vec<_> =
        bob.tracks.values().map(|track| (track.label.as_str(), track.sframe)).collect();
    assert!(labels.contains(&("audio", true)) && labels.contains(&("video", true)));
    assert!(alice.received.is_empty());
    assert_eq!(server.metrics().packets_out.get(), 1400);
    server.shutdown().await;
}

#[tokio::test]
async fn tracks_come_and_go_in_a_running_call() {
    let mut config = Config::ephemeral();
    config.delivery.grace_ms = 300;
    let server = Server::start(config).await.unwrap();
    let mut alice = Client::join(&server, &claims("room", "alice"), &[Video]).await;
    let mut bob = Client::join(&server, &claims("room", "bob"), &[Video]).await;
    run_until(&mut [&mut alice, &mut bob], "two", |clients| {
        clients.iter().all(|client| client.connected && client.tracks.len() == 1)
    })
    .await;
    let mut carol = Client::join(&server, &claims("room", "carol"), &[Video, Audio]).await;
    run_until(&mut [&mut alice, &mut bob, &mut carol], "three", |clients| {
        clients[0].tracks.len() == 3 && clients[1].tracks.len() == 3 && clients[2].tracks.len() == 2
    })
    .await;
    let stream = noise(300, 3);
    let mut sent = 0;
    for payload in &stream {
        bob.send(0, payload);
        sent += 1;
        run_for(&mut [&mut alice, &mut bob, &mut carol], Duration::from_millis(1)).await;
        if sent == 150 {
            break;
        }
    }
    // Alice vanishes without a word.
    drop(alice);
    for payload in &stream[150..] {
        bob.send(0, payload);
        run_for(&mut [&mut bob, &mut carol], Duration::from_millis(5)).await;
    }
    run_until(&mut [&mut bob, &mut carol], "alice is gone", |clients| {
        clients[0].participants() == ["carol"] && clients[1].participants() == ["bob"]
    })
    .await;
    assert!(carol.events.iter().any(|event| matches!(
        event,
        SessionEvent::ParticipantLeft { identity } if identity.as_str() == "alice"
    )));
    let got = carol.payloads_of("bob", &bob.published[0].to_string());
    assert!(got.len() > 200, "{} packets", got.len());
    assert_eq!(got, stream[stream.len() - got.len()..], "no gap while others came and went");
    server.shutdown().await;
}

#[tokio::test]
async fn keyframe_requests_reach_the_publisher_throttled() {
    let server = server().await;
    let (mut alice, mut bob) = pair(&server, &[Video]).await;
    for payload in noise(5, 4) {
        alice.send(0, &payload);
        run_for(&mut [&mut alice, &mut bob], Duration::from_millis(5)).await;
    }
    run_for(&mut [&mut alice, &mut bob], Duration::from_millis(500)).await;
    let before = alice.keyframe_requests;
    for _ in 0..40 {
        bob.want_keyframe("alice");
        run_for(&mut [&mut alice, &mut bob], Duration::from_millis(10)).await;
    }
    run_for(&mut [&mut alice, &mut bob], Duration::from_millis(500)).await;
    let requests = alice.keyframe_requests - before;
    assert!((1..=6).contains(&requests), "{requests} keyframe requests");
    server.shutdown().await;
}

#[tokio::test]
async fn lost_video_packets_are_sent_again() {
    let server = server().await;
    let (mut alice, mut bob) = pair(&server, &[Video]).await;
    let mut count = 0_u32;
    bob.loses = Some(Box::new(move |bytes| {
        let media = (128..192).contains(&bytes[0]) && !(192..=223).contains(&bytes[1]);
        count += u32::from(media);
        media && count.is_multiple_of(17)
    }));
    let stream = noise(400, 5);
    for payload in &stream {
        alice.send(0, payload);
        run_for(&mut [&mut alice, &mut bob], Duration::from_millis(3)).await;
    }
    run_for(&mut [&mut alice, &mut bob], Duration::from_millis(1000)).await;
    let got: std::collections::HashSet<_> =
        bob.received.iter().map(|packet| packet.payload.clone()).collect();
    let missing = stream.iter().filter(|payload| !got.contains(*payload)).count();
    assert!(missing <= 4, "{missing} of 400 packets missing after a loss of 6 %");
    server.shutdown().await;
}

#[tokio::test]
async fn media_survives_the_loss_of_signalling() {
    let server = server().await;
    let (mut alice, mut bob) = pair(&server, &[Video]).await;
    let token = server.token(&claims("room", "bob")).unwrap();
    // The old connection breaks off; the new one finds everything in place.
    bob.signal = Signal::connect(&server, &token).await;
    let welcome = bob.signal.next().await.unwrap().body;
    let ServerBody::Session(SessionEvent::Welcome { resumed, media, .. }) = welcome else {
        panic!("expected a welcome")
    };
    assert!(resumed && media);
    for payload in noise(50, 6) {
        alice.send(0, &payload);
        run_for(&mut [&mut alice, &mut bob], Duration::from_millis(2)).await;
    }
    run_until(&mut [&mut alice, &mut bob], "packets", |clients| clients[1].received.len() == 50)
        .await;
    // Tracks that come later are negotiated over the new connection.
    let mut carol = Client::join(&server, &claims("room", "carol"), &[Audio]).await;
    run_until(&mut [&mut alice, &mut bob, &mut carol], "carol", |clients| {
        clients[1].participants() == ["alice", "carol"]
    })
    .await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_fresh_offer_replaces_the_connection() {
    let server = server().await;
    let (mut alice, bob) = pair(&server, &[Video]).await;
    let Client { signal, .. } = bob;
    let mut bob = Client::publish(signal, &[Audio]).await;
    run_until(&mut [&mut alice, &mut bob], "both again", |clients| {
        clients[1].connected && clients[1].tracks.len() == 1 && clients[0].tracks.len() == 1
    })
    .await;
    run_for(&mut [&mut alice, &mut bob], Duration::from_millis(100)).await;
    alice.send(0, b"hello again");
    run_until(&mut [&mut alice, &mut bob], "a packet", |clients| {
        clients[1].received.iter().any(|packet| packet.payload == b"hello again")
    })
    .await;
    server.shutdown().await;
}

#[tokio::test]
async fn bad_media_requests_are_refused_and_harm_nobody() {
    let server = server().await;
    let (mut alice, mut bob) = pair(&server, &[Video]).await;
    let (mut mallory, _) = Signal::join(&server, &claims("room", "mallory")).await;
    let offer =
        |sdp: &str, fresh| MediaRequest::Offer { sdp: sdp.to_owned(), tracks: vec![], fresh };
    for (request, code) in [
        (offer("v=0", false), RefusalCode::NoMedia),
        (MediaRequest::Answer { offer: 1, sdp: String::new() }, RefusalCode::NoMedia),
        (offer("", true), RefusalCode::InvalidSdp),
        (offer("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", true), RefusalCode::InvalidSdp),
        (offer(&"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(500), true), RefusalCode::InvalidSdp),
    ] {
        let refusal = common::refusal(mallory.ask(request.clone()).await);
        assert_eq!(refusal.code, code, "{request:?}");
    }
    let stale = MediaRequest::Answer { offer: 99, sdp: String::new() };
    let id = bob.signal.request(stale).await;
    let refusal = common::refusal(bob.signal.reply(id).await);
    assert_eq!(refusal.code, RefusalCode::StaleOffer);
    let candidate = MediaRequest::Candidate { candidate: "nonsense".to_owned() };
    let id = bob.signal.request(candidate).await;
    assert_eq!(common::refusal(bob.signal.reply(id).await).code, RefusalCode::InvalidSdp);
    alice.send(0, b"still here");
    run_until(&mut [&mut alice, &mut bob], "a packet", |clients| {
        clients[1].received.iter().any(|packet| packet.payload == b"still here")
    })
    .await;
    server.shutdown().await;
}
