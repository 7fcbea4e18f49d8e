//! Writes the seeds of the targets that read messages: `seeds CORPUS`.
#![allow(clippy::unwrap_used, reason = "a tool for developers, which stops by panicking")]

use std::{env, fs, path::PathBuf};

fn main() {
    let corpus = PathBuf::from(env::args().nth(1).unwrap_or_else(|| "corpus".to_owned()));
    for (target, seeds) in [("wire", mls_fuzz::wire_seeds()), ("tree", mls_fuzz::tree_seeds())] {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).unwrap();
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:02}")), seed).unwrap();
        }
        println!("{target}: {} seeds", seeds.len());
    }
}
