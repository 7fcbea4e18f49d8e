#!/usr/bin/env bash
# Builds the browser package into examples/browser/dist: wasm from the Rust crates, bindings, TypeScript, page. With the
# argument `check` it runs clippy and the crate's tests instead.
# Needs Rust, node and npm. The wasm32 target comes from rustup where it has it; otherwise a private toolchain is made from
# Debian's packages under target/wasm32 (or $FRAMELOCK_WASM32). Exit code 3: no toolchain for wasm32 can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${FRAMELOCK_WASM_TARGET:-$root/target/browser}
limit=350000

toolchain() { # prints the folder with the rustc and the cargo-clippy for wasm32
    if rustup target add wasm32-unknown-unknown >/dev/null 2>&1; then
        dirname "$(rustup which rustc)"
        return
    fi
    local private=${FRAMELOCK_WASM32:-$root/target/wasm32}
    scripts/wasm32-toolchain.sh "$private" >&2
    echo "$private"
}

tools=$(toolchain) || exit 3
cd examples/browser
if [ "${1:-}" = check ]; then
    CARGO_TARGET_DIR=$target RUSTC=$tools/rustc \
        "$tools/cargo-clippy" clippy --release --locked --quiet --target wasm32-unknown-unknown -- -D warnings
    CARGO_TARGET_DIR=$target cargo test --locked --quiet
    exit
fi
[ -d node_modules/typescript ] || npm ci --no-audit --no-fund --loglevel=error >/dev/null
# Inlining makes a module for downloads larger; paths of this machine have no place in it.
flags="-C llvm-args=-inline-threshold=0 --remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=dependencies"
CARGO_TARGET_DIR=$target RUSTC=$tools/rustc RUSTFLAGS=$flags \
    cargo build --release --locked --quiet --target wasm32-unknown-unknown
CARGO_TARGET_DIR=$target cargo build --release --locked --quiet --manifest-path bindgen/Cargo.toml
rm -rf dist
mkdir -p dist
"$target/release/bindgen" "$target/wasm32-unknown-unknown/release/framelock_browser.wasm" dist
node_modules/.bin/wasm-opt -Oz --strip-debug --strip-producers \
    --enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int --enable-mutable-globals \
    --enable-reference-types --enable-multivalue dist/framelock_browser_bg.wasm -o dist/optimized.wasm
mv dist/optimized.wasm dist/framelock_browser_bg.wasm
cp dist/framelock_browser.d.ts ts/
node_modules/.bin/tsc
rm ts/framelock_browser.d.ts
cp page/* dist/
size=$(gzip -9 -c dist/framelock_browser_bg.wasm | wc -c)
if [ "$size" -gt "$limit" ]; then
    echo "browser: the wasm has $size bytes gzipped, more than the $limit allowed" >&2
    exit 1
fi
echo "browser: wasm $size bytes gzipped (at most $limit)"
