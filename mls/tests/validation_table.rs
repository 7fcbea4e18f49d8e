//! Keeps `VALIDATION.md` true: every row names a test, every test that it names exists, and every variant of every error stands in a
//! test, or in the list of those that cannot.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reports a failure by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const TABLE: &str = include_str!("../VALIDATION.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below a folder, with its path from there.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    let folder = root().join(folder);
    collect(&folder, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&folder).unwrap().to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

/// `group/tests/leaves.rs` is `group::leaves`, `codec/mod.rs` is `codec`.
fn module(path: &Path) -> String {
    let path = path.with_extension("");
    let parts = path.iter().map(|part| part.to_str().unwrap());
    let named: Vec<_> = parts.filter(|part| !["tests", "mod", "main"].contains(part)).collect();
    named.join("::")
}

/// The functions of a file that are tests.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut names = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if *line == "#[test]" {
            let declared = lines[number..].iter().find_map(|line| line.strip_prefix("fn "));
            names.extend(declared.and_then(|rest| rest.split('(').next()));
        }
    }
    names.into_iter()
}

fn all_tests() -> BTreeSet<String> {
    let files = sources("src").into_iter().chain(sources("tests"));
    files
        .flat_map(|(path, text)| {
            let module = module(&path);
            tests_in(&text).map(|name| format!("{module}::{name}")).collect::<Vec<_>>()
        })
        .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of a row; `None` for what is no row of a table, or its head.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    let head = cells[0] == "Rule" || cells[0].starts_with("---");
    (!head).then_some(cells)
}

#[test]
fn every_rule_has_a_test_that_exists() {
    let tests = all_tests();
    assert!(tests.len() > 250, "found only {} tests: is the layout what it was?", tests.len());
    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in TABLE.lines().filter_map(cells) {
        rows += 1;
        let [rule, _, place, _, named] = row[..] else {
            wrong.push(format!("not five cells: {}", row.join(" | ")));
            continue;
        };
        if place.is_empty() {
            wrong.push(format!("nowhere enforced: {rule}"));
        }
        if quoted(named).next().is_none() {
            wrong.push(format!("without a test: {rule}"));
        }
        for name in quoted(named).filter(|name| !tests.contains(*name)) {
            wrong.push(format!("no such test: {name} ({rule})"));
        }
    }
    assert!(rows > 130, "found only {rows} rules");
    assert!(wrong.is_empty(), "VALIDATION.md:\n  {}", wrong.join("\n  "));
}

#[test]
fn tests_named_outside_the_tables_exist_too() {
    let tests = all_tests();
    let modules: BTreeSet<&str> = tests.iter().filter_map(|name| name.split("::").next()).collect();
    let prose = TABLE.lines().filter(|line| !line.starts_with('|')).flat_map(quoted);
    let looks_like_one = |name: &&str| {
        let first = name.split("::").next().unwrap();
        name.matches("::").count() >= 2 && modules.contains(first)
    };
    let missing: Vec<_> =
        prose.filter(looks_like_one).filter(|name| !tests.contains(*name)).collect();
    let named_as_examples = ["group::x::y"];
    let missing: Vec<_> =
        missing.into_iter().filter(|name| !named_as_examples.contains(name)).collect();
    assert!(missing.is_empty(), "VALIDATION.md names {missing:?}");
}

/// The enumerations that are errors, with their variants.
fn errors() -> BTreeMap<String, Vec<String>> {
    let mut errors = BTreeMap::new();
    for (_, text) in sources("src") {
        let mut lines = text.lines();
        let mut derived = false;
        while let Some(line) = lines.next() {
            derived |= line.starts_with("#[derive(") && line.contains("Error)");
            if let Some(name) = line.strip_prefix("pub enum ") {
                let name = name.trim_end_matches(" {").to_owned();
                // A variant begins a line that is indented once; fields are indented further.
                let body = lines.by_ref().take_while(|line| *line != "}");
                let variants = body.filter_map(|line| {
                    let line = line.strip_prefix("    ")?;
                    let end = line.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(line.len());
                    let name = line.starts_with(|c: char| c.is_ascii_uppercase());
                    name.then(|| line[..end].to_owned())
                });
                let variants: Vec<_> = variants.collect();
                if derived {
                    errors.insert(name, variants);
                }
            }
            derived &= line.starts_with('#');
        }
    }
    errors
}

