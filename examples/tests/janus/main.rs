//! A call through a foreign SFU: Janus's VideoRoom, which requires end-to-end encryption, with our delivery service beside
//! it. Joins, leaves, rotations; every frame that arrives is opened.
//!
//! `scripts/janus-test.sh` starts Janus in a network namespace and sets FRAMELOCK_JANUS and FRAMELOCK_BIND; without
//! them the test says that it has tested nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it saw"
)]

mod api;
mod gateway;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use call_session::{Invite, SessionConfig, SessionEvent, Status};
use examples::client::observer::{Incoming, Observer, Unopened};
use examples::client::peer::TrackSpec;
use examples::client::{Client, ClientConfig, Ending, MediaOptions, Publication};
use examples::media::{CLIP_AUDIO, CLIP_VIDEO, ivf, opus, vp8};
use serde_json::json;
use sfu_sim::protocol::{Identity, MediaKind};
use sfu_sim::token::Claims;
use sfu_sim::{Config, Server};
use tokio::task::JoinHandle;

use api::Janus;
use gateway::Servers;

/// What a busy machine may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Seen {
    epoch: u64,
    roster: BTreeSet<String>,
    opened: BTreeMap<(String, MediaKind), u64>,
    waited: u64,
    unopened: BTreeMap<&'static str, u64>,
    troubles: Vec<String>,
    /// When the last picture of somebody came.
    pictures: BTreeMap<String, Instant>,
    /// Whose track is a new one: a decoder shows nothing of it before a keyframe.
    fresh: BTreeSet<String>,
    /// The longest time that somebody's picture stood still.
    still: Duration,
}

/// Watches one client.
#[derive(Default)]
struct Watch(Mutex<Seen>);

impl Observer for Watch {
    fn session(&self, event: &SessionEvent) {
        let mut seen = self.0.lock().unwrap();
        if let SessionEvent::EpochBegan { epoch, roster, .. } = event {
            seen.epoch = *epoch;
            seen.roster = roster.iter().map(|member| member.identity.to_string()).collect();
            let Seen { roster, pictures, .. } = &mut *seen;
            pictures.retain(|name, _| roster.contains(name));
        }
    }

    fn track(&self, participant: &Identity, kind: MediaKind) {
        if kind == MediaKind::Video {
            self.0.lock().unwrap().fresh.insert(participant.to_string());
        }
    }

    fn opened(&self, frame: Incoming<'_>) {
        let mut seen = self.0.lock().unwrap();
        seen.waited += u64::from(frame.waited.is_some());
        let name = frame.participant.to_string();
        if frame.kind == MediaKind::Video
            && (vp8::is_keyframe(frame.plaintext) || !seen.fresh.contains(&name))
        {
            seen.fresh.remove(&name);
            let now = Instant::now();
            let before = seen.pictures.insert(name, now).unwrap_or(now);
            seen.still = seen.still.max(now - before);
        }
        *seen.opened.entry((frame.participant.to_string(), frame.kind)).or_default() += 1;
    }

    fn unopened(&self, frame: Unopened<'_>) {
        *self.0.lock().unwrap().unopened.entry(frame.reason).or_default() += 1;
    }

    fn trouble(&self, words: &str) {
        self.0.lock().unwrap().troubles.push(words.to_owned());
    }
}

struct Person {
    name: &'static str,
    client: Client,
    watch: Arc<Watch>,
    task: JoinHandle<Ending>,
}

struct Call {
    server: sfu_sim::RunningServer,
    url: String,
    bind: IpAddr,
}

impl Call {
    fn come(&self, name: &'static str) -> Person {
        let claims = Claims::new("janus", name, Duration::from_secs(600));
        let publication = |kind, label: &str, clip| Publication {
            track: TrackSpec { kind, label: label.to_owned() },
            clip: Arc::new(clip),
            first: 0,
        };
        let watch = Arc::new(Watch::default());
        let mut session = SessionConfig::new(Identity::new(name));
        session.invite = Some(Invite::new(b"the secret of the invite link"));
        let config = ClientConfig {
            urls: vec![self.url.clone()],
            token: self.server.token(&claims).unwrap(),
            bind: SocketAddr::new(self.bind, 0),
            publications: vec![
                publication(MediaKind::Video, "camera", ivf::read(CLIP_VIDEO).unwrap()),
                publication(
                    MediaKind::Audio,
                    "microphone",
                    opus::read(Cursor::new(CLIP_AUDIO)).unwrap(),
                ),
            ],
            record: None,
            session,
            observer: Arc::clone(&watch) as _,
            origin: Instant::now(),
        };
        let options =
            MediaOptions { separate_receiver: true, datagrams: false, ..MediaOptions::default() };
        let (client, driver) = Client::with_media(config, options).unwrap();
        let task = tokio::spawn(async move { driver.await.unwrap() });
        Person { name, client, watch, task }
    }
}

