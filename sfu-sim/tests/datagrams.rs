//! What a client can do to the server through the channel for datagrams.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::{Duration, Instant};

use common::media::{Client, run_for, run_until};
use common::{Signal, claims};
use sfu_sim::protocol::datagrams::{DatagramPath, MAX_DATAGRAM, PathOutput};
use sfu_sim::protocol::{
    ClientMessage, DeliveryRequest, RefusalCode, ServerMessage, SessionEvent, SessionRequest,
};
use sfu_sim::{Config, RunningServer, Server};

fn refused(server: &RunningServer, reason: &str) -> u64 {
    server.metrics().datagrams_refused.with_label_values(&[reason]).get()
}

/// A participant with a channel, and the tag of its connection.
async fn join(server: &RunningServer, name: &str) -> (Client, u32) {
    let (signal, welcome) = Signal::join(server, &claims("room", name)).await;
    let SessionEvent::Welcome { datagrams: Some(tag), .. } = welcome else {
        panic!("expected a tag in {welcome:?}")
    };
    let mut client = Client::publish(signal, &[]).await;
    run_until(&mut [&mut client], "the channel opens", |clients| clients[0].channel.is_some())
        .await;
    (client, tag)
}

/// The datagrams of a message.
fn datagrams(tag: u32, message: &ClientMessage) -> Vec<Vec<u8>> {
    let mut path = DatagramPath::new(tag);
    path.open(Duration::ZERO);
    path.confirmed(&[1], Duration::ZERO);
    while path.poll_output().is_some() {}
    path.send_first(&message.to_binary().unwrap(), (), Duration::ZERO).unwrap();
    std::iter::from_fn(|| path.poll_output())
        .map(|output| match output {
            PathOutput::Datagram(bytes) => bytes,
            other => panic!("expected a datagram, found {other:?}"),
        })
        .collect()
}

fn submit(id: u64) -> ClientMessage {
    ClientMessage::request(
        id,
        DeliveryRequest::Submit {
            proposals: Vec::new(),
            commit: vec![7; 1_500].into(),
            welcome: None,
            group_info: vec![8; 20].into(),
        },
    )
}

async fn until_refused(server: &RunningServer, client: &mut Client, reason: &str, count: u64) {
    run_until(&mut [client], reason, |_| refused(server, reason) >= count).await;
    assert_eq!(refused(server, reason), count, "{reason}");
}

#[tokio::test]
async fn attacks_forged_datagrams_are_refused_and_counted_and_change_nothing() {
    let server = Server::start(Config::ephemeral()).await.unwrap();
    let (mut alice, tag) = join(&server, "alice").await;
    let (mut bob, other) = join(&server, "bob").await;
    assert_ne!(tag, other);

    // Garbage, too long, of another kind, cut off.
    let parts = datagrams(tag, &submit(9));
    let garbage = [vec![], vec![255; 40], vec![0; MAX_DATAGRAM + 1], parts[0][..100].to_vec()];
    for bytes in &garbage {
        assert!(alice.send_datagram(bytes));
    }
    // An empty message cannot be told from one that was lost on some stacks.
    let malformed = garbage.len() as u64 - 1;
    run_until(&mut [&mut alice], "garbage", |_| refused(&server, "malformed") >= malformed).await;
    assert!(refused(&server, "malformed") <= malformed + 1);
    // The tag of somebody else's connection, which is not the sender's.
    for bytes in datagrams(other, &submit(9)) {
        assert!(alice.send_datagram(&bytes));
    }
    until_refused(&server, &mut alice, "other_connection", 2).await;
    // Two different parts in one place.
    assert!(alice.send_datagram(&parts[0]));
    let mut contradiction = parts[0].clone();
    *contradiction.last_mut().unwrap() ^= 1;
    assert!(alice.send_datagram(&contradiction));
    until_refused(&server, &mut alice, "inconsistent", 1).await;
    let messages = server.metrics().messages.get();
    assert_eq!(server.metrics().commits_refused.with_label_values(&["no_group"]).get(), 0);

    // None of that was in the way of the message itself, which comes once and is judged as on the stream.
    for _ in 0..3 {
        for part in parts.iter().rev() {
            assert!(alice.send_datagram(part));
        }
    }
    run_until(&mut [&mut alice, &mut bob], "the refusal", |clients| {
        clients[0].events.iter().any(|event| {
            matches!(event, SessionEvent::Refused(refusal) if refusal.code == RefusalCode::NoGroup)
        })
    })
    .await;
    run_for(&mut [&mut alice], Duration::from_millis(100)).await;
    assert_eq!(server.metrics().messages.get(), messages + 1);
    assert_eq!(server.metrics().commits_refused.with_label_values(&["no_group"]).get(), 1);
    // Nor does it count once more when it comes over the stream with its number, 2.
    let again = ClientMessage { parcel: Some(2), ..submit(9) };
    alice.signal.send_text(again.to_text()).await;
    alice.signal.ask(SessionRequest::Ping).await;
    assert_eq!(server.metrics().commits_refused.with_label_values(&["no_group"]).get(), 1);
    // What was complete is confirmed, and nobody else has heard of anything.
    assert_eq!((alice.confirmed, bob.confirmed), (vec![2], vec![]));
    server.shutdown().await;
}

#[tokio::test]
async fn attacks_a_flood_of_datagrams_is_cut_down_to_the_rate() {
    let mut config = Config::ephemeral();
    config.limits.messages_per_second = 10;
    let server = Server::start(config).await.unwrap();
    let (mut alice, tag) = join(&server, "alice").await;
    // Half of a message, again and again.
    let part = datagrams(tag, &submit(3)).remove(0);
    let begin = Instant::now();
    let mut sent = 0;
    for _ in 0..400 {
        sent += u64::from(alice.send_datagram(&part));
        alice.step().await;
    }
    assert!(sent > 100, "{sent}");
    let allowed = || 40 + 20 * (begin.elapsed().as_secs() + 1);
    run_until(&mut [&mut alice], "the flood is noticed", |_| {
        refused(&server, "rate_limited") + allowed() >= sent
    })
    .await;
    // Twice the rate of messages, and a burst of two seconds' worth.
    run_for(&mut [&mut alice], Duration::from_millis(50)).await;
    let taken = sent - refused(&server, "rate_limited");
    assert!(taken <= allowed(), "{taken} of {sent} were taken");
    // The media connection and the stream go on.
    alice.signal.ask(SessionRequest::Ping).await;
    assert!(alice.connected);
    server.shutdown().await;
}

#[tokio::test]
async fn datagrams_of_a_connection_that_was_replaced_are_refused() {
    let server = Server::start(Config::ephemeral()).await.unwrap();
    let (mut alice, former) = join(&server, "alice").await;
    let (signal, welcome) = Signal::join(&server, &claims("room", "alice")).await;
    let SessionEvent::Welcome { media: true, datagrams: Some(tag), .. } = welcome else {
        panic!("expected the media connection to be kept: {welcome:?}")
    };
    assert_ne!(tag, former);
    alice.signal = signal;
    for bytes in datagrams(former, &submit(5)) {
        assert!(alice.send_datagram(&bytes));
    }
    until_refused(&server, &mut alice, "other_connection", 2).await;
    // The server greets on the channel that is there, under the new tag.
    run_until(&mut [&mut alice], "a greeting", |clients| {
        let mut path = DatagramPath::<ServerMessage>::new(tag);
        clients[0].datagrams.iter().any(|bytes| path.receive(bytes, Duration::ZERO).is_ok())
    })
    .await;
    server.shutdown().await;
}
