//! Plays the corpus of a crate's fuzz targets again, as ordinary tests on the stable compiler: what once reached a new place,
//! and what once broke something. Shared by the protocol crates.

use std::{fs, path::Path};

/// Runs a target on every file of its corpus in `folder`, of which there are at least `least`.
pub fn replay(folder: &Path, target: &str, least: usize, run: fn(&[u8])) {
    let folder = folder.join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is part of the sources")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    assert!(files.len() >= least, "only {} files in {}", files.len(), folder.display());
    for file in &files {
        // The last line of a failing test names the input.
        println!("{}", file.display());
        run(&fs::read(file).expect("a readable file"));
    }
    println!("{target}: {} inputs", files.len());
}

/// A test for each fuzz target of the including crate, whose module `targets` has them.
macro_rules! replays {
    (at least $least:literal inputs: $($target:ident),* $(,)?) => {$(
        #[test]
        fn $target() {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
            replay::replay(&folder, stringify!($target), $least, targets::$target);
        }
    )*};
}
