//! Urgent messages as datagrams: native clients over real data channels, and the stream when datagrams are lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use call_session::{Invite, SessionConfig, SessionEvent};
use examples::client::observer::Observer;
use examples::client::{Client, ClientConfig, ClientError, Ending, MediaOptions};
use sfu_sim::protocol::Identity;
use sfu_sim::token::Claims;
use sfu_sim::{Config, RunningServer, Server};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Seen {
    epoch: u64,
    roster: BTreeSet<String>,
    faults: Vec<String>,
}

#[derive(Default)]
struct Watch(Mutex<Seen>);

impl Observer for Watch {
    fn session(&self, event: &SessionEvent) {
        let mut seen = self.0.lock().unwrap();
        match event {
            SessionEvent::EpochBegan { epoch, roster, .. } => {
                seen.epoch = *epoch;
                seen.roster = roster.iter().map(|it| it.identity.to_string()).collect();
            }
            SessionEvent::Ignored { .. } | SessionEvent::Alarm(_) => {
                seen.faults.push(format!("{event:?}"));
            }
            _ => {}
        }
    }

    fn trouble(&self, words: &str) {
        self.0.lock().unwrap().faults.push(words.to_owned());
    }
}

struct Participant {
    name: &'static str,
    client: Client,
    watch: Arc<Watch>,
    running: tokio::task::JoinHandle<Result<Ending, ClientError>>,
}

impl Participant {
    fn join(server: &RunningServer, name: &'static str, options: MediaOptions) -> Self {
        let watch = Arc::new(Watch::default());
        let mut session = SessionConfig::new(Identity::new(name));
        session.invite = Some(Invite::new(b"the invite link of this test"));
        let claims = Claims::new("hall", name, Duration::from_secs(600));
        let config = ClientConfig {
            urls: vec![server.url()],
            token: server.token(&claims).unwrap(),
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            publications: Vec::new(),
            record: None,
            session,
            observer: Arc::clone(&watch) as _,
            origin: Instant::now(),
        };
        let (client, run) = Client::with_media(config, options).unwrap();
        Self { name, client, watch, running: tokio::spawn(run) }
    }

    async fn leave(self) -> Vec<String> {
        self.client.leave().await;
        self.running.await.unwrap().unwrap();
        std::mem::take(&mut self.watch.0.lock().unwrap().faults)
    }
}

fn count(server: &RunningServer, fate: &str) -> u64 {
    server.metrics().datagram_messages.with_label_values(&[fate]).get()
}

/// Waits until everybody is in one epoch with exactly these members.
async fn all_agree(participants: &[Participant]) {
    let names: BTreeSet<_> = participants.iter().map(|it| it.name.to_owned()).collect();
    let given_up = Instant::now() + PATIENCE;
    loop {
        let stands: Vec<_> = participants
            .iter()
            .map(|it| {
                let seen = it.watch.0.lock().unwrap();
                (it.name, seen.epoch, seen.roster.clone())
            })
            .collect();
        let epochs: BTreeSet<_> = stands.iter().map(|(_, epoch, _)| *epoch).collect();
        if epochs.len() == 1 && stands.iter().all(|(_, _, roster)| *roster == names) {
            return;
        }
        assert!(Instant::now() < given_up, "expected {names:?} in one epoch, found {stands:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lets somebody come and go until `enough`; the path is there a moment after the members are.
async fn churn(
    server: &RunningServer,
    participants: &mut Vec<Participant>,
    enough: impl Fn() -> bool,
) {
    let given_up = Instant::now() + PATIENCE;
    while !enough() {
        assert!(Instant::now() < given_up, "{}", server.metrics().text());
        participants.push(Participant::join(server, "guest", MediaOptions::default()));
        all_agree(participants).await;
        let guest = participants.pop().unwrap();
        assert_eq!(guest.leave().await, Vec::<String>::new());
        all_agree(participants).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_travel_as_datagrams_and_over_the_stream_when_those_are_lost() {
    let mut config = Config::ephemeral();
    // Guests come and go as quickly as they can.
    config.delivery.joins.per_second = 100.0;
    let server = Server::start(config).await.unwrap();
    let mut participants = Vec::new();
    for name in ["alice", "bob", "carol"] {
        participants.push(Participant::join(&server, name, MediaOptions::default()));
        all_agree(&participants).await;
    }
    churn(&server, &mut participants, || {
        count(&server, "received") > 1 && count(&server, "confirmed") > 4
    })
    .await;

    // Nothing of what is sent as datagrams arrives any more, in either direction.
    for participant in &participants {
        participant.client.lose_datagrams(true).await;
    }
    let before = count(&server, "fell_back");
    churn(&server, &mut participants, || count(&server, "fell_back") > before + 4).await;
    let confirmed = count(&server, "confirmed");

    // The path is found again.
    for participant in &participants {
        participant.client.lose_datagrams(false).await;
    }
    churn(&server, &mut participants, || count(&server, "confirmed") > confirmed + 4).await;

    // A connection that comes back has a path of its own on the media connection that it has had.
    participants[0].client.lose_signalling(Duration::from_millis(300)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let received = count(&server, "confirmed");
    churn(&server, &mut participants, || count(&server, "confirmed") > received + 8).await;

    assert_eq!(server.metrics().epochs_with_two_winners.get(), 0);
    for reason in ["malformed", "inconsistent", "rate_limited", "no_path"] {
        assert_eq!(server.metrics().datagrams_refused.with_label_values(&[reason]).get(), 0);
    }
    for participant in participants {
        assert_eq!(participant.leave().await, Vec::<String>::new());
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_or_with_the_path_switched_off_everything_goes_over_the_stream() {
    for offered in [true, false] {
        let mut config = Config::ephemeral();
        config.media.datagrams = !offered;
        let server = Server::start(config).await.unwrap();
        let mut participants = Vec::new();
        for name in ["alice", "bob"] {
            let options = MediaOptions { datagrams: offered, ..MediaOptions::default() };
            participants.push(Participant::join(&server, name, options));
            all_agree(&participants).await;
        }
        let given_up = Instant::now() + PATIENCE;
        while server.metrics().media_peers.get() < 2 {
            assert!(Instant::now() < given_up, "media does not connect");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let bob = participants.pop().unwrap();
        assert_eq!(bob.leave().await, Vec::<String>::new());
        all_agree(&participants).await;
        for fate in ["sent", "received"] {
            assert_eq!(count(&server, fate), 0, "{fate}, offered: {offered}");
        }
        server.shutdown().await;
    }
}
