//! Finding, reading and counting the vector files.
#![allow(dead_code, reason = "each module uses the part of these that it needs")]

use std::{collections::BTreeMap, env, fmt, fs, path::PathBuf};

use mls::{
    crypto::{self, CryptoProvider, Suite},
    wire::CipherSuite,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// What became of one case of a vector file. A case that fails panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran, and every value in it was checked.
    Ran,
    /// It was not run, for this reason.
    LeftOut(&'static str),
}

/// Runs every case of the file `mls/NAME.json`, prints the count, and asserts that exactly `expected` cases ran.
///
/// A missing folder or file is a loud skip, and never a success on data of our own.
pub(crate) fn run<C: DeserializeOwned>(
    name: &str,
    expected: usize,
    mut case: impl FnMut(C) -> Outcome,
) {
    let path = folder().join("mls").join(format!("{name}.json"));
    let Ok(text) = fs::read(&path) else {
        println!(
            "vectors: {name}.json SKIPPED: no such file {} (set FRAMELOCK_VECTORS)",
            path.display()
        );
        return;
    };
    let cases: Vec<C> =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}.json: {error}"));
    let total = cases.len();
    let mut ran = 0;
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for each in cases {
        match case(each) {
            Outcome::Ran => ran += 1,
            Outcome::LeftOut(reason) => *left_out.entry(reason).or_default() += 1,
        }
    }
    let reasons: Vec<String> =
        left_out.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let reasons = if reasons.is_empty() { "nothing".into() } else { reasons.join(", ") };
    println!("vectors: {name}.json ran {ran} of {total}, left out {} ({reasons})", total - ran);
    assert_eq!(ran, expected, "{name}.json: the number of cases that ran");
}

/// Why a case of a suite without a backend is left out.
pub(crate) const NO_SUITE: &str = "of cipher suites without a backend";

/// Every backend that is compiled in.
pub(crate) fn providers() -> Vec<&'static CryptoProvider> {
    vec![
        #[cfg(feature = "aws-lc-rs")]
        &crypto::AWS_LC_RS,
        #[cfg(feature = "rust-crypto")]
        &crypto::RUST_CRYPTO,
    ]
}

/// The suite with this number in every backend; empty when none has it.
pub(crate) fn suites(id: u16) -> Vec<&'static Suite> {
    providers().into_iter().filter_map(|provider| provider.suite(CipherSuite(id))).collect()
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
