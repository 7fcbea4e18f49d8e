//! One call on two servers that share a NATS: real processes, real clients, and one server killed in the
//! middle.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it leaves out"
)]

#[path = "../../sfu-sim/tests/common/nats.rs"]
mod nats;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use call_session::{Invite, SessionConfig, SessionEvent};
use examples::client::observer::{Incoming, Observer, Unopened};
use examples::client::peer::TrackSpec;
use examples::client::{Client, ClientConfig, Publication};
use examples::media::{CLIP_AUDIO, CLIP_VIDEO, Clip, ivf, opus};
use sfu_sim::config::SecretText;
use sfu_sim::protocol::{Identity, MediaKind};
use sfu_sim::token::{Claims, TokenKey};
use sfu_sim::{Config, Server};

const SECRET: &str = "a secret of the two servers of this test";
const NATS: &str = "FRAMELOCK_TEST_NATS";
const ADDRESS_FILE: &str = "FRAMELOCK_TEST_ADDRESS_FILE";
const PATIENCE: Duration = Duration::from_secs(60);

/// A server: this test's own program in a process of its own.
struct Node {
    process: Child,
    file: PathBuf,
    url: String,
}

impl Node {
    fn start(nats: &nats::NatsServer, name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("framelock-{name}-{}", std::process::id()));
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_server_process", "--ignored", "--nocapture"])
            .env(NATS, &nats.url)
            .env(ADDRESS_FILE, &file)
            .env_remove("FRAMELOCK_TOKEN_SECRET")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut node = Self { process, file, url: String::new() };
        let given_up = Instant::now() + PATIENCE;
        while node.url.is_empty() {
            assert!(Instant::now() < given_up, "the server does not start");
            std::thread::sleep(Duration::from_millis(20));
            node.url = std::fs::read_to_string(&node.file).unwrap_or_default();
        }
        node
    }

    /// Ends it without a word to anybody.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// A counter of `/metrics`; those without labels only.
    fn metric(&self, name: &str) -> u64 {
        let address = self.url.trim_start_matches("ws://").split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: the process that the test below starts"]
async fn a_server_process() {
    let Ok(nats) = std::env::var(NATS) else { return };
    let mut config = Config::ephemeral();
    config.tokens.secret = Some(SecretText::new(SECRET));
    config.store_in(&nats);
    let server = Server::start(config).await.unwrap();
    let file = PathBuf::from(std::env::var(ADDRESS_FILE).unwrap());
    // Written at once, so that nobody reads half of it.
    let whole = file.with_extension("new");
    std::fs::write(&whole, server.url()).unwrap();
    std::fs::rename(whole, file).unwrap();
    std::future::pending::<()>().await;
}

/// What a participant has seen.
#[derive(Default)]
struct Seen {
    opened: BTreeMap<(Identity, bool), u64>,
    unopened: Vec<(Identity, &'static str)>,
    roster: BTreeSet<Identity>,
    epoch: u64,
    removed: Vec<Identity>,
    troubles: Vec<String>,
}

#[derive(Default)]
struct Watch(Mutex<Seen>);

impl Observer for Watch {
    fn session(&self, event: &SessionEvent) {
        if let SessionEvent::EpochBegan { epoch, roster, removed, .. } = event {
            let mut seen = self.0.lock().unwrap();
            seen.epoch = *epoch;
            seen.roster = roster.iter().map(|member| member.identity.clone()).collect();
            seen.removed.extend(removed.iter().cloned());
        }
    }

    fn opened(&self, frame: Incoming<'_>) {
        let key = (frame.participant.clone(), frame.kind == MediaKind::Video);
        *self.0.lock().unwrap().opened.entry(key).or_default() += 1;
    }

    fn unopened(&self, frame: Unopened<'_>) {
        // A newcomer is not meant to open what was sent before.
        if frame.reason != "before-join" {
            self.0.lock().unwrap().unopened.push((frame.participant.clone(), frame.reason));
        }
    }

    fn trouble(&self, words: &str) {
        self.0.lock().unwrap().troubles.push(words.to_owned());
    }
}

struct Participant {
    name: &'static str,
    client: Client,
    watch: Arc<Watch>,
    running:
        tokio::task::JoinHandle<Result<examples::client::Ending, examples::client::ClientError>>,
}

impl Participant {
    fn join(name: &'static str, urls: &[&str]) -> Self {
        let watch = Arc::new(Watch::default());
        let claims = Claims::new("hall", name, Duration::from_secs(600));
        let mut session = SessionConfig::new(Identity::new(name));
        session.invite = Some(Invite::new(b"the invite link of this test"));
        let (client, run) = Client::new(ClientConfig {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            token: TokenKey::new(SECRET.as_bytes()).unwrap().issue(&claims).unwrap(),
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            publications: publications(),
            record: None,
            session,
            observer: Arc::clone(&watch) as _,
            origin: Instant::now(),
        })
        .unwrap();
        Self { name, client, watch, running: tokio::spawn(run) }
    }

    /// How many frames of somebody it has opened, of sound and picture the fewer.
    fn opened(&self, other: &Identity) -> u64 {
        let seen = self.watch.0.lock().unwrap();
        let of = |video| seen.opened.get(&(other.clone(), video)).copied().unwrap_or(0);
        of(false).min(of(true))
    }

    fn forget_frames(&self) {
        self.watch.0.lock().unwrap().opened.clear();
    }
}

fn publications() -> Vec<Publication> {
    let publication = |kind, label: &str, clip: Clip| Publication {
        track: TrackSpec { kind, label: label.to_owned() },
        clip: Arc::new(clip),
        first: 0,
    };
    let video = ivf::read(CLIP_VIDEO).unwrap();
    let audio = opus::read(Cursor::new(CLIP_AUDIO)).unwrap();
    vec![
        publication(MediaKind::Video, "camera", video),
        publication(MediaKind::Audio, "microphone", audio),
    ]
}

/// Waits until everybody is in one epoch with exactly these members and opens frames of sound and picture of
/// every other one.
async fn all_hear_and_see_all(participants: &[Participant], what: &str) {
    let names: BTreeSet<Identity> = participants.iter().map(|it| Identity::new(it.name)).collect();
    let given_up = Instant::now() + PATIENCE;
    loop {
        let mut missing = Vec::new();
        let mut epochs = BTreeSet::new();
        for participant in participants {
            let (roster, epoch) = {
                let seen = participant.watch.0.lock().unwrap();
                (seen.roster.clone(), seen.epoch)
            };
            epochs.insert(epoch);
            if roster != names {
                missing.push(format!("{}: roster {roster:?}", participant.name));
            }
            for other in names.iter().filter(|other| other.as_str() != participant.name) {
                if participant.opened(other) < 25 {
                    missing.push(format!("{} <- {other}", participant.name));
                }
            }
        }
        if missing.is_empty() && epochs.len() == 1 {
            return;
        }
        if Instant::now() >= given_up {
            for participant in participants {
                let seen = participant.watch.0.lock().unwrap();
                eprintln!("{}: epoch {} {:?}", participant.name, seen.epoch, seen.troubles);
            }
            panic!("{what}: {missing:#?}, epochs {epochs:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_two_servers_survives_the_death_of_one() {
    let Some(nats) = nats::NatsServer::start() else { return };
    let mut first = Node::start(&nats, "first");
    let second = Node::start(&nats, "second");
    let (a, b) = (first.url.clone(), second.url.clone());
    let mut participants = vec![
        Participant::join("alice", &[&a, &b]),
        Participant::join("bob", &[&b, &a]),
        Participant::join("carol", &[&a, &b]),
        Participant::join("dave", &[&b, &a]),
    ];
    all_hear_and_see_all(&participants, "members on both servers").await;
    assert!(first.metric("framelock_link_packets_out_total") > 0);
    assert!(second.metric("framelock_link_packets_in_total") > 0);

    first.kill();
    // Frames that are counted from here on came over the server that is left.
    participants.iter().for_each(Participant::forget_frames);
    all_hear_and_see_all(&participants, "after one server died").await;
    for participant in &participants {
        let seen = participant.watch.0.lock().unwrap();
        assert_eq!(seen.removed, [], "{}: nobody lost the place", participant.name);
    }

    // Who comes and goes now, and a server that comes back, are nothing special.
    let third = Node::start(&nats, "third");
    participants.push(Participant::join("erin", &[&third.url]));
    all_hear_and_see_all(&participants, "somebody new on a new server").await;
    let bob = participants.remove(1);
    bob.client.leave().await;
    bob.running.await.unwrap().unwrap();
    participants.iter().for_each(Participant::forget_frames);
    all_hear_and_see_all(&participants, "after somebody left").await;

    for node in [&second, &third] {
        assert_eq!(node.metric("framelock_epochs_with_two_winners_total"), 0);
    }
    for participant in participants {
        participant.client.leave().await;
        participant.running.await.unwrap().unwrap();
        let seen = participant.watch.0.lock().unwrap();
        assert_eq!(seen.unopened, [], "{}", participant.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_two_servers_goes_on_while_nats_is_away() {
    let Some(mut nats) = nats::NatsServer::start() else { return };
    let first = Node::start(&nats, "one");
    let second = Node::start(&nats, "two");
    let (a, b) = (first.url.clone(), second.url.clone());
    let mut participants = vec![
        Participant::join("alice", &[&a]),
        Participant::join("bob", &[&a]),
        Participant::join("carol", &[&b]),
    ];
    all_hear_and_see_all(&participants, "members on both servers").await;

    nats.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Those at one server hear each other under the keys that they have; somebody new has to wait.
    participants.iter().for_each(Participant::forget_frames);
    participants.push(Participant::join("dave", &[&a]));
    let (alice, bob) = (Identity::new("alice"), Identity::new("bob"));
    let given_up = Instant::now() + PATIENCE;
    while participants[0].opened(&bob).min(participants[1].opened(&alice)) < 25 {
        assert!(Instant::now() < given_up, "no frames while NATS is away");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(participants[3].watch.0.lock().unwrap().roster.is_empty());

    nats.restart();
    participants.iter().for_each(Participant::forget_frames);
    all_hear_and_see_all(&participants, "after NATS came back").await;
    for node in [&first, &second] {
        assert_eq!(node.metric("framelock_epochs_with_two_winners_total"), 0);
    }
    for participant in &participants {
        let seen = participant.watch.0.lock().unwrap();
        assert_eq!(seen.removed, [], "{}: nobody lost the place", participant.name);
    }
    for participant in participants {
        participant.client.leave().await;
        participant.running.await.unwrap().unwrap();
        let seen = participant.watch.0.lock().unwrap();
        assert_eq!(seen.unopened, [], "{}", participant.name);
    }
}
