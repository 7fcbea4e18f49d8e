//! Whoever reads logs, debug output or what goes over the wire learns no secret, over a whole call.

use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tracing_subscriber::fmt::MakeWriter;

use crate::member::INVITE;
use crate::world::World;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The ways in which bytes are written.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = hex::encode(secret);
    let list = |bytes: &[u8]| format!("{bytes:?}").trim_matches(['[', ']']).to_owned();
    let hex_list = |bytes: &[u8]| format!("{bytes:02x?}").trim_matches(['[', ']']).to_owned();
    let mut spellings = vec![
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        list(secret).into_bytes(),
        hex_list(secret).into_bytes(),
    ];
    // In base64 it depends on what stands before; characters at the ends depend on neighbours.
    for before in 0..3 {
        let padded = [&vec![0; before], secret].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            let from = (before * 8).div_ceil(6);
            let to = padded.len() * 8 / 6;
            spellings.push(text.as_bytes()[from..to].to_vec());
        }
    }
    spellings
}

fn find(text: &[u8], secret: &[u8]) -> bool {
    let finders = spellings(secret);
    finders.iter().any(|spelling| memchr::memmem::find(text, spelling).is_some())
}

#[test]
fn every_spelling_is_found() {
    let secret = [0x1f, 0xa0, 7, 0, 255, 33, 64, 9, 0x80, 0x5e, 0x3f, 0xfe, 1, 2, 3, 4];
    let blob = [&[9, 9, 9, 9][..], &secret, &[1, 2]].concat();
    for text in [
        format!("{secret:?}"),
        format!("{secret:02x?}"),
        hex::encode(&blob),
        hex::encode_upper(&blob),
        STANDARD_NO_PAD.encode(&blob),
        STANDARD_NO_PAD.encode(&blob[1..]),
        URL_SAFE_NO_PAD.encode(&blob[2..]),
    ] {
        assert!(find(text.as_bytes(), &secret), "{text}");
    }
    assert!(find(&blob, &secret));
    assert!(!find(b"nothing of it", &secret));
}

#[test]
fn secrets_in_logs_debug_output_and_messages() {
    let logs = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(logs.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let (secrets, shown) = a_whole_call();
    assert!(secrets.len() > 8, "found only {} secrets", secrets.len());
    let logs = logs.0.lock().unwrap();
    assert!(logs.len() > 1_000, "the log is {} bytes long", logs.len());
    for (what, text) in [("a log", &*logs), ("debug output or messages", &shown)] {
        for (name, secret) in &secrets {
            assert!(!find(text, secret), "{name} stands in {what}");
        }
    }
}

/// Everything happens, among it refusals and errors. Gives the secrets, and all that was shown or sent.
fn a_whole_call() -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let names = ["alice", "bob", "carol"];
    let mut world = World::call(1, &names);
    world.record();
    world.arrive("dave");
    world.run(2_000);
    world.members.get_mut("bob").unwrap().session.leave();
    world.run(1_000);
    world.crash("carol", 500);
    world.run(3_000);
    world.disconnect("alice");
    world.run(4_000);
    world.heal();
    world.run(5_000);
    world.assert_converged(&["alice", "carol", "dave"]);
    let mut shown = world.recorded();
    for member in world.members.values() {
        shown.extend(format!("{:?}", member.session).bytes());
        shown.extend(format!("{:?}", member.keys()).bytes());
    }
    shown.extend(format!("{:?}", world.service).bytes());
    let mut secrets = world.secrets();
    secrets.push(("the invite's secret".to_owned(), INVITE.as_bytes().to_vec()));
    (secrets, shown)
}
