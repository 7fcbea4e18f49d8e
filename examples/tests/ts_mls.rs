//! A member on ts-mls, an independent implementation of RFC 9420 in TypeScript, joins a call's group and
//! derives the same SFrame base key in every epoch.
//!
//! Needs node and `npm ci` in examples/ts-mls (`scripts/ts-mls-test.sh` does both); without them the test says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it saw"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use mls::crypto::{default_provider, os_rng};
use mls::schedule::Psk;
use mls::wire::{Extension, Extensions, KeyPackage, PskSource, RequiredCapabilities};
use mls::{
    CipherSuite, Client, ClientOptions, Group, GroupId, GroupOptions, HandshakeFormat,
    HandshakePolicy, Identity, MemoryPskStore, Processed, UnixTime,
};
use serde_json::{Value, json};
use sframe_bridge::{BASE_KEY_LABEL, CALL_PARAMETERS, CallParameters, CallRules};

const INVITE_ID: &[u8] = b"framelock invite";
const INVITE: &[u8] = b"the secret of the invite link";

/// A member in a process of its own.
struct TsMember {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a member has derived in an epoch.
#[derive(Debug, PartialEq, Eq)]
struct Derived {
    epoch: u64,
    base_key: String,
    authenticator: String,
}

impl TsMember {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new("node")
            .arg("member.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, requests, answers }
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.requests, "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer.get("error").is_none(), "ts-mls: {}", answer["error"]);
        answer
    }

    /// Asks for something that leads into an epoch.
    fn enter(&mut self, mut request: Value) -> (Derived, Value) {
        request["label"] = BASE_KEY_LABEL.into();
        request["length"] = parameters().suite.key_length().into();
        let answer = self.ask(&request);
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        let derived = Derived {
            epoch: answer["epoch"].as_u64().unwrap(),
            base_key: text("base_key"),
            authenticator: text("authenticator"),
        };
        (derived, answer)
    }
}

impl Drop for TsMember {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn parameters() -> CallParameters {
    CallParameters::default()
}

fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixTime(since.unwrap().as_secs())
}

fn client(name: &str, suite: CipherSuite) -> Client {
    let suite = default_provider().suite(suite).unwrap();
    let psks = MemoryPskStore::new();
    psks.insert(INVITE_ID, Psk::from_slice(INVITE));
    let mut options = ClientOptions::new(call_session::NamedMembers);
    options.capabilities.extensions.push(CALL_PARAMETERS);
    options.handshake = HandshakeFormat::Public;
    options.accept = HandshakePolicy::PublicOnly;
    options.rules = Arc::new(CallRules);
    options.psks = Arc::new(psks);
    Client::new(suite, Identity::basic(name, suite, &mut os_rng()).unwrap(), options)
}

fn create(client: &Client) -> Group {
    let mut extensions = Extensions::new();
    extensions.set(Extension { extension_type: CALL_PARAMETERS, data: parameters().encode() });
    let required = RequiredCapabilities {
        extension_types: vec![CALL_PARAMETERS],
        ..RequiredCapabilities::default()
    };
    let options = GroupOptions { extensions, required_capabilities: Some(required) };
    client.create_group(GroupId(b"call".to_vec()), options, &mut os_rng(), now()).unwrap()
}

fn derived(group: &Group) -> Derived {
    let key = group.export(BASE_KEY_LABEL, b"", parameters().suite.key_length()).unwrap();
    Derived {
        epoch: group.epoch(),
        base_key: hex::encode(key.as_bytes()),
        authenticator: hex::encode(group.epoch_authenticator().unwrap().as_bytes()),
    }
}

/// The first of `ours` commits additions (with the invite's PSK, as a call does) and removals; the rest follow.
fn commit(ours: &mut [Group], add: Vec<KeyPackage>, remove: &[u32]) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut builder = ours[0].commit();
    if !add.is_empty() {
        builder = builder.psk(PskSource::External { psk_id: INVITE_ID.to_vec() });
    }
    for key_package in add {
        builder = builder.add(key_package);
    }
    for leaf in remove {
        builder = builder.remove(mls::LeafIndex(*leaf));
    }
    let pending = builder.build(&mut os_rng(), now()).unwrap();
    let message = pending.commit().to_vec();
    let welcome = pending.welcome().map(<[u8]>::to_vec);
    ours[0].confirm(pending).unwrap();
    for group in &mut ours[1..] {
        follow(group, &message);
    }
    (message, welcome)
}

