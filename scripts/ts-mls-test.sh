#!/usr/bin/env bash
# A member on ts-mls joins a group of ours: independent confirmation of the exporter path. Prints one closing line.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v npm >/dev/null 2>&1; then
    echo "ts-mls: not tested, as npm is missing"
    exit 0
fi
if ! (cd examples/ts-mls && npm ci --no-audit --no-fund --loglevel=error >/dev/null); then
    echo "ts-mls: not tested, as npm could not install it"
    exit 0
fi
cargo test --release --workspace --test ts_mls --quiet -- --nocapture | grep '^ts-mls: '
