//! The house rules that a compiler does not check. Each rule is a function; what it finds is
//! listed with file and line, so that a broken rule fails the build and says where.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A file with more lines than this has two concepts in it.
const MAX_LINES: usize = 500;

/// The folder of each crate, and which crates of the workspace it may name in `[dependencies]`.
const ARROWS: [(&str, &[&str]); 7] = [
    ("mls", &[]),
    ("sframe-bridge", &["mls"]),
    ("sfu-sim/protocol", &[]),
    ("sfu-sim", &["mls", "sfu-protocol"]),
    ("examples/session", &["mls", "sframe-bridge", "sfu-protocol"]),
    ("media-bench", &["mls", "sframe-bridge", "sfu-sim", "call-session"]),
    ("examples", &["mls", "sframe-bridge", "sfu-sim", "call-session"]),
];

/// The sans-IO crates, and what must not appear in their sources.
const SANS_IO: [&str; 4] =
    ["mls/src", "sframe-bridge/src", "sfu-sim/protocol/src", "examples/session/src"];
const THREADS: &str = "std::thread";
/// The only file that may start threads, none of which outlives a call.
const THREADS_ALLOWED: &str = "mls/src/parallel.rs";
const IO: [&str; 8] = [
    "std::net",
    THREADS,
    "std::fs",
    "std::io",
    "Instant::now",
    "SystemTime",
    "async fn",
    "async move",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &str) -> Vec<(String, String)> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    collect(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn all_sources() -> Vec<(String, String)> {
    let folders = ARROWS.iter().filter(|(folder, _)| !folder.contains('/'));
    let all: Vec<_> = folders.flat_map(|(folder, _)| sources(folder)).collect();
    assert!(all.len() > 50, "found only {} source files: is the layout what it was?", all.len());
    all
}

/// The lines of a file that are compiled outside tests: all up to its test module.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line))
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn is_product(name: &str) -> bool {
    name.contains("/src/")
        && !name.ends_with("/tests.rs")
        && !name.contains("/tests/")
        && !name.contains("/fuzz/")
}

fn manifest(name: &str) -> BTreeMap<String, toml::Value> {
    let text = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

fn refuse(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

#[test]
fn dependency_arrows_point_one_way() {
    let named = |manifest: &BTreeMap<String, toml::Value>| {
        manifest["package"]["name"].as_str().unwrap().to_owned()
    };
    let ours: Vec<String> = ARROWS.iter().map(|(folder, _)| named(&manifest(folder))).collect();
    let mut findings = Vec::new();
    for (folder, allowed) in ARROWS {
        let manifest = manifest(folder);
        let name = named(&manifest);
        let used = manifest.get("dependencies").and_then(toml::Value::as_table).unwrap();
        for dependency in used.keys().filter(|used| ours.contains(used)) {
            if !allowed.contains(&dependency.as_str()) {
                findings.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    refuse("dependency arrows", findings);
}

#[test]
fn every_crate_takes_version_and_lints_from_the_workspace() {
    let mut findings = Vec::new();
    for (name, _) in ARROWS {
        let manifest = manifest(name);
        let from_workspace = |table: &str, key: Option<&str>| {
            let mut value = manifest.get(table);
            if let Some(key) = key {
                value = value.and_then(|table| table.get(key));
            }
            value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool)
                == Some(true)
        };
        for key in ["version", "edition", "rust-version", "license"] {
            if !from_workspace("package", Some(key)) {
                findings.push(format!("{name}: {key} is its own"));
            }
        }
        if !from_workspace("lints", None) {
            findings.push(format!("{name}: lints are its own"));
        }
    }
    refuse("one workspace", findings);
}

#[test]
fn the_sfu_holds_no_media_keys() {
    let findings = sources("sfu-sim")
        .into_iter()
        .filter(|(name, _)| is_product(name))
        .flat_map(|(name, text)| {
            product_lines(&text)
                .filter(|(_, line)| line.contains("sframe_bridge") || line.contains("mls::Group"))
                .map(|(number, line)| format!("{name}:{number}: {}", line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    refuse("sfu-sim knows neither sframe-bridge nor a group's secrets", findings);
}

#[test]
fn the_protocol_crates_do_no_io() {
    let mut findings = Vec::new();
    for folder in SANS_IO {
        for (name, text) in sources(folder) {
            for (number, line) in product_lines(&text) {
                let mut words = IO.iter().filter(|word| line.contains(**word));
                let allowed = |word: &str| word == THREADS && name == THREADS_ALLOWED;
                if let Some(word) = words.find(|word| !allowed(word)) {
                    findings.push(format!("{name}:{number}: {word}"));
                }
            }
        }
    }
    refuse("the sans-IO crates take bytes, randomness and now as arguments", findings);
}

#[test]
fn the_protocol_crates_forbid_unsafe() {
    let findings = SANS_IO
        .iter()
        .filter(|folder| {
            let lib = fs::read_to_string(root().join(folder).join("lib.rs")).unwrap();
            !lib.contains("#![forbid(unsafe_code)]")
        })
        .map(ToString::to_string)
        .collect();
    refuse("forbid(unsafe_code)", findings);
}

#[test]
fn files_hold_one_concept() {
    let findings = all_sources()
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    refuse("files over 500 lines", findings);
}

#[test]
fn panics_are_proven_impossible() {
    let panicking = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("];
    let mut findings = Vec::new();
    for (name, text) in all_sources().into_iter().filter(|(name, _)| is_product(name)) {
        let lines: Vec<_> = product_lines(&text).collect();
        for (place, (number, line)) in lines.iter().enumerate() {
            let nearby = lines.get(place.saturating_sub(8)..place).unwrap_or_default();
            let proven = nearby.iter().any(|(_, line)| line.contains("reason = "));
            if panicking.iter().any(|word| line.contains(word)) && !proven {
                findings.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    refuse("a panic without a local allow and the sentence that proves it impossible", findings);
}

#[test]
fn allowances_give_their_reason() {
    let mut findings = Vec::new();
    for (name, text) in all_sources().into_iter().filter(|(name, _)| is_product(name)) {
        for (start, _) in text.match_indices("#[allow(").chain(text.match_indices("#![allow(")) {
            let attribute = text.get(start..).unwrap_or_default();
            let attribute = attribute.split_once(")]").map_or(attribute, |(inside, _)| inside);
            if !attribute.contains("reason") {
                let number = text.get(..start).unwrap_or_default().lines().count();
                findings.push(format!("{name}:{number}: {attribute}"));
            }
        }
    }
    refuse("allow without a reason", findings);
}

#[test]
fn nothing_is_left_open() {
    let open = ["TODO", "FIXME", "XXX", "HACK"];
    let mut findings = Vec::new();
    for (name, text) in all_sources().into_iter().filter(|(name, _)| !name.ends_with("tidy.rs")) {
        for (number, line) in text.lines().enumerate() {
            if open.iter().any(|word| line.contains(word)) {
                findings.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    refuse("left open", findings);
}