fn follow(group: &mut Group, message: &[u8]) {
    let Processed::Commit(staged) = group.process(message, now()).unwrap() else {
        panic!("expected a commit")
    };
    group.merge(*staged).unwrap();
}

/// A call of two of ours and one on ts-mls: a join by Welcome, commits from either side, another join, a
/// removal. Returns the epochs in which all had the same key.
fn call(folder: &Path, suite: CipherSuite, name: &str) -> usize {
    let alice = client("alice", suite);
    let mut ours = vec![create(&alice)];
    let mut tessa = TsMember::start(folder);
    let answer = tessa.ask(&json!({
        "ask": "key_package", "suite": name, "identity": "tessa", "extensions": [CALL_PARAMETERS.0],
        "psk": { "id": hex::encode(INVITE_ID), "secret": hex::encode(INVITE) },
    }));
    let message = hex::decode(answer["key_package"].as_str().unwrap()).unwrap();
    let hers = alice.read_key_package(&message, now()).unwrap();
    let mut epochs = 0;
    let mut agree = |ours: &[Group], theirs: &Derived| {
        for group in ours {
            assert_eq!(derived(group), *theirs);
        }
        epochs += 1;
    };

    let (_, welcome) = commit(&mut ours, vec![hers], &[]);
    let request = json!({ "ask": "join", "welcome": hex::encode(welcome.unwrap()) });
    let (theirs, answer) = tessa.enter(request);
    agree(&ours, &theirs);
    let her_leaf = u32::try_from(answer["leaf"].as_u64().unwrap()).unwrap();

    let bob = client("bob", suite);
    let bundle = bob.key_package(&mut os_rng(), now()).unwrap();
    let (message, welcome) = commit(&mut ours, vec![bundle.key_package().clone()], &[]);
    ours.push(bob.join(&welcome.unwrap(), [&bundle], None, now()).unwrap().accept());
    let (theirs, _) = tessa.enter(json!({ "ask": "process", "commit": hex::encode(message) }));
    agree(&ours, &theirs);

    for _ in 0..3 {
        let (theirs, answer) = tessa.enter(json!({ "ask": "commit" }));
        let message = hex::decode(answer["commit"].as_str().unwrap()).unwrap();
        for group in &mut ours {
            follow(group, &message);
        }
        agree(&ours, &theirs);
        let (message, _) = commit(&mut ours, Vec::new(), &[]);
        let (theirs, _) = tessa.enter(json!({ "ask": "process", "commit": hex::encode(message) }));
        agree(&ours, &theirs);
    }

    let leaf = ours[1].own_leaf().0;
    assert_ne!(leaf, her_leaf);
    let (message, _) = commit(&mut ours[..1], Vec::new(), &[leaf]);
    let (theirs, _) = tessa.enter(json!({ "ask": "process", "commit": hex::encode(message) }));
    agree(&ours[..1], &theirs);
    assert_ne!(
        derived(&ours[1]).base_key,
        theirs.base_key,
        "who was removed keeps the old key only"
    );
    epochs
}

#[test]
fn a_member_on_ts_mls_derives_the_same_base_keys() {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("ts-mls");
    let node = Command::new("node").arg("--version").output().is_ok_and(|out| out.status.success());
    if !node || !folder.join("node_modules/ts-mls").is_dir() {
        println!("ts-mls: not tested, as node or examples/ts-mls/node_modules is missing");
        return;
    }
    let suites = [
        (CipherSuite::P256_AES128GCM_SHA256_P256, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256"),
        (CipherSuite(1), "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"),
    ];
    let epochs: usize = suites.iter().map(|(suite, name)| call(&folder, *suite, name)).sum();
    println!(
        "ts-mls: 3 members (2 ours, 1 ts-mls 1.6.4), suites 2 and 1, {epochs} epochs, base keys equal in all of them"
    );
}
