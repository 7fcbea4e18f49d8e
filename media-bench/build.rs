//! Hands to the program how it was built, for the report.

use std::{env, process::Command};

fn main() {
    let version = env::var_os("RUSTC")
        .and_then(|rustc| Command::new(rustc).arg("--version").output().ok())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").map(|flags| flags.replace('\x1f', " "));
    for (name, value) in [
        ("RUSTC", version),
        ("TARGET", env::var("TARGET").ok()),
        ("OPT_LEVEL", env::var("OPT_LEVEL").ok()),
        ("RUSTFLAGS", flags.ok()),
    ] {
        println!("cargo::rustc-env=MEDIA_BENCH_{name}={}", value.unwrap_or_default());
    }
    println!("cargo::rerun-if-changed=build.rs");
}
