//! Finding, reading and counting the vector files.
#![allow(dead_code, reason = "each module uses the part of these that it needs")]

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

#[path = "../support/backends.rs"]
mod backends;

pub(crate) use backends::providers;
use mls::{crypto::Suite, wire::CipherSuite};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// Every official file, with the number of its cases.
const FILES: [(&str, usize); 16] = [
    ("crypto-basics", 7),
    ("deserialization", 14),
    ("key-schedule", 7),
    ("message-protection", 7),
    ("messages", 300),
    ("passive-client-handling-commit", 91),
    ("passive-client-random", 1),
    ("passive-client-welcome", 56),
    ("psk_secret", 77),
    ("secret-tree", 21),
    ("transcript-hashes", 7),
    ("tree-math", 10),
    ("tree-operations", 5),
    ("tree-validation", 98),
    ("treekem", 77),
    ("welcome", 7),
];
const CASES: usize = 785;

/// The suites that only the pre-release crates can carry out.
const PRERELEASE: [CipherSuite; 2] =
    [CipherSuite::X448_AES256GCM_SHA512_ED448, CipherSuite::X448_CHACHA20POLY1305_SHA512_ED448];

/// How many cases ran of each file that is done; `None` for a file that is missing.
static DONE: Mutex<Vec<Option<usize>>> = Mutex::new(Vec::new());

/// Runs every case of the file `mls/NAME.json` and prints the count. `case` panics when a value is not as the file says.
///
/// No case gets lost: the file has as many as is written above, and one is left out only if its cipher suite needs a
/// feature that is not compiled in. A missing folder or file is said loudly, and never a success on data of our own.
pub(crate) fn run<C: DeserializeOwned>(name: &str, mut case: impl FnMut(C)) {
    let (_, total) = FILES.into_iter().find(|(file, _)| *file == name).expect("an official file");
    let path = folder().join("mls").join(format!("{name}.json"));
    let Ok(text) = fs::read(&path) else {
        let path = path.display();
        println!("vectors: {name}.json SKIPPED: no such file {path} (set FRAMELOCK_VECTORS)");
        return done(None);
    };
    let cases: Vec<Value> =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}.json: {error}"));
    assert_eq!(cases.len(), total, "{name}.json: the number of its cases");
    let mut ran = 0;
    let mut by_backend: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, each) in cases.into_iter().enumerate() {
        if let Some(id) = each.get("cipher_suite") {
            let id = u16::deserialize(id).unwrap();
            if is_left_out(id) {
                continue;
            }
            for provider in providers() {
                *by_backend.entry(provider.name).or_default() +=
                    usize::from(provider.suite(CipherSuite(id)).is_some());
            }
        }
        case(C::deserialize(each).unwrap_or_else(|error| panic!("{name}.json {index}: {error}")));
        ran += 1;
    }
    let backends: Vec<String> =
        by_backend.iter().map(|(backend, count)| format!("{backend} {count}")).collect();
    let backends =
        if backends.is_empty() { String::new() } else { format!(" ({})", backends.join(", ")) };
    println!("vectors: {name}.json ran {ran} of {total}{backends}{}", left_out(total - ran));
    done(Some(ran));
}

/// Counts a file; who comes last prints the sum.
fn done(ran: Option<usize>) {
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    done.push(ran);
    if done.len() < FILES.len() {
        return;
    }
    assert_eq!(FILES.iter().map(|(_, cases)| cases).sum::<usize>(), CASES);
    let ran: usize = done.iter().flatten().sum();
    let missing = done.iter().filter(|ran| ran.is_none()).count();
    if missing > 0 {
        let folder = folder();
        println!("vectors: {ran} of {CASES}: {missing} FILES MISSING in {}", folder.display());
    } else {
        println!("vectors: {ran} of {CASES}{}", left_out(CASES - ran));
    }
}

fn left_out(count: usize) -> String {
    if count == 0 {
        return String::new();
    }
    format!(", left out {count}: suites 4 and 6 need the feature curve448-prerelease")
}

fn is_left_out(suite: u16) -> bool {
    !cfg!(feature = "curve448-prerelease") && PRERELEASE.contains(&CipherSuite(suite))
}

/// The suite with this number in every backend that has it; at least one does.
pub(crate) fn suites(id: u16) -> Vec<&'static Suite> {
    let suites: Vec<_> =
        providers().into_iter().filter_map(|provider| provider.suite(CipherSuite(id))).collect();
    assert!(!suites.is_empty(), "no backend has suite {id}");
    suites
}

/// A private key of the suite. Some files have P-521 scalars without their leading zero bytes, although the encoding has a
/// fixed length (RFC 9180 section 7.1.2, SEC1 section 2.3.7).
pub(crate) fn private_key(suite: &Suite, written: &Hex) -> Vec<u8> {
    let missing = if suite.id == CipherSuite::P521_AES256GCM_SHA512_P521 {
        suite.kem.private_key_length().saturating_sub(written.len())
    } else {
        0
    };
    [&vec![0; missing], &written[..]].concat()
}

/// Bytes that stand as hexadecimal digits in the file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        hex::decode(digits).map(Self).map_err(serde::de::Error::custom)
    }
}

impl std::ops::Deref for Hex {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

fn folder() -> PathBuf {
    match env::var_os("FRAMELOCK_VECTORS") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
    }
}
