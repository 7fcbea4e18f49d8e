//! The program itself: tokens, start, SIGTERM.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::Signal;
use sfu_sim::protocol::{CloseReason, ServerBody, SessionEvent};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sfu-sim");

struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("framelock-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts a server on free ports and says where it listens.
fn serve(config: &std::path::Path) -> (Child, String) {
    let mut child = Command::new(PROGRAM)
        .args(["serve", config.to_str().unwrap()])
        .env_remove("FRAMELOCK_TOKEN_SECRET")
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("a line about the start").unwrap();
        assert!(line.starts_with('{'), "not JSON: {line}");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if let Some(address) = event["fields"]["address"].as_str() {
            break address.to_owned();
        }
    };
    // Read on, so that the server never waits for its log.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

#[tokio::test]
async fn it_serves_with_its_own_tokens_until_sigterm() {
    let directory = Directory::new("program");
    let config = directory.0.join("sfu.toml");
    let storage = directory.0.join("data");
    fs::write(
        &config,
        format!(
            "[signalling]\nlisten = \"127.0.0.1:0\"\n[media]\nlisten = \"127.0.0.1:0\"\n\
             [storage]\npath = {storage:?}\n[log]\nformat = \"json\"\n"
        ),
    )
    .unwrap();
    let (mut child, address) = serve(&config);
    let token = Command::new(PROGRAM)
        .args(["token", config.to_str().unwrap(), "--room", "lobby", "--identity", "alice"])
        .args(["--name", "Alice", "--moderator", "--ttl", "60"])
        .env_remove("FRAMELOCK_TOKEN_SECRET")
        .output()
        .unwrap();
    assert!(token.status.success());
    let token = String::from_utf8(token.stdout).unwrap();
    let url = format!("ws://{address}/v1/ws?token={}", token.trim());
    let mut alice = Signal::connect_url(&url).await;
    let ServerBody::Session(SessionEvent::Welcome { you, room, .. }) =
        alice.next().await.unwrap().body
    else {
        panic!("expected a welcome")
    };
    assert_eq!((you.name.as_str(), you.moderator, room.as_str()), ("Alice", true, "lobby"));

    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let reason = alice
        .wait_for(|body| match body {
            ServerBody::Session(SessionEvent::Closing { reason, reconnect_after_ms }) => {
                assert!(reconnect_after_ms.is_some());
                Some(reason)
            }
            _ => None,
        })
        .await;
    assert_eq!(reason, CloseReason::ShuttingDown);
    let status = tokio::task::spawn_blocking(move || {
        for _ in 0..1000 {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        None
    })
    .await
    .unwrap();
    assert!(status.expect("an end in time").success());
}

#[test]
fn it_says_what_is_wrong_with_its_configuration() {
    let directory = Directory::new("wrong");
    let config = directory.0.join("sfu.toml");
    for (text, expected) in [
        ("[media]\nlisten = \"0.0.0.0:0\"\n", "media.public_addresses"),
        ("[limits]\nspeed = 1\n", "speed"),
        ("[tokens]\nsecret = \"short\"\n", "32 bytes"),
        ("[signalling]\ntls_key = \"key.pem\"\n", "tls_certificate"),
    ] {
        fs::write(&config, text).unwrap();
        let output = Command::new(PROGRAM)
            .args(["serve", config.to_str().unwrap()])
            .env_remove("FRAMELOCK_TOKEN_SECRET")
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(expected), "{text}: {message}");
    }
}
