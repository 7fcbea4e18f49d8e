//! Servers on a NATS that is killed and comes back, and one identity that connects to two of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it leaves out"
)]

mod common;
#[path = "common/nats.rs"]
mod nats;

use std::time::{Duration, Instant};

use common::member::{Member, call_of, in_epoch, run_until};
use common::{Signal, claims, http_get};
use nats::NatsServer;
use sfu_sim::protocol::{
    CloseReason, DeliveryRequest, RefusalCode, ServerBody, SessionEvent, SessionRequest,
};
use sfu_sim::{Config, RunningServer, Server};

async fn server_on(nats: &NatsServer) -> RunningServer {
    let mut config = Config::ephemeral();
    config.store_in(&nats.url);
    Server::start(config).await.unwrap()
}

/// Waits until a server knows whether NATS is there.
async fn knows(server: &RunningServer, there: bool) {
    let given_up = Instant::now() + Duration::from_secs(30);
    let status = if there { "HTTP/1.1 200" } else { "HTTP/1.1 503" };
    while !http_get(server, "/healthz").await.starts_with(status) {
        assert!(Instant::now() < given_up, "expected {status}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Commits as a member does that is told to try again. Says how often it was told so.
async fn commit_at_last(members: &mut [Member], who: usize) -> usize {
    let epoch = members[who].epoch();
    let mut refused = 0;
    loop {
        match members[who].commit().await {
            Ok(_) => return refused,
            Err(refusal) => {
                let code = refusal.code;
                // Stale: the commit whose fate was unknown has been taken after all.
                let expected = matches!(
                    code,
                    RefusalCode::Unavailable
                        | RefusalCode::Undecided
                        | RefusalCode::StaleEpoch { .. }
                );
                assert!(expected, "{code:?}");
                refused += 1;
            }
        }
        assert!(refused < 1_000);
        tokio::time::sleep(Duration::from_millis(100)).await;
        members[who].step().await;
        if members[who].epoch() != epoch {
            return refused;
        }
    }
}

/// What the log has, read to its end by a server that was not there before.
async fn assert_log_leads_to(nats: &NatsServer, epoch: u64) {
    let server = server_on(nats).await;
    let mut reader = Member::connect(&server, &claims("room", "zoe")).await;
    run_until(&mut [&mut reader], "the call's state", |members| {
        members[0]
            .state
            .as_ref()
            .is_some_and(|(group, ..)| group.as_ref().is_some_and(|group| group.epoch == epoch))
    })
    .await;
    assert_eq!(server.metrics().epochs_with_two_winners.get(), 0);
    assert_eq!(server.metrics().invalid_records.get(), 0);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_after_nats_was_killed_in_the_middle() {
    let Some(mut nats) = NatsServer::start() else { return };
    let server = server_on(&nats).await;
    let mut members = call_of(&[(&server, "alice"), (&server, "bob")]).await;
    commit_at_last(&mut members, 1).await;
    in_epoch(&mut members, 2).await;

    nats.kill();
    // This one may be on its way; whether it is in the log nobody knows for now.
    let refused = members[0].commit().await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::Undecided, "{}", refused.message);
    knows(&server, false).await;
    for who in [0, 1] {
        let refused = members[who].commit().await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::Unavailable, "{}", refused.message);
    }
    // What needs no log goes on.
    let pong = members[1].signal.ask(SessionRequest::Ping).await;
    assert_eq!(pong, ServerBody::Session(SessionEvent::Done));
    assert!(members[1].ask(DeliveryRequest::FetchLog { since_epoch: 0 }).await.is_ok());
    assert!(server.metrics().storage_errors.get() > 0);
    // Nobody can open a room, and is told so.
    let mut late =
        Signal::connect(&server, &server.token(&claims("other", "carol")).unwrap()).await;
    let refused = common::refusal(late.next().await.unwrap().body);
    assert_eq!(refused.code, RefusalCode::Unavailable);

    nats.restart();
    let before = members[0].epoch().unwrap();
    commit_at_last(&mut members, 0).await;
    let epoch = members[0].epoch().unwrap();
    assert_eq!(epoch, before + 1);
    in_epoch(&mut members, epoch).await;
    commit_at_last(&mut members, 1).await;
    in_epoch(&mut members, epoch + 1).await;
    assert_eq!(server.metrics().epochs_with_two_winners.get(), 0);
    assert_eq!(server.metrics().group_members.get(), 2, "nobody was removed");
    server.shutdown().await;
    assert_log_leads_to(&nats, epoch + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_on_two_servers_goes_on_after_nats_was_killed_in_the_middle() {
    let Some(mut nats) = NatsServer::start() else { return };
    let (first, second) = (server_on(&nats).await, server_on(&nats).await);
    let mut members = call_of(&[(&first, "alice"), (&second, "bob")]).await;
    in_epoch(&mut members, 1).await;

    nats.kill();
    knows(&first, false).await;
    knows(&second, false).await;
    for who in [0, 1] {
        let refused = members[who].commit().await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::Undecided, "{}", refused.message);
    }
    // Longer than a server may be silent, and than somebody may be gone who is connected to it.
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    nats.restart();
    let mut epoch = 1;
    for who in [0, 1] {
        commit_at_last(&mut members, who).await;
        epoch += 1;
        in_epoch(&mut members, epoch).await;
    }
    // Nobody was taken for gone: whom a server has not heard of is asked for before.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for member in &mut members {
        member.step().await;
        assert_eq!(member.pending, [], "{:?}", member.pending);
        assert_eq!(member.group().member_count(), 2);
    }
    for server in [first, second] {
        assert_eq!(server.metrics().epochs_with_two_winners.get(), 0);
        server.shutdown().await;
    }
    assert_log_leads_to(&nats, epoch).await;
}

/// Waits for the farewell, if there is one within so long.
async fn replaced(signal: &mut Signal, within: Duration) -> bool {
    let until = tokio::time::Instant::now() + within;
    while tokio::time::Instant::now() < until {
        while let Some(message) = signal.try_next() {
            if let ServerBody::Session(SessionEvent::Closing { reason, .. }) = message.body {
                assert_eq!(reason, CloseReason::Replaced);
                return true;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clients_with_one_identity_at_two_servers_the_later_one_stays() {
    let Some(nats) = NatsServer::start() else { return };
    let (first, second) = (server_on(&nats).await, server_on(&nats).await);
    // Somebody keeps the room open at both.
    let _others = call_of(&[(&first, "alice"), (&second, "bob")]).await;
    let alone = Duration::from_millis(1_500);
    for round in 0..3 {
        let name = format!("carol-{round}");
        let carol = claims("room", &name);
        let ((mut one, _), (mut two, _)) =
            tokio::join!(Signal::join(&first, &carol), Signal::join(&second, &carol));
        let (gone, gone_too) = tokio::join!(replaced(&mut one, alone), replaced(&mut two, alone));
        assert!(
            gone != gone_too,
            "round {round}: replaced at the first {gone}, at the second {gone_too}"
        );
        let stays = if gone { &mut two } else { &mut one };
        let pong = stays.ask(SessionRequest::Ping).await;
        assert_eq!(pong, ServerBody::Session(SessionEvent::Done));
        // Whoever comes later takes its place, once.
        let (mut three, _) = Signal::join(&first, &carol).await;
        assert!(replaced(stays, Duration::from_secs(10)).await);
        assert!(!replaced(&mut three, alone).await);
    }
    for server in [first, second] {
        server.shutdown().await;
    }
}
