//! Plays the corpus of the fuzz targets (`sframe-bridge/fuzz`) again, as an ordinary test on the stable compiler: what once
//! reached a new place, and what once broke something.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test reports by panicking")]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::{fs, path::Path};

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is part of the sources")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "only {} files in {}", files.len(), folder.display());
    for file in &files {
        // The last line of a failing test names the input.
        println!("{}", file.display());
        run(&fs::read(file).expect("a readable file"));
    }
    println!("{target}: {} inputs", files.len());
}

macro_rules! replays {
    ($($target:ident),* $(,)?) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target), targets::$target);
        }
    )*};
}

replays!(parse, reassembly, codecs);
