#!/usr/bin/env bash
# Pages in headless Chromium and a webrtc-rs client in one call. Installs Debian's chromium when it may and it is missing;
# where that, npm or the wasm toolchain cannot be had it says so. Prints one closing line.
#   scripts/browser-test.sh [FOLDER FOR SCREENSHOTS]
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "browser: not tested, as $*"; exit 0; }

command -v npm >/dev/null 2>&1 || skip "npm is missing"
if ! command -v chromium >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium) >/dev/null 2>&1 || true
fi
command -v chromium >/dev/null 2>&1 || skip "chromium is missing"
(cd examples/browser && { [ -d node_modules/playwright-core ] || npm ci --no-audit --no-fund --loglevel=error >/dev/null; }) ||
    skip "npm could not install what the test needs"
built=0
scripts/browser-build.sh >&2 || built=$?
[ "$built" != 3 ] || skip "no toolchain for wasm32 can be had"
[ "$built" = 0 ] || exit "$built"
cargo build --release --workspace --bins --quiet
node examples/browser/test/call.mjs "${CARGO_TARGET_DIR:-target}/release" "$@"
