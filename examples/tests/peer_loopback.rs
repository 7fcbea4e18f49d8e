//! Two webrtc-rs peers over UDP on loopback: arbitrary payloads, m-lines, keyframe requests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use examples::client::Packetization;
use examples::client::peer::{Peer, PeerEvent, TrackSpec};
use sfu_sim::protocol::MediaKind;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn spec(kind: MediaKind, label: &str) -> TrackSpec {
    TrackSpec { kind, label: label.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_arbitrary_payloads_and_keyframe_requests() {
    let bind = "127.0.0.1:0".parse().unwrap();
    let (sender_events, mut sender_inbox) = mpsc::channel(64);
    let (receiver_events, mut receiver_inbox) = mpsc::channel(64);
    let specs = [spec(MediaKind::Video, "camera"), spec(MediaKind::Audio, "microphone")];
    let mut sender = Peer::open(bind, &specs, sender_events).await.unwrap();
    let receiver = Peer::open(bind, &[], receiver_events).await.unwrap();

    let offer = sender.peer.offer(Packetization::SFrame).await.unwrap();
    assert_eq!(offer.tracks.len(), 2);
    assert_ne!(offer.tracks[0].mid, offer.tracks[1].mid);
    // The answering side gathers while it answers, so that its first answer may lack candidates;
    // the offering side is reached from the candidates in its offer.
    let answer = receiver.peer.answer(offer.sdp).await.unwrap();
    sender.peer.accept_answer(answer).await.unwrap();
    let first = timeout(PATIENCE, sender_inbox.recv()).await.unwrap().unwrap();
    assert!(matches!(first, PeerEvent::Connected), "unexpected {first:?}");

    let payload = |track: usize, number: u16| {
        let mut bytes = vec![track as u8; 900];
        bytes[1..3].copy_from_slice(&number.to_be_bytes());
        bytes[3] = 0xff;
        Bytes::from(bytes)
    };
    let mut tracks = sender.tracks;
    let feeder = tokio::spawn(async move {
        for number in 0..200 {
            for (index, track) in tracks.iter_mut().enumerate() {
                let at = track.timestamp(Duration::from_millis(20 * u64::from(number)));
                track.send(payload(index, number), at, true).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });

    let mut readers = Vec::new();
    while readers.len() < 2 {
        let PeerEvent::Track(mut track) =
            timeout(PATIENCE, receiver_inbox.recv()).await.unwrap().unwrap()
        else {
            continue;
        };
        let published = offer.tracks.iter().position(|known| known.mid == track.mid()).unwrap();
        assert_eq!(track.kind(), specs[published].kind);
        readers.push(tokio::spawn(async move {
            let mut numbers = Vec::new();
            let mut asked = false;
            loop {
                let packet = timeout(PATIENCE, track.next()).await.unwrap().unwrap();
                assert_eq!(packet.payload.len(), 900);
                assert_eq!(usize::from(packet.payload[0]), published);
                assert_eq!(packet.payload[3], 0xff);
                numbers.push(u16::from_be_bytes([packet.payload[1], packet.payload[2]]));
                asked |= track.request_keyframe(Instant::now()).await;
                // A second request at once is held back.
                assert!(!track.request_keyframe(Instant::now()).await);
                if *numbers.last().unwrap() == 199 {
                    return (published, numbers, asked);
                }
            }
        }));
    }
    for reader in readers {
        let (published, numbers, asked) = timeout(PATIENCE, reader).await.unwrap().unwrap();
        // Packets sent before DTLS was ready on the other side may be lost, none in between.
        assert!(numbers.len() > 100, "only {} packets came", numbers.len());
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert_eq!(asked, published == 0);
    }
    feeder.await.unwrap();
    let mut requests = 0;
    while let Ok(event) = sender_inbox.try_recv() {
        if let PeerEvent::KeyframeRequested { index } = event {
            assert_eq!(index, 0);
            requests += 1;
        }
    }
    assert!(requests > 0);
    sender.peer.close().await;
    receiver.peer.close().await;
}
