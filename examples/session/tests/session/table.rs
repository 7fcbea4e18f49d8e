//! Keeps `examples/session/ATTACKS.md` true: every test that it names exists, every test of a module `attacks` or `faults` stands in it, and what a
//! row calls the refusal and the counter stands in one of its tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = include_str!("../../ATTACKS.md");

/// Where programs with attacks are, from here.
const FOLDERS: [&str; 5] =
    ["../../mls/tests", "../../sframe-bridge/tests", "../../sfu-sim/tests", "tests", "../tests"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All tests of programs in these folders, by path, with the text of their file.
fn tests() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files = Vec::new();
        sources(&folder, &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let place = file.strip_prefix(&folder).unwrap().with_extension("");
            let mut path: Vec<_> = place.iter().map(|part| part.to_str().unwrap()).collect();
            path.retain(|part| !["mod", "main"].contains(part));
            for (name, inner) in tests_in(&text) {
                let inner = if inner { "attacks::" } else { "" };
                found.insert(format!("{}::{inner}{name}", path.join("::")), text.clone());
            }
        }
    }
    found
}

/// The tests of a file, and whether they stand in a module `attacks` inside it.
fn tests_in(text: &str) -> Vec<(String, bool)> {
    let mut inner = false;
    let mut awaited = false;
    let mut found = Vec::new();
    for line in text.lines() {
        inner |= line == "mod attacks {";
        let line = line.trim();
        awaited |= line == "#[test]";
        if let Some(rest) = line.strip_prefix("fn ").filter(|_| awaited) {
            found.push((rest.split('(').next().unwrap().to_owned(), inner));
            awaited = false;
        }
    }
    found
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_attack_is_in_the_table_and_every_row_is_true() {
    let tests = tests();
    let mut wrong = Vec::new();
    let mut named = Vec::new();
    let is_head = |line: &str| line.starts_with("| Attack") || line.starts_with("| Fault");
    let rows = TABLE.lines().filter(|line| line.starts_with("| ") && !is_head(line));
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [attack, layer, refusal, counter, names] = cells[..] else {
            wrong.push(format!("not five cells: {row}"));
            continue;
        };
        let mut texts = String::new();
        for name in quoted(names) {
            named.push(name.to_owned());
            match tests.get(name) {
                Some(text) => texts.push_str(text),
                None => wrong.push(format!("no such test: {name} ({attack})")),
            }
        }
        if texts.is_empty() || layer.is_empty() {
            wrong.push(format!("without a layer or a test: {attack}"));
        }
        for word in quoted(refusal).chain(quoted(counter)).filter(|word| !texts.contains(word)) {
            wrong.push(format!("{word} stands in none of the tests ({attack})"));
        }
    }
    let attacks =
        tests.keys().filter(|path| path.contains("attacks::") || path.contains("faults::"));
    wrong.extend(
        attacks.filter(|path| !named.contains(path)).map(|path| format!("in no row: {path}")),
    );
    assert!(named.len() > 60, "found only {} tests", named.len());
    assert!(wrong.is_empty(), "ATTACKS.md:\n  {}", wrong.join("\n  "));
}
