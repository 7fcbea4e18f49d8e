#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, house rules, tests, documentation.
# Needs Rust (rust-toolchain.toml names the version), a C compiler and cmake; installs the Debian
# packages that the tests use when it may, and says what is missing when it may not.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # command, Debian package
    command -v "$1" >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get install -y -q "$2" >/dev/null 2>&1 || { apt-get update -q >/dev/null && apt-get install -y -q "$2" >/dev/null; }
    fi
    command -v "$1" >/dev/null 2>&1 || { echo "missing: $1 (Debian package $2)"; exit 1; }
}
need cc build-essential
need cmake cmake
need ffprobe ffmpeg
PATH="$PATH:/usr/sbin" need nats-server nats-server

step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --all --check
cargo fmt --manifest-path examples/browser/Cargo.toml --check
step "lints"
cargo clippy --release --workspace --all-targets -- -D warnings
checked=0
scripts/browser-build.sh check || checked=$?
[ "$checked" != 3 ] || echo "browser: not checked, as no toolchain for wasm32 can be had"
[ "$checked" = 0 ] || [ "$checked" = 3 ] || exit "$checked"
step "tests"
cargo test --release --workspace
step "threads"
# Another feature of `mls` alone: no other crate is compiled anew.
cargo test --release --workspace --features mls/threads --test large_groups
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --quiet
step "official vectors"
cargo test --release --workspace --test sframe_vectors --test vectors -- --nocapture | grep -oE '(vectors: .*|test result: .*)'
step "the default call"
# The program that the tests were built with: `cargo run` would compile the dependencies once more, for other features.
"${CARGO_TARGET_DIR:-target}/release/call" --report "${CARGO_TARGET_DIR:-target}/call-report.json"
step "the server's memory under clients that come and go"
"${CARGO_TARGET_DIR:-target}/release/soak" --clients 40 --rooms 4 --seconds 30 --stay 6 --growth 40
step "out in the world: ts-mls, Chromium, Janus"
scripts/ts-mls-test.sh
scripts/browser-test.sh
scripts/janus-test.sh
echo
echo "all checks passed"