/// By which names a file speaks of a type: its own, and those that it gives it.
fn names_of<'t>(text: &'t str, name: &'t str) -> Vec<&'t str> {
    let renamed = text.match_indices(" as ").filter(|(at, _)| {
        let before = &text[..*at];
        before.ends_with(name)
            && !before[..before.len() - name.len()].ends_with(|c: char| c.is_ascii_alphanumeric())
    });
    let alias = |(at, _): (usize, &str)| {
        let rest = &text[at + " as ".len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        &rest[..end]
    };
    std::iter::once(name).chain(renamed.map(alias)).collect()
}

fn mentions(text: &str, path: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(path)
        .any(|(at, _)| !text[..at].ends_with(word) && !text[at + path.len()..].starts_with(word))
}

/// The part of a file that is compiled for tests only.
fn test_part((path, text): (PathBuf, String)) -> Option<String> {
    if path.iter().any(|part| part == "tests") || path.ends_with("tests.rs") {
        return Some(text);
    }
    let at = text.find("#[cfg(test)]\nmod tests {")?;
    Some(text[at..].to_owned())
}

#[test]
fn every_variant_of_an_error_stands_in_a_test() {
    let errors = errors();
    for expected in ["ProcessError", "ProposalListViolation", "TreeError", "SnapshotError"] {
        assert!(errors.get(expected).is_some_and(|variants| variants.len() > 5), "{expected}");
    }
    let texts: Vec<String> = sources("src")
        .into_iter()
        .filter_map(test_part)
        .chain(sources("tests").into_iter().map(|(_, text)| text))
        .collect();
    let (_, excused) = TABLE.split_once("## Variants without a test").expect("the list");
    let excused: BTreeSet<&str> = quoted(excused).collect();
    let mut missing = Vec::new();
    let mut without = BTreeSet::new();
    for (error, variants) in &errors {
        for variant in variants {
            let named = texts.iter().any(|text| {
                names_of(text, error)
                    .iter()
                    .any(|name| mentions(text, &format!("{name}::{variant}")))
            });
            let path = format!("{error}::{variant}");
            if named && excused.contains(path.as_str()) {
                missing.push(format!("{path} has a test and need not be excused"));
            } else if !named && !excused.contains(path.as_str()) {
                missing.push(format!("{path} stands in no test"));
            }
            without.insert(path);
        }
    }
    missing.extend(
        excused
            .iter()
            .filter(|path| !without.contains(**path))
            .map(|path| format!("{path} is none")),
    );
    assert!(missing.is_empty(), "errors:\n  {}", missing.join("\n  "));
}

/// The errors that the methods of clients, groups and public groups return.
fn returned_errors() -> BTreeSet<String> {
    let operations = |path: &Path| {
        ["client", "group", "public_group.rs"].iter().any(|part| path.starts_with(part))
            && !path.iter().any(|part| part == "tests")
    };
    let mut returned = BTreeSet::new();
    for (_, text) in sources("src").into_iter().filter(|(path, _)| operations(path)) {
        for (at, _) in text.match_indices("    pub fn ") {
            let declaration: String = text[at..].split('{').next().unwrap().split(';').collect();
            let Some((_, result)) = declaration.split_once("-> Result<") else { continue };
            let error = result.trim_end().trim_end_matches('>').rsplit(',').next().unwrap();
            returned.insert(error.trim().to_owned());
        }
    }
    returned
}

#[test]
fn what_operations_return_says_who_is_at_fault_and_what_to_do_next() {
    let returned = returned_errors();
    assert!(returned.contains("ProcessError") && returned.len() > 8, "{returned:?}");
    let texts: Vec<String> = sources("src").into_iter().map(|(_, text)| text).collect();
    let says = |error: &str, method: &str| {
        texts.iter().any(|text| {
            let Some((_, rest)) = text.split_once(&format!("impl {error} {{\n")) else {
                return false;
            };
            rest.split("\n}").next().unwrap().contains(&format!("pub fn {method}(&self)"))
        })
    };
    let silent: Vec<_> =
        returned.iter().filter(|error| !(says(error, "fault") && says(error, "action"))).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