async fn until(words: &str, holds: impl Fn() -> bool, say: impl Fn() -> String) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{words}: {}", say());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until all have each other in the roster, and picture and sound of everybody grow at everybody.
async fn everybody_hears_everybody(people: &[&Person]) {
    let names: BTreeSet<String> = people.iter().map(|person| person.name.to_owned()).collect();
    for person in people {
        let roster = || person.watch.0.lock().unwrap().roster.clone();
        let say = || format!("{} sees {:?}", person.name, roster());
        until("the roster", || roster() == names, say).await;
    }
    for person in people {
        for other in people.iter().filter(|other| other.name != person.name) {
            for kind in [MediaKind::Video, MediaKind::Audio] {
                let key = (other.name.to_owned(), kind);
                let count =
                    || person.watch.0.lock().unwrap().opened.get(&key).copied().unwrap_or(0);
                let before = count();
                let say = || {
                    let seen = person.watch.0.lock().unwrap();
                    format!(
                        "{} opens {kind:?} of {}: {:?}, {:?}",
                        person.name, other.name, seen.unopened, seen.troubles
                    )
                };
                until("frames", || count() > before + 25, say).await;
            }
        }
    }
}

/// The longest time that somebody's picture stood still at one of these since this was last asked.
fn stood_still(people: &[&Person]) -> u128 {
    let still = |person: &&Person| std::mem::take(&mut person.watch.0.lock().unwrap().still);
    people.iter().map(still).max().unwrap_or_default().as_millis()
}

async fn leave(person: Person) -> Arc<Watch> {
    person.client.leave().await;
    assert_eq!(person.task.await.unwrap().status, Status::Left);
    person.watch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_through_janus() {
    let (Ok(janus), Ok(bind)) = (std::env::var("FRAMELOCK_JANUS"), std::env::var("FRAMELOCK_BIND"))
    else {
        println!("janus: not tested, as no Janus runs (scripts/janus-test.sh starts one)");
        return;
    };
    let bind: IpAddr = bind.parse().unwrap();
    let (sender, _events) = tokio::sync::mpsc::unbounded_channel();
    let admin = Janus::connect(&janus, sender).await;
    let handle = admin.attach().await;
    let room = 4711;
    let create = json!({
        "request": "create", "room": room, "publishers": 10, "audiocodec": "opus", "videocodec": "vp8",
        "require_e2ee": true, "bitrate": 2_000_000,
    });
    admin.message(handle, create, None).await;

    let server = Server::start(Config::ephemeral()).await.unwrap();
    let servers = Servers { delivery: server.url(), janus, room };
    let url = gateway::listen(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0), servers).await;
    let call = Call { server, url, bind };

    let alice = call.come("alice");
    let bob = call.come("bob");
    everybody_hears_everybody(&[&alice, &bob]).await;
    stood_still(&[&alice, &bob]);
    let carol = call.come("carol");
    everybody_hears_everybody(&[&alice, &bob, &carol]).await;
    let join = stood_still(&[&alice, &bob, &carol]);
    let mut watches = vec![leave(bob).await];
    everybody_hears_everybody(&[&alice, &carol]).await;
    let departure = stood_still(&[&alice, &carol]);
    let dave = call.come("dave");
    let bob = call.come("bob");
    everybody_hears_everybody(&[&alice, &bob, &carol, &dave]).await;
    let join_after_departure = stood_still(&[&alice, &carol]);
    watches.push(leave(carol).await);
    everybody_hears_everybody(&[&alice, &bob, &dave]).await;
    let epochs = alice.watch.0.lock().unwrap().epoch + 1;
    for person in [bob, dave, alice] {
        watches.push(leave(person).await);
    }

    let (mut video, mut audio, mut waited, mut undecryptable) = (0, 0, 0, 0);
    for watch in &watches {
        let seen = watch.0.lock().unwrap();
        waited += seen.waited;
        for ((_, kind), count) in &seen.opened {
            match kind {
                MediaKind::Video => video += count,
                MediaKind::Audio => audio += count,
            }
        }
        // What was sent before one joined is for others.
        let failed = seen.unopened.iter().filter(|(reason, _)| **reason != "before-join");
        undecryptable += failed.map(|(_, count)| count).sum::<u64>();
        assert_eq!(undecryptable, 0, "{:?}", seen.unopened);
    }
    admin.message(handle, json!({ "request": "destroy", "room": room }), None).await;
    admin.destroy().await;
    call.server.shutdown().await;
    println!(
        "janus: 5 joins and 2 leaves in a VideoRoom that requires e2ee, {epochs} epochs, {video} video and {audio} audio \
         frames opened ({waited} waited for their key), {undecryptable} undecryptable; others' pictures stood still for at \
         most {join} ms at a join, {departure} ms at a leave, {join_after_departure} ms at joins after a leave"
    );
}
